"""Cross-validated AUC of logistic probes on principal components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prefill_router.data.labels import has_both_classes
from prefill_router.features.logistic import fit_logistic, rank_auc
from prefill_router.features.reduction import fold_reductions

# With C = 0.01 and n training rows a direction of variance v is shrunk little if
# 0.01 * n * v / 4 >> 1: at 1,500 rows the leading principal components are free and the noisy last
# ones are not.
PROBE_C = 0.01


def fold_aucs(
    x: np.ndarray, correct: np.ndarray, fold: np.ndarray, sizes: Sequence[int], C: float = PROBE_C
) -> tuple[np.ndarray, int]:
    """AUC of L2 logistic regressions on the leading principal components, on the rows of each fold.

    Scaler, PCA and regressions are fitted on the rows of the other folds: one PCA for all sizes,
    since components are nested, and one solution for all sizes and targets.

    Parameters
    ----------
    x : float64 ndarray [n, d]
    correct : float ndarray [n, K]
        From 1 (right) to 0 (wrong), NaN missing (left out).
    fold : int ndarray [n]
    sizes : S ints
        Numbers of components; above the rank of the training rows, all of them are used.
    C : float
        Inverse L2 strength.

    Returns
    -------
    aucs : float64 ndarray [folds, S, K]
        NaN if training or test rows of a target are all right or all wrong; 0.5 without any
        component, for constant features rank nothing.
    rank : int
        Components that all folds have, at most the largest size.
    """
    aucs = np.full((fold.max() + 1, len(sizes), correct.shape[1]), np.nan)
    rank = max(sizes)
    for f, reduction in enumerate(fold_reductions(x, fold, max(sizes))):
        train, test = fold != f, fold == f
        train_x, test_x = reduction.transform(x[train]), reduction.transform(x[test])
        rank = min(rank, train_x.shape[1])
        both = np.flatnonzero(has_both_classes(correct[train])).tolist()
        if train_x.shape[1] and both:
            known = [min(size, train_x.shape[1]) for size in sizes]
            w, intercept = fit_logistic(train_x, correct[train][:, both], known, C)
            scores = np.einsum("nd,skd->nsk", test_x, w, optimize=True) + intercept
        else:
            scores = np.zeros((len(test_x), len(sizes), len(both)))
        for s in range(len(sizes)):
            aucs[f, s, both] = rank_auc(scores[:, s], correct[test][:, both])
    return aucs, rank


def nan_mean(values: np.ndarray) -> np.ndarray:
    """Mean over axis 0 of the values that are not NaN; NaN where there is none."""
    counts = (~np.isnan(values)).sum(axis=0)
    return np.divide(
        np.nansum(values, axis=0), counts, out=np.full(values.shape[1:], np.nan), where=counts > 0
    )
