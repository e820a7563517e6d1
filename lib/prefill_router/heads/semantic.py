"""Semantic routers on sentence embeddings that need no network (those that do:
:mod:`prefill_router.heads.latent`), and two controls.

All have the interface of :mod:`prefill_router.heads.baselines`: ``fit(X, Y, groups=None)``,
``predict_proba(X) -> float64 [n, K]``, X a float ndarray [n, d], Y [n, K] from 1 (right) to 0
(wrong) and NaN (missing). Hyper-parameters are one choice for all targets, by cross-validation over
groups and the lowest Brier score of known outcomes, on training rows alone. Rows without any
outcome are left out before anything is fitted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from prefill_router.data.labels import class_rows, has_both_classes
from prefill_router.data.splits import group_folds
from prefill_router.features.reduction import ScaledPCA, fold_reductions
from prefill_router.heads.baselines import predict_columns
from prefill_router.heads.router_base import BaselineRouter, shrunken_means


class GradientBoostingRouter(BaselineRouter):
    """Boosted trees per target on principal components of the standardised embeddings.

    Trees split one column at a time, so the components suit them better than the embedding's own
    axes, and a few of them keep the histograms cheap.

    Parameters
    ----------
    n_components : int
        Components kept, or the numerical rank if that is smaller.
    leaves : sequence of int
        Candidates for the leaves of a tree; the choice is ``leaves_``.
    max_iter : int
        Most trees per target; the number used, ``n_iter_``, is chosen from 1 ... max_iter. One fit
        per fold serves all of them: the predictions after each tree are read as it grows.
    learning_rate : float
    folds, seed : int
        Of the cross-validation.
    """

    def __init__(
        self,
        n_components: int = 50,
        leaves: Sequence[int] = (3, 8),
        max_iter: int = 100,
        learning_rate: float = 0.1,
        folds: int = 3,
        seed: int = 0,
    ) -> None:
        self.n_components, self.leaves, self.max_iter = n_components, tuple(leaves), max_iter
        self.learning_rate, self.folds, self.seed = learning_rate, folds, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        X, Y, groups = rows_with_outcomes(X, Y, groups)
        fold = group_folds(groups, self.folds, self.seed)
        loss = np.zeros((len(self.leaves), self.max_iter))
        with threadpool_limits(1):  # small histograms: threads cost more than they save
            for f, reduction in enumerate(fold_reductions(X, fold, self.n_components)):
                z, train, test = reduction.transform(X), fold != f, fold == f
                for i, leaves in enumerate(self.leaves):
                    for y in Y.T:
                        trees = self._grow(z[train], y[train], leaves, self.max_iter)
                        loss[i] += self._staged_loss(trees, z[test], y[test])
            best, last = np.unravel_index(loss.argmin(), loss.shape)
            self.leaves_, self.n_iter_ = self.leaves[best], int(last) + 1
            self._reduction = ScaledPCA.fit(X, self.n_components)
            z = self._reduction.transform(X)
            self._columns = [self._grow(z, y, self.leaves_, self.n_iter_) for y in Y.T]

    def _predict(self, X: Any) -> np.ndarray:
        return predict_columns(self._columns, self._reduction.transform(np.asarray(X, np.float64)))

    def _grow(
        self, z: np.ndarray, y: np.ndarray, leaves: int, n_iter: int
    ) -> HistGradientBoostingClassifier | float:
        """Trees on the known outcomes; a number (rule of succession) where all are right or all are
        wrong. A row graded between them counts twice towards the rows that a leaf needs.
        """
        if not has_both_classes(y):
            return float((np.nansum(y) + 1) / ((~np.isnan(y)).sum() + 2))
        trees = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=n_iter,
            max_leaf_nodes=leaves,
            min_samples_leaf=20,
            max_bins=32,  # as good as 255 on our data, in half the time
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        rows, labels, weights = class_rows(y)
        return trees.fit(z[rows], labels, weights)

    def _staged_loss(
        self, trees: HistGradientBoostingClassifier | float, z: np.ndarray, y: np.ndarray
    ) -> np.ndarray | float:
        """Squared error [max_iter] on the known outcomes after each tree."""
        known = ~np.isnan(y)
        if isinstance(trees, float):
            return float(((trees - y[known]) ** 2).sum())
        if not known.any():
            return 0.0
        stages = trees.staged_predict_proba(z[known])
        return np.array([((p[:, 1] - y[known]) ** 2).sum() for p in stages])


class ClusterRouter(BaselineRouter):
    """Every target's accuracy in the k-means clusters nearest to the query.

    The routing of Avengers (arXiv 2505.19797): cluster the embeddings (length 1), keep each
    target's accuracy per cluster, ask the nearest clusters. Here the accuracy is shrunk towards the
    target's overall one, as in :class:`GroupMeanRouter`: (right answers in
    cluster + smoothing * overall) / (outcomes in cluster + smoothing). P is its mean over the
    ``top_`` clusters whose centres are nearest.

    Parameters
    ----------
    clusters, tops : sequences of int
        Candidates for the number of clusters and of clusters asked; the choices are ``clusters_``
        and ``top_``. Numbers of clusters above the rows to learn from, and tops above the clusters,
        are skipped.
    smoothings : sequence of float
        Candidates for the weight of the overall accuracy, in outcomes; not negative. The choice is
        ``smoothing_``.
    folds, seed : int
        Of the cross-validation, whose k-means start once, the final ones three times; the seed also
        starts k-means.

    Attributes
    ----------
    centres_ : float64 ndarray [clusters_, d]
    accuracy_ : float64 ndarray [clusters_, K]
        Shrunk.
    """

    def __init__(
        self,
        clusters: Sequence[int] = (8, 16, 32, 64, 128),
        tops: Sequence[int] = (1, 2, 4, 6, 8),
        smoothings: Sequence[float] = (1.0, 3.0, 10.0),
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        if min(smoothings) < 0:
            raise ValueError(f"smoothings={tuple(smoothings)}; none may be negative")
        self.clusters, self.tops, self.smoothings = tuple(clusters), tuple(tops), tuple(smoothings)
        self.folds, self.seed = folds, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        X, Y, groups = rows_with_outcomes(X, Y, groups)
        unit = normalize(X).astype(np.float32)  # k-means takes half the time on it
        fold = group_folds(groups, self.folds, self.seed)
        smallest = len(Y) - int(np.bincount(fold).max())
        candidates = [
            (k, top, smoothing)
            for k, top, smoothing in itertools.product(self.clusters, self.tops, self.smoothings)
            if top <= k <= smallest
        ]
        if not candidates:
            raise ValueError(
                f"no clusters in {self.clusters} with tops in {self.tops} suit the {smallest} rows"
                " of a training fold; offer fewer clusters"
            )
        loss = dict.fromkeys(candidates, 0.0)
        with threadpool_limits(1):  # sums of threads differ in their last bits
            for k in sorted({k for k, _, _ in candidates}):
                for f in range(self.folds):
                    train, test = fold != f, fold == f
                    kmeans = self._cluster(unit[train], k, starts=1)
                    for candidate in (c for c in candidates if c[0] == k):
                        _, top, smoothing = candidate
                        accuracy = shrunken_means(
                            kmeans.labels_, Y[train], self.rates_, smoothing, k
                        )
                        nearest = nearest_centres(kmeans.cluster_centers_, unit[test], top)
                        p = accuracy[nearest].mean(axis=1)
                        loss[candidate] += float(np.nansum((p - Y[test]) ** 2))
            self.clusters_, self.top_, self.smoothing_ = min(candidates, key=loss.__getitem__)
            kmeans = self._cluster(unit, self.clusters_, starts=3)
        self.centres_ = kmeans.cluster_centers_.astype(np.float64)
        self.accuracy_ = shrunken_means(
            kmeans.labels_, Y, self.rates_, self.smoothing_, self.clusters_
        )

    def _predict(self, X: Any) -> np.ndarray:
        return self.accuracy_[self.nearest(X, self.top_)].mean(axis=1)

    def nearest(self, X: Any, top: int) -> np.ndarray:
        """The ``top`` clusters whose centres are nearest, nearest first: int [n, top]."""
        return nearest_centres(self.centres_, normalize(np.asarray(X, np.float64)), top)

    def _cluster(self, unit: np.ndarray, k: int, starts: int) -> KMeans:
        return KMeans(k, n_init=starts, random_state=self.seed).fit(unit)


def nearest_centres(centres: np.ndarray, unit: np.ndarray, top: int) -> np.ndarray:
    # squared distance without the query's own length, which is the same for every centre
    distance = (centres**2).sum(axis=1) - 2 * unit @ centres.T
    return np.argsort(distance, axis=1, kind="stable")[:, :top]


class ShuffledRouter(BaselineRouter):
    """Control: another router, fitted on labels that belong to other rows.

    Whole rows of Y change places, so rates, missing outcomes and the correlation between targets
    stay, and only their tie to X is cut: the AUC is 0.5 in expectation. X is what the wrapped
    router takes.

    Parameters
    ----------
    router : any router
        It is fitted in place.
    seed : int
        Of the permutation.
    """

    def __init__(self, router: Any, seed: int = 0) -> None:
        self.router, self.seed = router, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self.router.fit(X, Y[np.random.default_rng(self.seed).permutation(len(Y))], groups)

    def _predict(self, X: Any) -> np.ndarray:
        return self.router.predict_proba(X)


def random_features(n: int, d: int, seed: int) -> np.ndarray:
    """Control: standard normal float64 [n, d], as X of a router that reads vectors.

    Draw the rows of all parts at once and split them after: a part drawn with the same seed has the
    same rows.
    """
    return np.random.default_rng(seed).standard_normal((n, d))


def rows_with_outcomes(
    X: Any, Y: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (float64), Y and groups without the rows whose outcomes are all missing."""
    X = np.asarray(X, np.float64)
    if X.ndim != 2:
        raise ValueError(
            f"X {X.shape} must be a table [n, d] of vectors, such as sentence embeddings"
        )
    if not np.isfinite(X).all():
        row = int(np.argwhere(~np.isfinite(X))[0][0])
        raise ValueError(f"X is not finite, first in row {row}; check the embeddings")
    rows = ~np.isnan(Y).all(axis=1)
    return X[rows], Y[rows], groups[rows]
