"""Single answers where targets were asked several times: right or not, what they say, their cost.

A cascade asks one target several times and reads whether its answers agree. It gives the answer
that most of them say, so that what it wins is whether that answer is right, and it pays every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.data.outcome_files import read_parquet
from prefill_router.data.outcomes import Outcomes, OutcomesError

ANSWERS = "answers.parquet"
COLUMNS = ("query_id", "target", "answer", "correct", "input_tokens", "output_tokens", "said")
NOTHING = -1  # what an answer says that is none


@dataclass(frozen=True, eq=False)
class Samples:
    """A answers of each of K targets to each of n queries, in the order in which they came.

    Attributes
    ----------
    correct : float ndarray [A, n, K]
        1 right, 0 wrong; NaN where a target has fewer answers.
    said : int ndarray [A, n, K]
        Equal where answers of one target to one query say the same, `NOTHING` where there is none.
    cost : float ndarray [A, n, K]
        What the call cost, in ``Outcomes.cost_unit``.
    """

    correct: np.ndarray
    said: np.ndarray
    cost: np.ndarray

    @property
    def asks(self) -> int:
        """How often a target was asked: A."""
        return len(self.correct)

    @property
    def complete(self) -> np.ndarray:
        """Which queries have every answer of every target, with its cost: bool [n]."""
        return ~(np.isnan(self.correct) | np.isnan(self.cost)).any(axis=(0, 2))

    def rows(self, rows: np.ndarray) -> Samples:
        """The answers to these queries."""
        return Samples(*(table[:, rows] for table in (self.correct, self.said, self.cost)))

    def of_targets(self, columns: list[int]) -> Samples:
        """The answers of these targets."""
        return Samples(*(table[..., columns] for table in (self.correct, self.said, self.cost)))

    def turned(self, first: int) -> Samples:
        """The same answers as if the one numbered ``first`` had come first, the one before it last:
        which of them came first is chance.
        """
        return Samples(
            *(np.roll(table, -first, axis=0) for table in (self.correct, self.said, self.cost))
        )


@dataclass(frozen=True, eq=False)
class _Answers:
    """Rows of ``answers.parquet``, each with its place: number of the answer, query, target."""

    rows: pd.DataFrame
    number: np.ndarray
    query: np.ndarray
    target: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, table: pd.DataFrame, outcomes: Outcomes) -> _Answers:
        """The rows of queries and targets that the outcomes have."""
        # ids are texts there, whatever a file has them as
        query = pd.Index(outcomes.queries["query_id"]).get_indexer(_texts(table["query_id"]))
        target = pd.Index(outcomes.target_names).get_indexer(_texts(table["target"]))
        # by their order: answers may be numbered from 1, or by seeds
        number, _ = pd.factorize(table["answer"], sort=True)
        if (number < 0).any():
            raise OutcomesError(
                f"{ANSWERS}: {(number < 0).sum():,} rows have no number of the answer; number the"
                " answers of each target to a query 0, 1, 2"
            )
        here = (query >= 0) & (target >= 0)
        shape = (int(number[here].max(initial=0)) + 1, *outcomes.correct.shape)
        return cls(table[here], number[here], query[here], target[here], shape)

    def in_place(self, values: np.ndarray, empty: float = np.nan) -> np.ndarray:
        """A value of every row as a matrix [A, n, K], ``empty`` where there is no answer."""
        found = np.full(self.shape, empty)
        found[self.number, self.query, self.target] = values
        return found


def _texts(values: pd.Series) -> list[str]:
    return [str(value) for value in values.tolist()]


def _table(folder: str | Path) -> pd.DataFrame | None:
    """The single answers of an outcomes folder; None if it holds none."""
    path = Path(folder) / ANSWERS
    return read_parquet(path) if path.is_file() else None


def load_answers(folder: str | Path, outcomes: Outcomes) -> np.ndarray | None:
    """Whether each single answer to the queries of an outcomes folder is right.

    Parameters
    ----------
    outcomes : Outcomes
        Of that folder, all of its queries and targets or some of them.

    Returns
    -------
    float ndarray [A, n, K] or None
        1 right, 0 wrong, NaN where a target has fewer answers; None if the folder holds no single
        answers.

    Raises
    ------
    OutcomesError
        An answer without a number.
    """
    table = _table(folder)
    if table is None:
        return None
    answers = _Answers.of(table, outcomes)
    return answers.in_place(answers.rows["correct"].to_numpy(float))


def load_samples(folder: str | Path, outcomes: Outcomes) -> Samples | None:
    """The single answers to the queries of an outcomes folder.

    Parameters
    ----------
    outcomes : Outcomes
        Of that folder, all of its queries and targets or some of them.

    Returns
    -------
    Samples or None
        None if the folder holds no single answers, or does not tell which of them say the same.

    Raises
    ------
    OutcomesError
        A column is missing, or an answer has no number; says which.
    """
    table = _table(folder)
    if table is None or "said" not in table:
        return None
    if missing := [name for name in COLUMNS if name not in table]:
        path = Path(folder) / ANSWERS
        raise OutcomesError(f"{path}: lacks {', '.join(missing)}; add them, or leave out said")
    answers = _Answers.of(table, outcomes)
    rows = answers.rows
    prices = np.array([(t.input_price, t.output_price) for t in outcomes.targets])[answers.target]
    paid = (rows[["input_tokens", "output_tokens"]].to_numpy(float) * prices).sum(axis=1)
    said = rows["said"].astype(float).fillna(NOTHING).to_numpy()
    return Samples(
        answers.in_place(rows["correct"].to_numpy(float)),
        answers.in_place(said, NOTHING).astype(int),
        answers.in_place(paid),
    )


def hidden_costs(samples: Samples, outcomes: Outcomes, factors: Mapping[str, float]) -> Samples:
    """The answers as if a target's were so many times as long as what is visible of them, all else
    equal: `costs.with_hidden_reasoning` for single answers.
    """
    factor = np.array([max(float(factors.get(name, 1.0)), 1.0) for name in outcomes.target_names])
    read = outcomes.input_tokens * np.array([t.input_price for t in outcomes.targets])
    return replace(samples, cost=read + factor * (samples.cost - read))


def kinds_of_cost(
    samples: Samples, outcomes: Outcomes, factors: Mapping[str, float]
) -> dict[str, Samples]:
    """The answers at the cost of what is ``visible`` of them, and where factors are given also with
    ``hidden`` reasoning (`hidden_costs`).
    """
    hidden = {"hidden": hidden_costs(samples, outcomes, factors)} if factors else {}
    return {"visible": samples} | hidden


def votes(said: np.ndarray, asks: int) -> tuple[np.ndarray, np.ndarray]:
    """How many of the first answers agree, and which of them is given.

    Parameters
    ----------
    said : int ndarray [A, n]
        Of one target, see `Samples`.
    asks : int from 1 to A
        How many answers are read.

    Returns
    -------
    count : int ndarray [n]
        How many say what most of them say; 0 where there is no answer at all.
    given : int ndarray [n]
        The first of these answers, of equally frequent ones that which came first; 0 where there is
        none.
    """
    if not 1 <= asks <= len(said):
        raise ValueError(f"of {len(said)} answers 1 to {len(said)} can be read, not {asks!r}")
    read = said[:asks]
    agreeing = (read[:, None] == read[None]).sum(axis=1) * (read != NOTHING)
    given = agreeing.argmax(axis=0)
    return np.take_along_axis(agreeing, given[None], axis=0)[0], given
