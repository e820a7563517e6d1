"""What routing by a predicted cost of each query saves, against the median of the training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, labelled
from prefill_router.evaluate.curves import CurveSteps, curve_steps
from prefill_router.evaluate.keys import MetricValues
from prefill_router.evaluate.metrics import pool_values, router_values
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.weighting import weight_rows
from prefill_router.heads.query_cost import QueryCost
from prefill_router.heads.stored_states import KernelInputs, StoredStates, kernel_inputs, take

MEDIAN, MEAN, PREDICTED = KINDS = ("median", "mean", "predicted")
METRICS = ("p_auccc", "cost_saving_at_best_single")
COLUMNS = [
    *("pool", "metric", *KINDS),
    *("over_median", "median_low", "median_high", "over_mean", "mean_low", "mean_high"),
]


def query_cost_table(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    states: np.ndarray | StoredStates,
    n_boot: int,
) -> pd.DataFrame:
    """Ours by the utility rule, deciding by three expected costs, with realised costs paid.

    ``median`` is the cost model of the paper; ``mean`` is the same times a factor for each target
    that makes its mean on labelled rows right; ``predicted`` is read from the states of the query
    (`heads.query_cost`).

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
    states : float32 ndarray [n, D]
        What the kernel router reads of one encoder.
    n_boot : int

    Returns
    -------
    DataFrame[COLUMNS]
        ``p_auccc`` and ``cost_saving_at_best_single`` with realised costs, and how far
        ``predicted`` lies above the others, with 95 % intervals; ``log_error``: the median of
        |log(expected / realised)| over test rows and targets. Pools without realised costs are left
        out.
    """
    paying = {name: of for name, of in loaded.items() if _realised(of[0])}
    runs: dict[str, dict[str, list[SeedRun]]] = {name: {k: [] for k in KINDS} for name in paying}
    errors: dict[str, dict[str, list[float]]] = {name: {k: [] for k in KINDS} for name in paying}
    for seed in dict.fromkeys(seed for pool, _ in paying.values() for seed in pool.splits):
        kernels: dict[bytes, KernelInputs] = {}  # pools without gaps share the labelled rows
        for name, (pool, methods) in paying.items():
            if seed not in pool.splits:
                continue
            paid, test = pool.outcomes.cost, pool.splits[seed].test
            test = test[(paid[test] > 0).all(axis=1)]
            p, own = methods["ours"].p[seed][test][:, pool.columns], methods["ours"].overhead[test]
            correct, paid = pool.outcomes.correct[test], paid[test]
            rows = labelled(pool.splits[seed])
            if (key := rows.tobytes()) not in kernels:
                kernels[key] = kernel_inputs(states, rows)
            for kind, cost in _expected(pool, kernels[key], seed, test).items():
                steps = curve_steps(p, cost, correct, own, "utility", paid)
                runs[name][kind].append(_run(steps, paid, correct, pool.groups[test]))
                errors[name][kind].append(float(np.median(np.abs(np.log(cost / paid)))))
    table = [
        row
        for name in paying
        for row in _rows(name, seed_averaged_intervals(runs[name], n_boot, seed=0), errors[name])
    ]
    return pd.DataFrame(table, columns=COLUMNS)


def _realised(pool: Pool) -> bool:
    """Whether every target has a realised cost on the labelled rows of every split."""
    cost = pool.outcomes.cost
    return all((cost[labelled(split)] > 0).any(axis=0).all() for split in pool.splits.values())


def _expected(
    pool: Pool, kernel: KernelInputs, seed: int, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Expected costs [m, K] of test rows."""
    train, realised = labelled(pool.splits[seed]), pool.outcomes.cost
    model = QueryCost(seed, precomputed=kernel.precomputed)
    model.fit(kernel.train, realised[train], pool.groups[train])
    of_train = np.where(np.isnan(realised[train]), np.nan, pool.cost[seed][train])
    factor = np.nanmean(realised[train], axis=0) / np.nanmean(of_train, axis=0)
    median = pool.cost[seed][test]
    return {MEDIAN: median, MEAN: median * factor, PREDICTED: model.predict(take(kernel.all, test))}


def _rows(name: str, averages: SeedAverages, errors: Mapping[str, list[float]]) -> list[tuple]:
    over = {kind: averages.paired(PREDICTED, kind).set_index("metric") for kind in (MEDIAN, MEAN)}
    ends = ["diff", "ci_low", "ci_high"]
    found = []
    for metric in METRICS:
        values = (averages.point[kind, metric] for kind in KINDS)
        differences = (x for kind in (MEDIAN, MEAN) for x in over[kind].loc[metric, ends])
        found.append((name, metric, *values, *differences))
    of = {kind: float(np.mean(errors[kind])) for kind in KINDS}
    differences = (x for kind in (MEDIAN, MEAN) for x in (of[PREDICTED] - of[kind], np.nan, np.nan))
    found.append((name, "log_error", *of.values(), *differences))
    return found


def _run(steps: CurveSteps, paid: np.ndarray, correct: np.ndarray, groups: np.ndarray) -> SeedRun:
    def metrics(weights: np.ndarray) -> MetricValues:
        weights = weight_rows(weights, len(paid))
        found = router_values(steps, weights, pool_values(paid, correct, weights))
        return {metric: found[metric] for metric in METRICS}

    return SeedRun(groups, metrics)
