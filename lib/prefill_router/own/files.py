"""Opening a table: CSV, JSON lines or Parquet, as it stands in the file; what cannot be read is refused with its place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd

from prefill_router.outcomes import OutcomesError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def fail(path: Path, what: str, fix: str) -> OutcomesError:
    return OutcomesError(f"{path}: {what}; {fix}")


def read_file(path: Path) -> pd.DataFrame:
    """The table as it stands in the file, texts for CSV; what cannot be opened is refused here."""
    if not path.is_file():
        raise fail(path, "no such file", "check the path")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise fail(path, f"unknown kind of file {kind!r}", f"use {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise fail(path, "the file is empty", "export the table again")
    if kind == ".parquet":
        try:
            table = pd.read_parquet(path)
        except Exception as error:  # pyarrow raises many kinds for what is no Parquet
            raise fail(path, f"not readable as Parquet ({error})", "export it again, or name it after what it is") from error
    else:
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")  # a byte order mark at the beginning is no part of the first column's name
        except UnicodeDecodeError as error:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise fail(path, "the text is UTF-16", "save it as UTF-8") from error
            line = data[: error.start].count(b"\n") + 1
            raise fail(path, f"line {line}: byte {data[error.start]:#04x} is not UTF-8", "save it as UTF-8") from error
        if "\x00" in text:
            raise fail(path, f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte in the text", "export the table again")
        table = _read_lines(path, text) if kind in (".jsonl", ".ndjson") else _read_csv(path, text, kind)
    if not len(table):
        raise fail(path, "the table has columns and no rows", "export it again")
    return table


def _read_csv(path: Path, text: str, kind: str) -> pd.DataFrame:
    """Texts, every row with exactly as many fields as the header: pandas would shift or pad the others in silence."""
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter="\t" if kind == ".tsv" else max(",;\t", key=header.count), strict=True)
    limit = csv.field_size_limit(2**31 - 1)
    rows: list[list[str]] = []
    try:
        for fields in reader:
            if not fields:
                continue  # an empty line
            if rows and len(fields) != len(rows[0]):
                raise fail(
                    path, f"row {len(rows)} (line {reader.line_num}) has {len(fields)} fields, the header {len(rows[0])}",
                    "every row needs as many fields as the header; put texts with commas into quotation marks",
                )
            rows.append(fields)
    except csv.Error as error:
        raise fail(path, f"line {reader.line_num}: quotation marks that do not match ({error})", 'write a quotation mark inside a text twice ("")') from error
    finally:
        csv.field_size_limit(limit)
    names = [name.strip() for name in rows[0]] if rows else []
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise fail(path, f"columns {', '.join(repeated)} are there twice", "rename or drop one of each")
    return pd.DataFrame(rows[1:], columns=names, dtype=object)


def _read_lines(path: Path, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise fail(path, f"line {number} is not JSON ({error})", "write one object per line") from error
            if not isinstance(rows[-1], dict):
                raise fail(path, f"line {number} is a {type(rows[-1]).__name__}, not an object", 'write {"question": ..., "model": ..., "isCorrect": ...}')
    return pd.DataFrame(rows, dtype=object)
