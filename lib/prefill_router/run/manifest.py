"""The manifests beside tables and figures."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil

from prefill_router.files import replacing
from prefill_router.run.stamps import tree_hashes
from prefill_router.run.workspace import Workspace


def machine_class() -> dict[str, Any]:
    """The kind of machine, without anything that names this one: processor, cores, memory in GiB,
    GPU.
    """
    import torch

    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(
            r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE
        )
        cpu = found.group(1).strip() if found else cpu
    gpu = (
        torch.cuda.get_device_name(0)
        if torch.cuda.is_available()
        else "Apple GPU"
        if torch.backends.mps.is_available()
        else "none"
    )
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": gpu,
    }


def write_manifests(
    workspace: Workspace,
    inputs: dict[str, Any],
    notebooks: dict[str, str],
    stamps: dict[str, dict[str, Any]],
) -> None:
    """Write `manifest.json` beside the tables (everything) and beside the figures (hashes only, no
    times).
    """
    hashes = {
        "outcomes": inputs["outcomes"],
        "library": inputs["library"],
        "prices": inputs["prices"],
        "notebooks": notebooks,
    }
    full = {
        "profile": workspace.profile.as_dict(),
        "seeds": list(workspace.profile.seeds),
        "versions": inputs["versions"],
        "inputs": hashes,
        "machine": machine_class(),
        "notebooks": {
            name: {"seconds": stamp["seconds"], "peak_mb": stamp["peak_mb"]}
            for name, stamp in stamps.items()
        },
    }
    figures = {
        name: digest
        for name, digest in tree_hashes(workspace.figures).items()
        if name != "manifest.json"
    }
    for folder, content in (
        (workspace.results, full),
        (workspace.figures, {"figures": figures, "inputs": hashes}),
    ):
        with replacing(folder / "manifest.json") as temporary:
            temporary.write_text(
                json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )
