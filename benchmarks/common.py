"""Interleaved timing, and one JSON file per benchmark."""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import grouped_split
from prefill_router.files import project_root, replacing
from prefill_router.run.handover import pools
from prefill_router.run.manifest import machine_class
from prefill_router.run.stamps import versions
from prefill_router.run.workspace import Workspace, open_workspace

ENCODER = "smollm2-135m-instruct"


@cache
def workspace(profile: str = "zeroeval") -> tuple[Workspace, Outcomes]:
    """A profile and its outcomes, fetched if they are not at hand."""
    ws = open_workspace(profile)
    return ws, ws.load_outcomes()


def frontier(profile: str = "zeroeval") -> tuple[Outcomes, np.ndarray, np.ndarray]:
    """Outcomes of a profile's frontier pool, and training rows and groups of the first split."""
    ws, outcomes = workspace(profile)
    pool = dict(pools(ws, outcomes))["frontier"]
    return (
        pool,
        grouped_split(outcomes, ws.profile.seeds[0], ws.profile.fractions).train,
        outcomes.queries["group"].to_numpy(),
    )


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds, and what the function returned."""
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(recipe: list[float], ours: list[float]) -> dict[str, float]:
    """How many times faster ours is, pair by pair."""
    return spread([a / b for a, b in zip(recipe, ours, strict=True)])


def write(name: str, content: Mapping[str, Any]) -> None:
    """Write `results/benchmarks/<name>.json`, with machine and versions."""
    path = project_root() / "results" / "benchmarks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    threads = {"torch_threads": torch.get_num_threads()}
    complete = {
        "benchmark": name,
        **content,
        "machine": machine_class() | threads,
        "versions": versions() | {"threadpoolctl": importlib.metadata.version("threadpoolctl")},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_rounded(complete), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Four digits are more than a timing holds."""
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
