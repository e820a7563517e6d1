"""Plans that decide by a predicted cost of each query, beside those that decide by a constant.

Plans are chosen as always (`plans`), on out-of-fold P, with another expected cost; what is paid are
the realised costs of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import CrossFitted, Pool
from prefill_router.evaluate.decisions import plan_run
from prefill_router.evaluate.keys import AtPoint, Method
from prefill_router.evaluate.plans import BUDGET, EPSILONS, plans
from prefill_router.evaluate.query_costs import KINDS, MEAN, MEDIAN, PREDICTED, Expected, paid_rows
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.walk import Evidence

POINTS = (*EPSILONS, BUDGET)
METRICS = ("saving_over_best_single", "accuracy_over_best_single")
COLUMNS = [
    *("pool", "plan", "metric", *KINDS),
    *("over_median", "median_low", "median_high", "over_mean", "mean_low", "mean_high", "n"),
]


def query_cost_plans(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    expected: Mapping[str, Mapping[int, Expected]],
    n_boot: int,
    method: str = "ours",
) -> pd.DataFrame:
    """What plans of one method do on test rows, chosen and followed by three expected costs.

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
    expected : of `query_costs.expected_costs_by_kind`
    n_boot : int
    method : str

    Returns
    -------
    DataFrame[COLUMNS]
        Of ``METRICS``, with realised costs paid by the plan and by the best single target; how far
        ``predicted`` lies above the others, with 95 % intervals, paired.
    """
    tables = []
    for name, of_seeds in expected.items():
        pool, methods = loaded[name]
        runs: dict[Method, list[SeedRun]] = {}
        for seed, of_seed in of_seeds.items():
            for kind in KINDS:
                found = _plan_runs(pool, methods[method], seed, of_seed, kind)
                for plan, run in found.items():
                    runs.setdefault(AtPoint(kind, plan), []).append(run)
        averages = seed_averaged_intervals(runs, n_boot, seed=0)
        tables.append(pd.DataFrame(_rows(name, averages), columns=COLUMNS))
        print(f"plans of {name}: chosen and measured", flush=True)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _plan_runs(
    pool: Pool, method: CrossFitted, seed: int, expected: Expected, kind: str
) -> dict[str, SeedRun]:
    """The plans of a split by name, on its test rows."""
    rows, at, of_costs = np.intersect1d(method.rows[seed], expected.rows, return_indices=True)
    evidence = Evidence(
        method.held_out[seed][at][:, pool.columns],
        expected.held_out[kind][of_costs],
        pool.outcomes.correct[rows],
        pool.groups[rows],
        method.overhead[rows],
    )
    test = paid_rows(pool, seed)
    p, cost = method.p[seed][test][:, pool.columns], expected.cost[kind][test]
    correct, realised, each = (
        pool.outcomes.correct[test],
        pool.outcomes.cost[test],
        range(len(test)),
    )
    found = {}
    for name, plan in plans(evidence).items():
        target = plan.choose(p, cost)
        paid = realised[each, target] + (method.overhead[test] if plan.rule else 0.0)
        found[name] = plan_run(
            paid,
            correct[each, target],
            realised[:, plan.best],
            correct[:, plan.best],
            pool.groups[test],
        )
    return found


def _rows(name: str, averages: SeedAverages) -> list[tuple]:
    found, ends = [], ["diff", "ci_low", "ci_high"]
    for plan in POINTS:
        key = AtPoint(PREDICTED, plan)
        over = [averages.paired(key, AtPoint(kind, plan)) for kind in (MEDIAN, MEAN)]
        for metric in METRICS:
            values = [averages.point[AtPoint(kind, plan), metric] for kind in KINDS]
            diffs = [x for of in over for x in of.set_index("metric").loc[metric, ends]]
            found.append((name, plan, metric, *values, *diffs, averages.n[key]))
    return found
