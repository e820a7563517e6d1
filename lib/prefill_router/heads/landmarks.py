"""Kernel ridge regression with a bounded number of landmarks: what stands in for the exact one
where there are more rows than a kernel [n, n] can be made of.

The regression is a sum of kernels with m landmarks, rows drawn at random, instead of with all n
rows: the Nystroem approximation (Williams and Seeger, NIPS 2000), with the ridge of kernel ridge
regression (Rudi, Camoriano and Rosasco, NIPS 2015). All n rows are read once, in blocks, and leave
their products in a matrix [m, m]: time grows with n m^2, memory with m^2. States are wide
and much alike, so that kernels are computed on some hundred directions
(`heads.projected`): a router holds m landmarks of some hundred numbers, not of ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from prefill_router.hardware import on_every_core
from prefill_router.heads.gram import BLOCK
from prefill_router.heads.projected import FLOOR, Projected
from prefill_router.heads.ridge import mean_kernel
from prefill_router.heads.stored_states import StoredStates, row_blocks

Rows = np.ndarray | StoredStates


@dataclass(frozen=True)
class Products:
    """What a pass over all rows leaves: for every fold the products of the rows' m features with
    themselves and with the values, from which every ridge regression on them follows.

    Attributes
    ----------
    square : list of float64 ndarray [m, m], one for each fold
    cross : list of float64 ndarray [m, K + 1]
        The last column is the sum of the features.
    total : list of float64 ndarray [K + 1]
        Sums of the values, and the number of rows.
    """

    square: list[np.ndarray]
    cross: list[np.ndarray]
    total: list[np.ndarray]

    def without(self, fold: int | None) -> Regressions:
        """Ridge regressions on the rows of all other folds; None: on all rows."""
        kept = [f for f in range(len(self.square)) if f != fold]
        square = np.sum([self.square[f] for f in kept], axis=0)
        cross, total = (
            np.sum([part[f] for f in kept], axis=0) for part in (self.cross, self.total)
        )
        mean = total[:-1] / total[-1]
        return Regressions(square, cross[:, :-1] - np.outer(cross[:, -1], mean), mean)


@dataclass(frozen=True)
class Regressions:
    """Ridge regressions of centred values on m features: products [m, m], [m, K], means [K]."""

    square: np.ndarray
    cross: np.ndarray
    mean: np.ndarray

    def weights(self, ridge: float, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float64 [m, columns]."""
        matrix = self.square.copy()
        matrix[np.diag_indices_from(matrix)] += ridge
        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return cho_solve(factor, self.cross[:, columns], check_finite=False)


@dataclass(frozen=True)
class Features:
    """Nystroem features: kernels with the landmarks, times ``whitening`` [m, m'], so that the
    features' inner products are the approximated kernel.
    """

    blocks: Mapping[str, Projected]
    width: float
    whitening: np.ndarray

    @classmethod
    def of(
        cls, blocks: Mapping[str, Projected], states: Sequence[np.ndarray], width: float
    ) -> Features:
        """Of landmarks whose states [m, D] are given for every block."""
        kernel = mean_kernel(
            [block.kernel(x, width) for block, x in zip(blocks.values(), states, strict=True)]
        ).astype(np.float64)
        values, vectors = eigh((kernel + kernel.T) / 2, overwrite_a=True, check_finite=False)
        kept = values > FLOOR * values[-1]
        return cls(blocks, width, (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32))

    def kernel(self, X: Mapping[str, Rows], rows: np.ndarray) -> np.ndarray:
        """Mean kernel of rows, by position, with the landmarks: float32 [rows, m].

        Raises
        ------
        ValueError
            States that are not finite.
        """
        kernels = [block.kernel(X[name][rows], self.width) for name, block in self.blocks.items()]
        kernel = mean_kernel(kernels)
        if not np.isfinite(kernel).all():
            at = rows[np.flatnonzero(~np.isfinite(kernel).all(axis=1))[0]]
            raise ValueError(f"states are not finite, first in row {at}; extract them again")
        return kernel

    def products(self, X: Mapping[str, Rows], values: np.ndarray, fold: np.ndarray) -> Products:
        """One pass over all rows; ``fold`` [n] counts from 0."""
        m, folds = self.whitening.shape[1], int(fold.max()) + 1
        values = np.column_stack([values, np.ones(len(values))])
        found = Products(
            [np.zeros((m, m)) for _ in range(folds)],
            [np.zeros((m, values.shape[1])) for _ in range(folds)],
            [values[fold == f].sum(axis=0) for f in range(folds)],
        )
        for rows, features in self._blocks_of(X):
            for f in range(folds):
                part = features[fold[rows] == f]
                # by blocks in float32, summed in float64
                found.square[f] += part.T @ part
                found.cross[f] += part.T.astype(np.float64) @ values[rows[fold[rows] == f]]
        return found

    def _blocks_of(self, X: Mapping[str, Rows]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        def features(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return rows, self.kernel(X, rows) @ self.whitening

        yield from on_every_core(features, ((rows,) for rows in row_blocks(next(iter(X.values())))))


@dataclass(frozen=True)
class Search:
    """How ridges are chosen: ``fold`` [n] of every row, ``rows`` [r] that are predicted from the
    other folds, and the candidates.
    """

    fold: np.ndarray
    rows: np.ndarray
    ridges: Sequence[float]


@dataclass(frozen=True)
class LandmarkFit:
    """A regression on m landmarks.

    Attributes
    ----------
    dual, offset : float64 ndarray [m, K], [K]
        Values of a row are its kernel with the landmarks times the former, plus the latter.
    ridges, r2, error
        As `KernelRegression` has them.
    rows : int ndarray [r]
        Those of the search.
    held_out : float64 ndarray [r, K]
        Their values by regressions on all rows of the other folds.
    kernel : float32 ndarray [r, m]
    """

    dual: np.ndarray
    offset: np.ndarray
    ridges: np.ndarray
    r2: np.ndarray
    error: float
    rows: np.ndarray
    held_out: np.ndarray
    kernel: np.ndarray


def fit_landmarks(
    features: Features, X: Mapping[str, Rows], values: np.ndarray, search: Search
) -> LandmarkFit:
    """Choose the ridge of every column of ``values`` [n, K], and fit it on all rows."""
    rows, fold = search.rows, search.fold[search.rows]
    products = features.products(X, values, search.fold)
    kernel = np.vstack(
        [features.kernel(X, rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
    )
    of_rows = (kernel @ features.whitening).astype(np.float64)
    predicted = np.empty((len(search.ridges), len(rows), values.shape[1]))
    for f in range(len(products.square)):
        others, here = products.without(f), fold == f
        for r, ridge in enumerate(search.ridges):
            predicted[r, here] = others.mean + of_rows[here] @ others.weights(ridge)
    errors = ((predicted - values[rows]) ** 2).mean(axis=1)
    chosen, columns = errors.argmin(axis=0), np.arange(values.shape[1])
    spread = np.maximum(values[rows].var(axis=0), np.finfo(np.float64).tiny)
    ridges, whole = np.array(search.ridges)[chosen], products.without(None)
    dual = np.empty((len(features.whitening), values.shape[1]))
    for ridge in np.unique(ridges):
        at = ridges == ridge
        dual[:, at] = features.whitening.astype(np.float64) @ whole.weights(ridge, at)
    return LandmarkFit(
        dual,
        whole.mean,
        ridges,
        1 - errors.min(axis=0) / spread,
        float(errors.min(axis=0).sum()),
        rows,
        predicted[chosen, :, columns].T,
        kernel,
    )
