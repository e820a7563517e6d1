"""From a thousand prompts to a hundred thousand: time and peak memory of an extraction.

The encoder is the first two blocks of SmolLM2, so that what is measured is everything around the network, and in minutes.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile

import numpy as np
import psutil
import torch

from .common import ENCODER, timed, workspace, write

COUNTS, WORDS, BLOCKS = (1_000, 10_000, 100_000), 16, 2


def run() -> None:
    """Every count in a process of its own, whose peak memory is asked for at its end."""
    rows = []
    for count in COUNTS:
        done = subprocess.run([sys.executable, "-m", "benchmarks.scale", str(count)], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    write("scale_extraction", {
        "what": f"extraction with the first {BLOCKS} blocks of {ENCODER}, prompts of {WORDS} words drawn from zeroeval's",
        "rows": rows,
        "ours": {"tokens_per_second": {str(r["prompts"]): r["tokens"] / r["seconds"] for r in rows}, "peak_mb": {str(r["prompts"]): r["peak_mb"] for r in rows}},
    })


def one(count: int) -> dict[str, float]:
    """Extract `count` prompts into a temporary store."""
    from prefill_router.activations import extract
    from prefill_router.encoders import load_encoder

    _, outcomes = workspace()
    words = np.array(" ".join(outcomes.prompts).split())
    starts = np.random.default_rng(0).integers(0, len(words) - WORDS, count)
    prompts = [f"{i} {' '.join(words[s : s + WORDS])}" for i, s in enumerate(starts)]
    whole = load_encoder(ENCODER)
    network = whole.network.base_model
    network.layers = torch.nn.ModuleList(list(network.layers)[:BLOCKS])
    network.config.num_hidden_layers = BLOCKS
    encoder = dataclasses.replace(whole, network=network, n_layers=BLOCKS, fingerprint=whole.fingerprint | {"blocks": BLOCKS})
    before = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory() as folder:
        seconds, store = timed(lambda: extract(encoder, [f"q{i}" for i in range(count)], prompts, f"{folder}/store", progress=False))
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"prompts": count, "tokens": int(store.tokens.sum()), "seconds": seconds, "before_mb": before / 1e6, "peak_mb": peak / 1e6}


if __name__ == "__main__":
    print(json.dumps(one(int(sys.argv[1]))))
