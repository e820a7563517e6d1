"""Semantic routers: formulas recomputed from what was fitted, masked outcomes, choices on training
groups.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError

from prefill_router.data.splits import group_folds
from prefill_router.evaluate.auc import mean_auc
from prefill_router.features.reduction import ScaledPCA
from prefill_router.heads import categories, kernel_regression, latent, semantic
from prefill_router.heads.avengers_pro import AvengersProRouter
from prefill_router.heads.baselines import KNNRouter, LogisticRouter
from prefill_router.heads.categories import CategoryResidualRouter, PredictedCategoryRouter
from prefill_router.heads.controls import GroupMeanRouter
from prefill_router.heads.latent import IRTRouter, MatrixFactorisationRouter
from prefill_router.heads.semantic import (
    ClusterRouter,
    GradientBoostingRouter,
    ShuffledRouter,
    random_features,
)

pytestmark = pytest.mark.usefixtures("one_thread")

nan = np.nan


class ToldCategories:
    """A router that needs the categories of its training rows, with the interface of the others:
    the signs of the first two columns are the category.
    """

    def __init__(self, router):
        self.router = router

    def fit(self, X, Y, groups=None):
        positive = np.reshape(X, (len(X), -1))[:, :2] > 0
        categories = ["".join("+" if p else "-" for p in row) for row in positive]
        self.router.fit(X, Y, groups, categories=categories)
        return self

    def predict_proba(self, X):
        return self.router.predict_proba(X)


ROUTERS = {
    "boosting": lambda seed=0: GradientBoostingRouter(6, leaves=(3, 4), max_iter=20, seed=seed),
    "clusters": lambda seed=0: ClusterRouter(clusters=(4, 16), tops=(1, 3), folds=3, seed=seed),
    "avengers_pro": lambda seed=0: AvengersProRouter((4, 16), (1, 3), folds=3, seed=seed),
    "factorisation": lambda seed=0: MatrixFactorisationRouter(
        (2, 4), (1e-3,), 1e-2, members=2, seed=seed
    ),
    "irt": lambda seed=0: IRTRouter((2, 4), (1e-3,), 1e-2, members=2, seed=seed),
    "category": lambda seed=0: ToldCategories(PredictedCategoryRouter(folds=3, seed=seed)),
    "residual": lambda seed=0: ToldCategories(CategoryResidualRouter(folds=3, seed=seed)),
    "shuffled": lambda seed=0: ShuffledRouter(LogisticRouter(Cs=(0.01, 1.0), folds=2), seed=seed),
}
LEARNERS = [name for name in ROUTERS if name != "shuffled"]
LATENT = ["factorisation", "irt"]


@pytest.fixture(scope="module")
def problem():
    """Two targets that are right in different half spaces, with noise; one in nine outcomes of B
    missing.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    Y = (X[:, :2] + 0.7 * rng.normal(size=(300, 2)) > 0).astype(float)
    Y[::9, 1] = nan
    return X, Y


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_keeps_the_interface(name, problem):
    X, Y = problem
    groups, make = np.arange(300) // 4, ROUTERS[name]
    with pytest.raises(NotFittedError):
        make().predict_proba(X)
    router = make()
    assert router.fit(X, Y, groups) is router
    p = router.predict_proba(X[:50])
    assert p.shape == (50, 2) and p.dtype == np.float64 and ((p >= 0) & (p <= 1)).all()
    assert make().fit(X, Y, groups).predict_proba(X[:50]).tobytes() == p.tobytes()
    np.testing.assert_allclose(router.predict_proba(X[:1]), p[:1], atol=1e-6)  # a row stands alone
    with pytest.raises(ValueError, match="they must be equal"):
        make().fit(X[:-1], Y)
    with pytest.raises(ValueError, match="0 to 1 and NaN"):
        make().fit(X, Y + 1)
    with pytest.raises(ValueError, match=r"columns \[0\] of Y have no outcome"):
        make().fit(X, np.column_stack([np.full(300, nan), Y[:, 1]]))


