"""The evaluation of every pool of a run: one tidy table each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from prefill_router.data.costs import with_hidden_reasoning
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import pairwise_disagreement
from prefill_router.evaluate.breakdown import within_benchmarks
from prefill_router.evaluate.calibration import reliability_table
from prefill_router.evaluate.curves import convex_hull
from prefill_router.evaluate.evaluation import Methods, evaluate, metrics_table
from prefill_router.evaluate.metrics import COST_METRICS
from prefill_router.evaluate.points import oracle_point, single_points, tolerance_curve
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.heads.names import name_of

LoadedPools = Mapping[str, tuple[Outcomes, Mapping[int, Split], Methods]]
Names = Mapping[str, Sequence[str]]

TOLERANCES = np.round(np.concatenate([np.linspace(0, 0.3, 61), np.linspace(0.31, 1, 70)]), 4)
MAIN = ("paper", "ours")  # compared with every other method

PAIRED_COLUMNS = [
    "pool",
    "method_a",
    "encoder_a",
    "method_b",
    "encoder_b",
    "metric",
    "diff",
    "ci_low",
    "ci_high",
    "n",
]
CURVE_COLUMNS = ["pool", "method", "encoder", "tolerance", "cost", "accuracy", "ci_low", "ci_high"]


def evaluate_pools(
    settings: EvaluationSettings, loaded: LoadedPools
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of all methods, and the paired differences that are kept.

    Parameters
    ----------
    loaded : mapping of pool to (outcomes, splits, methods)
        Methods as `run.handover.read_predictions` gives them.

    Returns
    -------
    metrics : DataFrame[evaluation.METRIC_COLUMNS]
    paired : DataFrame[PAIRED_COLUMNS]
        ``paper`` and ``ours`` against all others in the metrics of the pool; every other method
        against the best single target, in accuracy and gap closed.
    """
    metrics, paired = [], []
    for pool, (outcomes, splits, methods) in loaded.items():
        averages = evaluate(settings, outcomes, splits, methods)
        metrics.append(metrics_table(averages, pool, methods))
        encoders = {key: method["encoder"] for key, method in methods.items()}
        for first in methods:
            main = first in MAIN
            others = [*methods, "zero_router", "best_single"] if main else ["best_single"]
            for other in (name for name in others if name != first):
                rows = averages.paired(first, other)
                if not main:
                    rows = rows[rows["metric"].isin(["accuracy", "gap_closed"])]
                of = {"pool": pool, "encoder_a": encoders[first]}
                of |= {"method_a": name_of(first), "method_b": name_of(other)}
                paired.append(rows.assign(**of, encoder_b=encoders.get(other, "")))
    return (
        pd.concat(metrics, ignore_index=True),
        pd.concat(paired, ignore_index=True)[PAIRED_COLUMNS],
    )


def input_only_metrics(
    settings: EvaluationSettings, loaded: LoadedPools, shown: Names
) -> pd.DataFrame:
    """The cost metrics of the methods ``shown`` of each pool where only the prompt is paid for, as
    `evaluate_pools`.
    """
    tables = []
    for pool, (outcomes, splits, methods) in loaded.items():
        few: Methods = {name: methods[name] for name in shown[pool]}
        averages = evaluate(settings, outcomes, splits, few, cost_model="input_only")
        tables.append(metrics_table(averages, pool, few))
    table = pd.concat(tables, ignore_index=True)
    return table[table["metric"].isin(COST_METRICS)]


def hidden_reasoning_metrics(
    settings: EvaluationSettings, loaded: LoadedPools, shown: Names, factors: Mapping[str, float]
) -> pd.DataFrame:
    """The cost metrics of the methods ``shown`` of each pool where the hidden reasoning of some
    targets is paid for (`costs.with_hidden_reasoning`), as `evaluate_pools`.
    """
    tables = []
    for pool, (outcomes, splits, methods) in loaded.items():
        few: Methods = {name: methods[name] for name in shown[pool]}
        averages = evaluate(settings, with_hidden_reasoning(outcomes, factors), splits, few)
        tables.append(metrics_table(averages, pool, few))
    table = pd.concat(tables, ignore_index=True)
    return table[table["metric"].isin(COST_METRICS)]


