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


def bad_inputs(folder):
    """60 good rows, and one of every bad kind; the wanted bad rows: file, row, id, reason."""
    write_inputs(folder)
    rows = [
        ("fine", "w1 w2"),
        ("nothing", None),
        ("blank", "  \n"),
        ("long", "w1 " * LONG),
        ("q3", "w5"),  # of a.parquet
        (None, "w6"),
        ("fine", "w7"),
    ]
    pq.write_table(
        pa.table({"query_id": [r[0] for r in rows], "prompt": [r[1] for r in rows]}),
        folder / "m.parquet",
    )
    pq.write_table(pa.table({"query_id": ["n0"], "prompt": [5]}), folder / "n.parquet")
    texts = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"w1\xff\xfe")],
    )
    pq.write_table(pa.table({"query_id": ["u0", "u1"], "prompt": texts}), folder / "o.parquet")
    (folder / "p.parquet").write_bytes(b"PAR1 this is none")
    pq.write_table(pa.table({"query_id": ["x"], "text": ["w1"]}), folder / "q.parquet")
    return [
        ("m.parquet", 1, "nothing", "empty: there is no prompt"),
        ("m.parquet", 2, "blank", "empty: the prompt has no text"),
        ("m.parquet", 3, "long", f"too long: {LONG + 2} tokens, at most 40 are read"),
        ("m.parquet", 4, "q3", "repeated: the id stands in an earlier row of the input"),
        ("m.parquet", 5, "m.parquet:5", "no id: the column 'query_id' is empty here"),
        ("m.parquet", 6, "fine", "repeated: the id stands in an earlier row of the input"),
        ("n.parquet", 0, "n0", "no text: the prompt is of type int"),
        ("o.parquet", 1, "u1", "unreadable: no UTF-8"),
        ("p.parquet", None, None, "unreadable: no Parquet file"),
        ("q.parquet", None, None, "unreadable: no column 'prompt'; it has query_id, text"),
    ]


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
