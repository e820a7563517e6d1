"""Predicted categories: worked by hand, against scikit-learn, and on categories never seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from prefill_router.data.splits import group_folds
from prefill_router.heads.categories import CategoryResidualRouter, PredictedCategoryRouter
from prefill_router.heads.controls import GroupMeanRouter
from prefill_router.heads.kernel import KernelRouter

pytestmark = pytest.mark.usefixtures("one_thread")

nan = np.nan


@pytest.fixture(scope="module")
def problem():
    """Three categories as clouds of embeddings; A hangs on the category, B on it and on the place
    within the cloud.
    """
    rng = np.random.default_rng(0)
    categories = rng.choice(["algebra", "law", "poetry"], 400)
    rate = {"algebra": 0.9, "law": 0.5, "poetry": 0.1}
    centre = {name: 2 * vector for name, vector in zip(rate, np.eye(3, 5), strict=True)}
    X = np.array([centre[c] for c in categories]) + 0.7 * rng.normal(size=(400, 5))
    p = np.array([rate[c] for c in categories])
    Y = np.column_stack([rng.random(400) < p, rng.random(400) < expit(logit(p) + 3 * X[:, 4])])
    return X, np.where(rng.random((400, 2)) < 0.1, nan, Y.astype(float)), categories


def test_predicted_category_by_hand():
    # Category a lies left, b right, three rows each. A: overall 3/5; with smoothing 2 a has
    # (2 + 2 x 3/5) / (2 + 2) = 0.8, b (1 + 6/5) / 5 = 0.44. B: overall 1/6; a (1 + 1/3) / 5 = 4/15,
    # b (0 + 1/3) / 5 = 1/15. Far out the category is certain; in the middle each has 1/2.
    X = np.array([[-1.0], [-1.1], [-0.9], [1.0], [1.1], [0.9]])
    Y = np.array([[1, 0], [1, 0], [nan, 1], [1, 0], [0, 0], [0, 0]])
    router = PredictedCategoryRouter(Cs=(10.0,), smoothing=2, folds=2)
    router.fit(X, Y, np.arange(6) % 3, categories=list("aaabbb"))
    p = router.predict_proba(np.array([[-99.0], [0.0], [99.0]]))
    expected = [[0.8, 4 / 15], [0.62, 1 / 6], [0.44, 1 / 15]]
    np.testing.assert_allclose(p, expected, atol=1e-4)
    assert list(router.categories_) == ["a", "b"]


def test_predicted_category_is_the_total_probability(problem):
    known = ~np.isnan(problem[1]).all(axis=1)  # rows without an outcome teach nothing
    X, Y, categories = (part[known] for part in problem)
    router = PredictedCategoryRouter(Cs=(0.03,), folds=2).fit(X, Y, categories=categories)
    z = StandardScaler().fit(X)
    reference = LogisticRegression(C=0.03, tol=1e-10, max_iter=5000, solver="newton-cg")
    shares = reference.fit(z.transform(X), categories).predict_proba(z.transform(X))
    # smoothing is that of the router that is told the category
    told = GroupMeanRouter().fit(categories, Y).predict_proba(reference.classes_)
    np.testing.assert_allclose(router.predict_proba(X), shares @ told, atol=1e-3)


def test_C_has_the_lowest_brier_score_on_held_out_groups(problem):
    X, Y, categories = problem
    groups, Cs, overall = np.arange(400) // 4, (1e-4, 1e-2, 1.0), np.nanmean(Y, axis=0)
    fold, losses = group_folds(groups, 3, 0), []
    for C in Cs:
        loss = 0.0
        for f in range(3):
            inside, outside = fold != f, fold == f
            z = StandardScaler().fit(X[inside])
            fitted = LogisticRegression(C=C, max_iter=1000)
            fitted.fit(z.transform(X[inside]), categories[inside])
            rows = [Y[inside & (categories == c)] for c in fitted.classes_]
            means = [
                (np.nansum(r, axis=0) + 5 * overall) / ((~np.isnan(r)).sum(axis=0) + 5)
                for r in rows
            ]
            p = fitted.predict_proba(z.transform(X[outside])) @ means
            loss += np.nansum((p - Y[outside]) ** 2)
        losses.append(loss)
    router = PredictedCategoryRouter(Cs, folds=3).fit(X, Y, groups, categories=categories)
    assert Cs[int(np.argmin(losses))] == router.C_


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 50))
def test_p_lies_between_the_extreme_categories(seed, count, smoothing):
    rng = np.random.default_rng(seed)
    X, categories = rng.normal(size=(24, 3)), rng.integers(0, count, 24)
    Y = rng.choice([0.0, 1.0, nan], size=(24, 2))
    Y[:2] = [[0, 1], [1, 0]]
    router = PredictedCategoryRouter((0.1,), smoothing, folds=2).fit(X, Y, categories=categories)
    known = ~np.isnan(Y).all(axis=1)
    told = GroupMeanRouter(smoothing).fit(categories[known], Y[known])
    told = told.predict_proba(np.unique(categories[known]))
    p = router.predict_proba(5 * rng.normal(size=(9, 3)))
    assert (p >= told.min(axis=0) - 1e-12).all() and (p <= told.max(axis=0) + 1e-12).all()


def test_residual_is_added_before_the_map(problem):
    X, Y, categories = problem
    router = CategoryResidualRouter(folds=3).fit(X, Y, categories=categories)
    means = PredictedCategoryRouter(folds=3).fit(X, Y, categories=categories).predict_proba(X)
    slope, intercept = router._map
    np.testing.assert_allclose(
        (logit(router.predict_proba(X)) - intercept) / slope - means,
        router._residual.predict_values(X),
        atol=1e-6,
    )


def test_residual_learns_what_the_category_does_not_tell(problem):
    X, Y, categories = problem
    loss = {}
    for kind in (PredictedCategoryRouter, CategoryResidualRouter):
        router = kind(folds=3).fit(X[:250], Y[:250], categories=categories[:250])
        loss[kind] = np.nanmean((router.predict_proba(X[250:]) - Y[250:]) ** 2, axis=0)
    gain = loss[PredictedCategoryRouter] - loss[CategoryResidualRouter]
    assert gain[1] > 0.03  # B hangs on the place within the cloud
    assert abs(gain[0]) < 0.02  # A does not: what is left is noise, and is shrunk


def test_one_category_leaves_the_kernel_router(problem):
    # rows without an outcome are dropped by one and not by the other, and would move the folds
    known = ~np.isnan(problem[1]).all(axis=1)
    X, Y, alike = problem[0][known], problem[1][known], ["all"] * known.sum()
    one = PredictedCategoryRouter(folds=3).fit(X, Y, categories=alike).predict_proba(X)
    # the mean of all, shrunk towards itself
    np.testing.assert_allclose(one, np.tile(np.nanmean(Y, axis=0), (len(X), 1)))
    p = CategoryResidualRouter(folds=3).fit(X, Y, categories=alike).predict_proba(X)
    np.testing.assert_allclose(p, KernelRouter().fit(X, Y).predict_proba(X), atol=0.03)


@pytest.mark.parametrize("kind", [PredictedCategoryRouter, CategoryResidualRouter])
def test_families_held_out_whole(kind, problem):
    # every fold lacks the categories that it is asked about, as do the test rows
    X, Y, categories = problem
    finer = np.char.add(categories, (np.arange(400) % 3).astype(str))
    train = categories != "law"
    router = kind(folds=3).fit(X[train], Y[train], finer[train], categories=finer[train])
    p = router.predict_proba(np.vstack([X[~train], 1e3 * X[:3]]))
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()
    assert not set(router.categories_) & set(finer[~train])


@pytest.mark.parametrize("kind", [PredictedCategoryRouter, CategoryResidualRouter])
def test_categories_are_asked_for(kind, problem):
    X, Y, categories = problem
    with pytest.raises(ValueError, match="X has 400 rows, categories none"):
        kind().fit(X, Y)
    with pytest.raises(ValueError, match="X has 400 rows, categories 399"):
        kind().fit(X, Y, categories=categories[1:])
    with pytest.raises(ValueError, match="smoothing=-1"):
        kind(smoothing=-1)
