"""Graded outcomes: a row graded y is y of a right row and 1 - y of a wrong one, everywhere.

Grades of 0 and 1 give the numbers of the plain formulas, to the last bit.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from prefill_router.data.labels import check_grades, class_rows, has_both_classes
from prefill_router.evaluate.agreement import agreement_zones, win_shares
from prefill_router.evaluate.auc import pair_auc_rows, pairwise_disagreement, weighted_auc
from prefill_router.evaluate.calibration import brier_rows, log_loss_rows
from prefill_router.evaluate.headroom import luck_of
from prefill_router.evaluate.metrics import best_single, disagree_accuracy, oracle_accuracy
from prefill_router.features.crossval import fold_aucs
from prefill_router.features.logistic import fit_logistic, rank_auc
from prefill_router.features.probes import fisher_j
from prefill_router.heads.baselines import KNNRouter, LogisticRouter, TfidfRouter, fit_columns
from prefill_router.heads.kernel import KernelRouter, fit_map
from prefill_router.heads.latent import IRTRouter, MatrixFactorisationRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.semantic import ClusterRouter, GradientBoostingRouter
from prefill_router.heads.trunk import TrunkEnsemble

SEEDS = st.integers(0, 10**6)


def thirds(seed, n=60, K=3, missing=0.1):
    """Grades of three answers, of scores that a few columns tell; some missing."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5))
    P = expit(x[:, :1] + 0.7 * x[:, 1 : 1 + K])
    Y = rng.binomial(3, P) / 3
    Y[rng.random(Y.shape) < missing] = np.nan
    return x, Y


def doubled(x, y):
    """Every known row once right and once wrong, and their weights: the plain way."""
    known = ~np.isnan(y)
    labels = np.repeat([1, 0], known.sum())
    return np.concatenate([x[known]] * 2), labels, np.concatenate([y[known], 1 - y[known]])


def test_rows_by_hand():
    rows, labels, weights = class_rows(np.array([2 / 3, np.nan, 1, 0]))
    assert rows.tolist() == [0, 0, 2, 3] and labels.tolist() == [1, 0, 1, 0]
    assert weights == pytest.approx([2 / 3, 1 / 3, 1, 1])
    rows, labels, weights = class_rows(np.array([1.0, 0.0, np.nan, 1.0]))
    assert (rows.tolist(), labels.tolist(), weights) == ([0, 1, 3], [1, 0, 1], None)
    table = np.array([[1, 1, 0.5, np.nan], [np.nan, 0, 0.5, np.nan]])
    assert has_both_classes(table).tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match="0 to 1 and NaN"):
        check_grades([[0.5, 1.1]])


# --- grades of 0 and 1: as before, to the last bit


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(5, 80))
def test_plain_outcomes_give_the_plain_numbers(seed, n):
    rng = np.random.default_rng(seed)
    x, Y = rng.standard_normal((n, 4)), (rng.random((n, 3)) < 0.6).astype(float)
    full = Y.copy()
    Y[rng.random(Y.shape) < 0.2] = np.nan
    p = np.round(rng.random((n, 3)), 1)  # with ties
    weights = np.vstack([np.ones(n), rng.integers(0, 4, (3, n))])
    for k in range(3):
        y, known = Y[:, k], ~np.isnan(Y[:, k])
        both = len(np.unique(y[known])) == 2
        assert has_both_classes(y) == both
        if not both:
            assert np.isnan(fisher_j(x, y)) and np.isnan(rank_auc(p, Y)[k])
            continue
        shifted = x - x[0]
        zero, one = shifted[y == 0], shifted[y == 1]
        between = float(np.square(one.mean(axis=0) - zero.mean(axis=0)).sum())
        within = float(zero.var(axis=0).sum() + one.var(axis=0).sum())
        assert fisher_j(x, y) == (between / within if within else np.inf)
        ranks, n1 = rankdata(p[known, k]), y[known].sum()
        above = (ranks * y[known]).sum() - n1 * (n1 + 1) / 2
        assert rank_auc(p, Y)[k] == above / (n1 * (known.sum() - n1))
        found = fit_columns(x, y[:, None], 1.0)[0]
        plain = LogisticRegression(C=1.0, max_iter=1000, solver="newton-cholesky", tol=1e-8)
        assert np.array_equal(found.coef_, plain.fit(x[known], y[known]).coef_)
        mapped = LogisticRegression(C=np.inf).fit(p[known, k][:, None], y[known])
        if mapped.coef_[0, 0] > 0:  # P never falls as values rise
            fitted = fit_map(p[:, k : k + 1], Y[:, k : k + 1])
            assert fitted == (mapped.coef_[0, 0], mapped.intercept_)
    right, differ = full[:, 0], full.max(axis=1) > full.min(axis=1)
    means = [
        right[differ] @ w[differ] / w[differ].sum() if w[differ].any() else np.nan for w in weights
    ]
    assert np.array_equal(disagree_accuracy(right, full, weights), means, equal_nan=True)
    zones = agreement_zones(full)
    assert zones["all_right"] == (full == 1).all(axis=1).mean()
    assert zones["all_wrong"] == (full == 0).all(axis=1).mean()
    assert np.array_equal(win_shares(full), (full == 1).T.astype(float) @ (full == 0) / n)
    assert luck_of(p, full)["oracle"] == oracle_accuracy(full)


