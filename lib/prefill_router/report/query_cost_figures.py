"""The figure and the sentence about the cost of a query."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.words import points

SAVED = "cost_saving_at_best_single"
PLANNED = "saving_over_best_single"
OVER = {"median": "#0072B2", "mean": "#E69F00"}


def draw_query_costs(table: pd.DataFrame) -> Figure:
    """By how much a predicted cost saves more than a constant one, where ours is as accurate as the
    best single target, in points of that target's realised cost; a row for each pool.

    `table`: `evaluate.query_costs.query_cost_table`.
    """
    return _draw(
        table[table["metric"] == SAVED].reset_index(drop=True), "saved more by a predicted"
    )


def draw_query_cost_plans(table: pd.DataFrame) -> Figure:
    """The same for the plan without a loss: chosen on labelled queries, not in hindsight.

    `table`: `evaluate.query_cost_plans.query_cost_plans`.
    """
    rows = table[(table["plan"] == NO_LOSS) & (table["metric"] == PLANNED)]
    return _draw(rows.reset_index(drop=True), "planned saving gained by a predicted")


def _draw(rows: pd.DataFrame, what: str) -> Figure:
    fig, ax = plt.subplots(figsize=(6.5, 0.45 * len(rows) + 1.1))
    for shift, (kind, color) in zip((0.12, -0.12), OVER.items(), strict=True):
        y = len(rows) - 1 - rows.index + shift
        low, high = 100 * rows[f"{kind}_low"], 100 * rows[f"{kind}_high"]
        ax.hlines(y, low, high, color=color, linewidth=1.5)
        name = f"over the {kind} of the training"
        ax.plot(100 * rows[f"over_{kind}"], y, "o", color=color, markersize=4, label=name)
    ax.axvline(0, color="0.6", linewidth=0.8, linestyle="--")
    ax.set(yticks=range(len(rows)), ylim=(-0.6, len(rows) - 0.4))
    ax.set_yticklabels(list(rows["pool"])[::-1])
    ax.set(xlabel=f"{what} cost, points", ylabel="pool")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def query_cost_sentence(table: pd.DataFrame) -> str:
    """What a predicted cost brings on every pool."""
    parts = []
    for pool, rows in table.groupby("pool", sort=False):
        by = rows.set_index("metric")
        saved, error = by.loc[SAVED], by.loc["log_error"]
        over = points(tuple(saved[["over_mean", "mean_low", "mean_high"]].astype(float)))
        parts.append(
            f"Pool **{pool}**: the typical error of an answer's cost falls from a factor of"
            f" {_factor(error['median'])} to {_factor(error['predicted'])}; deciding by it saves"
            f" {over} points more than by the mean of the training."
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
