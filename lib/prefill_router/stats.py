"""Uncertainty: bootstrap over groups, averages over split seeds, paired differences.

Queries of one group (near-duplicates, one template) are not independent, so groups are resampled,
not queries. Split seeds share most of their queries, so a replicate draws *one* multiplicity per
group and uses it for every seed and every method; a metric is then recomputed on each seed's test
queries, curve and all, and averaged over seeds.

Intervals are percentile intervals, but basic (reflected) ones for the distances of
``metrics.DISTANCES``, and hold their value: see ``interval_of``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefill_router.hardware import on_every_core
from prefill_router.metrics import (
    DISTANCES,
    auc_boot,
    point_metrics_boot,
    pool_metrics_boot,
    zero_router_boot,
)
from prefill_router.routing import curve_steps

Metrics = Callable[[np.ndarray], dict[str, np.ndarray]]


def group_bootstrap_weights(groups: Sequence | np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """Multiplicity of each query when its G groups are drawn G times with replacement.

    Parameters
    ----------
    groups : sequence [n]
        Group of each query.
    n_boot : int
        Number of replicates B.
    seed : int

    Returns
    -------
    int ndarray [B, n]
        Equal for all queries of a group; the groups' multiplicities of a row sum to G. A
        permutation of the queries permutes the columns and changes nothing else.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    return _multiplicities(len(names), n_boot, seed)[:, index]


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap draws; undefined draws (NaN) are left out and counted.

    Parameters
    ----------
    draws : ndarray [B]
    level : float in (0, 1)

    Returns
    -------
    Interval
        low, high (NaN if no draw is defined), undefined (the number of NaN). Unpacks as ``low,
        high``.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    draws = np.asarray(draws, dtype=np.float64)
    defined = draws[~np.isnan(draws)]
    if defined.size == 0:
        return Interval(float("nan"), float("nan"), int(draws.size))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), int(draws.size - defined.size))


def basic_interval(
    value: float, draws: np.ndarray, level: float = 0.95, power: int = 1
) -> Interval:
    """Basic (reflected) bootstrap interval [2 v - high, 2 v - low] (Davison & Hinkley 1997, section
    5.2).

    For what noise raises: the draws carry the noise twice and lie above the value as the value lies
    above the truth. A bias-corrected percentile interval cannot mend that where all draws lie above
    the value.

    Parameters
    ----------
    value : float
        v, on the queries themselves.
    draws : ndarray [B]
        Their percentiles are low and high; NaN is left out and counted.
    power : 1 or 2
        The scale on which noise adds: 2 reflects squares, for a metric >= 0; ends below 0 are cut
        to 0.
    """
    ends = percentile_interval(draws, level)
    low, high = (2 * value**power - end**power for end in (ends.high, ends.low))
    if power == 2:
        low, high = np.sqrt(np.maximum((low, high), 0.0))
    return Interval(float(low), float(high), ends.undefined)


def interval_of(
    metric: str, value: float, draws: np.ndarray, level: float = 0.95, power: int | None = None
) -> Interval:
    """Interval of a metric (or of a paired difference of one) that holds its value; NaN where the
    value is NaN.

    Basic for ``metrics.DISTANCES``, whose draws lie above the value; percentile for all others. On
    simulated pools (``tests/test_stats.py``) the percentile interval of ECE and PDP-AUCCC never
    holds the truth, the basic one in 93 % and more. Of what is chosen in hindsight (best single
    target, gap closed, saving at its accuracy) the percentile interval holds it in 92 to 95 % and
    stays; the basic one of that saving would in 61 %.

    An end that does not reach the value is moved to it: the value of a distance can be all noise,
    and a metric that is defined on few split seeds only may be defined on others in a replicate.

    Parameters
    ----------
    power : int, optional
        That of ``basic_interval``; the metric's own by default. A difference has either sign: 1.
    """
    if np.isnan(value):
        return Interval(float("nan"), float("nan"), int(np.isnan(draws).sum()))
    ends = (
        basic_interval(value, draws, level, power or DISTANCES[metric])
        if metric in DISTANCES
        else percentile_interval(draws, level)
    )
    if np.isnan(ends.low):
        return ends
    return Interval(min(ends.low, float(value)), max(ends.high, float(value)), ends.undefined)


@dataclass(frozen=True)
class Interval:
    """Ends of an interval, and how many draws were undefined; iterates as (low, high)."""

    low: float
    high: float
    undefined: int

    def __iter__(self):
        return iter((self.low, self.high))


