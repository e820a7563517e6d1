"""Does routing pay for this pool? The answer in plain words, from the tables of a profile alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from prefill_router.data.own.enough import FEW
from prefill_router.evaluate.keys import CALIBRATED, main_rows, with_keys
from prefill_router.report.cost_verdict import Cost, cost_verdict
from prefill_router.report.plan_verdict import planned
from prefill_router.report.rivals import of_pools, rivals_in_words, saving_against
from prefill_router.report.styles import label
from prefill_router.report.words import ENOUGH, Interval, percent, points, signed, three_digits

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
    tables : ``metrics``, ``paired``, ``pools`` and, where there are, ``learning_curve``,
        ``decisions`` and ``decision_differences``, as in ``results/<profile>/``
    """
    return [_verdict(pool, tables) for pool in tables["pools"]["pool"]]


@dataclass(frozen=True)
class _Found:
    """What the tables say about one pool and its router."""

    router: str
    of_pool: pd.DataFrame  # metrics of the whole pool at tolerance 0
    of_targets: pd.DataFrame  # metrics of single targets
    paired: pd.DataFrame
    outcomes: pd.Series  # the pool's row of `pools`

    @classmethod
    def of(cls, pool: str, tables: dict[str, pd.DataFrame]) -> _Found:
        metrics, paired = (
            t[t["pool"] == pool]
            for t in (main_rows(tables["metrics"]), with_keys(tables["paired"]))
        )
        router = next(r for r in ROUTERS if (metrics["method"] == r).any())
        return cls(
            router,
            of_pools(metrics),
            metrics[(metrics["target"].fillna("") != "") & (metrics["method"] == router)],
            paired,
            tables["pools"].set_index("pool").loc[pool],
        )

    def value(self, metric: str, method: str | None = None) -> Interval | None:
        """A metric of a method, by default the router's, with its interval; None without one."""
        rows = self.of_pool[
            (self.of_pool["method"] == (method or self.router)) & (self.of_pool["metric"] == metric)
        ].dropna(subset="value")
        return None if rows.empty else tuple(rows.iloc[0][["value", "ci_low", "ci_high"]])

    def against(self, other: str, metric: str) -> Interval | None:
        """The router's difference to another method, with its interval; None without one."""
        rows = self.paired[
            (self.paired["method_a"] == self.router)
            & (self.paired["method_b"] == other)
            & (self.paired["metric"] == metric)
        ]
        if rows.empty or rows["diff"].isna().all():
            return None
        return tuple(rows.iloc[0][["diff", "ci_low", "ci_high"]])


def _known(found: Interval | None, what: str) -> Interval:
    if found is None:
        raise ValueError(f"the tables hold no {what}; run the notebooks of the evaluation again")
    return found


def _verdict(pool: str, tables: dict[str, pd.DataFrame]) -> Verdict:
    found = _Found.of(pool, tables)
    single = found.outcomes["best_single"]
    gain = _known(found.against("best_single", "accuracy"), "difference to best_single")
    oracle = _known(found.value("oracle_accuracy"), "oracle_accuracy")
    # the one chosen on training rows, as in the differences; best_single_accuracy is chosen in
    # hindsight
    best = _known(found.value("accuracy", "best_single"), "accuracy of best_single")
    cost = cost_verdict(
        of_pools(tables["metrics"][tables["metrics"]["pool"] == pool], CALIBRATED),
        found.router,
        single if found.outcomes.get("cheapest") == single else None,
        planned(tables, pool, found.router),
    )
    of_labels, on_labels = _labels(pool, tables.get("learning_curve"))
    return Verdict(
        pool,
        _headline(found, gain) + cost.headline,
        [
            _right_on(found, best, oracle),
            *cost.sentences,
            *_against_zero_router(found),
            rivals_in_words(found.paired, pool, found.router),
            *_ranking(found),
            *of_labels,
        ],
        [
            *cost.advice,
            *on_labels,
            *_little_to_gain(single, oracle[0] - best[0]),
            _what_to_do(single, gain, cost),
        ],
        _target_rows(found),
    )


def _headline(found: _Found, gain: Interval) -> str:
    """Whether routing wins accuracy; ``gain``: over the best single target."""
    said = f"{points(gain)} points of accuracy"
    on = (
        "the queries that every target answered"
        if found.outcomes.get("n_incomplete", 0)
        else "all queries"
    )
    rival = f"the best single target (on {on} {found.outcomes['best_single']})"
    if gain[1] > 0:
        headline = f"Routing wins accuracy: {said} over always asking {rival}{_price(found)}."
    elif gain[2] < 0:
        headline = f"Routing does not pay in accuracy: {said} against always asking {rival}."
    else:
        headline = (
            "Routing is neither clearly better nor clearly worse in accuracy than always asking"
            f" {rival}: {said}."
        )
    if (questions := int(found.outcomes["queries"])) < FEW:
        headline = f"Too few questions ({questions}) for more than a hint. " + headline
    return headline


