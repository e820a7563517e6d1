"""From layers to trunk input: per target one layer and pooling, scaled, PCA-reduced, side by side.

LLM Router (arXiv 2603.20895), features: x = [f1 | ... | fK]. Every choice is made on training rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import randomized_svd

from prefill_router.data.memory import drawn_rows
from prefill_router.features.choice import FeatureChoice
from prefill_router.features.queries import States, read_blocks
from prefill_router.features.reduction import ScaledPCA

FORMAT = 1


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

    def fit(self, store: States, train_query_ids: Sequence[str] | np.ndarray) -> FeaturePipeline:
        """Fit scalers and components on these rows, read in blocks (`queries.read_blocks`); warns
        where a block has fewer components than chosen.
        """
        fitted, train_query_ids = {}, np.asarray(train_query_ids)
        rows = read_blocks(store, train_query_ids)
        for choice in self.choices:
            source = (choice.layer, choice.pooling, choice.n_components)
            if source not in fitted:
                fitted[source] = ScaledPCA.fit_blocks(
                    (store.read(choice.layer, choice.pooling, train_query_ids[at]) for at in rows),
                    choice.n_components,
                )
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

    def transform(self, store: States, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
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
        query_ids = np.asarray(query_ids)
        width = sum(len(block.components) for block in self.blocks)
        found = np.empty((len(query_ids), width), np.float32)
        for at in read_blocks(store, query_ids):
            found[at] = self._transformed(store, query_ids[at])
        return found

    def _transformed(self, store: States, query_ids: np.ndarray) -> np.ndarray:
        raw = {
            (c.layer, c.pooling): store.read(c.layer, c.pooling, query_ids) for c in self.choices
        }
        blocks = [
            block.transform(raw[c.layer, c.pooling])
            for c, block in zip(self.choices, self.blocks, strict=True)
        ]
        return np.hstack(blocks).astype(np.float32)

    @property
    def reads(self) -> list[tuple[int, str]]:
        """The (layer, pooling) that are read."""
        return [(choice.layer, choice.pooling) for choice in self.choices]

    def of_targets(self, targets: Sequence[str]) -> FeaturePipeline:
        """The choices of these targets alone, not fitted."""
        choices = {choice.target: choice for choice in self.choices}
        return FeaturePipeline([choices[target] for target in targets])

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
        Empty before :meth:`fit` if none are given.
    """

    # without one: states that held the last block's output as well, and did not name their layers
    FORMAT = 2

    def __init__(
        self, n_components: int = 200, pooling: str = "mean", layers: Sequence[int] | None = None
    ) -> None:
        self.n_components, self.pooling = n_components, pooling
        self.layers = () if layers is None else tuple(layers)

    @property
    def reads(self) -> list[tuple[int, str]]:
        """The (layer, pooling) that are read."""
        return [(layer, self.pooling) for layer in self.layers]

    def fit(self, store: States, train_query_ids: Sequence[str] | np.ndarray) -> SharedBlock:
        """Fit the scaler and the components on these rows.

        The components come from a randomised decomposition (Halko, Martinsson and Tropp, SIAM
        Review 53, 2011) with a fixed seed: with all layers side by side both the rows and the
        columns are too many for an exact one. Of more than `memory.EXACT_ROWS` rows so many are
        read, drawn at random.
        """
        train_query_ids = np.asarray(train_query_ids)[drawn_rows(len(train_query_ids))]
        width, self.layers = store.hidden_size, self.layers or tuple(range(store.n_layers))
        x = np.empty((len(train_query_ids), len(self.layers) * width), np.float32)
        mean, scale = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for place, layer in enumerate(self.layers):
            # all at once would need several copies of the whole
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

    def transform(self, store: States, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Features of these queries: float32 [n, n_components]."""
        if not hasattr(self, "reduction"):
            raise ValueError("the block is not fitted; call fit(store, train_query_ids) first")
        width, query_ids = store.hidden_size, np.asarray(query_ids)
        found = np.zeros((len(query_ids), len(self.reduction.components)), np.float32)
        for rows in read_blocks(store, query_ids):
            for place, layer in enumerate(self.layers):
                at = slice(place * width, (place + 1) * width)
                x = store.read(layer, self.pooling, query_ids[rows]).astype(np.float32)
                found[rows] += (
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
