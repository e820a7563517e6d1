"""What plans do on test rows: accuracy and cost against the best single target, with intervals.

Plans are chosen on the labelled queries of a split, those outside its test part, by out-of-fold P
(`plans`); the router that answers the test rows is trained on all of them. Every method gets the
same plans by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.evaluate.auc import auc_boot
from prefill_router.evaluate.cross_fitted import PREFILL, CrossFitted, Pool, evidence_of
from prefill_router.evaluate.curves import curve_steps
from prefill_router.evaluate.keys import ARGMAX, AtPoint, Method, MetricValues
from prefill_router.evaluate.metrics import pool_values, router_values
from prefill_router.evaluate.plans import MARGIN, NO_LOSS, Plan, most_accurate_margin, plans
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.rules import Rule, RuleKind
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.weighting import divided, weight_rows, weighted_means

CURVE = "curve"  # the operating point of what is of P or of the whole curve
RULES: tuple[RuleKind, ...] = ("tolerance", "utility")
DECISION_COLUMNS = [
    *("pool", "method", "encoder", "operating_point", "metric"),
    *("value", "ci_low", "ci_high", "n", "seeds"),
]


def plans_of(pool: Pool, method: CrossFitted, seed: int) -> dict[str, Plan]:
    """All plans of a method on a split, by name."""
    evidence = evidence_of(pool, method, seed)
    return plans(evidence) | {MARGIN: most_accurate_margin(evidence)}


def decide(
    pool: Pool, methods: Mapping[str, CrossFitted], n_boot: int
) -> tuple[SeedAverages, pd.DataFrame]:
    """Every plan of every method on the test rows, averaged over split seeds.

    Returns
    -------
    averages : SeedAverages
        Under `AtPoint(method, plan)`: accuracy, accuracy_over_best_single, cost,
        saving_over_best_single (1 - cost / its cost). Under `AtPoint(method, CURVE)`: mean_auc,
        disagreement_auc, and for both rules of ``RULES`` p_auccc and cost_saving_at_best_single.
    chosen : DataFrame
        The plans: method, seed, and the fields of `plans.Plan`.
    """
    runs: dict[Method, list[SeedRun]] = {}
    chosen = []
    for seed, split in pool.splits.items():
        test, groups = split.test, pool.groups[split.test]
        cost, correct = pool.cost[seed][test], pool.outcomes.correct[test]
        for name, method in methods.items():
            p, own = method.p[seed][test][:, pool.columns], method.overhead[test]
            runs.setdefault(AtPoint(name, CURVE), []).append(
                _curve_run(p, cost, correct, own, groups)
            )
            found = plans_of(pool, method, seed)
            best = next(iter(found.values())).best
            rules = {plan: (made.choose(p, cost), made.rule) for plan, made in found.items()}
            rules[ARGMAX] = (Rule().choose(p, cost), Rule())
            for point, (target, rule) in rules.items():
                paid = cost[np.arange(len(test)), target] + (own if rule else 0.0)
                right = correct[np.arange(len(test)), target]
                run = plan_run(paid, right, cost[:, best], correct[:, best], groups)
                runs.setdefault(AtPoint(name, point), []).append(run)
            chosen += [
                {"method": name, "seed": seed} | _as_row(plan, pool.outcomes)
                for plan in found.values()
            ]
    return seed_averaged_intervals(runs, n_boot, seed=0), pd.DataFrame(chosen)


def _as_row(plan: Plan, outcomes: Outcomes) -> dict[str, Any]:
    row = asdict(plan) | {"plan": plan.name, "best": outcomes.target_names[plan.best]}
    del row["name"], row["rule"]
    rule = plan.rule or Rule()
    return row | {
        "routes": plan.rule is not None,
        "price": rule.value if plan.rule else np.nan,
        "margin": rule.margin if plan.rule else np.nan,
    }


def plan_run(
    paid: np.ndarray,
    right: np.ndarray,
    best_paid: np.ndarray,
    best_right: np.ndarray,
    groups: np.ndarray,
) -> SeedRun:
    """The metrics of a plan, see `decide`, from what it and the best single target pay and win on
    each query, [n] each.
    """
    values = np.column_stack([paid, right, best_paid, best_right])

    def metrics(weights: np.ndarray) -> MetricValues:
        cost, accuracy, best_cost, best = weighted_means(
            values, weight_rows(weights, len(values))
        ).T
        return {
            "accuracy": accuracy,
            "accuracy_over_best_single": accuracy - best,
            "cost": cost,
            "saving_over_best_single": 1.0 - divided(cost, best_cost),
        }

    return SeedRun(groups, metrics)


def _curve_run(
    p: np.ndarray, cost: np.ndarray, correct: np.ndarray, own: np.ndarray, groups: np.ndarray
) -> SeedRun:
    steps = {rule: curve_steps(p, cost, correct, own, rule) for rule in RULES}

    def metrics(weights: np.ndarray) -> MetricValues:
        weights = weight_rows(weights, len(p))
        found = auc_boot(p, correct, weights)
        pool = pool_values(cost, correct, weights)
        for rule, of_rule in steps.items():
            values = router_values(of_rule, weights, pool)
            for metric in ("p_auccc", "cost_saving_at_best_single"):
                found[f"{metric}_{rule}"] = values[metric]
        return found

    return SeedRun(groups, metrics)


def decisions_table(averages: SeedAverages, methods: Mapping[str, CrossFitted]) -> pd.DataFrame:
    """Rows of ``decisions.csv`` but for the pool."""
    table = averages.table()
    keys = list(table["method"])
    return table.assign(
        method=[key.method for key in keys],
        operating_point=[key.operating_point for key in keys],
        encoder=[methods[key.method].encoder for key in keys],
    )


def differences(
    averages: SeedAverages, method: str, other: str, points: tuple[str, ...]
) -> pd.DataFrame:
    """Paired differences of two methods at the same operating points:
    [method_a, method_b, operating_point, metric, diff, ci_low, ci_high, n].
    """
    found = [
        averages.paired(AtPoint(method, point), AtPoint(other, point)).assign(
            method_a=method, method_b=other, operating_point=point
        )
        for point in points
    ]
    return pd.concat(found, ignore_index=True)


def best_texts(
    pool: Pool, methods: Mapping[str, CrossFitted], chosen: pd.DataFrame
) -> tuple[str, str]:
    """The routers on text with the highest mean AUC out of fold, and with the cheapest plan without
    a loss on labelled queries: chosen without the test rows, as anybody could.

    ``chosen`` is the second result of :func:`decide`.
    """
    texts = [name for name in methods if name not in PREFILL]

    def auc(name: str) -> float:
        of_seeds = [
            auc_boot(e.p, e.correct, np.ones((1, len(e.p))))["mean_auc"][0]
            for e in (evidence_of(pool, methods[name], seed) for seed in pool.splits)
        ]
        return float(np.mean(of_seeds))

    planned = chosen[chosen["plan"] == NO_LOSS].groupby("method")["cost"].mean()
    return max(texts, key=auc), min(texts, key=lambda name: planned[name])
