"""Arrays of queries and bootstrap weights: checks, means, blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

BLOCK = 200_000  # numbers per temporary array of the bootstrap: several fit in a processor's cache


def row_blocks(n_rows: int, n_columns: int) -> list[slice]:
    """Rows of [n_rows, n_columns] in blocks of at most ``BLOCK`` numbers."""
    step = max(1, BLOCK // max(1, n_columns))
    return [slice(i, i + step) for i in range(0, n_rows, step)]


def cumulated(weights: np.ndarray) -> np.ndarray:
    """[B, n + 1]: weight of the first 0, 1, ..., n queries."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [B, K] of the columns of [n, K]; equal columns give bitwise equal means."""
    sums = np.stack([weights @ np.ascontiguousarray(column) for column in values.T], axis=1)
    return divided(sums, weights.sum(axis=1)[:, None])


def divided(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """a / b, elementwise; NaN (and no warning) where b is 0. Of two numbers a number."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b != 0, a / b, np.nan)[()]


def known_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN (and no warning) where nothing is left."""
    return divided(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def check_same_shape(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return a, b


def complete_arrays(what: str, values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} has missing values; take outcomes.subset(outcomes.complete_rows()) first"
        )
    return values


def weight_rows(weights: ArrayLike, n: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if (
        weights.ndim != 2
        or weights.shape[1] != n
        or not np.isfinite(weights).all()
        or (weights < 0).any()
    ):
        raise ValueError(f"weights must be [B, {n}], finite and >= 0, not of shape {weights.shape}")
    return weights
