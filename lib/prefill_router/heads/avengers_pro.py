"""Avengers-Pro: routing by each target's performance and cost in the clusters nearest to a query.

Zhang et al., *Beyond GPT-5: Making LLMs Cheaper and Better via Performance-Efficiency Optimized
Routing*, arXiv 2508.12631.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prefill_router.heads.router_base import shrunken_means
from prefill_router.heads.semantic import ClusterRouter


class AvengersProRouter(ClusterRouter):
    """The clusters of Avengers-Pro: k-means on embeddings of length 1, and every target's plain
    accuracy in each cluster.

    P is the mean accuracy over the ``top_`` nearest clusters: the performance of the paper's score
    before it is normalised, so that the router is used like all others. It is a
    :class:`ClusterRouter` that does not shrink. :func:`avengers_pro_scores` gives the paper's own
    score. The paper fixes 60 clusters; here cross-validation chooses.

    Parameters
    ----------
    clusters, tops, folds, seed
        As in :class:`ClusterRouter`.
    """

    def __init__(
        self,
        clusters: Sequence[int] = (8, 16, 32, 60, 120),
        tops: Sequence[int] = (1, 2, 4, 6, 8),
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(clusters, tops, smoothings=(0.0,), folds=folds, seed=seed)

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        super()._fit(X, Y, groups)
        self.training_clusters_ = self.nearest(X, 1)[:, 0]  # of all rows, as costs are given


def avengers_pro_scores(
    router: AvengersProRouter, X: Any, costs: np.ndarray, alpha: float
) -> np.ndarray:
    """The paper's score of every target; it routes to the highest.

    In a cluster, accuracy p and mean cost q of the targets are each scaled to 0 ... 1 over the
    targets: p' and q'. The score of a target is alpha p' + (1 - alpha) (1 - q'), summed over the
    ``router.top_`` clusters nearest to the query (section 2 of arXiv 2508.12631).

    Parameters
    ----------
    router : AvengersProRouter
        Fitted.
    X : float ndarray [n, d]
    costs : float ndarray [m, K]
        What each target's answer to the m training rows cost, in any unit; NaN where that is not
        known. A target without a known cost in a cluster has its overall mean cost there.
    alpha : float
        Weight of performance, 0 ... 1.

    Returns
    -------
    float64 ndarray [n, K]
        Between 0 and ``router.top_``.

    Raises
    ------
    NotFittedError
        Before ``fit``.
    ValueError
        Another shape of ``costs``, a target without any known cost, alpha outside 0 ... 1.
    """
    router.check_fitted()
    costs = np.asarray(costs, np.float64)
    shape = (len(router.training_clusters_), router.accuracy_.shape[1])
    if costs.shape != shape:
        raise ValueError(f"costs {costs.shape} must have the shape {shape} of the training rows")
    if np.isnan(costs).all(axis=0).any():
        missing = np.flatnonzero(np.isnan(costs).all(axis=0)).tolist()
        raise ValueError(f"targets in columns {missing} of costs have no known cost; drop them")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}; it must lie between 0 and 1")
    overall = np.nanmean(costs, axis=0)
    cost = shrunken_means(router.training_clusters_, costs, overall, 0.0, router.clusters_)
    score = alpha * _scaled(router.accuracy_) + (1 - alpha) * (1 - _scaled(cost))
    return score[router.nearest(X, router.top_)].sum(axis=1)


def _scaled(table: np.ndarray) -> np.ndarray:
    """Each row scaled to 0 ... 1; zeros where all its values are the same."""
    low = table.min(axis=1, keepdims=True)
    width = table.max(axis=1, keepdims=True) - low
    return np.divide(table - low, width, out=np.zeros_like(table), where=width > 0)
