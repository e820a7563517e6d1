"""What the notebooks fit for one split seed, and several seeds and methods side by side.

Every fit runs with one thread, and jobs run in as many processes as there are cores: small matrices
gain nothing from threads, and the numbers do not depend on the number of cores.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.encode.store import ActivationStore
from prefill_router.features.choice import choose_components, choose_layers
from prefill_router.features.layer_mean import choose_layer_mean
from prefill_router.features.logistic import rank_auc
from prefill_router.features.pipeline import FeaturePipeline, SharedBlock
from prefill_router.heads.adapter import AdapterEnsemble, adapter_config
from prefill_router.heads.baselines import KNNRouter, LogisticRouter, MLPRouter, TfidfRouter
from prefill_router.heads.controls import GroupMeanRouter, PromptLengthRouter, RandomRouter
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.latent import IRTRouter, MatrixFactorisationRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.parallel import side_by_side
from prefill_router.heads.semantic import ClusterRouter, GradientBoostingRouter, random_features
from prefill_router.heads.trunk import TrunkEnsemble

SEMANTIC: dict[str, Callable[..., Any]] = {
    "knn": KNNRouter,
    "logistic": LogisticRouter,
    "mlp": MLPRouter,
    "boosting": GradientBoostingRouter,
    "factorisation": MatrixFactorisationRouter,
    "clusters": ClusterRouter,
    "irt": IRTRouter,
    "kernel": KernelRouter,
}


class FitSettings(Protocol):
    """What of a profile decides how methods are trained; `run.profile.Profile` is one."""

    methods: Sequence[str]
    ensemble: Mapping[str, Any]
    component_sizes: Sequence[int]
    folds: int
    layer_choice: str


TRUNKS = ("paper", "paper_auc", "shared_block", "adapter_trunk")


def short_name(sentence_encoder: str) -> str:
    """The part of a sentence encoder's name that names of methods end in: minilm, mpnet, or the
    name without its owner.
    """
    name = sentence_encoder.rstrip("/").split("/")[-1].lower()
    return next((known for known in ("minilm", "mpnet") if known in name), name)


def short_names(sentence_encoders: Iterable[str]) -> dict[str, str]:
    """`short_name` of each sentence encoder; where two share one, the whole name of each, so that
    no method hides another.
    """
    short = {name: short_name(name) for name in sentence_encoders}
    often = Counter(short.values())
    return {name: name if often[s] > 1 else s for name, s in short.items()}


@dataclass(frozen=True)
class TrunkFits:
    """What `fit_trunks` made of one split seed.

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


def fit_trunks(
    seed: int,
    split: Split,
    profile: FitSettings,
    folder: str,
    outcomes: Outcomes,
    pools: Mapping[str, Outcomes],
    layers: pd.DataFrame,
    device: str,
    methods: Sequence[str],
) -> TrunkFits:
    """Train SharedTrunkNet ensembles on one split: layers by J (`paper`), by probe AUC
    (`paper_auc`), all layers (`shared_block`); and `adapter_trunk`.

    Parameters
    ----------
    profile : their settings.
    folder : of the encoder's `ActivationStore`.
    outcomes : n queries, the targets of all pools. Layer and number of components of a target do
    not depend on the pool.
    pools : pool name to the same queries with the pool's targets.
    layers : `probes.layer_profile` on this split's training rows.
    methods : which of `TRUNKS` to train.
    """
    store, train, config = ActivationStore(folder), split.train, TrunkConfig(**profile.ensemble)
    query_ids, groups = (
        outcomes.queries["query_id"].to_numpy(),
        outcomes.queries["group"].to_numpy(),
    )
    p: dict[str, dict[str, np.ndarray]] = {pool: {} for pool in pools}
    choices, members, history = [], [], []
    for method, by in (("paper", profile.layer_choice), ("paper_auc", "probe_auc")):
        if method not in methods:
            continue
        chosen = choose_layers(layers, by)
        sizes = choose_components(
            store,
            query_ids[train],
            outcomes.correct[train],
            groups[train],
            {t: chosen[t] for t in outcomes.target_names},
            profile.component_sizes,
            profile.folds,
            seed,
        )
        for pool, o in pools.items():
            of_pool = [next(c for c in sizes if c.target == t) for t in o.target_names]
            x = FeaturePipeline(of_pool).fit(store, query_ids[train]).transform(store, query_ids)
            ensemble = TrunkEnsemble(config, seed=seed, device=device).fit(
                x[train], o.correct[train], groups[train]
            )
            p[pool][method] = ensemble.predict_proba(x)
            choices += [{"pool": pool, "method": method, "seed": seed, **vars(c)} for c in of_pool]
            if method == "paper":
                history.append(ensemble.history.assign(pool=pool, seed=seed))
                for m in ensemble.member_proba(x[split.test]):
                    members += [
                        {"pool": pool, "seed": seed, "target": t, "value": a}
                        for t, a in zip(
                            o.target_names, rank_auc(m, o.correct[split.test]), strict=True
                        )
                    ]
    if "shared_block" in methods:
        x = SharedBlock().fit(store, query_ids[train]).transform(store, query_ids)
        for pool, o in pools.items():
            p[pool]["shared_block"] = (
                TrunkEnsemble(config, seed=seed, device=device)
                .fit(x[train], o.correct[train], groups[train])
                .predict_proba(x)
            )
    if "adapter_trunk" in methods:
        block = choose_layer_mean(
            store,
            query_ids[train],
            outcomes.correct[train],
            groups[train],
            layers,
            profile.component_sizes,
            profile.folds,
            seed,
        )
        x = block.fit(store, query_ids[train]).transform(store, query_ids)
        for pool, o in pools.items():
            p[pool]["adapter_trunk"] = (
                AdapterEnsemble(adapter_config(config), seed=seed, device=device)
                .fit(x[train], o.correct[train], groups[train])
                .predict_proba(x)
            )
    return TrunkFits(
        p,
        pd.DataFrame(choices),
        pd.DataFrame(members),
        pd.concat(history, ignore_index=True) if history else pd.DataFrame(),
    )


