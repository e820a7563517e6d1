"""One predictor on several encoders: AUC by encoder and target, size, label-free probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import per_target_auc
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.runs import auc_run
from prefill_router.features.geometry import geometry
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.names import MethodKey, name_of

OURS = "ours"
Predictions = Mapping[MethodKey, Mapping[str, Any]]
SHOWN = ["mean_auc", "disagreement_auc"]


def ours_by_encoder(methods: Predictions, several: bool) -> dict[str, Mapping[int, np.ndarray]]:
    """P(correct) of the kernel router by what it reads: each encoder alone, and with several of
    them ``OURS``, which reads all together.
    """
    found = {}
    for key, of in methods.items():
        if name_of(key) == OURS:
            found[OURS if key == OURS and several else of["encoder"]] = of["p"]
    return found


def encoder_averages(
    p: Mapping[str, Mapping[int, np.ndarray]],
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    bootstrap: int,
) -> SeedAverages:
    """Mean AUC and AUC of differences by encoder, with draws on shared resamples."""
    groups = outcomes.queries["group"].to_numpy()
    runs = {
        name: [
            auc_run(by_seed[seed][at.test], outcomes.correct[at.test], groups[at.test])
            for seed, at in splits.items()
        ]
        for name, by_seed in p.items()
    }
    return seed_averaged_intervals(runs, bootstrap, seed=0)


def encoder_table(averages: SeedAverages, pool: str) -> pd.DataFrame:
    """[pool, encoder, metric, value, ci_low, ci_high, n] of ``SHOWN``."""
    table = averages.table()
    table = table[table["metric"].isin(SHOWN)].assign(pool=pool)
    columns = ["pool", "encoder", "metric", "value", "ci_low", "ci_high", "n"]
    return table.rename(columns={"method": "encoder"})[columns]


def encoder_tables(
    pools: Mapping[str, Outcomes],
    p: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]],
    splits: Mapping[int, Split],
    bootstrap: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`encoder_table` of every pool, and, where ``OURS`` reads several encoders, its paired
    differences from the best single one: [pool, method_a, method_b, metric, diff, ci_low, ci_high,
    n]. The number of pools that are done is shown.
    """
    tables, gains = [], []
    for pool, outcomes in tqdm(pools.items(), desc="pools", disable=len(pools) < 2):
        averages = encoder_averages(p[pool], outcomes, splits, bootstrap)
        tables.append(encoder_table(averages, pool))
        if OURS in p[pool]:
            single = [name for name in p[pool] if name != OURS]
            best = max(single, key=lambda name: averages.point[name, "mean_auc"])
            gains.append(averages.paired(OURS, best))
            gains[-1].insert(0, "pool", pool)
    return pd.concat(tables), pd.concat(gains) if gains else pd.DataFrame()


def encoder_rows(
    notes: Mapping[str, Mapping[str, Any]],
    queries: LabelledQueries,
    n_components: int,
    matrix: pd.DataFrame,
) -> pd.DataFrame:
    """What is known of every encoder of ``notes``, in their order: size, tokens read, label-free
    probes on ``queries``, and its mean test AUC in ``matrix`` (`encoder_matrix`).

    Returns
    -------
    DataFrame[encoder, parameters_M, tokens, and the keys of `geometry`, test_auc]
    """
    rows = [
        {"encoder": name, "parameters_M": note["params"] / 1e6, "tokens": note["tokens"]}
        | geometry(queries.of_encoders([name]), n_components)
        | {"test_auc": matrix.loc[name].mean()}
        for name, note in tqdm(notes.items(), desc="encoders", disable=len(notes) < 2)
    ]
    return pd.DataFrame(rows)


def encoder_matrix(
    pools: Mapping[str, Outcomes],
    p: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]],
    splits: Mapping[int, Split],
    order: Sequence[str],
) -> pd.DataFrame:
    """Test AUC [encoders in ``order``, targets], the mean over splits.

    ``p`` is by pool, encoder and seed; a target of several pools has the same predictions in each.
    """
    rows = [
        {"seed": seed, "encoder": name, "target": target, "auc": auc}
        for pool, outcomes in pools.items()
        for name, by_seed in p[pool].items()
        for seed, at in splits.items()
        for target, auc in zip(
            outcomes.target_names,
            per_target_auc(by_seed[seed][at.test], outcomes.correct[at.test]),
            strict=True,
        )
    ]
    table = pd.DataFrame(rows).drop_duplicates(["seed", "encoder", "target"])
    matrix = table.pivot_table(index="encoder", columns="target", values="auc", sort=False)
    return matrix.reindex(list(order))


def self_and_foreign(matrix: pd.DataFrame, encoders: Iterable[str]) -> pd.DataFrame:
    """AUC on targets that are encoders themselves: [target, reader, encoder, auc], the reader being
    "itself" or "another". Empty if no target is among the encoders.
    """
    encoders = list(encoders)
    twins = {
        t: e for e in encoders for t in matrix.columns if t.startswith(e.removesuffix("-instruct"))
    }
    return pd.DataFrame(
        [
            (t, "itself" if twins[t] == e else "another", e, matrix.loc[e, t])
            for t in twins
            for e in encoders
        ],
        columns=["target", "reader", "encoder", "auc"],
    )
