"""What the machine can do, and keeping all of it busy."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator, contextmanager
from typing import TYPE_CHECKING, Any

from threadpoolctl import OpenBLASController, threadpool_limits

# Torch takes seconds to import, and most of what imports this module computes without it.
if TYPE_CHECKING:
    import torch


def native_bfloat16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 itself; where it only emulates them, float32 is
    faster.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(flags.get(flag) for flag in ("avx512_bf16", "amx_bf16"))


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


@functools.cache
def keep_memory() -> None:
    """Let this process keep memory that it frees, up to 256 MB in each of glibc's heaps.

    By default the few megabytes of every layer's states go back to the system as they are freed,
    and the page faults of getting them anew take a quarter of a forward pass. No number changes.
    Where the environment sets one of these thresholds, both stay as they are.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None and not os.environ.keys() & {
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
    }:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: 32 MB, the most that glibc takes
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD


def give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps what the threads of many batches once needed,
    a gigabyte and more.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Within it torch computes with ``n`` threads in the calling thread; other threads keep their
    number.

    One is the choice for a forward pass or a training that may have company. Torch's threads wait
    for each other after every product, and spin: on cores that others use as well, every product
    takes as long as the thread that gets a core last. On two cores a pass over 32 to 128 tokens is
    1.1 to 1.5 times faster with two threads where nothing else runs, and 3 times slower beside one
    busy process (`benchmarks/latency.py`). As a decorator it works too. Where nothing has imported
    torch there is nothing to set.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    before = torch.get_num_threads()
    if before == n:  # torch would also tell the threads that are yet to come
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_torch_thread() -> None:
    # a thread's first use of torch takes the number that any thread set last, even after its own
    # setting
    if "torch" in sys.modules:
        import torch

        torch.get_num_threads()
        torch.set_num_threads(1)


class _OneBlasThread(ContextDecorator):
    """As `torch_threads` for BLAS, whose number of threads is the whole process's: one, from the
    first that enters until the last has left.
    """

    def __init__(self) -> None:
        # reentrant: a generator that is collected may leave while its thread is about to enter
        self._lock, self._inside = threading.RLock(), 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limits = threadpool_limits(1, user_api="blas")
                # the last to leave may be another thread
                OpenBLASController.clear_controlling_thread()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                OpenBLASController.clear_controlling_thread()


one_blas_thread = _OneBlasThread()


def cores() -> int:
    """Cores that this process may keep busy: ``$PREFILL_ROUTER_CORES``, which a worker of a cluster
    sets to its share, else all.
    """
    return int(os.environ.get("PREFILL_ROUTER_CORES") or os.cpu_count() or 1)


def on_every_core(
    function: Callable[..., Any], jobs: Iterable[tuple], device: torch.device | str = "cpu"
) -> Iterator[Any]:
    """``function(*job)`` of every job, in order: on a CPU a core each with one thread, on an
    accelerator one after the other.

    Small matrices gain little from being split, and the numbers do not depend on how many cores
    there are. A job is taken when a core is nearly free, so memory stays flat; the first error ends
    the run.
    """
    on_cpu = str(device).partition(":")[0] == "cpu"
    workers = cores() if on_cpu else 1
    keep_memory()
    if not on_cpu:
        yield from (function(*job) for job in jobs)
        return
    if workers == 1:  # the numbers shall not depend on how many cores there are
        with one_blas_thread, torch_threads(1):
            yield from (function(*job) for job in jobs)
        return
    executor = ThreadPoolExecutor(workers, initializer=_one_torch_thread)
    with one_blas_thread, torch_threads(1):
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
