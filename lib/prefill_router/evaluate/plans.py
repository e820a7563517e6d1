"""Plans: operating points that keep a promise about accuracy, chosen before the test rows are seen.

A plan is a routing rule with its evidence. The promise "at most epsilon below the best single
target, with confidence 1 - delta" is tested by fixed-sequence testing (Angelopoulos et al., Learn
then Test, arXiv 2110.01052): candidates are walked in an order that looks at P and cost alone, from
the most accurate by construction to the cheapest, each tested at delta; the walk stops at the first
that fails, and the error of all of them together is at most delta. Of those that passed, the
cheapest is taken; the best single target itself always passes.

The outcomes that a plan is tested on must be none that P was trained on: out-of-fold P of all
labelled rows, see `heads.out_of_fold`. They come from routers of fewer rows than the final one, so
that the promise is approximate and rather too careful; `promises` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefill_router.evaluate.certify import group_sums, lower_bounds
from prefill_router.evaluate.rules import Rule, within_budget
from prefill_router.evaluate.walk import Evidence, certified, walk

DELTA = 0.05
FALSE_ALARMS = 0.01  # of the test for prompts unlike the training, which comes before the plan
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
NO_LOSS, ONE_POINT, BUDGET, MARGIN = "no_loss", "one_point", "budget", "margin"
"""Names of plans: at most 0 and at most 1 point below the best single target; the most accurate at
its cost; the best single target, left where another one is better by a margin."""
EPSILONS = {NO_LOSS: 0.0, ONE_POINT: 0.01}


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

    Where that is less accurate on the labelled queries than the best single target, and this one
    keeps to the budget too, it is the best single target.

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
    group, sizes = evidence.grouped
    target = np.full(len(rows), best) if rule is None else rule.choose(evidence.p, evidence.cost)
    right = evidence.correct[rows, target]
    own = 0.0 if rule is None else float(evidence.overhead.mean())
    if bound is None:
        gain = (right - evidence.correct[:, best])[:, None]
        bound = float(lower_bounds(group_sums(gain, group, len(sizes)), sizes, delta)[0, 0])
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
        len(sizes),
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
