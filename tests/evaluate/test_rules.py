"""Routing rules: hand-checked choices, and what must hold for any P and cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefill_router.evaluate.curves import curve_steps, router_curve
from prefill_router.evaluate.rules import Rule, route, tolerance_path, utility_path, within_budget

# three targets at cost 1, 2 and 10
P = np.array([[0.5, 0.6, 0.9], [0.4, 0.4, 0.41], [0.9, 0.2, 0.8]])
COST = np.tile([1.0, 2.0, 10.0], (3, 1))


def tables(n=6, k=4):
    ratios = st.integers(0, 20).map(lambda i: i / 20)
    return st.tuples(
        arrays(float, (n, k), elements=ratios),
        arrays(float, (n, k), elements=st.integers(1, 30).map(float)),
    )


def test_the_utility_rule_by_hand():
    # query 0: from the dearest to the second at (0.9 - 0.6) / 8 = 0.0375, or straight to the first
    # at (0.9 - 0.5) / 9 = 0.0444; then from the second to the first at 0.1
    chosen, at = utility_path(P, COST)
    assert chosen[0].tolist() == [2, 1, 0]
    np.testing.assert_allclose(at[0], [0, 0.0375, 0.1])
    # query 1: (0.41 - 0.4) / 9 is the smallest price, and leads to the cheapest at once
    assert chosen[1].tolist() == [2, 0, 0] and at[1, 2] == np.inf
    # query 2: the cheapest has the highest P
    assert chosen[2].tolist() == [0, 0, 0] and np.isinf(at[2, 1:]).all()
    assert Rule("utility", 0.0).choose(P, COST).tolist() == [2, 2, 0]
    assert Rule("utility", 0.04).choose(P, COST).tolist() == [1, 0, 0]
    assert Rule("utility", 0.2).choose(P, COST).tolist() == [0, 0, 0]


def test_the_tolerance_rule_does_not_see_how_much_is_saved():
    p, cost = np.array([[0.5, 0.9], [0.5, 0.9]]), np.array([[1.0, 1.1], [1.0, 100.0]])
    assert Rule("tolerance", 0.4).choose(p, cost).tolist() == [0, 0]
    assert Rule("utility", 0.1).choose(p, cost).tolist() == [1, 0]


def test_a_margin_keeps_the_given_target():
    stay = Rule("utility", 0.0, margin=0.35, stay=0)
    # 0.9 - 0.5 is above the margin, 0.41 - 0.4 is not
    assert stay.choose(P, COST).tolist() == [2, 0, 0]
    assert Rule("utility", 0.0, margin=0.4, stay=0).choose(P, COST).tolist() == [0, 0, 0]


def test_a_budget_by_hand():
    # mean cost 7 at price 0; query 1 moves first (9 saved: mean 4), then query 0 (8 saved: 4 / 3)
    for budget, chosen in ((7.0, [2, 2, 0]), (4.0, [2, 0, 0]), (3.9, [1, 0, 0]), (1.0, [0, 0, 0])):
        rule = within_budget(Rule(), P, COST, budget)
        assert rule.choose(P, COST).tolist() == chosen
    with pytest.raises(ValueError, match="budget of 0.5 a query is below 1"):
        within_budget(Rule(), P, COST, 0.5)


def test_a_budget_that_pays_for_the_cheapest_alone_outlives_rounding():
    # the first target costs 0.1, 0.2 and 0.3, the second nothing
    p = np.array([[0.9, 0.5], [0.8, 0.5], [0.7, 0.5]])
    cost = np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])
    assert 0.2 - np.cumsum([0.3, 0.2, 0.1])[-1] / 3 > 0  # the running sum leaves some of nothing
    rule = within_budget(Rule(), p, cost, 0.0)
    assert rule.choose(p, cost).tolist() == [1, 1, 1]
    # the last to leave the first target gives up (0.9 - 0.5) / 0.1 of P for a unit of cost
    assert rule.value == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"kind": "luck"}, "tolerance or utility"),
        ({"value": -1.0}, "value must be"),
        ({"value": float("nan")}, "value must be"),
        ({"margin": 0.1}, "give its index"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        Rule(**wrong)


@settings(max_examples=80, deadline=None)
@given(tables(), st.floats(0, 1))
def test_utility_is_the_largest_p_minus_price_times_cost(table, price):
    p, cost = table
    chosen = Rule("utility", price).choose(p, cost)
    utility = p - price * cost
    at = utility[np.arange(len(p)), chosen]
    np.testing.assert_allclose(at, utility.max(axis=1), atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from(["tolerance", "utility"]))
def test_a_growing_value_only_moves_to_cheaper_targets_and_the_curve_agrees(table, kind):
    p, cost = table
    correct = (p > 0.5).astype(float)
    steps = curve_steps(p, cost, correct, 0.25, kind)
    rows, before = np.arange(len(p)), np.full(len(p), np.inf)
    for value in steps.tolerance:
        chosen = Rule(kind, float(value)).choose(p, cost)
        paid = cost[rows, chosen]
        assert (paid <= before).all()
        before = paid
        mean_cost, accuracy = steps.evaluate(np.ones((1, len(p))), [value])
        assert mean_cost[0, 0] == pytest.approx(paid.mean() + 0.25)
        assert accuracy[0, 0] == pytest.approx(correct[rows, chosen].mean())


@settings(max_examples=60, deadline=None)
@given(tables())
def test_the_path_of_the_tolerance_is_route(table):
    p, cost = table
    chosen, at = tolerance_path(p, cost)
    for value in np.unique(at):
        steps = (at <= value).sum(axis=1) - 1
        assert (chosen[np.arange(len(p)), steps] == route(p, cost, float(value))).all()


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(1, 30))
def test_a_budget_is_kept_and_not_wasted(table, budget):
    p, cost = table
    if cost.min(axis=1).mean() > budget:
        return
    rule = within_budget(Rule(), p, cost, float(budget))
    rows = np.arange(len(p))
    paid = cost[rows, rule.choose(p, cost)].mean()
    assert paid <= budget + 1e-9
    if rule.value:  # just below its price it would be dearer
        less = Rule("utility", rule.value * (1 - 1e-6))
        assert cost[rows, less.choose(p, cost)].mean() > budget - 1e-9


def test_with_calibrated_p_no_tolerance_beats_the_utility_rule_at_its_cost():
    rng = np.random.default_rng(0)
    p, cost = rng.uniform(size=(4000, 5)), rng.uniform(size=(4000, 5))
    by_utility = curve_steps(p, cost, p, rule="utility")  # the expected outcome is P itself
    paid, right = (of[0] for of in by_utility.evaluate(np.ones((1, 4000))))
    by_tolerance = router_curve(p, cost, p)
    at_its_cost = np.interp(by_tolerance["cost"], paid[::-1], right[::-1])
    assert (by_tolerance["accuracy"] <= at_its_cost + 1e-9).all()
    assert (at_its_cost - by_tolerance["accuracy"]).max() > 0.02


def test_a_curve_may_decide_by_one_cost_and_pay_another():
    paid = np.array([[5.0, 1.0, 1.0]] * 3)
    steps = curve_steps(P, COST, np.zeros((3, 3)), 0.5, "utility", paid)
    cost, _ = steps.evaluate(np.ones((1, 3)), [0.0, 0.04, 0.2])
    # the choices of `test_the_utility_rule_by_hand`: [2, 2, 0], [1, 0, 0], [0, 0, 0]
    np.testing.assert_allclose(cost[0], [7 / 3 + 0.5, 11 / 3 + 0.5, 5.5])
