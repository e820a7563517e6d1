"""A loaded encoder, and what can be asked of its network."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded network in evaluation mode, without its output head unless asked for, and its
    tokenizer.

    `n_layers` blocks give `n_layers` + 1 hidden states of `hidden_size`; `max_length` is the
    context in tokens. `params` counts every parameter once, embeddings included; an output head
    with its own weights is left out, so that the number is the same with and without it.
    `fingerprint` holds, fit for JSON, all that shapes the hidden states. With `plain_prompt` the
    raw text is read instead of the chat template.
    """

    name: str
    network: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    n_layers: int
    hidden_size: int
    max_length: int
    params: int
    fingerprint: dict[str, Any]
    plain_prompt: bool = False


def positions(network: Any) -> int | None:
    """Tokens that a table of learned positions takes: in RoBERTa and MPNet they begin after the
    padding's.
    """
    table = getattr(getattr(network.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return None if table is None or padding is None else table.num_embeddings - padding - 1


def count_params(network: Any) -> int:
    """Number of parameters, tied ones once, an untied output head left out (see `Encoder`)."""
    total = sum(parameter.numel() for parameter in network.parameters())
    head = network.get_output_embeddings()
    if head is not None and head.weight is not network.get_input_embeddings().weight:
        total -= head.weight.numel()
    return total


def plain_attention(network: Any, device: torch.device) -> Any:
    """The network with attention multiplied out, on the same weights: in bfloat16 an eighth faster
    on a CPU than the fused kernel, for up to `prefill.PLAIN_TOKENS`.

    These are modules of its own, and nothing is switched in the given ones: a thread that reads a
    long prompt at the same time shall not see them change. The results differ by rounding. On a
    GPU, in float32 (where the fused kernel is as fast at 30 tokens and twice as fast at 1,000), or
    where the fused kernel is not used, it is the given network.
    """
    fused = getattr(getattr(network, "config", None), "_attn_implementation", None) == "sdpa"
    switchable = fused and hasattr(network, "set_attn_implementation")
    if device.type != "cpu" or not switchable or network.dtype != torch.bfloat16:
        return network
    twin = copy.deepcopy(
        network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    )
    twin.set_attn_implementation("eager")
    return twin
