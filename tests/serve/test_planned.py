"""The plans of a router: what decides a request, what is kept, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT, Plan
from prefill_router.evaluate.rules import Rule
from prefill_router.serve.planned import Plans
from prefill_router.serve.routed import RouterError

NAMES = ("small", "large")
NUMBERS = (0.05, 0.002, 0.8, 0.79, 2.0, 10.0, 500, 480)


@pytest.fixture
def plans():
    return Plans(
        {
            NO_LOSS: Plan(NO_LOSS, None, 1, 0.0, *NUMBERS),
            ONE_POINT: Plan(ONE_POINT, Rule("utility", 0.05), 1, 0.01, *NUMBERS),
        },
        ((0.0, 8.0, 0.81), (0.02, 4.0, 0.80), (0.3, 1.0, 0.6)),
        NAMES,
    )


P, COST = np.array([0.6, 0.7]), np.array([1.0, 10.0])


def test_the_plan_without_a_loss_is_the_default(plans):
    decision = plans.decision()
    assert (decision.rule, decision.best, decision.plan) == (None, "large", NO_LOSS)
    assert decision.choose(NAMES, P, COST) == "large"
    # 0.6 - 0.05 x 1 is more than 0.7 - 0.05 x 10
    assert plans.decision(plan=ONE_POINT).choose(NAMES, P, COST) == "small"
    assert plans.decision(tolerance=0.0).choose(NAMES, P, COST) == "large"
    assert plans.decision(tolerance=0.1).choose(NAMES, P, COST) == "small"


def test_among_some_of_the_targets(plans):
    others = ("small", "medium")
    assert plans.decision().choose(others, P, COST) == "medium"  # the best is not there
    assert plans.decision(plan=ONE_POINT).choose(("large",), P[1:], COST[1:]) == "large"


def test_a_budget_takes_the_most_accurate_rule_that_it_pays(plans):
    assert plans.decision(budget=9.0).rule == Rule("utility", 0.0)
    assert plans.decision(budget=4.0).rule == Rule("utility", 0.02)
    with pytest.raises(RouterError, match="below 1, the least it knows"):
        plans.decision(budget=0.5)
    with pytest.raises(RouterError, match="no plan"):
        Plans().decision(budget=0.5)


def test_a_budget_that_pays_for_the_best_single_target_is_not_less_accurate(plans):
    # always large: 79 % right at a cost of 10; the rule that the budget pays: 78 % at 8
    worse = replace(plans, points=((0.0, 8.0, 0.78), (0.3, 1.0, 0.6)))
    decision = worse.decision(budget=10.0)
    assert (decision.rule, decision.best, decision.plan) == (None, "large", None)
    assert decision.choose(NAMES, P[::-1], COST) == "large"
    # too little for it: the rule that the budget pays
    assert worse.decision(budget=9.9).rule == Rule("utility", 0.0)
    # as accurate as it: the rule
    assert plans.decision(budget=10.0).rule == Rule("utility", 0.0)
    # no rule keeps to the budget, always large does
    dear = replace(plans, points=((0.0, 12.0, 0.9),))
    assert dear.decision(budget=10.0).best == "large"


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"tolerance": 0.1, "plan": NO_LOSS}, "one of tolerance, plan and budget"),
        ({"tolerance": -1}, "tolerance must be"),
        ({"plan": "luck"}, "no plan 'luck'; it has no_loss, one_point"),
    ],
)
def test_what_makes_no_sense_is_refused(plans, given, match):
    with pytest.raises(RouterError, match=match):
        plans.decision(**given)


def test_a_router_without_plans_asks_the_most_probable_target():
    assert Plans().decision().rule == Rule("tolerance", 0.0)
    with pytest.raises(RouterError, match="it has none"):
        Plans().decision(plan=NO_LOSS)


def test_json_and_back(plans):
    kept = json.loads(json.dumps(plans.as_json()))
    assert Plans.from_json(kept, NAMES) == plans
    assert Plans.from_json(None, NAMES).by_name == {}
