"""Semantic routers from the literature that learn a vector per target: matrix factorisation and
item response theory.

The interface is that of :mod:`prefill_router.heads.semantic`.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

from prefill_router.data.splits import group_folds, validation_rows
from prefill_router.hardware import torch_threads
from prefill_router.heads.members import masked_bce
from prefill_router.heads.router_base import BaselineRouter
from prefill_router.heads.semantic import rows_with_outcomes

BATCH_SIZE, MAX_EPOCHS, PATIENCE = 256, 200, 10  # of every training here


class _LatentRouter(BaselineRouter):
    """Small networks with a vector per target: what the two routers below share.

    The number of dimensions and the weight decay are chosen by cross-validation. ``members``
    networks from different seeds predict together (mean of P); each stops early on another
    validation part of whole groups, so that together they learn from nearly every row. Fitted:
    ``scaler_`` of the embeddings, ``networks_``.
    """

    dims: tuple[int, ...] = ()  # candidates, each router's own

    def __init__(
        self,
        dims: Sequence[int] | None = None,
        weight_decays: Sequence[float] = (3e-3, 1e-2, 3e-2),
        learning_rate: float = 3e-3,
        members: int = 3,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.dims = self.dims if dims is None else tuple(dims)
        self.weight_decays, self.learning_rate = tuple(weight_decays), learning_rate
        self.members, self.folds, self.seed = members, folds, seed

    def _network(self, d: int, prior: torch.Tensor, dim: int) -> nn.Module:
        raise NotImplementedError

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        X, Y, groups = rows_with_outcomes(X, Y, groups)
        self.scaler_ = StandardScaler().fit(X)
        z = self.scaler_.transform(X)
        fold = group_folds(groups, self.folds, self.seed)
        candidates = list(itertools.product(self.dims, self.weight_decays))
        loss = np.zeros(len(candidates))
        for i, (dim, weight_decay) in enumerate(candidates if len(candidates) > 1 else ()):
            for f in range(self.folds):
                train, test = fold != f, fold == f
                network = self._train(
                    z[train], Y[train], groups[train], dim, weight_decay, self.seed
                )
                loss[i] += np.nansum((_probabilities(network, z[test]) - Y[test]) ** 2)
        self.dim_, self.weight_decay_ = candidates[int(loss.argmin())]
        draws = np.random.SeedSequence(self.seed).generate_state(self.members)
        self.networks_ = [
            self._train(z, Y, groups, self.dim_, self.weight_decay_, int(draw)) for draw in draws
        ]

    def _predict(self, X: Any) -> np.ndarray:
        z = self.scaler_.transform(np.asarray(X, np.float64))
        return np.mean([_probabilities(network, z) for network in self.networks_], axis=0)

    def _train(
        self,
        z: np.ndarray,
        Y: np.ndarray,
        groups: np.ndarray,
        dim: int,
        weight_decay: float,
        seed: int,
    ) -> nn.Module:
        """A network of ``dim`` dimensions that stopped where its validation part was predicted
        best.
        """
        held_out = validation_rows(groups, 0.15, seed)
        known = (~np.isnan(Y)).sum(axis=0)
        rates = (np.nansum(Y, axis=0) + 1) / (known + 2)  # never 0 or 1: its logit is finite
        prior = torch.tensor(np.log(rates / (1 - rates)), dtype=torch.float32)
        train, validation = (
            (torch.tensor(z[rows], dtype=torch.float32), torch.tensor(Y[rows], dtype=torch.float32))
            for rows in (~held_out, held_out)
        )
        with torch.random.fork_rng(devices=[]):  # leave the caller's random state as it was
            torch.manual_seed(seed)
            network = self._network(z.shape[1], prior, dim)
        return _train_early_stopped(
            network, train, validation, self.learning_rate, weight_decay, seed
        )


class MatrixFactorisationRouter(_LatentRouter):
    """P = sigmoid(w2^T (v_k * (W1^T x + b)) + c_k): a target's vector times a projection of the
    query's.

    The scoring function of RouteLLM's matrix factorisation (Ong et al., arXiv 2406.18665), * being
    the elementwise product. RouteLLM learns it from pairwise preferences, P(k wins over l) =
    sigmoid(score of k - score of l) (Bradley-Terry); here it is learned from correctness, by binary
    cross-entropy over the known outcomes, and has a bias c_k per target, as what is wanted is
    P(correct) and not an order. x is the standardised embedding.

    Parameters
    ----------
    dims : sequence of int
        Candidates for the length of v_k; the choice is ``dim_``.
    weight_decays : sequence of float
        Candidates for the L2 term on W1, v and w2 (not on biases); the choice is ``weight_decay_``.
    learning_rate : float
        Of Adam.
    members : int
        Networks that predict together.
    folds, seed : int
        Of the cross-validation; the seed also decides validation parts, weights and batches.
    """

    dims = (4, 16)

    def _network(self, d: int, prior: torch.Tensor, dim: int) -> nn.Module:
        return _Factorisation(d, prior, dim)


class IRTRouter(_LatentRouter):
    """P = sigmoid(a(x)^T theta_k - b(x)): discrimination, ability, difficulty.

    Multidimensional two-parameter item response theory, as in IRT-Router (arXiv 2506.01048): a(x)
    >= 0 (softplus of a linear map) and b(x) (linear) are read from the query's standardised
    embedding x. theta_k is a free vector per target here, where IRT-Router reads it from an
    embedding of the target's description. Learned by binary cross-entropy over the known outcomes.

    Parameters
    ----------
    dims : sequence of int
        Candidates for the length of theta_k; the choice is ``dim_``.
    weight_decays : sequence of float
        Candidates for the L2 term on the two linear maps (not on their biases) and theta; the
        choice is ``weight_decay_``.
    learning_rate, members, folds, seed
        As in :class:`MatrixFactorisationRouter`.
    """

    dims = (16, 64)

    def _network(self, d: int, prior: torch.Tensor, dim: int) -> nn.Module:
        return _ItemResponse(d, prior, dim)


class _Factorisation(nn.Module):
    def __init__(self, d: int, prior: torch.Tensor, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(d, dim)
        self.target = nn.Parameter(torch.randn(len(prior), dim))
        self.weight = nn.Parameter(torch.ones(dim) / dim**0.5)
        self.target_bias = nn.Parameter(prior.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, K] of x [n, d]: w2^T (v_k * p) = p^T (w2 * v_k)."""
        return self.projection(x) @ (self.weight * self.target).T + self.target_bias


