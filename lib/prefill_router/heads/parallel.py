"""Jobs side by side, a process and a thread each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from prefill_router.hardware import give_memory_back, keep_memory


def side_by_side(jobs: Mapping[Any, tuple], device: str, message: str) -> dict[Any, Any]:
    """``function(*arguments)`` of every job ``(function, *arguments)``, one process and thread per
    core; on a GPU one after the other.

    ``message``, with the key in it, is printed as jobs end; the first error of a job ends the run.
    """
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    workers = 1 if gpu else min(len(jobs), os.cpu_count() or 1)
    found: dict[Any, Any] = {}
    give_memory_back()  # of this process, before others are started
    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            results = Parallel(n_jobs=workers, return_as="generator")(
                delayed(one_thread)(*job) for job in jobs.values()
            )
            for key, result in zip(jobs, results, strict=True):
                print(message.format(key), flush=True)
                found[key] = result
    finally:
        if workers > 1:
            get_reusable_executor().shutdown()  # idle workers keep what they once needed
    return found


def one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return function(*arguments)
    finally:
        torch.set_num_threads(before)
