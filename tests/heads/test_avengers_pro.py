"""Avengers-Pro: its clusters, and its score of accuracy and cost worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from prefill_router.heads.avengers_pro import AvengersProRouter, avengers_pro_scores
from prefill_router.heads.semantic import ClusterRouter

pytestmark = pytest.mark.usefixtures("one_thread")

nan = np.nan


def directions(*degrees):
    angles = np.deg2rad(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


# Two bundles of four directions, near 0 and near 90 degrees.
X = directions(0, 1, 2, 3, 87, 88, 89, 90) * np.array([1, 20, 3, 0.1, 5, 2, 1, 7])[:, None]
# Accuracy near 0: A 4/4, B 2/4, C 0/4. Near 90: A 1/4, B 1/4, C 3/4.
Y = np.array(
    [[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]], float
)
# Mean cost near 0: A 10, B 4, C 2. Near 90: A 3, B 1; of C none is known, so its overall mean: 2.
COSTS = np.array(
    [
        [8, 4, 2], [12, 4, 2], [nan, 3, nan], [10, 5, 2],
        [3, 1, nan], [3, 1, nan], [2, 1, nan], [4, nan, nan],
    ]
)  # fmt: skip
ASKED = directions(10, 70)


def fitted(top):
    return AvengersProRouter((2,), (top,), folds=2).fit(X, Y)


def test_p_is_the_plain_accuracy_of_the_nearest_clusters():
    near = [[1, 0.5, 0], [0.25, 0.25, 0.75]]
    np.testing.assert_allclose(fitted(1).predict_proba(ASKED), near)
    np.testing.assert_allclose(fitted(2).predict_proba(ASKED), [np.mean(near, axis=0)] * 2)
    plain = ClusterRouter((2,), (1,), (0.0,), folds=2).fit(X, Y)
    np.testing.assert_array_equal(fitted(1).predict_proba(X), plain.predict_proba(X))


def test_scores_by_hand():
    # Scaled within a cluster. Near 0: accuracy 1, 1/2, 0; cost (10, 4, 2) is 1, 1/4, 0. With alpha
    # 0.6: 0.6 x 1 + 0.4 x 0, 0.6 x 1/2 + 0.4 x 3/4, 0.6 x 0 + 0.4 x 1. Near 90: accuracy 0, 0, 1;
    # cost (3, 1, 2) is 1, 0, 1/2: 0, 0.4 x 1, 0.6 x 1 + 0.4 x 1/2.
    near = [[0.6, 0.6, 0.4], [0.0, 0.4, 0.8]]
    np.testing.assert_allclose(avengers_pro_scores(fitted(1), ASKED, COSTS, 0.6), near, atol=1e-12)
    both = avengers_pro_scores(fitted(2), ASKED, COSTS, 0.6)
    np.testing.assert_allclose(both, [[0.6, 1.0, 1.2]] * 2)
    quality = avengers_pro_scores(fitted(1), ASKED, COSTS, 1.0)
    np.testing.assert_allclose(quality, [[1, 0.5, 0], [0, 0, 1]])
    price = avengers_pro_scores(fitted(1), ASKED, COSTS, 0.0)
    np.testing.assert_allclose(price, [[0, 0.75, 1], [0, 1, 0.5]])


def test_targets_that_do_not_differ_differ_in_no_score():
    router = AvengersProRouter((2,), (1,), folds=2).fit(X, np.repeat(Y[:, :1], 3, axis=1))
    scores = avengers_pro_scores(router, ASKED, np.full((8, 3), 7.0), 0.25)
    np.testing.assert_allclose(scores, 0.75)


def test_costs_of_rows_without_an_outcome_count():
    # no outcome at 4 degrees, so nothing is learnt, but the cost there is known: A 60 over 4 rows
    router = fitted(1)
    more = AvengersProRouter((2,), (1,), folds=2).fit(
        np.vstack([X, directions(4)]), np.vstack([Y, [nan] * 3])
    )
    np.testing.assert_array_equal(more.accuracy_, router.accuracy_)
    price = avengers_pro_scores(more, ASKED[:1], np.vstack([COSTS, [30, 10, nan]]), 0.0)
    # mean costs A 60 / 4 = 15, B 26 / 5 = 5.2, C 2: 5.2 lies 3.2 / 13 of the way from 2 to 15
    np.testing.assert_allclose(price, [[0, 1 - 3.2 / 13, 1]])


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(NotFittedError):
        avengers_pro_scores(AvengersProRouter(), ASKED, COSTS, 0.5)
    with pytest.raises(ValueError, match=r"costs \(7, 3\) must have the shape \(8, 3\)"):
        avengers_pro_scores(fitted(1), ASKED, COSTS[1:], 0.5)
    with pytest.raises(ValueError, match=r"columns \[1\] of costs"):
        avengers_pro_scores(fitted(1), ASKED, COSTS * [1, nan, 1], 0.5)
    for alpha in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            avengers_pro_scores(fitted(1), ASKED, COSTS, alpha)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.1, 1000), st.integers(1, 4))
def test_scores_do_not_depend_on_the_unit_of_costs_and_stay_in_range(seed, alpha, unit, top):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(24, 3)), rng.integers(0, 2, (24, 3)).astype(float)
    costs = rng.lognormal(size=(24, 3))
    router = AvengersProRouter((4,), (top,), folds=2).fit(x, y)
    scores = avengers_pro_scores(router, x, costs, alpha)
    np.testing.assert_allclose(avengers_pro_scores(router, x, costs * unit, alpha), scores)
    assert (scores >= -1e-12).all() and (scores <= top + 1e-12).all()
    if top == 1:  # quality alone: the target of the highest accuracy in the nearest cluster
        best = avengers_pro_scores(router, x, costs, 1.0).argmax(axis=1)
        np.testing.assert_array_equal(best, router.predict_proba(x).argmax(axis=1))
