"""What workers do in an extraction: say what the source is, read the sample, make shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from prefill_router.encode.sources import EncoderError
from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.inputs import Row, read_rows
from prefill_router.scale.job import bad_rows, rows_of_shard, with_text
from prefill_router.scale.plan import Plan, to_json
from prefill_router.scale.reduce import Reduction
from prefill_router.scale.shards import matrix_column, write_shard
from prefill_router.scale.sources import Opens, SourceOfStates, View


@dataclass(frozen=True)
class Describing:
    """Work that says what a source is."""

    source: Opens

    def open(self) -> Callable[[str], bytes]:
        source = self.source.open()
        said = {
            "fingerprint": dict(source.fingerprint),
            "n_layers": source.n_layers,
            "hidden_size": source.hidden_size,
        }
        return lambda _: to_json(said)


@dataclass(frozen=True)
class Reading:
    """What reads prompts: the source, the input's folder, the plan, the views."""

    source: Opens
    root: Address
    plan: Plan
    views: tuple[View, ...]

    def open(self) -> SourceOfStates:
        """The source; refused if it is not the one that the plan was made with."""
        source = self.source.open()
        found = json.loads(json.dumps(dict(source.fingerprint)))
        wanted = self.plan.settings["encoder"]
        if found != wanted:
            differs = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            raise ScaleError(
                f"this worker's encoder differs from the job's in {', '.join(differs)}: were"
                " machines of several kinds put together? Give all the same weights, and the same"
                " --encoder-dtype and --device"
            )
        return source

    def read(
        self, source: SourceOfStates, rows: Sequence[Row]
    ) -> tuple[list[Row], np.ndarray, list[int], dict[int, str]]:
        """Rows that have states, these [V, n, d], their tokens; what is wrong with the others."""
        limit = self.plan.settings["max_tokens"]
        some, problems = with_text(rows)
        good, token_ids = [], []
        for row in some:
            try:
                ids = source.tokens(row.prompt)
            except EncoderError as error:
                problems[row.number] = str(error)
                continue
            if limit is not None and len(ids) > limit:
                problems[row.number] = f"too long: {len(ids):,} tokens, at most {limit:,} are read"
                continue
            good.append(row)
            token_ids.append(ids)
        states, reasons = source.states(token_ids, self.views)
        problems |= {good[i].number: reason for i, reason in reasons.items()}
        stay = [i for i in range(len(good)) if i not in reasons]
        return (
            [good[i] for i in stay],
            states[:, stay],
            [len(token_ids[i]) for i in stay],
            problems,
        )


@dataclass(frozen=True)
class SampleWork:
    """Reads the states of a piece of the sample: a job is a list of [file, row]."""

    reading: Reading

    def open(self) -> Callable[[str], bytes]:
        source = self.reading.open()

        def do(job: str) -> bytes:
            of_files: dict[int, list[int]] = {}
            for file, row in json.loads(job):
                of_files.setdefault(file, []).append(row)
            plan = self.reading.plan
            rows = [
                row
                for file, numbers in of_files.items()
                for row in read_rows(self.reading.root, plan.files[file], numbers, plan.columns)
            ]
            _, states, _, _ = self.reading.read(source, rows)
            return save(
                {
                    view.name: np.ascontiguousarray(of)
                    for view, of in zip(self.reading.views, states, strict=True)
                }
            )

        return do


@dataclass(frozen=True)
class ShardWork:
    """Makes a shard of states: a job is its number."""

    reading: Reading
    output: Address
    reduction: Reduction
    key: str

    def open(self) -> Callable[[str], bytes]:
        source = self.reading.open()
        return lambda job: to_json(self._shard(source, json.loads(job)))

    def _shard(self, source: SourceOfStates, index: int) -> Mapping[str, Any]:
        plan = self.reading.plan
        file, rows = rows_of_shard(self.reading.root, plan, index)
        good, states, tokens, problems = self.reading.read(source, rows)
        values = self.reduction(states, self.reading.views)
        finite = np.ones(len(good), bool)
        for of in values.values():
            finite &= np.isfinite(of).all(axis=1)
        for i in np.flatnonzero(~finite):
            problems[good[i].number] = (
                f"out of range: a value is too large for {self.reduction.dtype}; use --dtype"
                " float32"
            )
        table = pa.table(
            {
                "query_id": pa.array(
                    [row.query_id for row, yes in zip(good, finite, strict=True) if yes],
                    pa.string(),
                ),
                "tokens": pa.array(np.array(tokens, np.int32)[finite]),
                **{name: matrix_column(of[finite]) for name, of in values.items()},
            }
        )
        bad = bad_rows(file, rows, problems)
        return write_shard(self.output, plan, plan.shards[index], table, bad, self.key)
