"""From a thousand prompts to a hundred thousand: time and peak memory of an extraction.

The encoder is the first two blocks of SmolLM2, so that what is measured is everything around the
network, and in minutes.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import threading

import numpy as np
import psutil
import torch

from .common import ENCODER, timed, workspace, write

COUNTS, WORDS, BLOCKS = (1_000, 10_000, 100_000), 16, 2


class PeakMemory:
    """The largest resident memory of this process while the block runs, looked at every 20 ms.

    What the system keeps (``ru_maxrss``) is inherited from the parent and includes the loading of
    the encoder.
    """

    def __enter__(self) -> PeakMemory:
        self.bytes, self._done = 0, threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._done.wait(0.02):
                return


def run() -> None:
    """Every count in a process of its own."""
    rows = []
    for count in COUNTS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", str(count)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    write(
        "scale_extraction",
        {
            "what": (
                f"extraction with the first {BLOCKS} blocks of {ENCODER}, prompts of {WORDS} words"
                " drawn from zeroeval's"
            ),
            "rows": rows,
            "ours": {
                "tokens_per_second": {str(r["prompts"]): r["tokens"] / r["seconds"] for r in rows},
                "peak_mb": {str(r["prompts"]): r["peak_mb"] for r in rows},
            },
        },
    )


def one(count: int) -> dict[str, float]:
    """Extract `count` prompts into a temporary store."""
    from prefill_router.encode.activations import extract
    from prefill_router.encode.encoders import load_encoder

    _, outcomes = workspace()
    words = np.array(" ".join(outcomes.prompts).split())
    starts = np.random.default_rng(0).integers(0, len(words) - WORDS, count)
    prompts = [f"{i} {' '.join(words[s : s + WORDS])}" for i, s in enumerate(starts)]
    whole = load_encoder(ENCODER)
    network = whole.network.base_model
    network.layers = torch.nn.ModuleList(list(network.layers)[:BLOCKS])
    network.config.num_hidden_layers = BLOCKS
    encoder = dataclasses.replace(
        whole, network=network, n_layers=BLOCKS, fingerprint=whole.fingerprint | {"blocks": BLOCKS}
    )
    before = psutil.Process().memory_info().rss
    with PeakMemory() as peak, tempfile.TemporaryDirectory() as folder:
        seconds, store = timed(
            lambda: extract(
                encoder, [f"q{i}" for i in range(count)], prompts, f"{folder}/store", progress=False
            )
        )
    return {
        "prompts": count,
        "tokens": int(store.tokens.sum()),
        "seconds": seconds,
        "before_mb": before / 1e6,
        "peak_mb": peak.bytes / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(one(int(sys.argv[1]))))
