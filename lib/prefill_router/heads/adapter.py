"""The adapter trunk: a head per target on a trunk that all share, over one block of averaged
layers.

The architecture of NeMo Switchyard's `prefill_router` (version 0.3), so that routers trained here
can be loaded there. Features: the last token's states of a few layers, each layer standardised,
averaged over the layers, scaled, PCA. Then for target i
``sigmoid(head_i(relu(trunk(relu(adapter_i(x))))))``, averaged over the members of the ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import nn

from prefill_router.heads.members import Trained, train_alone
from prefill_router.heads.network import TargetNet, TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble


def adapter_config(config: TrunkConfig) -> TrunkConfig:
    """The settings of a SharedTrunkNet ensemble for an adapter trunk: its widths, no dropout."""
    return replace(config, hidden=(64, 64), dropout=(0.0, 0.0))


class AdapterTrunkNet(TargetNet):
    """An adapter and a head per target, a trunk that they share. Parameters: d_in, n_targets,
    hidden = (adapter, trunk) widths.
    """

    def __init__(self, d_in: int, n_targets: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.d_in, self.n_targets = d_in, n_targets
        adapter, trunk = hidden
        self.adapters = nn.ModuleList([nn.Linear(d_in, adapter) for _ in range(n_targets)])
        self.trunk = nn.Sequential(nn.Linear(adapter, trunk), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(trunk, 1) for _ in range(n_targets)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, K] of features [n, d_in]."""
        adapters, heads = _linear(self.adapters), _linear(self.heads)
        # the targets' products in one: [K, n, adapter]
        first = (
            torch.einsum("nd,kad->kna", x, torch.stack([a.weight for a in adapters]))
            + torch.stack([a.bias for a in adapters])[:, None]
        )
        shared = self.trunk(torch.relu(first))
        return torch.einsum(
            "knt,kt->nk", shared, torch.stack([h.weight[0] for h in heads])
        ) + torch.stack([h.bias[0] for h in heads])


def _linear(layers: nn.ModuleList) -> list[nn.Linear]:
    return cast(list[nn.Linear], list(layers))  # a list of torch forgets the type of its layers


class AdapterEnsemble(TrunkEnsemble):
    """Several AdapterTrunkNets from different seeds; otherwise as :class:`TrunkEnsemble`.

    ``config.hidden`` is (adapter, trunk); there is no dropout, early stopping does its work.
    """

    def __init__(
        self, config: TrunkConfig | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        super().__init__(config or adapter_config(TrunkConfig()), seed, device)

    def _new(self, d_in: int, n_targets: int) -> AdapterTrunkNet:
        return AdapterTrunkNet(d_in, n_targets, self.config.hidden)

    def _train(
        self, seeds: Sequence[int], X: torch.Tensor, Y: torch.Tensor, held_out: np.ndarray
    ) -> list[Trained]:
        masks = [torch.from_numpy(rows).to(X.device) for rows in held_out]
        return [
            train_alone(network, seed, (X[~rows], Y[~rows], X[rows], Y[rows]), self.config)
            for network, seed, rows in zip(self._networks, seeds, masks, strict=True)
        ]
