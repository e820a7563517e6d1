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
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge

from prefill_router.activations import ActivationStore
from prefill_router.baselines import target_rates
from prefill_router.hardware import one_blas_thread
from prefill_router.probes import group_folds
from prefill_router.trunk import validation_rows

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
# columns standardised, and queries predicted, at a time, so that no second copy of the states or of
# the kernel is held
_BLOCK = 2048


def read_states(
    store: ActivationStore,
    query_ids: Sequence[str],
    start: float = 1 / 3,
    step: int = 2,
    poolings: Sequence[str] = ("last", "mean"),
) -> np.ndarray:
    """States of every ``step``-th layer from the last one down to the share ``start`` of the depth,
    side by side.

    Returns
    -------
    float32 ndarray [n, layers * poolings * d]
    """
    layers = sorted(range(store.n_layers, max(round(start * store.n_layers), 1) - 1, -step))
    return np.hstack(
        [store.read(layer, pooling, query_ids) for layer in layers for pooling in poolings]
    )


def fill_missing(Y: np.ndarray) -> np.ndarray:
    """Outcomes with every missing entry replaced by its expectation given the query's other
    outcomes.

    A ridge regression per target with gaps, on the other targets (their own gaps at the target's
    mean), fitted on the queries that the target did answer. A target whose outcomes are all there
    stays as it is.

    Parameters
    ----------
    Y : float ndarray [n, K]
        1 right, 0 wrong, NaN missing.

    Returns
    -------
    float64 ndarray [n, K]
    """
    Y = np.asarray(Y, np.float64)
    missing, rates = np.isnan(Y), target_rates(Y)
    filled = np.where(missing, rates, Y)
    result = filled.copy()
    for k in np.flatnonzero(missing.any(axis=0)):
        others, gap = np.delete(filled, k, axis=1), missing[:, k]
        if others.shape[1]:
            result[gap, k] = Ridge(alpha=1.0).fit(others[~gap], Y[~gap, k]).predict(others[gap])
    return result


@dataclass(frozen=True)
class _Block:
    """One encoder's training states and their standardisation; constant columns become zero."""

    states: np.ndarray  # float32 [n, D]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray) -> _Block:
        mean, scale = np.empty(states.shape[1]), np.empty(states.shape[1])
        for start in range(
            0, states.shape[1], _BLOCK
        ):  # by blocks of columns: numpy would make a float64 copy of all
            at = slice(start, start + _BLOCK)
            mean[at], scale[at] = (
                states[:, at].mean(axis=0, dtype=np.float64),
                states[:, at].std(axis=0, dtype=np.float64),
            )
        return cls(
            states,
            mean.astype(np.float32),
            np.where(scale > 1e-6 * (1 + np.abs(mean)), scale, np.inf).astype(np.float32),
        )

    def kernel(self, states: np.ndarray, width: float) -> np.ndarray:
        """exp(-width * mean squared difference of standardised columns), float32 [m, n]; it is
        e^-2width for independent rows.
        """
        inner = np.zeros((len(states), len(self.states)), np.float32)
        own, other = np.zeros(len(states), np.float32), np.zeros(len(self.states), np.float32)
        for start in range(0, states.shape[1], _BLOCK):
            at = slice(start, start + _BLOCK)
            a, b = ((x[:, at] - self.mean[at]) / self.scale[at] for x in (states, self.states))
            inner += a @ b.T
            own += (a * a).sum(axis=1)
            other += (b * b).sum(axis=1)
        inner *= -2
        inner += own[:, None]
        inner += other
        np.maximum(inner, 0, out=inner)
        inner *= -width / states.shape[1]
        return np.exp(inner, out=inner)


@dataclass(frozen=True)
class _ReadyBlock:
    """A block whose states are standardised already, for queries that come one by one."""

    states: np.ndarray  # float32 [n, D], standardised
    mean: np.ndarray
    scale: np.ndarray
    own: np.ndarray  # float32 [n]: squared lengths of the states

    @classmethod
    def of(cls, block: _Block) -> _ReadyBlock:
        z = (block.states - block.mean) / block.scale
        return cls(z, block.mean, block.scale, (z * z).sum(axis=1))

    def kernel(self, states: np.ndarray, width: float) -> np.ndarray:
        """As :meth:`_Block.kernel`."""
        z = (states - self.mean) / self.scale
        # by torch: threads of numpy's BLAS go on spinning after a product, at the cost of the next
        # query's prefill
        inner = (
            torch.from_numpy(np.ascontiguousarray(z)) @ torch.from_numpy(self.states).T
        ).numpy()
        squared = np.maximum((z * z).sum(axis=1)[:, None] + self.own - 2 * inner, 0)
        return np.exp(-width / states.shape[1] * squared)


