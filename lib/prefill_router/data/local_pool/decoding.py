"""Greedy decoding of many prompts at once, with the common prefix computed once and finished rows
dropped.
"""

from __future__ import annotations

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
    device = next(network.parameters()).device
    shared = common_prefix(ids)
    rest = [row[shared:] for row in ids]
    width = max(map(len, rest))
    # layout of a row: [shared prefix | left padding | own tokens]; padding is masked and takes no
    # position
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rest], device=device)
    own = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rest], device=device)
    mask = torch.cat([torch.ones(len(ids), shared, dtype=torch.long, device=device), own], dim=1)
    position = (mask.cumsum(1) - 1).clamp(min=0)

    cache = DynamicCache(config=network.config)
    decoder, head = network.get_decoder(), network.get_output_embeddings()

    def choose(**inputs) -> torch.Tensor:
        # The head sees one contiguous row per prompt. Handed a strided slice (`logits_to_keep`),
        # torch 2.13 on CPU copies the head
        # once per row, runs out of memory, and then turns oneDNN off for the whole process: seven
        # times slower, with a mere warning.
        states = (
            decoder(past_key_values=cache, use_cache=True, **inputs)
            .last_hidden_state[:, -1]
            .contiguous()
        )
        return head(states).argmax(-1)

    if shared:
        decoder(
            input_ids=torch.tensor([ids[0][:shared]], device=device),
            past_key_values=cache,
            use_cache=True,
        )
        cache.batch_repeat_interleave(len(ids))
    next_token = choose(input_ids=tokens, attention_mask=mask, position_ids=position[:, shared:])
    last_position = position[:, -1]

    produced: list[list[int]] = [[] for _ in ids]
    rows = torch.arange(len(ids), device=device)
    running = torch.ones(len(ids), dtype=torch.bool, device=device)
    for step in range(max_new_tokens):
        for row, token, alive in zip(
            rows.tolist(), next_token.tolist(), running.tolist(), strict=True
        ):
            if alive:
                produced[row].append(token)
        running &= ~torch.isin(next_token, torch.tensor(sorted(stop_ids), device=device))
        if not running.any() or step + 1 == max_new_tokens:
            break
        if running.float().mean() < compact_below:
            keep = running.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, next_token, last_position, mask, running = (
                rows[keep],
                next_token[keep],
                last_position[keep],
                mask[keep],
                running[keep],
            )
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        last_position = last_position + 1
        next_token = choose(
            input_ids=next_token[:, None], attention_mask=mask, position_ids=last_position[:, None]
        )
    return produced
