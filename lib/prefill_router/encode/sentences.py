"""Sentence embeddings of prompts, their cost in TFLOP, and a cache: the input of the semantic
baselines.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from prefill_router.data.texts import whole
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.prefill import batches
from prefill_router.encode.sources import EncoderError, resolve, weights_identity
from prefill_router.files import say
from prefill_router.hardware import give_memory_back, on_every_core

# Longer texts are cut: these are the lengths that the sentence encoders' own configurations set.
SENTENCE_TOKENS = {"all-minilm-l6-v2": 256, "all-mpnet-base-v2": 384}
OTHER_TOKENS = 256
PART = 64  # batches: what an interrupted run loses at most
FORMAT = (
    1  # raise it when cached numbers change their meaning: every older file is then left unread
)


def sentence_tokens(name: str) -> int:
    """Number of tokens after which texts are cut for the encoder `name`; its Hub id has the same
    limit.
    """
    return SENTENCE_TOKENS.get(resolve(name).name.rsplit("/", 1)[-1].lower(), OTHER_TOKENS)


def embed_sentences(
    name: str,
    prompts: Sequence[str],
    device: str = "auto",
    batch_tokens: int = 512,
    cache_dir: str | os.PathLike | None = None,
    *,
    dtype: str = "float32",
    parts: tuple[Path, str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sentence embeddings and what they cost: mean over real tokens of the last layer, scaled to
    length 1.

    That is what all-MiniLM-L6-v2 and all-mpnet-base-v2 were trained for. Texts are cut after
    `sentence_tokens(name)` tokens; a batch holds at most `batch_tokens` tokens, padding included
    (but at least one text): on a CPU small batches, which stay in its cache, are the fastest
    (mpnet: 512 is 1.5 times as fast as 8192). `dtype` is that of the network's weights, as in
    `load_encoder`. `parts`, a folder and the key of its files, keeps what is done after every
    `PART` batches, with a bar over texts on standard error; what lies there is read and not
    computed again. Raises `EncoderError` as `load_encoder` does, and for an empty prompt.

    Returns
    -------
    (float32 ndarray [n, d], float64 ndarray [n])
        The vectors, and TFLOP per text: 2 x parameters x tokens.
    """
    _refuse_empty(prompts)
    encoder = load_encoder(name, device, dtype, plain_prompt=True, cache_dir=cache_dir)
    cut = min(sentence_tokens(name), encoder.max_length)
    tokens = [
        encoder.tokenizer(whole(prompt), truncation=True, max_length=cut)["input_ids"]
        for prompt in prompts
    ]
    order = sorted(
        range(len(tokens)), key=lambda row: -len(tokens[row])
    )  # like lengths together, the longest first
    jobs = [
        [order[i] for i in batch]
        for batch in batches([len(tokens[row]) for row in order], batch_tokens)
    ]
    vectors = np.empty((len(tokens), encoder.hidden_size), dtype=np.float32)
    tflop = 2e-12 * encoder.params * np.array([len(row) for row in tokens], dtype=np.float64)
    folder, key = parts or (None, "")
    blocks = [jobs[start : start + PART] for start in range(0, len(jobs), PART)]
    with tqdm(total=len(tokens), unit="text", desc=encoder.name, disable=parts is None) as bar:
        for number, block in enumerate(blocks):
            rows = [row for batch in block for row in batch]
            path = folder / f"{number:05}.safetensors" if folder else None
            if path and (kept := _part(path, key, tflop[rows])) is not None:
                vectors[rows] = kept
                bar.update(len(rows))
                continue
            found = on_every_core(
                lambda batch: _means(encoder, [tokens[row] for row in batch]),
                ((batch,) for batch in block),
                encoder.device,
            )
            for batch, means in zip(block, found, strict=True):
                vectors[batch] = means
                bar.update(len(batch))
            if path:
                _write(path, key, vectors[rows], tflop[rows])
    give_memory_back()
    return vectors, tflop


