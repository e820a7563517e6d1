"""Reading prompts for a router: their tokens, the vectors of many in memory, P(correct) in the
batches that extraction makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from prefill_router.data.texts import tidy
from prefill_router.encode.network import Encoder
from prefill_router.encode.pooling import ActivationError, layers_of
from prefill_router.encode.prefill import Prefill, batch_tokens_of, batches, listed
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.sources import EncoderError
from prefill_router.hardware import on_every_core, torch_threads
from prefill_router.heads.fit import Fitted
from prefill_router.serve.attached import Attached
from prefill_router.serve.routed import RouterError


class Vectors:
    """What heads and features read of an activation store, for queries whose vectors are in memory.

    Parameters
    ----------
    vectors : dict of pooling to float32 ndarray [layers, n, d]
        As :class:`prefill_router.encode.prefill.Prefill` gives them.
    query_ids : n strings
    layers : sequence of int, optional
        Those of the vectors; default: all, 0 to L.
    n_layers : int, optional
        L; default: as many as there are vectors, less one.
    """

    def __init__(
        self,
        vectors: Mapping[str, np.ndarray],
        query_ids: Sequence[str] | np.ndarray,
        layers: Sequence[int] | None = None,
        n_layers: int | None = None,
    ) -> None:
        self._vectors, self._row = (
            vectors,
            {query_id: row for row, query_id in enumerate(query_ids)},
        )
        count, _, self.hidden_size = next(iter(vectors.values())).shape
        self.n_layers = count - 1 if n_layers is None else n_layers
        self._place = {layer: place for place, layer in enumerate(layers or range(count))}

    def read(self, layer: int, pooling: str, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Vectors of one layer and pooling: float32 [m, d], in the order of ``query_ids``."""
        return self._vectors[pooling][self._place[layer]][
            [self._row[query_id] for query_id in query_ids]
        ]


def ask(
    reads: Mapping[str, Attached],
    prompts: Mapping[str, Any],
    fitted: Fitted,
    on_error: str,
    tidied: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, int], dict[str, str]]:
    """P(correct) and familiarity [K + 1] and tokens of the first encoder of named prompts that can
    be read, and what is wrong with the others. Errors: those of `read_prompts` and `in_batches`.

    ``tidied``: prompts are read as `texts.tidy` has them, as those of the training were.
    """
    if tidied:
        prompts = {name: tidy(p) if isinstance(p, str) else p for name, p in prompts.items()}
    encoders = {name: attached.encoder for name, attached in reads.items()}
    token_ids, reasons = read_prompts(encoders, prompts, on_error)
    prefills = {name: attached.prefill for name, attached in reads.items()}
    p, more = probabilities(prefills, token_ids, fitted, on_error)
    tokens = {name: len(ids) for name, ids in next(iter(token_ids.values())).items()}
    return p, tokens, reasons | more


def named_prompts(prompts: Any) -> dict[str, Any]:
    """One prompt as "", those of a sequence by their position, as errors name them.

    Raises
    ------
    RouterError
        Neither; whether a prompt of a sequence is a text is looked at when it is read.
    """
    if isinstance(prompts, str):
        return {"": prompts}
    if isinstance(prompts, Mapping | bytes) or not isinstance(prompts, Iterable):
        raise RouterError(
            f"a prompt is a text and prompts are a sequence of them, not {type(prompts).__name__}"
            f" ({prompts!r:.60}); of a chat message give the text of its content"
        )
    return {f"prompts[{i}]": text for i, text in enumerate(prompts)}


def read_prompts(
    encoders: Mapping[str, Encoder], prompts: Mapping[str, Any], on_error: str
) -> tuple[dict[str, dict[str, list[int]]], dict[str, str]]:
    """Token ids of named prompts by encoder, of those that all can read, and what is wrong with the
    others.

    Raises
    ------
    EncoderError
        If ``on_error`` is "raise" and a prompt cannot be read; all of them are named.
    """
    token_ids: dict[str, dict[str, list[int]]] = {name: {} for name in encoders}
    reasons: dict[str, str] = {}
    for encoder_name, encoder in encoders.items():
        for name, prompt in prompts.items():
            ids, reason = _token_ids(encoder, prompt)
            if reason:
                reasons.setdefault(name, reason)
            else:
                token_ids[encoder_name][name] = ids
    if reasons and on_error == "raise":
        first = next(iter(reasons.values()))
        raise EncoderError(
            first
            if len(prompts) == 1 and "" in prompts
            else f"{', '.join(e.name for e in encoders.values())} cannot read"
            f" {listed(list(reasons))}. The first: {first}"
        )
    readable = {
        encoder: {name: ids for name, ids in of.items() if name not in reasons}
        for encoder, of in token_ids.items()
    }
    return readable, reasons


