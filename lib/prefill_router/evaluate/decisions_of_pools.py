"""The tables of the notebook on decisions, over all pools of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL, CrossFitted, Pool
from prefill_router.evaluate.decisions import (
    CURVE,
    DECISION_COLUMNS,
    best_texts,
    decide,
    decisions_table,
    differences,
)
from prefill_router.evaluate.keys import ARGMAX
from prefill_router.evaluate.plans import BUDGET, EPSILONS
from prefill_router.evaluate.promises import promises

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
