"""Opening a table: CSV, JSON or Parquet, as it stands in the file; what cannot be read is refused
with its place.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.own.names import KNOWN, key
from prefill_router.data.texts import whole

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
DELIMITERS = ",;\t|"


def fail(path: Path, what: str, fix: str) -> OutcomesError:
    return OutcomesError(f"{path}: {what}; {fix}")


def read_file(path: Path, notes: list[str]) -> pd.DataFrame:
    """The table as it stands in the file, texts for CSV; what cannot be opened is refused here,
    what is mended is told in the notes.
    """
    if not path.is_file():
        raise fail(path, "no such file", "check the path")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        why = (
            " (pickles are never read, as they can run anything)"
            if kind in (".pkl", ".pickle")
            else ""
        )
        raise fail(path, f"unknown kind of file {kind!r}{why}", f"use {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise fail(path, "the file is empty", "export the table again")
    if kind == ".parquet":
        try:
            table = pd.read_parquet(path)
        except Exception as error:  # pyarrow raises many kinds for what is no Parquet
            raise fail(
                path,
                f"not readable as Parquet ({error})",
                "export it again, or name it after what it is",
            ) from error
        if table.index.names != [None] or not pd.api.types.is_integer_dtype(table.index):
            table = table.reset_index()  # pandas stores an index beside the columns
    else:
        text = _decoded(path)
        if kind in (".csv", ".tsv"):
            table = _read_csv(path, text)
        else:
            rows = (_read_json if kind == ".json" else _read_lines)(path, text)
            # JSON alone can write half a sign, as an escape
            table = pd.DataFrame(
                _whole_rows(rows, notes) if "\\ud" in text.lower() else rows, dtype=object
            )
    if not len(table):
        raise fail(path, "the table has columns and no rows", "export it again")
    return table


def _decoded(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its byte order mark."""
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode(
            "utf-16" if wide else "utf-8-sig"
        )  # a byte order mark is no part of the first column's name
    except UnicodeDecodeError as error:
        if wide:
            raise fail(
                path, f"it begins as UTF-16 and is not ({error})", "save it as UTF-8"
            ) from error
        line = data[: error.start].count(b"\n") + 1
        raise fail(
            path, f"line {line}: byte {data[error.start]:#04x} is not UTF-8", "save it as UTF-8"
        ) from error
    if "\x00" in text:
        raise fail(
            path,
            f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte in the text",
            "export the table again",
        )
    return text


def _delimiter(header: str) -> str:
    """The sign that cuts the header into the most known names; of equals the most frequent one."""
    return max(
        DELIMITERS,
        key=lambda sign: (
            sum(key(part.strip('" ')) in KNOWN for part in header.split(sign)),
            header.count(sign),
        ),
    )


