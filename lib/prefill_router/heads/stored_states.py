"""States that stay in their store and are read some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from prefill_router.data.memory import EXACT_ROWS
from prefill_router.features.queries import States
from prefill_router.heads.gram import BLOCK, gaussian_gram, read_states


class StoredStates:
    """What a kernel router reads of n queries, as an array whose rows are read when asked for.

    Parameters
    ----------
    store : States
    query_ids : n strings
    read : callable
        From the store and query ids to float32 [m, D].

    Attributes
    ----------
    shape : (n, D)
    order : int ndarray [n]
        All rows in the order in which the store reads them fastest.
    """

    def __init__(
        self,
        store: States,
        query_ids: Sequence[str] | np.ndarray,
        read: Callable[[States, np.ndarray], np.ndarray] = read_states,
    ) -> None:
        self._store, self._query_ids, self._read = store, np.asarray(query_ids), read
        self.shape = (len(self._query_ids), read(store, self._query_ids[:1]).shape[1])
        reading_order = getattr(store, "reading_order", None)
        self.order = (
            np.arange(len(self)) if reading_order is None else reading_order(self._query_ids)
        )

    def __len__(self) -> int:
        return len(self._query_ids)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Rows by position: float32 [m, D]."""
        return self._read(self._store, self._query_ids[rows])

    def rows(self, at: np.ndarray) -> StoredStates:
        """These rows alone, by position."""
        return StoredStates(self._store, self._query_ids[at], self._read)


def states_of(
    store: States,
    query_ids: Sequence[str] | np.ndarray,
    read: Callable[[States, np.ndarray], np.ndarray] = read_states,
) -> np.ndarray | StoredStates:
    """What a kernel router reads of queries: in memory while a kernel of all of them could be made
    (`memory.EXACT_ROWS`), else left in the store.
    """
    if len(query_ids) <= EXACT_ROWS:
        return read(store, np.asarray(query_ids))
    return StoredStates(store, query_ids, read)


def take(states: np.ndarray | StoredStates, rows: np.ndarray) -> np.ndarray | StoredStates:
    """These rows alone; what is in a store stays there."""
    return states.rows(rows) if isinstance(states, StoredStates) else states[rows]


class KernelInputs(NamedTuple):
    """What a `KernelRegression` is fitted on and what it predicts all rows from; ``precomputed`` is
    its setting.
    """

    train: np.ndarray | StoredStates
    all: np.ndarray | StoredStates
    precomputed: bool


def kernel_inputs(states: np.ndarray | StoredStates, rows: np.ndarray) -> KernelInputs:
    """The kernel of all rows with the training rows, by position, which several regressions then
    share; states that are left in the store as they are.
    """
    if isinstance(states, StoredStates):
        return KernelInputs(states.rows(rows), states, False)
    gram = gaussian_gram(states, rows)
    return KernelInputs(gram[rows], gram, True)


def row_blocks(states: np.ndarray | StoredStates) -> Iterator[np.ndarray]:
    """Positions of at most ``BLOCK`` rows at a time, each row once, in reading order."""
    order = states.order if isinstance(states, StoredStates) else np.arange(len(states))
    for start in range(0, len(order), BLOCK):
        yield order[start : start + BLOCK]
