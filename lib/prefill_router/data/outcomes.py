"""Outcomes: which target answered which query correctly, with how many tokens and at what cost.

An outcomes folder holds three files:

- ``queries.parquet``: query_id, benchmark, category, prompt, group. Queries that are
  near-duplicates or come from one template share a ``group``; groups never straddle a split.
- ``outcomes.parquet``: query_id, target, correct (0 or 1; of several answers the share that is
  right), input_tokens, output_tokens, cost (realised, in cost units; of several their mean). A
  (query, target) pair may be absent or empty: it is *missing* (NaN), never wrong.
- ``targets.json``: ``{"name", "cost_unit", "targets": [{"name", "input_price", "output_price",
  ...}]}``.

Where targets answered a query several times, a fourth file has each answer:

- ``answers.parquet``: query_id, target, answer (0, 1, ...), correct (0 or 1). Cascades also need
  input_tokens, output_tokens and ``said``: equal numbers where a target's answers to a query say
  the same, -1 where there is no answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

QUERY_COLUMNS = ("query_id", "benchmark", "category", "prompt", "group")
OUTCOME_COLUMNS = ("query_id", "target", "correct", "input_tokens", "output_tokens", "cost")
VALUE_COLUMNS = OUTCOME_COLUMNS[2:]


class OutcomesError(ValueError):
    """Outcomes that cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Target:
    """One candidate that queries can be routed to; prices are per token, in ``Outcomes.cost_unit``.

    A price is NaN (``null`` in ``targets.json``) where none is known: the target then has no cost,
    not a cost of 0, unless what its answers did cost is known (``Outcomes.realised_only``).
    """

    name: str
    input_price: float
    output_price: float
    params: float | None = None
    encoder: str | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes of K targets on n queries.

    Attributes
    ----------
    queries : DataFrame, n rows
        Columns query_id (unique), benchmark, category, prompt, group; row i of every array below is
        query i.
    targets : tuple of Target, length K >= 2
    correct : float ndarray [n, K]
        1 right, 0 wrong, between them the share of a target's answers to the query that are right;
        NaN = missing.
    input_tokens, output_tokens : float ndarray [n, K]
        Tokens read and generated; NaN = missing.
    cost : float ndarray [n, K]
        Realised cost in ``cost_unit``; NaN = missing.
    cost_unit : str
        For example ``"TFLOP"`` or ``"USD"``.
    name : str
        What these outcomes are called in tables.

    Raises
    ------
    OutcomesError
        On shapes that disagree, fewer than two targets, repeated names or ids, values out of range.
    """

    queries: pd.DataFrame
    targets: tuple[Target, ...]
    correct: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    cost: np.ndarray
    cost_unit: str
    name: str

    def __post_init__(self) -> None:
        missing = [c for c in QUERY_COLUMNS if c not in self.queries.columns]
        if missing:
            raise OutcomesError(f"{self.name}: queries lack column {', '.join(missing)}; add it")
        object.__setattr__(
            self, "queries", self.queries[list(QUERY_COLUMNS)].reset_index(drop=True)
        )
        object.__setattr__(self, "targets", tuple(self.targets))
        problems = []
        names = [t.name for t in self.targets]
        if len(names) < 2:
            problems.append(f"a pool needs at least two targets, this one has {len(names)}")
        if len(set(names)) < len(names):
            problems.append(f"target names repeat: {names}")
        if self.queries["query_id"].duplicated().any():
            problems.append("query ids repeat")
        for field in VALUE_COLUMNS:
            values = np.asarray(getattr(self, field), dtype=np.float64)
            object.__setattr__(self, field, values)
            if values.shape != (len(self.queries), len(names)):
                problems.append(
                    f"{field} has shape {values.shape}, expected ({len(self.queries)},"
                    f" {len(names)})"
                )
            elif (
                (values < 0).any()
                or np.isinf(values).any()
                or (field == "correct" and (values > 1).any())
            ):
                problems.append(f"{field} has values out of range")
        raise_all(problems, self.name)

    @property
    def n(self) -> int:
        """Number of queries."""
        return len(self.queries)

    @property
    def target_names(self) -> list[str]:
        """Names of the K targets, in column order."""
        return [t.name for t in self.targets]

    @property
    def prompts(self) -> list[str]:
        """The n prompts."""
        return self.queries["prompt"].tolist()

    def subset(self, rows: Sequence[int] | np.ndarray) -> Outcomes:
        """The queries at ``rows`` (integer positions or a boolean mask [n]), in that order, all
        targets.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if rows.shape != (self.n,):
                raise OutcomesError(
                    f"{self.name}: a mask of shape {rows.shape} does not fit {self.n} queries"
                )
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.intp)
        arrays = {field: getattr(self, field)[rows] for field in VALUE_COLUMNS}
        return Outcomes(
            self.queries.iloc[rows],
            self.targets,
            cost_unit=self.cost_unit,
            name=self.name,
            **arrays,
        )

    def pool(self, names: Iterable[str]) -> Outcomes:
        """The targets called ``names``, in that order, all queries.

        Raises
        ------
        OutcomesError
            On a name that is not a target (the known ones are listed), a repeated name, or fewer
            than two names.
        """
        names = list(names)
        known = self.target_names
        unknown = [name for name in names if name not in known]
        if unknown:
            raise OutcomesError(
                f"{self.name}: unknown target {', '.join(map(repr, unknown))} in the pool; "
                f"known targets: {', '.join(known)}"
            )
        columns = [known.index(name) for name in names]
        arrays = {field: getattr(self, field)[:, columns] for field in VALUE_COLUMNS}
        targets = tuple(self.targets[k] for k in columns)
        return Outcomes(self.queries, targets, cost_unit=self.cost_unit, name=self.name, **arrays)

    def complete_rows(self) -> np.ndarray:
        """Boolean mask [n]: queries on which every target has a correctness."""
        return ~np.isnan(self.correct).any(axis=1)

    def realised_only(self) -> np.ndarray:
        """Boolean mask [K]: targets without any price whose realised costs are known, so that these
        alone tell what they cost.
        """
        without_price = np.isnan([[t.input_price, t.output_price] for t in self.targets]).all(
            axis=1
        )
        return without_price & ~np.isnan(self.cost).all(axis=0)

    def content_hash(self) -> str:
        """SHA-256 (hex) of everything here: the same queries in the same order, targets and values,
        nothing else.
        """
        digest = hashlib.sha256()
        header = {
            "name": self.name,
            "cost_unit": self.cost_unit,
            "targets": [asdict(t) for t in self.targets],
        }
        columns = [[str(v) for v in self.queries[c].tolist()] for c in QUERY_COLUMNS]
        digest.update(json.dumps([header, columns], sort_keys=True).encode())
        for field in VALUE_COLUMNS:
            values = getattr(self, field)
            # NaN has many bit patterns and 0.0 two: only their meaning may count.
            values = np.where(np.isnan(values), np.nan, values) + 0.0
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()


