"""Routing: costs, the tolerance policy, curves against the naive loop, fronts and hulls."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import ConvexHull

from prefill_router.data.costs import (
    cost_lines,
    expected_cost,
    priced,
    with_hidden_reasoning,
    without_cost,
)
from prefill_router.data.outcomes import QUERY_COLUMNS, Outcomes, OutcomesError, Target
from prefill_router.evaluate.curves import convex_hull, curve_steps, pareto_front, router_curve
from prefill_router.evaluate.rules import route


def toy():
    queries = pd.DataFrame(
        {
            "query_id": list("abcd"),
            "benchmark": "t",
            "category": "x",
            "prompt": "p",
            "group": list("abcd"),
        }
    )
    targets = (Target("s", 1.0, 2.0), Target("l", 10.0, 30.0))
    nan = np.nan
    read = np.array([[5, 6], [7, 8], [9, 10], [11, 12.0]])
    written = np.array([[1, 10], [3, nan], [100, 20], [999, 999.0]])
    return Outcomes(queries, targets, np.ones((4, 2)), read, written, read * 0 + 7, "USD", "toy")


def test_expected_cost_by_hand():
    # Training rows 0..2. Median output: s of (1, 3, 100) = 3; l of (10, 20), one missing = 15. Row
    # 3 is not
    # used. s: input x 1 + 3 x 2; l: input x 10 + 15 x 30.
    outcomes = toy()
    expected = [[5 + 6, 60 + 450], [7 + 6, 80 + 450], [9 + 6, 100 + 450], [11 + 6, 120 + 450]]
    np.testing.assert_allclose(expected_cost(outcomes, [0, 1, 2]), expected)
    np.testing.assert_allclose(
        expected_cost(outcomes, np.array([True, True, True, False])), expected
    )
    np.testing.assert_allclose(
        expected_cost(outcomes, [0, 1, 2], "input_only"), [[5, 60], [7, 80], [9, 100], [11, 120]]
    )
    np.testing.assert_allclose(expected_cost(outcomes, [0], "realised"), np.full((4, 2), 7))


def test_expected_cost_errors():
    with pytest.raises(OutcomesError, match="'l' has no output_tokens on the training rows"):
        expected_cost(toy(), [1])
    with pytest.raises(OutcomesError, match="known: median_output, input_only, realised"):
        expected_cost(toy(), [0], "median")


def test_a_target_without_a_price_has_no_cost():
    nan = np.nan
    outcomes = replace(toy(), targets=(Target("s", 1.0, 2.0), Target("l", 10.0, nan)))
    assert without_cost(toy()) == [] and without_cost(outcomes) == ["l"]
    assert (
        priced(outcomes) is None and priced(outcomes, "input_only") is outcomes
    )  # one target is no pool
    with pytest.raises(
        OutcomesError,
        match="no price is known for l, so no cost under cost model 'median_output'; leave",
    ):
        expected_cost(outcomes, [0, 1, 2])
    # its input price is known, and what it did cost as well
    np.testing.assert_allclose(expected_cost(outcomes, [0], "input_only")[:, 1], [60, 80, 100, 120])
    np.testing.assert_allclose(expected_cost(outcomes, [0], "realised"), np.full((4, 2), 7))
    outcomes = replace(outcomes, cost=outcomes.cost * [1, nan])
    with pytest.raises(OutcomesError, match="no price is known for l"):
        expected_cost(outcomes, [0], "realised")


def paid(tokens, cost):
    """Two targets without prices, of which only what their answers did cost is known."""
    n, nan = len(tokens), np.nan
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(n)],
            "benchmark": "t",
            "category": "x",
            "prompt": "p",
            "group": range(n),
        }
    )
    read = np.repeat(np.asarray(tokens, float)[:, None], 2, axis=1)
    return Outcomes(
        queries,
        (Target("a", nan, nan), Target("b", nan, nan)),
        np.ones((n, 2)),
        read,
        read * nan,
        np.array(cost, float),
        "USD",
        "paid",
    )


def test_realised_costs_give_a_cost_per_query():
    # a costs 0.002 + 0.00001 per token exactly; b gets cheaper with length, which no price does:
    # its mean 2 alone.
    outcomes = paid([100, 200, 300, 700, 900], [[0.003, 3], [0.004, 2], [0.005, 1], [9, 9], [9, 9]])
    assert (
        without_cost(outcomes) == []
        and priced(outcomes) is outcomes
        and outcomes.realised_only().all()
    )
    per_query, per_token = cost_lines(
        outcomes, [0, 1, 2]
    )  # the last two queries are not of the training
    np.testing.assert_allclose(per_query, [0.002, 2])
    np.testing.assert_allclose(per_token, [1e-5, 0], atol=1e-15)
    np.testing.assert_allclose(
        expected_cost(outcomes, [0, 1, 2]),
        [[0.003, 2], [0.004, 2], [0.005, 2], [0.009, 2], [0.011, 2]],
    )
    # a line through two clouds: two benchmarks of different length, different costs
    two = paid(
        [100] * 3 + [1000] * 3,
        [[0.003, 0], [0.0035, 0], [0.004, 0], [0.009, 0], [0.0094, 0], [0.0098, 0]],
    )
    expected = expected_cost(two, np.arange(6))
    np.testing.assert_allclose(expected[[0, 3]], [[0.0035, 0], [0.0094, 0]], atol=1e-15)
    # a constant below 0 is none: through the origin, sum(t c) / sum(t t) = (1 * 1 + 3 * 9) / 10
    np.testing.assert_allclose(
        cost_lines(paid([1, 3], [[1, 1], [9, 9]]), [0, 1]), [[0, 0], [2.8, 2.8]]
    )


def test_realised_costs_with_gaps():
    nan = np.nan
    outcomes = paid([100, 200, nan, 400], [[1, nan], [2, nan], [6, nan], [nan, 5]])
    with pytest.raises(OutcomesError, match="'b' has no realised cost on the training rows"):
        expected_cost(outcomes, [0, 1, 2])
    expected = expected_cost(outcomes, [0, 1, 3])
    np.testing.assert_allclose(expected[:, 0], [1, 2, nan, 4], atol=1e-12)
    uncounted = paid([nan, nan], [[1, 3], [2, 5]])
    np.testing.assert_allclose(expected_cost(uncounted, [0, 1]), [[1.5, 4], [1.5, 4]])
    # nothing is known of the input price, so it alone gives no cost; what it did cost is known
    assert (
        without_cost(outcomes, "input_only") == ["a", "b"]
        and without_cost(outcomes, "realised") == []
    )


def test_route_by_hand():
    # Costs 1, 4, 9. Query 0: P = .50 .70 .75, gaps .25 .05 0. Query 1: P = .90 .10 .20, gaps 0 .80
    # .70.
    p = np.array([[0.50, 0.70, 0.75], [0.90, 0.10, 0.20]])
    cost = np.array([[1.0, 4, 9], [1, 4, 9]])
    for tolerance, expected in (
        (0, [2, 0]),
        (0.04, [2, 0]),
        (0.05, [1, 0]),
        (0.2, [1, 0]),
        (0.25, [0, 0]),
    ):
        assert route(p, cost, tolerance).tolist() == expected, tolerance
    assert route(p, cost, np.inf).tolist() == [0, 0]


def test_a_target_exactly_at_the_tolerance_is_acceptable_in_floating_point():
    # 0.8 - 0.7 = 0.10000000000000009 > 0.1 and 0.8 - 0.1 = 0.7000000000000001 > 0.7 in binary.
    p = np.array([[0.7, 0.8]])
    cost = np.array([[1.0, 2.0]])
    assert p[0, 1] - p[0, 0] > 0.1
    assert route(p, cost, 0.1).tolist() == [0]
    assert route(p, cost, 0.0999).tolist() == [1]


def test_ties():
    p = np.array([[0.6, 0.7, 0.7], [0.7, 0.7, 0.7], [0.6, 0.7, 0.65]])
    cost = np.array([[2.0, 2, 2], [3, 2, 2], [1, 1, 1]])
    # Equal cost: higher P (query 0: index 1 before 2); equal maxima: cheaper, then lower index;
    # equal cost at
    # any tolerance stays with the highest P.
    assert route(p, cost, 0).tolist() == [1, 1, 1]
    assert route(p, cost, 1).tolist() == [1, 1, 1]


def test_route_refuses_bad_input():
    p, cost = np.array([[0.5, 0.6]]), np.array([[1.0, 2.0]])
    with pytest.raises(ValueError, match="tolerance"):
        route(p, cost, -0.1)
    with pytest.raises(ValueError, match="tolerance"):
        route(p, cost, float("nan"))
    with pytest.raises(ValueError, match="cost has shape"):
        route(p, cost[:, :1], 0)
    with pytest.raises(ValueError, match=r"p must be \[queries, targets\]"):
        route(p[0], cost[0], 0)
    with pytest.raises(
        ValueError, match=r"correct is missing or infinite on 1 queries \(first: row 0\)"
    ):
        router_curve(p, cost, np.array([[np.nan, 1]]))


def test_router_curve_by_hand():
    # Costs 1, 3 for both queries; overhead 0.5. Gaps: query 0 (P .6 .8) .2; query 1 (P .3 .9) .6.
    # tolerance 0: both to the second target: cost 3 + .5, correct (1, 0) -> .5
    # .2: query 0 to the first (wrong): cost (1 + 3)/2 + .5 = 2.5, correct (0, 0) -> 0
    # .6: both to the first: cost 1 + .5, correct (0, 1) -> .5
    p = np.array([[0.6, 0.8], [0.3, 0.9]])
    cost = np.array([[1.0, 3], [1, 3]])
    correct = np.array([[0.0, 1], [1, 0]])
    curve = router_curve(p, cost, correct, overhead=0.5)
    np.testing.assert_allclose(curve.to_numpy(), [[0, 3.5, 0.5], [0.2, 2.5, 0.0], [0.6, 1.5, 0.5]])
    # Weights 3 : 1. tolerance 0: (3 x 1 + 0)/4 = .75; .2: 0, cost (3 x 1 + 3)/4 = 1.5; .6: 1/4.
    weighted = router_curve(p, cost, correct, weights=np.array([3, 1]))
    np.testing.assert_allclose(weighted.to_numpy(), [[0, 3, 0.75], [0.2, 1.5, 0.0], [0.6, 1, 0.25]])


@st.composite
def problems(draw, max_n=8, max_k=4):
    n, k = draw(st.integers(1, max_n)), draw(st.integers(1, max_k))
    # Coarse grids make ties in P, in gaps and in cost frequent; free floats make them rare. Both
    # happen.
    coarse = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0])
    free = st.floats(0, 1, allow_subnormal=False)
    p = draw(hnp.arrays(float, (n, k), elements=draw(st.sampled_from([coarse, free]))))
    cost = draw(
        hnp.arrays(float, (n, k), elements=st.integers(1, 5).map(float) | st.floats(0.01, 10))
    )
    correct = draw(hnp.arrays(float, (n, k), elements=st.sampled_from([0.0, 1.0])))
    overhead = draw(hnp.arrays(float, n, elements=st.floats(0, 1)))
    weights = draw(hnp.arrays(int, (3, n), elements=st.integers(0, 3)))
    assume((weights.sum(axis=1) > 0).all())
    return p, cost, correct, overhead, weights


@settings(max_examples=50, deadline=None)
@given(problems())
def test_curve_equals_the_naive_loop_over_route(problem):
    p, cost, correct, overhead, weights = problem
    rows = np.arange(len(p))
    curve = router_curve(p, cost, correct, overhead, weights[0])
    observed = np.unique(np.round(p.max(axis=1, keepdims=True) - p, 12))
    assert curve["tolerance"].tolist() == observed.tolist()
    for tolerance, mean_cost, accuracy in curve.itertuples(index=False):
        chosen = route(p, cost, tolerance)
        expected = np.average(cost[rows, chosen] + overhead, weights=weights[0])
        np.testing.assert_allclose(mean_cost, expected, rtol=1e-9)
        np.testing.assert_allclose(
            accuracy, np.average(correct[rows, chosen], weights=weights[0]), atol=1e-12
        )
    assert (np.diff(curve["cost"]) <= 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(problems(), st.floats(0, 1.2))
def test_steps_give_route_at_any_tolerance_and_every_weighting(problem, tolerance):
    p, cost, correct, overhead, weights = problem
    rows = np.arange(len(p))
    chosen = route(p, cost, tolerance)
    steps = curve_steps(p, cost, correct, overhead)
    mean_cost, accuracy = steps.evaluate(weights, [tolerance])
    for b, w in enumerate(weights):
        np.testing.assert_allclose(
            mean_cost[b, 0], np.average(cost[rows, chosen] + overhead, weights=w), rtol=1e-9
        )
        np.testing.assert_allclose(
            accuracy[b, 0], np.average(correct[rows, chosen], weights=w), atol=1e-12
        )
    # The steps themselves are distinct tolerances from 0 on, at each of which some query changes
    # its target.
    assert steps.tolerance[0] == 0 and (np.diff(steps.tolerance) > 0).all()
    for before, after in zip(steps.tolerance[:-1], steps.tolerance[1:], strict=True):
        assert (route(p, cost, before) != route(p, cost, after)).any()


def test_evaluate_without_weight_is_undefined_and_negative_tolerances_are_refused():
    steps = curve_steps(np.array([[0.2, 0.9]]), np.array([[1.0, 2]]), np.array([[0.0, 1]]))
    mean_cost, accuracy = steps.evaluate(np.array([[0.0], [2.0]]))
    assert np.isnan(mean_cost[0]).all() and np.isnan(accuracy[0]).all()
    np.testing.assert_allclose(mean_cost[1], [2, 1])
    with pytest.raises(ValueError, match="tolerances must be >= 0"):
        steps.evaluate(np.ones((1, 1)), [-0.5])


def test_pareto_front_by_hand():
    # (2, .4) is dominated by (1, .5); (3, .7) by (3, .8); (5, .8) by (3, .8); the second (1, .5) is
    # a
    # duplicate.
    cost = np.array([5.0, 1, 2, 3, 3, 1, 4])
    accuracy = np.array([0.8, 0.5, 0.4, 0.7, 0.8, 0.5, 0.9])
    assert pareto_front(cost, accuracy).tolist() == [1, 4, 6]


def test_convex_hull_by_hand():
    # From (1, 1/4) to (3, 3/4) the line is at 1/2 over cost 2, above 5/16: out. (5, 13/16) lies on
    # the line
    # from (3, 12/16) to (7, 14/16): redundant. (9, 1/2) is dominated. Binary fractions, so "on the
    # line" is
    # exact.
    cost = np.array([1.0, 2, 3, 5, 7, 9])
    accuracy = np.array([4, 5, 12, 13, 14, 8]) / 16
    assert convex_hull(cost, accuracy).tolist() == [0, 2, 4]
    assert convex_hull(cost[[0, 1]], np.array([0.5, 0.5])).tolist() == [0]


points = hnp.arrays(
    float, st.tuples(st.just(2), st.integers(1, 12)), elements=st.integers(0, 8).map(float)
)


@settings(max_examples=50, deadline=None)
@given(points)
def test_pareto_front_is_exactly_the_non_dominated_points(xy):
    cost, accuracy = xy
    front = pareto_front(cost, accuracy)
    values = set(zip(cost[front], accuracy[front], strict=True))
    for c, a in zip(cost, accuracy, strict=True):
        dominated = ((cost <= c) & (accuracy >= a) & ((cost < c) | (accuracy > a))).any()
        assert ((c, a) in values) != dominated
    assert (
        len(values) == len(front)
        and (np.diff(cost[front]) > 0).all()
        and (np.diff(accuracy[front]) > 0).all()
    )


@settings(max_examples=50, deadline=None)
@given(points)
def test_hull_is_concave_above_all_points_and_agrees_with_scipy(xy):
    cost, accuracy = xy
    hull = convex_hull(cost, accuracy)
    assert set(hull) <= set(pareto_front(cost, accuracy))
    height = np.interp(cost, cost[hull], accuracy[hull])
    assert (height >= accuracy - 1e-9).all()
    assert (np.diff(np.diff(accuracy[hull]) / np.diff(cost[hull])) < 0).all()
    # Adding a point below and right of all makes every hull vertex of ours one of scipy's, unless
    # all is
    # flat.
    corners = np.column_stack([[*cost, 20.0, 20.0], [*accuracy, -20.0, accuracy.max()]])
    corners = np.vstack([corners, [cost.min(), -20.0]])
    vertices = {tuple(corners[v]) for v in ConvexHull(corners).vertices}
    ours = set(zip(cost[hull], accuracy[hull], strict=True))
    # The most accurate point may lie on the horizontal edge to the corner that was added.
    inner = {v for v in vertices if v[1] > -20 and v[0] < 20}
    assert (
        inner
        <= ours
        <= inner | {(cost[hull[-1]], accuracy[hull[-1]]), (cost[hull[0]], accuracy[hull[0]])}
    )


def test_hidden_reasoning_lengthens_the_answers_and_their_cost():
    queries = pd.DataFrame({name: ["a", "b"] for name in QUERY_COLUMNS}).assign(query_id=["a", "b"])
    targets = (Target("thinks", 1e-6, 4e-6), Target("says", 1e-6, 2e-6))
    tokens, output = np.full((2, 2), 100.0), np.array([[10.0, 30.0], [20.0, np.nan]])
    cost = tokens * 1e-6 + output * [4e-6, 2e-6]
    made = Outcomes(queries, targets, np.ones((2, 2)), tokens, output, cost, "USD", "tiny")
    paid = with_hidden_reasoning(made, {"thinks": 5, "of another pool": 3})
    assert paid.output_tokens[:, 0].tolist() == [50, 100]
    # by hand: 100 tokens at 1 and 50 or 100 at 4 millionths
    assert paid.cost[:, 0] == pytest.approx([3e-4, 5e-4])
    np.testing.assert_array_equal(paid.cost[:, 1], made.cost[:, 1])
    np.testing.assert_array_equal(with_hidden_reasoning(made, {}).cost, made.cost)
