"""The numbers of ``metrics.csv`` from ``results/<profile>`` alone: what is written for that, and
the computation.

python -m prefill_router.run.recompute results/local

Beside ``metrics.csv`` lie, without a word of any prompt:

- ``predictions.parquet``: seed, part (calibration, test), pool, method, encoder, reads, query_id,
  target, p_correct. Pool ``*``: the method's P(correct) is the same in every pool with that target.
  Larger ones are a file per split seed: ``predictions_seed0.parquet``, …
- ``splits.parquet``: seed, query_id, benchmark, group (a number; equal for near-duplicates), part
  (train, calibration, test).
- ``outcomes.parquet``: pool, target, query_id, correct; absent where the outcome is missing. A
  pool's targets are in its order.
- ``costs.parquet``: seed, target, query_id, cost: what a router expects to pay, in the outcomes'
  unit, on calibration and test rows; absent where the target has no price.
- ``overheads.parquet``: pool, method, encoder, query_id, overhead: the router's own cost, absent
  where it is 0.

A method that reads several encoders together is there once more for each of them alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import PARTS, Split
from prefill_router.evaluate.evaluation import evaluate_at, metrics_table
from prefill_router.heads.names import MethodKey, method_keys, name_of
from prefill_router.run.evaluation_files import (
    ALL,
    KEYS,
    NUMBERS,
    OVERHEAD_COLUMNS,
    PREDICTION_COLUMNS,
)
from prefill_router.run.handover import unpacked

RTOL, ATOL = 1e-5, 1e-9  # metrics.csv has six digits

Methods = dict[MethodKey, dict[str, Any]]
# Outcomes, splits by seed, methods, costs by seed.
Inputs = tuple[Outcomes, dict[int, Split], Methods, dict[int, np.ndarray]]


def recompute_metrics(folder: str | Path, n_boot: int | None = None) -> pd.DataFrame:
    """``metrics.csv`` again, from the files of `write_evaluation` alone: no prompt, no outcomes
    folder, no price.

    Parameters
    ----------
    folder : a profile's results folder
    n_boot : number of replicates
        That of the run, from ``manifest.json``, by default: the intervals are then the same, too.

    Returns
    -------
    DataFrame with `evaluation.METRIC_COLUMNS`

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is not there, or has not the columns that the computation needs.
    """
    folder = Path(folder)
    if n_boot is None:
        n_boot = json.loads(_there(folder / "manifest.json").read_text(encoding="utf-8"))[
            "profile"
        ]["bootstrap"]
    tables = []
    for pool, (outcomes, splits, methods, costs) in read_evaluation(folder):
        tables.append(
            metrics_table(evaluate_at(outcomes, splits, methods, costs, n_boot), pool, methods)
        )
    return pd.concat(tables, ignore_index=True)


def read_evaluation(folder: str | Path) -> Iterator[tuple[str, Inputs]]:
    """Pool by pool what `evaluation.evaluate_at` takes: outcomes (without prompts, tokens, prices),
    splits, methods, costs.
    """
    folder = Path(folder)
    files = sorted(folder.glob("predictions*.parquet")) or [folder / "predictions.parquet"]
    predictions = [_read(file, PREDICTION_COLUMNS) for file in files]
    rows = _read(folder / "splits.parquet", ["seed", "query_id", "benchmark", "group", "part"])
    correct = _read(folder / "outcomes.parquet", ["pool", "target", "query_id", "correct"])
    cost = _read(folder / "costs.parquet", ["seed", "target", "query_id", "cost"])
    own = _read(folder / "overheads.parquet", OVERHEAD_COLUMNS)
    queries = (
        rows[rows["seed"] == rows["seed"].iloc[0]]
        .astype({"query_id": str, "benchmark": str})
        .assign(category="", prompt="")
        .reset_index(drop=True)
    )
    position = pd.Series(np.arange(len(queries)), index=queries["query_id"])
    splits = _splits(rows, position)
    for pool in pd.unique(correct["pool"]):
        outcomes = _outcomes(correct[correct["pool"] == pool], queries, position)
        names = outcomes.target_names
        here = [table[table["pool"].isin([pool, ALL])] for table in predictions]
        methods = _methods(here, position, names)
        _add_overheads(methods, own[own["pool"] == pool], position)
        costs = {
            seed: _matrix(cost[cost["seed"] == seed], position, "target", names, "cost")
            for seed in splits
        }
        yield str(pool), (outcomes, splits, methods, costs)


def _matrix(
    table: pd.DataFrame, position: pd.Series, key: str, names: Sequence[str], value: str
) -> np.ndarray:
    """[n, K] of a table in long form, NaN where it has no row; ``position`` is the row of each
    query id, ``names`` are the columns.
    """
    found = np.full((len(position), len(names)), np.nan)
    column = {name: k for k, name in enumerate(names)}
    for name, of in table.groupby(key, observed=True):
        if name in column:
            of_ids = of["query_id"].cat  # a look-up per id, not per row
            row = position.loc[of_ids.categories].to_numpy()[of_ids.codes]
            found[row, column[name]] = of[value]
    return found


def _splits(rows: pd.DataFrame, position: pd.Series) -> dict[int, Split]:
    """The splits by seed."""

    def part_of(of: pd.DataFrame, part: str) -> np.ndarray:
        return np.sort(position.loc[of.loc[of["part"] == part, "query_id"]].to_numpy())

    return {
        int(seed): Split(*(part_of(of, part) for part in PARTS))
        for seed, of in rows.groupby("seed")
    }


def _outcomes(correct: pd.DataFrame, queries: pd.DataFrame, position: pd.Series) -> Outcomes:
    """Outcomes of one pool, whose rows of the table these are."""
    names = list(pd.unique(correct["target"]))
    targets = tuple(Target(name, np.nan, np.nan) for name in names)
    nothing = np.full((len(queries), len(names)), np.nan)
    matrix = _matrix(correct, position, "target", names, "correct")
    pool = str(correct["pool"].iloc[0])
    return Outcomes(queries, targets, matrix, nothing, nothing, nothing, "", pool)


def _methods(
    predictions: Sequence[pd.DataFrame], position: pd.Series, names: Sequence[str]
) -> Methods:
    """Encoder, what is read, and P(correct) [n, K] by seed of every method."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in predictions:
        of_pool = table[table["target"].isin(names)]
        of_seeds = of_pool.groupby(["method", "encoder", "seed"], observed=True, sort=False)
        for (method, encoder, seed), of in of_seeds:
            pair, reads = (str(method), str(encoder)), str(of["reads"].iloc[0])
            p = unpacked(_matrix(of, position, "target", names, "p_correct"))
            known = found.setdefault(pair, {"encoder": pair[1], "reads": reads, "p": {}})
            known["p"][int(seed)] = p
    return {key: found[pair] for pair, key in method_keys(found).items()}