def _read_csv(path: Path, text: str) -> pd.DataFrame:
    """Texts, every row with exactly as many fields as the header: pandas would shift or pad the
    others in silence.
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old programs on a Mac end their lines
    header, _, rest = text.partition("\n")
    if told := re.fullmatch(r'"?sep=(.)"?\s*', header, re.IGNORECASE):  # Excel's own first line
        text, header = rest, rest.split("\n", 1)[0]
    delimiter = told[1] if told else "\t" if path.suffix.lower() == ".tsv" else _delimiter(header)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(2**31 - 1)
    rows: list[list[str]] = []
    try:
        for fields in reader:
            if not fields:
                continue  # an empty line
            if rows and len(fields) != len(rows[0]):
                raise fail(
                    path,
                    f"row {len(rows)} (line {reader.line_num}) has {len(fields)} fields, the header"
                    f" {len(rows[0])}",
                    "every row needs as many fields as the header; put texts with commas into"
                    " quotation marks",
                )
            rows.append(fields)
    except csv.Error as error:
        if '\\"' in text:
            raise fail(
                path,
                f"line {reader.line_num}: quotation marks inside a text are written with a"
                ' backslash (\\")',
                'write them twice (""), as CSV has them, or export the table as JSON lines or'
                " Parquet",
            ) from error
        raise fail(
            path,
            f"line {reader.line_num}: quotation marks that do not match ({error})",
            'write a quotation mark inside a text twice ("")',
        ) from error
    finally:
        csv.field_size_limit(limit)
    names = [name.strip() for name in rows[0]] if rows else []
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise fail(
            path, f"columns {', '.join(repeated)} are there twice", "rename or drop one of each"
        )
    return pd.DataFrame(rows[1:], columns=names, dtype=object)


def _whole_rows(rows: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    mended = [_whole(row) for row in rows]
    columns: dict[str, list[int]] = {}
    for number, (before, after) in enumerate(zip(rows, mended, strict=True), start=1):
        if before != after:
            for name in [name for name in after if after[name] != before.get(name)]:
                columns.setdefault(name, []).append(number)
    for name, at in columns.items():
        places = ", ".join(f"row {number}" for number in at[:5]) + (
            f" and {len(at) - 5:,} more" if len(at) > 5 else ""
        )
        notes.append(
            f"column {name}: half a sign, such as half an emoji, in {len(at):,} cells ({places}):"
            " replaced by U+FFFD, as when serving"
        )
    return mended


def _whole(value: Any) -> Any:
    """A value of JSON with `texts.whole` applied to every text in it."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return (
        {whole(name): _whole(part) for name, part in value.items()}
        if isinstance(value, dict)
        else value
    )


def _read_lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise fail(
                    path, f"line {number} is not JSON ({error})", "write one object per line"
                ) from error
            if not isinstance(rows[-1], dict):
                raise fail(
                    path,
                    f"line {number} is a {type(rows[-1]).__name__}, not an object",
                    'write {"question": ..., "model": ..., "isCorrect": ...}',
                )
    return rows


def _read_json(path: Path, text: str) -> list[dict[str, Any]]:
    """A list of objects, also where it is the only list of an object; a column or a row under each
    name, as pandas writes them; or JSON lines under this name.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        first = text.lstrip().split("\n", 1)[0].strip()
        if first.startswith("{") and first.endswith("}"):
            return _read_lines(path, text)
        raise fail(
            path,
            f"not readable as JSON ({error})",
            "write a list of objects, or an object per line",
        ) from error
    if isinstance(content, dict):
        lists = [
            name
            for name, value in content.items()
            if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
        ]
        if (
            content
            and all(isinstance(value, list) for value in content.values())
            and not lists
            and len({len(v) for v in content.values()}) == 1
        ):
            content = [
                dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)
            ]  # a list per column
        elif _nested(content):
            content = _rows_of_nested(path, content)
        else:
            content = content[lists[0]] if len(lists) == 1 else [content]
    for number, row in enumerate(content if isinstance(content, list) else [content], start=1):
        if not isinstance(row, dict):
            raise fail(
                path,
                f"entry {number} is a {type(row).__name__}, not an object",
                'write [{"question": ..., "model": ..., "isCorrect": ...}, ...]',
            )
    return content


def _nested(content: dict[str, Any]) -> bool:
    """Whether an object holds nothing but objects: ``DataFrame.to_json`` as it is by default."""
    return bool(content) and all(isinstance(of, dict) and of for of in content.values())


def _rows_of_nested(path: Path, content: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of column -> row -> value, or of row -> column -> value: the columns are where the
    known names are.
    """
    first = next(iter(content.values()))
    outer, inner = (sum(key(name) in KNOWN for name in of) for of in (content, first))
    if inner > outer:
        return list(content.values())
    if differ := [name for name, of in content.items() if of.keys() != first.keys()]:
        raise fail(
            path,
            f"column {differ[0]!r} has other rows than {next(iter(content))!r}",
            "write a list of objects, one for each row",
        )
    return [{name: of[row] for name, of in content.items()} for row in first]
