"""Memory that is freed stays at hand while passes are made; threads are taken for a while and given
back.
"""

import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from prefill_router.hardware import on_every_core, one_blas_thread, torch_threads
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble

# what a worker does in a forward pass: tensors of a few megabytes come and go
SCRIPT = """
import resource, torch
from concurrent.futures import ThreadPoolExecutor
from prefill_router.hardware import keep_memory
{call}
def work():
    for _ in range(200):
        a = torch.ones(1 << 20); b = a + 1; c = b * 2
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with ThreadPoolExecutor(1) as pool:
    pool.submit(work).result()
    before = faults()
    pool.submit(work).result()
    print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_kept_memory_is_not_asked_for_again():
    def faults(call, **environment):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(call=call)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        return int(run.stdout)

    kept = faults("keep_memory()")
    assert (
        kept < 5000
    )  # 200 rounds of three tensors of 1,024 pages each; some are touched for the first time
    assert faults("") > 20 * max(kept, 100)
    assert faults(
        "keep_memory()", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072"
    ) > 20 * max(kept, 100)


def blas_threads():
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.fixture
def two_threads():
    """Two of torch's threads in the test's own thread, two of BLAS, as a program has them on two
    cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


def test_torchs_threads_are_those_of_the_calling_thread(two_threads):
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == 2
        with torch_threads(1):
            assert (
                torch.get_num_threads() == 1 and other.submit(torch.get_num_threads).result() == 2
            )
        with pytest.raises(KeyError), torch_threads(1):
            raise KeyError
    assert torch.get_num_threads() == 2


def test_blas_gets_its_threads_back_when_the_last_has_left():
    before, barrier = blas_threads(), threading.Barrier(2, timeout=30)

    def first():
        with one_blas_thread:
            barrier.wait()  # both are within
        barrier.wait()  # this one has left

    def second():
        with one_blas_thread:
            barrier.wait()
            barrier.wait()
            assert blas_threads() == {1}

    with ThreadPoolExecutor(2) as both:
        for job in [both.submit(first), both.submit(second)]:
            job.result()
    assert blas_threads() == before


def test_several_runs_at_once_leave_the_threads_as_they_were(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    before = torch.get_num_threads(), blas_threads()
    with ThreadPoolExecutor(4) as callers:
        runs = [
            callers.submit(
                lambda: list(
                    on_every_core(lambda i: (i, torch.get_num_threads()), ((i,) for i in range(20)))
                )
            )
            for _ in range(8)
        ]
        assert [run.result() for run in runs] == [[(i, 1) for i in range(20)]] * 8
    assert (torch.get_num_threads(), blas_threads()) == before


def test_a_worker_has_one_thread_whatever_another_thread_set_last(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = torch.get_num_threads()

    def jobs():
        for i in range(2):  # a worker begins with each
            with ThreadPoolExecutor(1) as other:
                other.submit(torch.set_num_threads, 3).result()
            yield (i,)

    assert list(on_every_core(lambda i: torch.get_num_threads(), jobs())) == [1, 1]
    torch.set_num_threads(before)


@pytest.mark.parametrize(("device", "here"), [("cpu:0", False), ("cuda:0", True), ("mps", True)])
def test_an_accelerator_gets_one_job_after_the_other_from_the_calling_thread(
    device, here, monkeypatch
):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for named in (device, torch.device(device)):
        ran = set(on_every_core(lambda i: threading.get_ident(), ((i,) for i in range(4)), named))
        assert (ran == {threading.get_ident()}) == here


def test_training_takes_one_thread(two_threads, monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 4)).astype(np.float32), (rng.random((60, 2)) < 0.5).astype(float)
    seen = []
    for place in (
        "prefill_router.heads.members.masked_bce",
        "prefill_router.heads.kernel_regression.held_out_predictions",
    ):
        module, _, name = place.rpartition(".")
        true = getattr(sys.modules[module], name)
        monkeypatch.setattr(
            place,
            lambda *a, true=true, name=name: (
                seen.append((name, torch.get_num_threads(), blas_threads())) or true(*a)
            ),
        )
    TrunkEnsemble(TrunkConfig(members=1, keep=1, max_epochs=1)).fit(X, Y)
    KernelRouter().fit(X, Y)
    assert {threads for name, threads, _ in seen if name == "masked_bce"} == {1}
    assert [threads for name, _, threads in seen if name == "held_out_predictions"] == [{1}]
    assert torch.get_num_threads() == 2 and blas_threads() == {2}
