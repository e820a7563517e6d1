"""The members of a SharedTrunkNet ensemble, trained side by side.

Their weights are stacked to [members, in, out], so one batched product does for all what each would
do alone. A member has its own initial weights, order of batches, dropout and early stopping, drawn
from its own seed: it becomes the same network, up to rounding, whoever is trained beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from prefill_router.hardware import native_bfloat16, torch_threads
from prefill_router.heads.stack import Stack

if TYPE_CHECKING:
    from prefill_router.heads.network import SharedTrunkNet, TrunkConfig


@dataclass
class Trained:
    """What became of a member: its lowest validation loss, and (epoch, train_loss, validation_loss)
    of every epoch.
    """

    loss: float = float("inf")
    best_epoch: int = 0
    rows: list[tuple[int, float, float]] = field(default_factory=list)

    def improved(
        self, epoch: int, train_loss: float, validation_loss: float, config: TrunkConfig
    ) -> bool:
        """Note an epoch; True if it is the best so far. RuntimeError if a loss is not finite."""
        self.rows.append((epoch, train_loss, validation_loss))
        if not np.isfinite(train_loss + validation_loss):
            raise RuntimeError(
                f"the loss is not finite in epoch {epoch}; scale the features or lower"
                " learning_rate"
            )
        if validation_loss >= self.loss - config.min_improvement:
            return False
        self.loss, self.best_epoch = validation_loss, epoch
        return True

    def ended(self, config: TrunkConfig) -> bool:
        """Whether the patience is at its end."""
        return self.rows[-1][0] - self.best_epoch >= config.patience


@torch_threads(1)
def train_members(
    networks: Sequence[SharedTrunkNet],
    seeds: Sequence[int],
    X: torch.Tensor,
    Y: torch.Tensor,
    held_out: np.ndarray,
    config: TrunkConfig,
) -> list[Trained]:
    """Train the networks in place; each ends with the weights of its best epoch.

    Parameters
    ----------
    networks : M networks of one shape, on the device of the data
    seeds : M ints
        Of each member's batches and dropout.
    X, Y : float32 tensors [n, d], [n, K]
        Features and labels (NaN: missing).
    held_out : bool ndarray [M, n]
        The validation rows of each member; it trains on the others.
    config : TrunkConfig

    Raises
    ------
    RuntimeError
        If a loss is not finite.
    """
    dtype = (
        torch.bfloat16
        if config.dtype == "bfloat16" or (config.dtype == "auto" and native_bfloat16(X.device))
        else torch.float32
    )
    X = X.to(dtype)
    shuffles = [torch.Generator().manual_seed(seed) for seed in seeds]
    # another stream than the shuffles', on the device where the masks are needed
    drops = [
        torch.Generator(X.device).manual_seed(
            int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        )
        for seed in seeds
    ]
    own = [torch.from_numpy(np.flatnonzero(~rows)) for rows in held_out]
    per_epoch = rows_per_epoch(held_out, config)
    stack = Stack(networks, config, dtype)
    trained = [Trained() for _ in networks]
    active = list(range(len(networks)))
    validation = _padded(X, Y, held_out)
    for epoch in range(1, config.max_epochs + 1):
        orders = torch.stack(
            [own[m][torch.randperm(len(own[m]), generator=shuffles[m])[:per_epoch]] for m in active]
        ).to(X.device)
        totals = torch.zeros(len(active), device=X.device)
        for batch in orders.split(config.batch_size, dim=1):
            masks = [
                _kept(batch.shape[1], width, rate, [drops[m] for m in active], X.device)
                for width, rate in zip(config.hidden, config.dropout, strict=True)
            ]
            losses = masked_bce(stack.logits(X[batch], masks), Y[batch])
            stack.step(losses)
            totals += losses.detach() * (batch.shape[1] / per_epoch)
        with torch.inference_mode():
            lowest = masked_bce(stack.logits(validation[0]), validation[1])
        ended = []
        for place, (m, total, loss) in enumerate(
            zip(active, totals.tolist(), lowest.tolist(), strict=True)
        ):
            if trained[m].improved(epoch, total, loss, config):
                stack.copy_to(networks[m], place)
            elif trained[m].ended(config):
                ended.append(place)
        if ended:
            stay = [place for place in range(len(active)) if place not in ended]
            if not stay:
                break
            active = [active[place] for place in stay]
            validation = [table[stay] for table in validation]
            stack.keep(stay)
    return trained


def rows_per_epoch(held_out: np.ndarray, config: TrunkConfig) -> int:
    """Rows that every member sees in an epoch, so that all take the same steps.

    Whole groups fill the validation split up to its share, seldom to the row: what a member has
    beyond ``n - share`` waits for another epoch.
    """
    n = held_out.shape[1]
    wanted = max(1, round(config.validation_fraction * n))
    return min(n - wanted, int((n - held_out.sum(axis=1)).min()))


def _padded(X: torch.Tensor, Y: torch.Tensor, held_out: np.ndarray) -> list[torch.Tensor]:
    """Each member's validation rows [M, v, d], [M, v, K]; shorter ones are filled up with rows
    whose labels are missing.
    """
    most = int(held_out.sum(axis=1).max())
    rows = torch.from_numpy(
        np.stack([np.pad(np.flatnonzero(mask), (0, most - mask.sum())) for mask in held_out])
    ).to(X.device)
    labels = Y[rows]
    for member, mask in zip(labels, held_out, strict=True):
        member[int(mask.sum()) :] = torch.nan
    return [X[rows], labels]


@torch_threads(1)
def train_alone(
    network: nn.Module, seed: int, parts: Sequence[torch.Tensor], config: TrunkConfig
) -> Trained:
    """Train one network of any shape in place, in float32, as `train_members` trains its own, but
    without dropout masks.

    ``parts`` are float32 tensors [n, d], [n, K], [v, d], [v, K]: its training rows, then its
    validation rows. Errors: as there.
    """
    X, Y, X_val, Y_val = parts
    shuffle = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    found, best = Trained(), {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(1, config.max_epochs + 1):
        total = 0.0
        for batch in (
            torch.randperm(len(X), generator=shuffle).to(X.device).split(config.batch_size)
        ):
            loss = masked_bce(network(X[batch]), Y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch) / len(X)
        with torch.inference_mode():
            validation = masked_bce(network(X_val), Y_val).item()
        if found.improved(epoch, total, validation, config):
            best = {name: value.clone() for name, value in network.state_dict().items()}
        elif found.ended(config):
            break
    network.load_state_dict(best)
    return found


def _kept(
    rows: int, width: int, rate: float, generators: Sequence[torch.Generator], device: torch.device
) -> torch.Tensor:
    """Bool [M, rows, width]: True with probability 1 - rate, to 16 bits. Sixteen random bits a unit
    cost a tenth of a Bernoulli draw.
    """
    words = torch.empty(len(generators), -(-rows * width // 4), dtype=torch.int64, device=device)
    for row, generator in zip(words, generators, strict=True):
        row.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[:, : rows * width]
    return (bits >= round(rate * 2**16) - 2**15).view(len(generators), rows, width)


def masked_bce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over the entries of the last two axes whose label is not NaN (0
    without any).

    Parameters
    ----------
    logits : float tensor [..., n, K]
    labels : float tensor [..., n, K], or [n, K] for all

    Returns
    -------
    float tensor [...]
    """
    known = ~torch.isnan(labels)
    each = functional.binary_cross_entropy_with_logits(
        logits, labels.nan_to_num().expand_as(logits), reduction="none"
    )
    return (each * known).sum(dim=(-2, -1)) / known.sum(dim=(-2, -1)).clamp(min=1)
