"""Extraction: tokens a second, against the recipe and against the floor that the matrix products
set.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import transformers

from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.prompts import render_prompt

from .common import ENCODER, ratio, spread, timed, workspace, write

# An accelerator is done with a hundred prompts before it is busy.
PROMPTS, PROMPTS_ON_GPU, REPEATS = 96, 1000, 3


def recipe(
    encoder: Encoder, prompts: list[str], batch_size: int = 4
) -> list[dict[str, np.ndarray]]:
    """The published way: with the language-model head, batches of four in given order, all hidden
    states returned, every row and layer pooled and copied on its own. ``encoder`` is loaded in
    float32 on a CPU, in bfloat16 on a GPU.
    """
    vectors = []
    for start in range(0, len(prompts), batch_size):
        rows = [render_prompt(encoder, prompt) for prompt in prompts[start : start + batch_size]]
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        with torch.no_grad():
            states = encoder.network(
                input_ids=ids.to(encoder.device),
                attention_mask=mask.to(encoder.device),
                output_hidden_states=True,
            ).hidden_states
        for i, row in enumerate(rows):
            vectors.append(
                {
                    "last": np.stack(
                        [layer[i, len(row) - 1].float().cpu().numpy() for layer in states]
                    ),
                    "mean": np.stack(
                        [layer[i, : len(row)].float().mean(dim=0).cpu().numpy() for layer in states]
                    ),
                }
            )
    return vectors


def matmul_rate(encoder: Encoder, seconds: float = 1.0) -> float:
    """Measured FLOP a second of products like the encoder's feed-forward layers, in its dtype, all
    cores at work.
    """
    config = encoder.network.config.get_text_config()
    cores = os.cpu_count() or 1 if encoder.device.type == "cpu" else 1
    rows = 1024 if encoder.device.type == "cpu" else 16_384
    a = torch.randn(rows, config.hidden_size, device=encoder.device).to(encoder.dtype)
    w = torch.randn(config.intermediate_size, config.hidden_size, device=encoder.device).to(
        encoder.dtype
    )

    def products() -> None:
        for _ in range(50):
            torch.nn.functional.linear(a, w)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()

    def loop(_: int) -> float:
        torch.set_num_threads(1 if encoder.device.type == "cpu" else torch.get_num_threads())
        flop, elapsed = 0.0, 0.0
        while elapsed < seconds:
            took, _ = timed(products)
            flop, elapsed = flop + 50 * 2 * a.shape[0] * w.numel(), elapsed + took
        return flop / elapsed

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(cores) as workers:
        total = sum(workers.map(loop, range(cores)))
    torch.set_num_threads(threads)
    return total


def run(encoder_name: str = ENCODER) -> None:
    """Interleave both ways on the same prompts and write `extract_<encoder>.json`, on an
    accelerator, with more prompts, `extract_<encoder>_gpu.json`.
    """
    _, outcomes = workspace()
    gpu = torch.cuda.is_available()
    rows = np.random.default_rng(0).permutation(outcomes.n)[: PROMPTS_ON_GPU if gpu else PROMPTS]
    prompts, ids = [outcomes.prompts[i] for i in rows], [f"q{i}" for i in rows]
    plain = load_encoder(encoder_name, dtype="bfloat16" if gpu else "float32", causal_lm=True)
    fast = load_encoder(encoder_name)
    recipe(plain, prompts[:4])  # the first pass of a process is slow

    def ours() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            store = extract(fast, ids, prompts, f"{folder}/store", progress=False)
            return int(store.tokens.sum()), {
                (layer, p): store.read(layer, p)
                for p in ("last", "mean")
                for layer in range(fast.n_layers + 1)
            }

    ours()
    slow_seconds, fast_seconds = [], []
    for _ in range(REPEATS):
        seconds, vectors = timed(lambda: recipe(plain, prompts))
        slow_seconds.append(seconds)
        seconds, (tokens, found) = timed(ours)
        fast_seconds.append(seconds)
    cosine = {
        pooling: [
            float(
                np.mean(
                    [
                        _cosine(vectors[i][pooling][layer], found[layer, pooling][i])
                        for i in range(len(prompts))
                    ]
                )
            )
            for layer in range(fast.n_layers + 1)
        ]
        for pooling in ("last", "mean")
    }
    # the embedding is a look-up; everything else is multiplied with every token
    multiplied = fast.params - fast.network.get_input_embeddings().weight.numel()
    rate = matmul_rate(fast)
    floor = rate / (2 * multiplied)
    write(
        f"extract_{encoder_name}" + ("_gpu" if gpu else ""),
        {
            "what": (
                f"prefill of {len(prompts)} zeroeval prompts with {encoder_name}, all layers, both"
                " poolings, stored"
            ),
            "tokens": tokens,
            "ours": {
                "tokens_per_second": spread([tokens / s for s in fast_seconds]),
                "dtype": str(fast.dtype).removeprefix("torch."),
            },
            "recipe": {
                "tokens_per_second": spread([tokens / s for s in slow_seconds]),
                "dtype": str(plain.dtype).removeprefix("torch."),
            },
            "ratio": ratio(slow_seconds, fast_seconds),
            "floor": {
                "matmul_tflops": rate / 1e12,
                "multiplied_params": multiplied,
                "tokens_per_second": floor,
                "share_reached": tokens / spread(fast_seconds)["median"] / floor,
            },
            "lowest_mean_cosine_to_recipe": {
                pooling: min(values) for pooling, values in cosine.items()
            },
            "transformers": transformers.__version__,
        },
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
