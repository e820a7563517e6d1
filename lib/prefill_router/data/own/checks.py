"""What is wrong with a table, all of it at once: per column with pandera, then what no single row
shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from prefill_router.data.own.enough import SHOWN, check_outcomes, few_groups
from prefill_router.data.own.values import (
    as_id,
    as_name,
    as_prompt,
    number,
    parsed,
    plain_number,
    shown,
    unclear_thousands,
)
from prefill_router.data.texts import tidy
from prefill_router.files import option

NUMBERS: dict[str, Callable[[Any], Any]] = {
    "isCorrect": number,
    "output_tokens": plain_number,
    "input_tokens": plain_number,
    "cost_usd": plain_number,
}
COUNTS = ("output_tokens", "input_tokens")
WRONG = {
    "empty": "empty",
    "percent": "above 1",
    "negative": "below 0",
    "infinite": "infinite",
    "fraction": "not a whole number",
}
FIXES = {
    ("question", "empty"): "give the prompt, or drop the row",
    ("model", "empty"): "name the model, or drop the row",
    ("isCorrect", "percent"): (
        "a share lies between 0 and 1: divide percentages by 100 or write 85%; bring grades such as"
        " 1 to 5 to 0 to 1, and say from which one on an answer is right with"
        f" {option('right-from')}"
    ),
    ("isCorrect", "negative"): "a share lies between 0 and 1",
}


@dataclass(frozen=True)
class _Problems:
    """What is wrong with the rows of a table, and how a line says where."""

    where: pd.DataFrame
    path: Path
    lines: list[str] = field(default_factory=list)

    @property
    def columns(self) -> Mapping[str, str]:
        """What the standard columns are called in the file."""
        return self.where.attrs["columns"]

    def say(
        self, column: str, what: str, fix: str, bad: np.ndarray, values: pd.Series | None = None
    ) -> None:
        """Add a line on the rows where ``bad``, or none."""
        at = np.flatnonzero(bad)
        if not len(at):
            return
        places = []
        for i in at[:SHOWN]:
            model = f" ({self.where['model'][i]})" if "model" in self.where else ""
            value = f" {shown(values.iloc[i])}"[:60] if values is not None else ""
            places.append(f"row {self.where['row'][i]}{model}{value}")
        more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
        self.lines.append(
            f"{self.path.name}, column {self.columns.get(column) or column}: {what}:"
            f" {', '.join(places)}{more}; {fix}"
        )


def check(
    long: pd.DataFrame, where: pd.DataFrame, path: Path, threshold: float, notes: list[str]
) -> list[str]:
    """Parse the columns in place; what is wrong, one line per kind and column. What was mended is
    counted in the notes.
    """
    problems = _Problems(where, path)
    _read_prompts(long, problems, notes)
    long["model"] = long["model"].map(as_name)
    for column in ("benchmark", "category"):
        if column in long:
            long[column] = long[column].map(as_name)
    written = {column: long[column] for column in NUMBERS if column in long}
    readable = _read_numbers(long, problems)
    _check_columns(long, written, problems)
    ids, several = _read_ids(long, problems)
    of_table = _check_groups(long, ids, problems)
    _check_repeats(long, ids, several, problems)
    known = long["isCorrect"].notna()
    names = [m for m in long["model"].unique() if m]
    if len(names) < 2:
        of_table.append(
            f"only one model ({names[0] if names else 'none'}); routing needs two or more"
        )
    # what is not read, or on another scale, says nothing of models and questions
    if readable and not (long["isCorrect"] > 1).any():
        of_table += check_outcomes(long, known, threshold, names, problems.columns, path)
    return problems.lines + of_table


def _read_prompts(long: pd.DataFrame, problems: _Problems, notes: list[str]) -> None:
    """Every prompt as one text."""
    prompts = pd.Series([as_prompt(v) for v in long["question"]], dtype=object)
    there = np.array(
        [
            isinstance(v, list | dict | np.ndarray) or (isinstance(v, str) and bool(v.strip()))
            for v in long["question"]
        ],
        bool,
    )
    problems.say(
        "question",
        "not a single prompt",
        "write each prompt as one text, or as messages with one turn of the user (and a system"
        " text); join the turns of a conversation yourself, or keep the last one",
        prompts.isna().to_numpy() & there,
        long["question"],
    )
    if chats := sum(_has_system(v) for v in long["question"][prompts.notna()]):
        notes.append(
            f"{chats:,} prompts are chat messages: the system text and the user's turn are joined"
            " by an empty line"
        )
    long["question"] = _tidied(prompts.fillna(""), notes)


def _read_numbers(long: pd.DataFrame, problems: _Problems) -> bool:
    """Every number as a float; whether all of `isCorrect` could be read."""
    readable = True
    for column, parse in NUMBERS.items():
        if column not in long:
            continue
        raw = long[column]
        long[column], wrong = parsed(raw, parse)
        if column != "isCorrect":
            counts = column in COUNTS
            unclear = unclear_thousands(raw, counts)
            problems.say(
                column,
                "thousands or decimals, which cannot be told apart",
                "write whole numbers without any separator, such as 1000"
                if counts
                else "write a point before decimals, and no separator of thousands",
                unclear,
                raw,
            )
            long.loc[unclear, column], wrong = np.nan, wrong & ~unclear  # told once
        if column == "isCorrect":
            readable = not wrong.any()
        fix = (
            "write 0 or 1, true or false, or a share; leave a missing one empty"
            if column == "isCorrect"
            else "write a plain number, without unit or thousands separators"
        )
        commas = raw[wrong].map(
            lambda v: isinstance(v, str) and bool(re.fullmatch(r"\s*-?\d+,\d+\s*", v))
        )
        if len(commas) and commas.all():
            fix = "decimal commas are not read, as they may mean thousands: write a point"
        problems.say(column, "not a number", fix, wrong, raw)
    return readable


def _schema(long: pd.DataFrame) -> pa.DataFrameSchema:
    """What every column holds, as far as one row shows it."""
    not_percent = pa.Check(lambda s: ~(s > 1), name="percent")
    not_negative = pa.Check(lambda s: ~(s < 0), name="negative")
    finite = pa.Check(lambda s: ~np.isinf(s), name="infinite")
    whole = pa.Check(lambda s: ~(s % 1 > 0), name="fraction")
    checks = {
        "isCorrect": [not_percent, not_negative],
        **{c: [not_negative, finite, whole] for c in COUNTS if c in long},
        **({"cost_usd": [not_negative, finite]} if "cost_usd" in long else {}),
    }
    return pa.DataFrameSchema(
        {
            "question": pa.Column(str, pa.Check(lambda s: s.str.strip() != "", name="empty")),
            "model": pa.Column(str, pa.Check(lambda s: s != "", name="empty")),
            **{c: pa.Column(float, of_column, nullable=True) for c, of_column in checks.items()},
        }
    )


def _check_columns(
    long: pd.DataFrame, written: Mapping[str, pd.Series], problems: _Problems
) -> None:
    """What single rows show; ``written``: the numbers as the file has them."""
    try:
        # pandera looks at every check of every column before it complains
        _schema(long).validate(long, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (column, kind), cases in errors.failure_cases.groupby(["column", "check"], sort=False):
            bad = np.zeros(len(long), bool)
            bad[cases["index"].dropna().astype(int)] = True
            fix = (
                "write whole numbers; points for thousands are not read"
                if kind == "fraction"
                else "correct or empty it"
            )
            problems.say(
                column, WRONG[kind], FIXES.get((column, kind), fix), bad, written.get(column)
            )


def _has_system(value: Any) -> bool:
    """Whether a cell is chat messages with a system text."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return False
    return bool(re.search(r"role['\"]:\s*['\"](system|developer)", str(value)))


