"""Methods with out-of-fold P on the priced targets of a pool: what plans are chosen on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefill_router.data.costs import expected_cost, priced
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.walk import Evidence

PREFILL = ("ours", "paper")  # all other methods with plans read the text


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """A method on one pool: what `heads.out_of_fold.CrossFit` holds, by split seed.

    Attributes
    ----------
    encoder : str
        What it reads, for the tables.
    rows, held_out, p : dict of seed to ndarray
        [m]; [m, K]; [n, K].
    overhead : ndarray [n]
        What reading a query costs.
    """

    encoder: str
    rows: Mapping[int, np.ndarray]
    held_out: Mapping[int, np.ndarray]
    p: Mapping[int, np.ndarray]
    overhead: np.ndarray


@dataclass(frozen=True, eq=False)
class Pool:
    """The priced targets of a pool, and what each costs on every split.

    Attributes
    ----------
    outcomes : Outcomes
    splits : dict of seed to Split
        Cut to queries with every outcome.
    cost : dict of seed to ndarray [n, K]
        Expected, from the labelled rows.
    columns : list of int
        Of these targets in the whole pool.
    """

    outcomes: Outcomes
    splits: Mapping[int, Split]
    cost: Mapping[int, np.ndarray]
    columns: list[int]

    @classmethod
    def of(cls, outcomes: Outcomes, splits: Mapping[int, Split], cost_model: str) -> Pool | None:
        """None if there is nothing to plan: fewer than two targets have a price, or the best single
        one costs nothing.
        """
        pool = priced(outcomes, cost_model)
        if pool is None:
            return None
        complete = complete_splits(pool, splits)
        cost = {
            seed: expected_cost(pool, labelled(split), cost_model)
            for seed, split in complete.items()
        }
        columns = [outcomes.target_names.index(name) for name in pool.target_names]
        found = cls(pool, complete, cost, columns)
        paid = (
            cost[seed][labelled(split), found.best_single(seed)] for seed, split in complete.items()
        )
        return found if all(of_seed.any() for of_seed in paid) else None

    def best_single(self, seed: int) -> int:
        """Index of the target with the highest accuracy on the labelled rows of a split."""
        return int(self.outcomes.correct[labelled(self.splits[seed])].mean(axis=0).argmax())

    @property
    def groups(self) -> np.ndarray:
        """Group of every query [n]."""
        return self.outcomes.queries["group"].to_numpy()


def labelled(split: Split) -> np.ndarray:
    """Positions of the queries outside the test part."""
    return np.sort(np.concatenate([split.train, split.calibration]))


def evidence_of(pool: Pool, method: CrossFitted, seed: int) -> Evidence:
    """The labelled queries of a split with their out-of-fold P, those with every outcome."""
    known = np.isin(method.rows[seed], labelled(pool.splits[seed]))
    rows = method.rows[seed][known]
    return Evidence(
        method.held_out[seed][known][:, pool.columns],
        pool.cost[seed][rows],
        pool.outcomes.correct[rows],
        pool.groups[rows],
        method.overhead[rows],
    )
