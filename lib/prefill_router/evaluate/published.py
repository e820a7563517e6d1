"""What figures need beside the committed tables, from the files that lie next to them.

A run writes ``targets.csv``, ``calibration.csv`` and ``routed.csv`` itself. In the results of an
earlier version they are computed here, from the Parquet files of outcomes, splits, costs and
predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.evaluate.calibration import reliability_table
from prefill_router.evaluate.keys import main_rows
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.evaluate.rules import Rule

ALL = "*"  # stands for every pool in predictions.parquet
SHARE_COLUMNS = ["pool", "method", "target", "share"]
TEXTS = ("pool", "method", "encoder", "target", "query_id", "part")


def target_points(folder: Path) -> pd.DataFrame | None:
    """Mean expected cost and accuracy of every single target on test rows, averaged over split
    seeds, as `points.single_points`; None where the files are not there.

    Returns
    -------
    DataFrame[pool, target, cost, accuracy]
        Only queries that every target of the pool answered; cost in the outcomes' unit, NaN where
        the target has no price.
    """
    if not _there(folder, "outcomes", "splits", "costs"):
        return None
    correct, tests, cost = _outcomes(folder), _tests(folder), _costs(folder)
    rows = []
    for pool, of_pool in correct.groupby("pool", sort=False):
        names = list(pd.unique(of_pool["target"]))
        complete = of_pool.pivot(index="query_id", columns="target", values="correct").dropna()
        for seed, ids in tests.items():
            kept = complete.index.intersection(ids)
            of_seed = cost[(cost["seed"] == seed) & cost["query_id"].isin(kept)]
            paid = of_seed.groupby("target")["cost"].mean()
            accuracy = complete.loc[kept].mean()
            rows += [(pool, name, paid.get(name, np.nan), accuracy[name]) for name in names]
    table = pd.DataFrame(rows, columns=["pool", "target", "cost", "accuracy"])
    return table.groupby(["pool", "target"], sort=False, as_index=False).mean()


def calibration(folder: Path, shown: Mapping[str, Sequence[str]]) -> pd.DataFrame | None:
    """`pools.reliability` of the methods ``shown`` of each pool; None where the files are not
    there.
    """
    if not _there(folder, "outcomes") or not _files(folder):
        return None
    correct, tables = _outcomes(folder), []
    names = {name for methods in shown.values() for name in methods}
    predicted = _predictions(folder, names)
    for pool, methods in shown.items():
        right = correct.loc[correct["pool"] == pool, ["target", "query_id", "correct"]]
        here = predicted[predicted["pool"].isin([pool, ALL])]
        both = here.merge(right, on=["target", "query_id"])
        for method in methods:
            rows = both[both["method"] == method]
            table = reliability_table(rows["p_correct"].to_numpy(float), rows["correct"].to_numpy())
            tables.append(table.assign(pool=pool, method=method))
    return pd.concat(tables, ignore_index=True)


def routed(folder: Path, shown: Mapping[str, Sequence[str]]) -> pd.DataFrame | None:
    """`shares` of the methods ``shown`` of each pool by their plan without a loss; None where the
    files are not there.

    Notes
    -----
    The routers of ``predictions.parquet`` were fitted without the calibration rows that a plan's
    router has, so that a share may differ by some points from that of ``routed.csv``.
    """
    if not _there(folder, "costs", "splits") or not _files(folder):
        return None
    if not (folder / "plans.csv").is_file():
        return None
    plans, tests, cost = pd.read_csv(folder / "plans.csv"), _tests(folder), _costs(folder)
    order = pd.read_parquet(folder / "outcomes.parquet", columns=["pool", "target"])
    predicted = _predictions(folder, {name for methods in shown.values() for name in methods})
    tables = []
    for pool, methods in shown.items():
        priced = cost["target"].unique()
        names = [t for t in order.loc[order["pool"] == pool, "target"].unique() if t in priced]
        here = predicted[predicted["pool"].isin([pool, ALL]) & predicted["target"].isin(names)]
        for method in methods:
            p, paid = {}, {}
            of_method = here[here["method"] == method]
            if of_method.empty:  # trained for plans alone
                continue
            for seed, ids in tests.items():
                wide = _wide(of_method[of_method["seed"] == seed], "p_correct", names)
                wide = wide.loc[wide.index.intersection(ids)].dropna()
                p[seed] = wide.to_numpy(float)
                of_seed = cost[(cost["seed"] == seed) & cost["target"].isin(names)]
                paid[seed] = _wide(of_seed, "cost", names).loc[wide.index].to_numpy(float)
            of_plan = plans[(plans["pool"] == pool) & (plans["method"] == method)]
            tables.append(shares(of_plan, p, paid, names).assign(pool=pool, method=method))
    return pd.concat(tables, ignore_index=True)[SHARE_COLUMNS]


def shares(
    plans: pd.DataFrame,
    p: Mapping[int, np.ndarray],
    cost: Mapping[int, np.ndarray],
    names: Sequence[str],
    plan: str = NO_LOSS,
) -> pd.DataFrame:
    """Share of the queries that a plan sends to each target, averaged over split seeds.

    Parameters
    ----------
    plans : DataFrame
        Rows of ``plans.csv`` of one method and pool.
    p, cost : dict of seed to ndarray [n, K]
        Of the queries that are routed.

    Returns
    -------
    DataFrame[target, share]
    """
    of_seeds = []
    for row in plans[plans["plan"] == plan].itertuples():
        best, seed = names.index(row.best), int(row.seed)
        chosen = np.full(len(p[seed]), best)
        if row.routes:
            rule = Rule(value=float(row.price), margin=float(row.margin), stay=best)
            chosen = rule.choose(p[seed], cost[seed])
        of_seeds.append(np.bincount(chosen, minlength=len(names)) / len(chosen))
    return pd.DataFrame({"target": names, "share": np.mean(of_seeds, axis=0)})


def _there(folder: Path, *names: str) -> bool:
    return all((folder / f"{name}.parquet").is_file() for name in names)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("predictions*.parquet"))


def _outcomes(folder: Path) -> pd.DataFrame:
    return _texts(pd.read_parquet(folder / "outcomes.parquet"))


def _costs(folder: Path) -> pd.DataFrame:
    return _texts(pd.read_parquet(folder / "costs.parquet"))


def _tests(folder: Path) -> dict[int, pd.Index]:
    rows = _texts(pd.read_parquet(folder / "splits.parquet"))
    rows = rows[rows["part"] == "test"]
    return {int(seed): pd.Index(of["query_id"]) for seed, of in rows.groupby("seed")}


def _predictions(folder: Path, methods: set[str]) -> pd.DataFrame:
    """P(correct) of some methods on test rows, on all encoders that they read together."""
    wanted = [("part", "==", "test"), ("method", "in", sorted(methods))]
    columns = ["seed", "pool", "method", "encoder", "query_id", "target", "p_correct"]
    found = [pd.read_parquet(file, columns=columns, filters=wanted) for file in _files(folder)]
    return main_rows(_texts(pd.concat(found, ignore_index=True)))


def _wide(table: pd.DataFrame, value: str, names: Sequence[str]) -> pd.DataFrame:
    return table.pivot(index="query_id", columns="target", values=value).reindex(columns=names)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Categories as plain texts, so that tables can be joined."""
    kinds = {c: object for c in TEXTS if c in table}
    return table.astype(kinds)
