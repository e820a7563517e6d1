"""Points and curves of methods and single targets, averaged over split seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from prefill_router.data.costs import expected_cost, priced
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.evaluation import cut
from prefill_router.evaluate.resampling import seed_averaged_curve
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.settings import EvaluationSettings


def tolerance_curve(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    method: Mapping,
    tolerances: Sequence[float] | np.ndarray,
    cost_model: str | None = None,
) -> pd.DataFrame:
    """`seed_averaged_curve` of one method (a value of `read_predictions`) on the test rows, routing
    among the targets with a price.

    Returns
    -------
    DataFrame[tolerance, cost, accuracy, ci_low, ci_high]
        Without rows if fewer than two targets have a price.
    """
    cost_model = cost_model or settings.cost_model
    groups = outcomes.queries["group"].to_numpy()
    pool = priced(outcomes, cost_model)
    if pool is None:
        return pd.DataFrame(
            columns=["tolerance", "cost", "accuracy", "ci_low", "ci_high"], dtype=np.float64
        )
    p, runs = cut(method["p"], outcomes, pool), []
    for seed, split in complete_splits(outcomes, splits).items():
        test, cost = split.test, expected_cost(pool, splits[seed].train, cost_model)
        runs.append(
            (p[seed][test], cost[test], pool.correct[test], groups[test], method["overhead"][test])
        )
    return seed_averaged_curve(runs, tolerances, settings.bootstrap, seed=0)


def single_points(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    cost_model: str | None = None,
) -> pd.DataFrame:
    """Mean cost and accuracy of every single target on the test rows, averaged over split seeds:
    [target, cost, accuracy].

    The cost is NaN where a target has no price (and for all of them if fewer than two have one).
    """
    cost_model = cost_model or settings.cost_model
    pool, tests = (
        priced(outcomes, cost_model),
        {seed: split.test for seed, split in complete_splits(outcomes, splits).items()},
    )
    accuracy = np.mean([outcomes.correct[test].mean(axis=0) for test in tests.values()], axis=0)
    points = pd.DataFrame({"target": outcomes.target_names, "cost": np.nan, "accuracy": accuracy})
    if pool is not None:
        cost = [
            expected_cost(pool, splits[seed].train, cost_model)[test].mean(axis=0)
            for seed, test in tests.items()
        ]
        points.loc[points["target"].isin(pool.target_names), "cost"] = np.mean(cost, axis=0)
    return points


def oracle_point(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    cost_model: str | None = None,
) -> tuple[float, float]:
    """Mean cost and accuracy of the oracle among the targets with a price, averaged over split
    seeds; NaN if fewer than two have one.
    """
    cost_model = cost_model or settings.cost_model
    pool = priced(outcomes, cost_model)
    if pool is None:
        return float("nan"), float("nan")
    points = []
    for seed, split in complete_splits(outcomes, splits).items():
        test = split.test
        cost, correct = (
            expected_cost(pool, splits[seed].train, cost_model)[test],
            pool.correct[test],
        )
        points.append(
            (
                cost[np.arange(len(test)), route(correct, cost, 0.0)].mean(),
                correct.max(axis=1).mean(),
            )
        )
    cost, accuracy = np.mean(points, axis=0)
    return float(cost), float(accuracy)
