"""The numbers of ``metrics.csv`` from ``results/<profile>`` alone: what is written for that, and
the computation.

python -m prefill_router.recompute results/local

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
- ``overheads.parquet``: pool, method, query_id, overhead: the router's own cost, absent where it is
  0.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.experiment import PARTS, evaluate_at, expected_costs, metrics_table, unpacked
from prefill_router.outcomes import Outcomes, Split, Target
from prefill_router.profiles import Workspace

Loaded = Mapping[str, tuple[Outcomes, Mapping[int, Split], Mapping[str, dict]]]
ALL = "*"
ONE_FILE = (
    2_200_000  # values of P, each of two bytes at most: with more of them a file could exceed 5 MB
)
PREDICTION_COLUMNS = [
    "seed",
    "part",
    "pool",
    "method",
    "encoder",
    "reads",
    "query_id",
    "target",
    "p_correct",
]
KEYS = ["pool", "method", "encoder", "reads", "target", "metric"]
NUMBERS = ["value", "ci_low", "ci_high", "n", "seeds"]
RTOL, ATOL = 1e-5, 1e-9  # metrics.csv has six digits


# --- written by notebook 06
# ---------------------------------------------------------------------------------


def write_evaluation(workspace: Workspace, loaded: Loaded) -> list[Path]:
    """Write what `recompute_metrics` needs into the results folder.

    Parameters
    ----------
    loaded : pool name to its outcomes, splits and methods (of `experiment.read_predictions`)
        All pools on the same queries and splits.

    Returns
    -------
    list of Path
        The files of predictions.
    """
    outcomes, splits, _ = next(iter(loaded.values()))
    ids = outcomes.queries["query_id"].to_numpy()
    for old in workspace.results.glob("predictions*.parquet"):
        old.unlink()
    columns = _columns(loaded)
    tables = {seed: _predictions(ids, seed, split, columns) for seed, split in splits.items()}
    if sum(map(len, tables.values())) <= ONE_FILE:
        files = [
            workspace.write_table(
                pd.concat(tables.values(), ignore_index=True), "predictions.parquet"
            )
        ]
    else:
        files = [
            workspace.write_table(table, f"predictions_seed{seed}.parquet")
            for seed, table in tables.items()
        ]
    group = np.unique(outcomes.queries["group"].to_numpy(), return_inverse=True)[
        1
    ]  # in the order of their names, as the bootstrap draws them
    parts = [
        outcomes.queries[["query_id", "benchmark"]].assign(
            seed=seed, group=group, part=_parts(outcomes.n, split)
        )
        for seed, split in splits.items()
    ]
    correct = [
        _long(ids, "target", o.target_names, o.correct, "correct").assign(pool=pool)
        for pool, (o, _, _) in loaded.items()
    ]
    own = [
        _long(
            ids,
            "method",
            list(methods),
            np.stack([m["overhead"] for m in methods.values()], axis=1),
            "overhead",
        ).assign(pool=pool)
        for pool, (_, _, methods) in loaded.items()
    ]
    own = pd.concat(own, ignore_index=True)
    for name, table, order in (
        (
            "splits",
            pd.concat(parts, ignore_index=True),
            ["seed", "query_id", "benchmark", "group", "part"],
        ),
        (
            "outcomes",
            pd.concat(correct, ignore_index=True),
            ["pool", "target", "query_id", "correct"],
        ),
        ("costs", _costs(workspace, loaded, ids), ["seed", "target", "query_id", "cost"]),
        ("overheads", own[own["overhead"] != 0], ["pool", "method", "query_id", "overhead"]),
    ):
        texts = [c for c in order if c not in ("seed", "group", "correct", "cost", "overhead")]
        workspace.write_table(
            table[order].astype(dict.fromkeys(texts, "category")), f"{name}.parquet"
        )
    return files


@dataclass(frozen=True, eq=False)
class _Column:
    """P(correct) of one method for one target: names as in the file, and [n] by seed."""

    pool: str
    method: str
    encoder: str
    reads: str
    target: str
    p: dict[int, np.ndarray]


def _columns(loaded: Loaded) -> list[_Column]:
    """One per pool, method and target; one for all pools where the method's P does not depend on
    the pool.
    """
    found = []
    for method in dict.fromkeys(m for _, _, methods in loaded.values() for m in methods):
        of_pools: dict[str, list[_Column]] = {}
        for pool, (o, _, methods) in loaded.items():
            if m := methods.get(method):
                of_pools[pool] = [
                    _Column(
                        pool,
                        method,
                        m["encoder"],
                        m["reads"],
                        t,
                        {s: p[:, k] for s, p in m["p"].items()},
                    )
                    for k, t in enumerate(o.target_names)
                ]
        shared: dict[str, _Column] = {}
        for column in (c for columns in of_pools.values() for c in columns):
            shared.setdefault(column.target, column)
        same = (
            len(loaded) > 1
            and len(of_pools) == len(loaded)
            and all(_equal(c, shared[c.target]) for columns in of_pools.values() for c in columns)
        )
        found += (
            [_Column(ALL, c.method, c.encoder, c.reads, c.target, c.p) for c in shared.values()]
            if same
            else [c for columns in of_pools.values() for c in columns]
        )
    return found


def _equal(a: _Column, b: _Column) -> bool:
    return (a.encoder, a.reads) == (b.encoder, b.reads) and all(
        np.array_equal(a.p[seed], b.p[seed], equal_nan=True) for seed in a.p
    )


def _predictions(
    ids: np.ndarray, seed: int, split: Split, columns: Sequence[_Column]
) -> pd.DataFrame:
    """`PREDICTION_COLUMNS` of one split, query by query: ids then repeat in long runs, which
    compress to nothing.
    """
    part = _parts(len(ids), split)
    at = np.flatnonzero(part != "train")
    table = {
        "seed": np.full(len(at) * len(columns), seed),
        "part": _category(part[at], repeat=len(columns)),
    }
    table |= {
        name: _category([getattr(c, name) for c in columns], tile=len(at))
        for name in ("pool", "method", "encoder", "reads", "target")
    }
    table |= {
        "query_id": _category(ids, at, repeat=len(columns)),
        "p_correct": np.stack([c.p[seed][at] for c in columns], axis=1).astype(np.float32).ravel(),
    }
    return pd.DataFrame(table)[PREDICTION_COLUMNS]


def _category(
    values: Sequence[str], at: np.ndarray | slice = slice(None), repeat: int = 1, tile: int = 1
) -> pd.Categorical:
    """`values[at]`, each `repeat` times or all `tile` times over, without a text per row."""
    names, codes = np.unique(np.asarray(values, dtype=object), return_inverse=True)
    return pd.Categorical.from_codes(np.tile(np.repeat(codes[at], repeat), tile), names)


def _parts(n: int, split: Split) -> np.ndarray:
    """Part [n] of every query in a split."""
    part = np.empty(n, dtype=object)
    for name in PARTS:
        part[getattr(split, name)] = name
    return part


def _long(
    ids: np.ndarray, key: str, names: Sequence[str], values: np.ndarray, value: str
) -> pd.DataFrame:
    """[n, K] as rows of key, query_id, value; missing values have no row."""
    table = pd.DataFrame(
        {
            key: np.repeat(np.asarray(names, dtype=object), len(ids)),
            "query_id": np.tile(ids, len(names)),
            value: values.T.ravel(),
        }
    )
    return table[table[value].notna()]


def _costs(workspace: Workspace, loaded: Loaded, ids: np.ndarray) -> pd.DataFrame:
    tables = []
    for o, splits, _ in loaded.values():
        for seed, cost in expected_costs(o, splits, workspace.profile.cost_model).items():
            routed = np.sort(np.concatenate([splits[seed].calibration, splits[seed].test]))
            tables.append(
                _long(ids[routed], "target", o.target_names, cost[routed], "cost").assign(seed=seed)
            )
    costs = pd.concat(tables, ignore_index=True).drop_duplicates(
        ["seed", "target", "query_id", "cost"]
    )
    if costs.duplicated(["seed", "target", "query_id"]).any():
        raise ValueError(
            "a target has different expected costs in two pools; costs.parquet keeps one per split,"
            " target and query"
        )
    return costs


# --- read again
# ---------------------------------------------------------------------------------------------


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
    DataFrame with `experiment.METRIC_COLUMNS`

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


def read_evaluation(
    folder: str | Path,
) -> Iterator[
    tuple[str, tuple[Outcomes, dict[int, Split], dict[str, dict], dict[int, np.ndarray]]]
]:
    """Pool by pool what `experiment.evaluate_at` takes: outcomes (without prompts, tokens, prices),
    splits, methods, costs.
    """
    folder = Path(folder)
    files = sorted(folder.glob("predictions*.parquet")) or [folder / "predictions.parquet"]
    predictions = [_read(file, PREDICTION_COLUMNS) for file in files]
    rows = _read(folder / "splits.parquet", ["seed", "query_id", "benchmark", "group", "part"])
    correct = _read(folder / "outcomes.parquet", ["pool", "target", "query_id", "correct"])
    cost = _read(folder / "costs.parquet", ["seed", "target", "query_id", "cost"])
    own = _read(folder / "overheads.parquet", ["pool", "method", "query_id", "overhead"])
    queries = (
        rows[rows["seed"] == rows["seed"].iloc[0]]
        .astype({"query_id": str, "benchmark": str})
        .assign(category="", prompt="")
        .reset_index(drop=True)
    )
    position = pd.Series(np.arange(len(queries)), index=queries["query_id"])
    splits = {
        int(seed): Split(
            *(
                np.sort(position.loc[of.loc[of["part"] == part, "query_id"]].to_numpy())
                for part in PARTS
            )
        )
        for seed, of in rows.groupby("seed")
    }

    def matrix(
        table: pd.DataFrame, key: str, names: Sequence[str], value: str, missing: float
    ) -> np.ndarray:
        """[n, K] of a table in long form."""
        found, column = (
            np.full((len(position), len(names)), missing),
            {name: k for k, name in enumerate(names)},
        )
        for name, of in table.groupby(key, observed=True):
            if name in column:
                of_ids = of["query_id"].cat  # a look-up per id, not per row
                found[position.loc[of_ids.categories].to_numpy()[of_ids.codes], column[name]] = of[
                    value
                ]
        return found

    for pool in pd.unique(correct["pool"]):
        here = correct[correct["pool"] == pool]
        names = list(pd.unique(here["target"]))
        nothing = np.full((len(queries), len(names)), np.nan)
        outcomes = Outcomes(
            queries,
            tuple(Target(name, np.nan, np.nan) for name in names),
            matrix(here, "target", names, "correct", np.nan),
            nothing,
            nothing,
            nothing,
            "",
            str(pool),
        )
        methods: dict[str, dict] = {}
        for table in predictions:
            of_pool = table[table["pool"].isin([pool, ALL]) & table["target"].isin(names)]
            for (method, seed), of in of_pool.groupby(["method", "seed"], observed=True):
                m = methods.setdefault(
                    str(method),
                    {
                        "encoder": str(of["encoder"].iloc[0]),
                        "reads": str(of["reads"].iloc[0]),
                        "p": {},
                    },
                )
                m["p"][int(seed)] = unpacked(matrix(of, "target", names, "p_correct", np.nan))
        overhead = matrix(own[own["pool"] == pool], "method", list(methods), "overhead", 0.0)
        for k, m in enumerate(methods.values()):
            m["overhead"] = overhead[:, k]
        costs = {
            seed: matrix(cost[cost["seed"] == seed], "target", names, "cost", np.nan)
            for seed in splits
        }
        yield str(pool), (outcomes, splits, methods, costs)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: run the profile again (`make reproduce"
            f" PROFILE={path.parent.name}`), notebook 06 writes what is needed"
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


# --- compared
# -----------------------------------------------------------------------------------------------


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
        prog="python -m prefill_router.recompute",
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
