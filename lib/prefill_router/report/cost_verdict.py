"""What a verdict says about cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from prefill_router.report.rivals import saving_against
from prefill_router.report.words import ENOUGH, percent


@dataclass(frozen=True)
class _Cost:
    """What is said about the cost; ``pays``: routing as accurate as the best single target is
    clearly cheaper.
    """

    headline: str = ""
    sentences: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    pays: bool = False
    nothing_to_save: bool = False


def cost_verdict(of_pool: pd.DataFrame, router: str, cheapest_and_best: str | None) -> _Cost:
    """The part of a verdict that is about cost.

    Parameters
    ----------
    of_pool : DataFrame
        The pool's rows of ``metrics.csv`` at the tolerance chosen on calibration rows, without
        those of single targets.
    router : str
    cheapest_and_best : str, optional
        The target that is both the cheapest and the best single one, if one is.
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
        return _Cost(
            sentences=["What it saves is not known: fewer than two targets have a cost."],
            advice=[
                "Give prices and output_tokens (or cost_usd) for every model; then the report says"
                " what routing saves."
            ],
        )
    planned, planned_accuracy, dearness, best = (values.loc[key, "value"] for key in wanted)
    if pd.isna(dearness):
        return _Cost(
            headline=(
                " All targets cost nothing, so there is nothing to save: only accuracy decides."
            ),
            nothing_to_save=True,
        )
    if (router, "p_auccc") in values.index and pd.isna(values.loc[(router, "p_auccc"), "value"]):
        return _Cost(
            headline=(
                " All targets cost the same, so there is nothing to save: only accuracy decides."
            ),
            nothing_to_save=True,
        )
    cheaper = saving_against(planned, dearness)
    costs = (
        "costs, where that one costs nothing, something"
        if pd.isna(cheaper)
        else (
            "costs the same"
            if abs(cheaper) < 0.005
            else f"costs {abs(cheaper):.0%} {'less' if cheaper > 0 else 'more'}"
        )
    )
    point = (
        f" With a tolerance chosen beforehand it {costs} and is right on"
        f" {100 * planned_accuracy:.1f} % against {100 * best:.1f} %."
    )
    if cheapest_and_best is not None:
        return _Cost(
            headline=(
                f" {cheapest_and_best} is also the cheapest target, so there is nothing to save:"
                f" routing can only win accuracy, and pay for it.{point}"
            ),
            nothing_to_save=True,
        )
    hindsight = (
        values.loc[(router, "cost_saving_at_best_single")]
        if (router, "cost_saving_at_best_single") in values.index
        else None
    )
    if hindsight is None or pd.isna(hindsight["value"]):
        told = (
            "No point of its curve on the test queries reaches the accuracy of the best single"
            " target."
        )
    else:
        splits = int(of_pool.loc[of_pool["method"] == router, "seeds"].max())
        reached = (
            f"on {hindsight['seeds']:.0f} of {splits} splits, the others never reach it"
            if hindsight["seeds"] < splits
            else "on every split"
        )
        told = (
            "The cheapest point of its curve as accurate as the best single target, chosen in"
            f" hindsight ({reached}), saves"
            f" {percent(tuple(hindsight[['value', 'ci_low', 'ci_high']]))} of its cost: what a"
            " perfect choice of the tolerance would save."
        )
    return _Cost(
        headline=point,
        sentences=[told],
        pays=bool(cheaper > 0.05 and planned_accuracy >= best - ENOUGH / 2),
    )
