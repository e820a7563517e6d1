"""What a serving program does with an exported file, step by step as `docs/formats.md` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from prefill_router.features.queries import States


def switchyard_features(
    pipeline: Mapping[str, Any], store: States, query_ids: Sequence[str] | np.ndarray
) -> torch.Tensor:
    """Last-token states of the chosen layers, standardised, averaged, scaled and projected:
    float32 [n, k].
    """
    layers = []
    for layer in pipeline["selected_layers"]:
        states = torch.from_numpy(store.read(layer, "last", query_ids).astype(np.float32))
        mean, scale = pipeline["layer_mean"][str(layer)], pipeline["layer_std"][str(layer)]
        layers.append((states - mean) / scale)
    x = torch.stack(layers).mean(dim=0)
    x = (x - pipeline["scaler_mean"]) / pipeline["scaler_scale"] - pipeline["pca_mean"]
    return x @ pipeline["pca_components"].T


def switchyard_proba(
    checkpoint: Mapping[str, Any], store: States, query_ids: Sequence[str] | np.ndarray
) -> np.ndarray:
    """P(correct) [n, K] from the file and stored states alone: the mean over the members."""
    x = switchyard_features(checkpoint["feature_pipeline"], store, query_ids)
    members = []
    for state in checkpoint["model_state_dicts"]:
        logits = []
        for i in range(len(checkpoint["models"])):
            hidden = _linear(state, f"adapters.{i}", x).relu()
            logits.append(_linear(state, f"heads.{i}", _linear(state, "trunk.0", hidden).relu()))
        members.append(torch.cat(logits, dim=1).sigmoid())
    return torch.stack(members).mean(dim=0).numpy()


def _linear(state: Mapping[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
