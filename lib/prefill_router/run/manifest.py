"""The manifests beside published tables and figures."""

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


def write_manifest(workspace: Workspace, inputs: dict[str, Any]) -> None:
    """Write `manifest.json` beside the published tables: what shaped them. Times and memory of a
    run differ every time and stay in the build folder.
    """
    machine = {key: value for key, value in machine_class().items() if key != "memory_gib"}
    content = {
        "profile": workspace.profile.as_dict(),
        "seeds": list(workspace.profile.seeds),
        "versions": inputs["versions"],
        "inputs": _hashes(inputs),
        "machine": machine,
    }
    _write(workspace.published_results / "manifest.json", content)


def write_figure_manifest(workspace: Workspace, inputs: dict[str, Any]) -> None:
    """Write `manifest.json` beside the published figures: a hash of each, and of what shaped
    them.
    """
    figures = {
        name: digest
        for name, digest in tree_hashes(workspace.published_figures).items()
        if name != "manifest.json"
    }
    content = {"figures": figures, "inputs": _hashes(inputs)}
    _write(workspace.published_figures / "manifest.json", content)


def _hashes(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in ("outcomes", "library", "prices", "notebooks")}


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def what_differs(manifest: Path, inputs: dict[str, Any], profile: dict[str, Any]) -> list[str]:
    """Which inputs of a run are others than those that a manifest names; empty without one."""
    try:
        old = json.loads(manifest.read_text(encoding="utf-8"))
        before, hashes = old["inputs"], _hashes(inputs)
        found = [name for name, now in hashes.items() if before.get(name) != now]
        said = {"description", "verify"}  # of the profile: shape no number
        was, now = (
            {k: v for k, v in p.items() if k not in said} for p in (old["profile"], profile)
        )
        versions = [
            name for name, v in inputs["versions"].items() if old["versions"].get(name) != v
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [*(["profile"] if was != now else []), *found, *(f"version of {n}" for n in versions)]
