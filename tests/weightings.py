"""What the evaluation computes for many weightings of the queries, asked for in tests."""

import numpy as np

from prefill_router.evaluate.metrics import pool_metrics_boot
from prefill_router.evaluate.resampling import seed_averaged_intervals
from prefill_router.evaluate.runs import SeedRun


def metrics_of(p, cost, correct, overhead=0.0, weights=None):
    """All metrics of a router on a pool as floats, for one weighting [n]; default: all 1."""
    weights = np.ones(len(p)) if weights is None else np.asarray(weights)
    values = pool_metrics_boot(p, cost, correct, overhead, weights[None])
    return {name: float(value[0]) for name, value in values.items()}


def drawn_weights(groups, n_boot, seed):
    """Weights [n_boot, n] that the bootstrap draws for queries of these groups."""

    def metrics(weights):
        return {str(i): column for i, column in enumerate(weights.T)}

    run = SeedRun(np.asarray(groups), metrics)
    averages = seed_averaged_intervals({"m": [run]}, n_boot, seed)
    assert all(
        value == 1 for value in averages.point.values()
    )  # the value itself: every query once
    return np.stack([averages.draws["m", str(i)] for i in range(len(groups))], axis=1)
