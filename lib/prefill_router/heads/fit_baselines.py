"""Semantic baselines and controls, fitted on one split seed or on all of them side by side."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.heads.avengers_pro import AvengersProRouter
from prefill_router.heads.baselines import KNNRouter, LogisticRouter, MLPRouter, TfidfRouter
from prefill_router.heads.categories import CategoryResidualRouter, PredictedCategoryRouter
from prefill_router.heads.controls import GroupMeanRouter, PromptLengthRouter, RandomRouter
from prefill_router.heads.fit import FitSettings
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.latent import IRTRouter, MatrixFactorisationRouter
from prefill_router.heads.names import CONTROLS
from prefill_router.heads.parallel import side_by_side
from prefill_router.heads.semantic import ClusterRouter, GradientBoostingRouter, random_features

SEMANTIC: dict[str, Callable[..., Any]] = {
    "knn": KNNRouter,
    "logistic": LogisticRouter,
    "mlp": MLPRouter,
    "boosting": GradientBoostingRouter,
    "factorisation": MatrixFactorisationRouter,
    "clusters": ClusterRouter,
    "irt": IRTRouter,
    "kernel": KernelRouter,
    "avengers_pro": AvengersProRouter,
    "predicted_category": PredictedCategoryRouter,
    "category_residual": CategoryResidualRouter,
}
# whose `fit` takes the categories of the training rows
NEED_CATEGORIES = ("predicted_category", "category_residual")


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


def baselines_over_seeds(
    splits: Mapping[int, Split],
    settings: FitSettings,
    outcomes: Outcomes,
    tokens: np.ndarray,
    embeddings: Mapping[str, np.ndarray],
) -> dict[int, dict[str, BaselineFit]]:
    """Every baseline of ``settings.baselines`` on every split, by seed and method: the controls and
    each sentence encoder are jobs of their own, so that all cores are busy to the end.

    Parameters
    ----------
    tokens : int ndarray [n]
        Length of each prompt.
    embeddings : sentence encoder to float32 ndarray [n, d]
        Each is read by all routers of `SEMANTIC` that the settings name.
    """
    ends = short_names(embeddings)
    jobs: dict[tuple[int, str], tuple] = {
        (seed, name): (fit_semantic, seed, split, settings, outcomes, (name, ends[name], x))
        for name, x in reversed(list(embeddings.items()))
        for seed, split in splits.items()
    }
    jobs |= {
        (seed, "controls"): (fit_controls, seed, split, outcomes, tokens, settings.baselines)
        for seed, split in splits.items()
    }
    found = side_by_side(jobs, settings.device, "{0[1]}, split seed {0[0]} done")
    return {
        seed: {
            method: fit
            for part in ("controls", *embeddings)
            for method, fit in found[seed, part].items()
        }
        for seed in splits
    }


@dataclass(frozen=True)
class BaselineFit:
    """A baseline on one split.

    Attributes
    ----------
    p : ndarray [n, K]
        P(correct) of all queries.
    read : str
        The sentence encoder, or "".
    seconds : float
    chosen : number or ""
        The hyper-parameter.
    """

    p: np.ndarray
    read: str
    seconds: float
    chosen: Any


def fit_controls(
    seed: int, split: Split, outcomes: Outcomes, tokens: np.ndarray, names: Sequence[str] = CONTROLS
) -> dict[str, BaselineFit]:
    """Those of ``names`` that read no embedding, fitted on one split and the outcomes of all
    targets.
    """
    prompts = np.array(outcomes.prompts, dtype=object)
    routers: dict[str, tuple[Any, Any]] = {
        "random": (RandomRouter(seed), tokens),
        "prompt_length": (PromptLengthRouter(), tokens),
        "benchmark_mean": (GroupMeanRouter(), outcomes.queries["category"].to_numpy()),
        "tfidf": (TfidfRouter(seed=seed), prompts),
        "random_features": (
            LogisticRouter(seed=seed, folds=3),
            random_features(outcomes.n, 64, seed),
        ),
    }
    return {
        name: _fit(router, x, split, outcomes)
        for name, (router, x) in routers.items()
        if name in names
    }


def fit_semantic(
    seed: int,
    split: Split,
    settings: FitSettings,
    outcomes: Outcomes,
    embedding: tuple[str, str, np.ndarray],
) -> dict[str, BaselineFit]:
    """The routers of `SEMANTIC` that the settings name on one sentence encoder, on one split and
    all targets.

    ``embedding`` is the encoder's name, the end of its methods' names, and float32 [n, d].
    """
    encoder, end, x = embedding
    found = {}
    for name, kind in SEMANTIC.items():
        if name not in settings.baselines:
            continue
        options = (
            {"config": settings.network, "device": settings.device}
            if name == "mlp"
            else {"folds": 3}
        )
        told = name in NEED_CATEGORIES
        router = kind(seed=seed, **options)
        found[f"{name}_{end}"] = _fit(router, x, split, outcomes, encoder, told)
    return found


def _fit(
    router: Any, x: Any, split: Split, outcomes: Outcomes, read: str = "", told: bool = False
) -> BaselineFit:
    train, groups = split.train, outcomes.queries["group"].to_numpy()
    more = {"categories": outcomes.queries["category"].to_numpy()[train]} if told else {}
    started = time.perf_counter()
    router.fit(x[train], outcomes.correct[train], groups=groups[train], **more)
    p = router.predict_proba(x)
    known = (a for a in ("C_", "k_", "clusters_", "dim_", "leaves_") if hasattr(router, a))
    chosen = next((getattr(router, a) for a in known), "")
    return BaselineFit(p, read, time.perf_counter() - started, chosen)
