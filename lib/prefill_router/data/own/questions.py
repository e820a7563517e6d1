"""The questions of a table: one row each, repeats told apart."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from prefill_router.data.price_entries import Price

NONE = "not given"  # the benchmark of a question that has none


def without_repeats(long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per question and model: the first with an outcome, with the first tokens and cost
    that any of them knows. Outcomes agree where several are there: that was checked.
    """
    ordered = long.assign(_missing=long["isCorrect"].isna()).sort_values("_missing", kind="stable")
    again = ordered.duplicated(["query_id", "model"])
    if again.any():
        counted = [c for c in ("output_tokens", "input_tokens", "cost_usd") if c in long]
        other = 0
        if counted:
            same = ordered.groupby(["query_id", "model"])[counted]
            other = same.nunique().gt(1).any(axis=1).sum()
            # a tool may write the tokens of an answer into another row than its outcome
            ordered[counted] = same.transform("first")
        notes.append(
            f"{again.sum():,} rows repeat a question and model: dropped"
            + (
                f"; {other:,} times their tokens or costs differ, and the first were kept"
                if other
                else ""
            )
        )
    return ordered[~again].sort_index().drop(columns="_missing")


def tell_difference(
    model: str,
    paid: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    price: Price,
    currency: str,
    notes: list[str],
) -> None:
    """Say so where what was paid and what the price list makes of the tokens differ by more than
    twofold; arrays [n], NaN for nothing.
    """
    by_list = (inputs * price.input + outputs * price.output) * 1e-6
    if currency != "USD" or np.isnan(by_list).all():
        return
    both = ~np.isnan(paid) & ~np.isnan(by_list)
    a, b = (
        (paid[both].mean(), by_list[both].mean())
        if both.any()
        else (np.nanmean(paid), np.nanmean(by_list))
    )
    if max(a, b) > 2 * min(a, b):
        notes.append(
            f"{model}: cost_usd is ${a:.3g} an answer, its price and tokens make ${b:.3g}"
            f" ({both.sum():,} answers): cost_usd is used; check which is right"
        )


def _of_question(
    long: pd.DataFrame, first: pd.DataFrame, column: str, notes: list[str]
) -> pd.Series:
    """Benchmark or category of every question, by query_id: the first that one of its rows gives;
    what lacks is told and named as lacking.
    """
    given = long[long[column] != ""]
    if several := int((given.groupby("query_id")[column].nunique() > 1).sum()):
        notes.append(f"{several:,} questions have several values of {column}: the first is kept")
    values = given.drop_duplicates("query_id").set_index("query_id")[column].reindex(first.index)
    if lacking := int(values.isna().sum()):
        notes.append(f"{lacking:,} questions have no {column}: called {NONE!r}")
    return values.fillna(NONE)


def queries_of_table(first: pd.DataFrame, long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per question, in the columns of `Outcomes.queries`; prompts that are nearly equal
    share a group where none is given.
    """
    texts = first["question"]
    # equal but for case, spaces and marks at the ends; signs inside stay, they tell 2 + 3 from 2 *
    # 3
    same = (
        texts.str.casefold()
        .str.replace(r"\s+", " ", regex=True)
        .str.replace(r"^\W+|\W+$", "", regex=True)
    )
    groups = first["group"].where(first["group"] != "", same) if "group" in first else same
    hashes = {g: hashlib.sha256(str(g).encode()).hexdigest()[:12] for g in groups.unique()}
    benchmark = _of_question(long, first, "benchmark", notes) if "benchmark" in first else "all"
    category = _of_question(long, first, "category", notes) if "category" in first else benchmark
    return pd.DataFrame(
        {
            "query_id": first.index,
            "benchmark": benchmark,
            "category": category,
            "prompt": texts,
            "group": groups.map(hashes),
        }
    ).reset_index(drop=True)
