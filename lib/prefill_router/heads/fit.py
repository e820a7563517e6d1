"""The one way to train a method: for the evaluation and for a router that is shipped.

`choose_features` says what a method reads of the states, `fit_method` trains it. A `Fitted` method
goes from states to P(correct) of every target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from prefill_router.data.memory import ROUTER_BYTES
from prefill_router.features.choice import choose_components, choose_layers
from prefill_router.features.layer_mean import LayerMean, choose_layer_mean
from prefill_router.features.pipeline import FeaturePipeline, SharedBlock
from prefill_router.features.probes import layer_table
from prefill_router.features.queries import LabelledQueries, States
from prefill_router.heads.adapter import AdapterEnsemble, adapter_config
from prefill_router.heads.gram import upper_layers
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.names import DEFAULT_BASELINES, METHODS
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.stored_states import StoredStates, states_of
from prefill_router.heads.trunk import TrunkEnsemble

# What each method reads its features with (the kernel router reads states as they are), and what
# predicts from them.
FEATURES: dict[str, Any] = {
    "ours": None,
    "paper": FeaturePipeline,
    "paper_auc": FeaturePipeline,
    "shared_block": SharedBlock,
    "adapter_trunk": LayerMean,
}
HEADS: dict[str, Any] = {
    "ours": KernelRouter,
    "paper": TrunkEnsemble,
    "paper_auc": TrunkEnsemble,
    "shared_block": TrunkEnsemble,
    "adapter_trunk": AdapterEnsemble,
}
NETWORKS = tuple(method for method in METHODS if method != "ours")


class ProfileSettings(Protocol):
    """What of a profile decides how methods are trained; `run.profile.Profile` is one."""

    ensemble: Mapping[str, Any]
    component_sizes: Sequence[int]
    folds: int
    layer_choice: str
    poolings: Sequence[str]
    layer_components: int
    device: str
    baselines: Sequence[str]


@dataclass(frozen=True)
class FitSettings:
    """Settings of a training.

    Attributes
    ----------
    network, adapter : TrunkConfig
        Of SharedTrunkNet, and of the adapter trunk.
    component_sizes : tuple of int
        Numbers of principal components that cross-validation chooses from.
    folds : int
        Of every cross-validation of features.
    layer_choice : {"fisher_j", "probe_auc"}
        What `paper` chooses a target's layer by; `paper_auc` always by the latter.
    poolings : tuple of str
    layer_components : int
        Principal components on which a layer is probed.
    last_layer : bool
        Whether `paper` may choose the last block's output, which some projects do not number.
    device : str
        Of the networks.
    progress : bool
        Show a bar while layers are probed.
    baselines : tuple of str
        Those of `heads.names.BASELINES` that are trained.
    router_bytes : float
        What a shipped kernel router keeps of its training at most: see `KernelRouter.compact`.
    """

    network: TrunkConfig = field(default_factory=TrunkConfig)
    adapter: TrunkConfig = field(default_factory=lambda: adapter_config(TrunkConfig()))
    component_sizes: tuple[int, ...] = (50, 100, 150, 200, 300)
    folds: int = 5
    layer_choice: str = "fisher_j"
    poolings: tuple[str, ...] = ("last", "mean")
    layer_components: int = 50
    last_layer: bool = True
    device: str = "cpu"
    progress: bool = False
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    router_bytes: float = ROUTER_BYTES

    @classmethod
    def of(cls, profile: ProfileSettings) -> FitSettings:
        """Those of a profile."""
        network = TrunkConfig(**profile.ensemble)
        return cls(
            network,
            adapter_config(network),
            tuple(profile.component_sizes),
            profile.folds,
            profile.layer_choice,
            tuple(profile.poolings),
            profile.layer_components,
            device=profile.device,
            baselines=tuple(profile.baselines),
        )


@dataclass(frozen=True)
class Fitted:
    """A trained method.

    Attributes
    ----------
    method : one of ``METHODS``
    encoders : tuple of str
        Those that it reads.
    targets : tuple of K str
        The columns of :meth:`predict_proba`.
    features : FeaturePipeline, SharedBlock, LayerMean or None
        None: the head reads states as they are.
    head : KernelRouter, TrunkEnsemble or AdapterEnsemble
    """

    method: str
    encoders: tuple[str, ...]
    targets: tuple[str, ...]
    features: Any
    head: Any

    def read(
        self, store: States, query_ids: Sequence[str] | np.ndarray
    ) -> np.ndarray | StoredStates:
        """What the head reads of one encoder: float32 [n, D], or as `stored_states.states_of`."""
        if self.features is None:
            return states_of(store, query_ids)
        return self.features.transform(store, query_ids)

    def reads(self, n_layers: int) -> list[tuple[int, str]]:
        """The (layer, pooling) that :meth:`read` asks for of an encoder of so many layers."""
        if self.features is None:
            return [(layer, p) for layer in upper_layers(n_layers) for p in ("last", "mean")]
        return self.features.reads

    def predict(self, read: Mapping[str, np.ndarray | StoredStates]) -> np.ndarray:
        """P(correct) float64 [n, K] from :meth:`read` of every encoder."""
        return self.head.predict_proba(read if self.features is None else read[self.encoders[0]])

    def predict_with_familiarity(self, read: Mapping[str, np.ndarray | StoredStates]) -> np.ndarray:
        """:meth:`predict` with one more column: how like the training each query is
        (`heads.familiarity`), NaN for networks, which keep no training states.
        """
        if isinstance(self.head, KernelRouter):
            return np.column_stack(self.head.predict_with_familiarity(read))
        p = self.predict(read)
        return np.column_stack([p, np.full(len(p), np.nan)])

    def predict_proba(
        self, stores: Mapping[str, States], query_ids: Sequence[str] | np.ndarray
    ) -> np.ndarray:
        """P(correct) of every target: float64 [n, K]; KeyError if an encoder's states lack."""
        return self.predict({name: self.read(stores[name], query_ids) for name in self.encoders})

    def of_targets(self, targets: Sequence[str]) -> Fitted:
        """The same for these targets alone: what the kernel router says of one does not change."""
        columns = [self.targets.index(target) for target in targets]
        return replace(self, targets=tuple(targets), head=self.head.of_targets(columns))


