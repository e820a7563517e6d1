"""One query through a loaded router: what is added to the encoder's own prefill, by length of the prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from prefill_router.activations import extract, store_folder
from prefill_router.encoders import load_encoder, render_prompt
from prefill_router.features import FeatureChoice, FeaturePipeline
from prefill_router.kernel import KernelRouter, read_states
from prefill_router.prefill import Prefill
from prefill_router.routing import route
from prefill_router.trunk import TrunkEnsemble

from .common import ENCODER, frontier, spread, workspace, write

LENGTHS, REPEATS = (32, 64, 128, 256, 512), 30


class OneQuery:
    """What a feature pipeline reads, for the one query whose vectors are in memory."""

    def __init__(self, vectors: dict[str, np.ndarray], n_layers: int) -> None:
        self._vectors, self.n_layers, self.hidden_size = vectors, n_layers, vectors["last"].shape[-1]

    def read(self, layer: int, pooling: str, query_ids: Sequence[str]) -> np.ndarray:
        return self._vectors[pooling][layer]


def run() -> None:
    """Time every step of a query on its own, for prompts cut to each length."""
    ws, outcomes = workspace()
    pool, train, groups = frontier()
    encoder = load_encoder(ENCODER)
    ids = list(outcomes.queries["query_id"])
    store = extract(encoder, ids, outcomes.prompts, store_folder(ws.activations, encoder, ids, outcomes.prompts))
    query_ids, Y = np.array(ids)[train], pool.correct[train]
    layers = np.linspace(store.n_layers // 2, store.n_layers - 5, len(pool.targets)).astype(int)
    pipeline = FeaturePipeline([FeatureChoice(t, int(layer), "mean", 100) for t, layer in zip(pool.target_names, layers, strict=True)]).fit(store, query_ids)
    trunk = TrunkEnsemble().fit(pipeline.transform(store, query_ids), Y, groups[train])
    kernel = KernelRouter().fit(read_states(store, query_ids), Y, groups[train])
    cost = np.arange(1.0, 1 + Y.shape[1])[None]
    longest = " ".join(outcomes.prompts[i] for i in train[:20])
    words = encoder.tokenizer(longest, add_special_tokens=False)["input_ids"]
    overhead = len(render_prompt(encoder, "x")) - 1
    base = encoder.network.base_model
    table = {}
    with Prefill(encoder) as prefill:
        for length in LENGTHS:
            prompt = encoder.tokenizer.decode(words[: length - overhead])
            tokens = render_prompt(encoder, prompt)
            steps: dict[str, list[float]] = {}
            for _ in range(REPEATS + 2):
                times = [time.perf_counter()]
                tokens = render_prompt(encoder, prompt)
                times.append(time.perf_counter())
                with torch.inference_mode():
                    base(input_ids=torch.tensor([tokens], device=encoder.device), use_cache=False).last_hidden_state.float().cpu()
                times.append(time.perf_counter())
                vectors = prefill([tokens], ["query"])
                times.append(time.perf_counter())
                one = OneQuery(vectors, store.n_layers)
                p = trunk.predict_proba(pipeline.transform(one, ["query"]))
                times.append(time.perf_counter())
                route(p, cost, 0.05)
                times.append(time.perf_counter())
                kernel.predict_proba(read_states(one, ["query"]))
                times.append(time.perf_counter())
                for name, seconds in zip(("render", "encoder_alone", "prefill_with_pooling", "features_and_trunk", "policy", "kernel_router"), np.diff(times), strict=True):
                    steps.setdefault(name, []).append(1000 * float(seconds))
            steps = {name: values[2:] for name, values in steps.items()}
            pooling = [a - b for a, b in zip(steps["prefill_with_pooling"], steps["encoder_alone"], strict=True)]
            fixed = [sum(parts) for parts in zip(steps["render"], steps["features_and_trunk"], steps["policy"], strict=True)]
            beyond = [a + b for a, b in zip(fixed, pooling, strict=True)]
            whole = [sum(parts) for parts in zip(steps["render"], steps["prefill_with_pooling"], steps["features_and_trunk"], steps["policy"], strict=True)]
            table[len(tokens)] = {name: _percentiles(values) for name, values in {**steps, "pooling": pooling, "beyond_the_encoder": beyond, "whole_query": whole}.items()}
    write("latency_zeroeval_frontier", {
        "what": f"one query through {ENCODER}, {Y.shape[1]} targets, in milliseconds by tokens of the rendered prompt; `beyond_the_encoder` is everything but the "
        "encoder's own forward pass, with the trunk; the kernel router takes the place of features_and_trunk",
        "repeats": REPEATS,
        "milliseconds": table,
        "ours": {"beyond_the_encoder_p50": spread([row["beyond_the_encoder"]["p50"] for row in table.values()])},
    })


def _percentiles(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
