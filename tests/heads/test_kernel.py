"""The kernel router: against plain formulas, and on problems with a planted common difficulty and
planted differences.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression

from prefill_router.evaluate.auc import mean_auc, pairwise_disagreement
from prefill_router.heads.gram import Block, fill_missing, gaussian_gram, read_states
from prefill_router.heads.kernel import LEAST_SLOPE, KernelRouter, fit_map, probabilities
from prefill_router.heads.ridge import held_out_predictions, solve_ridge


class Store:
    """Layers in memory, read as an ActivationStore is."""

    def __init__(self, n_layers, d=2):
        self.n_layers, self.d = n_layers, d

    def read(self, layer, pooling, query_ids):
        return np.full(
            (len(query_ids), self.d), layer + (0.5 if pooling == "mean" else 0.0), np.float32
        )


@pytest.fixture(scope="module")
def problem():
    """Difficulty in the first column, a difference between targets 0 and 1 in the second; the other
    columns are noise.
    """
    rng = np.random.default_rng(0)
    n, K = 900, 6
    x = rng.normal(size=(n, 6)).astype(np.float32)
    logits = (
        2.5 * x[:, :1] + np.array([1.5, -1.5, 0, 0, 0, 0]) * x[:, 1:2] + np.linspace(-0.5, 0.5, K)
    )
    Y = (logits + rng.logistic(size=(n, K)) > 0).astype(float)
    return x, Y


def test_states_are_those_of_the_upper_layers_with_the_last_one_always_there():
    assert read_states(Store(6), ["a"]).tolist() == [
        [2, 2, 2.5, 2.5, 4, 4, 4.5, 4.5, 6, 6, 6.5, 6.5]
    ]
    assert read_states(Store(7), ["a", "b"], poolings=("last",))[1].tolist() == [3, 3, 5, 5, 7, 7]
    assert read_states(Store(1), ["a"], poolings=("mean",)).tolist() == [[1.5, 1.5]]


def test_kernel_is_the_gaussian_of_standardised_columns_and_constant_columns_count_as_zero():
    rng = np.random.default_rng(1)
    x = rng.normal(3, [1, 5, 0.1], size=(40, 3)).astype(np.float32)
    z = (x - x.mean(0)) / x.std(0)
    expected = RBF(length_scale=np.sqrt(3 / (2 * 0.7)))(z)  # exp(-0.7 * |a - b|^2 / 3)
    np.testing.assert_allclose(Block.of(x).kernel(x, 0.7), expected, atol=2e-5)
    with_constant = np.column_stack([x, np.full(40, 7.0)]).astype(np.float32)
    np.testing.assert_allclose(
        Block.of(with_constant).kernel(with_constant, 0.7 * 4 / 3), expected, atol=2e-5
    )


def test_solution_and_held_out_predictions_are_those_of_sklearn():
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    kernel = RBF()(x)
    ridge = KernelRidge(alpha=0.4, kernel="precomputed").fit(kernel, t)
    np.testing.assert_allclose(solve_ridge(kernel, t, 0.4), ridge.dual_coef_, rtol=1e-8)
    fold = np.arange(30) % 3
    held_out = held_out_predictions(kernel, t, fold, [0.4, 5.0])
    train, test = fold != 1, fold == 1
    mean = t[train].mean(axis=0)
    plain = KernelRidge(alpha=5.0, kernel="precomputed").fit(
        kernel[np.ix_(train, train)], t[train] - mean
    )
    np.testing.assert_allclose(
        held_out[1, test], mean + plain.predict(kernel[np.ix_(test, train)]), rtol=1e-8
    )


def test_it_learns_difficulty_with_little_shrinkage_and_differences_with_more(problem):
    x, Y = problem
    router = KernelRouter().fit(x[:700], Y[:700])
    p = router.predict_proba(x[700:])
    assert p.shape == (200, 6) and ((p > 0) & (p < 1)).all()
    assert mean_auc(p, Y[700:]) > 0.8
    pairs = pairwise_disagreement(p, Y[700:], list("abcdef")).set_index(["target_a", "target_b"])[
        "auc"
    ]
    assert pairs["a", "b"] > 0.75
    assert router.r2_[0] > router.r2_[1] > router.r2_[3]
    assert router.ridges_used[0] < np.median(router.ridges_used[2:])


def test_further_targets_on_the_same_queries_help(problem):
    x, Y = problem
    alone = KernelRouter().fit(x[:300], Y[:300, :2]).predict_proba(x[300:])
    helped = KernelRouter().fit(x[:300], Y[:300]).predict_proba(x[300:])[:, :2]
    assert mean_auc(helped, Y[300:, :2]) > mean_auc(alone, Y[300:, :2])


def test_without_signal_every_query_goes_to_the_best_single_target():
    rng = np.random.default_rng(4)
    x, Y = rng.normal(size=(600, 5)), (rng.random((600, 3)) < [0.3, 0.5, 0.8]).astype(float)
    p = KernelRouter().fit(x[:400], Y[:400]).predict_proba(x[400:])
    assert (p.argmax(axis=1) == 2).all()


def test_the_map_rises_where_held_out_values_fall_with_the_outcomes():
    values, Y = np.array([[0.2, 0.4], [0.6, 0.8]]), np.array([[1.0, 1.0], [np.nan, 0.5]])
    # the known grades 1, 1 and 0.5 have the mean 5 / 6, their values the mean (0.2 + 0.4 + 0.8) / 3
    slope, intercept = fit_map(values, Y)
    assert slope == LEAST_SLOPE == 1e-3
    assert intercept == pytest.approx(np.log(5) - 1e-3 * 1.4 / 3)
    p = probabilities(values, (slope, intercept))
    assert (np.diff(p.ravel()) > 0).all() and np.allclose(p, 5 / 6, atol=1e-4)
    # a slope above 0 is left as it is fitted
    plain = LogisticRegression(C=np.inf).fit([[0.2], [0.4], [0.6], [0.8]], [0, 1, 0, 1])
    found = fit_map(values, np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert found == (plain.coef_[0, 0], plain.intercept_[0]) and found[0] > 0


def test_without_signal_no_query_is_sent_to_the_worse_target():
    rng = np.random.default_rng(11)  # the held-out values fall with the outcomes here
    x, Y = rng.standard_normal((120, 64)), (rng.random((120, 2)) < [0.6, 0.5]).astype(float)
    router = KernelRouter().fit(x.astype(np.float32), Y)
    p = router.predict_proba(rng.standard_normal((500, 64)).astype(np.float32))
    assert (p.argmax(axis=1) == Y.mean(axis=0).argmax()).mean() > 0.9


def test_of_two_encoders_the_noisy_one_is_left_out(problem):
    x, Y = problem
    noise = np.random.default_rng(3).normal(size=(900, 40))
    X = {"good": x, "noise": noise}
    train, test = {k: v[:500] for k, v in X.items()}, {k: v[500:] for k, v in X.items()}
    router = KernelRouter().fit(train, Y[:500])
    assert router.encoders_used == ("good",) and set(router.cv_error) == {
        ("good",),
        ("noise",),
        ("good", "noise"),
    }
    np.testing.assert_array_equal(
        router.predict_proba({"good": test["good"]}), router.predict_proba(test)
    )
    twice = KernelRouter().fit({"a": x[:500], "b": x[:500]}, Y[:500])
    np.testing.assert_allclose(twice.cv_error["a",], twice.cv_error["a", "b"], rtol=1e-6)


def test_rows_of_a_group_do_not_vouch_for_each_other():
    """Every query stands there three times and its outcomes are noise: only across folds would
    copies look like evidence.
    """
    rng = np.random.default_rng(7)
    x, Y, groups = (
        np.repeat(a, 3, axis=0)
        for a in (
            rng.normal(size=(150, 4)),
            (rng.random((150, 2)) < 0.5).astype(float),
            np.arange(150),
        )
    )
    grouped, alone = KernelRouter().fit(x, Y, groups), KernelRouter().fit(x, Y)
    assert grouped.r2_.max() < 0.05 and alone.r2_.min() > 0.2
    part = KernelRouter(cv_rows=240).fit(x, Y, groups)
    assert part.r2_.max() < 0.1


def test_missing_outcomes_are_expected_values_not_wrong_answers():
    Y = np.array(
        [
            [1, 1, 0],
            [0, 0, 1],
            [1, 1, 0],
            [0, 0, 1],
            [1, 1, 1],
            [0, 0, 0],
            [1, np.nan, 0],
            [0, np.nan, 1],
        ],
        float,
    )
    filled = fill_missing(Y)
    np.testing.assert_array_equal(filled[:6], Y[:6])
    np.testing.assert_array_equal(filled[:, [0, 2]], Y[:, [0, 2]])
    assert filled[6, 1] > 0.6 > 0.4 > filled[7, 1]  # as the target that it agrees with
    only = fill_missing(np.array([[1.0], [0.0], [np.nan], [1.0]]))
    assert only[2, 0] == pytest.approx(2 / 3)


def test_a_target_with_gaps_keeps_its_level(problem):
    x, Y = problem
    gaps = Y[:700].copy()
    gaps[np.random.default_rng(5).random(700) < 0.4, 0] = np.nan
    p = KernelRouter().fit(x[:700], gaps).predict_proba(x[700:])
    full = KernelRouter().fit(x[:700], Y[:700]).predict_proba(x[700:])
    assert p[:, 0].mean() == pytest.approx(full[:, 0].mean(), abs=0.03)
    assert mean_auc(p[:, :1], Y[700:, :1]) > 0.8


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_targets_does_not_matter(problem, order):
    x, Y = problem
    p, q = (
        KernelRouter(ridges=(1.0, 30.0)).fit(x[:120], y).predict_proba(x[120:150])
        for y in (Y[:120], Y[:120][:, order])
    )
    np.testing.assert_allclose(p[:, order], q, atol=1e-6)


def test_cross_validation_may_look_at_a_part_of_the_rows(problem):
    x, Y = problem
    groups = np.arange(600) // 2
    part = KernelRouter(cv_rows=200).fit(x[:600], Y[:600], groups)
    whole, all_of_them = (
        KernelRouter().fit(x[:600], Y[:600], groups),
        KernelRouter(cv_rows=600).fit(x[:600], Y[:600], groups),
    )
    assert part.cv_error != whole.cv_error and all_of_them.cv_error == whole.cv_error
    assert mean_auc(part.predict_proba(x[600:]), Y[600:]) == pytest.approx(
        mean_auc(whole.predict_proba(x[600:]), Y[600:]), abs=0.02
    )


def test_the_same_numbers_twice(problem):
    x, Y = problem
    a, b = (
        KernelRouter().fit(x[:200], Y[:200], np.arange(200) // 2).predict_proba(x[200:])
        for _ in range(2)
    )
    assert a.tobytes() == b.tobytes()


def test_precomputed_kernels_give_what_states_give(problem):
    x, Y = problem
    states, rows = {"a": x, "b": x[:, :3]}, np.arange(0, 900, 3)
    grams = {name: gaussian_gram(s, rows) for name, s in states.items()}
    expected = KernelRouter().fit({name: s[rows] for name, s in states.items()}, Y[rows])
    router = KernelRouter(precomputed=True).fit(
        {name: gram[rows] for name, gram in grams.items()}, Y[rows]
    )
    assert router.encoders_used == expected.encoders_used
    np.testing.assert_allclose(
        router.predict_proba(grams), expected.predict_proba(states), atol=1e-5
    )
    with pytest.raises(ValueError, match=r"shape \(900, 300\).*square"):
        KernelRouter(precomputed=True).fit(np.zeros((900, 300)), Y)
    with pytest.raises(ValueError, match="width 300"):
        router.predict_proba({name: gram[:, :50] for name, gram in grams.items()})


def test_refinement_reaches_float64_also_with_little_ridge():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 2))
    kernel, t = (
        RBF()(x),
        rng.normal(size=(400, 3)),
    )  # nearly singular: condition number above 1e5 with this ridge
    np.testing.assert_allclose(
        solve_ridge(kernel, t, 1e-3),
        np.linalg.solve(kernel + 1e-3 * np.eye(400), t),
        rtol=1e-6,
        atol=1e-6 * np.abs(t).max() / 1e-3,
    )


def test_clear_errors(problem):
    x, Y = problem
    with pytest.raises(NotFittedError):
        KernelRouter().predict_proba(x)
    with pytest.raises(ValueError, match="no states"):
        KernelRouter().fit({}, Y)
    with pytest.raises(ValueError, match="good has 10 rows, Y 900"):
        KernelRouter().fit({"good": x[:10]}, Y)
    with pytest.raises(ValueError, match="first in row 3"):
        KernelRouter().fit(np.where(np.arange(900)[:, None] == 3, np.nan, x), Y)
    with pytest.raises(ValueError, match="no outcome"):
        KernelRouter().fit(x, np.column_stack([Y, np.full(900, np.nan)]))
    router = KernelRouter().fit({"good": x[:100]}, Y[:100])
    with pytest.raises(ValueError, match="good are missing"):
        router.predict_proba({"other": x})
    with pytest.raises(ValueError, match="width 3"):
        router.predict_proba({"good": x[:, :3]})
