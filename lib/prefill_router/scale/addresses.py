"""Files and folders on any file system that fsspec knows: a disk, s3, gs, memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

CHUNK = 1 << 23  # bytes that are read at a time where a whole file is too much


class ScaleError(RuntimeError):
    """A job cannot begin or go on; says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Address:
    """A file or a folder; `url` as fsspec reads it. It can be sent to another process.

    Options such as an endpoint or a profile come from where fsspec and its file systems look for
    them: the environment (``AWS_ENDPOINT_URL``, ``FSSPEC_S3_…``) or their configuration files.
    """

    url: str

    @classmethod
    def of(cls, text: str | os.PathLike) -> Address:
        """Of a path or a URL; a path is made absolute, since workers have other folders."""
        text = str(text)
        return cls(text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve()))

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def in_this_process(self) -> bool:
        """Whether another process cannot see it."""
        return self.url.startswith("memory://")

    def opened(self) -> tuple[Any, str]:
        """The file system, and the path on it."""
        try:
            return fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ScaleError(
                f"{self.url}: fsspec cannot open it ({error}). Install the package that it names,"
                " such as s3fs or gcsfs, on every machine, or correct the address"
            ) from error

    def read(self) -> bytes:
        """All bytes; FileNotFoundError if it is not there."""
        system, path = self.opened()
        return system.cat_file(path)

    def write(self, data: bytes) -> None:
        """Write whole: on a disk under a temporary name that is renamed, elsewhere in one request,
        which shows the whole object or none.
        """
        system, path = self.opened()
        if not isinstance(system, LocalFileSystem):
            system.pipe_file(path, data)
            return
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        # no process id: the workers of several machines may share this folder
        temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove a file, if it is there."""
        system, path = self.opened()
        try:
            system.rm_file(path)
        except FileNotFoundError:
            return

    def files(self) -> dict[str, int]:
        """Sizes of all files below it by their path from here; empty if there is no such folder.
        A file by itself has the name "".
        """
        system, path = self.opened()
        system.invalidate_cache()  # others write here too
        found = system.find(path, detail=True)
        root = system._strip_protocol(path).rstrip("/")
        return {
            name.removeprefix(root).removeprefix("/"): int(info["size"] or 0)
            for name, info in sorted(found.items())
        }

    def read_many(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """Files below it, all asked for at once where the file system can."""
        system, path = self.opened()
        wanted = {f"{path}/{name}": name for name in names}
        found = system.cat(list(wanted), on_error="omit") if wanted else {}
        root = path.rstrip("/")
        return {name.removeprefix(root).removeprefix("/"): data for name, data in found.items()}
