"""Who is right where: what a pool of targets offers to routing, before any router is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prefill_router.data.costs import without_cost
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.agreement import agreement_zones, win_shares
from prefill_router.evaluate.metrics import best_single, oracle_accuracy
from prefill_router.evaluate.points import single_points
from prefill_router.evaluate.settings import EvaluationSettings

LARGEST = 15  # benchmarks that a figure can name


@dataclass(frozen=True)
class PoolOverview:
    """What outcomes alone say of a pool.

    Attributes
    ----------
    pool, cost_unit : str
    row : dict
        A row of ``pools.csv``: queries, targets, best single target, oracle, zones of agreement,
        the cheapest target.
    points : DataFrame[target, cost, accuracy]
    wins : DataFrame, targets x targets
        Share of queries that the row's target has right and the column's wrong
        (`agreement.win_shares`).
    by_benchmark : DataFrame, benchmarks x targets
        Accuracy on the queries that every target answered, of the ``LARGEST`` benchmarks; NaN where
        there is no such query.
    more_benchmarks : int
        How many are not among them.
    unpriced : list of str
    """

    pool: str
    cost_unit: str
    row: dict[str, Any]
    points: pd.DataFrame
    wins: pd.DataFrame
    by_benchmark: pd.DataFrame
    more_benchmarks: int
    unpriced: list[str]


def overview(
    settings: EvaluationSettings, pool: str, outcomes: Outcomes, splits: Mapping[int, Split]
) -> PoolOverview:
    """What the outcomes of a pool offer to routing."""
    y, names = outcomes.correct, outcomes.target_names
    best, accuracy = best_single(y)
    points = single_points(settings, outcomes, splits)
    # none if fewer than two have a cost; of several the best single target, if it is one of them
    cheapest = points.loc[points["cost"] <= points["cost"].min() * (1 + 1e-12), "target"].tolist()
    row = {
        "pool": pool,
        "queries": outcomes.n,
        "targets": len(names),
        "best_single": names[best],
        "best_single_accuracy": accuracy,
        "oracle_accuracy": oracle_accuracy(y),
        **agreement_zones(y),
        "cheapest": names[best] if names[best] in cheapest else next(iter(cheapest), ""),
    }
    benchmark, complete = outcomes.queries["benchmark"], outcomes.complete_rows()
    largest = sorted(benchmark.value_counts().index[:LARGEST])
    answered = pd.DataFrame(y[complete], columns=names)
    by_benchmark = answered.groupby(benchmark.to_numpy()[complete]).mean().reindex(largest)
    return PoolOverview(
        pool,
        outcomes.cost_unit,
        row,
        points,
        pd.DataFrame(win_shares(y), index=names, columns=names),
        by_benchmark,
        benchmark.nunique() - len(by_benchmark),
        without_cost(outcomes, settings.cost_model),
    )
