"""Does routing pay for this pool? The answer in plain words, from the tables of a profile alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from prefill_router.data.own.enough import FEW
from prefill_router.evaluate.keys import CALIBRATED
from prefill_router.report.cost_verdict import cost_verdict
from prefill_router.report.rivals import of_pools, rivals_in_words
from prefill_router.report.styles import label
from prefill_router.report.words import ENOUGH, percent, points, signed, three_digits

ROUTERS = ("ours", "paper")


@dataclass(frozen=True)
class Verdict:
    """What is said about one pool."""

    pool: str
    headline: str
    sentences: list[str]
    advice: list[str]
    targets: list[dict[str, str]] = field(default_factory=list)


def verdicts(tables: dict[str, pd.DataFrame]) -> list[Verdict]:
    """A verdict per pool.

    Parameters
    ----------
    tables : ``metrics``, ``paired``, ``pools`` and, where there is one, ``learning_curve``, as in
        ``results/<profile>/``
    """
    return [_verdict(pool, tables) for pool in tables["pools"]["pool"]]


def _verdict(pool: str, tables: dict[str, pd.DataFrame]) -> Verdict:
    metrics, paired = (t[t["pool"] == pool] for t in (tables["metrics"], tables["paired"]))
    router = next(r for r in ROUTERS if (metrics["method"] == r).any())
    of_pool = of_pools(metrics)
    found = of_pool[of_pool["method"] == router].set_index("metric")
    of_outcomes = tables["pools"].set_index("pool").loc[pool]
    single = of_outcomes["best_single"]

    def value(metric: str) -> tuple[float, float, float] | None:
        return of(router, metric)

    def of(method: str, metric: str) -> tuple[float, float, float] | None:
        rows = of_pool[(of_pool["method"] == method) & (of_pool["metric"] == metric)].dropna(
            subset="value"
        )
        return None if rows.empty else tuple(rows.iloc[0][["value", "ci_low", "ci_high"]])

    def against(other: str, metric: str) -> tuple[float, float, float] | None:
        rows = paired[
            (paired["method_a"] == router)
            & (paired["method_b"] == other)
            & (paired["metric"] == metric)
        ]
        return (
            None
            if rows.empty or rows["diff"].isna().all()
            else tuple(rows.iloc[0][["diff", "ci_low", "ci_high"]])
        )

    accuracy, gain, n, oracle = (
        value("accuracy"),
        against("best_single", "accuracy"),
        int(found["n"].max()),
        value("oracle_accuracy"),
    )
    # the one chosen on training rows, as in the differences; best_single_accuracy is chosen in
    # hindsight
    best = of("best_single", "accuracy")
    sentences, advice = [], []
    said = f"{points(gain)} points of accuracy"
    incomplete = of_outcomes.get("n_incomplete", 0)
    on = "the queries that every target answered" if incomplete else "all queries"
    rival = f"the best single target (on {on} {single})"
    if gain[1] > 0:
        headline = f"Routing pays in accuracy: {said} over always asking {rival}."
    elif gain[2] < 0:
        headline = f"Routing does not pay in accuracy: {said} against always asking {rival}."
    else:
        headline = (
            "Routing is neither clearly better nor clearly worse in accuracy than always asking"
            f" {rival}: {said}."
        )
    if (questions := int(of_outcomes["queries"])) < FEW:
        headline = f"Too few questions ({questions}) for more than a hint. " + headline
    sentences.append(
        f"The router ({label(router)}) is right on {percent(accuracy)} of {n} test queries a"
        f" split, the best single target on {percent(best)}; a choice that is always the luckiest"
        f" would be on {percent(oracle)}."
    )
    cheapest_and_best = single if of_outcomes.get("cheapest") == single else None
    cost = cost_verdict(of_pools(metrics, CALIBRATED), router, cheapest_and_best)
    headline += cost.headline
    sentences += cost.sentences
    advice += cost.advice
    zero = against("zero_router", "p_auccc")
    if zero is not None:
        sentences.append(
            "Against the zero router, which mixes single targets at random and reads nothing, the"
            f" area under the cost-accuracy curve is {signed(zero)}: "
            + (
                "the prompts tell something that prices alone do not."
                if zero[1] > 0
                else (
                    "worse than no router at all."
                    if zero[2] < 0
                    else "no clear difference, so reading the prompts has not been shown to help."
                )
            )
        )
    sentences.append(rivals_in_words(paired, pool, router))
    auc, differences = value("mean_auc"), value("disagreement_auc")
    if auc is not None:
        sentences.append(
            "It ranks prompts that a target gets right above others with an AUC of"
            f" {three_digits(auc)}"
            " (0.5 is chance)"
            + (
                ", and tells which of two targets is right, where only one is, with"
                f" {three_digits(differences)}; routing lives on the second."
                if differences is not None
                else "."
            )
        )
    labels = tables.get("learning_curve")
    labels = (
        None
        if labels is None
        else labels[(labels["pool"] == pool) & (labels["metric"] == "mean_auc")].sort_values(
            "share"
        )
    )
    if labels is not None and len(labels) >= 2:
        half, full = labels.iloc[-2], labels.iloc[-1]
        step = full["value"] - half["value"]
        clear = half["ci_high"] < full["ci_low"]
        sentences.append(
            f"From {half['training_queries']:.0f} to {full['training_queries']:.0f} labelled"
            " queries the AUC of the kernel router on one encoder went from"
            f" {three_digits(tuple(half[['value', 'ci_low', 'ci_high']]))} to"
            f" {three_digits(tuple(full[['value', 'ci_low', 'ci_high']]))}"
            + ("." if clear else "; the intervals overlap.")
        )
        advice.append(
            f"More labels {'help' if clear else 'seem to help'}: another doubling may bring about"
            f" as much again ({step:+.3f} AUC) or somewhat less."
            if step > ENOUGH
            else f"More labels help little: the last doubling brought {step:+z.3f} AUC."
        )
    if oracle is not None and oracle[0] - best[0] < 0.03:
        advice.append(
            "There is little to gain: even a perfect choice is only"
            f" {100 * (oracle[0] - best[0]):.1f} points above the best single target. Add a target"
            f" that is right where {single} is wrong."
        )
    if gain[1] > 0 or (cost.pays and gain[2] >= 0):
        begin = (
            "ask it with tolerance 0, as there is nothing to save"
            if cost.nothing_to_save
            else "begin with a tolerance from the curve"
        )
        advice.append(
            f"Train the router on all your queries (`Router.fit`), save it, and {begin}; watch its"
            " accuracy on fresh labels."
        )
    elif gain[1] <= 0 <= gain[2] and gain[2] - gain[1] > 2 * ENOUGH:
        advice.append(
            f"The interval is {100 * (gain[2] - gain[1]):.1f} points wide: four times as many test"
            " queries would halve it."
        )
    else:
        advice.append(f"Keep {single}, and look again with other targets or a larger encoder.")
    per_target = metrics[metrics["target"].fillna("") != ""]
    rows = []
    for target, table in per_target[per_target["method"] == router].groupby("target", sort=False):
        numbers = table.set_index("metric")["value"]
        rows.append(
            {
                "target": str(target),
                **{
                    name: f"{numbers[key]:.3f}" if pd.notna(numbers.get(key)) else "–"
                    for name, key in (("AUC", "auc"), ("Brier", "brier"))
                },
            }
        )
    return Verdict(pool, headline, sentences, advice, rows)
