"""The published files: found under ``$PREFILL_ROUTER_DATA``, else downloaded from a pinned commit;
checked by SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from prefill_router.data.outcomes import OutcomesError
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
    address : where to download from instead of the pinned commit's own address.

    Raises
    ------
    OutcomesError
        A file has another content, or cannot be had: the message names it and where to put it.
    """
    entry = SOURCES[source]
    data = os.environ.get("PREFILL_ROUTER_DATA")
    given = Path(data).expanduser() / "raw" / source if data else None
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
                    _download(
                        f"{address or entry['address']}/{quote(path)}",
                        folder,
                        path,
                        entry["files"][path],
                    )
    return folder


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


def _download(url: str, folder: Path, path: str, expected: dict) -> None:
    """One file, under a temporary name until its content is known to be right."""
    by_hand = (
        f"Download {url} by hand to {folder / path}, or set PREFILL_ROUTER_DATA to a folder that"
        f" holds raw/{folder.name}/{path}"
    )
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
    except (OSError, HTTPException) as error:  # an answer that ends early is an HTTPException
        raise OutcomesError(
            f"{path} cannot be downloaded ({error}). Files that are complete are kept. {by_hand}"
        ) from error
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise OutcomesError(
            f"{url} sent {len(data)} bytes with another SHA-256 than the published file"
            f" ({expected['size']} bytes). {by_hand}"
        )
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(file)
