"""The folder of outcomes: reading, checking and writing its three files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import (
    OUTCOME_COLUMNS,
    QUERY_COLUMNS,
    VALUE_COLUMNS,
    Outcomes,
    OutcomesError,
    Target,
    raise_all,
)

_SHOWN = 5  # offending rows named per problem; the rest are counted


def load_outcomes(folder: str | Path) -> Outcomes:
    """Read and validate an outcomes folder (see the module's text for the three files).

    Raises
    ------
    OutcomesError
        If a file is missing or unreadable; otherwise with *all* problems of all three files at
        once.
    """
    folder = Path(folder)
    queries = read_parquet(folder / "queries.parquet")
    outcomes = read_parquet(folder / "outcomes.parquet")
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
        columns | {name: getattr(outcomes, name).ravel() for name in VALUE_COLUMNS}
    )
    table.dropna(subset=VALUE_COLUMNS, how="all").to_parquet(
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
        ids or prompts, correctness outside 0 to 1, negative or infinite tokens, costs or prices,
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
    raise_all(problems, where)

    names = [t.name for t in targets]
    values, of_rows = _values(outcomes, _objects(queries["query_id"]), names)
    raise_all(_query_problems(queries) + of_rows, where)

    row = pd.Index(_objects(queries["query_id"])).get_indexer(_objects(outcomes["query_id"]))
    column_of = pd.Index(names).get_indexer(_objects(outcomes["target"]))
    arrays = {}
    for column in VALUE_COLUMNS:
        arrays[column] = np.full((len(queries), len(names)), np.nan)
        arrays[column][row, column_of] = values[column]
    # Plain strings whatever the file used (categories, dictionary columns): later code compares and
    # sorts them.
    texts = pd.DataFrame({c: [str(v) for v in queries[c].tolist()] for c in QUERY_COLUMNS})
    return Outcomes(
        texts,
        tuple(targets),
        cost_unit=str(header["cost_unit"]),
        name=str(header["name"]),
        **arrays,
    )


def _query_problems(queries: pd.DataFrame) -> list[str]:
    ids = _objects(queries["query_id"])
    prompts = _objects(queries["prompt"])
    groups = _objects(queries["group"])
    file = "queries.parquet"
    return [
        *_rows(file, "query_id", "empty query id", _empty(ids), ids),
        *_rows(file, "query_id", "duplicate query id", ids.duplicated(), ids),
        *_rows(file, "prompt", "empty prompt: drop the query", _empty(prompts), ids),
        *_rows(
            file, "group", "empty group: a query alone is a group of its own", _empty(groups), ids
        ),
    ]


def _values(
    outcomes: pd.DataFrame, ids: pd.Series, names: list[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The numbers of every row of ``outcomes.parquet``, by column, and what is wrong with them."""
    file = "outcomes.parquet"
    problems: list[str] = []
    row_ids = _objects(outcomes["query_id"])
    row_targets = _objects(outcomes["target"])
    pairs = row_ids.astype(str) + " / " + row_targets.astype(str)
    problems += _rows(
        file, "query_id", "query id not in queries.parquet", ~row_ids.isin(ids), row_ids
    )
    unknown = f"unknown target (targets.json has {', '.join(names)})"
    repeated = pd.concat([row_ids, row_targets], axis=1).duplicated()
    problems += _rows(file, "target", unknown, ~row_targets.isin(names), pairs)
    problems += _rows(file, "target", "duplicate (query, target)", repeated, pairs)
    values = {}
    for column in VALUE_COLUMNS:
        raw = _objects(outcomes[column])
        number = pd.to_numeric(raw, errors="coerce").astype(np.float64)
        problems += _rows(file, column, "not a number", raw.notna() & number.isna(), pairs)
        if column == "correct":
            bad = number.notna() & ~number.between(0.0, 1.0)
            what = "correctness is not between 0 and 1: scale it (empty = missing)"
            problems += _rows(file, column, what, bad, pairs)
        else:
            problems += _rows(
                file, column, "negative or infinite", (number < 0) | np.isinf(number), pairs
            )
        values[column] = number.to_numpy()
    return values, problems


def read_parquet(path: Path) -> pd.DataFrame:
    """A table of an outcomes folder; `OutcomesError` where it cannot be read."""
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


def _objects(values: pd.Series) -> pd.Series:
    """The values as plain Python objects, whatever the file used."""
    return pd.Series(values.tolist(), dtype=object)


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