def gaussian_gram(states: np.ndarray, rows: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Kernel of all queries with the training queries, for a :class:`KernelRouter` with
    ``precomputed=True``.

    Several routers on the same rows, for other targets or with shuffled labels, then share the
    costliest product.

    Parameters
    ----------
    states : float32 ndarray [n, D]
        See :func:`read_states`.
    rows : int or bool ndarray
        The m training rows; they alone decide how the columns are standardised.
    width : float
        As in :class:`KernelRouter`.

    Returns
    -------
    float32 ndarray [n, m]
    """
    return _Block.of(states[rows]).kernel(states, width)


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
        groups: Sequence | None = None,
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
        for name, states in X.items():
            if not len(states) == len(Y) == len(groups):
                raise ValueError(
                    f"{name or 'X'} has {len(states)} rows, Y {len(Y)}, groups {len(groups)}; they"
                    " must be equal"
                )
            if self.precomputed and states.shape[1] != len(states):
                raise ValueError(
                    f"{name or 'X'} has shape {states.shape}; a precomputed kernel of the training"
                    " queries with themselves is square"
                )
            if not np.isfinite(states).all():
                raise ValueError(
                    f"{name or 'X'} is not finite, first in row"
                    f" {int(np.argwhere(~np.isfinite(states))[0][0])}; extract it again"
                )
        components = self._rotate(fill_missing(Y))
        if self.precomputed:
            kernels = X
        else:
            self._blocks = {
                name: _Block.of(np.asarray(states, np.float32)) for name, states in X.items()
            }
            kernels = {
                name: block.kernel(block.states, self.width) for name, block in self._blocks.items()
            }
        self._columns = {name: states.shape[1] for name, states in X.items()}
        rows = np.arange(len(Y))
        if self.cv_rows is not None and self.cv_rows < len(Y):
            rows = np.flatnonzero(validation_rows(groups, self.cv_rows / len(Y), self.seed))
        fold, of_rows = group_folds(groups[rows], self.folds, self.seed), components[rows]
        best = np.inf
        self.cv_error: dict[tuple[str, ...], float] = {}
        for subset in (
            s for size in range(1, len(kernels) + 1) for s in combinations(kernels, size)
        ):
            kernel = _mean_kernel([kernels[name] for name in subset])
            held_out = _held_out(
                kernel[np.ix_(rows, rows)], of_rows, fold, self.ridges
            )  # [ridges, rows, K]
            errors = ((held_out - of_rows) ** 2).mean(axis=1)
            self.cv_error[subset] = float(errors.min(axis=0).sum())
            if self.cv_error[subset] < best:
                best, self.encoders_used, train_kernel = self.cv_error[subset], subset, kernel
                chosen = errors.argmin(axis=0)
                predicted = held_out[chosen, :, np.arange(len(chosen))].T
                self.r2_ = 1 - errors.min(axis=0) / np.maximum(
                    of_rows.var(axis=0), np.finfo(np.float64).tiny
                )
        self.ridges_used, self._offset = np.array(self.ridges)[chosen], components.mean(axis=0)
        self._dual = np.zeros_like(components)
        for ridge in np.unique(self.ridges_used):
            at = self.ridges_used == ridge
            self._dual[:, at] = _solve(train_kernel, components[:, at] - self._offset[at], ridge)
        # one increasing map for all targets: probabilities without ties, and the order of the
        # targets stays
        known = ~np.isnan(Y[rows])
        self._map = LogisticRegression(C=np.inf).fit(
            self._outcomes(predicted)[known][:, None], Y[rows][known]
        )
        return self

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
            0, n, _BLOCK
        ):  # by blocks of queries: a kernel of all of them in float64 is the largest thing there is
            rows = {name: X[name][start : start + _BLOCK] for name in self.encoders_used}
            kernel = _mean_kernel(
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

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON), of a router that
        reads one encoder.

        The training states are among them, standardised: n x D values, by far the largest part.

        Raises
        ------
        ValueError
            If it was fitted on kernels, or reads several encoders.
        """
        if self.precomputed or len(self.encoders_used) > 1:
            raise ValueError("only a kernel router fitted on the states of one encoder can be kept")
        block = self._blocks[self.encoders_used[0]]
        ready = block if isinstance(block, _ReadyBlock) else _ReadyBlock.of(block)
        arrays = {"states": ready.states, "mean": ready.mean, "scale": ready.scale}
        arrays |= {
            "dual": self._dual,
            "offset": self._offset,
            "vectors": self._vectors,
            "spread": self._spread,
            "rates": self._rates,
        }
        arrays["map"] = np.array([self._map.coef_[0, 0], self._map.intercept_[0]])
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {
            "width": self.width
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> KernelRouter:
        """Rebuild a fitted router from :meth:`state`; it answers single queries faster, since
        nothing is standardised again.
        """
        router = cls(width=meta["width"])
        states = np.asarray(tensors["states"])
        router._blocks = {
            "": _ReadyBlock(
                states,
                np.asarray(tensors["mean"]),
                np.asarray(tensors["scale"]),
                (states * states).sum(axis=1),
            )
        }
        router._columns, router.encoders_used = {"": states.shape[1]}, ("",)
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


def _mean_kernel(kernels: Sequence[np.ndarray]) -> np.ndarray:
    return kernels[0] if len(kernels) == 1 else np.mean(kernels, axis=0)


def _solve(kernel: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
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
                kernel[start : start + _BLOCK].astype(np.float64) @ dual
                for start in range(0, len(kernel), _BLOCK)
            ]
        )
        residual = targets - applied - ridge * dual
        if np.abs(residual).max() <= goal:
            break
        dual += cho_solve(factor, residual.astype(np.float32), check_finite=False)
    return dual


def _held_out(
    kernel: np.ndarray, targets: np.ndarray, fold: np.ndarray, ridges: Sequence[float]
) -> np.ndarray:
    """Predictions [ridges, n, K] of every row by regressions on the rows of the other folds."""
    predicted = np.empty((len(ridges), *targets.shape))
    for f in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        inner, cross = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)].astype(np.float64)
        mean = targets[train].mean(axis=0)
        for r, ridge in enumerate(ridges):
            predicted[r, test] = mean + cross @ _solve(inner, targets[train] - mean, ridge)
    return predicted
