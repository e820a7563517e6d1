"""Prompts in Parquet files, some of them bad, and encoders that take their time."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prefill_router.scale.addresses import Address
from prefill_router.scale.sources import NamedEncoder

LONG = 45  # words: the template adds two tokens, and the tests allow 40


def prompts_of(n, seed=1):
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(0, 40, size)) for size in rng.integers(1, 20, n)]


def write_inputs(folder, counts=(37, 23), group_rows=10):
    """Files a.parquet, b.parquet, … of good prompts with ids q0, q1, …; returns ids and prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts, start = prompts_of(sum(counts)), 0
    ids = [f"q{i}" for i in range(len(prompts))]
    for name, count in zip("abcdefgh", counts, strict=False):
        rows = slice(start, start + count)
        table = pa.table({"query_id": ids[rows], "prompt": prompts[rows]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=group_rows)
        start += count
    return ids, prompts


def everything(output):
    """Bytes of all files of an output, by name."""
    address = Address.of(output)
    return {name: (address / name).read() for name in address.files()}


@dataclass(frozen=True)
class SlowEncoder:
    """A named encoder whose every shard takes some seconds more."""

    named: NamedEncoder
    seconds: float

    def open(self):
        return _Slow(self.named.open(), self.seconds)


class _Slow:
    def __init__(self, states, seconds):
        self._states, self._seconds = states, seconds
        self.fingerprint = states.fingerprint
        self.n_layers, self.hidden_size = states.n_layers, states.hidden_size
        self.tokens = states.tokens

    def states(self, token_ids, views):
        time.sleep(self._seconds)
        return self._states.states(token_ids, views)
