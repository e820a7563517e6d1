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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefill_router.encode.pooling import POOLINGS, ActivationError
from prefill_router.encode.prefill import Prefill, batch_tokens_of, batches, listed
from prefill_router.encode.shards import ShardWriter, agree_on_request, check_disk, finished_shard
from prefill_router.encode.store import (
    FORMAT,
    ActivationStore,
    expected_files,
    store_key,
    to_json,
    write_atomic,
)
from prefill_router.files import exclusive
from prefill_router.hardware import give_memory_back


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
        From :func:`prefill_router.encode.encoders.load_encoder`.
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

    Notes
    -----
    Eight parameters: what is read by whom and where it goes, and four settings that most callers
    leave as they are.
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
        request = agree_on_request(folder, request)
        sidecars = _fill(encoder, query_ids, token_ids, folder, request, batch_tokens, progress)
        write_atomic(
            folder / "manifest.json",
            to_json({**request, "query_ids": query_ids, "shards": sidecars}),
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
        expected_files(
            request["key"], [query_ids[row] for row in rows], [token_ids[row] for row in rows]
        )
        for rows in plan
    ]
    sidecars = [finished_shard(folder, index, shard) for index, shard in enumerate(expected)]
    missing = [index for index, sidecar in enumerate(sidecars) if sidecar is None]
    check_disk(folder, sum(len(plan[i]) for i in missing), request)

    # every batch lies in one shard, but the next shard's are begun before the last of this one are
    # done
    jobs = [
        _Batch.of(index, batch, [plan[index][i] for i in batch], token_ids, query_ids)
        for index in missing
        for batch in batches(expected[index]["tokens"], batch_tokens)
    ]
    with (
        _bar(expected, missing, progress) as bar,
        ShardWriter(folder, beside=encoder.device.type != "cpu") as writer,
        Prefill(encoder) as prefill,
    ):
        if missing:
            # some tokens tell as much as all
            prefill.agree_on(token_ids[order[-1]][:16])
        pooled: dict[str, np.ndarray] = {}
        done = 0
        for job, vectors in zip(
            jobs, prefill.map((job.token_ids, job.query_ids) for job in jobs), strict=True
        ):
            shard = expected[job.shard]
            if not pooled:
                shape = (encoder.n_layers + 1, len(shard["tokens"]), encoder.hidden_size)
                pooled = {name: np.empty(shape, np.float32) for name in POOLINGS}
            for name in POOLINGS:
                pooled[name][:, job.rows] = vectors[name]
            done += len(job.rows)
            bar.update(sum(shard["tokens"][i] for i in job.rows))
            if done == len(shard["tokens"]):
                writer.write(job.shard, pooled, shard)
                pooled, done = {}, 0
    give_memory_back()
    for index, sidecar in writer.sidecars.items():
        sidecars[index] = sidecar
    return [sidecar for sidecar in sidecars if sidecar is not None]


@dataclass(frozen=True)
class _Batch:
    """Prompts of one forward pass, and at which rows of which shard they stand."""

    shard: int
    rows: list[int]
    token_ids: list[np.ndarray]
    query_ids: list[str]

    @classmethod
    def of(
        cls,
        shard: int,
        rows: list[int],
        queries: list[int],
        token_ids: list[np.ndarray],
        query_ids: list[str],
    ) -> _Batch:
        """Those of all queries at the positions ``queries``."""
        return cls(shard, rows, [token_ids[i] for i in queries], [query_ids[i] for i in queries])


def _bar(expected: list[dict], missing: list[int], progress: bool) -> Any:
    """A bar over the tokens of all shards, those of the finished ones done."""
    from tqdm import tqdm

    total = sum(sum(shard["tokens"]) for shard in expected)
    to_do = sum(sum(expected[index]["tokens"]) for index in missing)
    return tqdm(
        total=total, initial=total - to_do, unit="token", desc="prefill", disable=not progress
    )


def _token_ids(
    encoder: Any, query_ids: list[str], prompts: list[str], limit: int
) -> list[np.ndarray]:
    """Token ids of every prompt; all prompts that cannot be read are named in one error."""
    # here: reading a store must not import transformers
    from prefill_router.encode.prompts import render_prompts
    from prefill_router.encode.sources import EncoderError

    if len(query_ids) != len(prompts):
        raise ActivationError(
            f"{len(query_ids)} query ids but {len(prompts)} prompts; pass one id per prompt"
        )
    if not query_ids:
        raise ActivationError("no prompts were given; pass at least one")
    seen: set[str] = set()
    duplicate = []
    for query_id in query_ids:
        if query_id in seen:
            duplicate.append(query_id)
        seen.add(query_id)
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
    for start in range(0, len(prompts), 1000):  # lists of ints of so many at a time
        part = slice(start, start + 1000)
        for query_id, found in zip(
            query_ids[part], render_prompts(encoder, prompts[part]), strict=True
        ):
            if isinstance(found, EncoderError):
                refused[query_id] = str(found)
            else:
                token_ids.append(np.array(found, np.int32))
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