def choose_features(
    method: str,
    queries: LabelledQueries,
    settings: FitSettings,
    seed: int = 0,
    layers: pd.DataFrame | None = None,
) -> Any:
    """What a method reads, chosen by cross-validation on training rows, not fitted yet.

    Parameters
    ----------
    queries : LabelledQueries
        Training rows. A target's choice does not depend on the other targets.
    layers : DataFrame, optional
        `features.probes.layer_table` of these rows; made here where it is needed.

    Returns
    -------
    FeaturePipeline, SharedBlock, LayerMean; None for the kernel router
    """
    if method == "ours":
        return None
    if method == "shared_block":
        return SharedBlock()
    if layers is None:
        layers = layer_table(
            queries,
            settings.poolings,
            settings.layer_components,
            settings.folds,
            seed,
            settings.progress,
        )
    sizes, folds = settings.component_sizes, settings.folds
    if method == "adapter_trunk":
        return choose_layer_mean(queries, layers, sizes, folds, seed)
    if not settings.last_layer:
        layers = layers[layers["layer"] < queries.store.n_layers]
    by = settings.layer_choice if method == "paper" else "probe_auc"
    chosen = choose_layers(layers, by)
    layer_of = {target: chosen[target] for target in queries.targets}
    return FeaturePipeline(choose_components(queries, layer_of, sizes, folds, seed))


def fit_method(
    method: str,
    queries: LabelledQueries,
    settings: FitSettings,
    seed: int = 0,
    layers: pd.DataFrame | None = None,
) -> Fitted:
    """Train a method on queries and the targets that they name.

    Parameters
    ----------
    queries : LabelledQueries
        Training rows. The kernel router chooses among all encoders and learns from the outcomes of
        all targets, routed to or not; the other methods read the first encoder.
    layers : as in :func:`choose_features`

    Raises
    ------
    ValueError
        An unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    features = choose_features(method, queries, settings, seed, layers)
    if features is None:
        return fit_kernel(
            {name: states_of(s, queries.query_ids) for name, s in queries.stores.items()},
            queries,
            seed,
        )
    x = features.fit(queries.store, queries.query_ids).transform(queries.store, queries.query_ids)
    return fit_network(method, features, x, queries, settings, seed)


def fit_kernel(
    read: Mapping[str, np.ndarray | StoredStates],
    queries: LabelledQueries,
    seed: int = 0,
    precomputed: bool = False,
) -> Fitted:
    """The kernel router on states [n, D] of encoders, or (`precomputed`) on kernels [n, n]."""
    head = KernelRouter(seed=seed, precomputed=precomputed)
    head.fit(read, queries.correct, queries.groups)
    return Fitted("ours", head.encoders_used, queries.targets, None, head)


def fit_network(
    method: str,
    features: Any,
    x: np.ndarray,
    queries: LabelledQueries,
    settings: FitSettings,
    seed: int = 0,
) -> Fitted:
    """A network on what fitted features made of the training queries, x [n, d]; both may be shared
    between pools.
    """
    config = settings.adapter if method == "adapter_trunk" else settings.network
    head = HEADS[method](config, seed=seed, device=settings.device)
    head.fit(x, queries.correct, queries.groups)
    return Fitted(method, (queries.encoder,), queries.targets, features, head)
