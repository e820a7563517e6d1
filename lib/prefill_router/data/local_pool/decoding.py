"""Greedy decoding of many prompts at once, with the common prefix computed once and finished rows
dropped.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache


def common_prefix(ids: list[list[int]]) -> int:
    """Length of the longest prefix that all token lists share, leaving every list at least one
    token of its own.
    """
    length = min(map(len, ids)) - 1
    first = ids[0]
    for position in range(length):
        if any(row[position] != first[position] for row in ids):
            return position
    return length


@torch.inference_mode()
def greedy(
    network: torch.nn.Module,
    ids: list[list[int]],
    max_new_tokens: int,
    stop_ids: set[int],
    compact_below: float = 0.85,
) -> list[list[int]]:
    """Decode greedily.

    Parameters
    ----------
    network : torch.nn.Module
        Causal language model of transformers, in eval mode.
    ids : list of list of int
        Token ids of the prompts, at least one each.
    max_new_tokens : int
        Stop a row after this many tokens.
    stop_ids : set of int
        Tokens that end a row; the ending token is part of the result, since it was generated.
    compact_below : float
        Drop finished rows from the batch as soon as less than this share of the rows is still
        running: with answers of very different lengths most of the work of a fixed batch would be
        spent on finished rows.

    Returns
    -------
    list of list of int
        New tokens per prompt.
    """
    if not ids or not all(ids):
        raise ValueError("every prompt needs at least one token")
    rows = _Rows(network, ids)
    stops = torch.tensor(sorted(stop_ids), device=rows.next_token.device)
    produced: list[list[int]] = [[] for _ in ids]
    for step in range(max_new_tokens):
        for row, token, alive in zip(
            rows.numbers.tolist(), rows.next_token.tolist(), rows.running.tolist(), strict=True
        ):
            if alive:
                produced[row].append(token)
        rows.running &= ~torch.isin(rows.next_token, stops)
        if not rows.running.any() or step + 1 == max_new_tokens:
            break
        if rows.running.float().mean() < compact_below:
            rows.drop_finished()
        rows.step()
    return produced


class _Rows:
    """Prompts that are decoded together: ``numbers`` [B] of the prompts, which of them are
    ``running``, and the ``next_token`` of each.

    The layout of a row is [shared prefix | left padding | own tokens]; padding is masked and takes
    no position.
    """

    def __init__(self, network: Any, ids: list[list[int]]) -> None:
        device = next(network.parameters()).device
        self._decoder, self._head = network.get_decoder(), network.get_output_embeddings()
        self._cache = DynamicCache(config=network.config)
        shared = common_prefix(ids)
        rest = [row[shared:] for row in ids]
        width = max(map(len, rest))
        tokens = torch.tensor([[0] * (width - len(row)) + row for row in rest], device=device)
        own = torch.tensor(
            [[0] * (width - len(row)) + [1] * len(row) for row in rest], device=device
        )
        prefix = torch.ones(len(ids), shared, dtype=torch.long, device=device)
        self._mask = torch.cat([prefix, own], dim=1)
        position = (self._mask.cumsum(1) - 1).clamp(min=0)
        if shared:
            self._decoder(
                input_ids=torch.tensor([ids[0][:shared]], device=device),
                past_key_values=self._cache,
                use_cache=True,
            )
            self._cache.batch_repeat_interleave(len(ids))
        self.next_token = self._choose(tokens, position[:, shared:])
        self._last_position = position[:, -1]
        self.numbers = torch.arange(len(ids), device=device)
        self.running = torch.ones(len(ids), dtype=torch.bool, device=device)

    def drop_finished(self) -> None:
        keep = self.running.nonzero().squeeze(1)
        self._cache.batch_select_indices(keep)
        self.numbers, self.next_token = self.numbers[keep], self.next_token[keep]
        self._last_position, self._mask = self._last_position[keep], self._mask[keep]
        self.running = self.running[keep]

    def step(self) -> None:
        """Read the next token of every row and choose the one after it."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        self._last_position = self._last_position + 1
        self.next_token = self._choose(self.next_token[:, None], self._last_position[:, None])

    def _choose(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        # The head sees one contiguous row per prompt. Handed a strided slice (`logits_to_keep`),
        # torch 2.13 on CPU copies the head once per row, runs out of memory, and then turns oneDNN
        # off for the whole process: seven times slower, with a mere warning.
        read = self._decoder(
            input_ids=tokens,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return self._head(read.last_hidden_state[:, -1].contiguous()).argmax(-1)