@pytest.mark.parametrize("name", LEARNERS)
def test_bad_vectors_are_refused(name, problem):
    X, Y = problem
    holed = X.copy()
    holed[7, 2] = nan
    with pytest.raises(ValueError, match="not finite, first in row 7"):
        ROUTERS[name]().fit(holed, Y)
    with pytest.raises(ValueError, match=r"X \(300,\) must be a table"):
        ROUTERS[name]().fit(X[:, 0], Y)


@pytest.mark.parametrize("name", LEARNERS)
def test_routers_learn(name, problem):
    X, Y = problem
    p = ROUTERS[name]().fit(X[:200], Y[:200]).predict_proba(X[200:])
    assert mean_auc(p, Y[200:]) > 0.75  # a constant has 0.5
    constant = np.nanmean(Y[:200], axis=0)
    assert np.nanmean((p - Y[200:]) ** 2) < np.nanmean((constant - Y[200:]) ** 2) - 0.03


@pytest.mark.parametrize("name", LEARNERS)
def test_rows_without_any_outcome_are_as_if_dropped(name, problem):
    X, Y = problem
    groups, masked = np.arange(300) // 4, Y.copy()
    masked[5:300:6] = nan
    kept = ~np.isnan(masked).all(axis=1)
    np.testing.assert_array_equal(
        ROUTERS[name]().fit(X, masked, groups).predict_proba(X),
        ROUTERS[name]().fit(X[kept], Y[kept], groups[kept]).predict_proba(X),
    )


@pytest.mark.parametrize("name", LEARNERS)
def test_missing_outcomes_of_one_target_are_not_wrong_ones(name, problem):
    X, Y = problem
    rows = np.arange(300) % 3 == 0
    masked, wrong = Y.copy(), Y.copy()
    masked[rows, 0], wrong[rows, 0] = nan, 0
    mean_masked, mean_wrong = (
        ROUTERS[name]().fit(X, labels).predict_proba(X)[:, 0].mean() for labels in (masked, wrong)
    )
    assert abs(mean_masked - Y[:, 0].mean()) < 0.05  # about a half
    assert (
        mean_wrong < mean_masked - 0.1
    )  # a third of the rows, counted as wrong, would pull it down


@pytest.mark.parametrize("name", LEARNERS)
def test_a_target_that_is_always_right_does_not_crash(name, problem):
    X, Y = problem
    p = ROUTERS[name]().fit(X, np.column_stack([np.ones(300), Y])).predict_proba(X)
    assert p[:, 0].min() > 0.5 and p[:, 0].mean() > 0.9 and np.isfinite(p).all()
    assert mean_auc(p[:, 1:], Y) > 0.75  # the others still learn


@pytest.mark.parametrize(
    "name", ["boosting", "clusters", "avengers_pro", "category", "residual", *LATENT]
)
def test_one_outcome_of_a_target_is_enough(name, problem):
    # most folds then have none of it to learn from
    X, Y = problem
    lonely = np.full(300, nan)
    lonely[11] = 1
    p = ROUTERS[name]().fit(X, np.column_stack([Y, lonely])).predict_proba(X)
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("name", ROUTERS)
def test_the_seed_is_used_and_the_global_state_is_left_alone(name, problem):
    X, Y = problem
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    first = ROUTERS[name]().fit(X, Y).predict_proba(X)
    assert torch.equal(torch.rand(3), before)
    # the seeds of these two draw the folds alone, and folds may lead to the same choice
    if name not in ("boosting", "category"):
        assert (first != ROUTERS[name](seed=1).fit(X, Y).predict_proba(X)).any()


@pytest.mark.parametrize("name", LEARNERS)
def test_folds_and_validation_parts_see_whole_groups(name, problem, monkeypatch):
    X, Y = problem
    groups = np.array([f"g{i // 3}" for i in range(300)])
    seen = []
    for module, function in (
        (semantic, "group_folds"),
        (categories, "group_folds"),
        (kernel_regression, "group_folds"),
        (latent, "group_folds"),
        (latent, "validation_rows"),
    ):
        original = getattr(module, function)

        def recorded(labels, *arguments, original=original):
            seen.append(np.asarray(labels))
            return original(labels, *arguments)

        monkeypatch.setattr(module, function, recorded)
    ROUTERS[name]().fit(X, Y, groups)
    assert seen and all(len(labels) % 3 == 0 and set(labels) <= set(groups) for labels in seen)
    assert list(seen[0]) == list(groups)


