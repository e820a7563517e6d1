"""Files that are written aside and renamed: what all their writers share."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def usual_mode(*paths: Path) -> None:
    """Give files of one folder the permissions that a new file has here (0644 under the usual
    umask).

    safetensors, like other writers that go through a temporary file of their own, leaves files that
    only their owner can read (0600).
    """
    if not paths:
        return
    # the umask can be asked only by setting it, for all threads at once: a new file tells it too
    probe = paths[0].with_name(f".mode.{os.getpid()}.{threading.get_ident()}")
    try:
        with probe.open("x"):
            mode = probe.stat().st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)
    for path in paths:
        path.chmod(mode)


@functools.cache
def say_once(text: str) -> None:
    print(text)


def project_root() -> Path:
    """Folder that holds `config/`, `notebooks/` and `lib/`, found from where this package lies."""
    return Path(__file__).resolve().parents[2]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` that takes its place, with a new file's usual
    permissions, when the block ends without an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        usual_mode(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class WeightsError(RuntimeError):
    """Weights could not be fetched or are not what they should be; the message says what to do."""


def cache_root(cache_dir: str | os.PathLike | None = None) -> Path:
    """Folder of the cache: `cache_dir`, else ``$PREFILL_ROUTER_CACHE``, else
    ``~/.cache/prefill-router``.
    """
    chosen = cache_dir or os.environ.get("PREFILL_ROUTER_CACHE") or "~/.cache/prefill-router"
    return Path(chosen).expanduser()


def say(message: str) -> None:
    """Print one progress line on standard error."""
    print(f"prefill_router: {message}", file=sys.stderr, flush=True)


def option(name: str, value: str = "") -> str:
    """An option in messages, as both ways to run name it: the command's, and make's variable; a
    value stands in quotes.
    """
    variable, quoted = name.upper().replace("-", "_"), value and f'"{value}"'
    return f"--{name}{quoted and ' ' + quoted} ({variable}={quoted} with make)"


@contextlib.contextmanager
def exclusive(lock_file: Path, action: str) -> Iterator[None]:
    """Hold a lock between processes; if another one has it, say so and wait. A killed process holds
    none.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is {action} (it holds {lock_file}); waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Raise `WeightsError` unless the disk of the existing `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            f"Too little disk for {what}: {folder} needs {needed / 1e9:.2f} GB and has"
            f" {free / 1e9:.2f} GB free. Free some, or set PREFILL_ROUTER_CACHE to a folder on a"
            " larger disk."
        )


def known_sha256(path: Path, stamp: Path) -> str:
    """SHA-256 of a file, computed once while size and time of change are those in `stamp`."""
    state = path.stat()
    seen = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError
    ):  # no stamp of ours: hash the file
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if {key: known[key] for key in seen} == seen and len(known["sha256"]) == 64:
            return known["sha256"]
    digest = file_hash(path)
    with contextlib.suppress(OSError):  # in a read-only cache the file is hashed every time
        stamp.parent.mkdir(parents=True, exist_ok=True)
        partial = stamp.with_name(f"{stamp.name}.{os.getpid()}")
        partial.write_text(json.dumps({"sha256": digest, **seen}), encoding="utf-8")
        partial.replace(stamp)
    return digest
