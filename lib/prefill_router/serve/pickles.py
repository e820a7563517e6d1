"""Pickled checkpoints, for programs that read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefill_router.files import replacing


def scikit_learn(block: Any) -> tuple[Any, Any]:
    """A fitted StandardScaler and PCA that do what a `ScaledPCA` does."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler, pca = StandardScaler(), PCA(len(block.components))
    mean, scale, components = (
        np.asarray(a, np.float64) for a in (block.mean, block.scale, block.components)
    )
    scaler.mean_, scaler.scale_, scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = (
        mean,
        scale,
        scale**2,
        len(mean),
        1,
    )
    pca.components_, pca.mean_, pca.n_features_in_, pca.n_components_ = (
        components,
        np.zeros(len(mean)),
        len(mean),
        len(components),
    )
    # not used without whitening, but an estimator without it counts as not fitted
    pca.explained_variance_ = np.asarray(block.variance, np.float64)
    return scaler, pca


def torch_save(checkpoint: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        torch.save(checkpoint, temporary)
