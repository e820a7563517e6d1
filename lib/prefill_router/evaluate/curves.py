"""The cost/accuracy curves that the rules of `rules` draw (n queries, K targets).

Of the tolerance rule only the gaps P_max - P_k matter, so its curve has a step at every observed
gap and is constant in between. Gaps and tolerances are compared after rounding both to 12
decimals: a target exactly at the tolerance is acceptable whatever the last bit of a subtraction
says (0.8 - 0.7 counts as 0.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefill_router.evaluate.rules import (
    GAP_DECIMALS,
    RuleKind,
    finite_array,
    gaps_to_best,
    tolerance_path,
    utility_path,
)

_BLOCK = (
    200_000  # changes of target looked at together: several such arrays fit in a processor's cache
)


@dataclass(frozen=True, eq=False)
class CurveSteps:
    """A router's cost/accuracy curve, kept as per-query changes so that it can be re-weighted
    quickly.

    Attributes
    ----------
    tolerance : float ndarray [T]
        Ascending, first 0: the tolerances at which some query changes its target.
    start_cost, start_correct : ndarray [n]
        Cost (router's own included) and correctness of each query at tolerance 0.
    query, delta_cost, delta_correct : ndarray [m]
        The changes, in order of tolerance: which query, and by how much its cost and correctness
        change.
    last : int ndarray [T]
        Number of changes that have happened at each tolerance.
    decimals : int or None
        To which tolerances are rounded before they are compared; None: not at all.
    """

    tolerance: np.ndarray
    start_cost: np.ndarray
    start_correct: np.ndarray
    query: np.ndarray
    delta_cost: np.ndarray
    delta_correct: np.ndarray
    last: np.ndarray
    decimals: int | None = GAP_DECIMALS

    def evaluate(
        self, weights: np.ndarray, tolerances: Sequence[float] | np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean cost and accuracy at every step.

        Parameters
        ----------
        weights : ndarray [B, n]
            One row per replicate, >= 0. A row of zeros gives NaN.
        tolerances : sequence of T floats, optional
            Evaluate at these instead of at ``self.tolerance``.

        Returns
        -------
        cost, accuracy : ndarray [B, T]
        """
        weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        last = self.last
        if tolerances is not None:
            if self.decimals is not None:
                tolerances = np.round(tolerances, self.decimals)
            at = np.searchsorted(self.tolerance, tolerances, side="right") - 1
            if (at < 0).any():
                raise ValueError("tolerances must be >= 0")
            last = last[at]
        cost, accuracy = (np.empty((len(weights), len(last))) for _ in range(2))
        block = max(1, _BLOCK // (len(self.query) + 1))
        for rows in (slice(i, i + block) for i in range(0, len(weights), block)):
            moved = weights[rows][:, self.query]
            total = weights[rows].sum(axis=1, keepdims=True)
            for curve, start, delta in (
                (cost, self.start_cost, self.delta_cost),
                (accuracy, self.start_correct, self.delta_correct),
            ):
                sums = np.zeros((len(moved), len(delta) + 1))
                np.cumsum(moved * delta, axis=1, out=sums[:, 1:])
                sums += (weights[rows] @ start)[:, None]
                with np.errstate(invalid="ignore"):
                    np.divide(sums[:, last], total, out=curve[rows])
        return cost, accuracy


def curve_steps(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray = 0.0,
    rule: RuleKind = "tolerance",
    paid: np.ndarray | None = None,
) -> CurveSteps:
    """Every change of target along the value of a rule, in O(nK log nK).

    Parameters
    ----------
    p, cost, correct : ndarray [n, K]
        P(correct), cost, correctness; all finite (leave out queries with a missing outcome first).
    overhead : float or ndarray [n]
        The router's own cost per query, in the unit of ``cost``; added, not routed on.
    rule : {"tolerance", "utility"}
        Whose value the tolerances are: see `rules`.
    paid : ndarray [n, K], optional
        What answers did cost, where that is not the ``cost`` that decides.
    """
    p, cost = finite_array("p", p), finite_array("cost", cost, np.shape(p))
    correct = finite_array("correct", correct, p.shape)
    n = len(p)
    overhead = np.broadcast_to(finite_array("overhead", overhead), (n,))
    paid = cost if paid is None else finite_array("paid", paid, p.shape)
    chosen, at = (tolerance_path if rule == "tolerance" else utility_path)(p, cost)
    query, step = np.nonzero((chosen[:, 1:] != chosen[:, :-1]) & np.isfinite(at[:, 1:]))
    in_order = np.argsort(at[query, step + 1], kind="stable")
    query, step = query[in_order], step[in_order]
    before, after, value = chosen[query, step], chosen[query, step + 1], at[query, step + 1]
    tolerance = np.unique(np.append(0.0, value))
    rows, first = np.arange(n), chosen[:, 0]
    return CurveSteps(
        tolerance=tolerance,
        start_cost=paid[rows, first] + overhead,
        start_correct=correct[rows, first],
        query=query,
        delta_cost=paid[query, after] - paid[query, before],
        delta_correct=correct[query, after] - correct[query, before],
        last=np.searchsorted(value, tolerance, side="right"),
        decimals=GAP_DECIMALS if rule == "tolerance" else None,
    )


def router_curve(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray = 0.0,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Mean cost and accuracy of ``route`` at every observed gap P_max - P_k, 0 included.

    Parameters
    ----------
    p, cost, correct, overhead
        See ``curve_steps``.
    weights : ndarray [n], optional
        Weight of each query; all 1 if not given.

    Returns
    -------
    DataFrame [tolerance, cost, accuracy]
        Ascending tolerance, hence descending cost.
    """
    steps = curve_steps(p, cost, correct, overhead)
    tolerance = np.unique(gaps_to_best(np.asarray(p, dtype=np.float64)))
    weights = (
        np.ones(len(steps.start_cost)) if weights is None else np.asarray(weights, dtype=np.float64)
    )
    mean_cost, accuracy = steps.evaluate(weights[None, :], tolerance)
    return pd.DataFrame({"tolerance": tolerance, "cost": mean_cost[0], "accuracy": accuracy[0]})


def pareto_front(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Indices of the points that no other point dominates, by ascending cost.

    A point is dominated if another costs no more and is at least as accurate, and differs in one of
    the two. Of points equal in both, the first is kept.
    """
    cost, accuracy = finite_array("cost", cost), finite_array("accuracy", accuracy, np.shape(cost))
    order = np.lexsort((-accuracy, cost))
    best_before = np.maximum.accumulate(np.append(-np.inf, accuracy[order]))[:-1]
    return order[accuracy[order] > best_before]


def convex_hull(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Indices of the upper convex hull from the cheapest to the most accurate point, by ascending
    cost.

    Over single targets this is the *zero router*: every point of the polyline is reached by sending
    queries at random to its two end points, without reading them. Points on a straight edge are
    left out.
    """
    cost, accuracy = np.asarray(cost, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    hull: list[int] = []
    for i in pareto_front(cost, accuracy):
        while len(hull) >= 2:
            a, b = hull[-2:]
            to_b, to_i = (
                (cost[b] - cost[a], accuracy[b] - accuracy[a]),
                (cost[i] - cost[a], accuracy[i] - accuracy[a]),
            )
            if (
                to_b[0] * to_i[1] - to_i[0] * to_b[1] < 0
            ):  # b lies strictly above the line from a to i
                break
            hull.pop()
        hull.append(int(i))
    return np.array(hull, dtype=np.intp)
