"""The prefill itself: forward passes over batches of prompts, every layer pooled to one vector per
prompt while it is made.

A network that returns the states of all layers holds them all, though only two vectors per prompt
and layer are wanted. Here a hook at the entrance of every block pools what passes, on the device,
and one copy per batch leaves it. On a CPU every core takes batches of its own with a single thread:
small products gain little from being split, and the numbers do not depend on how many cores there
are.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from prefill_router.encode.network import plain_attention
from prefill_router.hardware import keep_memory, on_every_core

TokenIds = Sequence[int] | np.ndarray
POOLINGS = ("last", "mean")
# Padded tokens in a forward pass. On a CPU states should stay in the cache; an accelerator wants
# large products.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 32_768
PLAIN_TOKENS = 1024  # longest prompt whose attention is multiplied out on a CPU


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
    pool = _Pool(mask, len(hidden_states))
    for layer, states in enumerate(hidden_states):
        pool.take(layer, states)
    return dict(zip(POOLINGS, pool.vectors, strict=True))


def layers_of(reads: Collection[tuple[int, str]]) -> list[int]:
    """The layers among pairs (layer, pooling), ascending."""
    return sorted({layer for layer, _ in reads})


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Consecutive positions whose padded size (count x longest) stays within the budget; none is
    empty.
    """
    batch: list[int] = []
    longest = 0
    for position, length in enumerate(lengths):
        longest = max(longest, length)
        if batch and longest * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest = [], length
        batch.append(position)
    if batch:
        yield batch


def batch_tokens_of(device: torch.device) -> int:
    """Padded tokens of a forward pass that suit a device."""
    return GPU_BATCH_TOKENS if device.type == "cuda" else CPU_BATCH_TOKENS


