"""Prefill activations: one forward pass per prompt, every layer pooled to one vector, in a
resumable store.

A store is a folder:

- ``request.json``: what was asked for, written first. A folder that holds another request is
  refused.
- ``shard-00000.safetensors``: ``float32`` tensors ``"{pooling}.{layer}"`` of shape [rows, d]: one
  layer is read alone, by memory map.
- ``shard-00000.json``: query ids, token counts and SHA-256 of that shard, written after it.
- ``manifest.json``: the sum of the sidecars, written last. A folder without it is unfinished, not a
  store.

Everything is stored as ``float32``: late layers of some encoders hold values that overflow
``float16``, and 3,000 prompts x 31 layers x 576 dimensions x 2 poolings are only 430 MB.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefill_router.hardware import give_memory_back
from prefill_router.prefill import (
    POOLINGS,
    ActivationError,
    Prefill,
    batch_tokens_of,
    batches,
    listed,
)
from prefill_router.weights import exclusive

# raise it when stored numbers or files change their meaning: every older store is then re-made
FORMAT = 1
_RECOMPUTE = "run extract(...) again, it recomputes this shard alone"


def store_key(
    encoder: Any, query_ids: Sequence[str], prompts: Sequence[str], max_length: int | None = None
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
    query_ids: Sequence[str],
    prompts: Sequence[str],
    max_length: int | None = None,
) -> Path:
    """Folder below ``root`` for exactly this request: ``<encoder name>-<first 16 digits of
    store_key>``.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(encoder.name)).strip("-.")
    return Path(root) / f"{name}-{store_key(encoder, query_ids, prompts, max_length)[:16]}"


def extract(
    encoder: Any,
    query_ids: Sequence[str],
    prompts: Sequence[str],
    folder: str | Path,
    batch_tokens: int | None = None,
    shard_size: int = 256,
    progress: bool = True,
    max_length: int | None = None,
) -> ActivationStore:
    """Run the encoder's prefill over every prompt and store all layers, both poolings.

    Finished shards of an interrupted run are kept; a shard whose checksum differs is computed
    again, alone. A second process that wants the same store waits for the first, and says so.

    Parameters
    ----------
    encoder : Encoder
        From :func:`prefill_router.encoders.load_encoder`.
    query_ids, prompts : n strings each
        Ids are unique; prompts are not empty.
    folder : path
        Where the store goes; see :func:`store_folder`.
    batch_tokens : int, optional
        Most padded tokens in one forward pass (one longer prompt goes alone); default: what suits
        the device. It sets memory and speed; the vectors change only by rounding in the encoder's
        dtype.
    shard_size : int
        Prompts per shard: what an interruption loses at most. A store keeps the size it was begun
        with.
    progress : bool
        Show a bar over tokens on stderr.
    max_length : int, optional
        Longest prompt in encoder tokens; default: the encoder's own limit. Longer prompts are an
        error, never cut.

    Returns
    -------
    ActivationStore

    Raises
    ------
    ActivationError
        Empty or too long prompts, duplicate ids (all named at once), a folder that holds another
        request, too little disk (before or while it is written; finished shards are kept), too
        little accelerator memory, non-finite activations.
    """
    query_ids, prompts = [str(q) for q in query_ids], list(prompts)
    limit = int(max_length or encoder.max_length)
    token_ids = _token_ids(encoder, query_ids, prompts, limit)
    folder = Path(folder)
    request = {
        "format": FORMAT,
        "key": store_key(encoder, query_ids, prompts, limit),
        "poolings": list(POOLINGS),
        "encoder": str(encoder.name),
        "fingerprint": encoder.fingerprint,
        "max_length": limit,
        "n_layers": int(encoder.n_layers),
        "hidden_size": int(encoder.hidden_size),
        "n_queries": len(query_ids),
        "shard_size": int(shard_size),
    }
    if batch_tokens is None:
        batch_tokens = batch_tokens_of(encoder.device)
    with exclusive(
        folder.with_name(folder.name + ".lock"), f"extracting activations into {folder}"
    ):
        folder.mkdir(parents=True, exist_ok=True)
        request = _agree_on_request(folder, request)
        sidecars = _fill(encoder, query_ids, token_ids, folder, request, batch_tokens, progress)
        _write_atomic(
            folder / "manifest.json",
            _to_json({**request, "query_ids": query_ids, "shards": sidecars}),
        )
    return ActivationStore(folder)


