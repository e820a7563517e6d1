"""Extraction by length of the prompts, beside the recipe: alone, and with a busy process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.prompts import render_prompt

from .common import ENCODER, ratio, spread, timed, workspace, write
from .extract import recipe
from .latency import busy

LENGTHS, REPEATS = (64, 128, 256, 512, 1024, 2048, 4096), 1
# Of a measurement; but two prompts at least, one for each of two cores.
TOKENS = 2048


def run() -> None:
    """Both ways in turns on the same prompts of every length; writes `lengths_<encoder>.json` anew
    after each, since the longest take minutes.
    """
    _, outcomes = workspace()
    plain = load_encoder(ENCODER, dtype="float32", causal_lm=True)
    fast = load_encoder(ENCODER)
    words = fast.tokenizer("\n".join(outcomes.prompts[:1000]), add_special_tokens=False)
    about: dict[str, Any] = {
        "what": (
            f"prefill with {ENCODER}, all layers, both poolings, stored; prompts cut from"
            " zeroeval's to a length in tokens, alone and beside another process that computes all"
            " the time"
        ),
        "repeats": REPEATS,
        "dtype": {"ours": _name(fast), "recipe": _name(plain)},
        "load_average_before": os.getloadavg()[0],
        "rows": [],
    }
    for _ in measured(plain, fast, words["input_ids"], LENGTHS[:1]):
        pass  # the first passes of a process are slow
    for row in measured(plain, fast, words["input_ids"], LENGTHS):
        about["rows"].append(row)
        write(f"lengths_{ENCODER}", about)


def measured(
    plain: Encoder, fast: Encoder, words: Sequence[int], lengths: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each length: tokens a second of both ways, alone and in company."""
    overhead = len(render_prompt(fast, "x")) - 1
    for length in lengths:
        count, cut = max(2, TOKENS // length), length - overhead
        prompts = [
            fast.tokenizer.decode(words[i * cut : (i + 1) * cut]) for i in range(count)
        ]  # decoded and read again they have a few tokens more or less
        tokens = sum(len(render_prompt(fast, prompt)) for prompt in prompts)
        row: dict[str, Any] = {"length": length, "prompts": count, "tokens": tokens}
        for company, processes in (("alone", 0), ("beside_a_busy_process", 1)):
            with busy(processes):
                row[company] = _in_turns(plain, fast, prompts, tokens)
        print(f"{length} tokens: {row}", flush=True)
        yield row


def _in_turns(plain: Encoder, fast: Encoder, prompts: list[str], tokens: int) -> dict[str, Any]:
    """Tokens a second by both ways, and how many times faster ours is."""
    seconds: dict[str, list[float]] = {"ours": [], "recipe": []}
    ids = [f"q{i}" for i in range(len(prompts))]
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            seconds["ours"].append(
                timed(partial(extract, fast, ids, prompts, folder, progress=False))[0]
            )
        seconds["recipe"].append(timed(partial(recipe, plain, prompts))[0])
    rates = {way: spread([tokens / s for s in of]) for way, of in seconds.items()}
    return {**rates, "ratio": ratio(seconds["recipe"], seconds["ours"])}


def _name(encoder: Encoder) -> str:
    return str(encoder.dtype).removeprefix("torch.")