def _price(found: _Found) -> str:
    """What the queries cost at tolerance 0, against the best single target; "" where unknown."""
    own, single = (found.value("cost_saving_vs_max", m) for m in (None, "best_single"))
    if own is None or single is None:
        return ""
    times = 1 - saving_against(own[0], single[0])
    if pd.isna(times) or abs(times - 1) < 0.005:
        return ""
    return (
        f", at {times:.1f} times its cost"
        if times >= 2
        else f", at {100 * abs(times - 1):.0f} % {'more' if times > 1 else 'less'} cost"
    )


def _right_on(found: _Found, best: Interval, oracle: Interval) -> str:
    n = int(found.of_pool.loc[found.of_pool["method"] == found.router, "n"].max())
    accuracy = _known(found.value("accuracy"), f"accuracy of {found.router}")
    return (
        f"The router ({label(found.router)}) is right on {percent(accuracy)} of {n} test queries a"
        f" split, the best single target on {percent(best)}; a choice that is always the luckiest"
        f" would be on {percent(oracle)}."
    )


def _against_zero_router(found: _Found) -> list[str]:
    zero = found.against("zero_router", "p_auccc")
    if zero is None:
        return []
    if zero[1] > 0:
        meaning = "the prompts tell something that prices alone do not."
    elif zero[2] < 0:
        meaning = "worse than no router at all."
    else:
        meaning = "no clear difference, so reading the prompts has not been shown to help."
    return [
        "Against the zero router, which mixes single targets at random and reads nothing, the"
        f" area under the cost-accuracy curve is {signed(zero)}: {meaning}"
    ]


def _ranking(found: _Found) -> list[str]:
    auc, differences = found.value("mean_auc"), found.value("disagreement_auc")
    if auc is None:
        return []
    end = (
        ", and tells which of two targets is right, where only one is, with"
        f" {three_digits(differences)}; routing lives on the second."
        if differences is not None
        else "."
    )
    return [
        "It ranks prompts that a target gets right above others with an AUC of"
        f" {three_digits(auc)} (0.5 is chance){end}"
    ]


def _labels(pool: str, curve: pd.DataFrame | None) -> tuple[list[str], list[str]]:
    """What the last doubling of the labels brought: sentences and advice."""
    if curve is None:
        return [], []
    steps = curve[(curve["pool"] == pool) & (curve["metric"] == "mean_auc")].sort_values("share")
    if len(steps) < 2:
        return [], []
    half, full = steps.iloc[-2], steps.iloc[-1]
    step = full["value"] - half["value"]
    clear = half["ci_high"] < full["ci_low"]
    said = (
        f"From {half['training_queries']:.0f} to {full['training_queries']:.0f} labelled"
        " queries the AUC of the kernel router on one encoder went from"
        f" {three_digits(tuple(half[['value', 'ci_low', 'ci_high']]))} to"
        f" {three_digits(tuple(full[['value', 'ci_low', 'ci_high']]))}"
        + ("." if clear else "; the intervals overlap.")
    )
    advice = (
        f"More labels {'help' if clear else 'seem to help'}: another doubling may bring about"
        f" as much again ({step:+.3f} AUC) or somewhat less."
        if step > ENOUGH
        else f"More labels help little: the last doubling brought {step:+z.3f} AUC."
    )
    return [said], [advice]


def _little_to_gain(single: str, headroom: float) -> list[str]:
    if not headroom < 0.03:
        return []
    return [
        "There is little to gain: even a perfect choice is only"
        f" {100 * headroom:.1f} points above the best single target. Add a target"
        f" that is right where {single} is wrong."
    ]


def _what_to_do(single: str, gain: Interval, cost: Cost) -> str:
    if gain[1] > 0 and cost.asks_one:
        return (
            f"A router that follows its plan would always ask {single}. To win the accuracy, train"
            " it on all your queries (`Router.fit`) and route with tolerance 0; for a plan that"
            " saves, look again with more labels or other targets."
        )
    if gain[1] > 0 or (cost.pays and gain[2] >= 0):
        begin = (
            "ask it with tolerance 0, as there is nothing to save"
            if cost.nothing_to_save
            else "let it follow its plan"
        )
        return (
            f"Train the router on all your queries (`Router.fit`), save it, and {begin}; watch its"
            " accuracy on fresh labels."
        )
    if gain[1] <= 0 <= gain[2] and gain[2] - gain[1] > 2 * ENOUGH:
        return (
            f"The interval is {100 * (gain[2] - gain[1]):.1f} points wide: four times as many test"
            " queries would halve it."
        )
    return f"Keep {single}, and look again with other targets or a larger encoder."


def _target_rows(found: _Found) -> list[dict[str, str]]:
    rows = []
    for target, table in found.of_targets.groupby("target", sort=False):
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
    return rows
