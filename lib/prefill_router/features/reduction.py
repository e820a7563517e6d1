"""Standardisation and principal components, once or for every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.linalg import eigh
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class ScaledPCA:
    """Standardisation, then principal components, as plain arrays.

    Attributes
    ----------
    mean, scale : float64 ndarray [d]
        A constant column has scale 1, so it becomes zero.
    components : float64 ndarray [k, d]
        Orthonormal rows by falling variance; the largest absolute loading of each is positive,
        which fixes the sign.
    variance : float64 ndarray [k]
        Variance of the training rows along each component (divisor n - 1).
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    variance: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, n_components: int) -> ScaledPCA:
        """Fit on the rows of ``x`` [n, d]; k is ``n_components`` or the numerical rank, whichever
        is smaller.

        The eigenvectors come from the d x d covariance, or from the n x n Gram matrix where that is
        smaller, and only the leading ones are computed; both are deterministic.
        """
        if n_components < 1:
            raise ValueError(f"n_components={n_components}; keep at least one component")
        x = np.asarray(x, np.float64)
        scaler = StandardScaler().fit(x)
        # a mean may be off in its last bit; constant columns (the last token of a template in layer
        # 0) must
        # become zero
        mean = np.where((x == x[0]).all(axis=0), x[0], scaler.mean_)
        z = (x - mean) / scaler.scale_
        n, d = z.shape
        wide = n < d
        values, vectors = _leading(z @ z.T if wide else z.T @ z, n_components, max(n, d))
        components = (z.T @ vectors / np.sqrt(values)).T if wide else vectors.T
        return cls(mean, scaler.scale_, _signed(components), values / max(n - 1, 1))

    @classmethod
    def fit_blocks(cls, blocks: Iterable[np.ndarray], n_components: int) -> ScaledPCA:
        """:meth:`fit` on rows that come in blocks [m, d], each looked at once; of a single block it
        is the same to the last digit.
        """
        given = iter(blocks)
        first = next(given)
        if (second := next(given, None)) is None:
            return cls.fit(first, n_components)
        # deviations from one of the rows: squares around a far-off origin would cancel, and columns
        # that are constant are exactly zero
        origin, n = np.asarray(first[0], np.float64), 0
        total, moments = np.zeros(len(origin)), np.zeros((len(origin), len(origin)))
        for x in chain((first, second), given):
            z = np.asarray(x, np.float64) - origin
            n += len(z)
            total += z.sum(axis=0)
            moments += z.T @ z
        mean = total / n
        scatter = moments - n * np.outer(mean, mean)
        return cls.from_scatter(n, origin + mean, scatter, n_components)

    @classmethod
    def from_scatter(
        cls, n: int, mean: np.ndarray, scatter: np.ndarray, n_components: int
    ) -> ScaledPCA:
        """From the number of rows, their mean [d] and the sum of products of deviations from it
        [d, d], which may have been summed block by block; a column that never varied has 0 there.
        """
        variance = np.diag(scatter) / n
        varies = variance > 0
        scale = np.sqrt(np.where(varies, variance, 1.0))
        scaled = scatter / np.outer(scale, scale)
        scaled[~varies] = scaled[:, ~varies] = 0.0
        values, vectors = _leading(scaled, n_components, max(n, len(mean)))
        return cls(mean, scale, _signed(vectors.T), values / max(n - 1, 1))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Project rows [m, d] to float64 [m, k]."""
        return ((x - self.mean) / self.scale) @ self.components.T


def fold_reductions(x: np.ndarray, fold: np.ndarray, n_components: int) -> Iterator[ScaledPCA]:
    """For every fold, the ScaledPCA of the rows outside it.

    Equal to ``ScaledPCA.fit(x[fold != f], n_components)`` up to rounding, but the d x d moments are
    summed once per fold and subtracted from the total, instead of once per training set: a fifth of
    the work with five folds.

    Parameters
    ----------
    x : ndarray [n, d]
    fold : int ndarray [n]
        0 ... folds - 1.
    n_components : int
    """
    x = np.asarray(x, np.float64)
    folds, d = int(fold.max()) + 1, x.shape[1]
    counts = np.bincount(fold, minlength=folds)
    if len(x) - counts.max() < d:  # fewer rows than columns: the Gram matrix is the smaller one
        for f in range(folds):
            yield ScaledPCA.fit(x[fold != f], n_components)
        return
    # centred and scaled over all rows first: sums of squares around a far-off origin would cancel
    scaler = StandardScaler().fit(x)
    centre = np.where((x == x[0]).all(axis=0), x[0], scaler.mean_)
    z = (x - centre) / scaler.scale_
    sums = np.array([z[fold == f].sum(axis=0) for f in range(folds)])
    moments = [z[fold == f].T @ z[fold == f] for f in range(folds)]
    total = np.sum(moments, axis=0)
    for f in range(folds):
        n = len(x) - counts[f]
        mean = (sums.sum(axis=0) - sums[f]) / n
        scatter = total - moments[f] - n * np.outer(mean, mean)
        variance = np.diag(scatter) / n
        varies = variance > 1e-10  # the columns have variance 1 over all rows, or are constant
        scale = np.sqrt(np.where(varies, variance, 1.0))
        scatter /= np.outer(scale, scale)
        scatter[~varies] = scatter[:, ~varies] = 0.0
        values, vectors = _leading(scatter, n_components, max(n, d))
        yield ScaledPCA(
            centre + mean * scaler.scale_,
            np.where(varies, scale * scaler.scale_, 1.0),
            _signed(vectors.T),
            values / max(n - 1, 1),
        )


def _leading(moments: np.ndarray, k: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues and their eigenvectors (columns), without those that are only
    rounding.
    """
    last = len(moments) - 1
    values, vectors = eigh(moments, subset_by_index=[max(0, last + 1 - k), last])
    values, vectors = values[::-1], vectors[:, ::-1]
    # a column that varies has variance 1, so without an eigenvalue of that order there is only
    # rounding
    keep = values > max(values[0], 1.0) * size * np.finfo(np.float64).eps
    return values[keep], vectors[:, keep]


def _signed(components: np.ndarray) -> np.ndarray:
    """Rows with the sign at which their largest loading is positive."""
    signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(axis=1)])
    return np.ascontiguousarray(components * signs[:, None])
