"""Checks of a store: prompts read once more in other company must give what is stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from prefill_router.encode.network import Encoder
from prefill_router.encode.pooling import POOLINGS, ActivationError, pool_states
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.store import ActivationStore

WAYS = ("alone", "left padding", "right padding")
"""How prompts are read again: each by itself, or all together, padded on one side."""
_LARGEST = {torch.bfloat16: 0.05}  # relative differences that rounding explains, by dtype
_LARGEST_OTHER = 1e-3


def differences_in_other_company(
    encoder: Encoder, store: ActivationStore, prompts: Sequence[str], count: int = 6, seed: int = 0
) -> dict[str, float]:
    """Largest difference between stored states and those of another way of reading, relative to the
    layer's largest value, over all layers and poolings.

    Parameters
    ----------
    prompts : n texts, in the order of ``store.query_ids``
    count, seed : how many of them are read again, and which.

    Returns
    -------
    dict of ``WAYS`` to float

    Raises
    ------
    ActivationError
        A difference larger than rounding explains, or a damaged file of the store.
    """
    chosen = sorted(np.random.default_rng(seed).permutation(len(prompts))[:count])
    ids = [render_prompt(encoder, prompts[i]) for i in chosen]
    query_ids = [store.query_ids[i] for i in chosen]
    read = {
        "alone": [_pooled(encoder, [row], left=False) for row in ids],
        "left padding": [_pooled(encoder, ids, left=True)],
        "right padding": [_pooled(encoder, ids, left=False)],
    }
    worst = dict.fromkeys(WAYS, 0.0)
    for way, parts in read.items():
        for pooling in POOLINGS:
            again = np.concatenate([part[pooling] for part in parts], axis=1)
            for layer in range(store.n_layers + 1):
                kept = store.read(layer, pooling, query_ids)
                difference = float(np.abs(again[layer] - kept).max() / np.abs(kept).max())
                worst[way] = max(worst[way], difference)
    allowed = _LARGEST.get(encoder.dtype, _LARGEST_OTHER)
    if max(worst.values()) >= allowed or (damaged := store.verify()):
        found = f"damaged files {damaged}" if max(worst.values()) < allowed else f"{worst}"
        raise ActivationError(
            f"{store.folder} is not what {encoder.name} reads: {found}; delete the folder and run"
            " the notebook again"
        )
    return worst


def _pooled(encoder: Encoder, rows: Sequence[Sequence[int]], left: bool) -> dict[str, np.ndarray]:
    """Pooled states [L + 1, n, d] of token ids, padded to one length on a side."""
    width = max(map(len, rows))
    pads = [[0] * (width - len(row)) for row in rows]
    both = list(zip(pads, rows, strict=True))
    ids = [[*pad, *row] if left else [*row, *pad] for pad, row in both]
    real = [[0] * len(p) + [1] * len(r) if left else [1] * len(r) + [0] * len(p) for p, r in both]
    mask = torch.tensor(real, device=encoder.device)
    with torch.inference_mode():
        states = encoder.network(
            input_ids=torch.tensor(ids, device=encoder.device),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            output_hidden_states=True,
        ).hidden_states
    return {
        name: np.asarray(torch.as_tensor(v).cpu()) for name, v in pool_states(states, mask).items()
    }