def _fill(
    encoder: Any,
    query_ids: list[str],
    token_ids: list[np.ndarray],
    folder: Path,
    request: dict,
    batch_tokens: int,
    progress: bool,
) -> list[dict]:
    """Compute the shards that are not there yet; the sidecars of all."""
    # longest first: if memory does not suffice, that shows in the first batch and not after an hour
    order = sorted(range(len(query_ids)), key=lambda i: (-len(token_ids[i]), i))
    size = request["shard_size"]
    plan = [order[start : start + size] for start in range(0, len(order), size)]
    expected = [
        _expected(
            request["key"], [query_ids[row] for row in rows], [token_ids[row] for row in rows]
        )
        for rows in plan
    ]
    sidecars = [_finished_shard(folder, index, shard) for index, shard in enumerate(expected)]
    missing = [index for index, sidecar in enumerate(sidecars) if sidecar is None]
    _check_disk(folder, sum(len(plan[i]) for i in missing), request)

    from tqdm import tqdm

    total = sum(sum(shard["tokens"]) for shard in expected)
    to_do = sum(sum(expected[index]["tokens"]) for index in missing)
    # every batch lies in one shard, but the next shard's are begun before the last of this one are
    # done
    jobs = [
        (index, batch)
        for index in missing
        for batch in batches(expected[index]["tokens"], batch_tokens)
    ]

    def inputs(index: int, batch: list[int]) -> tuple[list[np.ndarray], list[str]]:
        rows = [plan[index][i] for i in batch]
        return [token_ids[row] for row in rows], [query_ids[row] for row in rows]

    with (
        tqdm(
            total=total, initial=total - to_do, unit="token", desc="prefill", disable=not progress
        ) as bar,
        Prefill(encoder) as prefill,
    ):
        if missing:
            prefill.agree_on(token_ids[order[-1]])
        pooled: dict[str, np.ndarray] = {}
        done = 0
        for (index, batch), vectors in zip(
            jobs, prefill.map(inputs(*job) for job in jobs), strict=True
        ):
            if not pooled:
                shape = (encoder.n_layers + 1, len(plan[index]), encoder.hidden_size)
                pooled = {name: np.empty(shape, np.float32) for name in POOLINGS}
            for name in POOLINGS:
                pooled[name][:, batch] = vectors[name]
            done += len(batch)
            bar.update(sum(expected[index]["tokens"][i] for i in batch))
            if done == len(plan[index]):
                sidecars[index] = _write_shard(folder, index, pooled, expected[index])
                pooled, done = {}, 0
    give_memory_back()
    return sidecars


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
        _check_manifest(self.folder, manifest)
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
                raise ActivationError(f"{file} is missing or truncated; {_RECOMPUTE}")
            rows = [self._row[query_id] for query_id in shard["query_ids"]]
            self._place[rows] = np.column_stack([np.full(len(rows), index), np.arange(len(rows))])
            self.tokens[rows] = shard["tokens"]

    def read(self, layer: int, pooling: str, query_ids: Sequence[str] | None = None) -> np.ndarray:
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
                raise ActivationError(f"{file} cannot be read ({error}); {_RECOMPUTE}") from None
            wanted = place[:, 0] == index
            out[wanted] = block[place[wanted, 1]]
        return out

    def verify(self) -> list[str]:
        """Names of the shard files whose SHA-256 differs from the manifest (an empty list: all is
        well).
        """
        return [s["file"] for s in self._shards if _sha256(self.folder / s["file"]) != s["sha256"]]


