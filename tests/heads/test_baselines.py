"""Baselines: hand-worked predictions, scikit-learn as reference, masked outcomes, no look at test
rows.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from prefill_router.data.splits import group_folds
from prefill_router.heads import baselines
from prefill_router.heads.baselines import KNNRouter, LogisticRouter, MLPRouter, TfidfRouter
from prefill_router.heads.controls import GroupMeanRouter, PromptLengthRouter, RandomRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.router_base import target_rates
from prefill_router.heads.trunk import TrunkEnsemble

pytestmark = pytest.mark.usefixtures("one_thread")

nan = np.nan
TINY = TrunkConfig(hidden=(8,), dropout=(0.0,), learning_rate=1e-2, max_epochs=5, members=2, keep=1)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 6)) * [1, 1, 1, 1, 1, 100] + 3
    Y = (X[:, :2] - 3 + 0.7 * rng.normal(size=(240, 2)) > 0).astype(float)
    return X, Y


def prompts_of(Y):
    return [
        f"question {i} about {'rivers' if y else 'integrals'} number{i % 7}"
        for i, y in enumerate(Y[:, 0])
    ]


ROUTERS = {
    "random": (lambda: RandomRouter(seed=0), lambda X, Y: X),
    "group": (GroupMeanRouter, lambda X, Y: np.where(X[:, 0] > 3, "a", "b")),
    "length": (PromptLengthRouter, lambda X, Y: np.abs(X[:, 0]) * 10),
    "tfidf": (lambda: TfidfRouter(Cs=(1.0, 10.0), folds=2), lambda X, Y: prompts_of(Y)),
    "logistic": (lambda: LogisticRouter(Cs=(0.01, 1.0), folds=2), lambda X, Y: X),
    "knn": (lambda: KNNRouter(ks=(5, 20), folds=3), lambda X, Y: X),
    "mlp": (lambda: MLPRouter(TINY), lambda X, Y: X),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_keeps_the_interface(name, problem):
    X, Y = problem
    Y = Y.copy()
    Y[::9, 1] = nan
    make, inputs = ROUTERS[name]
    rows = inputs(X, Y)
    with pytest.raises(NotFittedError):
        make().predict_proba(rows)
    router = make()
    assert router.fit(rows, Y, groups=np.arange(240) // 4) is router
    p = router.predict_proba(rows[:50])
    assert p.shape == (50, 2) and p.dtype == np.float64 and ((p >= 0) & (p <= 1)).all()
    np.testing.assert_array_equal(
        make().fit(rows, Y, groups=np.arange(240) // 4).predict_proba(rows[:50]), p
    )
    with pytest.raises(ValueError, match="they must be equal"):
        make().fit(rows[:-1], Y)
    with pytest.raises(ValueError, match="0 to 1 and NaN"):
        make().fit(rows, Y + 1)
    with pytest.raises(ValueError, match=r"columns \[0\] of Y have no outcome"):
        make().fit(rows, np.column_stack([np.full(240, nan), Y[:, 1]]))


@pytest.mark.parametrize("name", ["group", "length", "tfidf", "logistic", "knn"])
def test_rows_without_any_outcome_change_nothing(name, problem):
    # their inputs are those of other rows, so scalers, vocabularies and neighbours stay; their
    # labels are
    # missing
    X, Y = problem
    make, inputs = ROUTERS[name]
    rows = inputs(X, Y)
    router = make().fit(rows, Y)
    wrong = np.where(Y == 1, 1.0, 0.0)
    wrong[:60] = 0
    masked = Y.copy()
    masked[:60] = nan
    p_masked, p_wrong = (
        make().fit(rows, masked).predict_proba(rows),
        make().fit(rows, wrong).predict_proba(rows),
    )
    assert (
        abs(p_masked.mean() - router.predict_proba(rows).mean()) < 0.05
    )  # masked: the rate hardly moves
    assert (
        p_wrong.mean() < p_masked.mean() - 0.08
    )  # counted as wrong: a quarter of the rows would pull it down


def test_rates_by_hand():
    # column 0: 1, 0, missing, 1 -> 2/3; column 1: missing, 0, 0, 1 -> 1/3
    Y = np.array([[1, nan], [0, 0], [nan, 0], [1, 1]])
    np.testing.assert_allclose(target_rates(Y), [2 / 3, 1 / 3])


def test_random_router_is_uniform_and_seeded():
    Y = np.array([[1.0, 0, 1]])
    p = RandomRouter(3).fit([0], Y).predict_proba(range(4000))
    np.testing.assert_array_equal(p, RandomRouter(3).fit([0], Y).predict_proba(range(4000)))
    assert (
        np.bincount(p.argmax(axis=1)).min() > 1200
    )  # each of three targets is chosen about 1,333 times
    assert (p != RandomRouter(4).fit([0], Y).predict_proba(range(4000))).all()


def test_group_mean_by_hand():
    # Overall 3/5 = 0.6. Category a: 2 right of 2, with smoothing 2: (2 + 2 x 0.6) / (2 + 2) = 0.8.
    # Category
    # b: 1 of 3: (1 + 1.2) / 5 = 0.44. Category c: its outcome is missing: (0 + 1.2) / 2 = 0.6, as
    # for the
    # unseen d.
    Y = np.array([[1], [1], [1], [0], [0], [nan]])
    router = GroupMeanRouter(smoothing=2).fit(np.array(list("aabbbc")), Y)
    np.testing.assert_allclose(
        router.predict_proba(np.array(list("abcd")))[:, 0], [0.8, 0.44, 0.6, 0.6]
    )
    plain = GroupMeanRouter(smoothing=0).fit(np.array(list("aabbbc")), Y)
    np.testing.assert_allclose(
        plain.predict_proba(np.array(list("abcd")))[:, 0], [1, 1 / 3, 0.6, 0.6]
    )
    with pytest.raises(ValueError, match="smoothing=-1"):
        GroupMeanRouter(-1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 1.0, nan])), min_size=2, max_size=30
    ),
    st.floats(0.01, 100),
)
def test_group_mean_lies_between_category_and_overall(rows, smoothing):
    categories, y = np.array([c for c, _ in rows]), np.array([[v] for _, v in rows])
    if np.isnan(y).all():
        return
    p = GroupMeanRouter(smoothing).fit(categories, y).predict_proba(categories)[:, 0]
    overall = np.nanmean(y)
    for category in set(categories):
        known = y[(categories == category) & ~np.isnan(y[:, 0])]
        mean = known.mean() if len(known) else overall
        value = p[categories == category][0]
        assert min(mean, overall) - 1e-9 <= value <= max(mean, overall) + 1e-9


def test_prompt_length_can_be_right_in_the_middle():
    # right between 20 and 200 tokens only: linear in the log is not enough, the square is needed
    lengths = np.geomspace(2, 2000, 300)
    Y = ((lengths > 20) & (lengths < 200)).astype(float)[:, None]
    p = PromptLengthRouter(C=100).fit(lengths, Y).predict_proba(np.array([3, 63, 1500]))[:, 0]
    assert p[1] > 0.8 and max(p[0], p[2]) < 0.1


def test_logistic_router_equals_scikit_learn(problem):
    X, Y = problem
    router = LogisticRouter(Cs=(0.1,)).fit(X[:200], Y[:200])
    scaler = StandardScaler().fit(X[:200])
    reference = LogisticRegression(C=0.1, max_iter=5000, tol=1e-12, solver="newton-cg").fit(
        scaler.transform(X[:200]), Y[:200, 1]
    )
    np.testing.assert_allclose(
        router.predict_proba(X[200:])[:, 1],
        reference.predict_proba(scaler.transform(X[200:]))[:, 1],
        atol=1e-5,
    )


def test_cross_validation_picks_the_penalty_that_generalises():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 80))
    noise = rng.integers(0, 2, (100, 1)).astype(float)
    assert LogisticRouter().fit(X, noise).C_ == 1e-4  # nothing to learn: the strongest penalty
    assert (
        LogisticRouter().fit(X[:, :2], (X[:, :1] > 0).astype(float)).C_ == 1e-1
    )  # separable: the weakest


def test_one_class_in_training_gives_the_rule_of_succession():
    Y = np.column_stack([np.ones(8), np.arange(8) % 2])
    p = (
        LogisticRouter(Cs=(1.0,), folds=2)
        .fit(np.arange(16.0).reshape(8, 2), Y)
        .predict_proba(np.zeros((3, 2)))
    )
    np.testing.assert_allclose(p[:, 0], 9 / 10)  # (8 + 1) / (8 + 2)


def test_tfidf_reads_words(problem):
    _, Y = problem
    router = TfidfRouter().fit(prompts_of(Y), Y)
    p = router.predict_proba(["something about rivers", "something about integrals"])
    assert p[0, 0] > 0.8 and p[1, 0] < 0.2
    assert router.C_ in (0.3, 3.0, 30.0)


def test_knn_by_hand():
    # Directions 0, 10, 80, 90 degrees (lengths do not matter). k = 2 around 4 degrees: rows 0 and
    # 1, outcomes
    # 1 and 0 for A: 0.5; for B row 1 alone is known: 1. Around 86 degrees: rows 3 and 2, A: 1, 1;
    # for B none
    # is known: overall 1/2.
    degrees = np.deg2rad([0, 10, 80, 90])
    X = np.column_stack([np.cos(degrees), np.sin(degrees)]) * [[1], [20], [3], [0.1]]
    Y = np.array([[1, nan], [0, 1], [1, nan], [1, nan]])
    Y = np.vstack([Y, [[0, 0]]])
    X = np.vstack([X, [[-1, -1]]])  # far from both: it makes B's overall rate 1/2
    router = KNNRouter(ks=(2,), folds=2).fit(X, Y)
    asked = np.deg2rad([4, 86])
    p = router.predict_proba(np.column_stack([np.cos(asked), np.sin(asked)]) * 7)
    np.testing.assert_allclose(p, [[0.5, 1], [1, 0.5]])


def test_cost_of_the_neighbours_by_hand():
    # Directions 0, 10, 80, 90 degrees; k = 2. Around 4 degrees rows 0 and 1 are asked: A costs
    # (1 + 3) / 2, of B row 1 alone is known: 8. Around 86: A (5 + 11) / 2, of B nothing is known.
    # The row at 225 degrees is nobody's neighbour. Outcomes do not matter.
    degrees = np.deg2rad([0, 10, 80, 90, 225])
    X = np.column_stack([np.cos(degrees), np.sin(degrees)])
    Y = np.array([[1, nan], [0, 1], [1, nan], [1, nan], [0, 0]])
    costs = np.array([[1, nan], [3, 8], [5, nan], [11, nan], [100, 100]])
    router = KNNRouter(ks=(2,), folds=2).fit(X, Y)
    asked = np.deg2rad([4, 86])
    asked = np.column_stack([np.cos(asked), np.sin(asked)])
    np.testing.assert_allclose(router.predict_cost(asked, costs), [[2, 8], [8, nan]])
    # outcomes in place of costs are averaged as P is
    np.testing.assert_array_equal(
        router.predict_cost(asked, Y)[:, 0], router.predict_proba(asked)[:, 0]
    )
    with pytest.raises(ValueError, match=r"costs \(4, 2\) must have the shape \(5, 2\)"):
        router.predict_cost(asked, costs[:4])
    with pytest.raises(NotFittedError):
        KNNRouter().predict_cost(asked, costs)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_cost_lies_among_the_known_costs_of_the_neighbours(seed, k):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(30, 3)), rng.integers(0, 2, (30, 2)).astype(float)
    costs = np.where(rng.random((30, 2)) < 0.4, nan, rng.lognormal(size=(30, 2)))
    asked = rng.normal(size=(9, 3))
    found = KNNRouter(ks=(k,), folds=2).fit(X, Y).predict_cost(asked, costs)
    cosine = (asked @ X.T) / np.linalg.norm(X, axis=1)
    of_neighbours = costs[np.argsort(-cosine, axis=1, kind="stable")[:, :k]]
    known = ~np.isnan(of_neighbours).all(axis=1)
    np.testing.assert_array_equal(np.isnan(found), ~known)
    low, high = (
        f(np.where(np.isnan(of_neighbours), fill, of_neighbours), axis=1)[known]
        for f, fill in ((np.min, np.inf), (np.max, -np.inf))
    )
    assert (found[known] >= low - 1e-12).all() and (found[known] <= high + 1e-12).all()


def test_knn_equals_scikit_learn(problem):
    X, Y = problem
    router = KNNRouter(ks=(9,)).fit(X[:200], Y[:200])
    reference = KNeighborsClassifier(9, metric="cosine").fit(X[:200], Y[:200, 0])
    np.testing.assert_allclose(
        router.predict_proba(X[200:])[:, 0], reference.predict_proba(X[200:])[:, 1]
    )


def test_knn_takes_the_earlier_of_equally_near_rows():
    rng = np.random.default_rng(0)
    unit, train = (
        rng.integers(-1, 2, (50, 3)).astype(float),
        rng.integers(-1, 2, (400, 3)).astype(float),
    )  # many ties
    for k in (1, 7, 400):
        np.testing.assert_array_equal(
            KNNRouter._neighbours(unit, train, k),
            np.argsort(-(unit @ train.T), axis=1, kind="stable")[:, :k],
        )


def test_knn_picks_k_by_cross_validated_brier_score(problem):
    X, Y = problem
    ks, groups = (1, 3, 15, 60), np.arange(240) // 2
    fold = group_folds(groups, 5, 0)
    loss = []
    for k in ks:
        total = 0
        for f in range(5):
            reference = KNeighborsClassifier(k, metric="cosine").fit(X[fold != f], Y[fold != f])
            p = np.column_stack([column[:, 1] for column in reference.predict_proba(X[fold == f])])
            total += ((p - Y[fold == f]) ** 2).sum()
        loss.append(total)
    assert KNNRouter(ks=ks).fit(X, Y, groups).k_ == ks[int(np.argmin(loss))]


def test_knn_skips_k_above_the_training_rows(problem):
    X, Y = problem
    assert KNNRouter(ks=(5, 1000)).fit(X[:30], Y[:30]).k_ == 5
    with pytest.raises(ValueError, match="above the 24 rows"):
        KNNRouter(ks=(25,)).fit(X[:30], Y[:30])


def test_groups_never_straddle_folds_of_the_search(problem, monkeypatch):
    X, Y = problem
    seen = []
    monkeypatch.setattr(
        baselines,
        "group_folds",
        lambda groups, folds, seed: seen.append(list(groups)) or group_folds(groups, folds, seed),
    )
    groups = [f"g{i // 3}" for i in range(240)]
    KNNRouter(ks=(5,)).fit(X, Y, groups)
    LogisticRouter(Cs=(0.1, 1.0)).fit(X, Y, groups)
    TfidfRouter(Cs=(1.0,)).fit(prompts_of(Y), Y, groups)
    assert seen == [groups] * 3


def test_duplicates_in_a_group_do_not_flatter_small_k():
    # every prompt occurs twice with the same random outcome: a search over rows would find k = 1
    # perfect
    rng = np.random.default_rng(0)
    X, Y = (
        np.repeat(rng.normal(size=(100, 5)), 2, axis=0),
        np.repeat(rng.integers(0, 2, (100, 1)), 2, axis=0).astype(float),
    )
    assert KNNRouter(ks=(1, 40)).fit(X, Y, groups=np.arange(200) // 2).k_ == 40


def test_mlp_is_the_trunk_on_standardised_vectors(problem):
    X, Y = problem
    z = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(
        MLPRouter(TINY, seed=4).fit(X, Y).predict_proba(X),
        TrunkEnsemble(TINY, seed=4).fit(z, Y, np.arange(240)).predict_proba(z),
    )
    assert MLPRouter().ensemble.config == TrunkConfig()


def test_semantic_routers_learn(problem):
    X, Y = problem
    X = StandardScaler().fit_transform(X)
    for router in (LogisticRouter(), KNNRouter()):
        p = router.fit(X[:160], Y[:160]).predict_proba(X[160:])
        assert roc_auc_score(Y[160:, 0], p[:, 0]) > 0.75


@pytest.mark.parametrize("width", [30, 420])  # one solver each
@pytest.mark.parametrize("sparse", [False, True])
def test_a_search_that_goes_on_from_another_C_ends_where_a_new_one_ends(width, sparse):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, width))
    Y = (X[:, :2] + rng.normal(size=(150, 2)) > 0).astype(float)
    Y[::7, 0] = nan
    fold, Cs = group_folds(np.arange(150), 3, 0), [0.01, 0.1, 1.0]
    z = csr_matrix(X) if sparse else X
    for f in range(3):
        losses = baselines._fold_losses(Cs, z, Y, fold, f)
        for C, loss in zip(Cs, losses, strict=True):
            p = np.column_stack(
                [
                    LogisticRegression(C=C, max_iter=1000, tol=1e-8)
                    .fit(X[(fold != f) & ~np.isnan(y)], y[(fold != f) & ~np.isnan(y)])
                    .predict_proba(X[fold == f])[:, 1]
                    for y in Y.T
                ]
            )
            assert loss == pytest.approx(np.nansum((p - Y[fold == f]) ** 2), rel=3e-3)
