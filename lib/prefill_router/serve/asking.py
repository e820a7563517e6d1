"""Reading prompts for a router: their tokens, the vectors of many in memory, and P(correct) in the
batches that extraction makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from prefill_router.encode.network import Encoder
from prefill_router.encode.prefill import ActivationError, Prefill, batch_tokens_of, batches, listed
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.sources import EncoderError
from prefill_router.hardware import on_every_core, torch_threads


class Vectors:
    """What heads and features read of an activation store, for queries whose vectors are in memory.

    Parameters
    ----------
    vectors : dict of pooling to float32 ndarray [L + 1, n, d]
        As :class:`prefill_router.encode.prefill.Prefill` gives them.
    query_ids : n strings
    """

    def __init__(self, vectors: Mapping[str, np.ndarray], query_ids: Sequence[str]) -> None:
        self._vectors, self._row = (
            vectors,
            {query_id: row for row, query_id in enumerate(query_ids)},
        )
        layers, _, self.hidden_size = next(iter(vectors.values())).shape
        self.n_layers = layers - 1

    def read(self, layer: int, pooling: str, query_ids: Sequence[str]) -> np.ndarray:
        """Vectors of one layer and pooling: float32 [m, d], in the order of ``query_ids``."""
        return self._vectors[pooling][layer][[self._row[query_id] for query_id in query_ids]]


def read_prompts(
    encoder: Encoder, prompts: Mapping[str, Any], on_error: str
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Token ids of named prompts, and what is wrong with those that cannot be read.

    Raises
    ------
    EncoderError
        If ``on_error`` is "raise" and a prompt cannot be read; all of them are named.
    """
    token_ids: dict[str, list[int]] = {}
    reasons: dict[str, str] = {}
    for name, prompt in prompts.items():
        try:
            if not isinstance(prompt, str):
                raise EncoderError(
                    f"The prompt is no text but {type(prompt).__name__}: {prompt!r:.60}."
                )
            token_ids[name] = render_prompt(encoder, prompt)
        except EncoderError as error:
            reasons[name] = str(error)
        # A template or a tokenizer raises whatever it stumbles over, say at half a surrogate pair.
        except Exception as error:
            reasons[name] = f"The prompt cannot be rendered ({type(error).__name__}: {error})."
    if reasons and on_error == "raise":
        first = next(iter(reasons.values()))
        raise EncoderError(
            first
            if len(prompts) == 1 and "" in prompts
            else f"{encoder.name} cannot read {listed(list(reasons))}. The first: {first}"
        )
    return token_ids, reasons


def probabilities(
    prefill: Prefill,
    token_ids: Mapping[str, Sequence[int]],
    predict: Callable[[Vectors, Sequence[str]], np.ndarray],
    on_error: str,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """P(correct) [K] of prompts by name, batched as extraction batches them; and why some have
    none.

    Prompts of like length share a forward pass, so that little is padded; on a CPU every core takes
    batches of its own, and a prompt that comes alone takes one thread (`hardware.torch_threads`
    says why).

    Raises
    ------
    ActivationError
        If ``on_error`` is "raise" and there is too little memory for a prompt, or its states are
        not finite.
    """
    reasons: dict[str, str] = {}
    device = prefill.encoder.device
    order = sorted(token_ids, key=lambda name: -len(token_ids[name]))
    plan = [
        [order[i] for i in batch]
        for batch in batches([len(token_ids[name]) for name in order], batch_tokens_of(device))
    ]
    score = partial(_scored, prefill, token_ids, predict, None if on_error == "raise" else reasons)
    if len(plan) == 1:
        with torch_threads(1):
            return dict(score(plan[0])), reasons
    return {
        name: p
        for found in on_every_core(score, ((names,) for names in plan), device)
        for name, p in found
    }, reasons


def _scored(
    prefill: Prefill,
    token_ids: Mapping[str, Sequence[int]],
    predict: Callable,
    reasons: dict[str, str] | None,
    names: Sequence[str],
) -> list[tuple[str, np.ndarray]]:
    """P(correct) of a batch by name; a prompt that has none is noted among the reasons, if these
    are given.
    """
    try:
        vectors = prefill([token_ids[name] for name in names], names)
    except ActivationError as error:
        if reasons is None:
            raise
        if len(names) > 1:  # one of them is to blame
            return [
                pair
                for name in names
                for pair in _scored(prefill, token_ids, predict, reasons, [name])
            ]
        reasons[names[0]] = str(error)
        return []
    return list(zip(names, predict(Vectors(vectors, names), names), strict=True))
