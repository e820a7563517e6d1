"""Which layer, pooling and number of components a target reads; chosen on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefill_router.data.memory import drawn_rows
from prefill_router.data.splits import group_folds
from prefill_router.features.crossval import PROBE_C, fold_aucs, nan_mean
from prefill_router.features.queries import LabelledQueries


@dataclass(frozen=True)
class FeatureChoice:
    """What one target's block is made of.

    Attributes
    ----------
    target : str
    layer : int
        0 = embeddings, L = after the final norm.
    pooling : {"last", "mean"}
    n_components : int
        Principal components kept.
    """

    target: str
    layer: int
    pooling: str
    n_components: int


def choose_layers(table: pd.DataFrame, by: str = "fisher_j") -> dict[str, tuple[int, str]]:
    """The layer and pooling with the highest probe value, for every target.

    All layers and poolings are compared, so the curve may have several peaks. Ties go to the
    pooling and layer that come first in the table.

    Parameters
    ----------
    table : DataFrame
        From :func:`prefill_router.features.probes.layer_table`, of one encoder, on training rows.
    by : {"fisher_j", "probe_auc"}

    Returns
    -------
    dict {target: (layer, pooling)}
        In the table's order of targets.

    Raises
    ------
    ValueError
        Unknown ``by``; a table of several encoders; a target without any defined value.
    """
    if by not in ("fisher_j", "probe_auc"):
        raise ValueError(f"cannot choose layers by {by!r}; use 'fisher_j' or 'probe_auc'")
    if table["encoder"].nunique() != 1:
        raise ValueError(
            f"the layer table holds encoders {sorted(table['encoder'].unique())}; choose one before"
        )
    layers = {}
    for target, rows in table.groupby("target", sort=False):
        if rows[by].isna().all():
            raise ValueError(
                f"{by} of target {target!r} is undefined in every layer: its training outcomes are"
                " all the same; drop it from the pool"
            )
        best = rows.loc[rows[by].idxmax()]
        layers[target] = (int(best["layer"]), str(best["pooling"]))
    return layers


def choose_components(
    queries: LabelledQueries,
    layers: Mapping[str, tuple[int, str]],
    sizes: Sequence[int] = (50, 100, 150, 200, 300),
    folds: int = 5,
    seed: int = 0,
    C: float = PROBE_C,
) -> list[FeatureChoice]:
    """The number of principal components with the highest cross-validated probe AUC, for every
    target.

    Parameters
    ----------
    queries : LabelledQueries
        n training rows, the targets in the order of ``layers``. Of more than `memory.EXACT_ROWS`
        rows so many are looked at, drawn at random.
    layers : mapping {target: (layer, pooling)}
        From :func:`choose_layers`.
    sizes : sequence of int
        Candidates; those above the rank of some fold's training rows are skipped.
    folds, seed, C
        Number of folds, seed of their draw, inverse L2 strength of the probe.

    Returns
    -------
    list of K FeatureChoice
        Ties go to fewer components.

    Raises
    ------
    ValueError
        If the targets are not those of ``layers``, no size fits, or an AUC is undefined
        everywhere.
    """
    if queries.targets != tuple(layers):
        raise ValueError(
            f"layers are chosen for {', '.join(layers)}, the queries have outcomes of"
            f" {', '.join(queries.targets)}; give both for the same targets"
        )
    queries = queries.rows(drawn_rows(len(queries.query_ids)))
    fold = group_folds(queries.groups, folds, seed)
    sizes = sorted(set(sizes))
    aucs = np.full((folds, len(sizes), len(layers)), np.nan)
    rank = sizes[-1]
    for layer, pooling in sorted(set(layers.values())):
        columns = [k for k, pair in enumerate(layers.values()) if pair == (layer, pooling)]
        x = queries.store.read(layer, pooling, queries.query_ids).astype(np.float64)
        aucs[:, :, columns], found = fold_aucs(x, queries.correct[:, columns], fold, sizes, C)
        rank = min(rank, found)
    possible = within_rank(sizes, rank)
    mean = nan_mean(aucs)[possible]
    choices = []
    for k, (target, (layer, pooling)) in enumerate(layers.items()):
        if np.isnan(mean[:, k]).all():
            raise ValueError(
                f"the probe AUC of target {target!r} is undefined in every fold: its outcomes are"
                " (nearly) all the same; drop it from the pool"
            )
        choices.append(
            FeatureChoice(target, layer, pooling, sizes[possible[int(np.nanargmax(mean[:, k]))]])
        )
    return choices


def within_rank(sizes: Sequence[int], rank: int) -> list[int]:
    """Positions of the sizes that the training rows have components for; ValueError if there is
    none.
    """
    possible = [s for s, size in enumerate(sizes) if size <= rank]
    if not possible:
        raise ValueError(
            f"the training rows have rank {rank}, below every size in {sizes}; offer smaller sizes"
        )
    return possible
