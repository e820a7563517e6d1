"""Metrics of what is no router: single points and the zero router."""

from __future__ import annotations

import numpy as np

from prefill_router.evaluate.areas import auccc_rows, front_auccc
from prefill_router.evaluate.curves import convex_hull
from prefill_router.evaluate.keys import MetricValues
from prefill_router.evaluate.metrics import curve_values, disagree_accuracy, pool_values
from prefill_router.evaluate.weighting import complete_arrays, weight_rows, weighted_means


def point_metrics_boot(
    chosen_cost: np.ndarray,
    chosen_correct: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray,
) -> MetricValues:
    """The metrics of a method with one fixed choice per query (a single target, the oracle): no P,
    no curve.

    Parameters
    ----------
    chosen_cost, chosen_correct : ndarray [n]
        Cost and correctness of the method's choice; its own cost included.
    cost, correct : ndarray [n, K]
        The pool, no NaN.
    weights : ndarray [B, n]

    Returns
    -------
    dict of ndarray [B]
        accuracy, best_single_accuracy, oracle_accuracy, gap_closed, cost_saving_vs_max,
        cost_saving_at_best_single, disagree_accuracy, as in ``pool_metrics_boot``, the curve being
        the single point.
    """
    weights = weight_rows(weights, len(np.asarray(cost)))
    pool = pool_values(cost, correct, weights)
    chosen = [
        complete_arrays(*named)
        for named in (("chosen_cost", chosen_cost), ("chosen_correct", chosen_correct))
    ]
    curve_cost, curve_accuracy = (weighted_means(values[:, None], weights) for values in chosen)
    values = curve_values(curve_cost, curve_accuracy, pool)
    values["disagree_accuracy"] = disagree_accuracy(
        chosen[1], np.asarray(correct, dtype=np.float64), weights
    )
    return values


def zero_router_boot(cost: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> MetricValues:
    """The zero router's metrics: the upper convex hull of the single targets, their best random
    mixing.

    Parameters and result are those of ``point_metrics_boot`` with p_auccc, model_pareto_auccc and
    mdp_auccc instead of disagree_accuracy (it has no one answer to a query); the curve is the hull,
    recomputed in each replicate, and its accuracy is the best single target's.
    """
    weights = weight_rows(weights, len(np.asarray(cost)))
    pool = pool_values(cost, correct, weights)
    curve_cost, curve_accuracy = pool["cost"].copy(), pool["accuracy"].copy()
    for row_cost, row_accuracy in zip(curve_cost, curve_accuracy, strict=True):
        if np.isfinite(row_accuracy).all():
            hull = convex_hull(row_cost, row_accuracy)
            # Dearest first, as in a router's curve; the cheapest is repeated so that rows are
            # equally long.
            hull = hull[::-1][np.minimum(np.arange(len(row_cost)), len(hull) - 1)]
            row_cost[:], row_accuracy[:] = row_cost[hull], row_accuracy[hull]
    values = curve_values(curve_cost, curve_accuracy, pool)
    values["p_auccc"] = auccc_rows(
        curve_cost, curve_accuracy, pool["c_min"], pool["c_max"], pool["floor"]
    )
    values["model_pareto_auccc"] = front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    return values