def _token_ids(encoder: Encoder, prompt: Any) -> tuple[list[int], str]:
    """Token ids of a prompt and "", or nothing and what is wrong with it."""
    if not isinstance(prompt, str):
        return [], f"The prompt is no text but {type(prompt).__name__}: {prompt!r:.60}."
    try:
        return render_prompt(encoder, prompt), ""
    except EncoderError as error:
        return [], str(error)
    # A template or a tokenizer raises whatever it stumbles over, say at half a surrogate pair.
    except Exception as error:
        return [], f"The prompt cannot be rendered ({type(error).__name__}: {error})."


def probabilities(
    prefills: Mapping[str, Prefill],
    token_ids: Mapping[str, Mapping[str, Sequence[int]]],
    fitted: Fitted,
    on_error: str,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """P(correct) and familiarity [K + 1] of prompts by name, from every encoder that a method
    reads; and why some prompts have none.

    Parameters
    ----------
    prefills, token_ids : by the name of the encoder; all have the same prompts.
    """
    if len(prefills) == 1:
        ((encoder, prefill),) = prefills.items()

        def predict(vectors: Vectors, names: Sequence[str]) -> np.ndarray:
            return fitted.predict_with_familiarity({encoder: fitted.read(vectors, names)})

        return in_batches(prefill, token_ids[encoder], predict, on_error)

    def states(vectors: Vectors, names: Sequence[str]) -> np.ndarray:
        return fitted.read(vectors, names)[:]

    read: dict[str, dict[str, np.ndarray]] = {}
    reasons: dict[str, str] = {}
    for encoder, prefill in prefills.items():
        read[encoder], more = in_batches(prefill, token_ids[encoder], states, on_error)
        reasons |= more
    names = [name for name in next(iter(token_ids.values())) if name not in reasons]
    if not names:
        return {}, reasons
    p = fitted.predict_with_familiarity(
        {e: np.stack([of[name] for name in names]) for e, of in read.items()}
    )
    return dict(zip(names, p, strict=True)), reasons


def in_batches(
    prefill: Prefill,
    token_ids: Mapping[str, Sequence[int]],
    read: Callable[[Vectors, Sequence[str]], np.ndarray],
    on_error: str,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What ``read`` makes of the states of prompts, by name, batched as extraction batches them;
    and why some have none.

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
    score = partial(_read, prefill, token_ids, read, None if on_error == "raise" else reasons)
    if len(plan) == 1:
        with torch_threads(1):
            return dict(score(plan[0])), reasons
    return {
        name: row
        for found in on_every_core(score, ((names,) for names in plan), device)
        for name, row in found
    }, reasons


def _read(
    prefill: Prefill,
    token_ids: Mapping[str, Sequence[int]],
    read: Callable,
    reasons: dict[str, str] | None,
    names: Sequence[str],
) -> list[tuple[str, np.ndarray]]:
    """What is read of a batch, by name; a prompt whose states cannot be computed is noted among the
    reasons, if these are given.
    """
    try:
        vectors = prefill([token_ids[name] for name in names], names)
    except ActivationError as error:
        if reasons is None:
            raise
        if len(names) > 1:  # one of them is to blame
            return [
                pair for name in names for pair in _read(prefill, token_ids, read, reasons, [name])
            ]
        reasons[names[0]] = str(error)
        return []
    layers = None if prefill.reads is None else layers_of(prefill.reads)
    states = Vectors(vectors, names, layers, prefill.encoder.n_layers)
    return list(zip(names, read(states, names), strict=True))
