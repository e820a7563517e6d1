"""Layerwise geometric probes: which layer separates prompts that a target gets right from the
others.

Formulas: LLM Router (arXiv 2603.20895), probes. Class labels are a target's outcomes: 1 right, 0
wrong, NaN missing; a row graded y between them counts as y of a right row and 1 - y of a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from prefill_router.data.labels import has_both_classes
from prefill_router.data.memory import drawn_rows
from prefill_router.data.splits import group_folds
from prefill_router.features.crossval import fold_aucs, nan_mean
from prefill_router.features.queries import LabelledQueries
from prefill_router.features.reduction import ScaledPCA
from prefill_router.hardware import on_every_core


def fisher_j(x: np.ndarray, y: np.ndarray) -> float:
    """Fisher Separability J = ||mu1 - mu0||^2 / (tr S0 + tr S1) (LLM Router, arXiv 2603.20895).

    Parameters
    ----------
    x : ndarray [n, d]
    y : ndarray [n]
        From 1 (right) to 0 (wrong), NaN missing (left out).

    Returns
    -------
    float
        S are class covariances with divisor n_class, rows weighted by their share in the class.
        NaN if a class is empty; 0 if the class means are equal; infinite if they differ and no
        class has any spread.
    """
    shifted = (
        np.asarray(x, np.float64) - x[0]
    )  # J does not change, and equal rows become exact zeros
    if not has_both_classes(y):
        return float("nan")
    (one, spread_one), (zero, spread_zero) = (_moments(shifted, share) for share in (y, 1 - y))
    between = float(np.square(one - zero).sum())
    within = spread_zero + spread_one
    if between == 0.0:
        return 0.0
    return between / within if within > 0 else float("inf")


def _moments(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean [d] and total variance of the rows with a positive share, weighted by it."""
    x, weights = x[share > 0], share[share > 0, None]
    mean = (weights * x).sum(axis=0) / weights.sum()
    return mean, float(((weights * np.square(x - mean)).sum(axis=0) / weights.sum()).sum())


def effective_dimensionality(x: np.ndarray) -> float:
    """Participation ratio d_eff = (sum lambda)^2 / sum lambda^2 of the covariance spectrum of ``x``
    [n, d].

    Between 1 and min(n - 1, d); 0 if the rows are all equal. No eigenvalues are needed: their sum
    is the trace of the covariance, the sum of their squares its squared Frobenius norm (LLM Router,
    arXiv 2603.20895).
    """
    shifted = np.asarray(x, np.float64) - x[0]  # so that equal rows become exact zeros
    centred = shifted - shifted.mean(axis=0)
    moments = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    squares = float(np.square(moments).sum())
    return float(np.trace(moments)) ** 2 / squares if squares > 0 else 0.0


def anisotropy(x: np.ndarray) -> float:
    """Mean cosine over the n (n - 1) / 2 distinct pairs of rows of ``x`` [n, d].

    Closed form (||sum u||^2 - n) / (n (n - 1)) with unit rows u. Zero rows have no direction and
    are left out; NaN with fewer than two others.
    """
    x = np.asarray(x, np.float64)
    norms = np.linalg.norm(x, axis=1)
    unit = x[norms > 0] / norms[norms > 0, None]
    n = len(unit)
    return float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1))) if n > 1 else float("nan")


def layer_table(
    queries: LabelledQueries,
    poolings: Sequence[str] = ("last", "mean"),
    n_components: int = 50,
    folds: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """All probes for every layer, pooling and target.

    J is computed on standardised, PCA-reduced features, d_eff on standardised features, anisotropy
    on the raw vectors, the AUC with scaler and PCA inside the training folds. Groups never straddle
    folds; the AUC is the mean of those of the folds in which it is defined (pooled scores of
    different fits are not comparable). d_eff and anisotropy need no labels and repeat for every
    target. Of more than `memory.EXACT_ROWS` queries so many are probed, drawn at random.

    Parameters
    ----------
    queries : LabelledQueries
        Training rows only: the table decides which layers are used. The first encoder is probed.
    poolings : sequence of str
    n_components : int
    folds, seed : int
        Number of folds of the AUC, seed of their draw.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    DataFrame[encoder, pooling, layer, target, fisher_j, d_eff, anisotropy, probe_auc]
        One row per pooling, layer (0 = embeddings) and target, in this order.
    """
    queries = queries.rows(drawn_rows(len(queries.query_ids)))
    store, fold = queries.store, group_folds(queries.groups, folds, seed)

    def probe(pooling: str, layer: int) -> list[dict]:
        x = store.read(layer, pooling, queries.query_ids).astype(np.float64)
        reduction = ScaledPCA.fit(x, n_components)
        reduced = reduction.transform(x)
        label_free = {
            "d_eff": effective_dimensionality((x - reduction.mean) / reduction.scale),
            "anisotropy": anisotropy(x),
        }
        aucs = nan_mean(fold_aucs(x, queries.correct, fold, [n_components])[0])[0]
        return [
            {
                "encoder": queries.encoder,
                "pooling": pooling,
                "layer": layer,
                "target": target,
                "fisher_j": fisher_j(reduced, queries.correct[:, k]),
                **label_free,
                "probe_auc": aucs[k],
            }
            for k, target in enumerate(queries.targets)
        ]

    pairs = [(pooling, layer) for pooling in poolings for layer in range(store.n_layers + 1)]
    found = tqdm(on_every_core(probe, pairs), total=len(pairs), desc="probes", disable=not progress)
    return pd.DataFrame([row for rows in found for row in rows])
