"""Metrics: hand-worked numbers for every formula, scikit-learn as a second opinion, invariants."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from prefill_router.evaluate import calibration, metrics, weighting
from prefill_router.evaluate.agreement import agreement_zones, win_shares
from prefill_router.evaluate.areas import auccc_rows
from prefill_router.evaluate.auc import (
    auc_boot,
    mean_auc,
    pairwise_disagreement,
    per_target_auc,
    per_target_boot,
    weighted_auc,
)
from prefill_router.evaluate.calibration import (
    ECE_BINS,
    brier_rows,
    ece_rows,
    log_loss_rows,
    reliability_table,
)
from prefill_router.evaluate.curves import pareto_front, router_curve
from prefill_router.evaluate.keys import OfTarget
from prefill_router.evaluate.metrics import (
    best_single,
    cost_saving,
    gap_closed,
    oracle_accuracy,
    pool_metrics_boot,
)
from prefill_router.evaluate.point_metrics import point_metrics_boot, zero_router_boot
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.weighting import known_mean
from weightings import drawn_weights, metrics_of

# The pool of the hand-worked numbers: three targets at 1, 2 and 5, five queries.
# tolerance   choices     cost          right       accuracy
#   0         A C C C C   21/5 = 4.2    1 1 1 0 1   .8
#   .1        A C C C A   17/5 = 3.4    1 1 1 0 0   .6
#   .2        A B C C A   14/5 = 2.8    1 1 1 0 0   .6
#   .3        A B C B A   11/5 = 2.2    1 1 1 1 0   .8
#   .4        A B B B A    8/5 = 1.6    1 1 0 1 0   .6
#   .5        A A B B A    7/5 = 1.4    1 0 0 1 0   .4
#   .6        A A B A A    6/5 = 1.2    1 0 0 0 0   .2
#   .7        A A A A A    5/5 = 1.0    1 0 0 0 0   .2
P = np.array([[0.9, 0.8, 0.7], [0.3, 0.6, 0.8], [0.2, 0.5, 0.9], [0.1, 0.4, 0.7], [0.4, 0.3, 0.5]])
CORRECT = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 1, 0], [0, 0, 1.0]])
COST = np.tile([1.0, 2, 5], (5, 1))


def test_the_curve_of_the_hand_worked_pool():
    expected = [
        [0, 4.2, 0.8], [0.1, 3.4, 0.6], [0.2, 2.8, 0.6], [0.3, 2.2, 0.8],
        [0.4, 1.6, 0.6], [0.5, 1.4, 0.4], [0.6, 1.2, 0.2], [0.7, 1.0, 0.2],
    ]  # fmt: skip
    np.testing.assert_allclose(router_curve(P, COST, CORRECT).to_numpy(), expected, atol=1e-12)


HAND = {
    # A: right .9 above all: 1. B: right .8 .6 .4, wrong .5 .3: (2 + 2 + 1)/6. C: wrong .7; right .7
    # (tie,
    # 1/2), .8, .9, .5: 2.5/4.
    "mean_auc": (1 + 5 / 6 + 5 / 8) / 3,
    "accuracy": 0.8,
    "best_single_accuracy": 0.8,  # A 1/5, B 3/5, C 4/5
    "oracle_accuracy": 1.0,
    "gap_closed": 0.0,  # (.8 - .8)/(1 - .8)
    "cost_saving_vs_max": 0.16,  # 1 - 4.2/5
    "cost_saving_at_best_single": 0.56,  # the point (2.2, .8) against C: 1 - 2.2/5
    # Above the floor .2, trapezoids from cost 1: 0, .2 x .1, .2 x .3, .6 x .5, .6 x .5, .6 x .4, .8
    # x .5,
    # then .6 up to cost 5: .8 x .6. Sum .02 + .06 + .3 + .3 + .24 + .4 + .48 = 1.8, over 5 - 1.
    "p_auccc": 0.45,
    # Front (1, .2) (2, .6) (5, .8): 1 x .2 + 3 x .5 = 1.7, over 4.
    "model_pareto_auccc": 0.425,
    "mdp_auccc": 0.025,
    # Front of all: (1, .2) (1.4, .4) (1.6, .6) (2.2, .8): .4 x .1 + .2 x .3 + .6 x .5 + 2.8 x .6 =
    # 2.08; .52
    # - .45.
    "pdp_auccc": 0.07,
    # A: .01 + .09 + .04 + .01 + .16 = .31; B: .04 + .16 + .25 + .36 + .09 = .90; C: .09 + .04 + .01
    # + .49 +
    # .25 = .88.
    "brier": (0.31 + 0.90 + 0.88) / 5 / 3,
    # One bin per value of P. A: .1 + .3 + .2 + .1 + .4 = 1.1; B: .2 + .4 + .5 + .6 + .3 = 2; C: the
    # two .7
    # together |-.3 + .7| = .4, then .2 + .1 + .5: 1.2.
    "ece": (1.1 + 2.0 + 1.2) / 5 / 3,
    # P of what happened. A: .9 x .7 x .8 x .9 x .6 = .27216; B: .8 x .6 x .5 x .4 x .7 = .0672; C:
    # .7 x .8 x .9 x .3 x
    # .5 = .0756; the mean of the 15 -log.
    "log_loss": -np.log(0.27216 * 0.0672 * 0.0756) / 15,
    # Query 0 has no pair with just one right. A, B: queries 1 and 3, B right on both: one class,
    # left out. A, C:
    # queries 1, 2, 4, C right on all: left out. B, C: C right on 2 and 4, B on 3; P_B - P_C is -.4,
    # -.2 and -.3:
    # B's query lies above one of the two: 1/2.
    "disagreement_auc": 0.5,
    "disagree_accuracy": 0.75,  # queries 1 to 4, all answered by C: right on 1, 2 and 4
}


def test_every_pool_metric_by_hand():
    values = metrics_of(P, COST, CORRECT)
    assert tuple(values) == metrics.METRICS
    for name, expected in HAND.items():
        assert values[name] == pytest.approx(expected, abs=1e-12), name


def test_per_target_values_by_hand():
    values = per_target_boot(P, CORRECT, np.ones((1, 5)))
    np.testing.assert_allclose(values["auc"], [[1, 5 / 6, 5 / 8]])
    np.testing.assert_allclose(values["brier"], [[0.062, 0.18, 0.176]])
    np.testing.assert_allclose(values["ece"], [[0.22, 0.4, 0.24]])
    np.testing.assert_allclose(per_target_auc(P, CORRECT), [1, 5 / 6, 5 / 8])
    assert mean_auc(P, CORRECT) == pytest.approx(HAND["mean_auc"])


def test_log_loss_of_certain_and_wrong_is_finite_and_missing_outcomes_are_left_out():
    p = np.array([[1.0, 0.5], [0.0, 0.25], [0.5, 0.9]])
    y = np.array([[0.0, 1.0], [0.0, np.nan], [np.nan, np.nan]])
    certain = (np.log(1e7) + -np.log(1 - 1e-7)) / 2  # wrong once, right once; the third is missing
    of_targets = per_target_boot(p, y, np.ones((1, 3)))["log_loss"]
    np.testing.assert_allclose(of_targets, [[certain, np.log(2)]])
    assert known_mean(of_targets.T)[0] == pytest.approx((certain + np.log(2)) / 2)
    np.testing.assert_allclose(
        per_target_boot(p, y, np.array([[1.0, 3, 9]]))["log_loss"],
        [[(np.log(1e7) - 3 * np.log(1 - 1e-7)) / 4, np.log(2)]],
    )
    nothing = per_target_boot(p[2:], y[2:], np.ones((1, 1)))["log_loss"]
    assert np.isnan(nothing).all() and np.isnan(known_mean(nothing.T)).all()


def test_named_targets_come_along():
    values = pool_metrics_boot(P, COST, CORRECT, 0.0, np.ones((1, 5)), ["A", "B", "C"])
    assert tuple(values)[: len(metrics.METRICS)] == metrics.METRICS
    assert [values[OfTarget("auc", name)][0] for name in "ABC"] == pytest.approx([1, 5 / 6, 5 / 8])
    assert set(values) - set(metrics.METRICS) == {
        OfTarget(m, t) for m in ("auc", "brier", "ece", "log_loss") for t in "ABC"
    }


def test_overhead_moves_the_curve_but_not_the_single_targets():
    # +.5: the same area up to 4.7 (it starts on the floor): 1.8 - .48 = 1.32, then (5 - 4.7) x .6 =
    # .18.
    # 1.5/4.
    values = metrics_of(P, COST, CORRECT, overhead=0.5)
    assert values["p_auccc"] == pytest.approx(0.375)
    assert values["model_pareto_auccc"] == pytest.approx(0.425)
    assert values["cost_saving_vs_max"] == pytest.approx(1 - 4.7 / 5)
    assert values["cost_saving_at_best_single"] == pytest.approx(1 - 2.7 / 5)
    # +1.3: the last segment runs from (4.7, .6) to (5.5, .8) and is cut at 5, at .6 + .2 x 3/8 =
    # .675. Area
    # .02 + .06 + .3 + .3 + .24 = .92, plus .3 x (.4 + .475)/2 = .13125.
    assert metrics_of(P, COST, CORRECT, np.full(5, 1.3))["p_auccc"] == pytest.approx(1.05125 / 4)


def test_weights_by_hand():
    # Query 3 twice, query 4 not at all: rows 0, 1, 2, 3, 3. A 1/5, B (1 + 1 + 0 + 1 + 1)/5, C 3/5.
    # Tolerance
    # 0 answers 0, 1, 2: .6. At .3 (query 3 to B, query 1 at .2): cost (1 + 2 + 5 + 2 + 2)/5 = 2.4,
    # accuracy
    # 1. At .4 (query 2 to B): cost (1 + 2 + 2 + 2 + 2)/5 = 1.8, accuracy .8: equal to B alone, at
    # 2.
    values = metrics_of(P, COST, CORRECT, weights=np.array([1, 1, 1, 2, 0]))
    assert values["accuracy"] == pytest.approx(0.6)
    assert values["best_single_accuracy"] == pytest.approx(0.8)
    assert values["gap_closed"] == pytest.approx(-1)  # (.6 - .8)/(1 - .8)
    assert values["cost_saving_at_best_single"] == pytest.approx(0.1)


def test_gap_closed_and_cost_saving_by_hand():
    # The paper's headline form: 45.58 % of the gap, 74.31 % of the cost.
    assert gap_closed(0.84558, 0.8, 0.9) == pytest.approx(0.4558)
    assert cost_saving(25.69, 100.0) == pytest.approx(0.7431)
    np.testing.assert_allclose(gap_closed([0.7, 0.9], [0.8, 0.9], [0.9, 0.9]), [-1, np.nan])
    np.testing.assert_allclose(cost_saving([3.0, 1], [2.0, 0]), [-0.5, np.nan])


def test_best_single_oracle_and_win_shares_are_of_the_same_queries():
    nan = np.nan
    # Each target is right on 3 of its 4 queries; of queries 0 to 2, which both were asked, the
    # first one on all.
    correct = np.array([[1, 1], [1, 1], [1, 0], [nan, 1], [0, nan], [nan, nan]])
    assert np.nanmean(correct, axis=0).tolist() == [0.75, 0.75]
    assert best_single(correct) == (0, 1.0) and oracle_accuracy(correct) == 1.0
    np.testing.assert_allclose(win_shares(correct), [[0, 1 / 3], [0, 0]])
    # the third was asked the easy ones alone, and right on all of them: so was the first
    easy = np.array([[1, 1, 1], [1, 0, nan], [0, 1, nan], [1, 0, 1]])
    assert (
        np.nanmean(easy, axis=0).argmax() == 2
        and best_single(easy) == (0, 1.0)
        and agreement_zones(easy)["n"] == 2
    )
    assert best_single(np.array([[1, 1], [0, 0]])) == (0, 0.5)
    holes = np.array([[1, nan], [nan, 0]])
    assert np.isnan(oracle_accuracy(holes)) and np.isnan(win_shares(holes)).all()
    with pytest.raises(ValueError, match="no query has an outcome of every target"):
        best_single(holes)


def auccc(cost, accuracy, c_min, c_max, floor):
    """AUCCC of one curve."""
    of_pool = (np.array([value], float) for value in (c_min, c_max, floor))
    return auccc_rows(np.array([cost], float), np.array([accuracy], float), *of_pool)[0]


@pytest.mark.parametrize(
    ("cost", "accuracy", "expected"),
    [
        # Floor .5, bounds 0 and 10. One point at cost 4, accuracy .9: floor up to 4, a vertical
        # jump, then .4
        # x 6 = 2.4.
        ([4], [0.9], 0.24),
        # (2, .6) (6, .8) given backwards: jump at 2, 4 x (.1 + .3)/2 = .8, then 4 x .3 = 1.2.
        ([6, 2], [0.8, 0.6], 0.20),
        # Extends beyond both ends: (-5, .5) (15, .9) is .6 at 0 and .8 at 10: 10 x (.1 + .3)/2 = 2.
        ([-5, 15], [0.5, 0.9], 0.20),
        # Wholly left of c_min: its last accuracy everywhere. Wholly right of c_max: the floor
        # everywhere.
        ([-3, -1], [0.6, 0.7], 0.20),
        ([11, 12], [0.6, 0.7], 0.0),
        # A curve below the floor counts negative: (5, .3): 5 x -.2 = -1.
        ([5], [0.3], -0.10),
        # A vertical step: (0, .5) (5, .5) (5, .9) (10, .9): 5 x .4 = 2.
        ([0, 5, 5, 10], [0.5, 0.9, 0.5, 0.9], 0.20),
    ],
)
def test_auccc_by_hand(cost, accuracy, expected):
    assert auccc(cost, accuracy, 0, 10, 0.5) == pytest.approx(expected, abs=1e-12)


def test_a_curve_without_an_area_has_no_auccc():
    assert np.isnan(auccc([1], [0.5], 2, 2, 0)) and np.isnan(auccc([1], [0.5], 2, 1, 0))
    with pytest.raises(ValueError, match="at least one of each"):
        metrics_of(P[:0], COST[:0], CORRECT[:0])
    for name, arrays in {
        "p": (P * np.nan, COST, CORRECT),
        "cost": (P, COST * np.inf, CORRECT),
        "correct": (P, COST, CORRECT * np.nan),
    }.items():
        with pytest.raises(ValueError, match=f"{name} is missing or infinite on 5 queries"):
            metrics_of(*arrays)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-20, 120), st.integers(0, 100)),
        min_size=1,
        max_size=10,
        unique_by=lambda t: t[0],
    ),
    st.integers(0, 40),
    st.integers(50, 100),
    st.integers(0, 100),
)
def test_auccc_equals_a_sum_over_interpolated_breakpoints(points, c_min, c_max, floor):
    cost, accuracy = np.array(sorted(points), dtype=float).T
    # All breakpoints are integers, so trapezoids over the integers from the curve's start are
    # exact.
    grid = np.arange(max(c_min, min(cost[0], c_max)), c_max + 1)
    expected = (
        np.trapezoid(np.interp(grid, cost, accuracy) - floor, grid) if c_max >= cost[0] else 0.0
    )
    shuffled = np.random.default_rng(0).permutation(len(cost))
    value = auccc(cost[shuffled], accuracy[shuffled], c_min, c_max, floor)
    assert value == pytest.approx(expected / (c_max - c_min), abs=1e-9)


def constant_router():
    # Ten queries, P the same for all: .5 .1 .9, so the curve has two points, all C (5, .8) and from
    # .4 on all
    # A (1, .2). B, at 3, answers .3: no point dominates it, but it lies under the line from A to C.
    correct = np.column_stack([np.arange(10) < 2, np.arange(10) < 3, np.arange(10) < 8]).astype(
        float
    )
    return np.tile([0.5, 0.1, 0.9], (10, 1)), np.tile([1.0, 3, 5], (10, 1)), correct


def test_a_target_under_the_line_bends_the_front_and_pdp_is_negative():
    values = metrics_of(*constant_router())
    # Router: 4 x .6/2 = 1.2. Front (1, .2) (3, .3) (5, .8): 2 x .05 + 2 x .35 = .8. Over 4: .3 and
    # .2.
    assert values["p_auccc"] == pytest.approx(0.3)
    assert values["model_pareto_auccc"] == pytest.approx(0.2)
    assert values["mdp_auccc"] == pytest.approx(0.1)
    assert values["pdp_auccc"] == pytest.approx(-0.1)
    assert values["mean_auc"] == pytest.approx(0.5)


def test_zero_router_by_hand():
    _, cost, correct = constant_router()
    values = zero_router_boot(cost, correct, np.ones((2, 10)))
    # Hull: the line from (1, .2) to (5, .8), area .3; its top is the best single target.
    np.testing.assert_allclose(values["p_auccc"], [0.3, 0.3])
    np.testing.assert_allclose(values["mdp_auccc"], [0.1, 0.1])
    np.testing.assert_allclose(values["accuracy"], [0.8, 0.8])
    np.testing.assert_allclose(values["gap_closed"], [np.nan, np.nan])  # the oracle is .8 too
    # In the hand-worked pool all three targets are on the hull.
    assert zero_router_boot(COST, CORRECT, np.ones((1, 5)))["p_auccc"][0] == pytest.approx(0.425)


def test_oracle_as_a_point_by_hand():
    # The cheapest right target: A B C B C at 1 2 5 2 5, mean 3.
    values = point_metrics_boot([1, 2, 5, 2, 5], np.ones(5), COST, CORRECT, np.ones((1, 5)))
    got = {name: float(value[0]) for name, value in values.items()}
    assert got == pytest.approx(
        {
            "accuracy": 1.0,
            "best_single_accuracy": 0.8,
            "oracle_accuracy": 1.0,
            "gap_closed": 1.0,
            "cost_saving_vs_max": 0.4,
            "cost_saving_at_best_single": 0.4,
            "disagree_accuracy": 1.0,
        }
    )
    cheapest = point_metrics_boot(COST[:, 0], CORRECT[:, 0], COST, CORRECT, np.ones((1, 5)))
    assert np.isnan(cheapest["cost_saving_at_best_single"][0])  # .2 never reaches .8
    assert cheapest["disagree_accuracy"][0] == 0  # A is right on query 0 alone, where all are


def test_saving_at_best_single_is_undefined_if_never_reached():
    # Always routed to the worse target; the other is both cheaper and better only at a tolerance
    # that never
    # comes: the dearer target is never chosen, so .25 never reaches .75.
    p = np.tile([0.9, 0.2], (4, 1))
    correct = np.array([[1, 0], [0, 1], [0, 1], [0, 1.0]])
    values = metrics_of(p, np.tile([1.0, 2], (4, 1)), correct)
    assert np.isnan(values["cost_saving_at_best_single"])
    # (.25 - .75)/(1 - .75) = -2.
    assert values["gap_closed"] == pytest.approx(-2)


def test_of_equally_accurate_targets_the_cheaper_is_the_best_single():
    # Both are right once. All to the first (tolerance 1): accuracy .5 at cost 1, no saving against
    # the first
    # at cost 1 (against the second, at 2, it would be .5).
    right = np.eye(2)
    assert metrics_of(right, np.array([[1.0, 2], [1, 2]]), right)[
        "cost_saving_at_best_single"
    ] == pytest.approx(0)


def test_equal_costs_leave_no_curve():
    values = metrics_of(P, np.full((5, 3), 0.1), CORRECT)
    assert all(
        np.isnan(values[name])
        for name in ("p_auccc", "model_pareto_auccc", "mdp_auccc", "pdp_auccc")
    )
    assert values["accuracy"] == pytest.approx(0.8)


def test_missing_outcomes_are_masked_or_refused_never_wrong():
    p = np.vstack([P, P[:2]])
    correct = np.vstack([CORRECT, np.full((2, 3), np.nan)])
    np.testing.assert_allclose(per_target_auc(p, correct), per_target_auc(P, CORRECT))
    values = per_target_boot(p, correct, np.ones((1, 7)))
    for name in ("brier", "ece", "log_loss"):
        assert known_mean(values[name].T)[0] == pytest.approx(HAND[name])
    with pytest.raises(ValueError, match="correct is missing or infinite on 2 queries"):
        metrics_of(p, np.vstack([COST, COST[:2]]), correct)
    with pytest.raises(ValueError, match="complete_rows"):
        zero_router_boot(np.vstack([COST, COST[:2]]), correct, np.ones((1, 7)))


def test_a_target_of_one_class_is_left_out_of_the_mean_auc():
    correct = np.column_stack([CORRECT[:, :2], np.ones(5)])
    np.testing.assert_allclose(per_target_auc(P, correct), [1, 5 / 6, np.nan])
    assert mean_auc(P, correct) == pytest.approx(11 / 12)
    assert np.isnan(mean_auc(P, np.ones((5, 3))))


def test_bad_arguments():
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        weighted_auc(np.array([0.1, 0.2]), np.array([2.0, 1]), np.ones((1, 2)))
    with pytest.raises(ValueError, match="finite values of P"):
        weighted_auc(np.array([np.nan, 0.2]), np.array([0.0, 1]), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"weights must be \[B, 5\]"):
        pool_metrics_boot(P, COST, CORRECT, 0.0, np.ones((2, 4)))
    with pytest.raises(ValueError, match="weights must be"):
        metrics_of(P, COST, CORRECT, weights=-np.ones(5))
    with pytest.raises(ValueError, match="shapes differ"):
        per_target_boot(P, CORRECT[:, :2], np.ones((1, 5)))


# --- scikit-learn as a second opinion
# -----------------------------------------------------------------------

coarse = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 1.0])


@st.composite
def scored(draw):
    n = draw(st.integers(4, 25))
    score = draw(
        hnp.arrays(
            float,
            n,
            elements=draw(st.sampled_from([coarse, st.floats(0, 1, allow_subnormal=False)])),
        )
    )
    label = draw(hnp.arrays(float, n, elements=st.sampled_from([0.0, 1.0])))
    weights = draw(
        hnp.arrays(float, (3, n), elements=st.integers(0, 3).map(float) | st.floats(0.25, 2))
    )
    assume(all(len({*label[w > 0]}) == 2 for w in weights))
    return score, label, weights


@settings(max_examples=50, deadline=None)
@given(scored())
def test_auc_and_brier_equal_sklearn_with_ties_and_weights(problem):
    score, label, weights = problem
    expected = [roc_auc_score(label, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_auc(score, label, weights), expected, atol=1e-12)
    clipped = np.clip(score, calibration.LOG_LOSS_CLIP, 1 - calibration.LOG_LOSS_CLIP)
    np.testing.assert_allclose(
        brier_rows(score[:, None], label[:, None], weights)[:, 0],
        [brier_score_loss(label, score, sample_weight=w) for w in weights],
        atol=1e-12,
    )
    np.testing.assert_allclose(
        log_loss_rows(score[:, None], label[:, None], weights)[:, 0],
        [log_loss(label, clipped, sample_weight=w) for w in weights],
        atol=1e-9,
    )
    # Only the order of the scores counts, and turning both around changes nothing.
    np.testing.assert_allclose(weighted_auc(-score, 1 - label, weights), expected, atol=1e-12)
    _, rank = np.unique(score, return_inverse=True)
    np.testing.assert_allclose(weighted_auc(rank, label, weights), expected, atol=1e-12)


def test_reliability_table_equals_sklearn_quantile_bins():
    rng = np.random.default_rng(3)
    p = rng.permutation(np.linspace(0.02, 0.97, 60))
    y = (rng.random(60) < p).astype(float)
    table = reliability_table(p, y, bins=6)
    accuracy, mean_p = calibration_curve(y, p, n_bins=6, strategy="quantile")
    assert table["n"].tolist() == [10] * 6
    np.testing.assert_allclose(table["accuracy"], accuracy)
    np.testing.assert_allclose(table["p_mean"], mean_p)
    assert (table["p_max"].iloc[:-1].to_numpy() < table["p_min"].iloc[1:].to_numpy()).all()
    gap = (table["n"] / 60 * (table["p_mean"] - table["accuracy"]).abs()).sum()
    assert ece(p, y, bins=6) == pytest.approx(gap)


# --- calibration
# --------------------------------------------------------------------------------------------


def ece(p, y, bins=ECE_BINS):
    """ECE of one target, every query counted once."""
    return ece_rows(p[:, None], y[:, None], np.ones((1, len(p))), bins)[0, 0]


def test_ece_by_hand():
    # Two bins of two. Lower: P .1 .3, right 0 1: |.2 - .5| = .3. Upper: P .6 .8, right 1 1: |.7 -
    # 1| = .3.
    assert ece(np.array([0.6, 0.1, 0.8, 0.3]), np.array([1, 0, 1, 1]), bins=2) == pytest.approx(0.3)
    # One bin: |(.1 + .3 + .6 + .8)/4 - 3/4| = .3; a constant P is one bin whatever is asked for:
    # |.5 - .75|.
    assert ece(np.array([0.6, 0.1, 0.8, 0.3]), np.array([1, 0, 1, 1]), bins=1) == pytest.approx(0.3)
    assert ece(np.full(4, 0.5), np.array([1, 0, 1, 1]), bins=15) == pytest.approx(0.25)
    # Equal values go where the middle of their weight lies: three .5 reach from 1 to 4 of 4, middle
    # 2.5,
    # upper of two bins. Lower: .1, right 1: .9. Upper: 3 x .5 against 1 right: .5. (.9 + .5)/4.
    assert ece(np.array([0.5, 0.1, 0.5, 0.5]), np.array([0, 1, 0, 1]), bins=2) == pytest.approx(
        0.35
    )
    # Over- and under-confidence in one bin cancel, in two bins they do not: P .2 .8, right 1 0.
    assert ece(np.array([0.2, 0.8]), np.array([1, 0]), bins=1) == pytest.approx(0)
    assert ece(np.array([0.2, 0.8]), np.array([1, 0]), bins=2) == pytest.approx(0.8)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(float, st.integers(1, 40), elements=st.floats(0, 1, allow_subnormal=False)),
    st.integers(1, 20),
    st.integers(0, 100),
)
def test_ece_is_bounded_and_independent_of_row_order(p, bins, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, len(p)).astype(float)
    value = ece(p, y, bins)
    order = rng.permutation(len(p))
    assert value == pytest.approx(ece(p[order], y[order], bins), abs=1e-12)
    assert abs(p.mean() - y.mean()) - 1e-12 <= value <= np.abs(p - y).mean() + 1e-12
    if len(np.unique(p)) == len(p):
        sizes = reliability_table(p, y, bins)["n"]
        assert sizes.sum() == len(p) and sizes.max() <= -(-len(p) // bins)


# --- where targets differ
# -----------------------------------------------------------------------------------


def test_agreement_zones_by_hand():
    # Hand-worked pool: query 0 all right, the other four disagree; two more rows: all wrong,
    # incomplete.
    zones = agreement_zones(np.vstack([CORRECT, [[0, 0, 0], [1, np.nan, 1]]]))
    assert zones == pytest.approx(
        {"all_right": 1 / 6, "disagree": 4 / 6, "all_wrong": 1 / 6, "n": 6, "n_incomplete": 1}
    )


def test_pairwise_disagreement_by_hand():
    table = pairwise_disagreement(P, CORRECT, ["A", "B", "C"])
    assert list(zip(table["target_a"], table["target_b"], table["n"], strict=True)) == [
        ("A", "B", 2), ("A", "C", 3), ("B", "C", 3)
    ]  # fmt: skip
    np.testing.assert_array_equal(table["auc"], [np.nan, np.nan, 0.5])
    # Missing outcomes are no case: without query 3 for B, there is none on which B alone is right.
    holes = CORRECT.copy()
    holes[3, 1] = np.nan
    table = pairwise_disagreement(P, holes, ["A", "B", "C"])
    assert table["n"].tolist() == [1, 3, 2] and table["auc"].isna().all()
    # Nor here: of rows 0 to 3 only 0 and 1 count, and A is right on both.
    p = np.array([[0.5, 0.5], [0.7, 0.5], [0.9, 0.1], [0.9, 0.1]])
    correct = np.array([[1, 0], [1, 0], [1, np.nan], [np.nan, 0]])
    table = pairwise_disagreement(p, correct, ["A", "B"])
    assert table["n"].tolist() == [2] and table["auc"].isna().all()
    # B alone is right on a fifth query, at equal P: the leads of A, 0 and .2, are level with it and
    # above it, (1/2 + 1)/2.
    table = pairwise_disagreement(
        np.vstack([p, [0.6, 0.6]]), np.vstack([correct, [0, 1]]), ["A", "B"]
    )
    assert table["n"].tolist() == [3] and table["auc"].tolist() == [0.75]
    # 0.8 - 0.7 and 0.3 - 0.2 differ in binary: a tie all the same.
    p = np.array([[0.8, 0.7], [0.3, 0.2]])
    assert pairwise_disagreement(p, np.eye(2), ["A", "B"])["auc"].tolist() == [0.5]


def test_disagreement_equals_sklearn_in_every_replicate():
    rng = np.random.default_rng(7)
    p, correct = np.round(rng.random((80, 4)), 1), (rng.random((80, 4)) < 0.6).astype(float)
    cost = rng.random((80, 4)) + np.arange(4)
    weights = rng.poisson(1.0, (6, 80)).astype(float)
    values = pool_metrics_boot(p, cost, correct, 0.0, weights)
    table = pairwise_disagreement(p, correct, list("abcd"))
    aucs = []
    for pair in table.itertuples():
        a, b = (list("abcd").index(name) for name in (pair.target_a, pair.target_b))
        rows = correct[:, a] != correct[:, b]
        label, score = correct[rows, a], np.round(p[rows, a] - p[rows, b], 6)
        assert pair.n == rows.sum()
        assert pair.auc == pytest.approx(roc_auc_score(label, score))
        aucs.append([roc_auc_score(label, score, sample_weight=w[rows]) for w in weights])
    np.testing.assert_allclose(values["disagreement_auc"], np.mean(aucs, axis=0), atol=1e-12)
    some = (correct.sum(axis=1) > 0) & (correct.sum(axis=1) < 4)
    chosen = correct[np.arange(80), route(p, cost, 0.0)]
    expected = [np.average(chosen[some], weights=w[some]) for w in weights]
    np.testing.assert_allclose(values["disagree_accuracy"], expected, atol=1e-12)
    alone = auc_boot(p, correct, weights)
    for name in ("mean_auc", "disagreement_auc"):
        np.testing.assert_array_equal(alone[name], values[name])


def test_knowing_which_queries_are_hard_does_not_tell_targets_apart():
    # The same P for both targets: AUC 1 for each, nothing about which of the two.
    p = np.array([[0.9, 0.9], [0.8, 0.8], [0.2, 0.2], [0.1, 0.1]])
    correct = np.array([[1, 1], [1, 1], [0, 0], [0, 0.0]])
    assert mean_auc(p, correct) == 1
    values = metrics_of(p, np.tile([1.0, 2], (4, 1)), correct)
    assert np.isnan(values["disagreement_auc"]) and np.isnan(values["disagree_accuracy"])
    correct[[1, 2]] = [[1, 0], [0, 1]]
    assert metrics_of(p, np.tile([1.0, 2], (4, 1)), correct)["disagreement_auc"] == 0.5


def test_a_tolerance_takes_the_cheaper_target_that_is_nearly_as_probable():
    # The second costs less. 0: far behind. 1: .05 behind (0.80 - 0.75 = 0.050000000000000044 in
    # binary). 2: .2 behind. 3: equal.
    p = np.array([[0.8, 0.1], [0.8, 0.75], [0.8, 0.6], [0.5, 0.5]])
    correct = np.array([[1, 0], [0, 1], [0, 1], [0, 0.0]])
    cost = np.tile([2.0, 1], (4, 1))
    for tolerance, chosen in ((0.0, [0, 0, 0, 1]), (0.05, [0, 1, 0, 1]), (0.2, [0, 1, 1, 1])):
        assert route(p, cost, tolerance).tolist() == chosen
    # queries 1 and 2 were wrong though the other was right: at .05 one is mended, at .2 both
    curve = router_curve(p, cost, correct).set_index("tolerance")["accuracy"]
    assert curve.loc[[0.0, 0.05, 0.2]].tolist() == [0.25, 0.5, 0.75]


# --- invariants of the whole
# --------------------------------------------------------------------------------


@st.composite
def pools(draw):
    n, k = draw(st.integers(2, 8)), draw(st.integers(2, 4))
    p = draw(
        hnp.arrays(
            float,
            (n, k),
            elements=draw(st.sampled_from([coarse, st.floats(0, 1, allow_subnormal=False)])),
        )
    )
    cost = draw(hnp.arrays(float, (n, k), elements=st.integers(1, 6).map(float)))
    correct = draw(hnp.arrays(float, (n, k), elements=st.sampled_from([0.0, 1.0])))
    return p, cost, correct, draw(st.sampled_from([0.0, 0.5]))


def assert_same(a, b, rows=...):
    for name in metrics.METRICS:
        np.testing.assert_allclose(
            np.asarray(a[name]), np.asarray(b[name])[rows], atol=1e-9, err_msg=name
        )


@settings(max_examples=50, deadline=None)
@given(pools(), st.data())
def test_a_weight_is_a_number_of_copies(pool, data):
    p, cost, correct, overhead = pool
    weights = data.draw(hnp.arrays(int, (2, len(p)), elements=st.integers(0, 3)))
    assume((weights.sum(axis=1) > 0).all())
    together = pool_metrics_boot(p, cost, correct, overhead, weights)
    for b, w in enumerate(weights):
        rows = np.repeat(np.arange(len(p)), w)
        assert_same(metrics_of(p[rows], cost[rows], correct[rows], overhead), together, b)


@settings(max_examples=50, deadline=None)
@given(pools(), st.integers(0, 99))
def test_order_of_queries_and_unit_of_cost_do_not_matter(pool, seed):
    p, cost, correct, overhead = pool
    order = np.random.default_rng(seed).permutation(len(p))
    values = metrics_of(p, cost, correct, overhead)
    assert_same(values, metrics_of(p[order], cost[order], correct[order], overhead))
    assert_same(values, metrics_of(p, cost * 4, correct, overhead * 4))


@settings(max_examples=50, deadline=None)
@given(pools())
def test_metrics_agree_with_their_definitions_on_the_curve(pool):
    p, cost, correct, overhead = pool
    values = metrics_of(p, cost, correct, overhead)
    curve = router_curve(p, cost, correct, overhead)
    mean_cost, accuracy = cost.mean(axis=0), correct.mean(axis=0)
    assert values["accuracy"] == pytest.approx(curve["accuracy"].iloc[0])
    assert values["best_single_accuracy"] == pytest.approx(best_single(correct)[1])
    assert values["oracle_accuracy"] == pytest.approx(oracle_accuracy(correct))
    assert values["accuracy"] <= values["oracle_accuracy"] + 1e-12
    assert values["cost_saving_vs_max"] == pytest.approx(
        1 - curve["cost"].iloc[0] / mean_cost.max()
    )
    if np.ptp(mean_cost) > 1e-9:
        cheapest = np.isclose(mean_cost, mean_cost.min())
        bounds = (mean_cost.min(), mean_cost.max(), accuracy[cheapest].max())
        assert values["p_auccc"] == pytest.approx(
            auccc(curve["cost"], curve["accuracy"], *bounds), abs=1e-9
        )
        assert values["mdp_auccc"] == pytest.approx(
            values["p_auccc"] - values["model_pareto_auccc"]
        )
        assert values["model_pareto_auccc"] >= -1e-12


@settings(max_examples=40, deadline=None)
@given(pools())
def test_perfect_knowledge_is_the_oracle(pool):
    _, cost, correct, _ = pool
    values = metrics_of(correct, cost, correct)
    assert values["accuracy"] == pytest.approx(values["oracle_accuracy"])
    assert np.isnan(values["gap_closed"]) or values["gap_closed"] == pytest.approx(1)
    assert values["brier"] == values["ece"] == 0
    assert np.isnan(values["mean_auc"]) or values["mean_auc"] == 1
    assert not np.isnan(values["cost_saving_at_best_single"])


@settings(max_examples=40, deadline=None)
@given(pools())
def test_the_zero_router_is_never_below_the_front(pool):
    _, cost, correct, _ = pool
    values = zero_router_boot(cost, correct, np.ones((1, len(cost))))
    assert np.isnan(values["mdp_auccc"][0]) or values["mdp_auccc"][0] >= -1e-9


def test_blocks_of_replicates_do_not_show(monkeypatch):
    weights = drawn_weights(np.arange(5), 20, seed=0)
    whole = pool_metrics_boot(P, COST, CORRECT, 0.1, weights)
    monkeypatch.setattr(weighting, "BLOCK", 100)
    assert_same(pool_metrics_boot(P, COST, CORRECT, 0.1, weights), whole)


def test_targets_of_equal_cost_have_a_curve_that_must_be_sorted():
    # B and C cost the same: from B to C the curve goes up or down vertically, in whatever order it
    # was drawn.
    rng = np.random.default_rng(5)
    p, correct = rng.random((50, 3)), (rng.random((50, 3)) < 0.5).astype(float)
    cost = np.tile([1.0, 4, 4], (50, 1))
    weights = rng.poisson(1.0, (4, 50)).astype(float)
    values = pool_metrics_boot(p, cost, correct, 0.0, weights)
    for b, w in enumerate(weights):
        curve = router_curve(p, cost, correct, weights=w)
        single = [np.average(correct[:, k], weights=w) for k in range(3)]
        expected = auccc(curve["cost"], curve["accuracy"], 1.0, 4.0, single[0])
        assert values["p_auccc"][b] == pytest.approx(expected, abs=1e-12)
        points = np.append(curve["cost"], [1.0, 4, 4]), np.append(curve["accuracy"], single)
        front = pareto_front(*points)
        area = auccc(points[0][front], points[1][front], 1.0, 4.0, single[0])
        assert values["pdp_auccc"][b] == pytest.approx(area - expected, abs=1e-12)


def test_a_replicate_without_weight_is_undefined():
    values = pool_metrics_boot(P, COST, CORRECT, 0.0, np.vstack([np.zeros(5), np.ones(5)]))
    assert all(np.isnan(value[0]) for value in values.values())
    assert values["p_auccc"][1] == pytest.approx(0.45)
