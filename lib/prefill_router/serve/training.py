"""How a router is trained: what `Router.fit` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from prefill_router.data.costs import cost_lines
from prefill_router.data.outcomes import Outcomes, check_trainable
from prefill_router.data.texts import tidy
from prefill_router.encode.store import ActivationStore
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.fit import METHODS, FitSettings, fit_method
from prefill_router.heads.kernel import KernelRouter
from prefill_router.serve.attached import note_of
from prefill_router.serve.planned import plans_of
from prefill_router.serve.routed import (
    RouterError,
    asked_targets,
    routable,
    routed_targets,
    tokens_of,
)
from prefill_router.serve.saved import RouterParts


def trained(
    outcomes: Outcomes,
    stores: ActivationStore | Mapping[str, ActivationStore],
    rows: np.ndarray | None,
    method: str,
    settings: FitSettings | None,
    seed: int,
    targets: Sequence[str] | None,
    plan: bool,
) -> RouterParts:
    """A router's parts.

    Notes
    -----
    The eight parameters are those of `Router.fit`.
    """
    settings = settings or FitSettings()
    if method not in METHODS:
        raise RouterError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    rows = np.arange(outcomes.n) if rows is None else np.asarray(rows)
    pool = routable(outcomes if targets is None else outcomes.pool(list(targets)))
    check_trainable(pool.correct[rows], pool.target_names)
    cost_lines(pool, rows)  # what has no cost is told before the training
    stores = dict(stores) if isinstance(stores, Mapping) else {stores.encoder_name: stores}
    names = pool.target_names
    # other targets help the kernel router to tell difficulty apart, if they were asked
    learnt = asked_targets(outcomes, rows) if method == "ours" else names
    queries = LabelledQueries.of(stores, outcomes).rows(rows).of_targets(learnt)
    fitted = fit_method(method, queries, settings, seed)
    if learnt != names:
        fitted = fitted.of_targets(names)
    tokens = tokens_of(stores[fitted.encoders[0]], queries.query_ids)
    notes = [note_of(stores[name]) for name in fitted.encoders]
    routed = routed_targets(pool, rows, tokens)
    given = (fitted, queries, pool.correct[rows], routed, tokens, settings)
    plans = plans_of(*given, seed).as_json() if plan else None
    if isinstance(fitted.head, KernelRouter):
        fitted = replace(fitted, head=fitted.head.compact(settings.router_bytes))
    # one prompt with space around it is enough: it was read with that space
    tidied = all(tidy(prompt) == prompt for prompt in outcomes.queries["prompt"].iloc[rows])
    return RouterParts(fitted, routed, outcomes.cost_unit, len(rows), notes, plans, tidied)
