"""The ensemble of SharedTrunkNets: ten members side by side against ten one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from scipy.stats import ks_2samp
from torch import nn

from prefill_router.data.splits import validation_rows
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.store import store_folder
from prefill_router.features.choice import FeatureChoice
from prefill_router.features.pipeline import FeaturePipeline
from prefill_router.heads.members import masked_bce
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble

from .common import ENCODER, frontier, ratio, spread, timed, workspace, write

REPEATS, COMPONENTS = 4, 100


def recipe(
    X: np.ndarray, Y: np.ndarray, groups: np.ndarray, config: TrunkConfig, seed: int
) -> list[float]:
    """The published training, member after member; the lowest validation loss of each."""
    losses = []
    for member in range(config.members):
        held_out = validation_rows(
            groups, config.validation_fraction, 1000 * seed + member
        )  # of its own
        train_x, train_y, val_x, val_y = (
            torch.from_numpy(np.ascontiguousarray(t[rows], np.float32))
            for rows in (~held_out, held_out)
            for t in (X, Y)
        )
        torch.manual_seed(1000 * seed + member)
        network = nn.Sequential(
            nn.Linear(X.shape[1], 256),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(128, Y.shape[1]),
        )
        optimizer = torch.optim.Adam(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        best, waited = float("inf"), 0
        for _ in range(config.max_epochs):
            network.train()
            for batch in torch.randperm(len(train_x)).split(config.batch_size):
                optimizer.zero_grad()
                masked_bce(network(train_x[batch]), train_y[batch]).backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                loss = masked_bce(network(val_x), val_y).item()
            if loss < best - config.min_improvement:
                best, waited, _kept = loss, 0, copy.deepcopy(network.state_dict())
            else:
                waited += 1
                if waited >= config.patience:
                    break
        losses.append(best)
    return losses


def _last_improvement(losses: Iterable[float]) -> float:
    """The loss of the epoch that is kept, as in the recipe: an improvement below
    ``min_improvement`` does not count.
    """
    best = float("inf")
    for loss in losses:
        if loss < best - TrunkConfig.min_improvement:
            best = loss
    return best


def run() -> None:
    """Interleave them on the frontier pool's features, a middle layer for every target, and compare
    the validation losses.
    """
    ws, outcomes = workspace()
    pool, train, groups = frontier()
    encoder = load_encoder(ENCODER)
    ids = list(outcomes.queries["query_id"])
    store = extract(
        encoder, ids, outcomes.prompts, store_folder(ws.activations, encoder, ids, outcomes.prompts)
    )
    query_ids = np.array(ids)[train]
    layers = np.linspace(store.n_layers // 2, store.n_layers - 5, len(pool.targets)).astype(int)
    choices = [
        FeatureChoice(t, int(layer), "mean", COMPONENTS)
        for t, layer in zip(pool.target_names, layers, strict=True)
    ]
    X, Y, of_train = (
        FeaturePipeline(choices).fit(store, query_ids).transform(store, query_ids),
        pool.correct[train],
        groups[train],
    )
    recipe(X, Y, of_train, TrunkConfig(members=1, keep=1, max_epochs=3), 0)
    seconds: dict[str, list[float]] = {"recipe": [], "ours": [], "ours_float32": []}
    losses: dict[str, list[float]] = {name: [] for name in seconds}
    for seed in range(REPEATS):
        took, found = timed(lambda seed=seed: recipe(X, Y, of_train, TrunkConfig(), seed))
        seconds["recipe"].append(took)
        losses["recipe"] += found
        for name, dtype in (("ours", "auto"), ("ours_float32", "float32")):
            took, ensemble = timed(
                lambda seed=seed, dtype=dtype: TrunkEnsemble(
                    TrunkConfig(dtype=dtype), seed=seed
                ).fit(X, Y, of_train)
            )
            seconds[name].append(took)
            losses[name] += [
                _last_improvement(rows["validation_loss"])
                for _, rows in ensemble.history.groupby("member")
            ]
    write(
        "ensemble_zeroeval_frontier",
        {
            "what": (
                f"ten members on {len(X)} training queries x {X.shape[1]} features, {Y.shape[1]}"
                " targets, early stopping"
            ),
            **{
                name: {
                    "seconds": spread(seconds[name]),
                    "validation_loss": {
                        "mean": float(np.mean(losses[name])),
                        "std": float(np.std(losses[name])),
                    },
                }
                for name in seconds
            },
            "ratio": ratio(seconds["recipe"], seconds["ours"]),
            "ratio_float32": ratio(seconds["recipe"], seconds["ours_float32"]),
            "kolmogorov_smirnov_p_of_validation_losses": {
                name: float(ks_2samp(losses["recipe"], losses[name]).pvalue)
                for name in ("ours", "ours_float32")
            },
        },
    )