@dataclass(frozen=True, eq=False)
class SeedRun:
    """One method on the test queries of one split seed.

    Attributes
    ----------
    groups : ndarray [n]
        Group of each test query.
    metrics : callable
        Weights [B, n] -> dict of metric name to values [B].
    """

    groups: np.ndarray
    metrics: Metrics


def router_run(
    p,
    cost,
    correct,
    groups,
    overhead: float | np.ndarray = 0.0,
    target_names: Sequence[str] | None = None,
) -> SeedRun:
    """A router with P(correct) [n, K]: all of ``metrics.METRICS``.

    With ``target_names`` also auc, brier and ece of each target, under keys such as ``"auc@target
    name"``, which ``SeedAverages.table`` takes apart into its columns metric and target.
    """

    return SeedRun(
        np.asarray(groups),
        lambda weights: pool_metrics_boot(p, cost, correct, overhead, weights, target_names),
    )


def auc_run(p, correct, groups) -> SeedRun:
    """A router's mean_auc and disagreement_auc: what needs no cost and no choice."""
    return SeedRun(np.asarray(groups), lambda weights: auc_boot(p, correct, weights))


def point_run(chosen_cost, chosen_correct, cost, correct, groups) -> SeedRun:
    """A method that is one point (a single target, the oracle): cost and correctness [n] of its
    choice.
    """
    return SeedRun(
        np.asarray(groups),
        lambda weights: point_metrics_boot(chosen_cost, chosen_correct, cost, correct, weights),
    )


def zero_router_run(cost, correct, groups) -> SeedRun:
    """The zero router: random mixing of the single targets, see ``metrics.zero_router_boot``."""
    return SeedRun(np.asarray(groups), lambda weights: zero_router_boot(cost, correct, weights))


@dataclass(frozen=True, eq=False)
class SeedAverages:
    """Metrics of several methods, averaged over split seeds, with draws on shared resamples.

    Attributes
    ----------
    point : dict of (method, metric) to float
        Mean over the seeds on which the metric is defined.
    draws : dict of (method, metric) to ndarray [B]
        The same in every replicate; NaN where it is defined on no seed.
    seeds : dict of (method, metric) to int
        Number of seeds on which the point value is defined.
    undefined : dict of (method, metric) to float
        Share of (replicate, seed) pairs on which the metric is undefined.
    n : dict of method to int
        Test queries per seed (rounded mean over seeds).
    """

    point: dict[tuple[str, str], float]
    draws: dict[tuple[str, str], np.ndarray]
    seeds: dict[tuple[str, str], int]
    undefined: dict[tuple[str, str], float]
    n: dict[str, int]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """[method, target, metric, value, ci_low, ci_high, n, seeds, undefined]; target is "" for
        the pool.
        """
        rows = []
        for (method, metric), value in self.point.items():
            key = (method, metric)
            metric, _, target = metric.partition("@")
            low, high = interval_of(metric, value, self.draws[key], level)
            rows.append(
                (
                    method,
                    target,
                    metric,
                    value,
                    low,
                    high,
                    self.n[method],
                    self.seeds[key],
                    self.undefined[key],
                )
            )
        columns = [
            "method",
            "target",
            "metric",
            "value",
            "ci_low",
            "ci_high",
            "n",
            "seeds",
            "undefined",
        ]
        return pd.DataFrame(rows, columns=columns)

    def paired(self, method_a: str, method_b: str, level: float = 0.95) -> pd.DataFrame:
        """[method_a, method_b, metric, diff, ci_low, ci_high, n] for every metric that both methods
        have; diff = a - b.

        Where a metric is undefined on some seeds, the two averages may stand on different seeds:
        see ``seeds``.
        """
        unknown = [m for m in (method_a, method_b) if m not in self.n]
        if unknown:
            raise ValueError(
                f"unknown method {', '.join(unknown)}; known methods: {', '.join(self.n)}"
            )
        rows = []
        for method, metric in self.point:
            if method == method_a and (method_b, metric) in self.point:
                a, b = (method_a, metric), (method_b, metric)
                difference, draws = self.point[a] - self.point[b], self.draws[a] - self.draws[b]
                low, high = interval_of(metric.partition("@")[0], difference, draws, level, power=1)
                n = min(self.n[method_a], self.n[method_b])
                rows.append((method_a, method_b, metric, difference, low, high, n))
        return pd.DataFrame(
            rows, columns=["method_a", "method_b", "metric", "diff", "ci_low", "ci_high", "n"]
        )


