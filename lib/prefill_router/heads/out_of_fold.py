"""P(correct) of labelled queries by routers that did not train on them: what plans are chosen on.

The kernel router has it from the cross-validation that chooses its ridges, at no cost. Any other
method is trained again for each fold: a network with the layers that were chosen for the whole, a
baseline with hyper-parameters that are chosen anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, group_folds
from prefill_router.features.choice import FeatureChoice
from prefill_router.features.pipeline import FeaturePipeline
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.baselines import TfidfRouter
from prefill_router.heads.categories import PredictedCategoryRouter
from prefill_router.heads.fit import FitSettings, Fitted, fit_method, fit_network
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.parallel import side_by_side

FOLDS = 3  # as many as the kernel router's cross-validation has


@dataclass(frozen=True, eq=False)
class CrossFit:
    """A method on the labelled queries of one split: those outside its test part.

    Attributes
    ----------
    rows : int ndarray [m]
        Positions of queries with an out-of-fold P among all n; all labelled ones, or a sample.
    held_out : ndarray [m, K]
        Their out-of-fold P(correct).
    p : ndarray [n, K]
        P(correct) of all queries by the router that is trained on all labelled ones.
    """

    rows: np.ndarray
    held_out: np.ndarray
    p: np.ndarray

    def of_columns(self, columns: Sequence[int]) -> CrossFit:
        """The same for these targets alone."""
        return replace(self, held_out=self.held_out[:, columns], p=self.p[:, columns])


def by_refits(
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray], groups: np.ndarray, seed: int
) -> np.ndarray:
    """Out-of-fold P(correct) [m, K] of m labelled rows.

    Parameters
    ----------
    predict : callable
        From positions of training rows and of rows asked about to P(correct) of the latter.
    groups : m labels
        Whole groups are in one of the ``FOLDS`` folds.
    seed : int
    """
    fold = group_folds(groups, FOLDS, seed)
    parts = [np.flatnonzero(fold == f) for f in range(FOLDS)]
    found = [predict(np.flatnonzero(fold != f), at) for f, at in enumerate(parts)]
    p = np.empty((len(fold), found[0].shape[1]))
    for at, of_part in zip(parts, found, strict=True):
        p[at] = of_part
    return p


def out_of_fold(
    fitted: Fitted, queries: LabelledQueries, settings: FitSettings, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold P(correct) of the queries that a method was trained on.

    Parameters
    ----------
    fitted : Fitted
        As `heads.fit.fit_method` made it from ``queries``, not loaded from a file.
    queries, settings, seed
        Those of its training.

    Returns
    -------
    rows : int ndarray [m]
        Positions in ``queries``.
    p : ndarray [m, K]
    """
    if isinstance(fitted.head, KernelRouter):
        return fitted.head.cv_rows_used, fitted.head.cv_proba
    of_targets = queries.of_targets(fitted.targets)

    def predict(train: np.ndarray, asked: np.ndarray) -> np.ndarray:
        part = of_targets.rows(train)
        features = deepcopy(fitted.features).fit(part.store, part.query_ids)
        x = features.transform(part.store, part.query_ids)
        again = fit_network(fitted.method, features, x, part, settings, seed)
        return again.predict_proba(part.stores, queries.query_ids[asked])

    return np.arange(len(queries.query_ids)), by_refits(predict, queries.groups, seed)


def cross_fit_ours(seed: int, labelled: np.ndarray, queries: LabelledQueries) -> CrossFit:
    """The kernel router on labelled rows of all targets."""
    part = queries.rows(labelled)
    fitted = fit_method("ours", part, FitSettings(), seed)
    rows, held_out = out_of_fold(fitted, part, FitSettings(), seed)
    return CrossFit(
        labelled[rows], held_out, fitted.predict_proba(queries.stores, queries.query_ids)
    )


def cross_fit_network(
    method: str,
    seed: int,
    labelled: np.ndarray,
    queries: LabelledQueries,
    choices: Sequence[FeatureChoice],
    settings: FitSettings,
) -> CrossFit:
    """A network on labelled rows of the targets of one pool, with the layers and components that
    were chosen for them on training rows.
    """
    part = queries.rows(labelled)
    features = FeaturePipeline(choices).fit(part.store, part.query_ids)
    x = features.transform(queries.store, queries.query_ids)
    fitted = fit_network(method, features, x[labelled], part, settings, seed)
    rows, held_out = out_of_fold(fitted, part, settings, seed)
    return CrossFit(labelled[rows], held_out, fitted.predict({queries.encoder: x}))


