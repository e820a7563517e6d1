"""What is wrong with a table, all of it at once: per column with pandera, then what no single row
shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
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
)


def check(
    long: pd.DataFrame, where: pd.DataFrame, path: Path, threshold: float, notes: list[str]
) -> list[str]:
    """Parse the columns in place; what is wrong, one line per kind and column. What was mended is
    counted in the notes.
    """
    columns: Mapping[str, str] = where.attrs["columns"]
    problems: list[str] = []

    def say(
        column: str, what: str, fix: str, bad: np.ndarray, values: pd.Series | None = None
    ) -> None:
        at = np.flatnonzero(bad)
        if len(at):
            places = []
            for i in at[:SHOWN]:
                model = f" ({where['model'][i]})" if "model" in where else ""
                value = f" {shown(values.iloc[i])}"[:60] if values is not None else ""
                places.append(f"row {where['row'][i]}{model}{value}")
            more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
            problems.append(
                f"{path.name}, column {columns.get(column) or column}: {what}:"
                f" {', '.join(places)}{more}; {fix}"
            )

    prompts = pd.Series([as_prompt(v) for v in long["question"]], dtype=object)
    there = np.array(
        [
            isinstance(v, list | dict | np.ndarray) or (isinstance(v, str) and bool(v.strip()))
            for v in long["question"]
        ],
        bool,
    )
    say(
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
    long["question"] = _plain_lines(prompts.fillna(""), notes)
    long["model"] = long["model"].map(as_name)
    for column in ("benchmark", "category"):
        if column in long:
            long[column] = long[column].map(as_name)
    given: dict[str, pd.Series] = {}
    unread: set[str] = set()
    for column, parse in (
        ("isCorrect", number),
        ("output_tokens", plain_number),
        ("input_tokens", plain_number),
        ("cost_usd", plain_number),
    ):
        if column in long:
            raw = long[column]
            numbers, wrong = parsed(raw, parse)
            given[column] = raw
            long[column] = numbers
            unread |= {column} if wrong.any() else set()
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
            say(column, "not a number", fix, wrong, raw)
    # pandera looks at every check of every column before it complains
    counts = {"output_tokens", "input_tokens"} & set(long)
    schema = pa.DataFrameSchema(
        {
            "question": pa.Column(str, pa.Check(lambda s: s.str.strip() != "", name="empty")),
            "model": pa.Column(str, pa.Check(lambda s: s != "", name="empty")),
            "isCorrect": pa.Column(
                float,
                [
                    pa.Check(lambda s: ~(s > 1), name="percent"),
                    pa.Check(lambda s: ~(s < 0), name="negative"),
                ],
                nullable=True,
            ),
            **{
                c: pa.Column(
                    float,
                    [
                        pa.Check(lambda s: ~(s < 0), name="negative"),
                        pa.Check(lambda s: ~np.isinf(s), name="infinite"),
                        pa.Check(lambda s: ~(s % 1 > 0), name="fraction"),
                    ],
                    nullable=True,
                )
                for c in counts
            },
            **(
                {
                    "cost_usd": pa.Column(
                        float,
                        [
                            pa.Check(lambda s: ~(s < 0), name="negative"),
                            pa.Check(lambda s: ~np.isinf(s), name="infinite"),
                        ],
                        nullable=True,
                    )
                }
                if "cost_usd" in long
                else {}
            ),
        }
    )
    fixes = {
        ("question", "empty"): "give the prompt, or drop the row",
        ("model", "empty"): "name the model, or drop the row",
        (
            "isCorrect",
            "percent",
        ): "a share lies between 0 and 1: divide percentages by 100 or write 85%",
        ("isCorrect", "negative"): "a share lies between 0 and 1",
    }
    try:
        schema.validate(long, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (column, kind), cases in errors.failure_cases.groupby(["column", "check"], sort=False):
            bad = np.zeros(len(long), bool)
            bad[cases["index"].dropna().astype(int)] = True
            what = {
                "empty": "empty",
                "percent": "above 1",
                "negative": "below 0",
                "infinite": "infinite",
                "fraction": "not a whole number",
            }[kind]
            fix = (
                "write whole numbers; points for thousands are not read"
                if kind == "fraction"
                else "correct or empty it"
            )
            say(column, what, fixes.get((column, kind), fix), bad, given.get(column))
    return problems + _check_together(
        long, say, threshold, "isCorrect" not in unread, columns, path, notes
    )


def _has_system(value: Any) -> bool:
    """Whether a cell is chat messages with a system text."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return False
    return bool(re.search(r"role['\"]:\s*['\"](system|developer)", str(value)))


def _plain_lines(prompts: pd.Series, notes: list[str]) -> pd.Series:
    """Prompts with LF at the end of lines: the same prompt from tools of two kinds is one."""
    plain = prompts.map(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))
    if differ := int((plain != prompts).sum()):
        notes.append(f"{differ:,} prompts end their lines in CR LF: read as LF")
    return plain


def _check_together(
    long: pd.DataFrame,
    say: Callable[..., None],
    threshold: float,
    readable: bool,
    columns: Mapping[str, str],
    path: Path,
    notes: list[str],
) -> list[str]:
    """What no single row shows: identity, conflicts, numbers of models and questions."""
    problems: list[str] = []
    text = long["question"].str.strip()
    several = pd.Series(False, index=long.index)
    if "query_id" in long:
        ids = long["query_id"].map(as_id)
        say(
            "query_id",
            "empty",
            "give every question an id, or drop the column",
            (ids == "").to_numpy(),
        )
        several = text.groupby(ids).transform("nunique") > 1
        say(
            "query_id",
            "one id for different prompts",
            "give each prompt its own id",
            (several & (ids != "")).to_numpy(),
            ids,
        )
    else:
        ids = text.map({t: hashlib.sha256(t.encode()).hexdigest()[:12] for t in text.unique()})
    long["query_id"] = ids
    if "group" in long:
        long["group"] = long["group"].map(as_id)
        say(
            "group",
            "several groups for one question",
            "one question has one group",
            (long["group"].groupby(ids).transform("nunique") > 1).to_numpy(),
            long["group"],
        )
        problems += few_groups(long, columns, path)
    pair = ids.astype(str) + "\0" + long["model"]
    known = long["isCorrect"].notna()
    different = (
        (long["isCorrect"].where(known).groupby(pair).transform("nunique") > 1)
        & (ids != "")
        & ~several
    )
    say(
        "isCorrect",
        "different outcomes for the same question and model",
        "keep one, or their mean as a share",
        different.to_numpy(),
        long["isCorrect"],
    )
    names = [m for m in long["model"].unique() if m]
    if len(names) < 2:
        problems.append(
            f"only one model ({names[0] if names else 'none'}); routing needs two or more"
        )
    if not readable:
        return problems  # what is not read says nothing of models and questions
    return problems + check_outcomes(long, known, threshold, names, columns, path)