def no_longer_than(outcomes: Outcomes, tokens: int) -> Outcomes:
    """The queries of at most so many input tokens (the largest of the targets' counts; where none
    is known a query stays).

    Raises
    ------
    OutcomesError
        If none is left.
    """
    counted = np.where(np.isnan(outcomes.input_tokens), 0, outcomes.input_tokens).max(axis=1)
    rows = np.flatnonzero(counted <= tokens)
    if not len(rows):
        raise OutcomesError(
            f"{outcomes.name}: no query has at most {tokens} input tokens; the shortest has"
            f" {counted.min():.0f}"
        )
    return outcomes.subset(rows)


def check_trainable(
    correct: np.ndarray, names: Sequence[str], where: str = "training rows"
) -> None:
    """Refuse targets from which nothing can be learned.

    Parameters
    ----------
    correct : ndarray [n, K]
        Correctness on the training rows; NaN = missing.
    names : sequence of str, length K
    where : str
        Which rows these are, for the message.

    Raises
    ------
    OutcomesError
        If a target is always right, always wrong or has no outcome on these rows; all such targets
        are named.
    """
    correct = np.asarray(correct, dtype=np.float64)
    problems = []
    for k, name in enumerate(names):
        seen = correct[~np.isnan(correct[:, k]), k]
        if seen.size == 0:
            problems.append(f"target {name!r} has no outcome; drop it from the pool")
        elif (seen == seen[0]).all() and seen[0] in (0.0, 1.0):
            always = "right" if seen[0] == 1 else "wrong"
            problems.append(
                f"target {name!r} is always {always} ({seen.size} queries): drop it from the pool"
            )
    raise_all(problems, where)


def raise_all(problems: list[str], where: str) -> None:
    if problems:
        raise OutcomesError(
            f"{where}: " + "\n  ".join(["", *problems] if len(problems) > 1 else problems)
        )
