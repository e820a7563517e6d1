"""Extraction in shards on Ray workers, beside plain Ray Data code.

The recipe is what one would write first: `read_parquet`, `map_batches` with the encoder in an
actor, all hidden states returned and pooled, `write_parquet`. Both keep the same four states of a
prompt, whole, in float32, and both start their workers within the measured time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.prompts import render_text
from prefill_router.scale.addresses import Address
from prefill_router.scale.engines import LocalEngine, RayEngine
from prefill_router.scale.extract import Kept, extract_shards
from prefill_router.scale.shards import ShardedStates
from prefill_router.scale.sources import NamedEncoder, View

from .common import ENCODER, ratio, spread, timed, workspace, write

COUNTS, WORKERS, REPEATS, WORDS = (1_000,), (1, 2), 3, 16
VIEWS = (View("mean", 15), View("mean", 22), View("mean", 30), View("last", 30))
BATCH = 32  # prompts that the recipe reads at once


class Recipe:
    """The encoder in an actor, as the pages of Ray Data show it."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # of two workers each has one core
        self.encoder = load_encoder(ENCODER, "cpu", "float32")
        self.encoder.tokenizer.padding_side = "right"

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        encoder = self.encoder
        texts = [render_text(encoder, prompt) for prompt in batch["prompt"]]
        inputs = encoder.tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False
        )
        with torch.inference_mode():
            states = encoder.network(**inputs, output_hidden_states=True).hidden_states
        mask = inputs["attention_mask"]
        last, rows = mask.sum(dim=1) - 1, torch.arange(len(mask))
        kept: dict[str, Any] = {"query_id": batch["query_id"]}
        for view in VIEWS:
            of = states[view.layer]
            pooled = (
                of[rows, last]
                if view.pooling == "last"
                else (of * mask[..., None]).sum(dim=1) / mask.sum(dim=1)[:, None]
            )
            kept[view.name] = pooled.numpy()
        return kept


def recipe(source: Path, output: Path, workers: int) -> None:
    """Plain Ray Data."""
    import ray

    ray.data.read_parquet(str(source)).map_batches(
        Recipe, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=1
    ).write_parquet(str(output))


def ours(source: Path, output: Path, workers: int) -> dict[str, Any]:
    """Shards; in this process if there are no workers."""
    return extract_shards(
        Address.of(source),
        Address.of(output),
        NamedEncoder(ENCODER, "cpu", "float32"),
        Kept(",".join(view.name for view in VIEWS), 0, dtype="float32"),
        RayEngine(workers) if workers else LocalEngine(),
        shard_rows=128,
        progress=False,
    )


def write_prompts(path: Path, count: int) -> None:
    """Prompts of some words drawn from zeroeval's, as `benchmarks.scale` draws them."""
    _, outcomes = workspace()
    words = np.array(" ".join(outcomes.prompts).split())
    starts = np.random.default_rng(0).integers(0, len(words) - WORDS, count)
    prompts = [f"{i} {' '.join(words[s : s + WORDS])}" for i, s in enumerate(starts)]
    table = pa.table({"query_id": [f"q{i}" for i in range(count)], "prompt": prompts})
    pq.write_table(table, path, row_group_size=256)


def largest_difference(mine: Path, theirs: Path) -> float:
    """Between the states of both, relative to the largest."""
    found, table = ShardedStates(str(mine)), pq.read_table(theirs)
    ids = table["query_id"].to_pylist()
    worst = 0.0
    for view in VIEWS:
        x = np.array(table[view.name].to_pylist(), np.float32)
        y = found.read(view.layer, view.pooling, ids)
        worst = max(worst, float(np.abs(x - y).max() / np.abs(y).max()))
    return worst


def run() -> None:
    """In turns, every count and number of workers; `results/benchmarks/cluster_shards.json`."""
    import ray

    os.environ["OMP_NUM_THREADS"] = "1"
    ray.init(num_cpus=max(WORKERS), log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows, load, tokens = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in COUNTS:
            write_prompts(folder / "in.parquet", count)
            times: dict[tuple[str, int], list[float]] = {}
            for repeat in range(REPEATS):
                for workers in WORKERS:
                    for who, do in (("ours", ours), ("recipe", recipe)):
                        output = folder / f"{who}-{count}-{workers}-{repeat}"
                        load.append(psutil.getloadavg()[0])
                        seconds, made = timed(
                            lambda do=do, output=output, workers=workers: do(
                                folder / "in.parquet", output, workers
                            )
                        )
                        times.setdefault((who, workers), []).append(seconds)
                        tokens = made["tokens"] if who == "ours" else tokens
            for workers in WORKERS:
                both = times["recipe", workers], times["ours", workers]
                rows.append(
                    {
                        "prompts": count,
                        "tokens": tokens,
                        "workers": workers,
                        "seconds": {"recipe": spread(both[0]), "ours": spread(both[1])},
                        "ratio": ratio(*both),
                    }
                )
        last = (max(WORKERS), REPEATS - 1)
        difference = largest_difference(
            folder / f"ours-{count}-{last[0]}-{last[1]}",
            folder / f"recipe-{count}-{last[0]}-{last[1]}",
        )
    ray.shutdown()
    write(
        "cluster_shards",
        {
            "what": (
                f"{len(VIEWS)} states of prompts of {WORDS} words by {ENCODER} in float32 on Ray"
                " workers of one core, their start counted"
            ),
            "repeats": REPEATS,
            "one_minute_load": spread(load),
            "rows": rows,
            "recipe": {"seconds": rows[-1]["seconds"]["recipe"]},
            "ours": {"seconds": rows[-1]["seconds"]["ours"]},
            "ratio": rows[-1]["ratio"],
            "largest_relative_difference": difference,
        },
    )


if __name__ == "__main__":
    run()
