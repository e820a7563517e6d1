"""Plans: operating points that keep a promise about accuracy, chosen before the test rows are seen.

A plan is a routing rule with its evidence. The promise "at most epsilon below the best single
target, with confidence 1 - delta" is tested by fixed-sequence testing (Angelopoulos et al., Learn
then Test, arXiv 2110.01052): candidates are walked in an order that looks at P and cost alone, from
the most accurate by construction to the cheapest, each tested at delta; the walk stops at the first
that fails, and the error of all of them together is at most delta. Of those that passed, the
cheapest is taken; the best single target itself always passes.

The outcomes that a plan is tested on must be none that P was trained on: out-of-fold P of all
labelled rows, see `heads.out_of_fold`. They come from routers of fewer rows than the final one, so
that the promise is approximate and rather too careful; `promise_kept` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from prefill_router.evaluate.certify import group_sums, lower_bounds
from prefill_router.evaluate.rules import Rule, utility_path, within_budget

CANDIDATES = 100
DELTA = 0.05
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
NO_LOSS, ONE_POINT, BUDGET, MARGIN = "no_loss", "one_point", "budget", "margin"
"""Names of plans: at most 0 and at most 1 point below the best single target; the most accurate at
its cost; the best single target, left where another one is better by a margin."""
EPSILONS = {NO_LOSS: 0.0, ONE_POINT: 0.01}


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


@dataclass(frozen=True)
class Plan:
    """A routing rule, and what the labelled queries say about it.

    Attributes
    ----------
    name : str
    rule : Rule or None
        None: always ask the best single target.
    best : int
        Index of that target.
    epsilon, delta : float or None
        What was tested; None for plans without a test.
    bound : float
        Lower confidence bound of the accuracy minus the best single target's.
    accuracy, best_accuracy : float
        On the labelled queries, by out-of-fold P.
    cost, best_cost : float
        Mean expected cost of a query there, the router's own included.
    queries, groups : int
    """

    name: str
    rule: Rule | None
    best: int
    epsilon: float | None
    delta: float | None
    bound: float
    accuracy: float
    best_accuracy: float
    cost: float
    best_cost: float
    queries: int
    groups: int

    def choose(self, p: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """The target of each query: int [n]."""
        return np.full(len(p), self.best) if self.rule is None else self.rule.choose(p, cost)


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
    prices = _prices(np.take_along_axis(evidence.cost, chosen, axis=1), at, candidates)
    rows = np.arange(len(chosen))[:, None]
    steps = np.stack([(at <= price).sum(axis=1) - 1 for price in prices], axis=1)
    target = chosen[rows, steps]
    right, cost = evidence.correct[rows, target], evidence.cost[rows, target]
    cost = cost + evidence.overhead[:, None]
    names, group = np.unique(np.asarray(evidence.groups).astype(str), return_inverse=True)
    return Walk(
        prices,
        right.mean(axis=0),
        cost.mean(axis=0),
        group_sums(right - evidence.correct[:, [best]], group, len(names)),
        group_sums(cost, group, len(names)),
        np.bincount(group).astype(np.float64),
    )


def _prices(paid: np.ndarray, at: np.ndarray, candidates: int) -> np.ndarray:
    """Prices at which the mean cost falls through evenly spaced levels; paid, at [n, K]."""
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
        single target.
    bounds : ndarray [B, T]
    """
    bounds = lower_bounds(walked.sums, walked.sizes, delta, weights)
    passed = np.logical_and.accumulate(bounds >= -epsilon, axis=1)
    weights = np.ones((1, len(walked.sizes))) if weights is None else weights
    cost = weights @ walked.costs / (weights @ walked.sizes)[:, None]
    cost = np.where(passed, cost, np.inf)
    cheapest = cost.argmin(axis=1)
    cheaper = cost[np.arange(len(cost)), cheapest] < best_cost
    return np.where(cheaper, cheapest, -1), bounds


def plans(evidence: Evidence, delta: float = DELTA) -> dict[str, Plan]:
    """The plans of a router by name: `EPSILONS`, and the budget of the best single target's cost.

    Parameters
    ----------
    evidence : Evidence
    delta : float
        One minus the confidence.
    """
    walked, best = walk(evidence), evidence.best
    best_cost = float(evidence.cost[:, best].mean())
    found = {}
    for name, epsilon in EPSILONS.items():
        chosen, bounds = certified(walked, epsilon, delta, best_cost)
        rule = Rule("utility", float(walked.prices[chosen[0]])) if chosen[0] >= 0 else None
        bound = float(bounds[0, chosen[0]]) if rule else 0.0
        found[name] = _plan(name, rule, evidence, epsilon, delta, bound)
    found[BUDGET] = at_budget(evidence, best_cost, delta)
    return found