class _ItemResponse(nn.Module):
    def __init__(self, d: int, prior: torch.Tensor, dim: int) -> None:
        super().__init__()
        self.discrimination = nn.Linear(d, dim)
        self.difficulty = nn.Linear(d, 1)
        for linear in (self.discrimination, self.difficulty):
            nn.init.zeros_(linear.bias)
        # a(0) = softplus(0) = log 2 in every dimension: the abilities start where each target's
        # rate is met
        start = prior[:, None] / (dim * np.log(2))
        self.ability = nn.Parameter(start + torch.randn(len(prior), dim) / dim**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, K] of x [n, d]."""
        return functional.softplus(self.discrimination(x)) @ self.ability.T - self.difficulty(x)


def _probabilities(network: nn.Module, z: np.ndarray) -> np.ndarray:
    """Sigmoids of a network's logits: float64 [n, K]."""
    with torch.inference_mode():
        return torch.sigmoid(network(torch.tensor(z, dtype=torch.float32)).double()).numpy()


@torch_threads(1)
def _train_early_stopped(
    network: nn.Module,
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> nn.Module:
    """Adam on the masked cross-entropy; ends with the weights of the epoch with the lowest
    validation loss.

    Parameters
    ----------
    network : Module
        [n, d] -> logits [n, K]; changed in place. Parameters named "...bias" have no weight decay:
        they hold the targets' rates.
    train, validation : pairs of float32 tensors X [n, d], Y [n, K]
        NaN in Y is missing.

    Raises
    ------
    RuntimeError
        If a validation loss is not finite.
    """
    X, Y = train
    named = list(network.named_parameters())
    optimizer = torch.optim.Adam(
        [
            {
                "params": [p for name, p in named if not name.endswith("bias")],
                "weight_decay": weight_decay,
            },
            {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
        ],
        lr=learning_rate,
    )
    shuffle = torch.Generator().manual_seed(seed)
    best, best_loss, best_epoch = network.state_dict(), np.inf, 0
    for epoch in range(1, MAX_EPOCHS + 1):
        for batch in torch.randperm(len(X), generator=shuffle).split(BATCH_SIZE):
            optimizer.zero_grad()
            masked_bce(network(X[batch]), Y[batch]).backward()
            optimizer.step()
        with torch.inference_mode():
            loss = masked_bce(network(validation[0]), validation[1]).item()
        if not np.isfinite(loss):
            raise RuntimeError(f"the loss is not finite in epoch {epoch}; lower learning_rate")
        if loss < best_loss - 1e-4:
            best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), loss, epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    network.load_state_dict(best)
    return network
