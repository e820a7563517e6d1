"""One query through a loaded router: what is added to the encoder's own prefill, by length of the
prompt.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import plain_attention
from prefill_router.encode.prefill import Prefill
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.store import store_folder
from prefill_router.hardware import torch_threads
from prefill_router.serve.router import Router

from .common import ENCODER, frontier, ratio, spread, timed, workspace, write

LENGTHS, REPEATS = (32, 64, 128, 256, 512), 30

METHODS = ("ours", "paper", "shared_block", "adapter_trunk")


def run() -> None:
    """For prompts cut to each length, the encoder's forward pass alone and the whole query."""
    ws, outcomes = workspace()
    pool, train, _ = frontier()
    encoder = load_encoder(ENCODER)
    ids = list(outcomes.queries["query_id"])
    store = extract(
        encoder, ids, outcomes.prompts, store_folder(ws.activations, encoder, ids, outcomes.prompts)
    )
    words = encoder.tokenizer(
        " ".join(outcomes.prompts[i] for i in train[:20]), add_special_tokens=False
    )["input_ids"]
    overhead = len(render_prompt(encoder, "x")) - 1
    base = plain_attention(encoder.network.base_model, encoder.device)
    table: dict[str, dict[int, dict]] = {}
    megabytes = {}
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            Router.fit(pool, store, train, method).save(folder)
            router = Router.load(folder, encoder)
            megabytes[method] = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        for length in LENGTHS:
            prompt = encoder.tokenizer.decode(words[: length - overhead])
            tokens = torch.tensor([render_prompt(encoder, prompt)], device=encoder.device)

            def alone(tokens: torch.Tensor = tokens) -> None:
                with torch.inference_mode(), torch_threads(1):  # as a route has it
                    base(input_ids=tokens, use_cache=False).last_hidden_state.cpu()

            # each in a row of its own, as a server would run them; three rows each, in turns
            times: dict[str, list[float]] = {"encoder_alone": [], "whole_query": []}
            for _ in range(3):
                for name, call in (
                    ("encoder_alone", alone),
                    (
                        "whole_query",
                        lambda prompt=prompt, router=router: router.route(prompt, tolerance=0.05),
                    ),
                ):
                    call()
                    times[name] += [1000 * timed(call)[0] for _ in range(REPEATS // 3)]
            base_p50 = float(np.median(times["encoder_alone"]))
            row = {name: _percentiles(values) for name, values in times.items()}
            table.setdefault(method, {})[tokens.shape[1]] = row | {
                "beyond_the_encoder": {
                    name: value - base_p50 for name, value in row["whole_query"].items()
                }
            }
    write(
        "latency_zeroeval_frontier",
        {
            "what": (
                f"one query through a loaded router on {ENCODER}, {len(pool.targets)} targets, in"
                " milliseconds by tokens of the rendered prompt; `beyond_the_encoder` is the whole"
                " query (template, tokens, pooling, features, P(correct), policy) less the median"
                " of the encoder's own forward pass"
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


def _percentiles(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