def cached_sentences(
    name: str,
    prompts: Sequence[str],
    folder: str | os.PathLike,
    device: str = "auto",
    dtype: str = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    """`embed_sentences`, kept in `folder` as one safetensors file: the second call reads the same
    bytes.

    The file is named after the encoder and a SHA-256 over all that shapes the vectors: the
    encoder's weights, the token limit, the dtype and the prompts in order. The device is not in it:
    it changes rounding alone. A file that is damaged is said aloud and made again. Progress goes to
    standard error. What an interrupted call had computed lies in a folder beside the file, and the
    next one goes on from there.

    Returns
    -------
    (float32 ndarray [n, d], float64 ndarray [n])
        The vectors, and TFLOP per text.
    """
    _refuse_empty(prompts)
    identity = weights_identity(name)
    shaped_by = {
        "format": FORMAT,
        "encoder": identity,
        "tokens": sentence_tokens(name),
        "dtype": dtype,
        "prompts": list(prompts),
    }
    key = hashlib.sha256(json.dumps(shaped_by, sort_keys=True).encode()).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", identity["name"]).strip("-.")
    path = Path(folder) / f"{stem}-{key[:16]}.safetensors"
    if path.is_file():
        try:
            return _read(path, key)
        except (SafetensorError, ValueError) as error:
            say(f"{path} is damaged ({error}): its {len(prompts):,} embeddings are computed again")
    parts = path.with_suffix(".parts")
    vectors, tflop = embed_sentences(name, prompts, device, dtype=dtype, parts=(parts, key))
    _write(path, key, vectors, tflop)
    shutil.rmtree(parts, ignore_errors=True)
    return vectors, tflop


def _refuse_empty(prompts: Sequence[str]) -> None:
    empty = [row for row, prompt in enumerate(prompts) if not prompt.strip()]
    if empty:
        raise EncoderError(
            f"Prompts that are empty, by row: {empty[:10]}. Remove them or mend their text."
        )


def _means(encoder: Any, tokens: list[list[int]]) -> np.ndarray:
    """One batch: mean of the last layer over real tokens, scaled to length 1; float32 [len(tokens),
    d].
    """
    batch = encoder.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(encoder.device)
    with torch.inference_mode():
        states = encoder.network(**batch).last_hidden_state
    real = batch["attention_mask"].unsqueeze(-1).float()
    mean = (states.float() * real).sum(dim=1) / real.sum(dim=1)
    return torch.nn.functional.normalize(mean, dim=1).cpu().numpy()


def _part(path: Path, key: str, tflop: np.ndarray) -> np.ndarray | None:
    """The vectors of a part that was kept; None where it is not there, damaged or of others."""
    try:
        vectors, known = _read(path, key)
    except (OSError, SafetensorError, ValueError):
        return None
    return vectors if np.array_equal(known, tflop) else None


def _digest(key: str, vectors: np.ndarray, tflop: np.ndarray) -> str:
    return hashlib.sha256(key.encode() + vectors.tobytes() + tflop.tobytes()).hexdigest()


def _read(path: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Content of a cache file; ValueError or SafetensorError if it is not what `_write` wrote for
    `key`.
    """
    with safe_open(path, framework="numpy") as file:
        noted = (file.metadata() or {}).get("sha256")
        vectors, tflop = file.get_tensor("vectors"), file.get_tensor("tflop")
    # safetensors sees a file that is cut short, but not a changed byte
    if noted != _digest(key, vectors, tflop):
        raise ValueError("its content does not have the SHA-256 that it was written with")
    return vectors, tflop


def _write(path: Path, key: str, vectors: np.ndarray, tflop: np.ndarray) -> None:
    """Write a cache file: to a temporary name, synced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as out:
            # one note only: safetensors writes several in an order that changes from run to run
            noted = {"sha256": _digest(key, vectors, tflop)}
            out.write(save({"vectors": vectors, "tflop": tflop}, noted))
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
