"""What is wrong with a table, all of it at once: per column with pandera, then what no single row shows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from .values import as_id, as_prompt, number, parsed, plain_number

FEWEST, FEW = 100, 300  # queries: below the first no split can be made, below the second no claim
_SHOWN = 5


def check(long: pd.DataFrame, where: pd.DataFrame, path: Path, threshold: float) -> list[str]:
    """Parse the columns in place; what is wrong, one line per kind and column."""
    columns: Mapping[str, str] = where.attrs["columns"]
    problems: list[str] = []

    def say(column: str, what: str, fix: str, bad: np.ndarray, values: pd.Series | None = None) -> None:
        at = np.flatnonzero(bad)
        if len(at):
            shown = []
            for i in at[:_SHOWN]:
                model = f" ({where['model'][i]})" if "model" in where else ""
                value = f" {values.iloc[i]!r}"[:60] if values is not None else ""
                shown.append(f"row {where['row'][i]}{model}{value}")
            more = f" and {len(at) - _SHOWN} more" if len(at) > _SHOWN else ""
            problems.append(f"{path.name}, column {columns.get(column) or column}: {what}: {', '.join(shown)}{more}; {fix}")

    prompts = long["question"].map(as_prompt) if long["question"].map(type).isin([str]).all() else pd.Series([as_prompt(v) for v in long["question"]], dtype=object)
    say("question", "not a single prompt", "write each prompt as one text; join the turns of a conversation yourself", prompts.isna().to_numpy() & long["question"].map(lambda v: isinstance(v, list | dict | np.ndarray) or (isinstance(v, str) and bool(v.strip()))).to_numpy(bool), long["question"])
    long["question"] = prompts.fillna("")
    models = long["model"].map(lambda v: "" if v is None or (not isinstance(v, str) and pd.isna(v)) else str(v).strip())
    long["model"] = models
    given: dict[str, pd.Series] = {}
    for column, parse in (("isCorrect", number), ("output_tokens", plain_number), ("input_tokens", plain_number), ("cost_usd", plain_number)):
        if column in long:
            raw = long[column]
            numbers, wrong = parsed(raw, parse)
            given[column] = raw
            long[column] = numbers
            say(column, "not a number", "write 0 or 1, true or false, or a share; leave a missing one empty" if column == "isCorrect" else "write a plain number, without unit or thousands separators", wrong, raw)
    # pandera looks at every check of every column before it complains
    counts = {"output_tokens", "input_tokens"} & set(long)
    schema = pa.DataFrameSchema(
        {
            "question": pa.Column(str, pa.Check(lambda s: s.str.strip() != "", name="empty")),
            "model": pa.Column(str, pa.Check(lambda s: s != "", name="empty")),
            "isCorrect": pa.Column(float, [pa.Check(lambda s: ~(s > 1), name="percent"), pa.Check(lambda s: ~(s < 0), name="negative")], nullable=True),
            **{c: pa.Column(float, [pa.Check(lambda s: ~(s < 0), name="negative"), pa.Check(lambda s: ~np.isinf(s), name="infinite"), pa.Check(lambda s: ~(s % 1 > 0), name="fraction")], nullable=True) for c in counts},
            **({"cost_usd": pa.Column(float, [pa.Check(lambda s: ~(s < 0), name="negative"), pa.Check(lambda s: ~np.isinf(s), name="infinite")], nullable=True)} if "cost_usd" in long else {}),
        }
    )
    fixes = {
        ("question", "empty"): "give the prompt, or drop the row", ("model", "empty"): "name the model, or drop the row",
        ("isCorrect", "percent"): "a share lies between 0 and 1: divide percentages by 100 or write 85%", ("isCorrect", "negative"): "a share lies between 0 and 1",
    }
    try:
        schema.validate(long, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (column, kind), cases in errors.failure_cases.groupby(["column", "check"], sort=False):
            bad = np.zeros(len(long), bool)
            bad[cases["index"].dropna().astype(int)] = True
            what = {"empty": "empty", "percent": "above 1", "negative": "below 0", "infinite": "infinite", "fraction": "not a whole number"}[kind]
            say(column, what, fixes.get((column, kind), "correct or empty it"), bad, given.get(column))
    problems += _check_together(long, say, threshold)
    return problems


def _check_together(long: pd.DataFrame, say: Callable[..., None], threshold: float) -> list[str]:
    """What no single row shows: identity, conflicts, numbers of models and questions."""
    problems: list[str] = []
    text = long["question"].str.strip()
    if "query_id" in long:
        ids = long["query_id"].map(as_id)
        say("query_id", "empty", "give every question an id, or drop the column", (ids == "").to_numpy())
        several = text.groupby(ids).transform("nunique") > 1
        say("query_id", "one id for different prompts", "give each prompt its own id", (several & (ids != "")).to_numpy(), ids)
    else:
        ids = text.map({t: hashlib.sha256(t.encode()).hexdigest()[:12] for t in text.unique()})
    long["query_id"] = ids
    if "group" in long:
        long["group"] = long["group"].map(as_id)
        say("group", "several groups for one question", "one question has one group", (long["group"].groupby(ids).transform("nunique") > 1).to_numpy(), long["group"])
    pair = ids.astype(str) + "\0" + long["model"]
    known = long["isCorrect"].notna()
    different = long["isCorrect"].where(known).groupby(pair).transform("nunique") > 1
    say("isCorrect", "different outcomes for the same question and model", "keep one, or their mean as a share", different.to_numpy(), long["isCorrect"])
    names = [m for m in long["model"].unique() if m]
    if len(names) < 2:
        problems.append(f"only one model ({names[0] if names else 'none'}); routing needs two or more")
    for model, values in long[known].groupby("model")["isCorrect"]:
        right = values >= threshold
        if model and (right == right.iloc[0]).all() and len(names) > 1:
            problems.append(f"model {model} is always {'right' if right.iloc[0] else 'wrong'} ({len(values)} questions): there is nothing to learn; drop it from the table")
    silent = [m for m in names if not known[long["model"] == m].any()]
    problems += [f"model {m} has no outcome at all; fill them in or drop it" for m in silent]
    n = ids[ids != ""].nunique()
    if n < FEWEST:
        problems.append(f"{n} questions are too few: {FEWEST} are needed to train, calibrate and test at all, some {FEW} for an answer that means something")
    elif len(names) >= 2:
        answered = long[known].groupby(ids[known])["model"].nunique()
        complete = int((answered == len(names)).sum())
        if complete < FEWEST:
            counts = long[known].groupby("model")["isCorrect"].size().sort_values()
            problems.append(
                f"only {complete} of {n} questions were answered by every model; {FEWEST} are needed, since models are compared on the same questions. "
                f"Fill in or drop the models with the fewest outcomes: {', '.join(f'{m} ({c})' for m, c in counts.head(3).items())}"
            )
    return problems
