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
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from prefill_router.encode.network import plain_attention
from prefill_router.encode.pooling import POOLINGS, ActivationError, Launched, Pool
from prefill_router.hardware import keep_memory, on_every_core

TokenIds = Sequence[int] | np.ndarray
# Padded tokens in a forward pass. On a CPU states should stay in the cache; an accelerator wants
# large products.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 32_768
AHEAD = 2  # forward passes that an accelerator has waiting
# Longest prompt whose attention is multiplied out on a CPU in bfloat16. Beyond, the scores of all
# heads leave the caches: in float32 a token took twice as long in a prompt of 1,024 as of 512.
PLAIN_TOKENS = 512


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
    ahead : int
        Forward passes that wait on an accelerator; 0 on a CPU, whose cores take one batch each.
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
        self.ahead = 0 if encoder.device.type == "cpu" else AHEAD
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
        return self._finish(self._launch(token_ids), query_ids)

    def _launch(self, token_ids: Sequence[TokenIds]) -> Launched:
        """Begin a forward pass. On an accelerator it goes on after the return."""
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
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        inputs = {
            "input_ids": ids.to(encoder.device),
            "attention_mask": mask.long().to(encoder.device),
            "use_cache": False,
        }
        try:
            with torch.inference_mode():
                pool = Pool(mask, encoder.n_layers + 1, self.reads, encoder.device)
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
                return Launched.of(pool.vectors, ids.shape)
        except torch.OutOfMemoryError:
            raise self._no_memory(ids.shape) from None

    def _finish(self, launched: Launched, query_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Wait for a forward pass, and check what it gave."""
        try:
            vectors, finite = launched.wait()
        except torch.OutOfMemoryError:
            raise self._no_memory(launched.shape) from None
        if not finite.all():
            names = listed([query_ids[int(i)] for i in np.flatnonzero(~finite)])
            raise ActivationError(
                f"non-finite activations for {names} in {self.encoder.dtype}; load the encoder with"
                " dtype bfloat16 or float32"
            )
        return dict(zip(POOLINGS, vectors, strict=True))

    def _no_memory(self, shape: Sequence[int]) -> ActivationError:
        return ActivationError(
            f"no memory on {self.encoder.device} for a batch of {shape[0]} prompts x {shape[1]}"
            " tokens; lower batch_tokens (finished shards are kept)"
        )

    def map(
        self, jobs: Iterable[tuple[Sequence[TokenIds], Sequence[str]]]
    ) -> Iterator[dict[str, np.ndarray]]:
        """The vectors of many batches (token ids, query ids), in their order, as they are done.

        An accelerator has the next batch before what it made of the last one is looked at: it would
        wait for the caller otherwise.
        """
        if not self.ahead:
            yield from on_every_core(self, jobs, self.encoder.device)
            return
        running: deque[tuple[Launched, Sequence[str]]] = deque()
        for token_ids, query_ids in jobs:
            running.append((self._launch(token_ids), query_ids))
            if len(running) > self.ahead:
                yield self._finish(*running.popleft())
        while running:
            yield self._finish(*running.popleft())

    def _enter_block(self, layer: int, _: Any, args: tuple, kwargs: dict) -> None:
        pool = getattr(self._batch, "pool", None)
        if pool is not None:
            pool.take(layer, args[0] if args else kwargs["hidden_states"])

    def _check_shape(self, pool: Pool) -> None:
        encoder, found = (
            self.encoder,
            (pool.layers_seen, None if pool.vectors is None else pool.vectors.shape[-1]),
        )
        if found != (encoder.n_layers + 1, encoder.hidden_size):
            raise ActivationError(
                f"{encoder.name} returned {found[0]} hidden states of width {found[1]}, "
                f"expected {encoder.n_layers + 1} of width {encoder.hidden_size}"
            )


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