def test_boosted_trees_of_plain_outcomes_are_the_plain_ones():
    x, Y = thirds(3, n=200)
    y = np.where(np.isnan(Y[:, 0]), np.nan, Y[:, 0] > 0.5)
    found = GradientBoostingRouter()._grow(x, y, 3, 20)
    known = ~np.isnan(y)
    plain = HistGradientBoostingClassifier(
        max_iter=20,
        max_leaf_nodes=3,
        max_bins=32,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    ).fit(x[known], y[known])
    assert np.array_equal(found.predict_proba(x), plain.predict_proba(x))


# --- grades: what scikit-learn gives for doubled rows with weights


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_aucs_and_losses_are_those_of_doubled_rows(seed):
    x, Y = thirds(seed)
    p = np.round(expit(x[:, :3]), 1)
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(p)), rng.integers(0, 3, len(p))])
    for k in range(3):
        for w, found in zip(weights, weighted_auc(p[:, k], Y[:, k], weights), strict=True):
            q, labels, shares = doubled(np.column_stack([p[:, k], w]), Y[:, k])
            expected = roc_auc_score(labels, q[:, 0], sample_weight=shares * q[:, 1])
            assert found == pytest.approx(expected, abs=1e-12)
        q, labels, shares = doubled(p[:, k], Y[:, k])
        assert rank_auc(p, Y)[k] == pytest.approx(
            roc_auc_score(labels, q, sample_weight=shares), abs=1e-12
        )
        inside = np.clip(q, 1e-7, 1 - 1e-7)
        assert log_loss_rows(p, Y, weights[:1])[0, k] == pytest.approx(
            log_loss(labels, inside, sample_weight=shares)
        )
        y = Y[:, k]
        assert brier_rows(p, Y, weights[:1])[0, k] + np.nanmean(y * (1 - y)) == pytest.approx(
            brier_score_loss(labels, q, sample_weight=shares)
        )


def test_auc_by_hand():
    # right 2/3 at 0.9 and 1/3 at 0.4; wrong 1/3 at 0.9 and 2/3 at 0.4. Pairs: 2/3 (1/6 + 2/3) +
    # 1/3 x 1/3 = 5/9 + 1/9, of 1 x 1
    y = np.array([2 / 3, 1 / 3])
    assert weighted_auc([0.9, 0.4], y, np.ones((1, 2)))[0] == pytest.approx(2 / 3)
    assert rank_auc(np.array([[0.9], [0.4]]), y[:, None])[0] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        weighted_auc([0.9, 0.4], [2.0, 0.0], np.ones((1, 2)))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_two_targets_are_compared_over_all_pairs_of_their_answers(seed):
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 2, (3, 12, 2)).astype(float)  # answer, query, target
    grades, p = drawn.mean(axis=0), np.round(rng.random((12, 2)), 1)
    # the plain AUC of the nine tables that have one of the three answers of each target
    tables = [
        np.stack([drawn[i, :, 0], drawn[j, :, 1]], axis=1) for i in range(3) for j in range(3)
    ]
    every, repeated = np.concatenate(tables), np.concatenate([p] * 9)
    expected = pair_auc_rows(repeated, every, np.ones((1, len(every))))
    assert np.allclose(pair_auc_rows(p, grades, np.ones((1, 12))), expected, equal_nan=True)
    n = pairwise_disagreement(repeated, every, ["a", "b"])["n"][0]
    assert pairwise_disagreement(p, grades, ["a", "b"])["n"][0] == round(n / 9)
    assert win_shares(grades) == pytest.approx(win_shares(every))
    zones, plain = agreement_zones(grades), agreement_zones(every)
    assert zones["disagree"] == pytest.approx(plain["disagree"])
    ones = np.ones((1, len(every)))
    assert disagree_accuracy(grades[:, 0], grades, ones[:, :12]) == pytest.approx(
        disagree_accuracy(every[:, 0], every, ones), nan_ok=True
    )


