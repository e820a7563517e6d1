"""What label-free probes and J say of an encoder, in one layer."""

from __future__ import annotations

import numpy as np

from prefill_router.features.probes import anisotropy, effective_dimensionality, fisher_j
from prefill_router.features.queries import LabelledQueries
from prefill_router.features.reduction import ScaledPCA

DEPTH = 0.6  # of the layers: where the layer lies that is looked at


def geometry(queries: LabelledQueries, n_components: int) -> dict[str, float]:
    """Mean J over targets, effective dimensionality and anisotropy of the first encoder's mean
    states at ``DEPTH``.
    """
    store = queries.store
    layer = round(DEPTH * store.n_layers)
    x = store.read(layer, "mean", queries.query_ids).astype(np.float64)
    reduction = ScaledPCA.fit(x, n_components)
    reduced = reduction.transform(x)
    return {
        "mean_fisher_j": float(np.mean([fisher_j(reduced, y) for y in queries.correct.T])),
        "d_eff": effective_dimensionality((x - reduction.mean) / reduction.scale),
        "anisotropy": anisotropy(x),
    }
