"""The kernel router: no layer is chosen, and what the targets have in common is learnt apart from
what sets them apart.

Kernel ridge regression (the mean of a Gaussian process) on the states of the upper two thirds of an
encoder's layers, both poolings side by side. Not every target's column of outcomes is fitted, but
the principal components of all of them: the first is the difficulty that targets share and is
learnt with little shrinkage, the later ones are the differences that routing lives on, scarce in
evidence and shrunk hard, each as far as cross-validation on training rows asks for; were all
differences shrunk to nothing, every query would go to the best single target. Shrinking the
components of a multiple response one by one is Breiman and Friedman's *curds and whey* (J. R. Stat.
Soc. B 59, 1997); with kernels it is a Gaussian process with coregionalised targets (Bonilla et al.,
NIPS 2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import combinations

import numpy as np
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from prefill_router.data.splits import group_folds, validation_rows
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.gram import BLOCK, Block, ReadyBlock, check_states, fill_missing
from prefill_router.heads.ridge import held_out_predictions, mean_kernel, solve_ridge

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class KernelRouter:
    """Coregionalised kernel ridge regression on the states of one or more encoders.

    Parameters
    ----------
    width : float
        Of the Gaussian kernel, in units of the mean squared difference per column.
    precomputed : bool
        X holds kernels instead of states: rows of :func:`gaussian_gram`, of the training queries in
        :meth:`fit` and of those asked about in :meth:`predict_proba`. ``width`` is not used.
    ridges : sequence of float
        Candidates for the ridge of a component.
    folds, seed : int
        Of the cross-validation, over groups. Standardisation sees all rows given to :meth:`fit`,
        without their outcomes.
    cv_rows : int or None
        Most rows that the cross-validation looks at, whole groups drawn at random; its time grows
        with their cube. None: all.

    Attributes
    ----------
    encoders_used : tuple of str
        Those whose kernels are averaged: the subset with the smallest cross-validated error.
    cv_error : dict of tuple of str to float
        That error of every subset: mean squared error of the standardised outcomes, summed over the
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

    @one_blas_thread
    def fit(
        self,
        X: np.ndarray | Mapping[str, np.ndarray],
        Y: np.ndarray,
        groups: Sequence | np.ndarray | None = None,
    ) -> KernelRouter:
        """Fit on training rows.

        Parameters
        ----------
        X : float ndarray [n, D], or a mapping of encoder name to one
            See :func:`read_states`. They are kept, not copied.
        Y : float ndarray [n, K]
            1 right, 0 wrong, NaN missing. Further targets than those routed to may be given: they
            help to tell difficulty apart.
        groups : n labels that never straddle a fold; default: every row on its own.

        Raises
        ------
        ValueError
            Lengths that disagree, states that are not finite, other values in Y, a target without
            any outcome.
        """
        X, Y = _named(X), np.asarray(Y, np.float64)
        groups = np.arange(len(Y)) if groups is None else np.asarray(groups)
        check_states(X, len(Y), len(groups), square=self.precomputed)
        components = self._rotate(fill_missing(Y))
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
        self._offset, self._dual = components.mean(axis=0), np.zeros_like(components)
        for ridge in np.unique(self.ridges_used):
            at = self.ridges_used == ridge
            self._dual[:, at] = solve_ridge(kernel, components[:, at] - self._offset[at], ridge)
        # one increasing map for all targets: probabilities without ties, and the order of the
        # targets stays
        known = ~np.isnan(Y[rows])
        self._map = LogisticRegression(C=np.inf).fit(
            self._outcomes(predicted)[known][:, None], Y[rows][known]
        )
        return self

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

    def predict_proba(self, X: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """P(correct): float64 [n, K].

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            The states of an encoder that is averaged are not given, or have another width than in
            training.
        """
        if not hasattr(self, "_map"):
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
        predicted = [self._offset[None][:0]]
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
        outcomes = self._outcomes(np.vstack(predicted))
        return expit(self._map.coef_[0, 0] * outcomes + self._map.intercept_[0])

    @property
    def n_targets(self) -> int:
        """K."""
        return len(self._rates)

    def of_targets(self, columns: Sequence[int]) -> KernelRouter:
        """The fitted router for these targets alone, by position: their P(correct) stays the same,
        also what it learnt from the others.
        """
        router = copy(self)
        columns = list(columns)
        router._vectors, router._spread, router._rates = (
            array[columns] for array in (self._vectors, self._spread, self._rates)
        )
        return router

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON).

        The training states of every encoder that is used are among them, standardised: n x D values
        each, by far the largest part.

        Raises
        ------
        ValueError
            If it was fitted on kernels.
        """
        if self.precomputed:
            raise ValueError("only a kernel router fitted on states can be kept, not on kernels")
        arrays = {}
        for i, name in enumerate(self.encoders_used):
            block = self._blocks[name]
            ready = block if isinstance(block, ReadyBlock) else ReadyBlock.of(block)
            for part in ("states", "mean", "scale"):
                arrays[f"encoder{i}.{part}"] = getattr(ready, part)
        arrays |= {
            "dual": self._dual,
            "offset": self._offset,
            "vectors": self._vectors,
            "spread": self._spread,
            "rates": self._rates,
        }
        arrays["map"] = np.array([self._map.coef_[0, 0], self._map.intercept_[0]])
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {
            "width": self.width,
            "encoders": list(self.encoders_used),
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> KernelRouter:
        """Rebuild a fitted router from :meth:`state`; it answers single queries faster, since
        nothing is standardised again.
        """
        router = cls(width=meta["width"])
        router.encoders_used, router._blocks = tuple(meta["encoders"]), {}
        for i, name in enumerate(router.encoders_used):
            states, mean, scale = (
                np.asarray(tensors[f"encoder{i}.{part}"]) for part in ("states", "mean", "scale")
            )
            router._blocks[name] = ReadyBlock(states, mean, scale, (states * states).sum(axis=1))
        router._columns = {name: b.states.shape[1] for name, b in router._blocks.items()}
        router._dual, router._offset, router._vectors, router._spread, router._rates = (
            np.asarray(tensors[name]) for name in ("dual", "offset", "vectors", "spread", "rates")
        )
        router._map = LogisticRegression(C=np.inf)
        router._map.coef_, router._map.intercept_ = (
            np.array([[tensors["map"][0]]]),
            np.array([tensors["map"][1]]),
        )
        return router

    def _rotate(self, Y: np.ndarray) -> np.ndarray:
        """Principal components [n, K] of the standardised outcomes: those of their correlation
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

    def _outcomes(self, components: np.ndarray) -> np.ndarray:
        return (components @ self._vectors.T) * self._spread + self._rates


def _named(X: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = dict(X) if isinstance(X, Mapping) else {"": X}
    if not found:
        raise ValueError("no states given; pass those of at least one encoder")
    return {name: np.asarray(states) for name, states in found.items()}