# --- boosting
# -----------------------------------------------------------------------------------------------


def test_boosting_is_scikit_learn_on_principal_components(problem):
    X, Y = problem
    router = GradientBoostingRouter(4, leaves=(5,), max_iter=15, learning_rate=0.2, seed=3).fit(
        X, Y
    )
    reduction, known = ScaledPCA.fit(X, 4), ~np.isnan(Y[:, 1])
    reference = HistGradientBoostingClassifier(
        learning_rate=0.2,
        max_iter=router.n_iter_,
        max_leaf_nodes=5,
        l2_regularization=1.0,
        max_bins=32,
        early_stopping=False,
        random_state=3,
    ).fit(reduction.transform(X)[known], Y[known, 1])
    np.testing.assert_allclose(
        router.predict_proba(X)[:, 1], reference.predict_proba(reduction.transform(X))[:, 1]
    )


def test_boosting_picks_trees_by_cross_validated_brier_score(problem):
    X, Y = problem
    groups = np.arange(300) // 2
    router = GradientBoostingRouter(6, leaves=(3, 6), max_iter=12).fit(X, Y, groups)
    fold, loss = group_folds(groups, 3, 0), {}
    for leaves in (3, 6):
        for n_iter in range(1, 13):
            total = 0.0
            for f in range(3):
                single = GradientBoostingRouter(6, max_iter=n_iter)
                reduction = ScaledPCA.fit(X[fold != f], 6)
                for y in Y.T:
                    trees = single._grow(
                        reduction.transform(X[fold != f]), y[fold != f], leaves, n_iter
                    )
                    p = trees.predict_proba(reduction.transform(X[fold == f]))[:, 1]
                    total += np.nansum((p - y[fold == f]) ** 2)
            loss[leaves, n_iter] = total
    assert (router.leaves_, router.n_iter_) == min(loss, key=loss.__getitem__)


def test_boosting_has_nothing_to_grow_on_noise():
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(200, 5)), rng.integers(0, 2, (200, 1)).astype(float)
    assert GradientBoostingRouter(5, max_iter=40).fit(X, noise).n_iter_ <= 3


@pytest.mark.parametrize("name", ["boosting", "clusters"])
def test_targets_do_not_touch_each_other(name, problem):
    # one candidate, so that nothing is chosen together
    X, Y = problem
    make = {
        "boosting": lambda: GradientBoostingRouter(6, leaves=(3,), max_iter=1),
        "clusters": lambda: ClusterRouter((8,), (2,), (5.0,)),
    }[name]
    p = make().fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(make().fit(X, Y[:, ::-1]).predict_proba(X), p[:, ::-1])
    np.testing.assert_array_equal(
        make().fit(X, np.column_stack([Y, 1 - Y])).predict_proba(X)[:, :2], p
    )


# --- clusters
# -----------------------------------------------------------------------------------------------


def test_clusters_by_hand():
    # Two bundles of directions, near 0 and near 90 degrees; lengths do not matter. A: overall 4/6.
    # Near 0: 3
    # right of 3, with smoothing 2: (3 + 2 x 4/6) / 5 = 13/15; near 90: 1 of 3: (1 + 4/3) / 5 =
    # 7/15. B:
    # overall 1/2; near 0: 1 of 2: (1 + 1) / 4 = 1/2; near 90 all missing: 1/2.
    degrees = np.deg2rad([0, 2, 4, 86, 88, 90])
    X = np.column_stack([np.cos(degrees), np.sin(degrees)]) * [[1], [20], [3], [0.1], [5], [2]]
    Y = np.array([[1, nan], [1, 1], [1, 0], [0, nan], [0, nan], [1, nan]])
    asked = np.deg2rad([10, 70])
    asked = np.column_stack([np.cos(asked), np.sin(asked)]) * 7
    nearest = ClusterRouter((2,), (1,), (2.0,), folds=2).fit(X, Y)
    np.testing.assert_allclose(nearest.predict_proba(asked), [[13 / 15, 1 / 2], [7 / 15, 1 / 2]])
    both = ClusterRouter((2,), (2,), (2.0,), folds=2).fit(X, Y)
    np.testing.assert_allclose(both.predict_proba(asked), [[10 / 15, 1 / 2]] * 2)
    plain = ClusterRouter((2,), (1,), (0.0,), folds=2).fit(X, Y)
    np.testing.assert_allclose(plain.predict_proba(asked), [[1, 1 / 2], [1 / 3, 1 / 2]])


