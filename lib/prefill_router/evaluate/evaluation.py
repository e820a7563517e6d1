"""The evaluation of a pool: all metrics of all methods on the test rows of all splits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from prefill_router.data.costs import expected_costs
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.keys import ARGMAX, CALIBRATED, OF_ANSWERS, AtPoint, Method, method_of
from prefill_router.evaluate.metrics import COST_METRICS
from prefill_router.evaluate.operating_point import Answers, planned_answers
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.runs import SeedRun, point_run, router_run, zero_router_run
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.heads.names import MethodKey, name_of

METRIC_COLUMNS = [
    "pool",
    "method",
    "encoder",
    "reads",
    "operating_point",
    "target",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "seeds",
]


Methods = Mapping[MethodKey, dict[str, Any]]
Runs = dict[Method, list[SeedRun]]
Name = TypeVar("Name", bound=Hashable)


def evaluate(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Methods,
    cost_model: str | None = None,
) -> SeedAverages:
    """All metrics of all methods on the test rows, averaged over split seeds, with bootstrap draws
    on shared resamples.

    To the methods with predictions come the points `best_single` (the target with the highest
    accuracy on training rows), `oracle` (the cheapest right target), every method at the tolerance
    chosen on calibration rows (`keys.CALIBRATED`), and the `zero_router`. Queries with a missing
    outcome of the pool are left out, and counted aloud.

    Where some targets have no price, `metrics.COST_METRICS` are those of the priced ones as a pool
    of their own (routing among them, their best single target), on the same queries; fewer than two
    of them have no cost metrics and no calibrated point. All other metrics are of the whole pool:
    accuracy is that of the argmax of P over all targets. A calibrated point is chosen among the
    priced targets, and its accuracy is compared with the best single target and the oracle of the
    whole pool.

    Parameters
    ----------
    cost_model : one of `data.costs.COST_MODELS`
        The profile's by default.
    """
    return evaluate_at(
        outcomes,
        splits,
        methods,
        expected_costs(outcomes, splits, cost_model or settings.cost_model),
        settings.bootstrap,
    )


def evaluate_at(
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Methods,
    costs: Mapping[int, np.ndarray],
    n_boot: int,
) -> SeedAverages:
    """`evaluate` with the costs [n, K] of each split seed given; targets whose cost is NaN on every
    query have none.
    """
    complete = outcomes.complete_rows()
    if not complete.all():
        print(
            f"{outcomes.name}: {int((~complete).sum())} of {outcomes.n} queries lack an outcome of"
            " this pool and are left out of the evaluation"
        )
    known = ~np.all([np.isnan(cost).all(axis=0) for cost in costs.values()], axis=0)
    names = [name for name, yes in zip(outcomes.target_names, known, strict=True) if yes]
    pool = outcomes if known.all() else outcomes.pool(names) if len(names) > 1 else None
    # Without a price every target costs nothing: the cost then decides nothing, and the metrics
    # that need one are dropped below.
    free = np.zeros_like(outcomes.correct)
    whole: Runs = {}
    paying: Runs = {}
    for seed, split in complete_splits(outcomes, splits).items():
        p = {name: m["p"][seed] for name, m in methods.items()}
        overhead = {name: m["overhead"] for name, m in methods.items()}
        cost, chosen = free, {}
        if pool is not None:
            cost, of_pool = costs[seed][:, known], cut(p, outcomes, pool)
            # without a calibration query there is no calibrated point on this split
            chosen = {
                name: planned_answers(of_pool[name], cost, pool.correct, overhead[name], split)
                for name in methods
                if len(split.calibration)
            }
            if pool is not outcomes:
                _add_runs(paying, pool, split, cost, of_pool, overhead, chosen)
                cost = free
        _add_runs(whole, outcomes, split, cost, p, overhead, chosen)
    averages = seed_averaged_intervals(whole, n_boot, seed=0)
    if pool is outcomes:
        return averages
    return _with_costs_of(
        averages, seed_averaged_intervals(paying, n_boot, seed=0) if paying else None
    )


def metrics_table(averages: SeedAverages, pool: str, methods: Methods) -> pd.DataFrame:
    """Rows of ``metrics.csv`` (`METRIC_COLUMNS`) of one pool; a calibrated point reads what its
    method reads.
    """
    table = averages.table().assign(pool=pool)
    keys = list(table["method"])
    of = [method_of(key) for key in keys]
    table["method"] = [name_of(method) for method in of]
    table["operating_point"] = [
        key.operating_point
        if isinstance(key, AtPoint)
        else ARGMAX
        if key in methods and metric in OF_ANSWERS
        else ""
        for key, metric in zip(keys, table["metric"], strict=True)
    ]
    for column in ("encoder", "reads"):
        table[column] = [methods.get(method, {}).get(column, "") for method in of]
    return table[METRIC_COLUMNS]


def cut(p: Mapping[Name, np.ndarray], outcomes: Outcomes, pool: Outcomes) -> dict[Name, np.ndarray]:
    """P(correct) [n, K] of each method or split seed, cut to the targets of a smaller pool."""
    columns = [outcomes.target_names.index(name) for name in pool.target_names]
    return {name: values[:, columns] for name, values in p.items()}


def _add_runs(
    runs: Runs,
    outcomes: Outcomes,
    split: Split,
    cost: np.ndarray,
    p: Mapping[MethodKey, np.ndarray],
    overhead: Mapping[MethodKey, np.ndarray],
    calibrated: Mapping[MethodKey, Answers],
) -> None:
    """Add one split's runs of all methods, `calibrated` points and references to the lists in
    `runs`.
    """
    test = split.test
    c, y, g = cost[test], outcomes.correct[test], outcomes.queries["group"].to_numpy()[test]
    for name in p:
        runs.setdefault(name, []).append(
            router_run(p[name][test], c, y, g, overhead[name][test], outcomes.target_names)
        )
        if name in calibrated:
            chosen_cost, chosen_correct = calibrated[name]
            point = point_run(chosen_cost, chosen_correct, c, y, g)
            runs.setdefault(AtPoint(name, CALIBRATED), []).append(point)
    best = int(outcomes.correct[split.train].mean(axis=0).argmax())
    runs.setdefault("best_single", []).append(point_run(c[:, best], y[:, best], c, y, g))
    oracle = route(y, c, 0.0)
    at = np.arange(len(test))
    runs.setdefault("oracle", []).append(point_run(c[at, oracle], y[at, oracle], c, y, g))
    runs.setdefault("zero_router", []).append(zero_router_run(c, y, g))


def _with_costs_of(averages: SeedAverages, paying: SeedAverages | None) -> SeedAverages:
    """`averages` with the cost metrics of `paying`, or without any. Both are on the same queries,
    hence on the same resamples.
    """

    def merged(field: str) -> dict:
        ours, theirs = getattr(averages, field), getattr(paying, field) if paying else {}
        keys = [key for key in ours if key[1] not in COST_METRICS or key in theirs]
        return {key: theirs[key] if key[1] in COST_METRICS else ours[key] for key in keys}

    return SeedAverages(
        merged("point"), merged("draws"), merged("seeds"), merged("undefined"), averages.n
    )
