"""Executing one notebook in a kernel of its own."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


class NotebookFailed(RuntimeError):
    """A notebook that raised; the message holds the end of its traceback and where the failing copy
    lies.
    """


@contextmanager
def kernel_environment(folder: Path) -> Iterator[None]:
    """Environment in which the kernel `python3` is this Python and library, whatever the home
    holds.
    """
    folder = folder.resolve()
    library = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    changes = {
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PATH": None,
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": os.pathsep.join([library, inherited] if inherited else [library]),
    }
    before = {key: os.environ.get(key) for key in changes}
    for key in ("runtime", "ipython"):
        (folder / key).mkdir(parents=True, exist_ok=True)
    # ipykernel warns at every start that it talks TCP on this machine without encryption: five
    # lines of noise a run.
    settings = folder / "ipython" / "profile_default" / "ipython_kernel_config.py"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("c.IPKernelApp.log_level = 40\n", encoding="utf-8")
    try:
        _set_environment(changes)
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def _resident(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _end(processes: Iterable[psutil.Process]) -> None:
    processes = list(processes)
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    for process in psutil.wait_procs(processes, timeout=3)[1]:
        process.kill()


def execute(source: Path, target: Path, parameters: dict[str, Any]) -> tuple[float, int]:
    """Execute one notebook with papermill and keep the executed copy at `target` only if it ran to
    its end.

    Papermill works in a thread, so that this one can watch the memory of the kernel and its
    children and answer an interrupt at once.

    Returns
    -------
    (seconds, bytes of memory at the peak)

    Raises
    ------
    NotebookFailed
        A cell raised or the kernel died; the failing copy stays beside `target` as
        `*.failed.ipynb`.
    """
    import papermill

    running = target.with_name(f".{target.stem}.running.ipynb")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in (running, failed, target):
        stale.unlink(missing_ok=True)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            papermill.execute_notebook(
                str(source),
                str(running),
                parameters=parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                coalesce_streams=True,  # a progress bar is its last line, not one for each step
                start_timeout=300,
                # a kernel that is told to end in the middle of its clean-up calls that an error
                extra_arguments=["--log-level=CRITICAL"],
                cwd=str(source.parent),
            )
        except BaseException as error:  # carried over to the waiting thread
            errors.append(error)

    me = psutil.Process()
    earlier = set(me.children(recursive=True))
    started, peak = time.monotonic(), 0
    thread = threading.Thread(target=work, name=f"papermill {source.name}", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
            peak = max(peak, _resident(set(me.children(recursive=True)) - earlier))
    except BaseException:
        _end(set(me.children(recursive=True)) - earlier)
        thread.join(10)
        running.unlink(missing_ok=True)
        raise
    if errors:
        if running.is_file():
            os.replace(running, failed)
        raise NotebookFailed(_last_lines(errors[0], failed)) from None
    os.replace(running, target)
    return time.monotonic() - started, peak


def _last_lines(error: BaseException, failed: Path) -> str:
    if getattr(error, "ename", "") == "NotRunYet":  # says all that there is to know
        return str(getattr(error, "evalue", error))
    lines = [f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"]
    traceback = "\n".join(getattr(error, "traceback", []) or [])
    tail = re.sub(r"\x1b\[[0-9;]*m", "", traceback).rstrip().splitlines()[-12:]
    where = [f"The notebook up to the failing cell: {failed}"] if failed.is_file() else []
    return "\n".join(
        tail + ([] if tail and tail[-1].startswith(lines[0].split("\n")[0]) else lines) + where
    )
