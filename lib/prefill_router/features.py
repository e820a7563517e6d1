"""From layers to trunk input: per target one layer and pooling, scaled, PCA-reduced, side by side.

LLM Router (arXiv 2603.20895), features: x = [f1 | ... | fK]. Every choice is made on training rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import randomized_svd
from tqdm import tqdm

from prefill_router.activations import ActivationStore
from prefill_router.hardware import on_every_core
from prefill_router.probes import PROBE_C, fold_aucs, group_folds, nan_mean
from prefill_router.reduction import ScaledPCA

FORMAT = 1


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


def choose_layers(profile: pd.DataFrame, by: str = "fisher_j") -> dict[str, tuple[int, str]]:
    """The layer and pooling with the highest probe value, for every target.

    All layers and poolings are compared, so the curve may have several peaks. Ties go to the
    pooling and layer that come first in the profile.

    Parameters
    ----------
    profile : DataFrame
        From :func:`prefill_router.probes.layer_profile`, of one encoder, on training rows.
    by : {"fisher_j", "probe_auc"}

    Returns
    -------
    dict {target: (layer, pooling)}
        In the profile's order of targets.

    Raises
    ------
    ValueError
        Unknown ``by``; a profile of several encoders; a target without any defined value.
    """
    if by not in ("fisher_j", "probe_auc"):
        raise ValueError(f"cannot choose layers by {by!r}; use 'fisher_j' or 'probe_auc'")
    if profile["encoder"].nunique() != 1:
        raise ValueError(
            f"the profile holds encoders {sorted(profile['encoder'].unique())}; choose one before"
        )
    layers = {}
    for target, rows in profile.groupby("target", sort=False):
        if rows[by].isna().all():
            raise ValueError(
                f"{by} of target {target!r} is undefined in every layer: its training outcomes are"
                " all the same; drop it from the pool"
            )
        best = rows.loc[rows[by].idxmax()]
        layers[target] = (int(best["layer"]), str(best["pooling"]))
    return layers


def choose_components(
    store: ActivationStore,
    query_ids: Sequence[str],
    correct: np.ndarray,
    groups: Sequence,
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
    store : ActivationStore
    query_ids : n ids
        Training rows only.
    correct : float ndarray [n, K]
        1 right, 0 wrong, NaN missing; columns in the order of ``layers``.
    groups : n labels
        Never straddle folds.
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
        If the columns of ``correct`` are not the targets of ``layers``, no size fits, or an AUC is
        undefined everywhere.
    """
    correct = np.asarray(correct, np.float64)
    if correct.shape != (len(query_ids), len(layers)):
        raise ValueError(
            f"correct has shape {correct.shape}; expected {len(query_ids)} queries x {len(layers)}"
            " targets"
        )
    fold = group_folds(groups, folds, seed)
    sizes = sorted(set(sizes))
    aucs = np.full((folds, len(sizes), len(layers)), np.nan)
    rank = sizes[-1]
    for layer, pooling in sorted(set(layers.values())):
        columns = [k for k, pair in enumerate(layers.values()) if pair == (layer, pooling)]
        x = store.read(layer, pooling, query_ids).astype(np.float64)
        aucs[:, :, columns], found = fold_aucs(x, correct[:, columns], fold, sizes, C)
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


