"""Who computes the shards: this process, or workers of a Ray cluster.

Work is a small object that is sent to a worker and opened there; the worker then does job after
job, each a short text that says what to read and write. Results are bytes and small.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import torch

from prefill_router.scale.addresses import ScaleError


class Work(Protocol):
    """What workers do."""

    def open(self) -> Callable[[str], bytes]:
        """Load what the jobs need, in the worker; then what does one job. A job may be done twice:
        where a worker was lost, nobody knows how far it came.
        """


class Engine(Protocol):
    """Does jobs."""

    @property
    def elsewhere(self) -> bool:
        """Whether the work is done in other processes."""

    def run(self, work: Work, jobs: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        """Number and result of every job, as they are done."""


@dataclass(frozen=True)
class LocalEngine:
    """This process: one job after the other, each on all cores, or on the accelerator."""

    elsewhere: bool = False

    def run(self, work: Work, jobs: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        """See `Engine`; in the order of the jobs."""
        if jobs:
            do = work.open()
            for number, job in enumerate(jobs):
                yield number, do(job)


@dataclass(frozen=True)
class RayEngine:
    """Ray Data: every worker is an actor with a GPU, or where there is none, with a core.

    A worker that dies is started again, and its job is done by another one; with a node, its
    workers move to those that are left.

    Attributes
    ----------
    workers : int, optional
        Default: as many as the cluster has GPUs, or cores if it has none.
    gpus : float, optional
        Of each worker; default: 1 if the cluster has any. Fractions share one.
    address : str, optional
        Of a running cluster, or "local" to start one on this machine; default: ``$RAY_ADDRESS``,
        else the cluster that runs on this machine, else one is started.
    """

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None
    elsewhere: bool = True

    def run(self, work: Work, jobs: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        """See `Engine`.

        Raises
        ------
        ScaleError
            Ray is not installed, the cluster has too little for one worker, or a job failed for
            another reason than that its worker was lost.
        """
        if not jobs:
            return
        ray = self._connected()
        resources = ray.cluster_resources()
        gpus = self.gpus if self.gpus is not None else float(resources.get("GPU", 0) >= 1)
        kind, each = ("GPU", gpus) if gpus else ("CPU", 1.0)
        room = int(resources.get(kind, 0) / each)
        if not room:
            raise ScaleError(
                f"the cluster has {resources.get(kind, 0):g} {kind}s and a worker takes {each:g};"
                " add nodes, or lower --gpus-per-worker"
            )
        # a CPU is nothing that a worker on a GPU waits for
        options: dict[str, float] = {"num_gpus": gpus, "num_cpus": 0} if gpus else {"num_cpus": 1}
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = [{"number": number, "job": job} for number, job in enumerate(jobs)]
        size = max(1, min(self.workers or room, len(jobs)))
        # a block a job: what is lost with a worker is one shard
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Worker,
            fn_constructor_args=(work,),
            batch_size=1,
            batch_format="pyarrow",  # numpy would drop zeros at the end of bytes
            # all workers at once; the job goes on with fewer where nodes are lost
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size),
            **options,
        )
        try:
            for row in found.iter_rows():
                if row["error"]:
                    raise _failed(row["error"])
                yield row["number"], row["result"]
        except ray.exceptions.RayError as error:
            raise _failed(f"{type(error).__name__}: {error}") from error

    def _connected(self) -> Any:
        # nothing is reported to anybody unless it is asked for
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ScaleError(
                "--engine ray needs Ray; install the extra, in a clone: pip install '.[cluster]',"
                " on every machine of the cluster"
            ) from error
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING)
            except Exception as error:  # Ray raises bare ones, of a node that is slow to start too
                raise ScaleError(
                    f"no cluster of Ray could be reached ({error}); give its --address, or"
                    " --address local to start one on this machine"
                ) from error
        return ray


class _Worker:
    """Does jobs with the one core, or the GPU, that it has; opens the work with the first.

    An error is a result, so that its reason reaches the driver: Ray hides that of an actor which
    fails in its constructor behind an error without a text.
    """

    def __init__(self, work: Work) -> None:
        # another worker has the other cores
        os.environ["PREFILL_ROUTER_CORES"] = "1"
        torch.set_num_threads(1)
        self._do = functools.cache(work.open)

    def __call__(self, batch: pa.Table) -> pa.Table:
        result, problem = b"", ""
        try:
            result = self._do()(batch["job"][0].as_py())
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        return pa.table(
            {
                "number": batch["number"],
                "result": pa.array([result], pa.large_binary()),
                "error": [problem],
            }
        )


def _failed(problem: str) -> ScaleError:
    """Of the first job that failed."""
    line = next((line for line in problem.splitlines() if line.strip()), problem)
    return ScaleError(
        f"a job failed on the cluster: {line}. Shards that are finished are kept; mend the cause"
        " and give the same command again"
    )


def engine_of(name: str, workers: int | None, gpus: float | None, address: str | None) -> Engine:
    """The engine of a command line."""
    if name == "ray":
        return RayEngine(workers, gpus, address)
    if workers is not None or gpus is not None or address is not None:
        print("--workers, --gpus-per-worker and --address are for --engine ray", file=sys.stderr)
    return LocalEngine()
