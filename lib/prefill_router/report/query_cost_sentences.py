"""Sentences about the cost of a query."""

from __future__ import annotations

import math

import pandas as pd

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.words import points

SAVED = "cost_saving_at_best_single"
PLANNED = "saving_over_best_single"


def query_cost_sentence(table: pd.DataFrame) -> str:
    """What a predicted cost brings on every pool."""
    parts = []
    for pool, rows in table.groupby("pool", sort=False):
        by = rows.set_index("metric")
        saved, error = by.loc[SAVED], by.loc["log_error"]
        over = points(tuple(saved[["over_mean", "mean_low", "mean_high"]].astype(float)))
        parts.append(
            f"Pool **{pool}**: the typical error of an answer's cost is a factor of"
            f" {_factor(error['median'])} with the median of the training and"
            f" {_factor(error['predicted'])} with the prediction. Deciding by predictions, not by"
            f" the mean of the training, changes the saving by {over} points."
        )
    return "\n\n".join(parts)


def query_cost_plan_sentence(table: pd.DataFrame) -> str:
    """What plans without a loss gain or lose by predicted costs, on every pool."""
    parts = []
    for pool, rows in table[table["plan"] == NO_LOSS].groupby("pool", sort=False):
        by = rows.set_index("metric")
        saved, won = by.loc[PLANNED], by.loc["accuracy_over_best_single"]
        ends = ["over_median", "median_low", "median_high"]
        over, more = (points(tuple(of[ends].astype(float))) for of in (saved, won))
        parts.append(
            f"Pool **{pool}**, plan without a loss: it saves {100 * saved['median']:z.1f} % of what"
            f" is paid when it decides by the median, {100 * saved['predicted']:z.1f} % by"
            f" predicted costs: {over} points; its accuracy changes by {more} points."
        )
    return "\n\n".join(parts)


def _factor(log_error: float) -> str:
    return f"{math.exp(log_error):.2f}"
