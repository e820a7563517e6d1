"""What a verdict says about a plan, and the table of plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL
from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT
from prefill_router.report.decision_sentences import GAIN, SAVING, difference, found
from prefill_router.report.styles import label
from prefill_router.report.words import ENOUGH, Interval, percent, points, three_digits, unsigned

_RULES = ("tolerance", "utility")
PLAN_TABLES = ("decisions", "decision_differences", "promises")
PLAN_NOTE = (
    "A plan is the cheapest rule whose accuracy is, with 95 % confidence on labelled queries out of"
    " fold, not below the best single target's; where none is, it is that target, and saves"
    " nothing. Savings and accuracies are of test rows, against the best single target; their"
    " intervals take the plans as they were chosen on the splits: another labelled sample may"
    " choose others. The best routers on text are those with the cheapest plan and with the highest"
    " AUC on labelled queries. Promises: of 200 plans chosen on samples, how many are in truth less"
    " accurate than the best single target; 5 % were allowed."
)


@dataclass(frozen=True)
class Planned:
    """The plan without a loss on test rows.

    Attributes
    ----------
    saving, gain : Interval
        Share of the best single target's cost, and accuracy above its own.
    against_text : str
    """

    saving: Interval
    gain: Interval
    against_text: str

    @property
    def pays(self) -> bool:
        """Clearly cheaper, and not clearly less accurate."""
        return self.saving[1] > 0.05 and self.gain[2] >= 0 and self.gain[0] >= -ENOUGH

    @property
    def asks_one(self) -> bool:
        """The plan is to ask the best single target."""
        return abs(self.saving[0]) < 0.005

    @property
    def headline(self) -> str:
        """One sentence."""
        if self.asks_one:
            return (
                " No cheaper point is as accurate with 95 % confidence, so the plan is to ask that"
                " target."
            )
        return (
            f" By its plan, chosen beforehand to lose no accuracy, it saves {percent(self.saving)}"
            f" of that target's cost at {points(self.gain)} points of accuracy."
        )


def planned(tables: Mapping[str, pd.DataFrame], pool: str, router: str) -> Planned | None:
    """What a plan does for a router, in words; None where there is no plan.

    Parameters
    ----------
    tables : ``decisions`` and ``decision_differences``, as in ``results/<profile>/``
    """
    decisions = tables.get("decisions")
    if (
        decisions is None
        or not ((decisions["pool"] == pool) & (decisions["method"] == router)).any()
    ):
        return None
    saving, gain = (found(decisions, pool, router, NO_LOSS, metric) for metric in (SAVING, GAIN))
    if pd.isna(saving[0]):  # the best single target costs nothing
        return None
    text, more = difference(tables["decision_differences"], pool, router, NO_LOSS, SAVING)
    if more[2] < 0:
        rival = f"{label(text)}, which reads the text, saves {unsigned(_minus(more))} points more"
    elif more[0] == 0:
        return Planned(saving, gain, "No router on text has a cheaper plan either.")
    elif more[1] <= 0:
        rival = (
            f"{label(text)}, which reads the text, saves as much: the difference is {points(more)}"
            " points"
        )
    else:
        rival = f"The best router on text, {label(text)}, saves {unsigned(more)} points less"
    return Planned(saving, gain, f"{rival} of the best single target's cost.")


def _minus(interval: Interval) -> Interval:
    return -interval[0], -interval[2], -interval[1]


def plan_table(decisions: pd.DataFrame, differences: pd.DataFrame, promises: pd.DataFrame) -> str:
    """Markdown table, a row for each pool and method: ours, the paper's network, the best routers
    on text by their plan and by their AUC, and the category.

    Parameters
    ----------
    decisions, differences, promises : DataFrame
        As the tables of ``results/<profile>/``.
    """
    lines = [
        "| pool | method | mean AUC | planned saving | accuracy minus best single | P-AUCCC,"
        " tolerance / utility rule | promise broken | one point allowed: saving | accuracy minus"
        " best single |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for pool in decisions["pool"].unique():
        best = [
            difference(differences, pool, "ours", point, metric)[0]
            for point, metric in ((NO_LOSS, SAVING), (CURVE, "mean_auc"))
        ]
        known = decisions.loc[decisions["pool"] == pool, "method"].unique()
        category = [name for name in known if name.startswith("predicted_category")]
        for method in dict.fromkeys([*PREFILL, *best, *category]):
            if method not in known:
                continue
            areas = (found(decisions, pool, method, CURVE, f"p_auccc_{r}")[0] for r in _RULES)
            kept = promises[
                (promises["pool"] == pool)
                & (promises["method"] == method)
                & (promises["epsilon"] == 0)
            ].iloc[0]
            cells = [
                f"`{pool}`",
                label(method),
                three_digits(found(decisions, pool, method, CURVE, "mean_auc")),
                percent(found(decisions, pool, method, NO_LOSS, SAVING)),
                points(found(decisions, pool, method, NO_LOSS, GAIN)),
                " / ".join(f"{area:.3f}" for area in areas),
                f"{int(kept['broken'])} of {int(kept['draws'])}",
                percent(found(decisions, pool, method, ONE_POINT, SAVING)),
                points(found(decisions, pool, method, ONE_POINT, GAIN)),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
