"""What several test files share."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from runs import reproduce_smoke
from tiny import tiny_encoder, tiny_llama


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The smoke run and all that reads it first, the rest beside it in its order: by numbers of
    tests, as pytest-xdist sorts files, the other whole run of the notebooks came last and alone.
    """
    items.sort(key=lambda item: not _reads_the_smoke_run(item.path))


@cache
def _reads_the_smoke_run(path: Path) -> bool:
    return "smoke_run" in path.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is not installed there is no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays in one process, and so do all files that read the smoke run: it takes minutes
    and is made once.
    """
    from xdist.scheduler.loadfile import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "smoke_run" if _reads_the_smoke_run(config.rootpath / file) else file

    return Scheduling(config, log)


@pytest.fixture(scope="module")
def one_thread():
    """Threads cost more than they save on tables and networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def llama():
    """A tiny random network; tests leave it as it was."""
    return tiny_llama()


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """Folder with build, results and figures of the smoke profile, run once."""
    folder = tmp_path_factory.mktemp("smoke")
    assert reproduce_smoke(folder) == 0
    return folder


@pytest.fixture
def encoder(llama):
    """An encoder around it, with a counter of its own."""
    return tiny_encoder(llama)
