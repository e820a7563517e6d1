"""The kernel router that is shipped beside the one that is evaluated: how far P(correct) moves with
the room that its training states are given.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from prefill_router.data.memory import ROUTER_BYTES
from prefill_router.data.splits import grouped_split
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.store import store_folder
from prefill_router.evaluate.auc import mean_auc
from prefill_router.hardware import one_blas_thread, torch_threads
from prefill_router.heads.gram import read_states
from prefill_router.heads.kernel import KernelRouter
from prefill_router.run.workspace import open_workspace

from .common import ENCODER, timed, write

ROOMS, REPEATS = (math.inf, ROUTER_BYTES, ROUTER_BYTES / 2, ROUTER_BYTES / 4), 30


def run() -> None:
    """The first split of the local questions, for each room."""
    ws = open_workspace("local")
    outcomes, encoder = ws.load_outcomes(), load_encoder(ENCODER)
    ids = list(outcomes.queries["query_id"])
    folder = store_folder(ws.activations, encoder, ids, outcomes.prompts)
    X = read_states(extract(encoder, ids, outcomes.prompts, folder), ids)
    split = grouped_split(outcomes, ws.profile.seeds[0], ws.profile.fractions)
    groups, Y = outcomes.queries["group"].to_numpy()[split.train], outcomes.correct
    router = KernelRouter().fit(X[split.train], Y[split.train], groups)
    rows = compared(router, X[split.test], Y[split.test])
    write(
        "shipped_local",
        {
            "what": (
                f"the kernel router on {len(split.train)} training questions of local"
                f" ({X.shape[1]} columns of {ENCODER}) as it is evaluated, and in less room: what"
                f" becomes of P(correct) of {Y.shape[1]} targets on {len(split.test)} test"
                " questions; `milliseconds`: P(correct) of one question from its states, processor"
                " time of one thread, median"
            ),
            "repeats": REPEATS,
            "rows": rows,
        },
    )


def compared(router: KernelRouter, X: np.ndarray, Y: np.ndarray) -> list[dict[str, Any]]:
    """A row for each room, from test states [n, D] and outcomes [n, K]."""
    evaluated = router.predict_proba(X)
    return [_in_room(router.compact(room), evaluated, X, Y) for room in ROOMS]


def _processor_seconds(router: KernelRouter, X: np.ndarray) -> float:
    """Of one prediction by this thread: what else runs on the machine adds no waiting to it."""
    started = time.thread_time()
    router.predict_proba(X)
    return time.thread_time() - started


def _in_room(
    shipped: KernelRouter, evaluated: np.ndarray, X: np.ndarray, Y: np.ndarray
) -> dict[str, Any]:
    """What becomes of the P(correct) that was evaluated."""
    arrays, meta = shipped.state()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.safetensors"
        save_file(arrays, path)
        megabytes = path.stat().st_size / 1e6
        seconds, loaded = timed(lambda: KernelRouter.from_state(load_file(path), meta))
    p = loaded.predict_proba(X)
    with torch_threads(1), one_blas_thread:
        times = [_processor_seconds(loaded, X[i : i + 1]) for i in range(REPEATS)]
    moved = np.abs(p - evaluated)
    return {
        "router_mb": megabytes,
        "directions": len(arrays.get("encoder0.directions", ())) or None,
        "p_moves_mean": float(moved.mean()),
        "p_moves_most": float(moved.max()),
        "auc": mean_auc(p, Y),
        "load_seconds": seconds,
        "milliseconds": 1000 * float(np.median(times)),
    }
