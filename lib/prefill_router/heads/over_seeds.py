"""What the notebooks fit on every split seed, methods and seeds side by side.

Every fit of a network runs with one thread, and jobs run in as many processes as there are cores:
small matrices gain nothing from threads, and the numbers do not depend on the number of cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from prefill_router.data.splits import Split
from prefill_router.features.logistic import rank_auc
from prefill_router.features.pipeline import FeaturePipeline
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.fit import (
    NETWORKS,
    FitSettings,
    Fitted,
    choose_features,
    fit_kernel,
    fit_network,
)
from prefill_router.heads.gram import VIEWS, read_view
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.names import MethodKey, OnEncoder, together
from prefill_router.heads.parallel import side_by_side
from prefill_router.heads.semantic import ShuffledRouter
from prefill_router.heads.stored_states import kernel_inputs, states_of


@dataclass(frozen=True)
class NetworkFits:
    """What `fit_networks` made of one split seed.

    Attributes
    ----------
    p : dict of pool to dict of method to ndarray [n, K]
        P(correct) of all queries.
    choices : DataFrame[pool, method, seed, target, layer, pooling, n_components]
    members : DataFrame[pool, seed, target, value]
        Test AUC of every member of `paper`.
    history : DataFrame
        `TrunkEnsemble.history` of `paper`, with pool and seed.
    """

    p: dict[str, dict[str, np.ndarray]]
    choices: pd.DataFrame
    members: pd.DataFrame
    history: pd.DataFrame


def fit_networks(
    method: str,
    seed: int,
    split: Split,
    queries: LabelledQueries,
    pools: Mapping[str, Sequence[str]],
    layers: pd.DataFrame,
    settings: FitSettings,
) -> NetworkFits:
    """Train a network on one split, for every pool.

    Parameters
    ----------
    method : one of ``NETWORKS``
    queries : all queries, the targets of all pools
        What a target reads does not depend on the pool.
    pools : pool name to its targets
    layers : `features.probes.layer_table` on this split's training rows
    """
    train = queries.rows(split.train)
    chosen = choose_features(method, train, settings, seed, layers)
    shared = (
        None if isinstance(chosen, FeaturePipeline) else chosen.fit(train.store, train.query_ids)
    )
    p: dict[str, dict[str, np.ndarray]] = {}
    choices, members, history = [], [], []
    for pool, targets in pools.items():
        features = shared or chosen.of_targets(targets).fit(train.store, train.query_ids)
        # all rows at once: a product's rounding depends on how many rows it has
        x = features.transform(queries.store, queries.query_ids)
        of_pool = train.of_targets(targets)
        fitted = fit_network(method, features, x[split.train], of_pool, settings, seed)
        p[pool] = {method: fitted.predict({queries.encoder: x})}
        if isinstance(features, FeaturePipeline):
            choices += [
                {"pool": pool, "method": method, "seed": seed, **vars(c)} for c in features.choices
            ]
        if method == "paper":
            history.append(fitted.head.history.assign(pool=pool, seed=seed))
            correct = queries.of_targets(targets).correct[split.test]
            members += _member_aucs(fitted, x[split.test], correct, pool, seed)
    return NetworkFits(
        p,
        pd.DataFrame(choices),
        pd.DataFrame(members),
        pd.concat(history, ignore_index=True) if history else pd.DataFrame(),
    )


def _member_aucs(
    fitted: Fitted, x: np.ndarray, correct: np.ndarray, pool: str, seed: int
) -> list[dict]:
    return [
        {"pool": pool, "seed": seed, "target": target, "value": auc}
        for p in fitted.head.member_proba(x)
        for target, auc in zip(fitted.targets, rank_auc(p, correct), strict=True)
    ]


def networks_over_seeds(
    methods: Sequence[str],
    splits: Mapping[int, Split],
    queries: LabelledQueries,
    pools: Mapping[str, Sequence[str]],
    layers: pd.DataFrame,
    settings: FitSettings,
) -> dict[int, NetworkFits]:
    """`fit_networks` of every split: each method is a job of its own, so that all cores are busy to
    the end.

    ``methods`` that are no networks are passed over; ``layers`` is the layer table of all splits,
    with their ``seed``.
    """
    methods = [method for method in NETWORKS if method in methods]
    jobs = {
        (seed, method): (
            fit_networks,
            method,
            seed,
            split,
            queries,
            pools,
            layers[layers["seed"] == seed].drop(columns="seed"),
            settings,
        )
        for method in methods
        for seed, split in splits.items()
    }
    found = side_by_side(jobs, settings.device, "{0[1]}, split seed {0[0]} done")

    def table(seed: int, name: str) -> pd.DataFrame:
        return pd.concat(
            [getattr(found[seed, method], name) for method in methods], ignore_index=True
        )

    return {
        seed: NetworkFits(
            {
                pool: {m: p for method in methods for m, p in found[seed, method].p[pool].items()}
                for pool in pools
            },
            *(table(seed, name) for name in ("choices", "members", "history")),
        )
        for seed in splits
    }


@dataclass(frozen=True)
class KernelFits:
    """What `kernels_over_seeds` made.

    Attributes
    ----------
    p : dict of method to dict of seed to ndarray [n, K]
        P(correct) of all queries: `ours`, with several encoders also `ours` on each of them alone
        (`names.OnEncoder`), `ours_views` where asked for, `shuffled_labels`.
    reads : dict of method to list of str
        The encoders that a method was offered, and is charged for.
    encoders : DataFrame[seed, method, encoders, cv_error, used]
    components : DataFrame[seed, component, ridge, r2]
    """

    p: dict[MethodKey, dict[int, np.ndarray]]
    reads: dict[MethodKey, list[str]]
    encoders: pd.DataFrame
    components: pd.DataFrame


def _subsets(seed: int, method: str, head: KernelRouter) -> list[dict]:
    """The cross-validated error of every subset of what a kernel router may read."""
    return [
        {"seed": seed, "method": method, "encoders": together(s)}
        | {"cv_error": e, "used": s == head.encoders_used}
        for s, e in head.cv_error.items()
    ]


def kernels_over_seeds(
    splits: Mapping[int, Split], queries: LabelledQueries, control: str, views: bool = False
) -> KernelFits:
    """The kernel router on all encoders, on each alone, and on labels of other queries: a control.

    Where there are few enough rows for one, a kernel per encoder and split serves all of them. They
    learn from all targets' outcomes; the control reads the encoder of that name. With ``views``,
    `ours_views` chooses by cross-validation among the bands of layers of that encoder
    (`gram.VIEWS`, and the upper ones that ours reads) as ours chooses among encoders.
    """
    states = {name: states_of(store, queries.query_ids) for name, store in queries.stores.items()}
    several = list(states) if len(states) > 1 else []
    reads: dict[MethodKey, list[str]] = {"ours": list(states)}
    reads |= {OnEncoder("ours", name): [name] for name in several}
    bands: list[str] = []
    if views:
        for band in VIEWS:
            read = partial(read_view, band=band)
            states[f"{control}, {band} layers"] = states_of(
                queries.stores[control], queries.query_ids, read
            )
        bands = [control, *(f"{control}, {band} layers" for band in VIEWS)]
        reads["ours_views"] = bands
    reads["shuffled_labels"] = [control]
    p: dict[MethodKey, dict[int, np.ndarray]] = {method: {} for method in reads}
    encoders, components = [], []
    for seed, split in splits.items():
        train = queries.rows(split.train)
        inputs = {name: kernel_inputs(x, split.train) for name, x in states.items()}
        of_train = {name: found.train for name, found in inputs.items()}
        of_all = {name: found.all for name, found in inputs.items()}
        exact = inputs[control].precomputed
        fitted = {
            method: fit_kernel({name: of_train[name] for name in names}, train, seed, exact)
            for method, names in reads.items()
            if method != "shuffled_labels"
        }
        for method, fit in fitted.items():
            p[method][seed] = fit.predict(of_all)
        shuffled = ShuffledRouter(KernelRouter(seed=seed, precomputed=exact), seed=seed)
        shuffled.fit(of_train[control], train.correct, train.groups)
        p["shuffled_labels"][seed] = shuffled.predict_proba(of_all[control])
        head = fitted["ours"].head
        for method in ("ours", *(["ours_views"] if views else [])):
            encoders += _subsets(seed, method, fitted[method].head)
        components += [
            {"seed": seed, "component": c, "ridge": ridge, "r2": r2}
            for c, (ridge, r2) in enumerate(zip(head.ridges_used, head.r2_, strict=True), start=1)
        ]
        print(f"split seed {seed}: ours reads {' + '.join(head.encoders_used)}", flush=True)
    if views:  # bands are of one encoder, which is charged once
        reads["ours_views"] = [control]
    return KernelFits(p, reads, pd.DataFrame(encoders), pd.DataFrame(components))
