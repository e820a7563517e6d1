"""Kernel ridge regression of the principal components of a table, each with its own ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from sklearn.exceptions import NotFittedError

from prefill_router.data.splits import group_folds, validation_rows
from prefill_router.heads.familiarity import nearness_in_training
from prefill_router.heads.gram import BLOCK, Block, ReadyBlock, check_states
from prefill_router.heads.ridge import held_out_predictions, mean_kernel, solve_ridge

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class KernelRegression:
    """Coregionalised kernel ridge regression of a table of values on the states of one or more
    encoders.

    Parameters
    ----------
    width : float
        Of the Gaussian kernel, in units of the mean squared difference per column.
    precomputed : bool
        X holds kernels instead of states: rows of :func:`gaussian_gram`, of the training queries in
        fitting and of those asked about in predicting. ``width`` is not used.
    ridges : sequence of float
        Candidates for the ridge of a component.
    folds, seed : int
        Of the cross-validation, over groups. Standardisation sees all training rows, without
        their values.
    cv_rows : int or None
        Most rows that the cross-validation looks at, whole groups drawn at random; its time grows
        with their cube. None: all.

    Attributes
    ----------
    encoders_used : tuple of str
        Those whose kernels are averaged: the subset with the smallest cross-validated error.
    cv_error : dict of tuple of str to float
        That error of every subset: mean squared error of the standardised values, summed over the
        components.
    ridges_used : float ndarray [K]
        Ridge of every component.
    r2_ : float ndarray [K]
        Cross-validated share of each component's variance that is explained.
    """

    def __init__(
        self,
        width: float = 1.0,
        ridges: Sequence[float] = RIDGES,
        folds: int = 3,
        seed: int = 0,
        cv_rows: int | None = 4000,
        precomputed: bool = False,
    ) -> None:
        self.precomputed = precomputed
        self.width, self.ridges, self.folds, self.seed, self.cv_rows = (
            width,
            tuple(sorted(ridges)),
            folds,
            seed,
            cv_rows,
        )

    def fit_values(
        self,
        X: np.ndarray | Mapping[str, np.ndarray],
        values: np.ndarray,
        groups: Sequence | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit on training rows.

        Parameters
        ----------
        X : float ndarray [n, D], or a mapping of encoder name to one
            Kept, not copied.
        values : float ndarray [n, K]
            None missing.
        groups : n labels that never straddle a fold; default: every row on its own.

        Returns
        -------
        rows : int ndarray [m]
            Those that the cross-validation looked at.
        held_out : float64 ndarray [m, K]
            Their values as predicted from the other folds.

        Raises
        ------
        ValueError
            Lengths that disagree, states that are not finite.
        """
        X = _named(X)
        groups = np.arange(len(values)) if groups is None else np.asarray(groups)
        check_states(X, len(values), len(groups), square=self.precomputed)
        components = self._rotate(values)
        if self.precomputed:
            kernels = X
        else:
            self._blocks: dict[str, Block | ReadyBlock] = {
                name: Block.of(np.asarray(states, np.float32)) for name, states in X.items()
            }
            kernels = {
                name: block.kernel(block.states, self.width) for name, block in self._blocks.items()
            }
        self._columns = {name: states.shape[1] for name, states in X.items()}
        rows, predicted = self._choose(kernels, components, groups)
        kernel = mean_kernel([kernels[name] for name in self.encoders_used])
        self._nearness = nearness_in_training(kernel, groups)
        self._offset, self._dual = components.mean(axis=0), np.zeros_like(components)
        for ridge in np.unique(self.ridges_used):
            at = self.ridges_used == ridge
            self._dual[:, at] = solve_ridge(kernel, components[:, at] - self._offset[at], ridge)
        return rows, self._values(predicted)

    def _choose(
        self, kernels: Mapping[str, np.ndarray], components: np.ndarray, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose encoders and ridges by cross-validation: the rows that it looked at, and their
        held-out predictions [rows, K] by what was chosen.
        """
        rows = np.arange(len(components))
        if self.cv_rows is not None and self.cv_rows < len(rows):
            rows = np.flatnonzero(validation_rows(groups, self.cv_rows / len(rows), self.seed))
        fold, of_rows = group_folds(groups[rows], self.folds, self.seed), components[rows]
        spread = np.maximum(of_rows.var(axis=0), np.finfo(np.float64).tiny)
        best = np.inf
        self.cv_error: dict[tuple[str, ...], float] = {}
        sizes = range(1, len(kernels) + 1)
        for subset in (s for size in sizes for s in combinations(kernels, size)):
            kernel = mean_kernel([kernels[name] for name in subset])[np.ix_(rows, rows)]
            held_out = held_out_predictions(kernel, of_rows, fold, self.ridges)  # [ridges, rows, K]
            errors = ((held_out - of_rows) ** 2).mean(axis=1)
            self.cv_error[subset] = float(errors.min(axis=0).sum())
            if self.cv_error[subset] < best:
                best, self.encoders_used = self.cv_error[subset], subset
                chosen, self.r2_ = errors.argmin(axis=0), 1 - errors.min(axis=0) / spread
                predicted = held_out[chosen, :, np.arange(len(chosen))].T
        self.ridges_used = np.array(self.ridges)[chosen]
        return rows, predicted

    def predict_values(self, X: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Values: float64 [n, K].

        Raises
        ------
        NotFittedError
            Before fitting.
        ValueError
            The states of an encoder that is averaged are not given, or have another width than in
            training.
        """
        return self._predicted(X)[0]

    def _predicted(self, X: np.ndarray | Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Values [n, K], and the largest kernel value [n] of each query with a training query."""
        if not hasattr(self, "_dual"):
            raise NotFittedError("the kernel router is not fitted; call fit(X, Y, groups) first")
        X = _named(X)
        for name in self.encoders_used:
            if name not in X or X[name].shape[1] != self._columns[name]:
                got = f"of width {X[name].shape[1]}" if name in X else "missing"
                raise ValueError(
                    f"states of {name or 'the encoder'} are {got}; they must have the width"
                    f" {self._columns[name]} of the training states"
                )
        n = len(X[self.encoders_used[0]])
        predicted, nearness = [self._offset[None][:0]], [np.zeros(0, np.float32)]
        for start in range(
            0, n, BLOCK
        ):  # by blocks of queries: a kernel of all of them in float64 is the largest thing there is
            rows = {name: X[name][start : start + BLOCK] for name in self.encoders_used}
            kernel = mean_kernel(
                [
                    (
                        x
                        if self.precomputed
                        else self._blocks[name].kernel(np.asarray(x, np.float32), self.width)
                    )
                    for name, x in rows.items()
                ]
            )
            predicted.append(self._offset + kernel.astype(np.float64) @ self._dual)
            nearness.append(kernel.max(axis=1))
        return self._values(np.vstack(predicted)), np.concatenate(nearness)

    def _rotate(self, Y: np.ndarray) -> np.ndarray:
        """Principal components [n, K] of the standardised values: those of their correlation
        matrix, by falling variance.
        """
        self._rates, spread = Y.mean(axis=0), Y.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        z = (Y - self._rates) / self._spread
        _, vectors = np.linalg.eigh(z.T @ z)
        vectors = vectors[:, ::-1]
        self._vectors = vectors * np.sign(
            vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))]
        )
        return z @ self._vectors

    def _values(self, components: np.ndarray) -> np.ndarray:
        return (components @ self._vectors.T) * self._spread + self._rates


def _named(X: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = dict(X) if isinstance(X, Mapping) else {"": X}
    if not found:
        raise ValueError("no states given; pass those of at least one encoder")
    return {name: np.asarray(states) for name, states in found.items()}