class Prefill:
    """Forward passes of an encoder with a hook at every block; a context manager, since the hooks
    must go again.

    Parameters
    ----------
    encoder : Encoder
        From :func:`prefill_router.encode.encoders.load_encoder`.

    Attributes
    ----------
    hooked : bool
        False where the blocks were not found or do not see what the network reports as its hidden
        states; it is then asked for all of them at once, which gives the same vectors and takes
        more memory.
    reads : collection of (layer, pooling), or None
        What is pooled, for a caller that reads no more; None: every layer, both ways. The vectors
        of a forward pass then are those of the layers named, in ascending order; a pooling of one
        of them that is not named is zero.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self._network = getattr(
            encoder.network, "base_model", encoder.network
        )  # logits are not needed
        self._short = plain_attention(self._network, encoder.device)
        self._batch = threading.local()
        self._handles: list[Any] = []
        self.hooked = False
        self.reads: Collection[tuple[int, str]] | None = None

    def __enter__(self) -> Prefill:
        keep_memory()
        for network in (
            (self._network,) if self._short is self._network else (self._network, self._short)
        ):
            # pre-order: the list of blocks comes before lists inside a block, such as experts
            lists = (
                m
                for m in network.modules()
                if isinstance(m, torch.nn.ModuleList) and len(m) == self.encoder.n_layers
            )
            for layer, block in enumerate(next(lists, ())):
                self._handles.append(
                    block.register_forward_pre_hook(
                        partial(self._enter_block, layer), with_kwargs=True
                    )
                )
        self.hooked = bool(self._handles)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __deepcopy__(self, memo: dict) -> Prefill:
        """Itself: a copy of a network may copy its hooks, which do nothing unless this object makes
        the pass.
        """
        return self

    def agree_on(self, token_ids: TokenIds) -> None:
        """Compare both ways on one prompt, and keep to the plain one should they differ."""
        if not self.hooked:
            return
        try:
            fast = self([token_ids], [""])
        except (
            ActivationError,
            KeyError,
            IndexError,
            AttributeError,
            TypeError,
        ):  # these were not the blocks
            fast = None
        self.hooked = False
        plain = self([token_ids], [""])
        self.hooked = fast is not None and all(
            np.array_equal(fast[name], plain[name]) for name in POOLINGS
        )

    def __call__(
        self, token_ids: Sequence[TokenIds], query_ids: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """One forward pass: ``{pooling: float32 [L + 1, B, d]}``, or as ``reads`` says.

        Raises
        ------
        ActivationError
            Too little memory; states of another number or width than the encoder's; non-finite
            states.
        """
        encoder = self.encoder
        network = self._short if max(map(len, token_ids)) <= PLAIN_TOKENS else self._network
        # Always padded on the right, whatever the tokenizer prefers: then positions count from the
        # first real
        # token in every architecture, and under causal attention no real token sees a pad. The mask
        # hides which
        # id pads.
        lengths = torch.tensor([len(t) for t in token_ids])
        ids = torch.zeros(len(token_ids), int(lengths.max()), dtype=torch.long)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)] = torch.as_tensor(tokens)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(encoder.device)
        inputs = {
            "input_ids": ids.to(encoder.device),
            "attention_mask": mask.long(),
            "use_cache": False,
        }
        try:
            with torch.inference_mode():
                pool = _Pool(mask, encoder.n_layers + 1, self.reads)
                if self.hooked:
                    self._batch.pool = pool
                    try:
                        pool.take(encoder.n_layers, network(**inputs).last_hidden_state)
                    finally:
                        self._batch.pool = None
                else:
                    for layer, states in enumerate(
                        network(**inputs, output_hidden_states=True).hidden_states
                    ):
                        pool.take(layer, states)
                self._check_shape(pool)
                vectors = pool.vectors.cpu().numpy()
        except torch.OutOfMemoryError:
            raise ActivationError(
                f"no memory on {encoder.device} for a batch of {ids.shape[0]} prompts x"
                f" {ids.shape[1]} tokens; lower batch_tokens (finished shards are kept)"
            ) from None
        broken = ~np.isfinite(vectors).all(axis=(0, 1, 3))
        if broken.any():
            names = listed([query_ids[int(i)] for i in np.flatnonzero(broken)])
            raise ActivationError(
                f"non-finite activations for {names} in {encoder.dtype}; load the encoder with"
                " dtype bfloat16 or float32"
            )
        return dict(zip(POOLINGS, vectors, strict=True))

    def map(
        self, jobs: Iterable[tuple[Sequence[TokenIds], Sequence[str]]]
    ) -> Iterator[dict[str, np.ndarray]]:
        """The vectors of many batches (token ids, query ids), in their order, as they are done."""
        yield from on_every_core(self, jobs, self.encoder.device)

    def _enter_block(self, layer: int, _: Any, args: tuple, kwargs: dict) -> None:
        pool = getattr(self._batch, "pool", None)
        if pool is not None:
            pool.take(layer, args[0] if args else kwargs["hidden_states"])

    def _check_shape(self, pool: _Pool) -> None:
        encoder, found = (
            self.encoder,
            (pool.layers_seen, None if pool.vectors is None else pool.vectors.shape[-1]),
        )
        if found != (encoder.n_layers + 1, encoder.hidden_size):
            raise ActivationError(
                f"{encoder.name} returned {found[0]} hidden states of width {found[1]}, "
                f"expected {encoder.n_layers + 1} of width {encoder.hidden_size}"
            )


class _Pool:
    """Vectors [2, layers, B, d] of a batch, filled layer by layer; ``reads`` as in `Prefill`."""

    def __init__(
        self, mask: torch.Tensor, layers: int, reads: Collection[tuple[int, str]] | None = None
    ) -> None:
        mask = mask.bool()
        self._counts = mask.sum(dim=1)[:, None]
        if bool((self._counts == 0).any()):
            raise ActivationError(
                "a row of the attention mask has no real token; every prompt needs at least one"
            )
        positions = torch.arange(mask.shape[1], device=mask.device)
        # by mask, never [:, -1]: that is a pad under right padding
        self._last = torch.where(mask, positions, -1).amax(dim=1)
        self._rows = torch.arange(mask.shape[0], device=mask.device)
        self._pad = None if bool(mask.all()) else ~mask[..., None]
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


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
