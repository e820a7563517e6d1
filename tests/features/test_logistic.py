"""Logistic regressions solved together, against scikit-learn; AUC of many columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from prefill_router.features.logistic import fit_logistic, rank_auc


def problem(seed, n=120, d=12, targets=3, missing=0.2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.linspace(4, 0.2, d) + 0.5
    Y = (x[:, :targets] + 2 * rng.normal(size=(n, targets)) > 0.3).astype(float)
    Y[rng.random(Y.shape) < missing] = np.nan
    Y[:2] = [[0.0] * targets, [1.0] * targets]
    return x, Y


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([1e-3, 1e-2, 1.0, 100.0]), st.sampled_from([0.0, 0.3])
)
def test_every_regression_is_that_of_scikit_learn(seed, C, missing):
    x, Y = problem(seed, missing=missing)
    sizes = [1, 5, 12]
    coefficients, intercepts = fit_logistic(x, Y, sizes, C)
    assert coefficients.shape == (3, 3, 12) and intercepts.shape == (3, 3)
    for s, size in enumerate(sizes):
        assert not coefficients[s, :, size:].any()
        for k in range(3):
            known = ~np.isnan(Y[:, k])
            z, y = np.column_stack([x[known, :size], np.ones(known.sum())]), Y[known, k]
            reference = LogisticRegression(
                C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000
            ).fit(z[:, :size], y)
            expected = np.append(reference.coef_[0], reference.intercept_[0])
            # The search ends at a millionth of the gradient at zero. A gradient of length g is, to
            # first order, at most
            # g / (least curvature) from the optimum, and weak penalties leave some directions
            # almost flat.
            p = expit(z @ expected)
            curvature = C * z.T @ (z * (p * (1 - p))[:, None]) + np.diag([1.0] * size + [0.0])
            reach = 1e-6 * np.linalg.norm(C * z.T @ (0.5 - y)) / np.linalg.eigvalsh(curvature)[0]
            found = np.append(coefficients[s, k, :size], intercepts[s, k])
            assert np.linalg.norm(found - expected) <= 1.1 * reach + 1e-6
            np.testing.assert_allclose(expit(z @ found), p, atol=1e-4)


def test_optimum_by_hand():
    # Two rows x = -1, +1 with labels 0, 1 and C = 1: by symmetry the intercept is 0, and the
    # gradient vanishes where
    # w = 2 * (1 - sigmoid(w)) = 2 / (1 + e^w): at 0.675, as 2 / (1 + 1.964) = 0.675.
    coefficients, intercepts = fit_logistic(
        np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]]), [1], 1.0
    )
    w = coefficients[0, 0, 0]
    assert (
        w == pytest.approx(0.675, abs=5e-4)
        and w == pytest.approx(2 / (1 + np.exp(w)), abs=1e-6)
        and intercepts[0, 0] == pytest.approx(0, abs=1e-9)
    )


def test_what_stands_beside_a_regression_does_not_change_it():
    x, Y = problem(3)
    together, _ = fit_logistic(x, Y, [4, 12], 0.1)
    for k in range(3):
        alone, _ = fit_logistic(x, Y[:, [k]], [12], 0.1)
        np.testing.assert_allclose(together[1, k], alone[0, 0], atol=1e-5)


def test_separable_classes_and_far_off_columns_converge():
    x = np.r_[np.linspace(-3, -1, 20), np.linspace(1, 3, 20)][:, None] + 500
    Y = (x > 500).astype(float)
    reference = LogisticRegression(C=10.0, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(
        x, Y[:, 0]
    )
    coefficients, _ = fit_logistic(x, Y, [1], 10.0)
    assert coefficients[0, 0, 0] == pytest.approx(reference.coef_[0, 0], rel=1e-3)


def test_what_cannot_be_fitted_is_refused():
    x, Y = problem(0)
    with pytest.raises(ValueError, match="between 1 and the 12 columns"):
        fit_logistic(x, Y, [13], 1.0)
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, 1.0)
    with pytest.raises(ValueError, match=r"columns \[1\]"):
        fit_logistic(x, Y, [3], 1.0)


def test_auc_by_hand():
    # Right: 3, 1; wrong: 2, 1. Of four pairs 3 > 2 and 3 > 1 count one, 1 < 2 none, 1 = 1 half: 2.5
    # / 4.
    scores, Y = (
        np.array([[3.0], [1.0], [2.0], [1.0], [9.0]]),
        np.array([[1.0], [1.0], [0.0], [0.0], [np.nan]]),
    )
    assert rank_auc(scores, Y)[0] == 2.5 / 4
    assert np.isnan(rank_auc(scores, np.where(Y == 0, 1, Y))).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_auc_is_that_of_scikit_learn(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (30, 4)).astype(float)  # few levels: many ties
    Y = rng.choice([0.0, 1.0, np.nan], (30, 4))
    Y[:2] = [[0.0] * 4, [1.0] * 4]
    known = ~np.isnan(Y)
    expected = [roc_auc_score(Y[known[:, k], k], scores[known[:, k], k]) for k in range(4)]
    np.testing.assert_allclose(rank_auc(scores, Y), expected, atol=1e-12)