def _add_overheads(methods: Methods, own: pd.DataFrame, position: pd.Series) -> None:
    """Give every method its own cost [n]; ``own``: the pool's rows of the table."""
    by_pair = {
        (method, encoder): pd.Series(of["overhead"].to_numpy(), of["query_id"].astype(str))
        for (method, encoder), of in own.groupby(["method", "encoder"], observed=True)
    }
    for key, method in methods.items():
        cost = by_pair.get((name_of(key), method["encoder"]), pd.Series(dtype=float))
        method["overhead"] = cost.reindex(position.index).fillna(0.0).to_numpy()


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: run the profile again (`make reproduce"
            f" PROFILE={path.parent.name}`), notebook 07 writes what is needed"
        )
    return path


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    table = pd.read_parquet(_there(path))
    if missing := [c for c in columns if c not in table]:
        raise ValueError(
            f"{path} lacks the column {', '.join(missing)}: an earlier version wrote it; run the"
            f" profile again (`make reproduce PROFILE={path.parent.name}`)"
        )
    return table


def compare(committed: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """Rows of two such tables that differ by more than the six digits of ``metrics.csv``: `KEYS`,
    number, committed, again.

    A row that only one of them has differs in all its numbers.
    """
    long = [
        table.fillna(dict.fromkeys(KEYS, ""))
        .melt(KEYS, NUMBERS, var_name="number", value_name=name)
        .dropna(subset=name)
        for table, name in ((committed, "committed"), (again, "again"))
    ]
    both = long[0].merge(long[1], on=[*KEYS, "number"], how="outer")
    return both[~np.isclose(both["again"], both["committed"], rtol=RTOL, atol=ATOL)].reset_index(
        drop=True
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0 if every number of ``metrics.csv`` comes out again, 1 if not, 2 if it
    cannot be computed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m prefill_router.run.recompute",
        allow_abbrev=False,
        description="Compute every number of metrics.csv again, from the results folder alone.",
    )
    parser.add_argument(
        "folder", type=Path, help="results folder of a profile, such as results/local"
    )
    folder = parser.parse_args(argv).folder
    try:
        committed, again = pd.read_csv(_there(folder / "metrics.csv")), recompute_metrics(folder)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    different = compare(committed, again)
    print(
        different.to_string(index=False)
        if len(different)
        else f"{folder / 'metrics.csv'}: all {len(committed)} rows come out again"
    )
    return 1 if len(different) else 0


if __name__ == "__main__":
    sys.exit(main())
