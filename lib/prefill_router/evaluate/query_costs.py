"""What routing by a predicted cost of each query saves, against the median of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from prefill_router.heads.stored_states import KernelInputs, StoredStates, kernel_inputs

MEDIAN, MEAN, PREDICTED = KINDS = ("median", "mean", "predicted")
METRICS = ("p_auccc", "cost_saving_at_best_single")
COLUMNS = [
    *("pool", "metric", *KINDS),
    *("over_median", "median_low", "median_high", "over_mean", "mean_low", "mean_high"),
]


@dataclass(frozen=True, eq=False)
class Expected:
    """What answers are expected to cost, by each of ``KINDS``: from the labelled rows of a split.

    ``median`` is the cost model of the paper; ``mean`` is the same times a factor for each target
    that makes its mean on labelled rows right; ``predicted`` is read from the states of the query
    (`heads.query_cost`).

    Attributes
    ----------
    rows : int ndarray [m]
        Labelled rows with an out-of-fold prediction.
    held_out : dict of kind to ndarray [m, K]
        Of those; ``predicted`` out of fold.
    cost : dict of kind to ndarray [n, K]
        Of all queries.
    """

    rows: np.ndarray
    held_out: Mapping[str, np.ndarray]
    cost: Mapping[str, np.ndarray]


def expected_costs_by_kind(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]], states: np.ndarray | StoredStates
) -> dict[str, dict[int, Expected]]:
    """What answers are expected to cost, by pool and split seed; pools without realised costs are
    left out. Prints what is done, since a large pool takes minutes.

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
    states : float32 ndarray [n, D] or StoredStates
        What the kernel router reads of one encoder.
    """
    paying = {name: pool for name, (pool, _) in loaded.items() if _realised(pool)}
    found: dict[str, dict[int, Expected]] = {name: {} for name in paying}
    for seed in dict.fromkeys(seed for pool in paying.values() for seed in pool.splits):
        kernels: dict[bytes, KernelInputs] = {}  # pools without gaps share the labelled rows
        for name, pool in paying.items():
            if seed not in pool.splits:
                continue
            rows = labelled(pool.splits[seed])
            if (key := rows.tobytes()) not in kernels:
                kernels[key] = kernel_inputs(states, rows)
            found[name][seed] = _expected(pool, kernels[key], seed)
            print(f"costs of {name}, split seed {seed}: predicted", flush=True)
    return found


def query_cost_table(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    expected: Mapping[str, Mapping[int, Expected]],
    n_boot: int,
) -> pd.DataFrame:
    """Ours by the utility rule, deciding by three expected costs, with realised costs paid.

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
    expected : of `expected_costs_by_kind`
    n_boot : int

    Returns
    -------
    DataFrame[COLUMNS]
        ``p_auccc`` and ``cost_saving_at_best_single`` with realised costs, and how far
        ``predicted`` lies above the others, with 95 % intervals; ``log_error``: the median of
        |log(expected / realised)| over test rows and targets.
    """
    table = []
    for name, of_seeds in expected.items():
        pool, methods = loaded[name]
        runs: dict[str, list[SeedRun]] = {kind: [] for kind in KINDS}
        errors: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for seed, of_seed in of_seeds.items():
            test = paid_rows(pool, seed)
            p, own = methods["ours"].p[seed][test][:, pool.columns], methods["ours"].overhead[test]
            correct, paid = pool.outcomes.correct[test], pool.outcomes.cost[test]
            for kind in KINDS:
                cost = of_seed.cost[kind][test]
                steps = curve_steps(p, cost, correct, own, "utility", paid)
                runs[kind].append(_run(steps, paid, correct, pool.groups[test]))
                errors[kind].append(float(np.median(np.abs(np.log(cost / paid)))))
        table += _rows(name, seed_averaged_intervals(runs, n_boot, seed=0), errors)
        print(f"costs of {name}: measured", flush=True)
    return pd.DataFrame(table, columns=COLUMNS)


def paid_rows(pool: Pool, seed: int) -> np.ndarray:
    """Test rows of a split on which every target's realised cost is known."""
    test = pool.splits[seed].test
    return test[(pool.outcomes.cost[test] > 0).all(axis=1)]


def _realised(pool: Pool) -> bool:
    """Whether every target has a realised cost on the labelled rows of every split."""
    cost = pool.outcomes.cost
    return all((cost[labelled(split)] > 0).any(axis=0).all() for split in pool.splits.values())


def _expected(pool: Pool, kernel: KernelInputs, seed: int) -> Expected:
    train, realised = labelled(pool.splits[seed]), pool.outcomes.cost
    model = QueryCost(seed, precomputed=kernel.precomputed)
    model.fit(kernel.train, realised[train], pool.groups[train])
    of_train = np.where(np.isnan(realised[train]), np.nan, pool.cost[seed][train])
    factor = np.nanmean(realised[train], axis=0) / np.nanmean(of_train, axis=0)
    rows, median = train[model.rows_], pool.cost[seed]
    cost = {MEDIAN: median, MEAN: median * factor, PREDICTED: model.predict(kernel.all)}
    held_out = {kind: of[rows] for kind, of in cost.items()} | {PREDICTED: model.held_out_}
    return Expected(rows, held_out, cost)


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
