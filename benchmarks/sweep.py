"""The sweep over layers, poolings and numbers of components: an exhaustive one against the recipe's
search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from prefill_router.data.splits import group_folds
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.store import ActivationStore, store_folder
from prefill_router.features.crossval import PROBE_C, fold_aucs, nan_mean
from prefill_router.features.queries import LabelledQueries
from prefill_router.hardware import on_every_core

from .common import ENCODER, frontier, ratio, spread, timed, workspace, write

SIZES, FOLDS = (50, 100, 150, 200, 300), 5


def sweep(
    queries: LabelledQueries,
    poolings: Sequence[str] = ("last", "mean"),
    sizes: Sequence[int] = (50, 100, 150, 200, 300),
    folds: int = 5,
    seed: int = 0,
    C: float = PROBE_C,
    progress: bool = True,
) -> pd.DataFrame:
    """Cross-validated probe AUC of every layer, pooling, number of components and target: nothing
    is searched, all is computed.

    Parameters
    ----------
    As in `features.choice.choose_components`.

    Returns
    -------
    DataFrame[pooling, layer, n_components, target, auc]
        Sizes above the rank of some fold's training rows are left out.
    """
    store, fold = queries.store, group_folds(queries.groups, folds, seed)
    sizes = sorted(set(sizes))

    def probe(pooling: str, layer: int) -> pd.DataFrame:
        aucs, rank = fold_aucs(
            store.read(layer, pooling, queries.query_ids).astype(np.float64),
            queries.correct,
            fold,
            sizes,
            C,
        )
        rows = [
            (pooling, layer, size, target, auc)
            for size, row in zip(sizes, nan_mean(aucs), strict=True)
            if size <= rank
            for target, auc in zip(queries.targets, row, strict=True)
        ]
        return pd.DataFrame(rows, columns=["pooling", "layer", "n_components", "target", "auc"])

    pairs = [(pooling, layer) for pooling in poolings for layer in range(store.n_layers + 1)]
    return pd.concat(
        tqdm(on_every_core(probe, pairs), total=len(pairs), desc="sweep", disable=not progress),
        ignore_index=True,
    )


def recipe(
    store: ActivationStore, query_ids: np.ndarray, y: np.ndarray, fold: np.ndarray
) -> dict[tuple[str, int, int], float]:
    """One target, the published way: for every pooling and size a ternary search over the upper
    half of the layers, which assumes one peak; scaler and PCA refitted in every fold of every layer
    looked at. The AUC of all that was looked at.

    The PCA is scikit-learn's fastest exact one. Its default solver is a randomised one for these
    shapes, whose last components are inexact: single AUCs then moved by up to 0.0035 (and the
    search took longer).
    """
    looked: dict[tuple[str, int, int], float] = {}
    for pooling in ("last", "mean"):
        for size in SIZES:

            def auc(layer: int, pooling: str = pooling, size: int = size) -> float:
                if (pooling, layer, size) not in looked:
                    x = store.read(layer, pooling, query_ids)
                    found = []
                    for f in range(FOLDS):
                        probe = make_pipeline(
                            StandardScaler(),
                            PCA(size, svd_solver="covariance_eigh"),
                            LogisticRegression(C=PROBE_C, max_iter=1000),
                        )
                        probe.fit(x[fold != f], y[fold != f])
                        found.append(
                            roc_auc_score(y[fold == f], probe.decision_function(x[fold == f]))
                        )
                    looked[pooling, layer, size] = float(np.mean(found))
                return looked[pooling, layer, size]

            low, high = store.n_layers // 2, store.n_layers
            while high - low > 2:
                a, b = low + (high - low) // 3, high - (high - low) // 3
                low, high = (a, high) if auc(a) < auc(b) else (low, b)
            for layer in range(low, high + 1):
                auc(layer)
    return looked


def run() -> None:
    """Both on the frontier pool, in turns: the recipe on one target, the whole sweep of all
    targets, and so on.
    """
    ws, outcomes = workspace()
    pool, train, groups = frontier()
    encoder = load_encoder(ENCODER)
    all_ids = list(outcomes.queries["query_id"])
    store = extract(
        encoder,
        all_ids,
        outcomes.prompts,
        store_folder(ws.activations, encoder, all_ids, outcomes.prompts),
    )
    queries = LabelledQueries.of({store.encoder_name: store}, pool).rows(train)
    query_ids, Y = queries.query_ids, queries.correct
    assert not np.isnan(Y).any()  # the recipe has no place for missing outcomes
    fold = group_folds(groups[train], FOLDS, 0)
    slow, fast, looked = [], [], {}
    for k in range(0, Y.shape[1], 2):
        seconds, looked[k] = timed(lambda k=k: recipe(store, query_ids, Y[:, k], fold))
        slow.append(seconds * Y.shape[1])  # as for all targets
        seconds, table = timed(lambda: sweep(queries, sizes=SIZES, folds=FOLDS, progress=False))
        fast.append(seconds)
    exhaustive = table.set_index(["target", "pooling", "layer", "n_components"])["auc"]
    differences = [
        abs(auc - exhaustive[pool.target_names[k], *place])
        for k, seen in looked.items()
        for place, auc in seen.items()
    ]
    missed = [
        exhaustive[pool.target_names[k]].max() - max(seen.values()) for k, seen in looked.items()
    ]
    write(
        "sweep_zeroeval_frontier",
        {
            "what": (
                f"cross-validated probe AUC of {Y.shape[1]} targets on {len(train)} training"
                f" queries, {ENCODER}"
            ),
            "ours": {"seconds": spread(fast), "combinations": len(exhaustive)},
            "recipe": {
                "seconds": spread(slow),
                "combinations": round(
                    np.mean([len(seen) for seen in looked.values()]) * Y.shape[1]
                ),
            },
            "ratio": ratio(slow, fast),
            "largest_auc_difference_where_both_looked": float(max(differences)),
            "mean_auc_difference_where_both_looked": float(np.mean(differences)),
            "auc_that_the_recipe_missed": {
                "mean": float(np.mean(missed)),
                "max": float(max(missed)),
            },
        },
    )
