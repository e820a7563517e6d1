"""The states that the kernel router reads, and its Gaussian kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.linear_model import Ridge

from prefill_router.features.queries import States
from prefill_router.heads.router_base import target_rates

# columns standardised, and queries predicted, at a time, so that no second copy of the states or of
# the kernel is held
BLOCK = 2048


def read_states(
    store: States,
    query_ids: Sequence[str] | np.ndarray,
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
    layers = upper_layers(store.n_layers, start, step)
    return np.hstack(
        [store.read(layer, pooling, query_ids) for layer in layers for pooling in poolings]
    )


def upper_layers(n_layers: int, start: float = 1 / 3, step: int = 2) -> list[int]:
    """The layers that :func:`read_states` reads, in its order."""
    return sorted(range(n_layers, max(round(start * n_layers), 1) - 1, -step))


# Shares of the depth, read as means over tokens beside the upper layers of `read_states`. Where the
# families of the test rows are unknown, lower layers often transfer better.
VIEWS = {"lower": (0.13, 0.34), "middle": (0.4, 0.74)}


def read_view(store: States, query_ids: Sequence[str] | np.ndarray, band: str) -> np.ndarray:
    """States of every second layer in a band of `VIEWS`, mean pooling, side by side: float32
    [n, layers * d].
    """
    start, end = VIEWS[band]
    layers = range(max(round(start * store.n_layers), 1), round(end * store.n_layers) + 1, 2)
    return np.hstack([store.read(layer, "mean", query_ids) for layer in layers])


def read_views(store: States, query_ids: Sequence[str] | np.ndarray) -> dict[str, np.ndarray]:
    """:func:`read_view` of every band."""
    return {band: read_view(store, query_ids, band) for band in VIEWS}


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


def check_states(X: Mapping[str, np.ndarray], n: int, n_groups: int, square: bool) -> None:
    """ValueError for states, or `square` kernels, that do not fit n rows or are not finite."""
    for name, states in X.items():
        if not len(states) == n == n_groups:
            raise ValueError(
                f"{name or 'X'} has {len(states)} rows, Y {n}, groups {n_groups}; they must be"
                " equal"
            )
        if square and states.shape[1] != len(states):
            raise ValueError(
                f"{name or 'X'} has shape {states.shape}; a precomputed kernel of the training"
                " queries with themselves is square"
            )
        if not np.isfinite(states).all():
            raise ValueError(
                f"{name or 'X'} is not finite, first in row"
                f" {int(np.argwhere(~np.isfinite(states))[0][0])}; extract it again"
            )


@dataclass(frozen=True)
class Block:
    """One encoder's training states and their standardisation; constant columns become zero."""

    states: np.ndarray  # float32 [n, D]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray) -> Block:
        mean, scale = np.empty(states.shape[1]), np.empty(states.shape[1])
        for start in range(
            0, states.shape[1], BLOCK
        ):  # by blocks of columns: numpy would make a float64 copy of all
            at = slice(start, start + BLOCK)
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
        for start in range(0, states.shape[1], BLOCK):
            at = slice(start, start + BLOCK)
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
class ReadyBlock:
    """A block whose states are standardised already, for queries that come one by one."""

    KEPT: ClassVar = ("states", "mean", "scale")  # the own lengths follow from the states

    states: np.ndarray  # float32 [n, D], standardised
    mean: np.ndarray
    scale: np.ndarray
    own: np.ndarray  # float32 [n]: squared lengths of the states

    @classmethod
    def of(cls, block: Block) -> ReadyBlock:
        return cls.kept((block.states - block.mean) / block.scale, block.mean, block.scale)

    @classmethod
    def kept(cls, states: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> ReadyBlock:
        """From what is kept of it."""
        return cls(states, mean, scale, (states * states).sum(axis=1))

    def kernel(self, states: np.ndarray, width: float) -> np.ndarray:
        """As :meth:`Block.kernel`."""
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
    return Block.of(states[rows]).kernel(states, width)
