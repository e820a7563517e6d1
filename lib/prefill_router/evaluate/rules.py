"""Routing rules: from P(correct) and expected cost of K targets to the target that is asked.

- *tolerance* (LLM Router, arXiv 2603.20895): the cheapest target with P >= P_max - tolerance.
- *utility*: the target with the largest P - price x cost. The price of a unit of cost, in
  probability, is the Lagrange multiplier of "the highest accuracy at a mean cost", so that this
  rule is optimal for every trade-off where P is calibrated; it sees how much a target costs, which
  the tolerance does not.
- *margin*: leave a given target only where another one's utility is larger by more than a margin.
- *budget*: the utility rule at the smallest price whose mean expected cost keeps to a budget.

Each moves every query to cheaper targets as its value grows. `tolerance_path` and `utility_path`
are these moves: what `curves.curve_steps` draws a curve of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

GAP_DECIMALS = 12

RuleKind = Literal["tolerance", "utility"]


@dataclass(frozen=True)
class Rule:
    """A routing rule.

    Attributes
    ----------
    kind : {"tolerance", "utility"}
    value : float >= 0
        The tolerance, in probability; or the price of a unit of cost, in probability.
    margin : float >= 0
        The stay-at target is left only for a utility (with "tolerance": a P) larger by more than
        this.
    stay : int, optional
        Index of that target; None: there is none, and no margin.
    """

    kind: RuleKind = "utility"
    value: float = 0.0
    margin: float = 0.0
    stay: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("tolerance", "utility"):
            raise ValueError(f"a rule is of kind tolerance or utility, not {self.kind!r}")
        for name in ("value", "margin"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be a number >= 0, not {getattr(self, name)!r}")
        if self.margin and self.stay is None:
            raise ValueError("a margin needs the target that is left: give its index as stay")

    def choose(self, p: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """The target of each query: int [n], from P(correct) and expected cost, both [n, K].

        Raises
        ------
        ValueError
            Shapes that disagree, or values that are missing or infinite.
        """
        if self.kind == "tolerance":
            chosen, price = route(p, cost, self.value), 0.0
        else:
            chosen, price = _at(*utility_path(p, cost), self.value), self.value
        if self.stay is None or not self.margin:
            return chosen
        utility = np.asarray(p) - price * np.asarray(cost)
        gain = utility[np.arange(len(chosen)), chosen] - utility[:, self.stay]
        return np.where(gain > self.margin, chosen, self.stay)


def within_budget(rule: Rule, p: np.ndarray, cost: np.ndarray, budget: float) -> Rule:
    """The utility rule with the smallest price whose mean expected cost on these queries is at most
    a budget.

    Parameters
    ----------
    rule : Rule
        Of kind "utility", without a margin; its value is replaced.
    p, cost : ndarray [n, K]
    budget : float
        In the unit of ``cost``, a query.

    Raises
    ------
    ValueError
        The cheapest targets cost more than the budget.
    """
    chosen, price = utility_path(p, cost)
    cost = np.asarray(cost, dtype=np.float64)
    paid = np.take_along_axis(cost, chosen, axis=1)
    if paid[:, -1].mean() > budget:
        raise ValueError(
            f"a budget of {budget:g} a query is below {paid[:, -1].mean():g}, what the cheapest"
            " targets cost"
        )
    query, step = np.nonzero(np.isfinite(price[:, 1:]))
    order = np.argsort(price[query, step + 1], kind="stable")
    query, step = query[order], step[order]
    saved = np.append(0.0, np.cumsum(paid[query, step] - paid[query, step + 1])) / len(paid)
    left = paid[:, 0].mean() - saved
    left[-1] = paid[:, -1].mean()  # known without the rounding of the running sum
    enough = np.flatnonzero(left <= budget * (1 + 1e-12))[0]
    at = price[query, step + 1]
    return replace(rule, kind="utility", value=float(at[enough - 1]) if enough else 0.0)


def tolerance_path(p: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The targets to which a growing tolerance sends each query.

    Parameters
    ----------
    p, cost : ndarray [n, K]

    Returns
    -------
    chosen : int ndarray [n, K]
        Target after each step; the first is that of tolerance 0.
    at : ndarray [n, K]
        The tolerance at which it is reached, ascending, the first 0.
    """
    gaps, preference = gaps_to_best(p), preference_order(p, cost)
    # As the tolerance grows, targets become acceptable in order of their gap; the choice is the
    # best one so far.
    order = np.argsort(gaps, axis=1, kind="stable")
    best = np.minimum.accumulate(np.take_along_axis(preference, order, axis=1), axis=1)
    chosen = np.take_along_axis(np.argsort(preference, axis=1), best, axis=1)
    at = np.take_along_axis(gaps, order, axis=1)
    # Where targets share the largest P, all of them are acceptable at once.
    last_of_equals = (at == 0).sum(axis=1) - 1
    first = chosen[np.arange(len(p)), last_of_equals]
    return np.where(at == 0, first[:, None], chosen), at


def utility_path(p: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The targets to which a growing price of cost sends each query: its upper concave hull of P
    over cost, from the highest P down.

    Parameters and result are those of :func:`tolerance_path`, with the price, in probability per
    unit of cost, in place of the tolerance; it is infinite where no cheaper target is left. At the
    very price at which two targets are worth the same, the cheaper is chosen.
    """
    p, cost = finite_array("p", p), finite_array("cost", cost, np.shape(p))
    n, k = p.shape
    rows = np.arange(n)
    now = route(p, cost, 0.0)
    chosen, at = np.empty((n, k), np.intp), np.full((n, k), np.inf)
    chosen[:, 0], at[:, 0] = now, 0.0
    for step in range(1, k):
        dearer = cost[rows, now][:, None] - cost
        with np.errstate(divide="ignore", invalid="ignore"):
            price = np.where(dearer > 0, (p[rows, now][:, None] - p) / dearer, np.inf)
        least = price.min(axis=1)
        # of targets on one straight edge the cheapest; rounding must not order them
        on_edge = price <= (least * (1 + 1e-9))[:, None]
        cheapest = np.where(on_edge & (dearer > 0), cost, np.inf).argmin(axis=1)
        moves = np.isfinite(least)
        now = np.where(moves, cheapest, now)
        chosen[:, step] = now
        at[:, step] = np.where(moves, np.maximum(least, at[:, step - 1]), np.inf)
    return chosen, at


def _at(chosen: np.ndarray, at: np.ndarray, value: float) -> np.ndarray:
    """The target [n] that a path has reached at a value."""
    steps = (at <= value).sum(axis=1) - 1
    return chosen[np.arange(len(chosen)), steps]


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
    p, cost = finite_array("p", p), finite_array("cost", cost, np.shape(p))
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a number >= 0, not {tolerance!r}")
    acceptable = gaps_to_best(p) <= np.round(tolerance, GAP_DECIMALS)
    return np.argmin(np.where(acceptable, preference_order(p, cost), p.shape[1]), axis=1)


def gaps_to_best(p: np.ndarray) -> np.ndarray:
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] == 0:
        raise ValueError(
            f"p must be [queries, targets] with at least one of each, not of shape {p.shape}"
        )
    return np.round(p.max(axis=1, keepdims=True) - p, GAP_DECIMALS)


def preference_order(p: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Rank [n, K] of each target when all are acceptable: cheaper, then higher P, then lower index;
    0 is preferred.
    """
    order = np.lexsort((-p, cost), axis=1)  # stable, so equal pairs keep their index order
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(p.shape[1]), p.shape), axis=1)
    return rank


def finite_array(
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
