"""Kernel ridge regression of the principal components of a table, each with its own ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.exceptions import NotFittedError

from prefill_router.data.memory import (
    DIRECTIONS,
    EXACT_ROWS,
    LANDMARKS,
    check_free,
    memory_of_bounded,
    memory_of_exact,
)
from prefill_router.data.splits import group_folds, validation_rows
from prefill_router.heads.familiarity import nearness_in_training
from prefill_router.heads.gram import Block, ReadyBlock, check_states
from prefill_router.heads.landmarks import Features, Rows, Search, fit_landmarks
from prefill_router.heads.projected import Projected
from prefill_router.heads.ridge import held_out_predictions, mean_kernel, solve_ridge
from prefill_router.heads.stored_states import StoredStates, row_blocks


@dataclass(frozen=True)
class Bounds:
    """How large a regression may grow.

    Attributes
    ----------
    exact_rows : int
        With at most so many rows the kernel of all of them is made.
    landmarks : int
        Rows that stand for all of them where there are more; fewer than ``exact_rows``.
    directions : int
        Principal directions of an encoder's states that are kept then.
    """

    exact_rows: int = EXACT_ROWS
    landmarks: int = LANDMARKS
    directions: int = DIRECTIONS


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
        fitting and of those asked about in predicting. ``width`` is not used. It is always exact.
    ridges : sequence of float
        Candidates for the ridge of a component.
    folds, seed : int
        Of the cross-validation, over groups. Standardisation sees all rows, without their values.
    cv_rows : int or None
        Most rows that the cross-validation looks at, whole groups drawn at random; its time grows
        with their cube. None: all.
    bounds : Bounds
        Up to how many rows the kernel of all of them is made; with more, see `heads.landmarks`.

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

    cv_error: dict[tuple[str, ...], float]
    _blocks: dict[str, Block | ReadyBlock | Projected]

    def __init__(
        self,
        width: float = 1.0,
        ridges: Sequence[float] = RIDGES,
        folds: int = 3,
        seed: int = 0,
        cv_rows: int | None = 4000,
        precomputed: bool = False,
        bounds: Bounds = Bounds(),
    ) -> None:
        self.precomputed, self.bounds = precomputed, bounds
        self.width, self.ridges, self.folds, self.seed, self.cv_rows = (
            width,
            tuple(sorted(ridges)),
            folds,
            seed,
            cv_rows,
        )

    def fit_values(
        self,
        X: Rows | Mapping[str, Rows],
        values: np.ndarray,
        groups: Sequence | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit on training rows.

        Parameters
        ----------
        X : float ndarray [n, D], or a mapping of encoder name to one
            Kept, not copied. Or `StoredStates`, which stay in their store if there are more rows
            than ``bounds.exact_rows``.
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
        MemoryError
            Less memory is free than the fit takes.
        """
        X = _named(X)
        groups = np.arange(len(values)) if groups is None else np.asarray(groups)
        self._columns = {name: states.shape[1] for name, states in X.items()}
        if len(values) > self.bounds.exact_rows and not self.precomputed:
            return self._fit_bounded(X, values, groups)
        if not self.precomputed:
            needed = memory_of_exact(len(values), sum(self._columns.values()))
            check_free(needed, f"a kernel of {len(values):,} rows")
        kernels = {name: states[:] for name, states in X.items()}  # those in a store are read
        check_states(kernels, len(values), len(groups), square=self.precomputed)
        components = self._rotate(values)
        if not self.precomputed:
            blocks = {name: Block.of(np.asarray(x, np.float32)) for name, x in kernels.items()}
            kernels = {
                name: block.kernel(block.states, self.width) for name, block in blocks.items()
            }
            self._blocks = dict(blocks)
        rows, predicted = self._choose(kernels, components, groups)
        kernel = mean_kernel([kernels[name] for name in self.encoders_used])
        self._nearness = nearness_in_training(kernel, groups)
        self._solve(kernel, components)
        self._solved_for = components, groups
        return rows, self._values(predicted)

    def _solve(self, kernel: np.ndarray, components: np.ndarray) -> None:
        self._offset, self._dual = components.mean(axis=0), np.zeros_like(components)
        for ridge in np.unique(self.ridges_used):
            at = self.ridges_used == ridge
            self._dual[:, at] = solve_ridge(kernel, components[:, at] - self._offset[at], ridge)

    def _fit_bounded(
        self, X: Mapping[str, Rows], values: np.ndarray, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`fit_values` with landmarks. Ridges are chosen by regressions on all rows of the
        other folds, among several encoders as the exact one does on the landmarks alone.
        """
        n, bounds = len(values), self.bounds
        lengths = {len(states) for states in X.values()} | {len(groups)}
        if lengths != {n}:
            raise ValueError(f"states and groups have {sorted(lengths)} rows, Y {n}; all are equal")
        needed = memory_of_bounded(
            n, sum(self._columns.values()), values.shape[1], bounds.landmarks
        )
        check_free(needed, f"a regression of {n:,} rows on {bounds.landmarks:,} landmarks")
        components = self._rotate(values)
        drawn = np.sort(np.random.default_rng(self.seed).choice(n, bounds.landmarks, replace=False))
        states = {name: np.asarray(x[drawn], np.float32) for name, x in X.items()}
        check_states(states, len(drawn), len(drawn), square=False)
        blocks = {name: Projected.of(x, bounds.directions) for name, x in states.items()}
        self.encoders_used, self.cv_error = tuple(X), {}
        if len(X) > 1:
            kernels = {name: blocks[name].kernel(x, self.width) for name, x in states.items()}
            self._choose(kernels, components[drawn], groups[drawn])
        used = {name: blocks[name] for name in self.encoders_used}
        self._blocks = dict(used)
        found = fit_landmarks(
            Features.of(used, [states[name] for name in used], self.width),
            X,
            components,
            Search(group_folds(groups, self.folds, self.seed), self._cv_rows(groups), self.ridges),
        )
        self._offset, self._dual = found.offset, found.dual
        self.ridges_used, self.r2_ = found.ridges, found.r2
        self.cv_error.setdefault(self.encoders_used, found.error)
        self._nearness = nearness_in_training(found.kernel, groups[found.rows], groups[drawn])
        return found.rows, self._values(found.held_out)

    def _cv_rows(self, groups: np.ndarray) -> np.ndarray:
        """Rows that the cross-validation looks at."""
        if self.cv_rows is None or self.cv_rows >= len(groups):
            return np.arange(len(groups))
        return np.flatnonzero(validation_rows(groups, self.cv_rows / len(groups), self.seed))

    def _choose(
        self, kernels: Mapping[str, np.ndarray], components: np.ndarray, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose encoders and ridges by cross-validation: the rows that it looked at, and their
        held-out predictions [rows, K] by what was chosen.
        """
        rows = self._cv_rows(groups)
        fold, of_rows = group_folds(groups[rows], self.folds, self.seed), components[rows]
        spread = np.maximum(of_rows.var(axis=0), np.finfo(np.float64).tiny)
        best = np.inf
        self.cv_error = {}
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

    def predict_values(self, X: Rows | Mapping[str, Rows]) -> np.ndarray:
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

    def _predicted(self, X: Rows | Mapping[str, Rows]) -> tuple[np.ndarray, np.ndarray]:
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
        first = X[self.encoders_used[0]]
        values = np.empty((len(first), self._dual.shape[1]))
        nearness = np.empty(len(first), np.float32)
        # by blocks of queries: a kernel of all of them in float64 is the largest thing there is
        for at in row_blocks(first):
            kernel = mean_kernel([self._kernel(name, X[name][at]) for name in self.encoders_used])
            values[at] = self._offset + kernel.astype(np.float64) @ self._dual
            nearness[at] = kernel.max(axis=1)
        return self._values(values), nearness

    def _kernel(self, name: str, states: np.ndarray) -> np.ndarray:
        if self.precomputed:
            return states
        return self._blocks[name].kernel(np.asarray(states, np.float32), self.width)

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


def _named(X: Rows | Mapping[str, Rows]) -> dict[str, Rows]:
    found = dict(X) if isinstance(X, Mapping) else {"": X}
    if not found:
        raise ValueError("no states given; pass those of at least one encoder")
    return {
        name: states if isinstance(states, StoredStates) else np.asarray(states)
        for name, states in found.items()
    }
