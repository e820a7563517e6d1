"""Extraction in shards: one process, workers of Ray, and plain Ray Data code around the recipe.

A job's first minute goes into starting Ray and loading encoders. So the rate is counted from when
every worker has done a shard to when the last one is done, and the whole job stands beside it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prefill_router.encode.encoders import load_encoder
from prefill_router.run.workspace import open_workspace
from prefill_router.scale.addresses import Address
from prefill_router.scale.engines import Engine, LocalEngine, RayEngine, Work
from prefill_router.scale.extract import Kept, extract_shards
from prefill_router.scale.reading import ShardWork
from prefill_router.scale.reduce import bytes_of_states
from prefill_router.scale.sources import NamedEncoder, views_of

from .common import ENCODER, ratio, spread, timed, write
from .extract import recipe

PROMPTS, SHARD_ROWS, REPEATS = 96, 8, 3
COMPONENTS = 64  # fewer than a job keeps by default, since they are fitted on these few prompts
LONGEST = 300  # characters of a question
MANY = 50_000_000


@dataclass(frozen=True)
class Clocked:
    """Work that says with every result who did it, and when it was done (seconds since 1970)."""

    work: Work

    def open(self) -> Callable[[str], bytes]:
        do = self.work.open()

        def clocked(job: str) -> bytes:
            result = json.loads(do(job))
            return json.dumps([result, os.getpid(), time.time()]).encode()

        return clocked


class Watched:
    """An engine whose shards are clocked; `marks` has a row for each: worker, ended, tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.elsewhere = engine, engine.elsewhere
        self.marks: list[dict[str, Any]] = []

    def run(self, work: Work, jobs: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        """See `scale.engines.Engine`."""
        if not isinstance(work, ShardWork):
            yield from self._engine.run(work, jobs)
            return
        for number, result in self._engine.run(Clocked(work), jobs):
            note, worker, ended = json.loads(result)
            self.marks.append({"worker": worker, "ended": ended, "tokens": note["tokens"]})
            yield number, json.dumps(note).encode()


class Plain:
    """What somebody writes who has Ray Data and the recipe, and keeps the same four states."""

    def __init__(self) -> None:
        self.encoder = load_encoder(ENCODER, "cpu", "float32", causal_lm=True)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        states = recipe(self.encoder, list(batch["prompt"]))
        views = views_of(None, self.encoder.n_layers)
        return {
            "query_id": batch["query_id"],
            **{v.name: np.stack([s[v.pooling][v.layer] for s in states]) for v in views},
            "worker": np.full(len(states), os.getpid()),
            "ended": np.full(len(states), time.time()),
        }


def rate(marks: pd.DataFrame) -> float:
    """Tokens a second of all workers together, from when each has done its first shard."""
    begun = marks.groupby("worker")["ended"].min().max()
    return float(marks.loc[marks["ended"] > begun, "tokens"].sum() / (marks["ended"].max() - begun))


def write_prompts(folder: Path) -> None:
    """Short questions of reasoning_gym, a file for every shard."""
    outcomes = open_workspace("reasoning_gym").load_outcomes()
    short = [i for i, prompt in enumerate(outcomes.prompts) if len(prompt) <= LONGEST]
    drawn = np.random.default_rng(0).permutation(short)[:PROMPTS]
    folder.mkdir()
    for start in range(0, PROMPTS, SHARD_ROWS):
        rows = drawn[start : start + SHARD_ROWS]
        table = {"query_id": [f"q{i}" for i in rows], "prompt": [outcomes.prompts[i] for i in rows]}
        pq.write_table(pa.table(table), folder / f"{start:05d}.parquet")


def ours(engine: Engine, source: Path, output: Path) -> tuple[float, float, dict[str, Any]]:
    """Tokens a second, seconds of the whole job, the manifest."""
    watched = Watched(engine)
    encoder = NamedEncoder(ENCODER, "cpu", "float32")
    seconds, manifest = timed(
        lambda: extract_shards(
            Address.of(source),
            Address.of(output),
            encoder,
            Kept(components=COMPONENTS),
            watched,
            shard_rows=SHARD_ROWS,
            progress=False,
        )
    )
    return rate(pd.DataFrame(watched.marks)), seconds, manifest


def plain(source: Path, output: Path, tokens: pd.Series) -> tuple[float, float, int]:
    """Tokens a second of two workers, seconds of the whole job, bytes written."""
    import ray

    def job() -> None:
        # small files are read as one block, which one worker would get
        rows = ray.data.read_parquet(str(source)).repartition(PROMPTS // SHARD_ROWS)
        pool = ray.data.ActorPoolStrategy(size=2)
        done = rows.map_batches(Plain, batch_size=SHARD_ROWS, compute=pool, num_cpus=1)
        done.write_parquet(str(output))

    seconds, _ = timed(job)
    columns = ["query_id", "worker", "ended"]
    found = pd.concat([pd.read_parquet(path, columns=columns) for path in output.iterdir()])
    found["tokens"] = tokens.loc[found["query_id"]].to_numpy()
    return rate(found), seconds, sum(path.stat().st_size for path in output.iterdir())


def run() -> None:
    """All ways in turn on the same prompts; writes `scale_workers.json`."""
    if importlib.util.find_spec("ray") is None:
        print("cluster: skipped, Ray is not installed: pip install -e '.[cluster]'")
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    if not ray.is_initialized():
        # plain code needs cores for reading and writing beside its workers: they are only counted
        ray.init("local", num_cpus=4, object_store_memory=300_000_000, include_dashboard=False)
    engines = {
        "one process": LocalEngine(),
        "ray, 1 worker": RayEngine(workers=1),
        "ray, 2 workers": RayEngine(workers=2),
    }
    rates: dict[str, list[float]] = {name: [] for name in [*engines, "plain"]}
    jobs: dict[str, list[float]] = {name: [] for name in rates}
    loads = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prompts(folder / "in")
        for repeat in range(REPEATS):
            files = []
            for way, engine in engines.items():
                loads.append(os.getloadavg()[0])
                output = folder / f"{way} {repeat}"
                one, seconds, manifest = ours(engine, folder / "in", output)
                rates[way].append(one)
                jobs[way].append(seconds)
                files.append(manifest["files"])
                print(f"{way}: {one:.0f} tokens/s, {seconds:.0f} s", flush=True)
            if any(of != files[0] for of in files):
                raise RuntimeError("one process and workers of Ray wrote different bytes")
            notes = pd.read_parquet(output / "states", columns=["query_id", "tokens"])
            tokens = notes.set_index("query_id")["tokens"]
            one, seconds, size = plain(folder / "in", folder / f"plain {repeat}", tokens)
            rates["plain"].append(one)
            jobs["plain"].append(seconds)
            print(f"plain: {one:.0f} tokens/s, {seconds:.0f} s", flush=True)
    ray.shutdown()
    write("scale_workers", _content(rates, jobs, manifest, size, loads))


def _content(
    rates: dict[str, list[float]],
    jobs: dict[str, list[float]],
    manifest: dict[str, Any],
    plain_bytes: int,
    loads: list[float],
) -> dict[str, Any]:
    """What is written: rates, ratios, bytes, and what they come to for many prompts."""
    each, two = manifest["tokens"] / manifest["rows"], "ray, 2 workers"
    kept = {"ours": manifest["bytes"] / manifest["rows"], "plain": plain_bytes / manifest["rows"]}
    median = {way: spread(of)["median"] for way, of in rates.items()}
    return {
        "what": (
            f"states of {manifest['rows']} reasoning_gym questions of at most {LONGEST} characters"
            f" with {ENCODER}, {COMPONENTS} components of each of four states, by two workers"
        ),
        "tokens": manifest["tokens"],
        "ours": {
            "tokens_per_second": spread(rates[two]),
            "dtype": "float32",
            "bytes_per_prompt": kept["ours"],
            "bytes_per_prompt_by_formula": bytes_of_states(1, len(manifest["views"]), COMPONENTS),
        },
        "recipe": {
            "tokens_per_second": spread(rates["plain"]),
            "dtype": "float32",
            "bytes_per_prompt": kept["plain"],
        },
        "ratio": ratio(rates[two], rates["plain"]),  # of rates: the other way round than of seconds
        "two_workers_to_one": ratio(rates[two], rates["ray, 1 worker"]),
        "ways": {
            way: {"tokens_per_second": spread(rates[way]), "seconds_of_the_job": spread(jobs[way])}
            for way in rates
        },
        "same_bytes": True,  # else it ended before
        "ray": importlib.metadata.version("ray"),
        "load_average": spread(loads),
        "extrapolated": {
            "prompts": MANY,
            "formula": (
                "days = prompts x tokens a prompt / (tokens a second x 86,400);"
                " gigabytes = prompts x bytes a prompt / 1e9"
            ),
            "tokens_per_prompt": each,
            "days": {way: MANY * each / (of * 86_400) for way, of in median.items()},
            "gigabytes": {way: MANY * of / 1e9 for way, of in kept.items()},
        },
    }