def _token_ids(
    encoder: Any, query_ids: list[str], prompts: list[str], limit: int
) -> list[np.ndarray]:
    """Token ids of every prompt; all prompts that cannot be read are named in one error."""
    from prefill_router.encoders import (
        EncoderError,
        render_prompt,
    )  # here: reading a store must not import transformers

    if len(query_ids) != len(prompts):
        raise ActivationError(
            f"{len(query_ids)} query ids but {len(prompts)} prompts; pass one id per prompt"
        )
    if not query_ids:
        raise ActivationError("no prompts were given; pass at least one")
    seen: set[str] = set()
    duplicate = [q for q in query_ids if q in seen or seen.add(q)]
    if duplicate:
        raise ActivationError(
            f"duplicate query ids: {listed(duplicate)}; every prompt needs its own id"
        )
    empty = [
        q
        for q, p in zip(query_ids, prompts, strict=True)
        if not isinstance(p, str) or not p.strip()
    ]
    if empty:
        raise ActivationError(
            f"empty prompts: {listed(empty)}; remove these queries or give them a text"
        )
    token_ids: list[np.ndarray] = []  # arrays: a list of ints takes nine times the memory
    refused: dict[str, str] = {}
    for query_id, prompt in zip(query_ids, prompts, strict=True):
        try:
            token_ids.append(np.array(render_prompt(encoder, prompt), np.int32))
        except EncoderError as error:
            refused[query_id] = str(error)
    if refused:
        raise ActivationError(
            f"{encoder.name} cannot read {len(refused)} prompts: {listed(list(refused))}. The"
            f" first: {next(iter(refused.values()))}"
        )
    long = [
        f"{q} ({len(t)} tokens)"
        for q, t in zip(query_ids, token_ids, strict=True)
        if len(t) > limit
    ]
    if long:
        raise ActivationError(
            f"prompts longer than the {limit} tokens that {encoder.name} reads: "
            f"{listed(long)}; remove them or choose an encoder with a longer context"
        )
    return token_ids


def _agree_on_request(folder: Path, request: dict) -> dict:
    """Write the request into a fresh folder, or check that a begun one has the same."""
    path = folder / "request.json"
    if not path.exists():
        _write_atomic(path, _to_json(request))
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


def _check_manifest(folder: Path, manifest: dict) -> None:
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


def _expected(key: str, query_ids: list[str], token_ids: list[np.ndarray]) -> dict:
    """What the sidecar of the shard with these queries must say."""
    return {
        "key": key,
        "query_ids": query_ids,
        "tokens": [len(t) for t in token_ids],
        "tokens_sha256": (
            hashlib.sha256(json.dumps([t.tolist() for t in token_ids]).encode()).hexdigest()
        ),
    }


def _finished_shard(folder: Path, index: int, expected: dict) -> dict | None:
    """The sidecar of a shard that is complete, intact and the expected one; None if it must be
    computed.
    """
    path = folder / f"shard-{index:05d}.json"
    try:
        sidecar = json.loads(path.read_text())
        file = folder / sidecar["file"]
        if any(sidecar.get(name) != value for name, value in expected.items()):
            return None
        if _sha256(file) == sidecar["sha256"]:
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


def _write_shard(folder: Path, index: int, pooled: dict[str, np.ndarray], expected: dict) -> dict:
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
    _write_atomic(folder / sidecar["file"], data)
    _write_atomic(folder / f"shard-{index:05d}.json", _to_json(sidecar))
    return sidecar


def _check_disk(folder: Path, rows: int, request: dict) -> None:
    needed = rows * len(POOLINGS) * (request["n_layers"] + 1) * request["hidden_size"] * 4
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ActivationError(
            f"{folder}: activations need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make "
            "room or build in another folder"
        )


def _write_atomic(path: Path, data: bytes) -> None:
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


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
