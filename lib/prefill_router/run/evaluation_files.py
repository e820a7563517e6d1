"""What metrics.csv is computed from, as small files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.data.costs import expected_costs
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import PARTS, Split
from prefill_router.heads.names import MethodKey, name_of
from prefill_router.run.workspace import Workspace

Loaded = Mapping[str, tuple[Outcomes, Mapping[int, Split], Mapping[MethodKey, dict]]]


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


OVERHEAD_COLUMNS = ["pool", "method", "encoder", "query_id", "overhead"]


KEYS = ["pool", "method", "encoder", "reads", "operating_point", "target", "metric"]


NUMBERS = ["value", "ci_low", "ci_high", "n", "seeds"]


def write_evaluation(workspace: Workspace, loaded: Loaded) -> list[Path]:
    """Write what `recompute_metrics` needs into the results folder.

    Parameters
    ----------
    loaded : pool name to its outcomes, splits and methods (of `run.handover.read_predictions`)
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
    own = _overheads(loaded, ids)
    for name, table, order in (
        ("splits", _split_rows(outcomes, splits), [*_SPLIT, "part"]),
        ("outcomes", _outcomes(loaded, ids), ["pool", "target", "query_id", "correct"]),
        ("costs", _costs(workspace, loaded, ids), ["seed", "target", "query_id", "cost"]),
        ("overheads", own[own["overhead"] != 0], OVERHEAD_COLUMNS),
    ):
        texts = [c for c in order if c not in ("seed", "group", "correct", "cost", "overhead")]
        workspace.write_table(
            table[order].astype(dict.fromkeys(texts, "category")), f"{name}.parquet"
        )
    return files


_SPLIT = ["seed", "query_id", "benchmark", "group"]


def _split_rows(outcomes: Outcomes, splits: Mapping[int, Split]) -> pd.DataFrame:
    """Part of every query in every split; groups as numbers in the order of their names, as the
    bootstrap draws them.
    """
    group = np.unique(outcomes.queries["group"].to_numpy(), return_inverse=True)[1]
    queries = outcomes.queries[["query_id", "benchmark"]].assign(group=group)
    parts = [
        queries.assign(seed=seed, part=_parts(outcomes.n, split)) for seed, split in splits.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _outcomes(loaded: Loaded, ids: np.ndarray) -> pd.DataFrame:
    tables = [
        _long(ids, "target", o.target_names, o.correct, "correct").assign(pool=pool)
        for pool, (o, _, _) in loaded.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _overheads(loaded: Loaded, ids: np.ndarray) -> pd.DataFrame:
    tables = []
    for pool, (_, _, methods) in loaded.items():
        for key, m in methods.items():
            of = {"pool": pool, "method": name_of(key), "encoder": m["encoder"]}
            tables.append(pd.DataFrame({**of, "query_id": ids, "overhead": m["overhead"]}))
    return pd.concat(tables, ignore_index=True)


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
    for key in dict.fromkeys(key for _, _, methods in loaded.values() for key in methods):
        of_pools: dict[str, list[_Column]] = {}
        for pool, (o, _, methods) in loaded.items():
            if m := methods.get(key):
                of_pools[pool] = [
                    _Column(
                        pool,
                        name_of(key),
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
    values: Sequence[str] | np.ndarray,
    at: np.ndarray | slice = slice(None),
    repeat: int = 1,
    tile: int = 1,
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
