"""Outcomes: which target answered which query correctly, with how many tokens and at what cost.

An outcomes folder holds three files:

- ``queries.parquet``: query_id, benchmark, category, prompt, group. Queries that are
  near-duplicates or come from one template share a ``group``; groups never straddle a split.
- ``outcomes.parquet``: query_id, target, correct (0 or 1), input_tokens, output_tokens, cost
  (realised, in cost units). A (query, target) pair may be absent or empty: it is *missing* (NaN),
  never wrong.
- ``targets.json``: ``{"name", "cost_unit", "targets": [{"name", "input_price", "output_price",
  ...}]}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

QUERY_COLUMNS = ("query_id", "benchmark", "category", "prompt", "group")
OUTCOME_COLUMNS = ("query_id", "target", "correct", "input_tokens", "output_tokens", "cost")
_VALUE_COLUMNS = OUTCOME_COLUMNS[2:]
_SHOWN = 5  # offending rows named per problem; the rest are counted
_OVERALL_WEIGHT = 10.0  # in grouped_split: size of a whole part against size within one category


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
        In [0, 1]; NaN = missing.
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
        for field in _VALUE_COLUMNS:
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
        _raise_all(problems, self.name)

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
        arrays = {field: getattr(self, field)[rows] for field in _VALUE_COLUMNS}
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
        arrays = {field: getattr(self, field)[:, columns] for field in _VALUE_COLUMNS}
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
        for field in _VALUE_COLUMNS:
            values = getattr(self, field)
            # NaN has many bit patterns and 0.0 two: only their meaning may count.
            values = np.where(np.isnan(values), np.nan, values) + 0.0
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return digest.hexdigest()


def load_outcomes(folder: str | Path) -> Outcomes:
    """Read and validate an outcomes folder (see the module's text for the three files).

    Raises
    ------
    OutcomesError
        If a file is missing or unreadable; otherwise with *all* problems of all three files at
        once.
    """
    folder = Path(folder)
    queries = _read_parquet(folder / "queries.parquet")
    outcomes = _read_parquet(folder / "outcomes.parquet")
    try:
        header = json.loads((folder / "targets.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutcomesError(
            f"{folder / 'targets.json'}: cannot be read ({error}); restore the file"
        ) from error
    return outcomes_from_tables(queries, outcomes, header, where=str(folder))


def write_outcomes(outcomes: Outcomes, folder: str | Path) -> None:
    """Write a folder that :func:`load_outcomes` reads; ``targets.json``, without which it is none,
    comes last.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes.queries.to_parquet(folder / "queries.parquet", index=False)
    columns = {
        "query_id": np.repeat(outcomes.queries["query_id"].to_numpy(), len(outcomes.targets)),
        "target": np.tile(outcomes.target_names, outcomes.n),
    }
    table = pd.DataFrame(
        columns | {name: getattr(outcomes, name).ravel() for name in _VALUE_COLUMNS}
    )
    table.dropna(subset=_VALUE_COLUMNS, how="all").to_parquet(
        folder / "outcomes.parquet", index=False
    )
    # JSON has no NaN: null where no price is known
    targets = [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in vars(t).items()}
        for t in outcomes.targets
    ]
    header = {"name": outcomes.name, "cost_unit": outcomes.cost_unit, "targets": targets}
    (folder / "targets.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def outcomes_from_tables(
    queries: pd.DataFrame, outcomes: pd.DataFrame, header: dict, where: str = "outcomes"
) -> Outcomes:
    """Validate the three tables of an outcomes folder and turn them into matrices.

    Parameters
    ----------
    queries : DataFrame
        One row per query, columns ``QUERY_COLUMNS``; its order is the order of the result.
    outcomes : DataFrame
        One row per (query, target), columns ``OUTCOME_COLUMNS``; pairs that are absent become NaN.
    header : dict
        Content of ``targets.json``; the order of its targets is the order of the columns.
    where : str
        Named in error messages.

    Raises
    ------
    OutcomesError
        With all problems at once: missing columns, unknown targets or query ids, duplicates, empty
        ids or prompts, correctness other than 0/1, negative or infinite tokens, costs or prices,
        fewer than two targets.
    """
    targets, problems = _targets(header)
    for table, columns, file in (
        (queries, QUERY_COLUMNS, "queries"),
        (outcomes, OUTCOME_COLUMNS, "outcomes"),
    ):
        absent = [c for c in columns if c not in table.columns]
        if absent:
            has = ", ".join(map(str, table.columns))
            problems.append(f"{file}.parquet: missing column {', '.join(absent)} (it has {has})")
    _raise_all(problems, where)

    ids = pd.Series(queries["query_id"].tolist(), dtype=object)
    prompts = pd.Series(queries["prompt"].tolist(), dtype=object)
    groups = pd.Series(queries["group"].tolist(), dtype=object)
    file = "queries.parquet"
    problems += _rows(file, "query_id", "empty query id", _empty(ids), ids)
    problems += _rows(file, "query_id", "duplicate query id", ids.duplicated(), ids)
    problems += _rows(file, "prompt", "empty prompt: drop the query", _empty(prompts), ids)
    problems += _rows(
        file, "group", "empty group: a query alone is a group of its own", _empty(groups), ids
    )

    file = "outcomes.parquet"
    row_ids = pd.Series(outcomes["query_id"].tolist(), dtype=object)
    row_targets = pd.Series(outcomes["target"].tolist(), dtype=object)
    pairs = row_ids.astype(str) + " / " + row_targets.astype(str)
    names = [t.name for t in targets]
    problems += _rows(
        file, "query_id", "query id not in queries.parquet", ~row_ids.isin(ids), row_ids
    )
    unknown = f"unknown target (targets.json has {', '.join(names)})"
    repeated = pd.concat([row_ids, row_targets], axis=1).duplicated()
    problems += _rows(file, "target", unknown, ~row_targets.isin(names), pairs)
    problems += _rows(file, "target", "duplicate (query, target)", repeated, pairs)
    values = {}
    for column in _VALUE_COLUMNS:
        raw = pd.Series(outcomes[column].tolist(), dtype=object)
        number = pd.to_numeric(raw, errors="coerce").astype(np.float64)
        problems += _rows(file, column, "not a number", raw.notna() & number.isna(), pairs)
        if column == "correct":
            bad = number.notna() & ~number.isin([0.0, 1.0])
            what = "correctness is neither 0 nor 1: threshold it (empty = missing)"
            problems += _rows(file, column, what, bad, pairs)
        else:
            problems += _rows(
                file, column, "negative or infinite", (number < 0) | np.isinf(number), pairs
            )
        values[column] = number.to_numpy()
    _raise_all(problems, where)

    row = pd.Index(ids).get_indexer(row_ids)
    column_of = pd.Index(names).get_indexer(row_targets)
    arrays = {}
    for column in _VALUE_COLUMNS:
        arrays[column] = np.full((len(ids), len(names)), np.nan)
        arrays[column][row, column_of] = values[column]
    # Plain strings whatever the file used (categories, dictionary columns): later code compares and
    # sorts
    # them.
    texts = pd.DataFrame({c: [str(v) for v in queries[c].tolist()] for c in QUERY_COLUMNS})
    return Outcomes(
        texts,
        tuple(targets),
        cost_unit=str(header["cost_unit"]),
        name=str(header["name"]),
        **arrays,
    )


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
    _raise_all(problems, where)


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of the queries: sorted integer row positions."""

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def grouped_split(
    outcomes: Outcomes, seed: int, fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
) -> Split:
    """Split queries into train, calibration and test; groups never straddle, categories are
    balanced as groups allow.

    Groups come in an order shuffled by ``seed``; each goes where the parts' sizes, over all queries
    and within its categories, are furthest below ``fractions``. The result depends on the query
    ids, groups and categories and on the seed, not on the order of the rows.

    Parameters
    ----------
    outcomes : Outcomes
    seed : int
    fractions : three floats
        Shares of train, calibration and test; positive, with sum 1.

    Raises
    ------
    OutcomesError
        On bad fractions, or if a part would stay empty (too few groups).
    """
    share = np.asarray(fractions, dtype=np.float64)
    if share.shape != (3,) or (share <= 0).any() or not np.isclose(share.sum(), 1.0):
        raise OutcomesError(
            f"fractions must be three positive numbers with sum 1, not {tuple(fractions)}"
        )
    counts = pd.crosstab(
        outcomes.queries["group"].astype(str), outcomes.queries["category"].astype(str)
    )
    sizes = (
        counts.sort_index(axis=0).sort_index(axis=1).to_numpy(dtype=np.float64)
    )  # [groups, categories]
    goal = share[:, None] * sizes.sum(axis=0)  # [parts, categories]
    goal_all = share * sizes.sum()
    filled = np.zeros_like(goal)
    part_of_group = np.empty(len(sizes), dtype=np.intp)
    for g in np.random.default_rng(seed).permutation(len(sizes)):
        size = sizes[g]
        inside = size > 0
        # Growth of sum((filled - goal)^2 / goal) if the group went to each part. The overall term
        # is weighted
        # up: categories of a single group would otherwise all go to the largest part and leave the
        # test part
        # empty.
        within = ((2 * size * (filled - goal) + size**2)[:, inside] / goal[:, inside]).sum(axis=1)
        overall = (2 * size.sum() * (filled.sum(axis=1) - goal_all) + size.sum() ** 2) / goal_all
        part = int(np.argmin(within + _OVERALL_WEIGHT * overall))
        filled[part] += size
        part_of_group[g] = part
    part_of_query = part_of_group[
        counts.sort_index().index.get_indexer(outcomes.queries["group"].astype(str))
    ]
    parts = [np.flatnonzero(part_of_query == part) for part in range(3)]
    if any(rows.size == 0 for rows in parts):
        raise OutcomesError(
            f"{outcomes.name}: {len(sizes)} groups of up to {int(sizes.sum(axis=1).max())} queries"
            f" cannot fill a split of {tuple(fractions)}; use more queries or smaller groups"
        )
    return Split(*parts)


def _read_parquet(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise OutcomesError(
            f"{path}: no such file; a folder of outcomes has queries.parquet, outcomes.parquet,"
            " targets.json"
        )
    try:
        return pd.read_parquet(path)
    except Exception as error:
        # pyarrow raises many kinds for a truncated file; all mean the same to the reader.
        raise OutcomesError(f"{path}: not a readable Parquet file ({error}); restore it") from error


def _targets(header: dict) -> tuple[list[Target], list[str]]:
    """Targets of a ``targets.json`` content, and what is wrong with it."""
    file = "targets.json"
    if not isinstance(header, dict) or not isinstance(header.get("targets"), list):
        return [], [f'{file}: expected {{"name": ..., "cost_unit": ..., "targets": [...]}}']
    problems = [
        f"{file}: missing key {key}" for key in ("name", "cost_unit") if not header.get(key)
    ]
    targets = []
    fields = set(Target.__dataclass_fields__)
    for i, entry in enumerate(header["targets"]):
        entry = entry if isinstance(entry, dict) else {}
        absent = [key for key in ("name", "input_price", "output_price") if key not in entry]
        extra = sorted(set(entry) - fields)
        if absent or extra:
            problems += [f"{file}: target {i} lacks {key}" for key in absent]
            known = ", ".join(sorted(fields))
            problems += [
                f"{file}: target {i} has unknown key {key}; known: {known}" for key in extra
            ]
            continue
        for key in ("input_price", "output_price"):
            price = entry[key]
            if price is not None and (
                isinstance(price, bool)
                or not isinstance(price, (int, float))
                or not 0 <= price < float("inf")
            ):
                problems.append(
                    f"{file}: target {entry['name']!r}: {key} is {price!r}, expected a number >= 0 "
                    "(null where no price is known)"
                )
        unknown = {
            key: float("nan") for key in ("input_price", "output_price") if entry[key] is None
        }
        targets.append(Target(**entry | unknown))
    names = [t.name for t in targets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{file}: target {name!r} is there {names.count(name)} times" for name in repeated]
    if len(header["targets"]) < 2:
        problems.append(
            f"{file}: a pool needs at least two targets, this one has {len(header['targets'])}"
        )
    return targets, problems


def _empty(texts: pd.Series) -> pd.Series:
    return texts.isna() | (texts.astype(str).str.strip() == "")


def _rows(file: str, column: str, what: str, bad: pd.Series, labels: pd.Series) -> list[str]:
    """One line on the rows where ``bad``, or none; rows count from 0."""
    rows = np.flatnonzero(np.asarray(bad, dtype=bool))
    if rows.size == 0:
        return []
    shown = "; ".join(f"row {r} ({labels.iloc[r]})" for r in rows[:_SHOWN])
    more = f" and {rows.size - _SHOWN} more" if rows.size > _SHOWN else ""
    return [f"{file}, column {column}: {what}: {shown}{more}"]


def _raise_all(problems: list[str], where: str) -> None:
    if problems:
        raise OutcomesError(
            f"{where}: " + "\n  ".join(["", *problems] if len(problems) > 1 else problems)
        )
