"""Probes: numbers worked out by hand, scikit-learn as reference, invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefill_router.data.splits import group_folds
from prefill_router.features.crossval import PROBE_C, fold_aucs, nan_mean
from prefill_router.features.probes import (
    anisotropy,
    effective_dimensionality,
    fisher_j,
    layer_table,
)
from prefill_router.features.queries import LabelledQueries
from prefill_router.features.reduction import ScaledPCA

tables = arrays(
    np.float64,
    st.tuples(st.integers(4, 12), st.integers(1, 6)),
    elements=st.floats(-100, 100).map(lambda v: round(v, 3)),
)


class Layers:
    """What a probe needs of an activation store."""

    def __init__(self, vectors):
        self.vectors = vectors  # {(pooling, layer): [n, d]}
        self.n_layers = max(layer for _, layer in vectors)
        self.hidden_size = next(iter(vectors.values())).shape[1]

    def read(self, layer, pooling, query_ids=None):
        x = self.vectors[pooling, layer].astype(np.float32)
        return x if query_ids is None else x[[int(q) for q in query_ids]]


def test_fisher_j_by_hand():
    # right: (4, 0), (6, 2): mean (5, 1), variances (1, 1), trace 2. wrong: (0, 0), (2, 0), (1, 3):
    # mean (1,
    # 1), variances (2/3, 2), trace 8/3. Squared distance of means 16 + 0. J = 16 / (2 + 8/3) =
    # 24/7. The NaN
    # row is left out.
    x = np.array([[4, 0], [6, 2], [0, 0], [2, 0], [1, 3], [99, 99]], float)
    assert fisher_j(x, np.array([1, 1, 0, 0, 0, np.nan])) == pytest.approx(24 / 7)


def test_fisher_j_at_its_edges():
    x = np.array([[1.0], [1.0], [3.0]])
    assert np.isnan(fisher_j(x, np.array([1, 1, 1])))
    assert fisher_j(x, np.array([0, 0, 1])) == np.inf  # 2 apart, no spread
    assert fisher_j(np.full((3, 2), 0.1), np.array([0, 1, 1])) == 0


@settings(max_examples=50, deadline=None)
@given(tables, st.floats(0.1, 10), st.floats(-5, 5))
def test_fisher_j_ignores_shift_and_scale(x, scale, shift):
    y = np.arange(len(x)) % 2
    first, second = fisher_j(x, y), fisher_j(x * scale + shift, y)
    if np.ptp(x, axis=0).max() > 1e-2:
        assert second == pytest.approx(first, rel=1e-6, abs=1e-9)


def test_effective_dimensionality_by_hand():
    # Columns (3, -3, 0, 0) and (0, 0, 1, -1): covariance (divisor 3) diagonal with 18/3 = 6 and
    # 2/3;
    # (6 + 2/3)^2 / (36 + 4/9) = (400/9) / (328/9) = 50/41.
    x = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], float)
    assert effective_dimensionality(x) == pytest.approx(50 / 41)
    assert effective_dimensionality(np.eye(5)) == pytest.approx(
        4
    )  # 5 corners of a regular simplex: 4 equal eigenvalues
    assert effective_dimensionality(np.full((5, 3), 0.1)) == 0


@settings(max_examples=50, deadline=None)
@given(tables)
def test_effective_dimensionality_equals_its_definition(x):
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(x.T))).clip(0)
    if eigenvalues.sum() > 1e-3:
        assert effective_dimensionality(x) == pytest.approx(
            eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-6
        )
        assert 1 - 1e-9 <= effective_dimensionality(x) <= min(len(x) - 1, x.shape[1]) + 1e-9


def test_anisotropy_by_hand():
    # cosines of (1, 0), (0, 2), (3, 3): 0, 1/sqrt(2), 1/sqrt(2); mean sqrt(2)/3. A zero row has no
    # direction.
    x = np.array([[1, 0], [0, 2], [3, 3], [0, 0]], float)
    assert anisotropy(x) == pytest.approx(np.sqrt(2) / 3)
    assert np.isnan(anisotropy(x[[0, 3]]))


@settings(max_examples=50, deadline=None)
@given(tables)
def test_anisotropy_equals_the_mean_over_pairs(x):
    x = x[np.linalg.norm(x, axis=1) > 0]
    if len(x) > 1:
        assert anisotropy(x) == pytest.approx(
            cosine_similarity(x)[np.triu_indices(len(x), 1)].mean(), abs=1e-9
        )


@pytest.mark.parametrize(
    "shape", [(40, 6), (10, 30)]
)  # more rows than columns, and fewer: covariance and Gram matrix
def test_scaled_pca_equals_scikit_learn(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    ours = ScaledPCA.fit(x, 4)
    reference = make_pipeline(StandardScaler(), PCA(4, svd_solver="full")).fit(x)
    theirs = reference.transform(x)
    signs = np.sign((ours.transform(x) * theirs).sum(axis=0))
    np.testing.assert_allclose(ours.transform(x), theirs * signs, atol=1e-8)
    np.testing.assert_allclose(ours.variance, reference[1].explained_variance_, rtol=1e-8)
    loadings = ours.components[np.arange(4), np.abs(ours.components).argmax(axis=1)]
    assert (loadings > 0).all()


def test_scaled_pca_stops_at_the_rank_and_drops_constant_columns():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(20, 2)) @ rng.normal(size=(2, 5)), np.full(20, 0.1)])
    assert ScaledPCA.fit(x, 6).components.shape == (2, 6)
    assert ScaledPCA.fit(x[:3], 6).components.shape == (2, 6)  # 3 rows span 2 directions
    constant = ScaledPCA.fit(np.full((7, 3), 0.1), 2)
    assert constant.transform(np.full((4, 3), 0.1)).shape == (4, 0)
    with pytest.raises(ValueError, match="n_components=0"):
        ScaledPCA.fit(x, 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=60),
    st.integers(2, 3),
    st.integers(0, 5),
    st.randoms(),
)
def test_folds_keep_groups_together_and_ignore_row_order(groups, folds, seed, random):
    if len(set(groups)) < folds:
        with pytest.raises(ValueError, match="cannot fill"):
            group_folds(groups, folds, seed)
        return
    fold = group_folds(groups, folds, seed)
    assert set(fold) == set(range(folds))
    assert all(
        len({f for f, g in zip(fold, groups, strict=True) if g == group}) == 1
        for group in set(groups)
    )
    order = random.sample(range(len(groups)), len(groups))
    np.testing.assert_array_equal(group_folds([groups[i] for i in order], folds, seed), fold[order])


def test_folds_are_balanced_and_depend_on_the_seed():
    groups = np.repeat(np.arange(30), np.arange(30) % 5 + 1)  # 90 rows
    assert set(np.bincount(group_folds(groups, 5, 0))) == {18}
    assert (group_folds(groups, 5, 0) != group_folds(groups, 5, 1)).any()


def test_fold_aucs_equal_scikit_learn_for_every_size_and_target_and_mask_missing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)) * [5, 4, 3, 2, 1, 1]
    Y = (x[:, :2] + 3 * rng.normal(size=(90, 2)) > 0).astype(float)
    Y[rng.random((90, 2)) < 0.1] = np.nan
    fold = np.arange(90) % 3
    aucs, rank = fold_aucs(x, Y, fold, [2, 6], C=0.5)
    assert aucs.shape == (3, 2, 2) and rank == 6
    for f in range(3):
        for s, size in enumerate([2, 6]):
            for k in range(2):
                train, test = (fold != f) & ~np.isnan(Y[:, k]), (fold == f) & ~np.isnan(Y[:, k])
                # scaler and components see all training rows, also those whose outcome is missing
                reduce = make_pipeline(StandardScaler(), PCA(size, svd_solver="full")).fit(
                    x[fold != f]
                )
                probe = LogisticRegression(C=0.5, tol=1e-10).fit(
                    reduce.transform(x[train]), Y[train, k]
                )
                assert aucs[f, s, k] == pytest.approx(
                    roc_auc_score(Y[test, k], probe.decision_function(reduce.transform(x[test])))
                )


def test_fold_aucs_at_their_edges():
    rng = np.random.default_rng(1)
    x, fold = rng.normal(size=(30, 4)), np.arange(30) % 3
    Y = np.column_stack([rng.integers(0, 2, 30), np.ones(30), fold == 0]).astype(float)
    aucs, rank = fold_aucs(x, Y, fold, [3, 50])
    assert rank == 4 and np.isfinite(aucs[:, :, 0]).all()
    assert np.isnan(
        aucs[:, :, 1:]
    ).all()  # one class everywhere; one class in the training rows or in the test rows of each fold
    constant, rank = fold_aucs(np.ones((30, 4)), Y[:, :1], fold, [3])
    assert rank == 0 and (constant == 0.5).all()


@pytest.fixture
def store():
    rng = np.random.default_rng(0)
    vectors = {
        (pooling, layer): rng.normal(size=(60, 6))
        for pooling in ("last", "mean")
        for layer in range(3)
    }
    vectors["last", 0] = np.full(
        (60, 6), 0.1
    )  # the template's last token: the same for every prompt
    return Layers(vectors)


def labelled(store, correct, groups=None, targets=None):
    """These rows of a store, with their outcomes, as choices read them."""
    n, k = correct.shape
    names = tuple(targets or "ABCDEF"[:k])
    groups = np.arange(n) if groups is None else np.asarray(groups)
    return LabelledQueries({"tiny": store}, np.arange(n), correct, groups, names)


def probe_auc(x, y, groups, **settings):
    """The AUC that the layer table has for a single layer and target."""
    queries = labelled(Layers({("mean", 0): x}), np.asarray(y, float)[:, None], groups)
    return layer_table(queries, ["mean"], progress=False, **settings)["probe_auc"].item()


def pipeline_auc(x, y, fold, n_components, C=PROBE_C):
    """Mean over folds of the AUC of a scikit-learn pipeline that sees the other folds alone."""
    aucs = []
    for f in range(fold.max() + 1):
        reference = make_pipeline(
            StandardScaler(),
            PCA(n_components, svd_solver="full"),
            LogisticRegression(C=C, tol=1e-8),
        ).fit(x[fold != f], y[fold != f])
        aucs.append(roc_auc_score(y[fold == f], reference.decision_function(x[fold == f])))
    return np.mean(aucs)


def test_probe_auc_equals_a_scikit_learn_pipeline():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 8)).astype(np.float32).astype(float)  # as a store keeps it
    y = (x[:, 2] + 0.5 * rng.normal(size=90) > 0).astype(float)
    groups = np.arange(90) // 3
    fold = group_folds(groups, 3, seed=4)
    aucs, _ = fold_aucs(x, y[:, None], fold, [5], C=0.1)
    assert nan_mean(aucs)[0, 0] == pytest.approx(pipeline_auc(x, y, fold, 5, C=0.1))
    assert probe_auc(x, y, groups, n_components=5, folds=3, seed=4) == pytest.approx(
        pipeline_auc(x, y, fold, 5)
    )


def test_probe_auc_of_noise_is_near_one_half():
    rng = np.random.default_rng(0)
    # a scaler or regression that saw test rows would lift this; standard error about 0.5 / sqrt(400
    # / 4) /
    # ... = 0.03
    x, y = rng.normal(size=(400, 20)), rng.integers(0, 2, 400)
    assert abs(probe_auc(x, y, np.arange(400)) - 0.5) < 0.1


def test_layer_table_finds_the_planted_layer(store):
    signal = store.vectors["mean", 2][:, :2]
    correct = (signal > 0).astype(float)
    correct[:5, 0] = np.nan
    profile = layer_table(labelled(store, correct), n_components=4, folds=3, progress=False)
    assert list(profile.columns) == [
        "encoder",
        "pooling",
        "layer",
        "target",
        "fisher_j",
        "d_eff",
        "anisotropy",
        "probe_auc",
    ]
    assert len(profile) == 2 * 3 * 2 and not profile.isna().any(axis=None)
    for target in "AB":
        rows = profile[profile["target"] == target].set_index(["pooling", "layer"])
        assert rows["fisher_j"].idxmax() == ("mean", 2) and rows["probe_auc"].idxmax() == (
            "mean",
            2,
        )


def test_layer_table_rows_are_the_single_probes(store):
    correct = np.random.default_rng(1).integers(0, 2, (40, 1)).astype(float)
    groups = np.arange(40) // 2
    profile = layer_table(
        labelled(store, correct, groups), n_components=3, folds=4, seed=7, progress=False
    )
    row = profile[(profile["pooling"] == "mean") & (profile["layer"] == 1)].iloc[0]
    x = store.read(1, "mean", range(40)).astype(float)
    z = StandardScaler().fit_transform(x)
    assert row["fisher_j"] == pytest.approx(fisher_j(PCA(3).fit_transform(z), correct[:, 0]))
    assert row["d_eff"] == pytest.approx(effective_dimensionality(z))
    assert row["anisotropy"] == pytest.approx(anisotropy(x))
    assert row["probe_auc"] == pytest.approx(
        pipeline_auc(x, correct[:, 0], group_folds(groups, 4, 7), 3)
    )


def test_layer_table_of_a_constant_layer_is_defined(store):
    correct = np.random.default_rng(1).integers(0, 2, (60, 1)).astype(float)
    profile = layer_table(labelled(store, correct), progress=False)
    row = profile.iloc[0]
    assert (row["pooling"], row["layer"]) == ("last", 0)
    assert (row["fisher_j"], row["d_eff"], row["probe_auc"]) == (0, 0, 0.5)
    assert row["anisotropy"] == pytest.approx(1)


def test_queries_whose_lengths_disagree_are_refused(store):
    with pytest.raises(ValueError, match=r"correct has shape \(60, 1\)"):
        labelled(store, np.zeros((60, 1)), targets="AB")
    with pytest.raises(ValueError, match="groups 59 rows"):
        labelled(store, np.zeros((60, 1)), groups=np.arange(59))
    with pytest.raises(ValueError, match="no states"):
        LabelledQueries({}, np.arange(2), np.zeros((2, 1)), np.arange(2), ("A",))


def test_rows_and_targets_of_queries(store):
    queries = labelled(store, np.arange(12.0).reshape(4, 3), groups=[7, 7, 8, 9])
    part = queries.rows(np.array([2, 0])).of_targets(["C", "A"])
    assert part.correct.tolist() == [[8, 6], [2, 0]] and part.targets == ("C", "A")
    assert part.query_ids.tolist() == [2, 0] and part.groups.tolist() == [8, 7]
    assert part.encoder == "tiny" and part.store is store
