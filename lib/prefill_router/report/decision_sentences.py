"""What the notebook on decisions says about each figure, with its numbers."""

from __future__ import annotations

import pandas as pd

from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.styles import label
from prefill_router.report.words import Interval, percent, points, signed


def found(decisions: pd.DataFrame, pool: str, method: str, point: str, metric: str) -> Interval:
    """A metric with its interval; NaN where it is not defined."""
    rows = decisions[
        (decisions["pool"] == pool)
        & (decisions["method"] == method)
        & (decisions["operating_point"] == point)
        & (decisions["metric"] == metric)
    ]
    if rows.empty:
        return (float("nan"),) * 3
    value, low, high = rows.iloc[0][["value", "ci_low", "ci_high"]].astype(float)
    return value, low, high


def difference(
    differences: pd.DataFrame, pool: str, method: str, point: str, metric: str
) -> tuple[str, Interval]:
    """The best text router of a pool, and how far a method lies above it: the best by AUC for what
    is of the whole curve, the best by its plan for a plan.
    """
    best = "best_text_by_auc" if point == CURVE else "best_text_by_plan"
    rows = differences[
        (differences["pool"] == pool)
        & (differences["method_a"] == method)
        & differences[best]
        & (differences["operating_point"] == point)
        & (differences["metric"] == metric)
    ]
    row = rows.iloc[0]
    diff, low, high = row[["diff", "ci_low", "ci_high"]].astype(float)
    return str(row["method_b"]), (diff, low, high)


def rules(decisions: pd.DataFrame, pool: str) -> str:
    """The area under both curves of ours."""
    areas = {
        rule: found(decisions, pool, "ours", CURVE, f"p_auccc_{rule}")
        for rule in ("utility", "tolerance")
    }
    utility, tolerance = areas["utility"][0], areas["tolerance"][0]
    return (
        f"Pool **{pool}**: the area under the curve of ours (P-AUCCC) is {utility:.3f} by the"
        f" utility rule and {tolerance:.3f} by the tolerance rule."
    )


def plans(decisions: pd.DataFrame, differences: pd.DataFrame, pool: str) -> str:
    """What the plan without a loss does on test rows, for ours and the best text router."""
    text, saved_more = difference(differences, pool, "ours", NO_LOSS, "saving_over_best_single")
    reader, auc = difference(differences, pool, "ours", CURVE, "mean_auc")
    named = [
        f"{label(method)} saves {percent(found(decisions, pool, method, NO_LOSS, SAVING))} at"
        f" {points(found(decisions, pool, method, NO_LOSS, GAIN))} points"
        for method in (text, "ours")
    ]
    if saved_more[1] > 0:
        said = f"ours saves more, by {points(saved_more)} points of the cost"
    elif saved_more[2] < 0:
        said = f"**text saves more**, by {points((-saved_more[0], -saved_more[2], -saved_more[1]))}"
        said += " points of the cost"
    elif saved_more[0] == 0:
        said = "neither ours nor text has a cheaper plan than the best single target"
    else:
        said = f"**text does as well**: the difference is {points(saved_more)} points of the cost"
    return (
        f"Pool **{pool}**, plan without a loss: {said}. {'; '.join(named)}. The mean AUC of ours"
        f" minus that of {label(reader)}, the best on text: {signed(auc)}."
    )


SAVING, GAIN = "saving_over_best_single", "accuracy_over_best_single"


def chosen(plans_made: pd.DataFrame, pool: str) -> str:
    """On how many splits ours has a plan of its own."""
    of_pool = plans_made[(plans_made["pool"] == pool) & (plans_made["method"] == "ours")]
    parts = []
    for plan in ("no_loss", "one_point"):
        rows = of_pool[of_pool["plan"] == plan]
        parts.append(f"{int(rows['routes'].sum())} of {len(rows)} splits for `{plan}`")
    return (
        f"Pool **{pool}**: a cheaper point passed on {' and '.join(parts)}; on the others the plan"
        " is to ask the best single target."
    )


def promises(table: pd.DataFrame) -> str:
    """How often promises were broken, over all pools and methods."""
    worst = table.loc[(table["broken"] / table["draws"]).idxmax()]
    broken, draws = int(table["broken"].sum()), int(table["draws"].sum())
    return (
        f"Of {draws} plans {broken} broke their promise ({broken / draws:.1%}); most often"
        f" {label(worst['method'])} on {worst['pool']} at {100 * worst['epsilon']:g} points, in"
        f" {worst['broken'] / worst['draws']:.1%} of {int(worst['draws'])} draws"
        f" [{worst['ci_low']:.1%}, {worst['ci_high']:.1%}]; {worst['delta']:.0%} were allowed."
    )


def losing(decisions: pd.DataFrame) -> str:
    """Which methods lose against the best single target by their plan, on any pool."""
    rows = decisions[(decisions["operating_point"] == NO_LOSS) & (decisions["metric"] == GAIN)]
    lost = rows[rows["ci_high"] < 0]
    if lost.empty:
        return "By the plan without a loss no method is clearly below the best single target."
    names = ", ".join(
        f"{label(m)} on {p}" for m, p in zip(lost["method"], lost["pool"], strict=True)
    )
    return f"Clearly below the best single target by the plan without a loss: {names}."
