"""Bootstrap over groups on shared resamples, averaged over split seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.evaluate.curves import curve_steps
from prefill_router.evaluate.intervals import interval_of, percentile_interval
from prefill_router.evaluate.keys import Method, Metric, MetricValues, OfTarget, metric_and_target
from prefill_router.evaluate.rules import RuleKind
from prefill_router.evaluate.runs import SeedRun
from prefill_router.hardware import on_every_core

Key = tuple[Method, Metric]

# Multiplicities that are held at a time; of up to some ten thousand groups all of a thousand.
ENTRIES = 20_000_000


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

    point: dict[Key, float]
    draws: dict[Key, np.ndarray]
    seeds: dict[Key, int]
    undefined: dict[Key, float]
    n: dict[Method, int]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """[method, target, metric, value, ci_low, ci_high, n, seeds, undefined]; target is "" for
        the pool.
        """
        rows = []
        for (method, metric), value in self.point.items():
            key = (method, metric)
            name, target = metric_and_target(metric)
            low, high = interval_of(name, value, self.draws[key], level)
            rows.append(
                (
                    method,
                    target,
                    name,
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

    def paired(self, method_a: Method, method_b: Method, level: float = 0.95) -> pd.DataFrame:
        """[method_a, method_b, metric, diff, ci_low, ci_high, n] for every metric of the pool that
        both methods have; diff = a - b.

        Where a metric is undefined on some seeds, the two averages may stand on different seeds:
        see ``seeds``.
        """
        unknown = [m for m in (method_a, method_b) if m not in self.n]
        if unknown:
            names, known = (", ".join(map(str, of)) for of in (unknown, self.n))
            raise ValueError(f"unknown method {names}; known methods: {known}")
        rows = []
        for method, metric in self.point:
            if isinstance(metric, OfTarget):
                continue
            if method == method_a and (method_b, metric) in self.point:
                a, b = (method_a, metric), (method_b, metric)
                difference, draws = self.point[a] - self.point[b], self.draws[a] - self.draws[b]
                low, high = interval_of(metric, difference, draws, level, power=1)
                n = min(self.n[method_a], self.n[method_b])
                rows.append((method_a, method_b, metric, difference, low, high, n))
        return pd.DataFrame(
            rows, columns=["method_a", "method_b", "metric", "diff", "ci_low", "ci_high", "n"]
        )


def seed_averaged_intervals(
    methods: Mapping[str, Sequence[SeedRun]] | Mapping[Method, Sequence[SeedRun]],
    n_boot: int,
    seed: int,
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
            f" {', '.join(map(str, empty)) or 'all, no method given'}"
        )
    universe = np.unique(np.concatenate([run.groups for runs in methods.values() for run in runs]))
    parts = [
        _metrics(methods, universe, counts) for counts in count_blocks(len(universe), n_boot, seed)
    ]
    point: dict[Key, float] = {}
    draws: dict[Key, np.ndarray] = {}
    seeds: dict[Key, int] = {}
    undefined: dict[Key, float] = {}
    for name in methods:
        for metric in parts[0][name][0]:
            # [seeds, 1 + B]
            stacked = np.hstack([[of_run[metric] for of_run in part[name]] for part in parts])
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


def _metrics(
    methods: Mapping[Any, Sequence[SeedRun]], universe: np.ndarray, counts: np.ndarray
) -> dict[Any, list[MetricValues]]:
    """Metrics [b] of every run of every method on some resamples [b, G]."""
    of_queries: dict[bytes, np.ndarray] = {}  # methods on the same queries share their weights

    def weights(run: SeedRun) -> np.ndarray:
        group = np.searchsorted(universe, run.groups)
        key = group.tobytes()
        if key not in of_queries:
            of_queries[key] = counts[:, group]
        return of_queries[key]

    found = on_every_core(
        lambda run: run.metrics(weights(run)), ((run,) for runs in methods.values() for run in runs)
    )
    return {name: [next(found) for _ in runs] for name, runs in methods.items()}


def seed_averaged_curve(
    runs: Sequence[tuple],
    tolerances: Sequence[float] | np.ndarray,
    n_boot: int,
    seed: int,
    level: float = 0.95,
    rule: RuleKind = "tolerance",
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
    rule : {"tolerance", "utility"}
        Whose values the tolerances are.

    Returns
    -------
    DataFrame [tolerance, cost, accuracy, ci_low, ci_high], T rows
        The interval is that of the accuracy at the tolerance.
    """
    tolerances = np.asarray(tolerances, dtype=np.float64)
    universe = np.unique(np.concatenate([groups for *_, groups, _ in runs]))
    costs, accuracies = [], []
    for p, cost, correct, groups, overhead in runs:
        steps, at = curve_steps(p, cost, correct, overhead, rule), np.searchsorted(universe, groups)
        blocks = count_blocks(len(universe), n_boot, seed)
        found = [steps.evaluate(counts[:, at], tolerances) for counts in blocks]
        costs.append(found[0][0][0])
        accuracies.append(np.vstack([of_block for _, of_block in found]))
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


def count_blocks(n_groups: int, n_boot: int, seed: int) -> Iterator[np.ndarray]:
    """Multiplicities of each of G groups when G are drawn with replacement: float64 [1 + B, G], in
    blocks of replicates of at most ``ENTRIES`` numbers.

    The first row, all ones, is the point value: one call, one implementation for it and the draws.
    The draws do not depend on the blocks.
    """
    rng, first = np.random.default_rng(seed), np.ones((1, n_groups))
    size, left = max(ENTRIES // max(n_groups, 1), 1), n_boot
    while True:
        count = min(size, left)
        left -= count
        yield np.vstack([first, _multiplicities(rng, n_groups, count)])
        if not left:
            return
        first = np.ones((0, n_groups))


def _multiplicities(rng: np.random.Generator, n_groups: int, count: int) -> np.ndarray:
    if n_groups == 0:  # a benchmark without a test query: nothing to draw, every metric is NaN
        return np.zeros((count, 0))
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=count)