def _tidied(prompts: pd.Series, notes: list[str]) -> pd.Series:
    """Prompts as `texts.tidy` has them: the same prompt from tools of two kinds is one, and a
    router reads it in the same form when it serves.
    """
    found = prompts.map(tidy)
    if differ := int(prompts.str.contains("\r", regex=False).sum()):
        notes.append(f"{differ:,} prompts end their lines in CR LF: read as LF")
    if around := int((prompts.str.strip() != prompts)[found != ""].sum()):
        notes.append(
            f"{around:,} prompts have spaces or empty lines around them: read without, as when"
            " serving"
        )
    return found


def _read_ids(long: pd.DataFrame, problems: _Problems) -> tuple[pd.Series, pd.Series]:
    """The question's id of every row, and where one id stands for different prompts."""
    text = long["question"]
    several = pd.Series(False, index=long.index)
    if "query_id" in long:
        ids = long["query_id"].map(as_id)
        problems.say(
            "query_id",
            "empty",
            "give every question an id, or drop the column",
            (ids == "").to_numpy(),
        )
        several = text.groupby(ids).transform("nunique") > 1
        problems.say(
            "query_id",
            "one id for different prompts",
            "give each prompt its own id",
            (several & (ids != "")).to_numpy(),
            ids,
        )
    else:
        ids = text.map({t: hashlib.sha256(t.encode()).hexdigest()[:12] for t in text.unique()})
    long["query_id"] = ids
    return ids, several


def _check_groups(long: pd.DataFrame, ids: pd.Series, problems: _Problems) -> list[str]:
    """Groups as texts; what is wrong with their number."""
    if "group" not in long:
        return []
    long["group"] = long["group"].map(as_id)
    problems.say(
        "group",
        "several groups for one question",
        "one question has one group",
        (long["group"].groupby(ids).transform("nunique") > 1).to_numpy(),
        long["group"],
    )
    return few_groups(long, problems.columns, problems.path)


def _check_repeats(
    long: pd.DataFrame, ids: pd.Series, several: pd.Series, problems: _Problems
) -> None:
    """Different outcomes of one model on one question."""
    pair = ids.astype(str) + "\0" + long["model"]
    different = (long["isCorrect"].groupby(pair).transform("nunique") > 1) & (ids != "") & ~several
    problems.say(
        "isCorrect",
        "different outcomes for the same question and model",
        "keep one, or their mean as a share",
        different.to_numpy(),
        long["isCorrect"],
    )
