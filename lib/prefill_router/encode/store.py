"""The store of activations on disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefill_router.encode.pooling import POOLINGS, ActivationError
from prefill_router.encode.prefill import listed

# raise it when stored numbers or files change their meaning: every older store is then re-made
FORMAT = 1


RECOMPUTE = "run extract(...) again, it recomputes this shard alone"


def store_key(
    encoder: Any,
    query_ids: Sequence[str] | np.ndarray,
    prompts: Sequence[str],
    max_length: int | None = None,
) -> str:
    """Hash all that shapes a store: encoder, dtype, length limit, poolings, format, ids with texts
    in order.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    shaped_by = {
        "format": FORMAT,
        "encoder": encoder.fingerprint,
        "dtype": str(encoder.dtype),
        "max_length": int(max_length or encoder.max_length),
        "poolings": POOLINGS,
        "queries": [[str(q), p] for q, p in zip(query_ids, prompts, strict=True)],
    }
    return hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()


def store_folder(
    root: str | Path,
    encoder: Any,
    query_ids: Sequence[str] | np.ndarray,
    prompts: Sequence[str],
    max_length: int | None = None,
) -> Path:
    """Folder below ``root`` for exactly this request: ``<encoder name>-<first 16 digits of
    store_key>``.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(encoder.name)).strip("-.")
    return Path(root) / f"{name}-{store_key(encoder, query_ids, prompts, max_length)[:16]}"


class ActivationStore:
    """Read access to a finished store.

    Parameters
    ----------
    folder : path
        A folder that :func:`extract` has finished.

    Attributes
    ----------
    key : str
        Hash of everything that shaped the store.
    encoder_name : str
    fingerprint : dict
        The encoder's.
    n_layers : int
        L; layers 0 (embeddings) to L (after the final norm) can be read.
    hidden_size : int
        d.
    query_ids : list of n str
        In the order of the request.
    tokens : int64 ndarray [n]
        Encoder tokens per query, chat template included.

    Raises
    ------
    ActivationError
        If the folder is no finished store, or a shard is missing or truncated.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        try:
            manifest = json.loads(path.read_text())
        except FileNotFoundError:
            raise ActivationError(
                f"{path} does not exist: the store is unfinished; run extract(...) again, it "
                "goes on from the last finished shard"
            ) from None
        except ValueError as error:
            raise ActivationError(
                f"{path} is damaged ({error}); delete it and run extract(...) again"
            ) from None
        if not isinstance(manifest, dict):
            raise ActivationError(
                f"{path} is damaged (no object); delete it and run extract(...) again"
            )
        if manifest.get("format") != FORMAT:
            raise ActivationError(
                f"{path} has format {manifest.get('format')}, this library reads {FORMAT}; "
                "delete the folder and run extract(...) again"
            )
        check_manifest(self.folder, manifest)
        self.key: str = manifest["key"]
        self.encoder_name: str = manifest["encoder"]
        self.fingerprint: dict = manifest["fingerprint"]
        self.n_layers: int = manifest["n_layers"]
        self.hidden_size: int = manifest["hidden_size"]
        self.query_ids: list[str] = manifest["query_ids"]
        self._shards: list[dict] = manifest["shards"]
        self._row = {query_id: row for row, query_id in enumerate(self.query_ids)}
        # where each query lies: its shard, and its row in that shard
        self._place = np.empty((len(self.query_ids), 2), np.int64)
        self.tokens = np.empty(len(self.query_ids), np.int64)
        for index, shard in enumerate(self._shards):
            file = self.folder / shard["file"]
            if not file.is_file() or file.stat().st_size != shard["bytes"]:
                raise ActivationError(f"{file} is missing or truncated; {RECOMPUTE}")
            rows = [self._row[query_id] for query_id in shard["query_ids"]]
            self._place[rows] = np.column_stack([np.full(len(rows), index), np.arange(len(rows))])
            self.tokens[rows] = shard["tokens"]

    def read(
        self, layer: int, pooling: str, query_ids: Sequence[str] | np.ndarray | None = None
    ) -> np.ndarray:
        """Vectors of one layer and pooling.

        Parameters
        ----------
        layer : int
            0 (embeddings) to ``n_layers``.
        pooling : {"last", "mean"}
        query_ids : sequence of m str, optional
            Which queries, in which order; default: all, in the order of ``query_ids``.

        Returns
        -------
        float32 ndarray [m, d]

        Raises
        ------
        ActivationError
            Unknown layer, pooling or query id; an unreadable shard.
        """
        from safetensors import SafetensorError, safe_open

        if pooling not in POOLINGS:
            raise ActivationError(
                f"unknown pooling {pooling!r}; the store has {', '.join(POOLINGS)}"
            )
        if not 0 <= layer <= self.n_layers:
            raise ActivationError(
                f"layer {layer} does not exist; {self.folder} has layers 0 to {self.n_layers}"
            )
        if query_ids is None:
            rows = np.arange(len(self.query_ids))
        else:
            unknown = [str(q) for q in query_ids if str(q) not in self._row]
            if unknown:
                raise ActivationError(
                    f"{self.folder} has no activations of {listed(unknown)}; extract them first"
                )
            rows = np.array([self._row[str(q)] for q in query_ids], np.int64)
        out = np.empty((len(rows), self.hidden_size), np.float32)
        place = self._place[rows]
        for index in np.unique(place[:, 0]):
            file = self.folder / self._shards[index]["file"]
            try:
                with safe_open(file, framework="numpy") as tensors:
                    block = tensors.get_tensor(f"{pooling}.{layer}")
            except (SafetensorError, OSError) as error:
                raise ActivationError(f"{file} cannot be read ({error}); {RECOMPUTE}") from None
            wanted = place[:, 0] == index
            out[wanted] = block[place[wanted, 1]]
        return out

    def reading_order(self, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Positions of queries in the order in which the shards hold them: read so in blocks, no
        shard is opened for every block. KeyError for an id that is not there.
        """
        place = self._place[[self._row[str(query_id)] for query_id in query_ids]]
        return np.lexsort((place[:, 1], place[:, 0]))

    def verify(self) -> list[str]:
        """Names of the shard files whose SHA-256 differs from the manifest (an empty list: all is
        well).
        """
        return [
            s["file"] for s in self._shards if sha256_of(self.folder / s["file"]) != s["sha256"]
        ]


def check_manifest(folder: Path, manifest: dict) -> None:
    """Refuse a manifest that belongs to another request than the folder's."""
    try:
        request = json.loads((folder / "request.json").read_text())
    except (OSError, ValueError) as error:
        raise ActivationError(
            f"{folder / 'request.json'} cannot be read ({error}); delete the folder and run"
            " extract(...) again"
        ) from None
    differs = sorted(name for name, value in request.items() if manifest.get(name) != value)
    if differs:
        raise ActivationError(
            f"{folder / 'manifest.json'} is of another store than request.json beside it"
            f" ({listed(differs)} differ); run extract(...) again, it writes the manifest anew from"
            " the shards"
        )


def expected_files(key: str, query_ids: list[str], token_ids: list[np.ndarray]) -> dict:
    """What the sidecar of the shard with these queries must say."""
    return {
        "key": key,
        "query_ids": query_ids,
        "tokens": [len(t) for t in token_ids],
        "tokens_sha256": (
            hashlib.sha256(json.dumps([t.tolist() for t in token_ids]).encode()).hexdigest()
        ),
    }


def write_atomic(path: Path, data: bytes) -> None:
    """Write under another name, flush to disk, rename: a reader sees the whole file or none."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ActivationError(
            f"the disk is full: {path} could not be written. Finished shards are kept; make room"
            " and run extract(...) again"
        ) from None


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
