"""Queries whose states and outcomes are known: what every choice and every training reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from prefill_router.data.memory import BLOCK_ROWS, EXACT_ROWS
from prefill_router.data.outcomes import Outcomes


class States(Protocol):
    """States of an encoder: `encode.store.ActivationStore`, or vectors in memory."""

    n_layers: int
    hidden_size: int

    def read(self, layer: int, pooling: str, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Vectors of one layer and pooling: float32 [m, d]."""


def read_blocks(store: States, query_ids: np.ndarray) -> list[np.ndarray]:
    """Positions of the queries whose states are read at a time: all of them up to
    `memory.EXACT_ROWS`, else blocks in the order in which the store reads them fastest.
    """
    n = len(query_ids)
    if n <= EXACT_ROWS:
        return [np.arange(n)]
    in_order = getattr(store, "reading_order", None)
    order = np.arange(n) if in_order is None else in_order(query_ids)
    return [order[start : start + BLOCK_ROWS] for start in range(0, n, BLOCK_ROWS)]


@dataclass(frozen=True)
class LabelledQueries:
    """n queries with the states that encoders computed on them and the outcomes of K targets.

    Attributes
    ----------
    stores : mapping of encoder name to States
    query_ids : ndarray [n]
    correct : float64 ndarray [n, K]
        1 right, 0 wrong, between them a share of right answers; NaN missing.
    groups : ndarray [n]
        Labels that never straddle a split or a fold.
    targets : tuple of K str

    Raises
    ------
    ValueError
        No encoder, or lengths that disagree.
    """

    stores: Mapping[str, States]
    query_ids: np.ndarray
    correct: np.ndarray
    groups: np.ndarray
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.stores:
            raise ValueError("no states given; pass those of at least one encoder")
        n, shape = len(self.query_ids), np.shape(self.correct)
        if shape != (n, len(self.targets)) or len(self.groups) != n:
            raise ValueError(
                f"correct has shape {shape} and groups {len(self.groups)} rows; expected {n}"
                f" queries x {len(self.targets)} targets"
            )

    @classmethod
    def of(cls, stores: Mapping[str, States], outcomes: Outcomes) -> LabelledQueries:
        """All queries and targets of these outcomes."""
        queries = outcomes.queries
        return cls(
            dict(stores),
            queries["query_id"].to_numpy(),
            outcomes.correct,
            queries["group"].to_numpy(),
            tuple(outcomes.target_names),
        )

    @property
    def encoder(self) -> str:
        """Name of the first encoder, which all methods but the kernel router read alone."""
        return next(iter(self.stores))

    @property
    def store(self) -> States:
        """States of the first encoder."""
        return self.stores[self.encoder]

    def rows(self, at: np.ndarray) -> LabelledQueries:
        """These queries alone, by position or mask."""
        return replace(
            self, query_ids=self.query_ids[at], correct=self.correct[at], groups=self.groups[at]
        )

    def of_targets(self, targets: Sequence[str]) -> LabelledQueries:
        """The same queries with these targets, in their order."""
        columns = [self.targets.index(target) for target in targets]
        return replace(self, correct=self.correct[:, columns], targets=tuple(targets))

    def of_encoders(self, encoders: Sequence[str]) -> LabelledQueries:
        """The same queries read by these encoders alone."""
        return replace(self, stores={name: self.stores[name] for name in encoders})
