"""Prompts in Parquet files: which files there are, what they hold, and reading some of their rows.

A row is named by its file and its number in it, from 0. Nothing here keeps more than a few row
groups of a file in memory.
"""

from __future__ import annotations

import functools
import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prefill_router.scale.addresses import CHUNK, Address, ScaleError

# ids are looked for here if no column is named; without such a column an id is the row's place
ID_COLUMN, PROMPT_COLUMN = "query_id", "prompt"
UNREADABLE = "unreadable"
_AT_ONCE = 8  # files that are looked at together: most of the time is spent on waiting for them


@dataclass(frozen=True)
class InputFile:
    """A file of prompts: its path from the input's folder, bytes, SHA-256, rows, whether it has the
    column of ids. `problem` says why it cannot be read; it has no rows then.
    """

    name: str
    size: int
    sha256: str
    rows: int
    has_ids: bool
    problem: str = ""


def input_files(
    address: Address, prompt_column: str = PROMPT_COLUMN, id_column: str = ID_COLUMN
) -> tuple[Address, list[InputFile]]:
    """The folder, and every Parquet file in it by name, or the one file that was given. Each is
    read once, for its hash.

    Raises
    ------
    ScaleError
        Nothing there, or no file that has prompts.
    """
    there, root = address.files(), address
    if list(there) == [""]:
        folder, _, name = address.url.rpartition("/")
        root, names = Address(folder), [name]
    else:
        names = [name for name in there if name.endswith((".parquet", ".pq"))]
        # what programs write beside their files begins so
        names = [name for name in names if not any(part[0] in "._" for part in name.split("/"))]
    if not names:
        raise ScaleError(
            f"{address} holds no Parquet file; give a file, or a folder with files that end in"
            " .parquet"
        )
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        files = list(
            executor.map(lambda name: _described(root, name, prompt_column, id_column), names)
        )
    if not any(file.rows for file in files):
        first = next((f"{file.name}: {file.problem}" for file in files if file.problem), "no rows")
        raise ScaleError(f"{address} holds no prompt that can be read ({first}); mend the files")
    return root, files


def _described(root: Address, name: str, prompt_column: str, id_column: str) -> InputFile:
    address = root / name
    digest, size = hashlib.sha256(), 0
    try:
        system, path = address.opened()
        with system.open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
            stream.seek(0)
            with pq.ParquetFile(stream) as file:
                columns, rows = file.schema_arrow.names, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        problem = f"{UNREADABLE}: no Parquet file ({str(error).splitlines()[0]})"
        return InputFile(name, size, digest.hexdigest(), 0, False, problem)
    problem = ""
    if prompt_column not in columns:
        rows = 0
        problem = f"{UNREADABLE}: no column {prompt_column!r}; it has {', '.join(columns)}"
    return InputFile(name, size, digest.hexdigest(), rows, id_column in columns, problem)


@dataclass(frozen=True)
class Row:
    """A row as it was read. `problem` says why it cannot be used; "" if it can."""

    number: int
    query_id: str
    prompt: Any
    problem: str = ""


def read_rows(
    root: Address, file: InputFile, numbers: Sequence[int], columns: tuple[str, str]
) -> list[Row]:
    """Rows of a file by rising number; one that cannot be read says so and is no error.

    Parameters
    ----------
    columns : names of the columns of ids and of prompts
    """
    address = root / file.name
    rows: list[Row] = []
    wanted = (columns[0] if file.has_ids else None, columns[1])
    try:
        starts = _starts(address.url, file.sha256)
    except (OSError, pa.ArrowException) as error:
        return [_unreadable(file, number, error) for number in numbers]
    of_groups: dict[int, list[int]] = {}
    for number in numbers:
        of_groups.setdefault(bisect_right(starts, number) - 1, []).append(number)
    for group, members in of_groups.items():
        try:
            table = _group(address.url, file.sha256, group, wanted)
        except (OSError, pa.ArrowException) as error:
            rows += [_unreadable(file, number, error) for number in members]
            continue
        rows += _rows(table, file, members, starts[group], wanted)
    return rows


