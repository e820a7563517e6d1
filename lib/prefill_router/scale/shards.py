"""Shards in a folder: written so that one is there whole or not at all, found again, read.

Of a shard there are ``<kind>/shard-….parquet``, ``bad/shard-….parquet`` if it has bad rows, and
``done/shard-….json``, written last: only with this note, and with files of the sizes that it says,
the shard is complete. That needs no rename, which object stores do not have.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.plan import Plan, Shard, to_json


@dataclass(frozen=True)
class BadRow:
    """A row that nothing could be made of; `row` is None where a whole file could not be read."""

    file: str
    row: int | None
    query_id: str | None
    reason: str


_BAD = pa.schema(
    [("file", pa.string()), ("row", pa.int64()), ("query_id", pa.string()), ("reason", pa.string())]
)


def bad_table(bad: Sequence[BadRow]) -> pa.Table:
    """One row each: file, row, query_id, reason."""
    return pa.table({name: [getattr(row, name) for row in bad] for name in _BAD.names}, schema=_BAD)


def parquet_bytes(table: pa.Table) -> bytes:
    """The same bytes for the same table and version of pyarrow."""
    stream = io.BytesIO()
    # numbers that hardly repeat gain nothing from a dictionary
    pq.write_table(table, stream, compression="zstd", use_dictionary=False)
    return stream.getvalue()


def matrix_column(values: np.ndarray) -> pa.FixedSizeListArray:
    """A column of vectors [n, k]."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def write_shard(
    output: Address, plan: Plan, shard: Shard, table: pa.Table, bad: Sequence[BadRow], key: str
) -> dict[str, Any]:
    """Write a shard's files, then its note, which is returned. Twice is as good as once."""
    files = {f"{plan.kind}/{shard.name}.parquet": parquet_bytes(table)}
    if bad:
        files[f"bad/{shard.name}.parquet"] = parquet_bytes(bad_table(bad))
    for name, data in files.items():
        (output / name).write(data)
    note = {
        "key": key,
        "rows": table.num_rows,
        "bad": len(bad),
        "tokens": int(np.sum(table["tokens"].to_numpy())) if table.num_rows else 0,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    (output / f"done/{shard.name}.json").write(to_json(note))
    return note


def finished_shards(output: Address, plan: Plan, key: str) -> dict[int, dict[str, Any]]:
    """Notes of the shards that are complete, by index."""
    there = output.files()
    names = {f"done/{shard.name}.json": shard.index for shard in plan.shards}
    found = output.read_many(name for name in names if name in there)
    notes = {}
    for name, data in found.items():
        note = _note(data)
        if note.get("key") != key:
            continue
        if all(there.get(file) == of["bytes"] for file, of in note["files"].items()):
            notes[names[name]] = note
    return dict(sorted(notes.items()))


def _note(data: bytes) -> dict[str, Any]:
    """A note; an empty one if it is damaged, and its shard is then made again."""
    try:
        note = json.loads(data)
    except ValueError:
        return {}
    return note if isinstance(note, dict) and isinstance(note.get("files"), dict) else {}


def damaged(output: Address) -> list[str]:
    """Files of a finished job whose SHA-256 is not that of the manifest, or that are gone. To have
    them made again, delete the note of their shard in ``done/``.
    """
    manifest = read_manifest(output)
    wrong = []
    for name, of in manifest["files"].items():
        try:
            if hashlib.sha256((output / name).read()).hexdigest() == of["sha256"]:
                continue
        except FileNotFoundError:
            pass
        wrong.append(name)
    return wrong


def read_manifest(output: Address) -> dict[str, Any]:
    """What ``manifest.json`` says; ScaleError if the job is not finished."""
    try:
        return json.loads((output / "manifest.json").read())
    except FileNotFoundError:
        raise ScaleError(
            f"{output} has no manifest.json: the job is not finished. Give the same command again,"
            " it goes on with the shards that are missing"
        ) from None


class ShardedStates:
    """Read access to finished shards of states, as heads and features read a store.

    Parameters
    ----------
    address : folder of a finished extraction

    Attributes
    ----------
    query_ids : list of n str
    tokens : int64 ndarray [n]
    views : dict of "pooling.layer" to the number of values k that are kept of it
    n_layers : int
        Of the encoder; layers that were not kept cannot be read.
    hidden_size : int
        Values of the first view.
    """

    def __init__(self, address: str | Address) -> None:
        output = address if isinstance(address, Address) else Address.of(address)
        manifest = read_manifest(output)
        if manifest["kind"] != "states":
            raise ScaleError(f"{output} holds {manifest['kind']}, not states")
        self.views: Mapping[str, int] = manifest["views"]
        self.n_layers: int = manifest["n_layers"]
        self.hidden_size = next(iter(self.views.values()))
        self._files = [output / name for name in manifest["files"] if name.startswith("states/")]
        self.query_ids: list[str] = []
        counts, tokens = [], []
        for file in self._files:
            table = pq.read_table(io.BytesIO(file.read()), columns=["query_id", "tokens"])
            self.query_ids += table["query_id"].to_pylist()
            tokens.append(table["tokens"].to_numpy().astype(np.int64))
            counts.append(table.num_rows)
        self.tokens = np.concatenate(tokens)
        self._starts = np.cumsum([0, *counts])
        self._row = {query_id: row for row, query_id in enumerate(self.query_ids)}

    def read(
        self, layer: int, pooling: str, query_ids: Sequence[str] | np.ndarray | None = None
    ) -> np.ndarray:
        """What is kept of one layer and pooling: float32 [m, k] in the order of ``query_ids``,
        by default all.

        Raises
        ------
        ScaleError
            A layer that was not kept, an id that is not there.
        """
        name = f"{pooling}.{layer}"
        if name not in self.views:
            raise ScaleError(f"no states {name} were kept; there are {', '.join(self.views)}")
        asked = self.query_ids if query_ids is None else [str(q) for q in query_ids]
        if unknown := [q for q in asked if q not in self._row]:
            raise ScaleError(f"{len(unknown)} ids are not among the shards, such as {unknown[0]}")
        rows = np.array([self._row[q] for q in asked], np.int64)
        out = np.empty((len(rows), self.views[name]), np.float32)
        of = np.searchsorted(self._starts, rows, side="right") - 1
        for index in np.unique(of):
            column = pq.read_table(io.BytesIO(self._files[index].read()), columns=[name])[name]
            values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            here = of == index
            block = values.reshape(-1, self.views[name])
            out[here] = block[rows[here] - self._starts[index]]
        return out