def sweep(
    store: ActivationStore,
    query_ids: Sequence[str],
    correct: np.ndarray,
    target_names: Sequence[str],
    groups: Sequence,
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
    As in :func:`choose_components`; ``correct`` has a column per name of ``target_names``.

    Returns
    -------
    DataFrame[pooling, layer, n_components, target, auc]
        Sizes above the rank of some fold's training rows are left out.
    """
    correct, fold = np.asarray(correct, np.float64), group_folds(groups, folds, seed)
    sizes = sorted(set(sizes))

    def probe(pooling: str, layer: int) -> pd.DataFrame:
        aucs, rank = fold_aucs(
            store.read(layer, pooling, query_ids).astype(np.float64), correct, fold, sizes, C
        )
        rows = [
            (pooling, layer, size, target, auc)
            for size, row in zip(sizes, nan_mean(aucs), strict=True)
            if size <= rank
            for target, auc in zip(target_names, row, strict=True)
        ]
        return pd.DataFrame(rows, columns=["pooling", "layer", "n_components", "target", "auc"])

    pairs = [(pooling, layer) for pooling in poolings for layer in range(store.n_layers + 1)]
    return pd.concat(
        tqdm(on_every_core(probe, pairs), total=len(pairs), desc="sweep", disable=not progress),
        ignore_index=True,
    )


class FeaturePipeline:
    """StandardScaler -> PCA per target, fitted on training rows, blocks concatenated.

    Parameters
    ----------
    choices : sequence of K FeatureChoice

    Attributes
    ----------
    choices : tuple of FeatureChoice
    blocks : list of ScaledPCA
        One per choice, after :meth:`fit`.
    """

    def __init__(self, choices: Sequence[FeatureChoice]) -> None:
        if not choices:
            raise ValueError("no feature choices; pass at least one FeatureChoice")
        self.choices = tuple(choices)
        self.blocks: list[ScaledPCA] = []

    def fit(self, store: ActivationStore, train_query_ids: Sequence[str]) -> FeaturePipeline:
        """Fit scalers and components on these rows; warns where a block has fewer components than
        chosen.
        """
        fitted = {}
        for choice in self.choices:
            source = (choice.layer, choice.pooling, choice.n_components)
            if source not in fitted:
                x = store.read(choice.layer, choice.pooling, train_query_ids)
                fitted[source] = ScaledPCA.fit(x, choice.n_components)
            found = len(fitted[source].components)
            if found < choice.n_components:
                warnings.warn(
                    f"target {choice.target!r}: {found} components, not {choice.n_components}:"
                    f" training rows of layer {choice.layer}, {choice.pooling}, have no more",
                    stacklevel=2,
                )
        self.blocks = [
            fitted[choice.layer, choice.pooling, choice.n_components] for choice in self.choices
        ]
        return self

    def transform(self, store: ActivationStore, query_ids: Sequence[str]) -> np.ndarray:
        """Features of these queries: float32 [n, sum of components], blocks in the order of
        ``choices``.

        Raises
        ------
        ValueError
            If the pipeline is not fitted, or the store has another hidden size.
        """
        if not self.blocks:
            raise ValueError("the pipeline is not fitted; call fit(store, train_query_ids) first")
        if store.hidden_size != len(self.blocks[0].mean):
            raise ValueError(
                f"the pipeline was fitted on width {len(self.blocks[0].mean)}, not"
                f" {store.hidden_size}; use activations of the same encoder"
            )
        raw = {
            (c.layer, c.pooling): store.read(c.layer, c.pooling, query_ids) for c in self.choices
        }
        blocks = [
            block.transform(raw[c.layer, c.pooling])
            for c, block in zip(self.choices, self.blocks, strict=True)
        ]
        return np.hstack(blocks).astype(np.float32)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON)."""
        tensors = {
            f"block{i}.{name}": array
            for i, block in enumerate(self.blocks)
            for name, array in vars(block).items()
        }
        return tensors, {
            "format": FORMAT,
            "choices": [
                asdict(c) | {"n_components": len(b.components)}
                for c, b in zip(self.choices, self.blocks, strict=True)
            ],
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> FeaturePipeline:
        """Rebuild a fitted pipeline from :meth:`state`.

        Raises
        ------
        ValueError
            Another format version, or an array that is missing.
        """
        if meta.get("format") != FORMAT:
            raise ValueError(
                f"feature state has format {meta.get('format')}, this library reads {FORMAT};"
                " export it again"
            )
        pipeline = cls([FeatureChoice(**choice) for choice in meta["choices"]])
        try:
            pipeline.blocks = [
                ScaledPCA(
                    *(
                        np.asarray(tensors[f"block{i}.{name}"])
                        for name in ("mean", "scale", "components", "variance")
                    )
                )
                for i in range(len(pipeline.choices))
            ]
        except KeyError as error:
            raise ValueError(f"feature state lacks the array {error}; export it again") from None
        return pipeline


class SharedBlock:
    """Layers of one pooling side by side, each standardised, then one PCA: the features of the
    published code's later variant.

    Parameters
    ----------
    n_components : int
    pooling : str
    layers : sequence of int, optional
        Indices of hidden states, in the order in which they stand side by side; default: 0
        (embeddings) to ``n_layers`` - 1, as in the published code, which numbers an encoder's
        layers so. The last block's output is not among them.

    Attributes
    ----------
    layers : tuple of int
        After :meth:`fit`.
    """

    # without one: states that held the last block's output as well, and did not name their layers
    FORMAT = 2

    def __init__(
        self, n_components: int = 200, pooling: str = "mean", layers: Sequence[int] | None = None
    ) -> None:
        self.n_components, self.pooling, self.layers = (
            n_components,
            pooling,
            None if layers is None else tuple(layers),
        )

    def fit(self, store: ActivationStore, train_query_ids: Sequence[str]) -> SharedBlock:
        """Fit the scaler and the components on these rows.

        The components come from a randomised decomposition (Halko, Martinsson and Tropp, SIAM
        Review 53, 2011) with a fixed seed: with all layers side by side both the rows and the
        columns are too many for an exact one.
        """
        width, self.layers = (
            store.hidden_size,
            (tuple(range(store.n_layers)) if self.layers is None else self.layers),
        )
        x = np.empty((len(train_query_ids), len(self.layers) * width), np.float32)
        mean, scale = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for place, layer in enumerate(
            self.layers
        ):  # all at once would need several copies of the whole
            at = slice(place * width, (place + 1) * width)
            x[:, at] = store.read(layer, self.pooling, train_query_ids)
            scaler = StandardScaler().fit(x[:, at])
            mean[at], scale[at] = scaler.mean_, scaler.scale_
            x[:, at] -= mean[at]
            x[:, at] /= scale[at]
        _, values, components = randomized_svd(x, min(self.n_components, *x.shape), random_state=0)
        self.reduction = ScaledPCA(
            mean, scale, components.astype(np.float32), values**2 / max(len(x) - 1, 1)
        )
        return self

    def transform(self, store: ActivationStore, query_ids: Sequence[str]) -> np.ndarray:
        """Features of these queries: float32 [n, n_components]."""
        if not hasattr(self, "reduction"):
            raise ValueError("the block is not fitted; call fit(store, train_query_ids) first")
        width, found = (
            store.hidden_size,
            np.zeros((len(query_ids), len(self.reduction.components)), np.float32),
        )
        for place, layer in enumerate(self.layers):
            at = slice(place * width, (place + 1) * width)
            x = store.read(layer, self.pooling, query_ids).astype(np.float32)
            found += (
                (x - self.reduction.mean[at]) / self.reduction.scale[at]
            ) @ self.reduction.components[:, at].T
        return found

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON)."""
        meta = {
            "format": self.FORMAT,
            "layers": list(self.layers),
            "pooling": self.pooling,
            "n_components": len(self.reduction.components),
        }
        return vars(self.reduction), meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> SharedBlock:
        """Rebuild a fitted block from :meth:`state`; KeyError if something is missing, ValueError
        for another format.
        """
        if meta.get("format") != cls.FORMAT:
            raise ValueError(
                f"the block of all layers has format {meta.get('format')}, this library reads"
                f" {cls.FORMAT}: older ones read the last layer too; train the router again"
            )
        block = cls(meta["n_components"], meta["pooling"], meta["layers"])
        block.reduction = ScaledPCA(
            *(tensors[name] for name in ("mean", "scale", "components", "variance"))
        )
        return block
