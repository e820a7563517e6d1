"""The mean of a few standardised layers, reduced: features of the adapter trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from prefill_router.data.memory import drawn_rows
from prefill_router.data.splits import group_folds
from prefill_router.features.choice import within_rank
from prefill_router.features.crossval import PROBE_C, fold_aucs, nan_mean
from prefill_router.features.queries import LabelledQueries, States, read_blocks
from prefill_router.features.reduction import ScaledPCA

LAYERS = 5  # averaged


class LayerMean:
    """Last-token states of some layers, standardised per layer, averaged, scaled, PCA-reduced.

    Parameters
    ----------
    layers : sequence of int
        0 = embeddings, L = after the final norm.
    n_components : int
        Principal components; fewer where the training rows have no more.

    Attributes
    ----------
    means, scales : float32 ndarray [layers, H]
    reduction : ScaledPCA
        All three after :meth:`fit`.
    """

    def __init__(self, layers: Sequence[int], n_components: int) -> None:
        if not layers:
            raise ValueError("no layers; name at least one")
        self.layers, self.n_components = tuple(int(layer) for layer in layers), n_components

    def fit(self, store: States, train_query_ids: Sequence[str] | np.ndarray) -> LayerMean:
        """Fit the standardisation of every layer, the scaler and the components on these rows."""
        train_query_ids = np.asarray(train_query_ids)
        self._standardise(store, train_query_ids)
        rows = read_blocks(store, train_query_ids)
        self.reduction = ScaledPCA.fit_blocks(
            (self.averaged(store, train_query_ids[at]) for at in rows), self.n_components
        )
        return self

    @property
    def reads(self) -> list[tuple[int, str]]:
        """The (layer, pooling) that are read."""
        return [(layer, "last") for layer in self.layers]

    def _standardise(self, store: States, train_query_ids: np.ndarray) -> None:
        scalers = [StandardScaler() for _ in self.layers]
        for layer, scaler in zip(self.layers, scalers, strict=True):
            for at in read_blocks(store, train_query_ids):
                x = store.read(layer, "last", train_query_ids[at])
                scaler.partial_fit(x.astype(np.float64))
        self.means, self.scales = (
            np.stack([getattr(s, name) for s in scalers]).astype(np.float32)
            for name in ("mean_", "scale_")
        )

    def averaged(self, store: States, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """The mean of the standardised layers: float64 [n, H]."""
        return np.mean(
            [
                (store.read(layer, "last", query_ids).astype(np.float64) - mean) / scale
                for layer, mean, scale in zip(self.layers, self.means, self.scales, strict=True)
            ],
            axis=0,
        )

    def transform(self, store: States, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Features of these queries: float32 [n, components]."""
        if not hasattr(self, "reduction"):
            raise NotFittedError(
                "the layers are not fitted; call fit(store, train_query_ids) first"
            )
        query_ids = np.asarray(query_ids)
        found = np.empty((len(query_ids), len(self.reduction.components)), np.float32)
        for at in read_blocks(store, query_ids):
            found[at] = self.reduction.transform(self.averaged(store, query_ids[at]))
        return found

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON)."""
        return {
            "layer_means": self.means,
            "layer_scales": self.scales,
            **{f"reduction.{k}": v for k, v in vars(self.reduction).items()},
        }, {"layers": list(self.layers), "n_components": len(self.reduction.components)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> LayerMean:
        """Rebuild from :meth:`state`; KeyError if something is missing."""
        block = cls(meta["layers"], meta["n_components"])
        block.means, block.scales = tensors["layer_means"], tensors["layer_scales"]
        block.reduction = ScaledPCA(
            *(tensors[f"reduction.{name}"] for name in ("mean", "scale", "components", "variance"))
        )
        return block


def choose_layer_mean(
    queries: LabelledQueries,
    table: pd.DataFrame,
    sizes: Sequence[int],
    folds: int = 5,
    seed: int = 0,
) -> LayerMean:
    """The layers and the number of components by cross-validated probe AUC on training rows; not
    fitted yet.

    Parameters
    ----------
    queries : training rows
    table : from :func:`prefill_router.features.probes.layer_table` on these rows
        The layers are the ``LAYERS`` with the highest probe AUC of the last token, averaged over
        targets.
    sizes : candidates; those above the rank of some fold are skipped.

    Of more than `memory.EXACT_ROWS` rows so many are looked at, drawn at random.
    """
    queries = queries.rows(drawn_rows(len(queries.query_ids)))
    last = table[table["pooling"] == "last"]
    if last.empty:
        raise ValueError("the layer table has no rows of the last token; probe that pooling too")
    layers = sorted(
        int(layer) for layer in last.groupby("layer")["probe_auc"].mean().nlargest(LAYERS).index
    )
    block = LayerMean(layers, max(sizes))
    block._standardise(queries.store, queries.query_ids)
    sizes = sorted(set(sizes))
    aucs, rank = fold_aucs(
        block.averaged(queries.store, queries.query_ids),
        queries.correct,
        group_folds(queries.groups, folds, seed),
        sizes,
        PROBE_C,
    )
    possible = within_rank(sizes, rank)
    mean = nan_mean(nan_mean(aucs)[possible].T)
    return LayerMean(layers, sizes[possible[int(np.nanargmax(mean))]])
