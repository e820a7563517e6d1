"""Networks of one shape, trained together as one stack of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from prefill_router.heads.network import SharedTrunkNet, TrunkConfig


class Stack:
    """Weights [M, in, out] and biases [M, 1, out] of M networks, and their one optimizer."""

    def __init__(
        self, networks: Sequence[SharedTrunkNet], config: TrunkConfig, dtype: torch.dtype
    ) -> None:
        self.dtype, self.config = dtype, config
        linears = list(
            zip(
                *(
                    [layer for layer in network.layers if isinstance(layer, nn.Linear)]
                    for network in networks
                ),
                strict=True,
            )
        )
        self._weights = [
            torch.stack([layer.weight.detach().T for layer in same]).contiguous().requires_grad_()
            for same in linears
        ]
        self._biases = [
            torch.stack([layer.bias.detach()[None] for layer in same]).requires_grad_()
            for same in linears
        ]
        self._optimizer = self._adam()

    def logits(self, x: torch.Tensor, masks: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """float32 [M, B, K] of x [M, B, d]; ``masks`` bool [M, B, width] per hidden layer say which
        units dropout keeps.
        """
        last, scale = len(self._weights) - 1, 1.0
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            dtype = torch.float32 if i == last else self.dtype
            # what dropout divides by is multiplied into the next weights: they are fewer than the
            # units
            x = torch.baddbmm(
                bias.to(dtype), x.to(dtype), (weight if scale == 1.0 else weight * scale).to(dtype)
            )
            if i < last:
                x = functional.relu(x)
                if masks is not None:
                    x, scale = x * masks[i], 1 / (1 - self.config.dropout[i])
        return x

    def step(self, losses: torch.Tensor) -> None:
        """One step of Adam on losses [M]; their sum has each member's own gradient."""
        self._optimizer.zero_grad()
        losses.sum().backward()
        self._optimizer.step()

    def copy_to(self, network: SharedTrunkNet, place: int) -> None:
        """Give a network the present weights of the member at this place."""
        with torch.no_grad():
            for layer, weight, bias in zip(
                (layer for layer in network.layers if isinstance(layer, nn.Linear)),
                self._weights,
                self._biases,
                strict=True,
            ):
                layer.weight.copy_(weight[place].T)
                layer.bias.copy_(bias[place, 0])

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the members at these places, each with its moments of Adam."""
        states = [self._optimizer.state[p] for p in (*self._weights, *self._biases)]
        self._weights, self._biases = (
            [p.detach()[places].requires_grad_() for p in group]
            for group in (self._weights, self._biases)
        )
        self._optimizer = self._adam()
        for p, state in zip((*self._weights, *self._biases), states, strict=True):
            self._optimizer.state[p] = {
                name: value[places] if value.ndim else value for name, value in state.items()
            }

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(
            [*self._weights, *self._biases],
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
