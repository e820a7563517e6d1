"""Kernel ridge regression: solving, and the predictions for held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from prefill_router.heads.gram import BLOCK


def mean_kernel(kernels: Sequence[np.ndarray]) -> np.ndarray:
    return kernels[0] if len(kernels) == 1 else np.mean(kernels, axis=0)


def solve_ridge(kernel: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Dual coefficients (kernel + ridge)^-1 targets, float64.

    Factored in float32, which takes half the time and memory, then corrected by the float64
    residual (iterative refinement: Higham, Accuracy and Stability of Numerical Algorithms, chapter
    12).
    """
    matrix = kernel.astype(np.float32)
    matrix[np.diag_indices_from(matrix)] += ridge
    factor = cho_factor(
        matrix.T, lower=True, overwrite_a=True, check_finite=False
    )  # the transpose is in LAPACK's order: no copy is made
    dual, goal = np.zeros(targets.shape), 1e-9 * np.abs(targets).max()
    for _ in range(10):
        # by blocks of rows, so that no float64 copy of the whole kernel is made
        applied = np.vstack(
            [
                kernel[start : start + BLOCK].astype(np.float64) @ dual
                for start in range(0, len(kernel), BLOCK)
            ]
        )
        residual = targets - applied - ridge * dual
        if np.abs(residual).max() <= goal:
            break
        dual += cho_solve(factor, residual.astype(np.float32), check_finite=False)
    return dual


def held_out_predictions(
    kernel: np.ndarray, targets: np.ndarray, fold: np.ndarray, ridges: Sequence[float]
) -> np.ndarray:
    """Predictions [ridges, n, K] of every row by regressions on the rows of the other folds."""
    predicted = np.empty((len(ridges), *targets.shape))
    for f in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        inner, cross = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)].astype(np.float64)
        mean = targets[train].mean(axis=0)
        for r, ridge in enumerate(ridges):
            predicted[r, test] = mean + cross @ solve_ridge(inner, targets[train] - mean, ridge)
    return predicted