def test_clusters_are_group_means_with_clusters_as_categories(problem):
    X, Y = problem
    router = ClusterRouter((6,), (1,), (4.0,)).fit(X, Y)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    nearest = np.linalg.norm(unit[:, None] - router.centres_, axis=2).argmin(axis=1)
    np.testing.assert_allclose(
        router.predict_proba(X), GroupMeanRouter(4.0).fit(nearest, Y).predict_proba(nearest)
    )


def test_clusters_skip_what_the_rows_cannot_fill(problem):
    X, Y = problem
    assert ClusterRouter((4, 1000), (1, 500)).fit(X, Y).clusters_ == 4
    with pytest.raises(ValueError, match="suit the 24 rows"):
        ClusterRouter((25,)).fit(X[:30], Y[:30])
    with pytest.raises(ValueError, match="none may be negative"):
        ClusterRouter(smoothings=(1.0, -1.0))


def test_clusters_choose_few_for_noise_and_enough_for_signal():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    noise = rng.integers(0, 2, (300, 1)).astype(float)
    assert ClusterRouter((2, 60), (1,), (1.0,)).fit(X, noise).clusters_ == 2
    checkered = (np.sign(X[:, :1]) * np.sign(X[:, 1:2]) > 0).astype(
        float
    )  # two clusters cannot tell it
    assert ClusterRouter((2, 60), (1,), (1.0,)).fit(X, checkered).clusters_ == 60


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5), st.floats(0, 50))
def test_clusters_stay_between_the_extreme_accuracies(seed, k, top, smoothing):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(24, 3))
    Y = rng.choice([0.0, 1.0, nan], size=(24, 2))
    Y[:2] = [[0, 1], [1, 0]]
    router = ClusterRouter((k,), (min(top, k),), (smoothing,), folds=2).fit(X, Y)
    p = router.predict_proba(rng.normal(size=(9, 3)))
    assert (p >= router.accuracy_.min(axis=0) - 1e-12).all()
    assert (p <= router.accuracy_.max(axis=0) + 1e-12).all()
    if k == 1:  # one cluster is the overall accuracy, whatever the smoothing
        np.testing.assert_allclose(p, np.tile(np.nanmean(Y, axis=0), (9, 1)))


# --- vectors per target
# -------------------------------------------------------------------------------------


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_matrix_factorisation_is_its_formula(problem):
    X, Y = problem
    router = MatrixFactorisationRouter((3,), (1e-2,), members=2).fit(X, Y)
    x, expected = (X - X.mean(axis=0)) / X.std(axis=0), []
    for network in router.networks_:
        part = {name: value.double().numpy() for name, value in network.state_dict().items()}
        p = np.empty((300, 2))
        for k in range(2):
            query = x @ part["projection.weight"].T + part["projection.bias"]  # W1^T x + b
            p[:, k] = sigmoid((part["target"][k] * query) @ part["weight"] + part["target_bias"][k])
        expected.append(p)
    np.testing.assert_allclose(router.predict_proba(X), np.mean(expected, axis=0), atol=1e-6)


def test_irt_is_its_formula_and_discriminates_positively(problem):
    X, Y = problem
    router = IRTRouter((3,), (1e-2,), members=2).fit(X, Y)
    x, expected = (X - X.mean(axis=0)) / X.std(axis=0), []
    for network in router.networks_:
        part = {name: value.double().numpy() for name, value in network.state_dict().items()}
        a = np.log1p(np.exp(x @ part["discrimination.weight"].T + part["discrimination.bias"]))
        b = x @ part["difficulty.weight"].T + part["difficulty.bias"]
        assert (a >= 0).all()
        expected.append(sigmoid(a @ part["ability"].T - b))
    np.testing.assert_allclose(router.predict_proba(X), np.mean(expected, axis=0), atol=1e-6)


