"""Routing: cost of a target, the tolerance policy, and the curves it draws (n queries, K targets).

The policy (LLM Router, arXiv 2603.20895): send a query to the *cheapest target with P >= P_max -
tolerance*. Only the gaps P_max - P_k matter, so the cost/accuracy curve has a step at every
observed gap and is constant in between. Gaps and tolerances are compared after rounding both to 12
decimals: a target exactly at the tolerance is acceptable whatever the last bit of a subtraction
says (0.8 - 0.7 counts as 0.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from prefill_router.outcomes import Outcomes, OutcomesError

COST_MODELS = ("median_output", "input_only", "realised")
_GAP_DECIMALS = 12
_BLOCK = (
    200_000  # changes of target looked at together: several such arrays fit in a processor's cache
)


def without_cost(outcomes: Outcomes, cost_model: str = "median_output") -> list[str]:
    """Names of the targets to which a cost model can give no cost: they have no price (or no
    realised cost).
    """
    if cost_model == "realised":
        unknown = np.isnan(outcomes.cost).all(axis=0)
    else:
        unknown = np.isnan([t.input_price for t in outcomes.targets])
        if cost_model == "median_output":
            unknown |= np.isnan([t.output_price for t in outcomes.targets])
            unknown &= ~outcomes.realised_only()
    return [name for name, missing in zip(outcomes.target_names, unknown, strict=True) if missing]


def priced(outcomes: Outcomes, cost_model: str = "median_output") -> Outcomes | None:
    """The targets that a cost model can give a cost, all queries; None if they are fewer than two:
    no pool.

    ``outcomes`` itself if every target has a cost.
    """
    unknown = without_cost(outcomes, cost_model)
    known = [name for name in outcomes.target_names if name not in unknown]
    if len(known) < 2:
        return None
    return outcomes.pool(known) if unknown else outcomes


def expected_cost(
    outcomes: Outcomes, train_rows: Sequence[int] | np.ndarray, cost_model: str = "median_output"
) -> np.ndarray:
    """Cost of each target on each query, as charged to a router.

    Parameters
    ----------
    outcomes : Outcomes
    train_rows : int positions or boolean mask [n]
        The medians come from these rows alone.
    cost_model : {"median_output", "input_only", "realised"}
        ``median_output`` (LLM Router, arXiv 2603.20895): input tokens x input price + the target's
        median training output tokens x output price; where only realised costs are known, their
        line over the input tokens (see ``cost_lines``). ``input_only``: the first term alone, as
        that paper's published serving code does; it has no cost for a target without an input
        price. ``realised``: ``outcomes.cost``, what the answer did cost (known only afterwards).

    Returns
    -------
    ndarray [n, K]
        In ``outcomes.cost_unit``; NaN where the tokens (or the realised cost) are missing.

    Raises
    ------
    OutcomesError
        On an unknown cost model, a target without a price, or one without any output token count
        (or, where it has no price, without any realised cost) on the training rows.
    """
    if cost_model != "realised":
        per_query, per_token = cost_lines(outcomes, train_rows, cost_model)
        # what does not depend on the tokens is known without them
        return per_query + np.where(per_token > 0, outcomes.input_tokens * per_token, 0.0)
    _check_known(outcomes, cost_model)
    return outcomes.cost.copy()


def cost_lines(
    outcomes: Outcomes, train_rows: Sequence[int] | np.ndarray, cost_model: str = "median_output"
) -> tuple[np.ndarray, np.ndarray]:
    """What ``expected_cost`` charges: a part per query and a part per input token of the target.

    A target with prices has the median training output tokens x output price per query and the
    input price per token. One with realised costs only has the straight line with the least squared
    error over its training answers, both parts >= 0: how long the answer will be is not known
    beforehand, how long the prompt is, is.

    Parameters
    ----------
    outcomes, train_rows
        As in ``expected_cost``.
    cost_model : {"median_output", "input_only"}

    Returns
    -------
    per_query, per_token : ndarray [K]
        In ``outcomes.cost_unit``.

    Raises
    ------
    OutcomesError
        See ``expected_cost``.
    """
    _check_known(outcomes, cost_model)
    per_query, per_token = (
        np.zeros(len(outcomes.targets)),
        np.array([t.input_price for t in outcomes.targets]),
    )
    if cost_model == "input_only":
        return per_query, per_token
    rows, realised_only = np.asarray(train_rows), outcomes.realised_only()
    for k, target in enumerate(outcomes.targets):
        seen = (outcomes.cost if realised_only[k] else outcomes.output_tokens)[rows, k]
        if np.isnan(seen).all():
            what = "realised cost" if realised_only[k] else "output_tokens"
            raise OutcomesError(
                f"{outcomes.name}: target {target.name!r} has no {what} on the training rows, so"
                " its cost is unknown; fill them in, drop the target, or use"
                " cost_model='input_only'"
            )
        if realised_only[k]:
            per_query[k], per_token[k] = _cost_line(outcomes.input_tokens[rows, k], seen)
        else:
            per_query[k] = np.nanmedian(seen) * target.output_price
    return per_query, per_token


def _cost_line(tokens: np.ndarray, cost: np.ndarray) -> tuple[float, float]:
    """Least-squares line of the mean cost over input tokens: (constant, slope), both >= 0; the mean
    alone where no tokens are counted.
    """
    both = ~np.isnan(tokens) & ~np.isnan(cost)
    mean = float(np.nanmean(cost))
    if mean == 0 or not tokens[both].any():
        return mean, 0.0
    # in units of their means: dollars are too small, and tokens too large, for the solver's
    # tolerance
    scale = tokens[both].mean()
    constant, slope = nnls(
        np.column_stack([np.ones(both.sum()), tokens[both] / scale]), cost[both] / mean
    )[0]
    return constant * mean, slope * mean / scale


def _check_known(outcomes: Outcomes, cost_model: str) -> None:
    """Refuse an unknown cost model, and targets to which it can give no cost."""
    if cost_model not in COST_MODELS:
        raise OutcomesError(f"unknown cost model {cost_model!r}; known: {', '.join(COST_MODELS)}")
    if unknown := without_cost(outcomes, cost_model):
        raise OutcomesError(
            f"{outcomes.name}: no price is known for {', '.join(unknown)}, so no cost under cost"
            f" model {cost_model!r}; leave the target out with routing.priced, or add its price"
        )


def route(p: np.ndarray, cost: np.ndarray, tolerance: float) -> np.ndarray:
    """Cheapest target with P >= P_max - tolerance, for each query.

    Parameters
    ----------
    p : ndarray [n, K]
        P(correct), finite.
    cost : ndarray [n, K]
        Expected cost, finite. Equal costs: the higher P wins, then the lower index.
    tolerance : float >= 0
        0 is the argmax of P (the cheaper one of equal maxima), infinity the cheapest target.

    Returns
    -------
    int ndarray [n]
    """
    p, cost = _finite("p", p), _finite("cost", cost, np.shape(p))
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a number >= 0, not {tolerance!r}")
    acceptable = _gaps(p) <= np.round(tolerance, _GAP_DECIMALS)
    return np.argmin(np.where(acceptable, _preference(p, cost), p.shape[1]), axis=1)


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
    """

    tolerance: np.ndarray
    start_cost: np.ndarray
    start_correct: np.ndarray
    query: np.ndarray
    delta_cost: np.ndarray
    delta_correct: np.ndarray
    last: np.ndarray

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
            at = (
                np.searchsorted(self.tolerance, np.round(tolerances, _GAP_DECIMALS), side="right")
                - 1
            )
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
    p: np.ndarray, cost: np.ndarray, correct: np.ndarray, overhead: float | np.ndarray = 0.0
) -> CurveSteps:
    """Every change of target along the tolerance, in O(nK log nK).

    Parameters
    ----------
    p, cost, correct : ndarray [n, K]
        P(correct), cost, correctness; all finite (leave out queries with a missing outcome first).
    overhead : float or ndarray [n]
        The router's own cost per query, in the unit of ``cost``; added, not routed on.
    """
    p, cost = _finite("p", p), _finite("cost", cost, np.shape(p))
    correct = _finite("correct", correct, p.shape)
    n = len(p)
    overhead = np.broadcast_to(_finite("overhead", overhead), (n,))
    gaps, preference = _gaps(p), _preference(p, cost)
    # As the tolerance grows, targets become acceptable in order of their gap; the choice is the
    # best one so
    # far.
    order = np.argsort(gaps, axis=1, kind="stable")
    best = np.minimum.accumulate(np.take_along_axis(preference, order, axis=1), axis=1)
    chosen = np.take_along_axis(np.argsort(preference, axis=1), best, axis=1)
    gap = np.take_along_axis(gaps, order, axis=1)
    # Where targets share the largest P, all of them are acceptable at once: begin after the last of
    # them.
    rows = np.arange(n)
    first = chosen[rows, (gap == 0).sum(axis=1) - 1]
    query, step = np.nonzero((chosen[:, 1:] != chosen[:, :-1]) & (gap[:, 1:] > 0))
    by_gap = np.argsort(gap[query, step + 1], kind="stable")
    query, step = query[by_gap], step[by_gap]
    before, after = chosen[query, step], chosen[query, step + 1]
    tolerance = np.unique(np.append(0.0, gap[query, step + 1]))
    return CurveSteps(
        tolerance=tolerance,
        start_cost=cost[rows, first] + overhead,
        start_correct=correct[rows, first],
        query=query,
        delta_cost=cost[query, after] - cost[query, before],
        delta_correct=correct[query, after] - correct[query, before],
        last=np.searchsorted(gap[query, step + 1], tolerance, side="right"),
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
    tolerance = np.unique(_gaps(np.asarray(p, dtype=np.float64)))
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
    cost, accuracy = _finite("cost", cost), _finite("accuracy", accuracy, np.shape(cost))
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


def _gaps(p: np.ndarray) -> np.ndarray:
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] == 0:
        raise ValueError(
            f"p must be [queries, targets] with at least one of each, not of shape {p.shape}"
        )
    return np.round(p.max(axis=1, keepdims=True) - p, _GAP_DECIMALS)


def _preference(p: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Rank [n, K] of each target when all are acceptable: cheaper, then higher P, then lower index;
    0 is preferred.
    """
    order = np.lexsort((-p, cost), axis=1)  # stable, so equal pairs keep their index order
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(p.shape[1]), p.shape), axis=1)
    return rank


def _finite(
    what: str, values: np.ndarray | float, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """``values`` as float64, of the expected shape and without NaN or infinity."""
    values = np.asarray(values, dtype=np.float64)
    if shape is not None and values.shape != shape:
        raise ValueError(f"{what} has shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        rows = np.unique(np.argwhere(~np.isfinite(values))[:, 0]) if values.ndim else np.array([0])
        raise ValueError(
            f"{what} is missing or infinite on {rows.size} queries (first: row {rows[0]}); routing"
            " needs complete rows, take outcomes.subset(outcomes.complete_rows())"
        )
    return values
