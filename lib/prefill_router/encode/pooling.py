"""Pooling: of the token states of a layer only two vectors per prompt are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

POOLINGS = ("last", "mean")


class ActivationError(RuntimeError):
    """Activations cannot be computed or read; says which query or file, and what to do."""


def pool_states(
    hidden_states: Sequence[torch.Tensor], mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Pool every layer's token states to one vector per prompt.

    Parameters
    ----------
    hidden_states : sequence of L + 1 torch tensors, each [B, T, d]
        Index 0: embeddings, index L: last block after the final norm.
    mask : torch tensor [B, T], bool or {0, 1}
        Real tokens, on whichever side the padding is.

    Returns
    -------
    dict of float32 tensors [L + 1, B, d]
        ``last``: the state of the last real token; ``mean``: the average over real tokens
        (LLM Router, arXiv 2603.20895, method).

    Raises
    ------
    ActivationError
        If a row has no real token.
    """
    pool = Pool(mask, len(hidden_states))
    for layer, states in enumerate(hidden_states):
        pool.take(layer, states)
    return dict(zip(POOLINGS, pool.vectors, strict=True))


def layers_of(reads: Collection[tuple[int, str]]) -> list[int]:
    """The layers among pairs (layer, pooling), ascending."""
    return sorted({layer for layer, _ in reads})


class Pool:
    """Vectors [2, layers, B, d] of a batch, filled layer by layer; ``reads`` as in `Prefill`."""

    def __init__(
        self,
        mask: torch.Tensor,
        layers: int,
        reads: Collection[tuple[int, str]] | None = None,
        device: torch.device | None = None,
    ) -> None:
        # looked at where the mask is made: asking an accelerator would wait for what it is doing
        mask = mask.bool()
        counts = mask.sum(dim=1)[:, None]
        if bool((counts == 0).any()):
            raise ActivationError(
                "a row of the attention mask has no real token; every prompt needs at least one"
            )
        device = device or mask.device
        positions = torch.arange(mask.shape[1], device=mask.device)
        # by mask, never [:, -1]: that is a pad under right padding
        self._last = torch.where(mask, positions, -1).amax(dim=1).to(device)
        self._rows = torch.arange(mask.shape[0], device=device)
        self._pad = None if bool(mask.all()) else (~mask[..., None]).to(device)
        self._counts = counts.to(device)
        self._reads = reads
        kept = range(layers) if reads is None else layers_of(reads)
        self._place = {layer: place for place, layer in enumerate(kept)}
        self.vectors: Any = None
        self.layers_seen = 0

    def take(self, layer: int, states: torch.Tensor) -> None:
        """Pool the token states [B, T, d] of a layer."""
        if self.vectors is None:
            shape = (len(POOLINGS), len(self._place), states.shape[0], states.shape[2])
            self.vectors = torch.zeros(shape, device=states.device)
        self.layers_seen += 1
        place = self._place.get(layer)
        if place is None:
            return
        if self._reads is None or (layer, "last") in self._reads:
            self.vectors[0, place] = states[self._rows, self._last]
        if self._reads is None or (layer, "mean") in self._reads:
            # masked_fill, not a product: attention may leave NaN at fully masked positions, and 0 *
            # NaN is NaN
            real = states if self._pad is None else states.masked_fill(self._pad, 0.0)
            self.vectors[1, place] = real.sum(dim=1, dtype=torch.float32) / self._counts


@dataclass(frozen=True)
class Launched:
    """A forward pass that may still run: its vectors [2, layers, B, d] and which prompts' are
    finite [B], in the main memory once `ready` has come; the padded shape of its batch.
    """

    vectors: torch.Tensor
    finite: torch.Tensor
    ready: Any
    shape: tuple[int, ...]

    @classmethod
    def of(cls, vectors: torch.Tensor, shape: Sequence[int]) -> Launched:
        """Have vectors checked and copied behind the pass that makes them."""
        finite = torch.isfinite(vectors).all(dim=3).all(dim=1).all(dim=0)
        if vectors.device.type != "cuda":
            return cls(vectors.cpu(), finite.cpu(), None, tuple(shape))
        # into memory that the device writes to by itself; a plain copy would wait here
        on_host = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in (vectors, finite)]
        for host, tensor in zip(on_host, (vectors, finite), strict=True):
            host.copy_(tensor, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        return cls(on_host[0], on_host[1], ready, tuple(shape))

    def wait(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and finite, when they are there."""
        if self.ready is not None:
            self.ready.synchronize()
        return self.vectors.numpy(), self.finite.numpy()
