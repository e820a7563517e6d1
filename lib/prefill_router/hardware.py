"""What the machine can do, and keeping all of it busy."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def native_bfloat16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 itself; where it only emulates them, float32 is faster."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(flags.get(flag) for flag in ("avx512_bf16", "amx_bf16"))


def on_every_core(function: Callable[..., Any], jobs: Iterable[tuple], device: torch.device, workers: int | None = None) -> Iterator[Any]:
    """``function(*job)`` of every job, in order: on a CPU a core each with one thread, on an accelerator one after the other.

    A job is taken when a core is nearly free, so memory stays flat; the first error ends the run.
    """
    workers = (workers or os.cpu_count() or 1) if device.type == "cpu" else 1
    if workers == 1:
        for job in jobs:
            yield function(*job)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
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