def at_budget(evidence: Evidence, budget: float, delta: float = DELTA) -> Plan:
    """The most accurate plan by construction whose mean expected cost keeps to a budget.

    Where that is clearly less accurate than the best single target, and this one keeps to the
    budget too, it is the best single target.

    Raises
    ------
    ValueError
        The cheapest targets cost more than the budget.
    """
    spent = budget - float(evidence.overhead.mean())
    best_alone = _plan(BUDGET, None, evidence, None, delta, 0.0)
    if best_alone.cost <= budget and evidence.cost.min(axis=1).mean() > spent:
        return best_alone  # after the router's own cost too little is left
    rule = within_budget(Rule(), evidence.p, evidence.cost, spent)
    plan = _plan(BUDGET, rule, evidence, None, delta, None)
    less_accurate = plan.accuracy < plan.best_accuracy
    return best_alone if less_accurate and best_alone.cost <= budget else plan


def _plan(
    name: str,
    rule: Rule | None,
    evidence: Evidence,
    epsilon: float | None,
    delta: float,
    bound: float | None,
) -> Plan:
    best, rows = evidence.best, np.arange(len(evidence.p))
    labels, group = np.unique(np.asarray(evidence.groups).astype(str), return_inverse=True)
    target = np.full(len(rows), best) if rule is None else rule.choose(evidence.p, evidence.cost)
    right = evidence.correct[rows, target]
    own = 0.0 if rule is None else float(evidence.overhead.mean())
    if bound is None:
        gain = (right - evidence.correct[:, best])[:, None]
        sums, sizes = group_sums(gain, group, len(labels)), np.bincount(group).astype(float)
        bound = float(lower_bounds(sums, sizes, delta)[0, 0])
    return Plan(
        name,
        rule,
        best,
        epsilon,
        delta,
        bound,
        float(right.mean()),
        float(evidence.correct[:, best].mean()),
        float(evidence.cost[rows, target].mean()) + own,
        float(evidence.cost[:, best].mean()),
        len(rows),
        len(labels),
    )


def most_accurate_margin(evidence: Evidence, margins: Sequence[float] = MARGINS) -> Plan:
    """The best single target, left only where another one's P is larger by a margin.

    The margin is that with the highest accuracy on the labelled queries, of equals the largest. No
    promise is tested.
    """
    best, found = evidence.best, None
    for margin in sorted(margins, reverse=True):
        rule = Rule("utility", 0.0, margin, best)
        plan = _plan(MARGIN, rule, evidence, None, DELTA, None)
        if found is None or plan.accuracy > found.accuracy:
            found = plan
    assert found is not None
    return found


@dataclass(frozen=True)
class Promise:
    """How a promise fared when plans were chosen again and again.

    Attributes
    ----------
    draws : int
    broken : int
        Draws whose plan is, on all queries, more than epsilon below the best single target.
    fallback : float
        Share of draws that take the best single target.
    saving : float
        Mean of 1 - cost / cost of the best single target, over the draws, on all queries.
    """

    draws: int
    broken: int
    fallback: float
    saving: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper and Pearson's interval of the probability that the promise is broken."""
        found = binomtest(self.broken, self.draws).proportion_ci(level, "exact")
        return float(found.low), float(found.high)


def promise_kept(
    evidence: Evidence, epsilon: float, delta: float, share: float, draws: int = 200, seed: int = 0
) -> Promise:
    """Take these queries for the population, draw labelled samples from it, choose a plan on each,
    and look whether it keeps its promise on the population.

    Parameters
    ----------
    evidence : Evidence
        All queries with a P that none of them was trained on.
    share : float
        Size of a sample, as a share of the groups; they are drawn with replacement.
    """
    walked, best = walk(evidence), evidence.best
    best_cost = float(evidence.cost[:, best].mean())
    n_groups = len(walked.sizes)
    size = max(2, round(share * n_groups))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(size, np.full(n_groups, 1 / n_groups), size=draws)
    chosen, _ = certified(walked, epsilon, delta, best_cost, weights.astype(np.float64))
    truth = walked.sums.sum(axis=0) / walked.sizes.sum()
    routed = chosen >= 0
    broken = routed & (truth[chosen] < -epsilon - 1e-12)
    saving = np.where(routed, 1 - walked.cost[chosen] / best_cost, 0.0) if best_cost else [np.nan]
    return Promise(draws, int(broken.sum()), float(1 - routed.mean()), float(np.mean(saving)))
