"""What the explorer shows: a method's curve by one rule, at prices that may differ from today's.

The positions of its slider are values of the rule that are about evenly spaced in mean expected
cost on labelled queries, by out-of-fold P: neither they nor where the slider starts depend on a
test row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, evidence_of
from prefill_router.evaluate.resampling import seed_averaged_curve
from prefill_router.evaluate.rules import RuleKind, tolerance_path, utility_path
from prefill_router.evaluate.walk import spaced_values

STOPS = 60
Factors = Mapping[str, float]
"""Factors on today's price of targets; 1 where one is not named."""


@dataclass(frozen=True, eq=False)
class Explored:
    """A method on the test rows of a pool, averaged over splits.

    Attributes
    ----------
    curve : DataFrame[value, weight, cost, accuracy, ci_low, ci_high]
        T positions of the slider, from the dearest to the cheapest. ``value`` is the rule's;
        ``weight`` is it times the mean cost of the best single target's answer, what such an answer
        costs in probability (the utility rule), or the value itself (the tolerance rule). Costs are
        the expected ones, a query, the router's own included.
    share : DataFrame [T, K]
        Of the queries that each target answers; rows sum to 1.
    """

    curve: pd.DataFrame
    share: pd.DataFrame


def factors_of(pool: Pool, factors: Factors) -> np.ndarray:
    """Factors on the prices of all targets [K].

    Raises
    ------
    ValueError
        A factor that is negative or of no target of the pool.
    """
    names = pool.outcomes.target_names
    for target, factor in factors.items():
        if target not in names or not factor >= 0:
            raise ValueError(
                f"prices: {target!r}: {factor!r}; name a priced target ({', '.join(names)}) and a"
                " factor >= 0"
            )
    return np.array([factors.get(name, 1.0) for name in names])


def usual_best(pool: Pool) -> int:
    """The target that is the best single one on the labelled rows of most splits; of equals the
    first.
    """
    return int(np.bincount([pool.best_single(seed) for seed in pool.splits]).argmax())


def stops(
    pool: Pool, method: CrossFitted, rule: RuleKind, factors: Factors, count: int = STOPS
) -> tuple[np.ndarray, np.ndarray]:
    """Values of a rule [T], ascending, about evenly spaced in mean expected cost on the labelled
    rows of all splits, and that cost [T] at them, without the router's own.
    """
    each, paths = factors_of(pool, factors), []
    for seed in pool.splits:
        evidence = evidence_of(pool, method, seed)
        cost = evidence.cost * each
        chosen, at = _path(rule, evidence.p, cost)
        paths.append((np.take_along_axis(cost, chosen, axis=1), at))
    paid, at = (np.concatenate(of) for of in zip(*paths, strict=True))
    values = spaced_values(paid, at, count)
    return values, np.array([paid[_at(at, value)].mean() for value in values])


def _path(rule: RuleKind, p: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (tolerance_path if rule == "tolerance" else utility_path)(p, cost)


def _at(at: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Where in a path [n, K] each query stands at a value of the rule."""
    return np.arange(len(at)), (at <= value).sum(axis=1) - 1


def explored(
    pool: Pool,
    method: CrossFitted,
    rule: RuleKind,
    values: np.ndarray,
    factors: Factors,
    n_boot: int,
) -> Explored:
    """A method's curve at some values of a rule, with 95 % intervals over groups."""
    each, runs, shares = factors_of(pool, factors), [], []
    names, best = pool.outcomes.target_names, usual_best(pool)
    for seed, split in pool.splits.items():
        test = split.test
        p, of_test = method.p[seed][test][:, pool.columns], pool.cost[seed][test] * each
        correct = pool.outcomes.correct[test]
        runs.append((p, of_test, correct, pool.groups[test], method.overhead[test]))
        chosen, at = _path(rule, p, of_test)
        counts = [np.bincount(chosen[_at(at, v)], minlength=len(names)) for v in values]
        shares.append(np.array(counts) / len(test))
    curve = seed_averaged_curve(runs, values, n_boot, seed=0, rule=rule)
    curve = curve.rename(columns={"tolerance": "value"})
    answer = np.mean([of_test[:, best].mean() for _, of_test, *_ in runs])
    weight = curve["value"] * answer if rule == "utility" else curve["value"]
    curve.insert(1, "weight", weight)
    return Explored(curve, pd.DataFrame(np.mean(shares, axis=0), columns=names))


def singles(pool: Pool, factors: Factors, n_boot: int) -> pd.DataFrame:
    """Every single target on the test rows: [target, cost, accuracy, ci_low, ci_high]."""
    each, rows = factors_of(pool, factors), []
    for k, name in enumerate(pool.outcomes.target_names):
        runs = []
        for seed, split in pool.splits.items():
            test, one = split.test, np.zeros((len(split.test), 1))
            right = pool.outcomes.correct[test][:, [k]]
            cost = pool.cost[seed][test][:, [k]] * each[k]
            runs.append((one, cost, right, pool.groups[test], 0.0))
        rows.append(seed_averaged_curve(runs, [0.0], n_boot, seed=0).assign(target=name))
    return pd.concat(rows, ignore_index=True).drop(columns="tolerance")


def planned_price(plans: pd.DataFrame, pool: str, method: str, plan: str) -> float | None:
    """The price of cost that a plan asks for, in the median over splits; None where it asks the
    best single target on half of them or more.

    ``plans``: as ``plans.csv``.
    """
    rows = plans[(plans["pool"] == pool) & (plans["method"] == method) & (plans["plan"] == plan)]
    routes = rows["routes"].astype(bool)
    return None if routes.mean() <= 0.5 else float(rows.loc[routes, "price"].median())


def slider_stops(
    pool: Pool, method: CrossFitted, rule: RuleKind, factors: Factors, price: float | None
) -> tuple[np.ndarray, int]:
    """The values of the slider, and the position at which it starts.

    That is the planned ``price`` of the utility rule, which is then one of the values; by the
    tolerance rule the position whose mean cost on labelled rows is nearest to it; without a plan
    the first, the highest P.
    """
    values, paid = stops(pool, method, rule, factors)
    if price is None:
        return values, 0
    if rule == "utility":
        values = np.unique(np.append(values, price))
        return values, int(np.searchsorted(values, price))
    prices, at_price = stops(pool, method, "utility", factors)
    planned = at_price[np.searchsorted(prices, price, side="right") - 1]
    return values, int(np.abs(paid - planned).argmin())
