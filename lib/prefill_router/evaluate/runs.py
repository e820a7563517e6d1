"""One method on one split: what the bootstrap evaluates again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefill_router.evaluate.auc import auc_boot
from prefill_router.evaluate.keys import MetricValues
from prefill_router.evaluate.metrics import pool_metrics_boot
from prefill_router.evaluate.point_metrics import point_metrics_boot, zero_router_boot

Metrics = Callable[[np.ndarray], MetricValues]


@dataclass(frozen=True, eq=False)
class SeedRun:
    """One method on the test queries of one split seed.

    Attributes
    ----------
    groups : ndarray [n]
        Group of each test query.
    metrics : callable
        Weights [B, n] -> dict of metric to values [B].
    """

    groups: np.ndarray
    metrics: Metrics


def router_run(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    groups: ArrayLike,
    overhead: float | np.ndarray = 0.0,
    target_names: Sequence[str] | None = None,
) -> SeedRun:
    """A router with P(correct) [n, K]: all of ``metrics.METRICS``.

    With ``target_names`` also auc, brier and ece of each target, under keys such as
    ``OfTarget("auc", name)``, of which ``SeedAverages.table`` makes the columns metric and target.
    """

    return SeedRun(
        np.asarray(groups),
        lambda weights: pool_metrics_boot(p, cost, correct, overhead, weights, target_names),
    )


def auc_run(p: np.ndarray, correct: np.ndarray, groups: ArrayLike) -> SeedRun:
    """A router's mean_auc and disagreement_auc: what needs no cost and no choice."""
    return SeedRun(np.asarray(groups), lambda weights: auc_boot(p, correct, weights))


def point_run(
    chosen_cost: np.ndarray,
    chosen_correct: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    groups: ArrayLike,
) -> SeedRun:
    """A method that is one point (a single target, the oracle): cost and correctness [n] of its
    choice.
    """
    return SeedRun(
        np.asarray(groups),
        lambda weights: point_metrics_boot(chosen_cost, chosen_correct, cost, correct, weights),
    )


def zero_router_run(cost: np.ndarray, correct: np.ndarray, groups: ArrayLike) -> SeedRun:
    """The zero router: random mixing of the single targets, see ``zero_router_boot``."""
    return SeedRun(np.asarray(groups), lambda weights: zero_router_boot(cost, correct, weights))
