"""Metrics of LLM Router (arXiv 2603.20895), vectorised over bootstrap weights.

Shapes: n queries, K targets, B replicates (one row of weights each), T points of a curve.
Accuracies are shares in [0, 1], costs are in the unit of the outcomes, differences are in the same
units. Of graded outcomes an accuracy is the mean grade of the targets chosen: the expected accuracy
of one answer. Missing outcomes (NaN) are masked where a target is looked at alone (AUC, Brier,
ECE); whatever routes needs complete rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from prefill_router.evaluate.agreement import with_every_outcome
from prefill_router.evaluate.areas import SAME, area_rows, front_auccc, sorted_rows
from prefill_router.evaluate.auc import pair_auc_rows, per_target_boot
from prefill_router.evaluate.curves import CurveSteps, curve_steps
from prefill_router.evaluate.keys import MetricValues, OfTarget
from prefill_router.evaluate.weighting import (
    complete_arrays,
    divided,
    known_mean,
    row_blocks,
    weight_rows,
    weighted_means,
)

METRICS = (
    "mean_auc",
    "accuracy",
    "best_single_accuracy",
    "oracle_accuracy",
    "gap_closed",
    "cost_saving_vs_max",
    "cost_saving_at_best_single",
    "p_auccc",
    "model_pareto_auccc",
    "mdp_auccc",
    "pdp_auccc",
    "brier",
    "ece",
    "log_loss",
    "disagreement_auc",
    "disagree_accuracy",
)
# Those that need a cost; all others need P and correctness alone.
COST_METRICS = (
    "cost_saving_vs_max",
    "cost_saving_at_best_single",
    "p_auccc",
    "model_pareto_auccc",
    "mdp_auccc",
    "pdp_auccc",
)
# Distances, which noise only raises, and the power in which noise adds to them: see
# ``intervals.basic_interval``. PDP-AUCCC is a difference of areas and adds as it is; a bin's
# |mean P - accuracy| and its noise add as squares.
DISTANCES = {"pdp_auccc": 1, "ece": 2}


# --- the pool
# -----------------------------------------------------------------------------------------------


def best_single(correct: np.ndarray) -> tuple[int, float]:
    """Index and accuracy of the most accurate target of [n, K] (the first one of equals).

    Targets are compared on the same queries, those with every outcome: one that was asked the easy
    ones alone would otherwise be the best. ValueError if there is no such query.
    """
    correct = with_every_outcome(correct)
    if not len(correct):
        raise ValueError(
            "no query has an outcome of every target, so targets cannot be compared; fill outcomes"
            " in or drop a target"
        )
    accuracy = correct.mean(axis=0)
    best = int(accuracy.argmax())
    return best, float(accuracy[best])


def oracle_accuracy(correct: np.ndarray) -> float:
    """Share of queries that any target answers, of those with every outcome, as for
    ``best_single``; NaN if there is none.

    Of graded outcomes it is the mean of each query's highest grade: what one would reach who knew
    the share of each target's answers that are right, but not which answer comes next. The highest
    of several noisy shares is too high on average, see ``luck``.
    """
    correct = with_every_outcome(correct)
    return float(correct.max(axis=1).mean()) if len(correct) else float("nan")


def gap_closed(accuracy: ArrayLike, best: ArrayLike, oracle: ArrayLike) -> np.ndarray:
    """(accuracy - best) / (oracle - best), elementwise; 1 = oracle, NaN where oracle = best."""
    gap = np.subtract(oracle, best)
    return divided(np.subtract(accuracy, best), np.where(np.abs(gap) > SAME, gap, 0.0))


def cost_saving(router_cost: ArrayLike, reference_cost: ArrayLike) -> np.ndarray:
    """1 - router_cost / reference_cost, elementwise; negative = dearer; NaN where the reference is
    0.
    """
    return 1.0 - divided(router_cost, reference_cost)


def pool_metrics_boot(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray,
    weights: np.ndarray,
    target_names: Sequence[str] | None = None,
) -> MetricValues:
    """All of ``METRICS`` for every weighting of the queries.

    Everything that depends on the queries is redone for each row of weights: the curve, the best
    single target, the front, c_min, c_max and the floor. Noise raises ECE, maxima and fronts, so
    their draws tend to lie above the value on the queries themselves.

    Parameters
    ----------
    p, cost, correct : ndarray [n, K]
        P(correct), cost of each target, correctness; no NaN (take ``Outcomes.complete_rows``
        first).
    overhead : float or ndarray [n]
        The router's own cost per query, added to its curve but not to the single targets.
    weights : ndarray [B, n]
        A row of ones gives the value on the queries themselves.
    target_names : sequence of str, length K, optional
        Add ``per_target_boot`` of each target, under keys such as ``OfTarget("auc", name)``.

    Returns
    -------
    dict of ndarray [B]
        - mean_auc: mean over targets of the AUC of P (targets with one class in a replicate left
          out).
        - accuracy: of the routed answers at tolerance 0.
        - best_single_accuracy, oracle_accuracy, gap_closed: see the functions of these names.
        - cost_saving_vs_max: at tolerance 0, against the target with the largest mean cost.
        - cost_saving_at_best_single: at the cheapest point of the curve that is at least as
          accurate as the best single target, against that target's mean cost (the cheaper of
          equals); NaN if no point is.
        - p_auccc, model_pareto_auccc: ``areas.auccc_rows`` of the router's curve, of the Pareto
          front of the single targets.
        - mdp_auccc: p_auccc - model_pareto_auccc (lift over the single targets). The front is not
          the zero router: where it is not concave, random mixing alone has a positive lift
          (``zero_router_boot``).
        - pdp_auccc: AUCCC of the Pareto front of targets and router points together, minus p_auccc.
          It can fall below 0: a target that no point dominates, yet below the router's line, bends
          the front down.
        - brier, ece, log_loss: means over targets; ece with 15 bins of equal mass.
        - disagreement_auc: mean over pairs of targets of the AUC of ``pairwise_disagreement``
          (pairs with one class in a replicate left out): can P tell which of two is right, where
          just one is?
        - disagree_accuracy: of the routed answers at tolerance 0, on the queries that some but not
          all targets answer (graded ones by how likely that is); NaN if there is none.
        AUCCCs are NaN where all targets cost the same.
    """
    steps = curve_steps(p, cost, correct, overhead)
    p, cost, correct = (np.asarray(a, dtype=np.float64) for a in (p, cost, correct))
    weights = weight_rows(weights, len(p))
    pool = pool_values(cost, correct, weights)
    values = router_values(steps, weights, pool)
    values["model_pareto_auccc"] = front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    values["pdp_auccc"] = values.pop("front_auccc") - values["p_auccc"]
    alone = per_target_boot(p, correct, weights)
    for name, of_pool in (
        ("auc", "mean_auc"),
        ("brier", "brier"),
        ("ece", "ece"),
        ("log_loss", "log_loss"),
    ):
        values[of_pool] = known_mean(alone[name].T)
    values["disagreement_auc"] = known_mean(pair_auc_rows(p, correct, weights))
    values["disagree_accuracy"] = disagree_accuracy(steps.start_correct, correct, weights)
    found: MetricValues = {name: values[name] for name in METRICS}
    for metric, of_target in alone.items():
        for k, target in enumerate(target_names or ()):
            found[OfTarget(metric, target)] = of_target[:, k]
    return found


# --- rows of replicates
# -------------------------------------------------------------------------------------


def router_values(
    steps: CurveSteps, weights: np.ndarray, pool: Mapping[str, np.ndarray]
) -> MetricValues:
    """What is read off the router's curve, [B] each, in blocks of replicates: the curve has many
    points.
    """
    parts = []
    for rows in row_blocks(len(weights), len(steps.query)):
        here = {name: values[rows] for name, values in pool.items()}
        cost, accuracy = steps.evaluate(weights[rows])
        part = curve_values(cost, accuracy, here)
        # The tolerance only ever moves a query to a cheaper target: backwards, the curve is sorted
        # by cost.
        cost, accuracy = sorted_rows(cost[:, ::-1], accuracy[:, ::-1])
        part["p_auccc"] = area_rows(cost, accuracy, here["c_min"], here["c_max"], here["floor"])
        # A point that is not above all cheaper ones of the curve is not on the front of curve and
        # targets.
        cost, accuracy = _records(cost, accuracy)
        part["front_auccc"] = front_auccc(
            np.hstack([here["cost"], cost]), np.hstack([here["accuracy"], accuracy]), here
        )
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def pool_values(cost: ArrayLike, correct: ArrayLike, weights: np.ndarray) -> dict[str, np.ndarray]:
    """What the single targets and the oracle do: cost and accuracy are [B, K], all else [B]."""
    cost, correct = complete_arrays("cost", cost), complete_arrays("correct", correct)
    mean_cost, accuracy = weighted_means(cost, weights), weighted_means(correct, weights)
    c_min, c_max, best = mean_cost.min(axis=1), mean_cost.max(axis=1), accuracy.max(axis=1)
    # Ties: of equally cheap targets the more accurate is the floor, of equally accurate the cheaper
    # is the best.
    cheapest = mean_cost <= (c_min + SAME * np.abs(c_min))[:, None]
    most_accurate = accuracy >= (best - SAME)[:, None]
    return {
        "cost": mean_cost,
        "accuracy": accuracy,
        "c_min": c_min,
        "c_max": c_max,
        "floor": np.where(cheapest, accuracy, -np.inf).max(axis=1),
        "best": best,
        "best_cost": np.where(most_accurate, mean_cost, np.inf).min(axis=1),
        "oracle": weighted_means(correct.max(axis=1)[:, None], weights)[:, 0],
    }


def curve_values(
    curve_cost: np.ndarray, curve_accuracy: np.ndarray, pool: Mapping[str, np.ndarray]
) -> MetricValues:
    """Metrics read off a curve [B, T] whose first point is tolerance 0."""
    reached = curve_accuracy >= (pool["best"] - SAME)[:, None]
    at_best = np.where(reached, curve_cost, np.inf).min(axis=1)
    return {
        "accuracy": curve_accuracy[:, 0],
        "best_single_accuracy": pool["best"],
        "oracle_accuracy": pool["oracle"],
        "gap_closed": gap_closed(curve_accuracy[:, 0], pool["best"], pool["oracle"]),
        "cost_saving_vs_max": cost_saving(curve_cost[:, 0], pool["c_max"]),
        "cost_saving_at_best_single": cost_saving(
            np.where(np.isinf(at_best), np.nan, at_best), pool["best_cost"]
        ),
    }


def _records(cost: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of each sorted row [B, T] that are more accurate than all before; the first is
    repeated until rows are equally long.
    """
    best = np.maximum.accumulate(accuracy, axis=1)
    record = np.ones(accuracy.shape, dtype=bool)
    record[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    row, column = np.nonzero(record)
    count = np.bincount(row, minlength=len(record))
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    at = np.zeros((len(record), count.max()), dtype=np.intp)
    at[row, place] = column
    return np.take_along_axis(cost, at, axis=1), np.take_along_axis(accuracy, at, axis=1)


def disagree_accuracy(
    chosen_correct: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Accuracy [B] of a choice over the queries that some but not all targets answer.

    Where outcomes are graded and answers independent draws: how likely the choice is right and
    another target wrong, by how likely the targets differ.
    """
    all_right, all_wrong = correct.prod(axis=1), (1 - correct).prod(axis=1)
    differ = 1 - all_right - all_wrong
    rows = correct.max(axis=1) * (1 - correct.min(axis=1)) > 0  # without rounding: who can differ
    right = np.ascontiguousarray(chosen_correct[rows] - all_right[rows])
    return divided(weights[:, rows] @ right, (weights[:, rows] * differ[rows]).sum(axis=1))