def curves_of_pools(
    settings: EvaluationSettings,
    loaded: LoadedPools,
    tolerances: Sequence[float] | np.ndarray = TOLERANCES,
) -> pd.DataFrame:
    """`points.tolerance_curve` of every method of every pool.

    Returns
    -------
    DataFrame[CURVE_COLUMNS]
    """
    return pd.concat(
        [
            tolerance_curve(settings, outcomes, splits, method, tolerances).assign(
                pool=pool, method=name_of(key), encoder=method["encoder"]
            )
            for pool, (outcomes, splits, methods) in loaded.items()
            for key, method in methods.items()
        ],
        ignore_index=True,
    )[CURVE_COLUMNS]


class References(NamedTuple):
    """What a cost/accuracy curve is held against.

    Attributes
    ----------
    points : DataFrame[target, cost, accuracy]
        Single targets with a price.
    hull : DataFrame[target, cost, accuracy]
        Those of them that the zero router mixes, by ascending cost.
    oracle : (cost, accuracy)
    all_priced : bool
        Whether every target of the pool has a price.
    """

    points: pd.DataFrame
    hull: pd.DataFrame
    oracle: tuple[float, float]
    all_priced: bool


def references(
    settings: EvaluationSettings, outcomes: Outcomes, splits: Mapping[int, Split]
) -> References | None:
    """Single targets, zero router and oracle on the test rows, averaged over split seeds; None if
    fewer than two targets have a price.
    """
    points = single_points(settings, outcomes, splits).dropna(subset="cost")
    if len(points) < 2:
        return None
    hull = points.iloc[convex_hull(points["cost"].to_numpy(), points["accuracy"].to_numpy())]
    return References(
        points, hull, oracle_point(settings, outcomes, splits), len(points) == len(outcomes.targets)
    )


def within_benchmarks_of_pools(
    settings: EvaluationSettings, loaded: LoadedPools, shown: Names
) -> pd.DataFrame:
    """`breakdown.within_benchmarks` of the methods ``shown`` of each pool, with the column pool
    first.
    """
    tables = [
        within_benchmarks(settings, outcomes, splits, methods, shown[pool]).assign(pool=pool)
        for pool, (outcomes, splits, methods) in loaded.items()
    ]
    table = pd.concat(tables)
    return table[["pool", *table.columns.drop("pool")]]


def disagreement(loaded: LoadedPools, shown: Names) -> pd.DataFrame:
    """`auc.pairwise_disagreement` on test rows, averaged over split seeds.

    Returns
    -------
    DataFrame[pool, method, encoder, target_a, target_b, n, auc]
        n: mean over the seeds, rounded; auc: NaN where it is defined on no seed.
    """
    tables = []
    for pool, (outcomes, splits, methods) in loaded.items():
        for name in shown[pool]:
            of_seeds = [
                pairwise_disagreement(
                    methods[name]["p"][seed][split.test],
                    outcomes.correct[split.test],
                    outcomes.target_names,
                )
                for seed, split in splits.items()
            ]
            pairs = pd.concat(of_seeds).groupby(
                ["target_a", "target_b"], sort=False, as_index=False
            )
            mean = pairs.agg(n=("n", "mean"), auc=("auc", "mean"))
            mean["n"] = mean["n"].round().astype(int)
            tables.append(mean.assign(pool=pool, method=name, encoder=methods[name]["encoder"]))
    order = ["pool", "method", "encoder", "target_a", "target_b", "n", "auc"]
    return pd.concat(tables, ignore_index=True)[order]


def reliability(loaded: LoadedPools, shown: Names) -> pd.DataFrame:
    """`calibration.reliability_table` of P(correct) of all targets and split seeds together, on
    test rows.

    Returns
    -------
    DataFrame[pool, method, bin, n, p_min, p_max, p_mean, accuracy]
    """
    tables = []
    for pool, (outcomes, splits, methods) in loaded.items():
        correct = np.concatenate([outcomes.correct[s.test].ravel() for s in splits.values()])
        for name in shown[pool]:
            p = methods[name]["p"]
            of_tests = np.concatenate([p[seed][s.test].ravel() for seed, s in splits.items()])
            table = reliability_table(of_tests, correct)
            table.insert(0, "method", name)
            table.insert(0, "pool", pool)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
