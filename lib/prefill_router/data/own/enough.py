"""Whether a table holds enough questions, groups and complete rows to train and test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from prefill_router.data.own.names import NAMES, key
from prefill_router.files import option

FEWEST, FEW = 100, 300  # queries: below the first no split can be made, below the second no claim


FEWEST_GROUPS = (
    10  # below it one of training, calibration and test, or a fold within training, may stay empty
)


MOST_IN_ONE = 0.7  # a larger share of the questions in one group leaves no room for the others


SHOWN = 5


def _too_few(n: int) -> str:
    return (
        f"{n} questions are too few: {FEWEST} are needed to train, calibrate and test at all, some"
        f" {FEW} for an answer that means something"
    )


def few_rows(raw: pd.DataFrame) -> list[str]:
    """That a table has too few questions, where it is not known which columns are which."""
    named = [column for column in raw.columns if key(column) in NAMES["question"][0]]
    n = raw[named[0]].map(str).nunique() if named else len(raw)
    return [("" if named else "at most ") + _too_few(n)] if n < FEWEST else []


def few_groups(long: pd.DataFrame, columns: Mapping[str, str], path: Path) -> list[str]:
    """Groups never straddle a split, and every member of an ensemble keeps some for validation."""
    first = long.drop_duplicates("query_id")["group"]
    named = first[first != ""]
    n = named.nunique() + int((first == "").sum())
    largest = named.value_counts().max() if len(named) else 0
    of = f"{path.name}, column {columns.get('group', 'group')}"
    if n < FEWEST_GROUPS:
        return [
            f"{of}: {n} different groups are too few for training, calibration and test:"
            f" {FEWEST_GROUPS} are needed; give finer groups, or drop the column"
        ]
    if largest > MOST_IN_ONE * len(first):
        return [
            f"{of}: one group ({named.value_counts().index[0]}) holds {largest:,} of {len(first):,}"
            " questions, and groups are never divided between training and test: give finer"
            " groups, or drop the column"
        ]
    return []


def check_outcomes(
    long: pd.DataFrame,
    known: pd.Series,
    threshold: float,
    names: list[str],
    columns: Mapping[str, str],
    path: Path,
) -> list[str]:
    problems: list[str] = []
    ids = long["query_id"]
    for model, values in long[known].groupby("model")["isCorrect"]:
        right = values >= threshold
        if model and (right == right.iloc[0]).all() and len(names) > 1:
            problems.append(
                f"model {model} is always {'right' if right.iloc[0] else 'wrong'} ({len(values)}"
                " questions): there is nothing to learn; drop it from the table, or leave it out of"
                f" {option('models')}"
            )
    silent = [m for m in names if not known[long["model"] == m].any()]
    problems += [f"model {m} has no outcome at all; fill them in or drop it" for m in silent]
    n = ids[ids != ""].nunique()
    if n < FEWEST:
        problems.append(_too_few(n))
        return problems
    if len(names) < 2:
        return problems
    by_question = long[known].groupby(ids[known])
    complete = int((by_question["model"].nunique() == len(names)).sum())
    if complete < FEWEST:
        counts = long[known].groupby("model")["isCorrect"].size().sort_values()
        fewest = ", ".join(f"{model} ({count})" for model, count in counts.head(3).items())
        causes = (
            _why_incomplete(long, names, columns)
            or f"fill in or drop the models with the fewest outcomes: {fewest}"
        )
        problems.append(
            f"only {complete} of {n} questions were answered by every model; {FEWEST} are needed,"
            f" since models are compared on the same questions: {causes}"
        )
    elif (
        columns.get("isCorrect") not in (None, "", "isCorrect")
        and (by_question["isCorrect"].nunique() == 1).all()
    ):
        problems.append(
            f"{path.name}, column {columns['isCorrect']}: it is the same for every model of a"
            " question, so it seems to be the right answer and not whether a model gave it; call"
            " the column with the outcomes isCorrect"
        )
    return problems


def _why_incomplete(long: pd.DataFrame, names: list[str], columns: Mapping[str, str]) -> str:
    """Why models seem to have answered different questions, where the table shows it."""
    causes = []
    like: dict[str, list[str]] = {}
    for name in names:
        like.setdefault(re.sub(r"[\s_-]+", "-", name.casefold()), []).append(name)
    if same := [" and ".join(group) for group in like.values() if len(group) > 1]:
        causes.append(
            f"models' names that differ in case or spaces alone ({', '.join(same[:SHOWN])}): write"
            " each in one way"
        )
    if columns.get("query_id"):
        of = long.groupby(long["question"].str.strip())["query_id"].unique()
        if len(several := of[of.map(len) > 1]):
            causes.append(
                f"column {columns['query_id']}: {len(several):,} prompts stand under several ids"
                f" each (such as {' and '.join(several.iloc[0][:2])}): give a prompt one id, or"
                " drop the column"
            )
    else:
        texts = pd.Series(long["question"].unique())
        composed = texts.str.normalize("NFC")
        if (twice := composed.duplicated(keep=False)).any():
            causes.append(
                f"{twice.sum():,} prompts differ only in how accents are written (Unicode NFC and"
                f" NFD, such as {texts[twice].iloc[0]!r:.60}): write all in NFC, or give a query_id"
            )
        else:
            plain = composed.str.casefold().str.replace(r"\s+", " ", regex=True).str.strip()
            if (twice := plain.duplicated(keep=False)).any():
                causes.append(
                    f"{twice.sum():,} prompts differ in case or spaces alone (such as"
                    f" {texts[twice].iloc[0]!r:.60}): write a question in one way, or give a"
                    " query_id"
                )
    return "; ".join(causes)
