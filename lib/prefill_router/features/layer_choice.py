"""The layer table over split seeds, and whether J points to the layer that a probe prefers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from scipy.stats import spearmanr

from prefill_router.data.splits import Split
from prefill_router.features.choice import choose_layers
from prefill_router.features.probes import layer_table
from prefill_router.features.queries import LabelledQueries

PROBES = ["fisher_j", "d_eff", "anisotropy", "probe_auc"]


def layers_over_seeds(
    queries: LabelledQueries,
    splits: Mapping[int, Split],
    poolings: tuple[str, ...],
    n_components: int,
    folds: int,
) -> pd.DataFrame:
    """`layer_table` of the training rows of every split, with its ``seed``."""
    tables = [
        layer_table(queries.rows(split.train), poolings, n_components, folds, seed).assign(
            seed=seed
        )
        for seed, split in splits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def mean_over_seeds(by_seed: pd.DataFrame) -> pd.DataFrame:
    """The layer table with every probe averaged over split seeds."""
    keys = ["encoder", "pooling", "layer", "target"]
    return by_seed.groupby(keys, as_index=False, sort=False)[PROBES].mean()


def choices_of_targets(layers: pd.DataFrame) -> pd.DataFrame:
    """For every target the layer and pooling by J and by probe AUC, the AUC at both, and the rank
    correlation (Spearman) of J and AUC over layers, without the embeddings.
    """
    rows = []
    for target, table in layers.groupby("target", sort=False):
        by_j, by_auc = (choose_layers(table, by)[target] for by in ("fisher_j", "probe_auc"))
        auc = table.set_index(["layer", "pooling"])["probe_auc"]
        rows.append(
            {
                "target": target,
                "layer_by_j": by_j[0],
                "pooling_by_j": by_j[1],
                "layer_by_auc": by_auc[0],
                "pooling_by_auc": by_auc[1],
                "auc_at_j": auc[by_j],
                "auc_at_auc": auc[by_auc],
            }
            | {
                f"rank_correlation_{pooling}": spearmanr(g["fisher_j"], g["probe_auc"]).statistic
                for pooling, g in table[table["layer"] > 0].groupby("pooling")
            }
        )
    return pd.DataFrame(rows)
