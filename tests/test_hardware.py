"""Memory that is freed stays at hand while passes are made, and goes back after them."""

import platform
import subprocess
import sys

import pytest

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
        run = subprocess.run([sys.executable, "-c", SCRIPT.format(call=call)], capture_output=True, text=True, check=True, env=environment)
        return int(run.stdout)

    kept = faults("keep_memory()")
    assert kept < 5000  # 200 rounds of three tensors of 1,024 pages each; some are touched for the first time
    assert faults("") > 20 * max(kept, 100)
    assert faults("keep_memory()", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072") > 20 * max(kept, 100)
