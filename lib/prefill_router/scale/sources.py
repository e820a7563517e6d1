"""Where states come from: what a job asks of a source, and the source that is this library's own.

Another source, such as an inference server that hands out its hidden states, is a class with these
methods; `docs/scale.md` says what it has to heed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.pooling import POOLINGS, ActivationError
from prefill_router.encode.prefill import Prefill, batch_tokens_of, batches
from prefill_router.encode.prompts import render_prompt
from prefill_router.scale.addresses import ScaleError


class SourceOfStates(Protocol):
    """A loaded encoder, or what stands for one.

    Attributes
    ----------
    fingerprint : mapping, fit for JSON
        All that shapes the states: weights, template, dtype. Two sources with one fingerprint give
        the same states up to rounding.
    n_layers, hidden_size : int
        As in `encode.network.Encoder`.
    """

    @property
    def fingerprint(self) -> Mapping[str, Any]: ...

    @property
    def n_layers(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...

    def tokens(self, prompt: str) -> Sequence[int]:
        """Token ids of a prompt; EncoderError if it cannot be read."""

    def states(
        self, token_ids: Sequence[Sequence[int]], views: Sequence[View]
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Pooled states float32 [V, n, d] of n prompts, and by number of the prompt why it has
        none. One prompt's never end those of others.
        """


class Opens(Protocol):
    """What is sent to a worker, which opens the source there."""

    def open(self) -> SourceOfStates:
        """Load it; the same object each time within a process."""


@dataclass(frozen=True, order=True)
class View:
    """One layer, pooled in one way: what is kept of a prompt's states."""

    pooling: str
    layer: int

    @property
    def name(self) -> str:
        """As in the store of activations: ``mean.12``."""
        return f"{self.pooling}.{self.layer}"


def views_of(text: str | None, n_layers: int) -> tuple[View, ...]:
    """The views that a text names: ``mean.12,last.30``, or ``all``.

    By default four: the mean over tokens at half, three quarters and the whole of the depth, and
    the last token's state at the whole.

    Raises
    ------
    ScaleError
        A name that makes no sense, a layer that the encoder does not have, a view named twice.
    """
    if text is None:
        depths = (n_layers // 2, 3 * n_layers // 4, n_layers)
        named = [View("mean", layer) for layer in depths] + [View("last", n_layers)]
        return tuple(dict.fromkeys(named))
    if text == "all":
        return tuple(View(pooling, layer) for pooling in POOLINGS for layer in range(n_layers + 1))
    views = []
    for name in text.split(","):
        found = re.fullmatch(rf"({'|'.join(POOLINGS)})\.(\d+)", name.strip())
        if found is None or int(found[2]) > n_layers:
            raise ScaleError(
                f"there are no states {name.strip()!r}; write a pooling ({', '.join(POOLINGS)}), a"
                f" dot and a layer from 0 to {n_layers}, such as mean.{n_layers // 2}, with commas"
                " between them, or all"
            )
        views.append(View(found[1], int(found[2])))
    if len(set(views)) < len(views):
        raise ScaleError(f"{text!r} names a view twice; name each once")
    return tuple(views)


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder by name, as `load_encoder` takes it. A folder or file must be there on every
    machine.
    """

    name: str
    device: str = "auto"
    dtype: str = "auto"
    plain_prompt: bool = False

    def open(self) -> EncoderStates:
        """Load it, once in a process."""
        return _opened(self)


@functools.lru_cache(maxsize=1)
def _opened(named: NamedEncoder) -> EncoderStates:
    return EncoderStates(
        load_encoder(named.name, named.device, named.dtype, plain_prompt=named.plain_prompt)
    )


class EncoderStates:
    """The prefill of a loaded encoder as a source of states."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self._prefill = Prefill(encoder).__enter__()  # its hooks stay as long as the encoder
        self._prefill.agree_on(render_prompt(encoder, "x"))

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """The encoder's."""
        return self.encoder.fingerprint

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return self.encoder.n_layers

    @property
    def hidden_size(self) -> int:
        """Width d."""
        return self.encoder.hidden_size

    def tokens(self, prompt: str) -> Sequence[int]:
        """See `render_prompt`."""
        return render_prompt(self.encoder, prompt)

    def states(
        self, token_ids: Sequence[Sequence[int]], views: Sequence[View]
    ) -> tuple[np.ndarray, dict[int, str]]:
        """See `SourceOfStates`. Prompts of like length share a forward pass; which ones depends on
        these prompts alone, so that the numbers do not depend on who else computes.
        """
        out = np.zeros((len(views), len(token_ids), self.hidden_size), np.float32)
        reasons: dict[int, str] = {}
        order = sorted(range(len(token_ids)), key=lambda i: (-len(token_ids[i]), i))
        budget = batch_tokens_of(self.encoder.device)
        plan = [
            [order[i] for i in batch]
            for batch in batches([len(token_ids[i]) for i in order], budget)
        ]
        jobs = [([token_ids[i] for i in batch], [str(i) for i in batch]) for batch in plan]
        done = 0
        try:
            for batch, vectors in zip(plan, self._prefill.map(jobs), strict=True):
                _keep(out, batch, vectors, views)
                done += 1
        except ActivationError:  # one prompt of a batch is to blame: the rest one by one
            for i in (i for batch in plan[done:] for i in batch):
                try:
                    _keep(out, [i], self._prefill([token_ids[i]], [str(i)]), views)
                except ActivationError as error:
                    reasons[i] = str(error)
        return out, reasons


def _keep(
    out: np.ndarray, batch: Sequence[int], vectors: Mapping[str, np.ndarray], views: Sequence[View]
) -> None:
    for at, view in enumerate(views):
        out[at, batch] = vectors[view.pooling][view.layer]