def _unreadable(file: InputFile, number: int, error: Exception) -> Row:
    reason = f"{UNREADABLE}: {str(error).splitlines()[0]}"
    return Row(number, place(file, number), None, reason)


def place(file: InputFile, number: int) -> str:
    """The id of a row that has none of its own."""
    return f"{file.name}:{number}"


def _rows(
    table: pa.Table,
    file: InputFile,
    numbers: Sequence[int],
    start: int,
    columns: tuple[str | None, str],
) -> list[Row]:
    id_column, prompt_column = columns
    some = table.take(pa.array([number - start for number in numbers]))
    prompts = _values(some[prompt_column])
    ids = _values(some[id_column]) if id_column else [(None, "")] * len(numbers)
    rows = []
    for number, (query_id, no_id), (prompt, problem) in zip(numbers, ids, prompts, strict=True):
        if id_column and query_id is None:
            problem = problem or no_id or f"no id: the column {id_column!r} is empty here"
        name = place(file, number) if query_id is None else str(query_id)
        rows.append(Row(number, name, prompt, problem))
    return rows


def _values(column: pa.ChunkedArray) -> list[tuple[Any, str]]:
    """Values, and what is wrong with each: text may hold bytes that are no UTF-8."""
    try:
        return [(value, "") for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> tuple[Any, str]:
    try:
        return scalar.as_py(), ""
    except UnicodeDecodeError as error:
        return None, f"{UNREADABLE}: no UTF-8 ({error.reason} at byte {error.start})"


@functools.lru_cache(maxsize=64)
def _starts(url: str, sha256: str) -> list[int]:
    """First row of every row group."""
    system, path = Address(url).opened()
    with system.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    return [0, *accumulate(sizes)][:-1] if sizes else [0]


@functools.lru_cache(maxsize=2)  # neighbouring shards lie in one group; texts take much memory
def _group(url: str, sha256: str, group: int, columns: tuple[str | None, str]) -> pa.Table:
    """A row group; the hash keeps apart what lay at one address at different times."""
    system, path = Address(url).opened()
    with system.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
        return file.read_row_group(group, columns=list(dict.fromkeys(c for c in columns if c)))


def repeated_ids(root: Address, files: Sequence[InputFile], id_column: str) -> dict[int, list[int]]:
    """Rows whose id stood before, in this file or an earlier one: numbers by index of the file.

    Eight bytes an id are held in memory; ids whose hashes meet are compared themselves.
    """
    hashes = []
    for file in files:
        read = _ids(root, file, id_column) if file.has_ids and file.rows else ()
        of_groups = [pd.util.hash_array(ids) for _, ids in read]
        hashes.append(np.concatenate([np.empty(0, np.uint64), *of_groups]))
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    twice = values[counts > 1]
    found: dict[int, list[int]] = {}
    if not len(twice):
        return found
    seen: set[str] = set()
    for index, file in enumerate(files):
        if not len(hashes[index]):
            continue
        suspect = np.isin(hashes[index], twice)
        for start, ids in _ids(root, file, id_column):
            for at in np.flatnonzero(suspect[start : start + len(ids)]):
                name = ids[at]
                if name is None:
                    continue
                if name in seen:
                    found.setdefault(index, []).append(start + int(at))
                seen.add(name)
    return found


def _ids(root: Address, file: InputFile, id_column: str) -> Iterator[tuple[int, np.ndarray]]:
    """Ids of a file as text by row group, each with the number of its first row; what cannot be
    read has None.
    """
    address = root / file.name
    starts = _starts(address.url, file.sha256)
    for group, start in enumerate(starts):
        stop = starts[group + 1] if group + 1 < len(starts) else file.rows
        try:
            system, path = address.opened()
            with system.open(path, "rb") as stream, pq.ParquetFile(stream) as parquet:
                column = parquet.read_row_group(group, columns=[id_column])[id_column]
            ids = [None if value is None else str(value) for value, _ in _values(column)]
        except (OSError, pa.ArrowException):
            ids = [None] * (stop - start)
        yield start, np.array(ids, object)
