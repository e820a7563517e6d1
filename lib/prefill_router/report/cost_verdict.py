"""What a verdict says about cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from prefill_router.report.plan_verdict import Planned
from prefill_router.report.rivals import saving_against
from prefill_router.report.words import ENOUGH, percent


@dataclass(frozen=True)
class Cost:
    """What is said about the cost; ``pays``: routing as accurate as the best single target is
    clearly cheaper; ``asks_one``: there is a plan, and it is to ask that target.
    """

    headline: str = ""
    sentences: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    pays: bool = False
    nothing_to_save: bool = False
    asks_one: bool = False


def cost_verdict(
    of_pool: pd.DataFrame, router: str, cheapest_and_best: str | None, plan: Planned | None = None
) -> Cost:
    """The part of a verdict that is about cost.

    Parameters
    ----------
    of_pool : DataFrame
        The pool's rows of ``metrics.csv`` at the tolerance chosen on calibration rows, without
        those of single targets.
    router : str
    cheapest_and_best : str, optional
        The target that is both the cheapest and the best single one, if one is.
    plan : Planned, optional
        Where one is known, nothing is said of hindsight.
    """
    # what can be planned with: a tolerance chosen on calibration rows, its cost against the best
    # single target's
    # what is of the whole curve stands before its repetition at the planned point
    values = of_pool.drop_duplicates(["method", "metric"]).set_index(["method", "metric"])
    wanted = [
        (router, "cost_saving_vs_max"),
        (router, "accuracy"),
        ("best_single", "cost_saving_vs_max"),
        ("best_single", "accuracy"),
    ]
    if any(key not in values.index for key in wanted):
        return Cost(
            sentences=["What it saves is not known: fewer than two targets have a cost."],
            advice=[
                "Give prices and output_tokens (or cost_usd) for every model; then the report says"
                " what routing saves."
            ],
        )
    planned, planned_accuracy, dearness, best = (values.loc[key, "value"] for key in wanted)
    if pd.isna(dearness):
        return _nothing_to_save(" All targets cost nothing")
    if (router, "p_auccc") in values.index and pd.isna(values.loc[(router, "p_auccc"), "value"]):
        return _nothing_to_save(" All targets cost the same")
    cheaper = saving_against(planned, dearness)
    point = (
        plan.headline
        if plan
        else f" With a tolerance chosen beforehand it {_costs(cheaper)} and is right on"
        f" {100 * planned_accuracy:.1f} % against {100 * best:.1f} %."
    )
    if cheapest_and_best is not None:
        return Cost(
            headline=(
                f" {cheapest_and_best} is also the cheapest target, so there is nothing to save:"
                f" routing can only win accuracy, and pay for it.{point}"
            ),
            nothing_to_save=True,
        )
    if plan is not None:
        return Cost(
            headline=point, sentences=[plan.against_text], pays=plan.pays, asks_one=plan.asks_one
        )
    splits = int(of_pool.loc[of_pool["method"] == router, "seeds"].max())
    return Cost(
        headline=point,
        sentences=[_in_hindsight(values, router, splits)],
        pays=bool(cheaper > 0.05 and planned_accuracy >= best - ENOUGH / 2),
    )


def _nothing_to_save(why: str) -> Cost:
    return Cost(
        headline=f"{why}, so there is nothing to save: only accuracy decides.", nothing_to_save=True
    )


def _costs(cheaper: float) -> str:
    """``cheaper``: by which share than the best single target; NaN where that costs nothing."""
    if pd.isna(cheaper):
        return "costs, where that one costs nothing, something"
    if abs(cheaper) < 0.005:
        return "costs the same"
    return f"costs {abs(cheaper):.0%} {'less' if cheaper > 0 else 'more'}"


def _in_hindsight(values: pd.DataFrame, router: str, splits: int) -> str:
    """What the best tolerance would have saved; ``values`` by method and metric."""
    key = (router, "cost_saving_at_best_single")
    if key not in values.index or pd.isna(values.loc[key, "value"]):
        return (
            "No point of its curve on the test queries reaches the accuracy of the best single"
            " target."
        )
    saved = values.loc[key]
    reached = (
        f"on {saved['seeds']:.0f} of {splits} splits, the others never reach it"
        if saved["seeds"] < splits
        else "on every split"
    )
    point = (
        "The cheapest point of its curve as accurate as the best single target, chosen in"
        f" hindsight ({reached}),"
    )
    value, low, high = saved[["value", "ci_low", "ci_high"]]
    if value < -0.0005:  # shown as more than 0.0 %
        return (
            f"{point} costs {percent((-value, -high, -low))} more: even a perfect choice of the"
            " tolerance would save nothing."
        )
    return (
        f"{point} saves {percent((value, low, high))} of its cost: what a perfect choice of the"
        " tolerance would save."
    )
