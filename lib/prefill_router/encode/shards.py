"""The pieces of a store that is being made: written whole, found again after an interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from prefill_router.encode.pooling import POOLINGS, ActivationError
from prefill_router.encode.store import sha256_of, to_json, write_atomic


def agree_on_request(folder: Path, request: dict) -> dict:
    """Write the request into a fresh folder, or check that a begun one has the same."""
    path = folder / "request.json"
    if not path.exists():
        write_atomic(path, to_json(request))
        return request
    try:
        earlier = json.loads(path.read_text())
        key, size = earlier["key"], int(earlier["shard_size"])
    except (ValueError, KeyError, TypeError):
        raise ActivationError(
            f"{path} is damaged; delete the folder and run extract(...) again"
        ) from None
    if key != request["key"]:
        was, now = (
            f"encoder {r.get('encoder')!r}, {r.get('n_queries')} queries, key {r['key'][:16]}"
            for r in (earlier, request)
        )
        raise ActivationError(
            f"{folder} holds the activations of another request ({was}; asked for: {now}); use "
            "another folder (store_folder names one per request) or delete this one"
        )
    return {**request, "shard_size": size}


def finished_shard(folder: Path, index: int, expected: dict) -> dict | None:
    """The sidecar of a shard that is complete, intact and the expected one; None if it must be
    computed.
    """
    path = folder / f"shard-{index:05d}.json"
    try:
        sidecar = json.loads(path.read_text())
        file = folder / sidecar["file"]
        if any(sidecar.get(name) != value for name, value in expected.items()):
            return None
        if sha256_of(file) == sidecar["sha256"]:
            return sidecar
        warnings.warn(
            f"{file}: the checksum differs from {path.name}; this shard is computed again",
            stacklevel=3,
        )
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError):
        warnings.warn(f"{path} is damaged; this shard is computed again", stacklevel=3)
    return None


def write_shard(folder: Path, index: int, pooled: dict[str, np.ndarray], expected: dict) -> dict:
    from safetensors.numpy import save

    data = save(
        {
            f"{name}.{layer}": np.ascontiguousarray(v)
            for name, vectors in pooled.items()
            for layer, v in enumerate(vectors)
        }
    )
    sidecar = {
        **expected,
        "file": f"shard-{index:05d}.safetensors",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomic(folder / sidecar["file"], data)
    write_atomic(folder / f"shard-{index:05d}.json", to_json(sidecar))
    return sidecar


class ShardWriter:
    """Writes the shards of a store; a context manager.

    Parameters
    ----------
    folder : Path
    beside : bool
        In threads of its own, at most ``WRITERS`` shards at a time, so that an accelerator does not
        wait for checksums and the disk. On a CPU every core computes, and the caller writes.

    Attributes
    ----------
    sidecars : dict of index to dict
        Complete when the context is left; the first error of a thread is raised there at the
        latest.
    """

    WRITERS = 4

    def __init__(self, folder: Path, beside: bool) -> None:
        self.sidecars: dict[int, dict] = {}
        self._folder = folder
        self._threads = ThreadPoolExecutor(self.WRITERS) if beside else None
        self._waiting: deque[tuple[int, Future]] = deque()

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, index: int, pooled: dict[str, np.ndarray], expected: dict) -> None:
        """Write a shard; the arrays must not be changed afterwards."""
        if self._threads is None:
            self.sidecars[index] = write_shard(self._folder, index, pooled, expected)
            return
        while len(self._waiting) >= self.WRITERS:  # each holds the states of a shard
            self._take()
        job = self._threads.submit(write_shard, self._folder, index, pooled, expected)
        self._waiting.append((index, job))

    def _take(self) -> None:
        index, job = self._waiting.popleft()
        self.sidecars[index] = job.result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._threads is None:
            return
        try:
            while self._waiting and kind is None:
                self._take()
        finally:
            self._threads.shutdown()  # what is begun is finished: shards are kept


def check_disk(folder: Path, rows: int, request: dict) -> None:
    needed = rows * len(POOLINGS) * (request["n_layers"] + 1) * request["hidden_size"] * 4
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ActivationError(
            f"{folder}: activations need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make "
            "room or build in another folder"
        )