def trunks_over_seeds(
    splits: Mapping[int, Split],
    profile: FitSettings,
    folder: str,
    outcomes: Outcomes,
    pools: Mapping[str, Outcomes],
    layers: pd.DataFrame,
    device: str,
) -> dict[int, TrunkFits]:
    """`fit_trunks` of every split: each method is a job of its own, so that all cores are busy to
    the end.

    `layers` is `probes.layer_profile` of all splits, with their `seed`.
    """
    methods = [method for method in TRUNKS if method in profile.methods]
    jobs = {
        (seed, method): (
            fit_trunks,
            seed,
            split,
            profile,
            folder,
            outcomes,
            pools,
            layers[layers["seed"] == seed].drop(columns="seed"),
            device,
            (method,),
        )
        for method in methods
        for seed, split in splits.items()
    }
    found = side_by_side(jobs, device, "{0[1]}, split seed {0[0]} done")

    def table(seed: int, name: str) -> pd.DataFrame:
        return pd.concat(
            [getattr(found[seed, method], name) for method in methods], ignore_index=True
        )

    return {
        seed: TrunkFits(
            {
                pool: {m: p for method in methods for m, p in found[seed, method].p[pool].items()}
                for pool in pools
            },
            *(table(seed, name) for name in ("choices", "members", "history")),
        )
        for seed in splits
    }


def baselines_over_seeds(
    splits: Mapping[int, Split],
    profile: FitSettings,
    outcomes: Outcomes,
    tokens: np.ndarray,
    embeddings: Mapping[str, np.ndarray],
    device: str,
) -> dict[int, dict[str, dict]]:
    """`fit_baselines` of every split: controls and each sentence encoder are jobs of their own, so
    that all cores are busy to the end.
    """
    parts: list[dict[str, np.ndarray]] = [{}, *({name: x} for name, x in embeddings.items())]
    names = short_names(embeddings)
    jobs = {
        (seed, ", ".join(part) or "controls"): (
            fit_baselines,
            seed,
            split,
            profile,
            outcomes,
            tokens,
            part,
            device,
            not part,
            names,
        )
        for part in reversed(parts)
        for seed, split in splits.items()
    }
    found = side_by_side(jobs, device, "{0[1]}, split seed {0[0]} done")
    return {
        seed: {
            name: fit
            for part in parts
            for name, fit in found[seed, ", ".join(part) or "controls"].items()
        }
        for seed in splits
    }


def fit_baselines(
    seed: int,
    split: Split,
    profile: FitSettings,
    outcomes: Outcomes,
    tokens: np.ndarray,
    embeddings: Mapping[str, np.ndarray],
    device: str,
    controls: bool = True,
    names: Mapping[str, str] | None = None,
) -> dict[str, dict]:
    """Fit every semantic baseline and control on one split, on the outcomes of all targets.

    Parameters
    ----------
    tokens : int ndarray [n]
        Length of each prompt.
    embeddings : sentence encoder to float32 ndarray [n, d]
        Each is read by all routers of `SEMANTIC`.
    controls : bool
        Whether to fit what reads no embedding.
    names : sentence encoder to the end of its methods' names, optional
        `short_names` of `embeddings` by default.

    Returns
    -------
    dict of method to dict
        ``p`` (ndarray [n, K]), ``read`` (the sentence encoder, or ""), ``seconds``, ``chosen`` (the
        hyper-parameter, or "").
    """
    n, prompts = outcomes.n, np.array(outcomes.prompts, dtype=object)
    groups, y, train = outcomes.queries["group"].to_numpy(), outcomes.correct, split.train
    routers: dict[str, tuple[Any, Any, str]] = (
        {}
        if not controls
        else {
            "random": (RandomRouter(seed), tokens, ""),
            "prompt_length": (PromptLengthRouter(), tokens, ""),
            "benchmark_mean": (GroupMeanRouter(), outcomes.queries["category"].to_numpy(), ""),
            "tfidf": (TfidfRouter(seed=seed), prompts, ""),
            "random_features": (
                LogisticRouter(seed=seed, folds=3),
                random_features(n, 64, seed),
                "",
            ),
        }
    )
    names = short_names(embeddings) if names is None else names
    for encoder, x in embeddings.items():
        for name, kind in SEMANTIC.items():
            options = (
                {"config": TrunkConfig(**profile.ensemble), "device": device}
                if name == "mlp"
                else {"folds": 3}
            )
            routers[f"{name}_{names[encoder]}"] = (kind(seed=seed, **options), x, encoder)
    found = {}
    for name, (router, x, read) in routers.items():
        started = time.perf_counter()
        router.fit(x[train], y[train], groups=groups[train])
        p = router.predict_proba(x)
        chosen = next(
            (
                getattr(router, a)
                for a in ("C_", "k_", "clusters_", "dim_", "leaves_")
                if hasattr(router, a)
            ),
            "",
        )
        found[name] = {
            "p": p,
            "read": read,
            "seconds": time.perf_counter() - started,
            "chosen": chosen,
        }
    return found
