"""What the machine can do, and keeping all of it busy."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from threadpoolctl import threadpool_limits


def native_bfloat16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 itself; where it only emulates them, float32 is faster."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(flags.get(flag) for flag in ("avx512_bf16", "amx_bf16"))


def give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps what the threads of many batches once needed, a gigabyte and more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def on_every_core(function: Callable[..., Any], jobs: Iterable[tuple], device: torch.device | str = "cpu") -> Iterator[Any]:
    """``function(*job)`` of every job, in order: on a CPU a core each with one thread, on an accelerator one after the other.

    Small matrices gain little from being split, and the numbers do not depend on how many cores there are. A job is taken when a
    core is nearly free, so memory stays flat; the first error ends the run.
    """
    workers = os.cpu_count() or 1 if torch.device(device).type == "cpu" else 1
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    threads = torch.get_num_threads()
    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            waiting: deque = deque()
            for job in jobs:
                waiting.append(executor.submit(function, *job))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
