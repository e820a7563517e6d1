"""From a thousand training rows to a million: fitting, saving and loading the kernel router, beside
plain scikit-learn on all rows in memory.

The states are synthetic and of the width that the router reads of SmolLM2-135M. They lie in the
project's own store and are read from there; scikit-learn gets them in memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefill_router.data.memory import (
    EXACT_ROWS,
    LANDMARKS,
    MEMORY_BASE,
    memory_needed,
    memory_of_bounded,
)
from prefill_router.encode.pooling import POOLINGS
from prefill_router.encode.store import FORMAT, ActivationStore, to_json
from prefill_router.evaluate.auc import mean_auc
from prefill_router.heads.gram import read_states, upper_layers
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.stored_states import states_of

from .common import timed, write
from .scale import PeakMemory

COUNTS = (1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
# rows that are stored, 5 GB of them; more are these again and again
STORED, HELD_OUT, TARGETS = 100_000, 2_000, 11
# rows up to which scikit-learn's copies of all states fit into memory
IN_MEMORY = 30_000
LAYERS, WIDTH, LATENT, SHARD = 30, 576, 200, 2_000


def write_store(folder: Path, n: int, width: int = WIDTH) -> np.ndarray:
    """A store of n queries whose states are random mixtures of latent variables, and noise: their
    outcomes, float64 [n, TARGETS].

    What the layers share is a difficulty that bends, and a little of each target's own.
    """
    rng, scale = np.random.default_rng(0), 1 / np.sqrt(1 + np.arange(LATENT))
    mixed = {
        f"{pooling}.{layer}": (scale[:, None] * rng.normal(size=(LATENT, width))).astype(np.float32)
        for layer in upper_layers(LAYERS)
        for pooling in POOLINGS
    }
    of_targets = rng.normal(size=(20, TARGETS)) / np.sqrt(20)
    request = {"format": FORMAT, "key": "synthetic", "encoder": "synthetic", "fingerprint": {}}
    request |= {"n_layers": LAYERS, "hidden_size": width, "shard_size": SHARD, "n_queries": n}
    folder.mkdir(parents=True)
    (folder / "request.json").write_bytes(to_json(request))
    outcomes, shards = np.empty((n, TARGETS)), []
    for start in range(0, n, SHARD):
        rows = np.arange(start, min(start + SHARD, n))
        latent = rng.standard_normal((len(rows), LATENT), np.float32)
        shared = 1.5 * np.sin(latent[:, :1] + latent[:, 1:2] * latent[:, 2:3])
        logits = shared + latent[:, :20] @ of_targets
        outcomes[rows] = logits + rng.logistic(size=logits.shape) > 0
        file = folder / f"shard-{len(shards):05d}.safetensors"
        shape = (len(rows), width)
        save_file(
            {
                name: latent @ of + 0.2 * rng.standard_normal(shape, np.float32)
                for name, of in mixed.items()
            },
            file,
        )
        ids = [f"q{row}" for row in rows]
        shards.append({"file": file.name, "bytes": file.stat().st_size, "query_ids": ids})
        shards[-1]["tokens"] = [1] * len(rows)
    manifest = {**request, "query_ids": [f"q{row}" for row in range(n)], "shards": shards}
    (folder / "manifest.json").write_bytes(to_json(manifest))
    return outcomes


def ours(store: ActivationStore, ids: np.ndarray, Y: np.ndarray, n: int) -> dict[str, Any]:
    """The kernel router on the first n rows, or on more, which are these again: fitted from the
    store, made small, saved, loaded.
    """
    train = np.resize(np.arange(min(n, len(ids) - HELD_OUT)), n)
    with PeakMemory() as peak:
        cpu = time.process_time()
        seconds, router = timed(
            # copies of a row are never on both sides of a fold
            lambda: KernelRouter().fit(states_of(store, ids[train]), Y[train], train)
        )
        found = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}
        found["shipped_seconds"], router = timed(router.compact)
    arrays, meta = router.state()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.safetensors"
        save_file(arrays, path)
        found["router_mb"] = path.stat().st_size / 1e6
        found["load_seconds"], loaded = timed(
            lambda: KernelRouter.from_state(load_file(path), meta)
        )
    found |= {"peak_mb": peak.bytes / 1e6, "form": "exact" if n <= EXACT_ROWS else "landmarks"}
    return found | {
        "auc": mean_auc(loaded.predict_proba(states_of(store, ids[-HELD_OUT:])), Y[-HELD_OUT:])
    }


def sklearn(store: ActivationStore, ids: np.ndarray, Y: np.ndarray, n: int) -> dict[str, Any]:
    """Scikit-learn's Nystroem and Ridge, all rows in memory."""
    D = len(upper_layers(LAYERS)) * len(POOLINGS) * store.hidden_size
    model = make_pipeline(
        StandardScaler(),
        Nystroem(gamma=1 / D, n_components=min(LANDMARKS, n), random_state=0),
        Ridge(alpha=1.0),
    )
    with PeakMemory() as peak:
        cpu = time.process_time()
        seconds, _ = timed(lambda: model.fit(read_states(store, ids[:n]), Y[:n]))
        cpu = time.process_time() - cpu
    predicted = model.predict(read_states(store, ids[-HELD_OUT:]))
    found = {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak.bytes / 1e6}
    return found | {"auc": mean_auc(predicted, Y[-HELD_OUT:])}


def run() -> None:
    """Every count and way in a process of its own; what is done is written after each of them."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        np.save(Path(name) / "outcomes.npy", write_store(folder, STORED + HELD_OUT))
        for count in COUNTS:
            row: dict[str, Any] = {"rows": count, "ours": _alone(folder, count, "ours")}
            if count <= IN_MEMORY:
                row["sklearn"] = _alone(folder, count, "sklearn")
            rows.append(row)
            _write(rows)


def _alone(folder: Path, count: int, way: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rows", str(folder), str(count), way],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _write(rows: list[dict[str, Any]]) -> None:
    columns = len(upper_layers(LAYERS)) * len(POOLINGS) * WIDTH
    write(
        "rows_ours",
        {
            "what": (
                f"the kernel router on synthetic states of {columns} columns, {TARGETS} targets;"
                f" `auc`: mean AUC on {HELD_OUT} held-out rows; scikit-learn: StandardScaler,"
                f" Nystroem with {LANDMARKS} landmarks and Ridge, all rows in memory, left out"
                f" beyond {IN_MEMORY} rows; more than {STORED} rows are these over and over"
            ),
            "rows": rows,
            "asked_beforehand_mb": {
                str(n): (
                    memory_needed(n)
                    if n <= EXACT_ROWS
                    else MEMORY_BASE + memory_of_bounded(n, columns, TARGETS)
                )
                / 1e6
                for n in COUNTS
            },
        },
    )


def one(folder: Path, count: int, way: str) -> dict[str, Any]:
    """One count by one way."""
    store, Y = ActivationStore(folder), np.load(folder.parent / "outcomes.npy")
    ways = {"ours": ours, "sklearn": sklearn}
    return ways[way](store, np.array(store.query_ids), Y, count)


if __name__ == "__main__":
    print(json.dumps(one(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