def seed_averaged_intervals(
    methods: Mapping[str, Sequence[SeedRun]], n_boot: int, seed: int
) -> SeedAverages:
    """Bootstrap all metrics of all methods over groups, averaged over split seeds, on shared
    resamples.

    Parameters
    ----------
    methods : mapping of method name to its runs
        One ``SeedRun`` per split seed (see ``router_run``, ``point_run``, ``zero_router_run``). The
        groups that are resampled are those that occur in any run.
    n_boot : int
        Number of replicates B.
    seed : int

    Returns
    -------
    SeedAverages

    Raises
    ------
    ValueError
        If there is no method, or one without runs.
    """
    empty = [name for name, runs in methods.items() if len(runs) == 0]
    if not methods or empty:
        raise ValueError(
            "every method needs at least one run; without:"
            f" {', '.join(empty) or 'all, no method given'}"
        )
    universe, counts = _shared_counts(
        [run for runs in methods.values() for run in runs], n_boot, seed
    )
    of_queries: dict[bytes, np.ndarray] = {}  # methods on the same queries share their weights
    point, draws, seeds, undefined = {}, {}, {}, {}

    def weights(run: SeedRun) -> np.ndarray:
        group = np.searchsorted(universe, run.groups)
        key = group.tobytes()
        if key not in of_queries:
            of_queries[key] = counts[:, group]
        return of_queries[key]

    found = on_every_core(
        lambda run: run.metrics(weights(run)), ((run,) for runs in methods.values() for run in runs)
    )
    for name, runs in methods.items():
        values = [next(found) for _ in runs]
        for metric in values[0]:
            stacked = np.stack([v[metric] for v in values])  # [seeds, 1 + B]
            defined = ~np.isnan(stacked)
            with np.errstate(invalid="ignore"):
                average = np.nansum(stacked, axis=0) / defined.sum(axis=0)
            key = (name, metric)
            point[key], draws[key] = float(average[0]), average[1:]
            seeds[key] = int(defined[:, 0].sum())
            undefined[key] = float(1 - defined[:, 1:].mean()) if n_boot else 0.0
    n = {
        name: round(float(np.mean([len(run.groups) for run in runs])))
        for name, runs in methods.items()
    }
    return SeedAverages(point, draws, seeds, undefined, n)


def seed_averaged_curve(
    runs: Sequence[tuple],
    tolerances: Sequence[float] | np.ndarray,
    n_boot: int,
    seed: int,
    level: float = 0.95,
) -> pd.DataFrame:
    """A router's cost/accuracy curve on a grid of tolerances, averaged over split seeds, with
    intervals.

    Parameters
    ----------
    runs : sequence of (p, cost, correct, groups, overhead), one per split seed
        As in ``router_run``.
    tolerances : sequence of T floats >= 0
    n_boot, seed, level
        As in ``seed_averaged_intervals``; the same seed and groups give the same resamples.

    Returns
    -------
    DataFrame [tolerance, cost, accuracy, ci_low, ci_high], T rows
        The interval is that of the accuracy at the tolerance.
    """
    tolerances = np.asarray(tolerances, dtype=np.float64)
    steps = [
        SeedRun(np.asarray(groups), curve_steps(p, c, y, over).evaluate)
        for p, c, y, groups, over in runs
    ]
    universe, counts = _shared_counts(steps, n_boot, seed)
    costs, accuracies = [], []
    for run in steps:
        cost, accuracy = run.metrics(counts[:, np.searchsorted(universe, run.groups)], tolerances)
        costs.append(cost[0])
        accuracies.append(accuracy)
    accuracy = np.mean(accuracies, axis=0)
    ends = [percentile_interval(accuracy[1:, t], level) for t in range(len(tolerances))]
    return pd.DataFrame(
        {
            "tolerance": tolerances,
            "cost": np.mean(costs, axis=0),
            "accuracy": accuracy[0],
            "ci_low": [end.low for end in ends],
            "ci_high": [end.high for end in ends],
        }
    )


def _shared_counts(
    runs: Sequence[SeedRun], n_boot: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted universe of groups [G] and their multiplicities [1 + B, G].

    The first row, all ones, is the point value: one call, one implementation for it and the draws.
    """
    universe = np.unique(np.concatenate([run.groups for run in runs]))
    draws = _multiplicities(len(universe), n_boot, seed)
    return universe, np.vstack([np.ones(len(universe)), draws])


def _multiplicities(n_groups: int, n_boot: int, seed: int) -> np.ndarray:
    if n_groups == 0:  # a benchmark without a test query: nothing to draw, every metric is NaN
        return np.zeros((n_boot, 0))
    return np.random.default_rng(seed).multinomial(
        n_groups, np.full(n_groups, 1 / n_groups), size=n_boot
    )
