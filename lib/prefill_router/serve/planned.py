"""Plans of a router with their evidence, and the rule by which a request is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from prefill_router.evaluate.plans import NO_LOSS, Plan, plans
from prefill_router.evaluate.rules import Rule
from prefill_router.evaluate.walk import Evidence, walk
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.fit import FitSettings, Fitted
from prefill_router.heads.out_of_fold import out_of_fold
from prefill_router.serve.routed import RoutedTarget, RouterError, expected_cost


@dataclass(frozen=True)
class Decision:
    """How a request is decided.

    Attributes
    ----------
    rule : Rule or None
        None: always the best single target.
    best : str
        Name of that target; "" where no plan is followed.
    plan : str or None
        Name of the plan, if one is followed.
    false_alarms : float
        Prompts with a smaller familiarity go to the fallback.
    """

    rule: Rule | None
    best: str = ""
    plan: str | None = None
    false_alarms: float = 0.0

    def choose(self, names: Sequence[str], p: np.ndarray, cost: np.ndarray) -> str:
        """The target among those of these names, from their P(correct) and expected cost [K].

        Where a plan asks for the best single target and it is not among them, the most probable.
        """
        if self.rule is None and self.best in names:
            return self.best
        return names[int((self.rule or Rule()).choose(p[None], cost[None])[0])]


@dataclass(frozen=True)
class Plans:
    """The plans of a router.

    Attributes
    ----------
    by_name : dict of str to Plan
        Empty for a router without labelled queries of its own, such as one of an older file.
    points : tuple of (price, mean cost, accuracy)
        Of the utility rule on the labelled queries, by falling cost: what a budget buys.
    names : tuple of K str
        The targets that `Plan.best` counts.
    """

    by_name: Mapping[str, Plan] = field(default_factory=dict)
    points: tuple[tuple[float, float, float], ...] = ()
    names: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """Name of the best single target on the labelled queries; "" without plans."""
        return self.names[self.by_name[NO_LOSS].best] if self.by_name else ""

    def decision(
        self,
        tolerance: float | None = None,
        plan: str | None = None,
        budget: float | None = None,
        false_alarms: float = 0.0,
    ) -> Decision:
        """How to decide, by at most one of the first three; by default the plan without a loss, or,
        where there are no plans, tolerance 0.

        Raises
        ------
        RouterError
            More than one is given, a number makes no sense, there is no such plan.
        """
        if not 0 <= false_alarms < 1:
            raise RouterError(f"false_alarms must lie in [0, 1), not {false_alarms!r}")
        return replace(self._decision(tolerance, plan, budget), false_alarms=false_alarms)

    def _decision(
        self, tolerance: float | None, plan: str | None, budget: float | None
    ) -> Decision:
        given = {"tolerance": tolerance, "plan": plan, "budget": budget}
        if len(said := [name for name, value in given.items() if value is not None]) > 1:
            raise RouterError(f"give one of tolerance, plan and budget, not {' and '.join(said)}")
        if tolerance is not None:
            if not tolerance >= 0:
                raise RouterError(f"tolerance must be a number >= 0, not {tolerance!r}")
            return Decision(Rule("tolerance", tolerance))
        if budget is not None:
            return self._within(budget)
        if plan is None and not self.by_name:
            return Decision(Rule("tolerance", 0.0))
        name = plan or NO_LOSS
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "none: train it again"
            raise RouterError(f"the router has no plan {name!r}; it has {known}")
        found = self.by_name[name]
        return Decision(found.rule, self.names[found.best], name)

    def _within(self, budget: float) -> Decision:
        """As `evaluate.plans.at_budget` has it: by utility, or the best single target where the
        budget pays for it and it is more accurate.
        """
        affordable = [(price, right) for price, cost, right in self.points if cost <= budget]
        alone = self.by_name.get(NO_LOSS)
        if (
            alone is not None
            and alone.best_cost <= budget
            and (not affordable or affordable[0][1] < alone.best_accuracy)
        ):
            return Decision(None, self.best)
        if not affordable:
            least = f"{self.points[-1][1]:g}, the least it knows" if self.points else "any: no plan"
            raise RouterError(
                f"a budget of {budget!r} a query is below {least}; raise it, or train the router"
                " again with labelled queries"
            )
        return Decision(Rule("utility", affordable[0][0]))

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``router.json``."""
        return {
            "by_name": {name: asdict(plan) for name, plan in self.by_name.items()},
            "points": [list(point) for point in self.points],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any] | None, names: Sequence[str]) -> Plans:
        """What :meth:`as_json` gave; no plans for a file without them."""
        if not kept:
            return cls(names=tuple(names))
        by_name = {
            name: Plan(**{**plan, "rule": Rule(**plan["rule"]) if plan["rule"] else None})
            for name, plan in kept["by_name"].items()
        }
        points = tuple((float(p), float(c), float(a)) for p, c, a in kept["points"])
        return cls(by_name, points, tuple(names))


def plans_of(
    fitted: Fitted,
    queries: LabelledQueries,
    correct: np.ndarray,
    targets: Sequence[RoutedTarget],
    tokens: np.ndarray,
    settings: FitSettings,
    seed: int,
) -> Plans:
    """Plans from the queries that a router was trained on, by out-of-fold P(correct). What reading
    a query costs is not in them: a router knows its targets' costs alone.

    Parameters
    ----------
    fitted, queries, settings, seed
        As in `heads.out_of_fold.out_of_fold`.
    correct : ndarray [n, K]
        Outcomes of the targets that are routed to; queries with a missing one say nothing here.
    targets : what the router knows of them
    tokens : ndarray [n]
        Encoder tokens of the queries. Seven parameters: what a router is, and what it was made of.
    """
    rows, p = out_of_fold(fitted, queries, settings, seed)
    complete = ~np.isnan(correct[rows]).any(axis=1)
    rows, names = rows[complete], tuple(target.name for target in targets)
    if len(np.unique(queries.groups[rows])) < 2:
        return Plans(names=names)
    evidence = Evidence(
        p[complete],
        expected_cost(targets, tokens[rows]),
        correct[rows],
        queries.groups[rows],
        np.zeros(len(rows)),
    )
    walked = walk(evidence)
    points = zip(*(x.tolist() for x in (walked.prices, walked.cost, walked.accuracy)), strict=True)
    return Plans(plans(evidence), tuple(points), names)
