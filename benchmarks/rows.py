"""From a thousand labelled queries to a hundred thousand: time, memory and size of the kernel
router, beside plain scikit-learn.

The states are synthetic and as wide as those that are read of SmolLM2-135M; they are made when they
are read, so that no disk holds them. The clock is the processor's: seconds that all threads
computed, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import save_file
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from prefill_router.data.memory import EXACT_ROWS, LANDMARKS, memory_of_bounded, memory_of_exact
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.stored_states import states_of

from .common import write
from .scale import PeakMemory

COUNTS, TARGETS = (1_000, 5_000, 20_000, 100_000), 11
# scikit-learn holds all states in memory: beyond it is not asked
PLAIN_ROWS = 5_000


class Synthetic:
    """States of 30 layers of width 576: mixtures of 200 numbers of a query, and noise."""

    n_layers, hidden_size = 30, 576

    def __init__(self, n: int) -> None:
        self.ids = np.arange(n).astype(str)
        rng = np.random.default_rng(0)
        self.hidden = rng.standard_normal((n, 200), np.float32)
        weights = (1 + np.arange(200)) ** -0.5
        logits = self.hidden[:, :TARGETS] + 2 * self.hidden[:, TARGETS : TARGETS + 1]
        self.correct = (logits + rng.logistic(size=logits.shape) > 0).astype(float)
        self._mix = rng.standard_normal((200, self.hidden_size)).astype("f4") * weights[:, None]

    def read(self, layer: int, pooling: str, query_ids: np.ndarray) -> np.ndarray:
        """Vectors of one layer and pooling: float32 [m, 576]."""
        rows = np.asarray(query_ids).astype(int)
        mix = np.roll(self._mix, 7 * layer + 3 * (pooling == "mean"), axis=0)
        noise = np.random.default_rng([layer, len(pooling), rows[0]])
        states = self.hidden[rows] @ mix.astype(np.float32)
        states += noise.standard_normal(states.shape, np.float32)
        return states


def _measured(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    before = psutil.Process().memory_info().rss
    cpu, wall = time.process_time(), time.perf_counter()
    with PeakMemory() as peak:
        found = work()
    return {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "peak_mb_added": (peak.bytes - before) / 1e6,
    }, found


def one(count: int) -> dict[str, Any]:
    """A fit of so many rows, of ours and of plain scikit-learn."""
    store = Synthetic(count)
    ours, router = _measured(lambda: KernelRouter().fit(states_of(store, store.ids), store.correct))
    row: dict[str, Any] = {"rows": count, "exact": count <= EXACT_ROWS, "ours": ours}
    needed = memory_of_exact(count) if count <= EXACT_ROWS else memory_of_bounded(count)
    ours["estimated_mb"] = needed / 1e6
    arrays, _ = router.compact().state()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.safetensors"
        save_file(arrays, path)
        ours["router_mb"] = path.stat().st_size / 1e6
        ours["load_cpu_seconds"] = _measured(lambda: path.read_bytes())[0]["cpu_seconds"]
    if count <= PLAIN_ROWS:
        x = states_of(store, store.ids)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        gamma = 1 / x.shape[1]
        plain = {
            "sklearn_kernel_ridge": KernelRidge(alpha=10.0, kernel="rbf", gamma=gamma),
            "sklearn_nystroem_ridge": make_pipeline(
                Nystroem(gamma=gamma, n_components=min(LANDMARKS, count), random_state=0),
                Ridge(alpha=10.0),
            ),
        }
        for name, model in plain.items():
            row[name], _ = _measured(lambda model=model: model.fit(x, store.correct))
    return row


def run(counts: tuple[int, ...] = COUNTS) -> None:
    """Every count in a process of its own."""
    rows = []
    for count in counts:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.rows", str(count)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"  {count:,} rows: {rows[-1]['ours']['cpu_seconds']:.0f} s of the processor")
    write(
        "scale_rows",
        {
            "what": (
                f"fit of the kernel router on synthetic states of width {22 * 576:,} and"
                f" {TARGETS} targets, ridges chosen by cross-validation; scikit-learn's fits one"
                " given ridge on states in memory"
            ),
            "rows": rows,
            "ours": {
                name: {str(row["rows"]): row["ours"][name] for row in rows}
                for name in ("cpu_seconds", "peak_mb_added", "router_mb")
            },
        },
    )


if __name__ == "__main__":
    print(json.dumps(one(int(sys.argv[1]))))
