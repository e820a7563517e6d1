"""Prefill activations: one forward pass per prompt, every layer pooled to one vector, in a resumable store.

A store is a folder:

- ``request.json``: what was asked for, written first. A folder that holds another request is refused.
- ``shard-00000.safetensors``: ``float32`` tensors ``"{pooling}.{layer}"`` of shape [rows, d]: one
  layer is read alone, by memory map.
- ``shard-00000.json``: query ids, token counts and SHA-256 of that shard, written after it.
- ``manifest.json``: the sum of the sidecars, written last. A folder without it is unfinished, not a store.

Everything is stored as ``float32``: late layers of some encoders hold values that overflow ``float16``, and
3,000 prompts x 31 layers x 576 dimensions x 2 poolings are only 430 MB.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1  # raise it when stored numbers or files change their meaning: every older store is then re-made
POOLINGS = ("last", "mean")
_RECOMPUTE = "run extract(...) again, it recomputes this shard alone"


class ActivationError(RuntimeError):
    """Activations cannot be computed or read; the message says which query or file, and what to do."""


def pool_states(hidden_states: Sequence[Any], mask: Any) -> dict[str, Any]:
    """Pool every layer's token states to one vector per prompt.

    Parameters
    ----------
    hidden_states : sequence of L + 1 torch tensors, each [B, T, d]
        Index 0: embeddings, index L: last block after the final norm.
    mask : torch tensor [B, T], bool or {0, 1}
        Real tokens, on whichever side the padding is.

    Returns
    -------
    dict of float32 tensors [L + 1, B, d]
        ``last``: the state of the last real token; ``mean``: the average over real tokens
        (LLM Router, arXiv 2603.20895, method).

    Raises
    ------
    ActivationError
        If a row has no real token.
    """
    import torch

    mask = mask.bool()
    counts = mask.sum(dim=1)
    if bool((counts == 0).any()):
        raise ActivationError(
            "a row of the attention mask has no real token; every prompt needs at least one"
        )
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, -1).amax(
        dim=1
    )  # by mask, never [:, -1]: that is a pad under right padding
    rows = torch.arange(mask.shape[0], device=mask.device)
    pad = ~mask[..., None]
    # masked_fill, not a product: attention may leave NaN at fully masked positions, and 0 * NaN is NaN
    mean = [s.float().masked_fill(pad, 0.0).sum(dim=1) / counts[:, None] for s in hidden_states]
    return {"last": torch.stack([s[rows, last].float() for s in hidden_states]), "mean": torch.stack(mean)}


def store_key(
    encoder: Any, query_ids: Sequence[str], prompts: Sequence[str], max_length: int | None = None
) -> str:
    """Hash all that shapes a store: encoder, dtype, length limit, poolings, format, ids with texts in order.

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
    """Folder below ``root`` for exactly this request: ``<encoder name>-<first 16 digits of store_key>``."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(encoder.name)).strip("-.")
    return Path(root) / f"{name}-{store_key(encoder, query_ids, prompts, max_length)[:16]}"


def extract(
    encoder: Any,
    query_ids: Sequence[str],
    prompts: Sequence[str],
    folder: str | Path,
    batch_tokens: int = 4096,
    shard_size: int = 256,
    progress: bool = True,
    max_length: int | None = None,
) -> ActivationStore:
    """Run the encoder's prefill over every prompt and store all layers, both poolings.

    Finished shards of an interrupted run are kept; a shard whose checksum differs is computed again, alone.

    Parameters
    ----------
    encoder : Encoder
        From :func:`prefill_router.encoders.load_encoder`.
    query_ids, prompts : n strings each
        Ids are unique; prompts are not empty.
    folder : path
        Where the store goes; see :func:`store_folder`.
    batch_tokens : int
        Most padded tokens in one forward pass (one longer prompt goes alone). It sets memory and speed; the
        vectors change only by rounding in the encoder's dtype.
    shard_size : int
        Prompts per shard: what an interruption loses at most. A store keeps the size it was begun with.
    progress : bool
        Show a bar over tokens on stderr.
    max_length : int, optional
        Longest prompt in encoder tokens; default: the encoder's own limit. Longer prompts are an error, never
        cut.

    Returns
    -------
    ActivationStore

    Raises
    ------
    ActivationError
        Empty or too long prompts, duplicate ids (all named at once), a folder that holds another request, too
        little disk, too little accelerator memory, non-finite activations.
    """
    query_ids, prompts = [str(q) for q in query_ids], list(prompts)
    limit = int(max_length or encoder.max_length)
    token_ids = _token_ids(encoder, query_ids, prompts, limit)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    request = _agree_on_request(
        folder,
        {
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
        },
    )

    # longest first: if memory does not suffice, that shows in the first batch and not after an hour
    order = sorted(range(len(query_ids)), key=lambda i: (-len(token_ids[i]), i))
    size = request["shard_size"]
    plan = [order[start : start + size] for start in range(0, len(order), size)]
    expected = [
        _expected(request["key"], [query_ids[row] for row in rows], [token_ids[row] for row in rows])
        for rows in plan
    ]
    sidecars = [_finished_shard(folder, index, shard) for index, shard in enumerate(expected)]
    missing = [index for index, sidecar in enumerate(sidecars) if sidecar is None]
    _check_disk(folder, sum(len(plan[i]) for i in missing), request)

    from tqdm import tqdm

    total = sum(sum(shard["tokens"]) for shard in expected)
    to_do = sum(sum(expected[index]["tokens"]) for index in missing)
    with tqdm(total=total, initial=total - to_do, unit="token", desc="prefill", disable=not progress) as bar:
        for index in missing:
            shape = (encoder.n_layers + 1, len(plan[index]), encoder.hidden_size)
            pooled = {name: np.empty(shape, np.float32) for name in POOLINGS}
            for batch in _batches(expected[index]["tokens"], batch_tokens):
                rows = [plan[index][i] for i in batch]
                vectors = _prefill(
                    encoder, [token_ids[row] for row in rows], [query_ids[row] for row in rows]
                )
                for name in POOLINGS:
                    pooled[name][:, batch] = vectors[name]
                bar.update(sum(len(token_ids[row]) for row in rows))
            sidecars[index] = _write_shard(folder, index, pooled, expected[index])
    _write_atomic(folder / "manifest.json", _to_json({**request, "query_ids": query_ids, "shards": sidecars}))
    return ActivationStore(folder)


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
        if manifest.get("format") != FORMAT:
            raise ActivationError(
                f"{path} has format {manifest.get('format')}, this library reads {FORMAT}; "
                "delete the folder and run extract(...) again"
            )
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
            raise ActivationError(f"unknown pooling {pooling!r}; the store has {', '.join(POOLINGS)}")
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
                    f"{self.folder} has no activations of {_listed(unknown)}; extract them first"
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
        """Names of the shard files whose SHA-256 differs from the manifest (an empty list: all is well)."""
        return [s["file"] for s in self._shards if _sha256(self.folder / s["file"]) != s["sha256"]]


def _token_ids(encoder: Any, query_ids: list[str], prompts: list[str], limit: int) -> list[list[int]]:
    """Token ids of every prompt; all prompts that cannot be read are named in one error."""
    from .encoders import EncoderError, render_prompt  # here: reading a store must not import transformers

    if len(query_ids) != len(prompts):
        raise ActivationError(
            f"{len(query_ids)} query ids but {len(prompts)} prompts; pass one id per prompt"
        )
    if not query_ids:
        raise ActivationError("no prompts were given; pass at least one")
    seen: set[str] = set()
    duplicate = [q for q in query_ids if q in seen or seen.add(q)]
    if duplicate:
        raise ActivationError(f"duplicate query ids: {_listed(duplicate)}; every prompt needs its own id")
    empty = [q for q, p in zip(query_ids, prompts, strict=True) if not isinstance(p, str) or not p.strip()]
    if empty:
        raise ActivationError(f"empty prompts: {_listed(empty)}; remove these queries or give them a text")
    token_ids: list[list[int]] = []
    refused: dict[str, str] = {}
    for query_id, prompt in zip(query_ids, prompts, strict=True):
        try:
            token_ids.append(list(render_prompt(encoder, prompt)))
        except EncoderError as error:
            refused[query_id] = str(error)
    if refused:
        raise ActivationError(
            f"{encoder.name} cannot read {len(refused)} prompts: {_listed(list(refused))}. The first: "
            f"{next(iter(refused.values()))}"
        )
    long = [f"{q} ({len(t)} tokens)" for q, t in zip(query_ids, token_ids, strict=True) if len(t) > limit]
    if long:
        raise ActivationError(
            f"prompts longer than the {limit} tokens that {encoder.name} reads: "
            f"{_listed(long)}; remove them or choose an encoder with a longer context"
        )
    return token_ids


def _batches(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    """Consecutive positions whose padded size (count x longest) stays within the budget; none is empty."""
    batch: list[int] = []
    longest = 0
    for position, length in enumerate(lengths):
        longest = max(longest, length)
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest = [], length
        batch.append(position)
    if batch:
        yield batch


def _prefill(encoder: Any, token_ids: list[list[int]], query_ids: list[str]) -> dict[str, np.ndarray]:
    """One forward pass: ``{pooling: float32 [L + 1, B, d]}``."""
    import torch

    # Always padded on the right, whatever the tokenizer prefers: then positions count from the first real
    # token in every architecture, and under causal attention no real token sees a pad. The mask hides which
    # id pads.
    lengths = torch.tensor([len(t) for t in token_ids])
    ids = torch.zeros(len(token_ids), int(lengths.max()), dtype=torch.long)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    network = getattr(encoder.network, "base_model", encoder.network)  # logits are not needed
    ids, mask = ids.to(encoder.device), mask.to(encoder.device)
    try:
        with torch.inference_mode():
            states = network(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states
            found = (len(states), states[0].shape[-1])
            if found != (encoder.n_layers + 1, encoder.hidden_size):
                raise ActivationError(
                    f"{encoder.name} returned {found[0]} hidden states of width {found[1]}, "
                    f"expected {encoder.n_layers + 1} of width {encoder.hidden_size}"
                )
            pooled = {name: vectors.cpu().numpy() for name, vectors in pool_states(states, mask).items()}
    except torch.OutOfMemoryError:
        raise ActivationError(
            f"no memory on {encoder.device} for a batch of {ids.shape[0]} prompts x {ids.shape[1]} "
            "tokens; lower batch_tokens (finished shards are kept)"
        ) from None
    broken = ~np.logical_and.reduce([np.isfinite(v).all(axis=(0, 2)) for v in pooled.values()])
    if broken.any():
        names = _listed([query_ids[i] for i in np.flatnonzero(broken)])
        raise ActivationError(
            f"non-finite activations for {names} in {encoder.dtype}; load the encoder with dtype "
            "bfloat16 or float32"
        )
    return pooled


def _agree_on_request(folder: Path, request: dict) -> dict:
    """Write the request into a fresh folder, or check that the folder was begun for the same one."""
    path = folder / "request.json"
    if not path.exists():
        _write_atomic(path, _to_json(request))
        return request
    try:
        earlier = json.loads(path.read_text())
        key, size = earlier["key"], int(earlier["shard_size"])
    except (ValueError, KeyError, TypeError):
        raise ActivationError(f"{path} is damaged; delete the folder and run extract(...) again") from None
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


def _expected(key: str, query_ids: list[str], token_ids: list[list[int]]) -> dict:
    """What the sidecar of the shard with these queries must say."""
    return {
        "key": key,
        "query_ids": query_ids,
        "tokens": [len(t) for t in token_ids],
        "tokens_sha256": hashlib.sha256(json.dumps(token_ids).encode()).hexdigest(),
    }


def _finished_shard(folder: Path, index: int, expected: dict) -> dict | None:
    """The sidecar of a shard that is complete, intact and the expected one; None if it must be computed."""
    path = folder / f"shard-{index:05d}.json"
    try:
        sidecar = json.loads(path.read_text())
        file = folder / sidecar["file"]
        if any(sidecar.get(name) != value for name, value in expected.items()):
            return None
        if _sha256(file) == sidecar["sha256"]:
            return sidecar
        warnings.warn(
            f"{file}: the checksum differs from {path.name}; this shard is computed again", stacklevel=3
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
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
