"""SharedTrunkNet and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TrunkConfig:
    """The specification's values.

    Attributes
    ----------
    hidden, dropout : tuples of equal length
        Width of each hidden layer and the dropout after it.
    learning_rate, weight_decay : float
        Of Adam (weight decay as an L2 term of the gradient).
    batch_size : int
    max_epochs, patience : int
        Most epochs; epochs without improvement before a member stops.
    min_improvement : float
        By how much the validation loss must fall to count as improved.
    validation_fraction : float
        Share of the training rows, in whole groups, that a member's early stopping and the choice
        of members look at.
    members, keep : int
        Networks trained, and how many of them predict.
    dtype : {"auto", "float32", "bfloat16"}
        Of the products in training; weights, moments, losses and predictions stay float32. Auto:
        bfloat16 where it is native.
    """

    hidden: tuple[int, ...] = (256, 128)
    dropout: tuple[float, ...] = (0.3, 0.2)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 512
    max_epochs: int = 150
    patience: int = 15
    min_improvement: float = 1e-4
    validation_fraction: float = 0.15
    members: int = 10
    keep: int = 5
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if len(self.hidden) != len(self.dropout):
            raise ValueError(
                f"{len(self.hidden)} hidden layers but {len(self.dropout)} dropout rates; give one"
                " for each"
            )
        if not 1 <= self.keep <= self.members:
            raise ValueError(
                f"keep={self.keep} of members={self.members}; keep must lie between 1 and members"
            )
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction={self.validation_fraction}; it must lie between 0 and 1"
            )
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"dtype={self.dtype!r}; it must be auto, float32 or bfloat16")
        if min(self.batch_size, self.max_epochs, self.patience) < 1:
            raise ValueError("batch_size, max_epochs and patience must be at least 1")


class TargetNet(nn.Module):
    """A network from features [n, d_in] to one logit per target [n, n_targets]."""

    d_in: int
    n_targets: int


class SharedTrunkNet(TargetNet):
    """Hidden layers shared by all targets, one logit per target.

    Parameters
    ----------
    d_in : int
    n_targets : int
        K.
    hidden, dropout : tuples of equal length
    """

    def __init__(
        self,
        d_in: int,
        n_targets: int,
        hidden: Sequence[int] = (256, 128),
        dropout: Sequence[float] = (0.3, 0.2),
    ) -> None:
        super().__init__()
        self.d_in, self.n_targets = d_in, n_targets
        widths = [d_in, *hidden]
        layers: list[nn.Module] = []
        for width_in, width_out, rate in zip(widths, hidden, dropout, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(rate)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], n_targets))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, K] of features [n, d_in]."""
        return self.layers(x)