def cross_fit_baseline(
    text: TextRouter, seed: int, labelled: np.ndarray, outcomes: Outcomes
) -> CrossFit:
    """A baseline on labelled rows and the outcomes of all targets."""
    groups = outcomes.queries["group"].to_numpy()
    categories = outcomes.queries["category"].to_numpy()

    def fitted(rows: np.ndarray) -> Any:
        more = {"categories": categories[rows]} if text.told else {}
        router = text.kind(seed=seed, folds=3)
        return router.fit(text.x[rows], outcomes.correct[rows], groups=groups[rows], **more)

    whole = fitted(labelled)
    if isinstance(whole, KernelRouter):
        return CrossFit(labelled[whole.cv_rows_used], whole.cv_proba, whole.predict_proba(text.x))

    def predict(train: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return fitted(labelled[train]).predict_proba(text.x[labelled[asked]])

    return CrossFit(
        labelled, by_refits(predict, groups[labelled], seed), whole.predict_proba(text.x)
    )


class TextRouter(NamedTuple):
    """A baseline that plans are made for.

    Attributes
    ----------
    kind : class of the router
    x : ndarray [n, d], or n texts
        What it reads of all queries.
    told : bool
        Its ``fit`` takes the categories of the training rows.
    encoder : str
        The sentence encoder, or "".
    """

    kind: Callable[..., Any]
    x: np.ndarray
    told: bool
    encoder: str


def text_routers(
    prompts: Sequence[str], embeddings: Mapping[str, np.ndarray], ends: Mapping[str, str]
) -> dict[str, TextRouter]:
    """By name: a kernel router on every sentence encoder, TF-IDF, and the category predicted from
    the first; ``ends`` are the ends of the names.
    """
    first = next(iter(embeddings))
    found = {
        f"kernel_{ends[name]}": TextRouter(KernelRouter, x, False, name)
        for name, x in embeddings.items()
    }
    found["tfidf"] = TextRouter(TfidfRouter, np.array(prompts, dtype=object), False, "")
    found[f"predicted_category_{ends[first]}"] = TextRouter(
        PredictedCategoryRouter, embeddings[first], True, first
    )
    return found


def cross_fits_over_seeds(
    splits: Mapping[int, Split],
    prefill: LabelledQueries,
    pools: Mapping[str, LabelledQueries],
    choices: Mapping[tuple[str, int], Sequence[FeatureChoice]],
    texts: Mapping[str, TextRouter],
    outcomes: Outcomes,
    settings: FitSettings,
) -> dict[tuple[str, str, int], CrossFit]:
    """Ours, the paper's network and text routers on every split, jobs side by side.

    Parameters
    ----------
    splits : by seed
    prefill : all queries and targets, read by all encoders
    pools : all queries and the targets of each pool, read by the first encoder
    choices : layers of the paper's network by pool and seed
    texts : of :func:`text_routers`
    outcomes : of all queries and targets
    settings : of the networks
        Seven parameters, as many as there are sources.

    Returns
    -------
    dict of (pool, method, seed) to CrossFit
    """
    labelled = {
        seed: np.sort(np.concatenate([split.train, split.calibration]))
        for seed, split in splits.items()
    }
    jobs: dict[tuple[str, str, int], tuple] = {}
    for seed, rows in labelled.items():
        for pool, queries in pools.items():
            chosen = choices[pool, seed]
            jobs[pool, "paper", seed] = (
                cross_fit_network, "paper", seed, rows, queries, chosen, settings,
            )  # fmt: skip
        for name, text in texts.items():
            jobs["", name, seed] = (cross_fit_baseline, text, seed, rows, outcomes)
        jobs["", "ours", seed] = (cross_fit_ours, seed, rows, prefill)
    done = side_by_side(jobs, settings.device, "{0[1]} {0[0]}, split seed {0[2]} done")
    found = {}
    for (pool, method, seed), fit in done.items():
        if pool:
            found[pool, method, seed] = fit
            continue
        for name, queries in pools.items():
            columns = [outcomes.target_names.index(target) for target in queries.targets]
            found[name, method, seed] = fit.of_columns(columns)
    return found
