"""The tables of the notebook on decisions, over all pools of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL, CrossFitted, Pool, evidence_of
from prefill_router.evaluate.curves import curve_steps
from prefill_router.evaluate.decisions import (
    CURVE,
    DECISION_COLUMNS,
    RULES,
    best_texts,
    decide,
    decisions_table,
    differences,
)
from prefill_router.evaluate.keys import ARGMAX
from prefill_router.evaluate.plans import BUDGET, DELTA, EPSILONS
from prefill_router.evaluate.promises import promises
from prefill_router.evaluate.walk import certified, walk

COST_SHARES = np.round(np.linspace(0, 1.5, 61), 3)
POINTS = (CURVE, ARGMAX, *EPSILONS, BUDGET)
Loaded = Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]]


class DecisionTables(NamedTuple):
    """What the notebook on decisions writes.

    Attributes
    ----------
    decisions : DataFrame[decisions.DECISION_COLUMNS]
    differences : DataFrame[pool, method_a, method_b, operating_point, metric, diff, ci_low,
        ci_high, n, best_text_by_auc, best_text_by_plan]
        Ours and the paper's network against every other method; the last two say which of those
        is the best router on text, see `decisions.best_texts`.
    plans : DataFrame
        What was chosen on every split, with its evidence.
    promises : DataFrame
        `promises.promises`.
    """

    decisions: pd.DataFrame
    differences: pd.DataFrame
    plans: pd.DataFrame
    promises: pd.DataFrame


def decide_pools(loaded: Loaded, n_boot: int) -> DecisionTables:
    """Every plan of every method of every pool."""
    tables: list[list[pd.DataFrame]] = [[], [], [], []]
    for name, (pool, methods) in loaded.items():
        averages, chosen = decide(pool, methods, n_boot)
        by_auc, by_plan = best_texts(pool, methods, chosen)
        against = pd.concat(
            [
                differences(averages, first, other, POINTS)
                for first in PREFILL
                for other in methods
                if first in methods and other != first
            ],
            ignore_index=True,
        )
        against["best_text_by_auc"] = against["method_b"] == by_auc
        against["best_text_by_plan"] = against["method_b"] == by_plan
        made = (decisions_table(averages, methods), against, chosen, promises(pool, methods))
        for tables_of, table in zip(tables, made, strict=True):
            table.insert(0, "pool", name)
            tables_of.append(table)
    decisions, against, chosen, kept = (pd.concat(of, ignore_index=True) for of in tables)
    return DecisionTables(decisions[DECISION_COLUMNS], against, chosen, kept)


def rule_curves(loaded: Loaded, methods: tuple[str, ...] = ("ours",)) -> pd.DataFrame:
    """Accuracy over the best single target's at a share of its cost, by both rules, averaged over
    splits; between two points of a curve answers are mixed at random.

    Returns
    -------
    DataFrame[pool, method, rule, cost_share, accuracy_over_best_single]
        Only shares that the curve reaches on every split.
    """
    rows = []
    for name, (pool, of_pool) in loaded.items():
        for method in (m for m in methods if m in of_pool):
            for rule in RULES:
                of_seeds = []
                for seed, split in pool.splits.items():
                    test, best = split.test, pool.best_single(seed)
                    cost, correct = pool.cost[seed][test], pool.outcomes.correct[test]
                    p, own = of_pool[method].p[seed][test], of_pool[method].overhead[test]
                    steps = curve_steps(p[:, pool.columns], cost, correct, own, rule)
                    paid, right = (of[0] for of in steps.evaluate(np.ones((1, len(test)))))
                    share, gain = paid / cost[:, best].mean(), right - correct[:, best].mean()
                    order = np.argsort(share, kind="stable")
                    of_seeds.append(
                        np.interp(COST_SHARES, share[order], gain[order], left=np.nan, right=np.nan)
                    )
                for share, gain in zip(COST_SHARES, np.mean(of_seeds, axis=0), strict=True):
                    if not np.isnan(gain):
                        rows.append((name, method, rule, share, gain))
    return pd.DataFrame(
        rows, columns=["pool", "method", "rule", "cost_share", "accuracy_over_best_single"]
    )


def walks(loaded: Loaded, method: str = "ours") -> pd.DataFrame:
    """The candidates of a method on the first split, as they are tested.

    Returns
    -------
    DataFrame[pool, epsilon, price, cost_share, difference, bound, chosen]
        In order of the walk; ``difference`` and ``bound`` are of the accuracy minus the best single
        target's, on labelled queries by out-of-fold P.
    """
    tables = []
    for name, (pool, methods) in loaded.items():
        evidence = evidence_of(pool, methods[method], next(iter(pool.splits)))
        walked, best_cost = walk(evidence), float(evidence.cost[:, evidence.best].mean())
        for epsilon in EPSILONS.values():
            chosen, bounds = certified(walked, epsilon, DELTA, best_cost)
            tables.append(
                pd.DataFrame(
                    {
                        "pool": name,
                        "epsilon": epsilon,
                        "price": walked.prices,
                        "cost_share": walked.cost / best_cost,
                        "difference": walked.sums.sum(axis=0) / walked.sizes.sum(),
                        "bound": bounds[0],
                        "chosen": np.arange(len(walked.prices)) == chosen[0],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)
