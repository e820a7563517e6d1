"""One query through a loaded router: what is added to the encoder's own prefill, by length of the
prompt.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.pooling import Pool
from prefill_router.encode.prefill import Prefill
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.store import store_folder
from prefill_router.hardware import torch_threads
from prefill_router.serve.router import Router

from .common import ENCODER, frontier, ratio, spread, timed, workspace, write

# the first queries of a length are slow
LENGTHS, WARM_UP, REPEATS = (32, 64, 128, 256, 512), 3, 12
# the default one: whoever ran `make reproduce` has its states
PROFILE = "reasoning_gym"
METHODS = ("ours", "paper", "shared_block", "adapter_trunk")


def run() -> None:
    """For prompts cut to each length, the encoder's forward pass and the rest of the query."""
    ws, outcomes = workspace(PROFILE)
    pool, train, _ = frontier(PROFILE)
    encoder = load_encoder(ENCODER, dtype=ws.profile.dtype)
    ids = list(outcomes.queries["query_id"])
    store = extract(
        encoder, ids, outcomes.prompts, store_folder(ws.activations, encoder, ids, outcomes.prompts)
    )
    words = encoder.tokenizer(
        " ".join(outcomes.prompts[i] for i in train[:20]), add_special_tokens=False
    )["input_ids"]
    overhead = len(render_prompt(encoder, "x")) - 1
    table: dict[str, dict[int, dict]] = {}
    megabytes = {}
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            Router.fit(pool, store, train, method).save(folder)
            router = Router.load(folder, encoder)
            megabytes[method] = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        for length in LENGTHS:
            prompt = encoder.tokenizer.decode(words[: length - overhead])
            table.setdefault(method, {})[len(render_prompt(encoder, prompt))] = asked(
                router, encoder, prompt
            )
        print(f"{method}: {table[method]}", flush=True)
    write(
        f"latency_{PROFILE}_frontier",
        {
            "what": (
                f"one query through a loaded router on {ENCODER}, {len(pool.targets)} targets, in"
                " milliseconds by tokens of the rendered prompt; `beyond_the_encoder` is the whole"
                " query (template, tokens, pooling, features, P(correct), policy) less what the"
                " encoder's own forward pass took of it"
            ),
            "repeats": REPEATS,
            "milliseconds": table,
            "router_megabytes": megabytes,
            "all_threads_over_one": threads(encoder, words[: LENGTHS[2]]),
            "ours": {
                method: {
                    "beyond_the_encoder_p50": spread(
                        [row["beyond_the_encoder"]["p50"] for row in rows.values()]
                    )
                }
                for method, rows in table.items()
            },
        },
    )


def asked(router: Router, encoder: Encoder, prompt: str) -> dict[str, dict[str, float]]:
    """Milliseconds of a query, of the encoder's forward pass in it, and of the rest; a subtraction
    of two medians would be lost in what a long pass varies by.
    """
    with own_pass(encoder) as passed:
        times = []
        for _ in range(WARM_UP + REPEATS):
            passed.clear()
            times.append((timed(partial(router.route, prompt))[0], sum(passed)))
    whole, alone = 1000 * np.array(times[WARM_UP:]).T
    return {
        "encoder_alone": _percentiles(alone),
        "whole_query": _percentiles(whole),
        "beyond_the_encoder": _percentiles(whole - alone),
    }


@contextmanager
def own_pass(encoder: Encoder) -> Iterator[list[float]]:
    """Seconds of every forward pass of an encoder; those of pooling inside of it are entries below
    zero, so that the sum is what the encoder itself took.
    """
    network, take = getattr(encoder.network, "base_model", encoder.network), Pool.take
    running: list[float] = []
    found: list[float] = []

    def timed_take(pool: Pool, layer: int, states: torch.Tensor) -> None:
        began = time.perf_counter()
        take(pool, layer, states)
        if running:  # the last layer is pooled after the pass
            found.append(began - time.perf_counter())

    handles = [
        network.register_forward_pre_hook(lambda *_: running.append(time.perf_counter())),
        network.register_forward_hook(lambda *_: found.append(time.perf_counter() - running.pop())),
    ]
    Pool.take = timed_take
    try:
        yield found
    finally:
        Pool.take = take
        for handle in handles:
            handle.remove()


def threads(
    encoder: Any, tokens: Sequence[int], repeats: int = REPEATS
) -> dict[str, dict[str, float]]:
    """How many times longer a forward pass takes with a torch thread for every core than with one,
    alone and beside a busy process; in turns.
    """
    found, cores = {}, os.cpu_count() or 1
    with Prefill(encoder) as prefill:
        for name, company in (("alone", 0), ("beside_a_busy_process", 1)):
            with busy(company):
                times: dict[str, list[float]] = {"all": [], "one": []}
                for _ in range(repeats):
                    for kind, n in (("all", cores), ("one", 1)):
                        with torch_threads(n):
                            prefill([tokens], ["q"])
                            times[kind].append(timed(lambda: prefill([tokens], ["q"]))[0])
                found[name] = ratio(times["all"], times["one"])
    return found


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many other processes that compute all the time."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