def test_accuracy_and_oracle_by_hand():
    y = np.array([[1, 2 / 3], [1 / 3, 2 / 3], [0, 0]])
    assert best_single(y) == (0, pytest.approx(4 / 9))  # the first of equals
    assert oracle_accuracy(y) == pytest.approx((1 + 2 / 3 + 0) / 3)
    # one answer of each: 1, 1 - 2/3 x 1/3, 0
    assert luck_of(y, y)["oracle"] == pytest.approx((1 + 7 / 9) / 3)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_regressions_and_fisher_j_are_those_of_doubled_rows(seed):
    x, Y = thirds(seed)
    w, intercept = fit_logistic(x, Y, [5], 0.5)
    for k, model in enumerate(fit_columns(x, Y, 0.5)):
        z, labels, shares = doubled(x, Y[:, k])
        plain = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-10)
        plain.fit(z, labels, sample_weight=shares)
        for coefficients, b in ((w[0, k], intercept[0, k]), (model.coef_[0], model.intercept_[0])):
            assert coefficients == pytest.approx(plain.coef_[0], abs=1e-4)
            assert b == pytest.approx(plain.intercept_[0], abs=1e-4)
        (one, within_one), (zero, within_zero) = (
            (
                mean := np.average(z, axis=0, weights=of),
                np.average((z - mean) ** 2, axis=0, weights=of),
            )
            for of in (shares * labels, shares * (1 - labels))
        )
        expected = ((one - zero) ** 2).sum() / (within_one.sum() + within_zero.sum())
        assert fisher_j(x, Y[:, k]) == pytest.approx(expected)


def test_probe_of_grades():
    x, Y = thirds(1, n=90)
    aucs, rank = fold_aucs(x, Y, np.arange(90) % 3, [5])
    assert rank == 5 and aucs.mean() > 0.65


@pytest.mark.parametrize(
    "router",
    [
        LogisticRouter(folds=3),
        KNNRouter(folds=3),
        KernelRouter(),
        ClusterRouter(clusters=(4,), tops=(1, 2), folds=3),
        GradientBoostingRouter(max_iter=20),
        MatrixFactorisationRouter(dims=(4,), weight_decays=(1e-2,), members=1),
        IRTRouter(dims=(4,), weight_decays=(1e-2,), members=1),
        TrunkEnsemble(TrunkConfig(hidden=(16,), dropout=(0.1,), members=2, keep=1, max_epochs=100)),
    ],
    ids=lambda router: type(router).__name__,
)
def test_every_router_learns_from_grades(router):
    x, Y = thirds(5, n=400, missing=0.05)
    p = router.fit(x[:300], Y[:300]).predict_proba(x[300:])
    truth = expit(x[300:, :1] + 0.7 * x[300:, 1:4])
    assert p.shape == (100, 3) and (p >= 0).all() and (p <= 1).all()
    # nearer to the true P than the constant rate is
    rate = np.nanmean(Y[:300], axis=0)
    assert ((p - truth) ** 2).mean() < 0.8 * ((rate - truth) ** 2).mean()


def test_texts_are_learnt_from_grades():
    prompts = [f"easy sum {i}" if i % 2 else f"hard proof {i}" for i in range(60)]
    Y = np.where(np.arange(60)[:, None] % 2, [2 / 3, 1], [1 / 3, 2 / 3])
    p = TfidfRouter(Cs=(30.0,)).fit(prompts, Y).predict_proba(prompts)
    assert np.abs(p - Y).max() < 0.1