@pytest.mark.parametrize("name", LATENT)
def test_strong_weight_decay_leaves_the_rates(name, problem):
    X, Y = problem
    Y = Y[:, :1] * [1, 0] + [0, 1] * (np.arange(300)[:, None] % 5 > 0)  # rates 0.5 and 0.8
    router = {"factorisation": MatrixFactorisationRouter, "irt": IRTRouter}[name]
    strong, weak = (
        router((2,), (decay,), 1e-2).fit(X, Y).predict_proba(X) for decay in (30.0, 1e-4)
    )
    assert (strong.std(axis=0) < 0.4 * weak.std(axis=0)).all()
    if name == "factorisation":  # IRT has no bias per target: without theta all targets are alike
        np.testing.assert_allclose(strong.mean(axis=0), Y.mean(axis=0), atol=0.06)


@pytest.mark.parametrize("name", LATENT)
def test_dimensions_and_weight_decay_are_chosen_by_the_held_out_folds(name):
    # 8 targets that are right in 8 unrelated half spaces: one dimension cannot tell them apart
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8))
    Y = (X > 0).astype(float)
    router = {"factorisation": MatrixFactorisationRouter, "irt": IRTRouter}[name]
    fitted = router((1, 16), (1e-4, 3.0), 1e-2, members=1).fit(X, Y)
    assert (fitted.dim_, fitted.weight_decay_) == (16, 1e-4)
    noise = rng.integers(0, 2, (400, 8)).astype(float)
    assert router((16,), (1e-4, 3.0), 1e-2, members=1).fit(X, noise).weight_decay_ == 3.0


def test_a_loss_that_is_not_finite_is_an_error(problem):
    X, Y = problem
    with pytest.raises(RuntimeError, match="not finite in epoch 1; lower learning_rate"):
        MatrixFactorisationRouter((2,), (0.0,), 1e30, members=1).fit(X, Y)


# --- controls
# -----------------------------------------------------------------------------------------------


def test_shuffled_labels_teach_nothing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 5))
    Y = (X[:, :3] > 0).astype(float)
    for router in (LogisticRouter(Cs=(0.01,)), KNNRouter(ks=(40,)), ClusterRouter((16,), (1,))):
        auc = [
            mean_auc(
                ShuffledRouter(router, s).fit(X[:1500], Y[:1500]).predict_proba(X[1500:]), Y[1500:]
            )
            for s in range(6)
        ]
        assert mean_auc(router.fit(X[:1500], Y[:1500]).predict_proba(X[1500:]), Y[1500:]) > 0.8
        # the weights may point anywhere, and one permutation may happen to be of use
        assert abs(np.mean(auc) - 0.5) < 0.1


def test_shuffling_moves_whole_rows(problem):
    X, Y = problem
    seen = []

    class Recorder(LogisticRouter):
        def fit(self, X, Y, groups=None):
            seen.append((X, Y, groups))
            return super().fit(X, Y, groups)

    groups = np.arange(300) // 4
    ShuffledRouter(Recorder(), seed=1).fit(X, Y, groups)
    ((X_seen, Y_seen, groups_seen),) = seen
    np.testing.assert_array_equal(X_seen, X)
    np.testing.assert_array_equal(groups_seen, groups)
    assert (
        sorted(map(str, Y_seen)) == sorted(map(str, Y))
        and (np.nan_to_num(Y_seen) != np.nan_to_num(Y)).any()
    )


def test_random_features_are_standard_normal_and_useless(problem):
    X = random_features(2000, 30, 7)
    assert X.shape == (2000, 30) and X.dtype == np.float64
    assert (
        X.tobytes()
        == random_features(2000, 30, 7).tobytes()
        != random_features(2000, 30, 8).tobytes()
    )
    assert abs(X.mean()) < 0.02 and abs(X.std() - 1) < 0.02
    Y = np.random.default_rng(0).integers(0, 2, (2000, 4)).astype(float)
    p = LogisticRouter().fit(X[:1000], Y[:1000]).predict_proba(X[1000:])
    assert abs(mean_auc(p, Y[1000:]) - 0.5) < 0.05
