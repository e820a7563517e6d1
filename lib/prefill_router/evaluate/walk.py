"""Fixed-sequence testing: the candidates of a plan, and which of them it takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prefill_router.evaluate.certify import group_sums, lower_bounds
from prefill_router.evaluate.rules import utility_path

CANDIDATES = 100


@dataclass(frozen=True, eq=False)
class Evidence:
    """What plans are chosen on: n labelled queries and K targets.

    Attributes
    ----------
    p : ndarray [n, K]
        Out-of-fold P(correct).
    cost : ndarray [n, K]
        Expected cost.
    correct : ndarray [n, K]
        0, 1 or grades between; no NaN.
    groups : n labels
        Queries of one group are not independent.
    overhead : ndarray [n]
        What reading the query costs.
    """

    p: np.ndarray
    cost: np.ndarray
    correct: np.ndarray
    groups: np.ndarray
    overhead: np.ndarray

    @property
    def best(self) -> int:
        """Index of the best single target on these rows; of equals the first."""
        return int(self.correct.mean(axis=0).argmax())

    @cached_property
    def grouped(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of each query's group, int [n] from 0, and the groups' sizes, float [G]."""
        labels = np.asarray(self.groups).astype(str)
        _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        return group, sizes.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Walk:
    """Candidates in the order in which they are tested, on n queries in G groups.

    Attributes
    ----------
    prices : ndarray [T]
        Of the utility rule, ascending.
    accuracy, cost : ndarray [T]
        Means over the queries; the cost with the router's own.
    sums : ndarray [G, T]
        Summed correctness minus the best single target's.
    costs : ndarray [G, T]
        Summed cost.
    sizes : ndarray [G]
    """

    prices: np.ndarray
    accuracy: np.ndarray
    cost: np.ndarray
    sums: np.ndarray
    costs: np.ndarray
    sizes: np.ndarray


def walk(evidence: Evidence, best: int | None = None, candidates: int = CANDIDATES) -> Walk:
    """Prices of the utility rule that are about evenly spaced in mean expected cost, from 0 on.

    They depend on P and cost alone, not on outcomes, as fixed-sequence testing asks for.
    """
    best = evidence.best if best is None else best
    chosen, at = utility_path(evidence.p, evidence.cost)
    prices = spaced_values(np.take_along_axis(evidence.cost, chosen, axis=1), at, candidates)
    rows = np.arange(len(chosen))[:, None]
    steps = np.stack([(at <= price).sum(axis=1) - 1 for price in prices], axis=1)
    target = chosen[rows, steps]
    right, cost = evidence.correct[rows, target], evidence.cost[rows, target]
    cost = cost + evidence.overhead[:, None]
    group, sizes = evidence.grouped
    return Walk(
        prices,
        right.mean(axis=0),
        cost.mean(axis=0),
        group_sums(right - evidence.correct[:, [best]], group, len(sizes)),
        group_sums(cost, group, len(sizes)),
        sizes,
    )


def spaced_values(paid: np.ndarray, at: np.ndarray, candidates: int) -> np.ndarray:
    """Values of a rule at which the mean cost falls through evenly spaced levels.

    Parameters
    ----------
    paid : ndarray [n, K]
        Cost of the targets of a path.
    at : ndarray [n, K]
        The values at which they are reached, see `rules.utility_path`.
    candidates : int
        At most so many; the first is 0.
    """
    query, step = np.nonzero(np.isfinite(at[:, 1:]))
    saved, price = paid[query, step] - paid[query, step + 1], at[query, step + 1]
    order = np.argsort(price, kind="stable")
    total = np.cumsum(saved[order])
    if not len(total) or total[-1] <= 0:
        return np.zeros(1)
    levels = np.linspace(0, total[-1] * (1 - 1e-12), candidates)[1:]
    return np.unique(np.append(0.0, price[order][np.searchsorted(total, levels)]))


def certified(
    walked: Walk, epsilon: float, delta: float, best_cost: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The candidate that fixed-sequence testing takes, in each of B samples of the groups.

    Parameters
    ----------
    walked : Walk
    epsilon, delta : float
    best_cost : float
        Mean cost of the best single target.
    weights : ndarray [B, G], optional
        As in `certify.lower_bounds`.

    Returns
    -------
    chosen : int ndarray [B]
        Position in ``walked.prices``; -1: none passed, or none that passed is cheaper than the best
        single target (or costs the same, as where all are free, and wins more).
    bounds : ndarray [B, T]
    """
    bounds = lower_bounds(walked.sums, walked.sizes, delta, weights)
    passed = np.logical_and.accumulate(bounds >= -epsilon, axis=1)
    weights = np.ones((1, len(walked.sizes))) if weights is None else weights
    cost = weights @ walked.costs / (weights @ walked.sizes)[:, None]
    cost = np.where(passed, cost, np.inf)
    cheapest, rows = cost.argmin(axis=1), np.arange(len(cost))
    least, won = cost[rows, cheapest], (weights @ walked.sums)[rows, cheapest]
    better = (least < best_cost) | ((least == best_cost) & (won > 0))
    return np.where(better, cheapest, -1), bounds
