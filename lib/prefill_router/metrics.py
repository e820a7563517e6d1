"""Metrics of LLM Router (arXiv 2603.20895), vectorised over bootstrap weights.

Shapes: n queries, K targets, B replicates (one row of weights each), T points of a curve.
Accuracies are shares in [0, 1], costs are in the unit of the outcomes, differences are in the same
units. Missing outcomes (NaN) are masked where a target is looked at alone (AUC, Brier, ECE);
whatever routes needs complete rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from prefill_router.routing import CurveSteps, convex_hull, curve_steps

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
# ``stats.basic_interval``. PDP-AUCCC is a
# difference of areas and adds as it is; a bin's |mean P - accuracy| and its noise add as squares.
DISTANCES = {"pdp_auccc": 1, "ece": 2}
ECE_BINS = 15
LOG_LOSS_CLIP = (
    1e-7  # P is kept this far from 0 and 1: one certain and wrong P would make the mean infinite
)
_SAME = 1e-12  # relative difference below which two mean costs or accuracies are equal
_BLOCK = 200_000  # numbers per temporary array of the bootstrap: several fit in a processor's cache


# --- one target alone
# ---------------------------------------------------------------------------------------


def weighted_auc(score: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for many weightings of the same queries.

    P(score of a right one > score of a wrong one) + half P(equal), each query counted by its
    weight: what ``sklearn.metrics.roc_auc_score(label, score, sample_weight=w)`` gives for every
    row w.

    Parameters
    ----------
    score : ndarray [n]
    label : ndarray [n]
        0, 1 or NaN (missing: left out).
    weights : ndarray [B, n]
        >= 0.

    Returns
    -------
    ndarray [B]
        NaN where the weighted queries are all right or all wrong.
    """
    score, label = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    seen = np.flatnonzero(~np.isnan(label))
    if not np.isin(label[seen], (0.0, 1.0)).all():
        raise ValueError("AUC needs labels that are 0, 1 or NaN; threshold graded outcomes first")
    if not np.isfinite(score[seen]).all():
        raise ValueError("AUC needs finite values of P; look for NaN in the predictions")
    if seen.size == 0:
        return np.full(len(weights), np.nan)
    right, wrong = seen[label[seen] == 1], seen[label[seen] == 0]
    wrong = wrong[np.argsort(score[wrong], kind="stable")]
    below = _cumulated(weights[:, wrong])
    # Weight of the wrong ones with a score below that of each right one; of equal scores half
    # counts.
    first, last = (
        np.searchsorted(score[wrong], score[right], side=side) for side in ("left", "right")
    )
    right_weights, wrong_below = weights[:, right], below[:, first]
    if (first != last).any():
        wrong_below = (wrong_below + below[:, last]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("bn,bn->b", right_weights, wrong_below) / (
            right_weights.sum(axis=1) * below[:, -1]
        )


def per_target_auc(p: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """AUC [K] of P(correct) against correctness, both [n, K], per target; NaN where undefined."""
    p, correct = _same_shape(p, correct)
    unit = np.ones((1, len(p)))
    return np.array([weighted_auc(p[:, k], correct[:, k], unit)[0] for k in range(p.shape[1])])


def per_target_boot(
    p: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """AUC, Brier score, ECE and log loss of every target for every weighting; the pool's are their
    means.

    Parameters
    ----------
    p, correct : ndarray [n, K]
        P(correct) and correctness (NaN = missing: left out).
    weights : ndarray [B, n]

    Returns
    -------
    dict of ndarray [B, K]
        auc, brier, ece (15 bins), log_loss; NaN where undefined.
    """
    p, correct = _same_shape(p, correct)
    weights = _weight_rows(weights, len(p))
    return {
        "auc": np.stack(
            [weighted_auc(p[:, k], correct[:, k], weights) for k in range(p.shape[1])], axis=1
        ),
        "brier": _brier_rows(p, correct, weights),
        "ece": _ece_rows(p, correct, weights, ECE_BINS),
        "log_loss": _log_loss_rows(p, correct, weights),
    }


def auc_boot(p: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """mean_auc and disagreement_auc [B] of ``pool_metrics_boot``, which need no cost."""
    p, correct = _same_shape(p, correct)
    weights = _weight_rows(weights, len(p))
    alone = [weighted_auc(p[:, k], correct[:, k], weights) for k in range(p.shape[1])]
    return {
        "mean_auc": _nanmean(np.array(alone)),
        "disagreement_auc": _nanmean(_pair_auc_rows(p, correct, weights)),
    }


def mean_auc(p: np.ndarray, correct: np.ndarray) -> float:
    """Mean of ``per_target_auc`` over the targets for which it is defined; NaN if there is none."""
    return float(_nanmean(per_target_auc(p, correct)))


def brier(p: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Brier score: mean of (p - y)^2; lower is better.

    Parameters
    ----------
    p, y : ndarray [n] or [n, K]
        P(correct) and correctness (NaN = missing: left out). With K targets, the mean of their
        scores.
    weights : ndarray [n], optional
    """
    return float(_nanmean(_brier_rows(*_columns(p, y), _one_row(weights, len(p)))[0]))


def log_loss(p: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Binary cross-entropy: mean of -y log p - (1 - y) log(1 - p), in nats; lower is better.

    P is kept ``LOG_LOSS_CLIP`` away from 0 and 1. Parameters as in ``brier``.
    """
    return float(_nanmean(_log_loss_rows(*_columns(p, y), _one_row(weights, len(p)))[0]))


def ece_equal_mass(
    p: np.ndarray, y: np.ndarray, bins: int = ECE_BINS, weights: np.ndarray | None = None
) -> float:
    """Expected calibration error over bins of equal mass: sum over bins of share x |mean p -
    accuracy|.

    Queries are put in order of p and cut into ``bins`` parts of equal weight (15 of 45 queries: 3
    each; sizes differ by at most one where they must). Equal values of p stay together, in the bin
    that holds the middle of their weight, so that the order of the rows cannot matter; a constant p
    is one bin.

    Parameters
    ----------
    p, y : ndarray [n] or [n, K]
        P(correct) and correctness (NaN = missing: left out). With K targets, the mean of their
        errors.
    bins : int
    weights : ndarray [n], optional
    """
    return float(_nanmean(_ece_rows(*_columns(p, y), _one_row(weights, len(p)), bins)[0]))


def reliability_table(p: np.ndarray, y: np.ndarray, bins: int = ECE_BINS) -> pd.DataFrame:
    """The bins of ``ece_equal_mass`` for one target, one row per non-empty bin, by ascending p.

    Returns
    -------
    DataFrame [bin, n, p_min, p_max, p_mean, accuracy]
    """
    p, y = _columns(p, y)
    if p.shape[1] != 1:
        raise ValueError(
            f"reliability_table takes one target, not {p.shape[1]}; call it per column"
        )
    seen = ~np.isnan(y[:, 0])
    p, y = p[seen, 0], y[seen, 0]
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    table = pd.DataFrame(
        {"bin": _equal_mass_bins(p, np.ones((1, len(p))), bins)[0], "p": p, "y": y}
    )
    return table.groupby("bin", as_index=False).agg(
        n=("p", "size"),
        p_min=("p", "min"),
        p_max=("p", "max"),
        p_mean=("p", "mean"),
        accuracy=("y", "mean"),
    )


# --- the pool
# -----------------------------------------------------------------------------------------------


def best_single(correct: np.ndarray) -> tuple[int, float]:
    """Index and accuracy of the most accurate target of [n, K] (the first one of equals).

    Targets are compared on the same queries, those with every outcome: one that was asked the easy
    ones alone would otherwise be the best. ValueError if there is no such query.
    """
    correct = _with_every_outcome(correct)
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
    """
    correct = _with_every_outcome(correct)
    return float(correct.max(axis=1).mean()) if len(correct) else float("nan")


def win_shares(correct: np.ndarray) -> np.ndarray:
    """[K, K]: entry (a, b) is the share of queries on which a is right and b is wrong, of those
    with every outcome; NaN if there is none.
    """
    correct = _with_every_outcome(correct)
    return _ratio((correct == 1).T.astype(np.float64) @ (correct == 0), np.float64(len(correct)))


def gap_closed(accuracy, best, oracle):
    """(accuracy - best) / (oracle - best), elementwise; 1 = oracle, NaN where oracle = best."""
    gap = np.subtract(oracle, best)
    return _ratio(np.subtract(accuracy, best), np.where(np.abs(gap) > _SAME, gap, 0.0))


def cost_saving(router_cost, reference_cost):
    """1 - router_cost / reference_cost, elementwise; negative = dearer; NaN where the reference is
    0.
    """
    return 1.0 - _ratio(router_cost, reference_cost)


def auccc(
    cost: np.ndarray, accuracy: np.ndarray, c_min: float, c_max: float, floor: float
) -> float:
    """Area under a cost-coverage curve above the floor, per unit of cost.

    The points are sorted by cost and joined by straight lines. The curve is padded to [c_min,
    c_max]: left of its first point it is constant at ``floor`` and jumps up (or down) vertically at
    the first point's cost; right of its last point it stays at that point's accuracy. Where it
    extends beyond c_min or c_max it is cut there by linear interpolation. The result is the
    trapezoid integral of (curve - floor) over [c_min, c_max] / (c_max - c_min).

    Parameters
    ----------
    cost, accuracy : ndarray [T]
        The curve's points, in any order; of points of equal cost the less accurate comes first.
    c_min, c_max : float
        Mean cost of the cheapest and the dearest single target of the pool.
    floor : float
        Accuracy of the cheapest target.

    Raises
    ------
    ValueError
        If the curve has no point, a point is not finite, or c_max <= c_min.
    """
    cost, accuracy = _same_shape(cost, accuracy)
    if (
        cost.ndim != 1
        or cost.size == 0
        or not (np.isfinite(cost).all() and np.isfinite(accuracy).all())
    ):
        raise ValueError("a curve needs at least one point, all of them finite")
    if not c_max > c_min:
        raise ValueError(
            f"AUCCC needs c_max > c_min, not [{c_min}, {c_max}]: all targets cost the same"
        )
    bounds = (np.array([v], dtype=np.float64) for v in (c_min, c_max, floor))
    return float(_auccc_rows(cost[None, :], accuracy[None, :], *bounds)[0])


def pool_metrics(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray = 0.0,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """All of ``METRICS`` for a router on a pool: ``pool_metrics_boot`` for one weighting (default:
    all 1).
    """
    values = pool_metrics_boot(p, cost, correct, overhead, _one_row(weights, len(np.asarray(p))))
    return {name: float(value[0]) for name, value in values.items()}


def pool_metrics_boot(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray,
    weights: np.ndarray,
    target_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
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
        For example from ``stats.group_bootstrap_weights``.
    target_names : sequence of str, length K, optional
        Add ``per_target_boot`` of each target, under keys such as ``"auc@target name"``.

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
        - p_auccc, model_pareto_auccc: ``auccc`` of the router's curve, of the Pareto front of the
          single targets.
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
          all targets answer; NaN if there is none.
        AUCCCs are NaN where all targets cost the same.
    """
    steps = curve_steps(p, cost, correct, overhead)
    p, cost, correct = (np.asarray(a, dtype=np.float64) for a in (p, cost, correct))
    weights = _weight_rows(weights, len(p))
    pool = _pool_values(cost, correct, weights)
    values = _router_values(steps, weights, pool)
    values["model_pareto_auccc"] = _front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    values["pdp_auccc"] = values.pop("front_auccc") - values["p_auccc"]
    alone = per_target_boot(p, correct, weights)
    for name, of_pool in (
        ("auc", "mean_auc"),
        ("brier", "brier"),
        ("ece", "ece"),
        ("log_loss", "log_loss"),
    ):
        values[of_pool] = _nanmean(alone[name].T)
    values["disagreement_auc"] = _nanmean(_pair_auc_rows(p, correct, weights))
    values["disagree_accuracy"] = _disagree_accuracy(steps.start_correct, correct, weights)
    values = {name: values[name] for name in METRICS}
    for metric, of_target in alone.items() if target_names is not None else ():
        values |= {f"{metric}@{name}": of_target[:, k] for k, name in enumerate(target_names)}
    return values


def point_metrics_boot(
    chosen_cost: np.ndarray,
    chosen_correct: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
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
    weights = _weight_rows(weights, len(np.asarray(cost)))
    pool = _pool_values(cost, correct, weights)
    chosen = [
        _complete(*named)
        for named in (("chosen_cost", chosen_cost), ("chosen_correct", chosen_correct))
    ]
    curve_cost, curve_accuracy = (_means(values[:, None], weights) for values in chosen)
    values = _curve_values(curve_cost, curve_accuracy, pool)
    values["disagree_accuracy"] = _disagree_accuracy(
        chosen[1], np.asarray(correct, dtype=np.float64), weights
    )
    return values


def zero_router_boot(
    cost: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The zero router's metrics: the upper convex hull of the single targets, their best random
    mixing.

    Parameters and result are those of ``point_metrics_boot`` with p_auccc, model_pareto_auccc and
    mdp_auccc instead of disagree_accuracy (it has no one answer to a query); the curve is the hull,
    recomputed in each replicate, and its accuracy is the best single target's.
    """
    weights = _weight_rows(weights, len(np.asarray(cost)))
    pool = _pool_values(cost, correct, weights)
    curve_cost, curve_accuracy = pool["cost"].copy(), pool["accuracy"].copy()
    for row_cost, row_accuracy in zip(curve_cost, curve_accuracy, strict=True):
        if np.isfinite(row_accuracy).all():
            hull = convex_hull(row_cost, row_accuracy)
            # Dearest first, as in a router's curve; the cheapest is repeated so that rows are
            # equally long.
            hull = hull[::-1][np.minimum(np.arange(len(row_cost)), len(hull) - 1)]
            row_cost[:], row_accuracy[:] = row_cost[hull], row_accuracy[hull]
    values = _curve_values(curve_cost, curve_accuracy, pool)
    values["p_auccc"] = _auccc_rows(
        curve_cost, curve_accuracy, pool["c_min"], pool["c_max"], pool["floor"]
    )
    values["model_pareto_auccc"] = _front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    return values


# --- where targets differ
# -----------------------------------------------------------------------------------


def agreement_zones(correct: np.ndarray) -> dict[str, float]:
    """Shares of queries that all targets answer, some do, none does.

    Returns
    -------
    dict
        all_right, disagree, all_wrong (sum 1 over the queries with every outcome), n (their
        number), n_incomplete.
    """
    correct = np.asarray(correct, dtype=np.float64)
    complete = _with_every_outcome(correct)
    n = len(complete)
    right = float((complete == 1).all(axis=1).mean()) if n else float("nan")
    wrong = float((complete == 0).all(axis=1).mean()) if n else float("nan")
    zones = {"all_right": right, "disagree": 1.0 - right - wrong, "all_wrong": wrong}
    return zones | {"n": n, "n_incomplete": len(correct) - n}


def pairwise_win_rates(p: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """[K, K]: entry (a, b) is P(p_a > p_b | a right, b wrong); NaN where that never happens."""
    p, correct = _same_shape(p, correct)
    k = p.shape[1]
    rates = np.full((k, k), np.nan)
    for a in range(k):
        for b in range(k):
            rows = (correct[:, a] == 1) & (correct[:, b] == 0)
            if rows.any():
                rates[a, b] = (p[rows, a] > p[rows, b]).mean()
    return rates


def pairwise_disagreement(
    p: np.ndarray, correct: np.ndarray, target_names: Sequence[str]
) -> pd.DataFrame:
    """How well P tells which of two targets is right, over the queries on which just one of them
    is.

    The AUC of P_a - P_b for "a is right", the same for (a, b) and (b, a). A router decides by such
    differences alone: a P that only knows which queries are hard has an AUC of 0.5 here, however
    large its AUC per target.

    Parameters
    ----------
    p, correct : ndarray [n, K]
        P(correct) and correctness (NaN = missing: the query is left out of the target's pairs).
    target_names : sequence of str, length K

    Returns
    -------
    DataFrame [target_a, target_b, n, auc], one row per unordered pair
        n: queries on which just one of the two is right; auc is NaN unless each of the two is on
        some.
    """
    p, correct = _same_shape(p, correct)
    auc = _pair_auc_rows(p, correct, np.ones((1, len(p))))[:, 0]
    pairs = list(combinations(range(p.shape[1]), 2))
    return pd.DataFrame(
        {
            "target_a": [target_names[a] for a, _ in pairs],
            "target_b": [target_names[b] for _, b in pairs],
            "n": [int(_just_one_right(correct, a, b).sum()) for a, b in pairs],
            "auc": auc,
        }
    )


def near_misses(p: np.ndarray, correct: np.ndarray, margin: float = 0.05) -> dict[str, float]:
    """Queries routed (argmax of P) to a wrong target though a right one was within ``margin`` of
    its P.

    Returns
    -------
    dict
        count; wrong (routed wrong at all); n (queries whose routed target has an outcome); share =
        count / n.
    """
    p, correct = _same_shape(p, correct)
    rows = np.arange(len(p))
    chosen = p.argmax(axis=1)
    observed = ~np.isnan(correct[rows, chosen])
    wrong = correct[rows, chosen] == 0
    # 12 decimals, as in routing: 0.80 - 0.75 is within 0.05 whatever the last bit says.
    within = np.round(p[rows, chosen][:, None] - p, 12) <= np.round(margin, 12)
    missed = wrong & (within & (correct == 1)).any(axis=1)
    n = int(observed.sum())
    count = int(missed.sum())
    return {
        "count": count,
        "wrong": int(wrong.sum()),
        "n": n,
        "share": count / n if n else float("nan"),
    }


# --- rows of replicates
# -------------------------------------------------------------------------------------


def _router_values(steps: CurveSteps, weights, pool) -> dict[str, np.ndarray]:
    """What is read off the router's curve, [B] each, in blocks of replicates: the curve has many
    points.
    """
    parts = []
    for rows in _blocks(len(weights), len(steps.query)):
        here = {name: values[rows] for name, values in pool.items()}
        cost, accuracy = steps.evaluate(weights[rows])
        part = _curve_values(cost, accuracy, here)
        # The tolerance only ever moves a query to a cheaper target: backwards, the curve is sorted
        # by cost.
        cost, accuracy = _sorted_rows(cost[:, ::-1], accuracy[:, ::-1])
        part["p_auccc"] = _area_rows(cost, accuracy, here["c_min"], here["c_max"], here["floor"])
        # A point that is not above all cheaper ones of the curve is not on the front of curve and
        # targets.
        front = _records(cost, accuracy)
        points = (
            np.hstack(both) for both in zip((here["cost"], here["accuracy"]), front, strict=True)
        )
        part["front_auccc"] = _front_auccc(*points, here)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _pool_values(cost, correct, weights) -> dict[str, np.ndarray]:
    """What the single targets and the oracle do: cost and accuracy are [B, K], all else [B]."""
    cost, correct = _complete("cost", cost), _complete("correct", correct)
    mean_cost, accuracy = _means(cost, weights), _means(correct, weights)
    c_min, c_max, best = mean_cost.min(axis=1), mean_cost.max(axis=1), accuracy.max(axis=1)
    # Ties: of equally cheap targets the more accurate is the floor, of equally accurate the cheaper
    # is the
    # best.
    cheapest = mean_cost <= (c_min + _SAME * np.abs(c_min))[:, None]
    most_accurate = accuracy >= (best - _SAME)[:, None]
    return {
        "cost": mean_cost,
        "accuracy": accuracy,
        "c_min": c_min,
        "c_max": c_max,
        "floor": np.where(cheapest, accuracy, -np.inf).max(axis=1),
        "best": best,
        "best_cost": np.where(most_accurate, mean_cost, np.inf).min(axis=1),
        "oracle": _means(correct.max(axis=1)[:, None], weights)[:, 0],
    }


def _curve_values(curve_cost, curve_accuracy, pool) -> dict[str, np.ndarray]:
    """Metrics read off a curve [B, T] whose first point is tolerance 0."""
    reached = curve_accuracy >= (pool["best"] - _SAME)[:, None]
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


def _auccc_rows(cost, accuracy, c_min, c_max, floor) -> np.ndarray:
    """``auccc`` of each row of [B, T]; NaN where c_max does not exceed c_min."""
    return _area_rows(*_sorted_rows(cost, accuracy), c_min, c_max, floor)


def _sorted_rows(cost, accuracy) -> tuple[np.ndarray, np.ndarray]:
    """Points of each row [B, T] by cost, the less accurate first of equals.

    Rows that are in order are not sorted again: sorting would be the slowest step of all.
    """
    rises = cost[:, 1:] > cost[:, :-1]
    level = (cost[:, 1:] == cost[:, :-1]) & (accuracy[:, 1:] >= accuracy[:, :-1])
    if (wrong := ~(rises | level).all(axis=1)).any():
        cost, accuracy = cost.copy(), accuracy.copy()
        order = np.lexsort((accuracy[wrong], cost[wrong]), axis=1)
        cost[wrong], accuracy[wrong] = (
            np.take_along_axis(a[wrong], order, axis=1) for a in (cost, accuracy)
        )
    return cost, accuracy


def _area_rows(cost, accuracy, c_min, c_max, floor) -> np.ndarray:
    """``_auccc_rows`` of rows that are sorted."""
    x, y = cost, accuracy - floor[:, None]
    inside = np.clip(x, c_min[:, None], c_max[:, None])
    width = np.diff(inside, axis=1)
    # Height at the middle of the part of each segment inside [c_min, c_max]; vertical segments have
    # no area.
    run = np.diff(x, axis=1)
    slope = np.divide(np.diff(y, axis=1), run, out=np.zeros_like(run), where=width > 0)
    middle = (inside[:, 1:] + inside[:, :-1]) / 2
    area = (width * (y[:, :-1] + slope * (middle - x[:, :-1]))).sum(axis=1)
    area += (c_max - inside[:, -1]) * y[
        :, -1
    ]  # right padding; the left one is the floor itself, no area
    span = c_max - c_min
    # Targets of equal price differ by rounding dust in their means: no cost axis, no curve.
    return np.where(span > _SAME * np.abs(c_max), _ratio(area, span), np.nan)


def _front_auccc(cost, accuracy, pool) -> np.ndarray:
    """AUCCC of the Pareto front of the points of each row [B, T]."""
    order = np.lexsort((-accuracy, cost), axis=1)
    cost, accuracy = (
        np.take_along_axis(cost, order, axis=1),
        np.take_along_axis(accuracy, order, axis=1),
    )
    best = np.maximum.accumulate(accuracy, axis=1)
    on_front = np.ones(cost.shape, dtype=bool)
    on_front[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    # A dominated point is replaced by the front point before it: rows stay equally long, the line
    # is
    # unchanged.
    last = np.maximum.accumulate(np.where(on_front, np.arange(cost.shape[1]), 0), axis=1)
    front = (np.take_along_axis(a, last, axis=1) for a in (cost, accuracy))
    return _auccc_rows(*front, pool["c_min"], pool["c_max"], pool["floor"])


def _records(cost, accuracy) -> tuple[np.ndarray, np.ndarray]:
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


def _just_one_right(correct, a: int, b: int) -> np.ndarray:
    """Mask [n] of the queries on which just one of two targets is right; missing outcomes are
    neither.
    """
    a, b = correct[:, a], correct[:, b]
    return ((a == 1) & (b == 0)) | ((a == 0) & (b == 1))


def _pair_auc_rows(p, correct, weights) -> np.ndarray:
    """AUC of P_a - P_b for "a is right" where just one is, [pairs, B], in the order of
    ``combinations``.
    """
    values = [np.empty((0, len(weights)))]
    for a, b in combinations(range(p.shape[1]), 2):
        rows = _just_one_right(correct, a, b)
        # 12 decimals, as in routing: 0.8 - 0.7 equals 0.3 - 0.2 whatever the last bit says.
        lead = np.round(p[rows, a] - p[rows, b], 12)
        values.append(weighted_auc(lead, correct[rows, a], weights[:, rows])[None])
    return np.concatenate(values)


def _disagree_accuracy(chosen_correct, correct, weights) -> np.ndarray:
    """Accuracy [B] of a choice over the queries that some but not all targets answer."""
    rows = correct.max(axis=1) > correct.min(axis=1)
    return _means(chosen_correct[rows, None], weights[:, rows])[:, 0]


def _brier_rows(p, y, weights) -> np.ndarray:
    """Brier score [B, K]."""
    seen = ~np.isnan(y)
    error = np.where(seen, (p - np.where(seen, y, 0.0)) ** 2, 0.0)
    return _ratio(weights @ error, weights @ seen.astype(np.float64))


def _log_loss_rows(p, y, weights) -> np.ndarray:
    """Binary cross-entropy [B, K]."""
    seen = ~np.isnan(y)
    p, right = np.clip(p, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP), np.where(seen, y, 0.0)
    loss = np.where(seen, -right * np.log(p) - (1 - right) * np.log1p(-p), 0.0)
    return _ratio(weights @ loss, weights @ seen.astype(np.float64))


def _ece_rows(p, y, weights, bins: int) -> np.ndarray:
    """Expected calibration error [B, K]."""
    values = np.empty((len(weights), p.shape[1]))
    for k in range(p.shape[1]):
        seen = np.flatnonzero(~np.isnan(y[:, k]))
        order = seen[np.argsort(p[seen, k], kind="stable")]
        score, error = p[order, k], p[order, k] - y[order, k]
        for rows in _blocks(len(weights), len(order)):
            w = weights[rows][:, order]
            flat = _equal_mass_bins(score, w, bins) + bins * np.arange(len(w))[:, None]
            excess = np.bincount(flat.ravel(), (w * error).ravel(), minlength=bins * len(w))
            values[rows, k] = _ratio(
                np.abs(excess.reshape(len(w), bins)).sum(axis=1), w.sum(axis=1)
            )
    return values


def _blocks(n_rows: int, n_columns: int) -> list[slice]:
    """Rows of [n_rows, n_columns] in blocks of at most ``_BLOCK`` numbers."""
    step = max(1, _BLOCK // max(1, n_columns))
    return [slice(i, i + step) for i in range(0, n_rows, step)]


def _equal_mass_bins(p: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Bin [B, n] of each query, by ascending p [n]: where the middle of the weight of its value of
    p lies, in units of a bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    below = _cumulated(weights)
    total = np.where(below[:, -1:] > 0, below[:, -1:], 1.0)
    first, last = (np.searchsorted(p, p, side=side) for side in ("left", "right"))
    if (last - first == 1).all():
        middle = below[:, 1:] - weights / 2
    else:
        middle = (below[:, first] + below[:, last]) / 2
    return np.minimum((middle * bins / total).astype(np.intp), bins - 1)


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """[B, n + 1]: weight of the first 0, 1, ..., n queries."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [B, K] of the columns of [n, K]; equal columns give bitwise equal means."""
    sums = np.stack([weights @ np.ascontiguousarray(column) for column in values.T], axis=1)
    return _ratio(sums, weights.sum(axis=1)[:, None])


def _ratio(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b != 0, a / b, np.nan)[()]


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN (and no warning) where nothing is left."""
    return _ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def _with_every_outcome(correct) -> np.ndarray:
    """Rows of [n, K] without NaN."""
    correct = np.asarray(correct, dtype=np.float64)
    return correct[~np.isnan(correct).any(axis=1)]


def _same_shape(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return a, b


def _complete(what: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} has missing values; take outcomes.subset(outcomes.complete_rows()) first"
        )
    return values


def _columns(p, y) -> tuple[np.ndarray, np.ndarray]:
    p, y = _same_shape(p, y)
    return (p[:, None], y[:, None]) if p.ndim == 1 else (p, y)


def _one_row(weights, n: int) -> np.ndarray:
    return np.ones((1, n)) if weights is None else _weight_rows(np.atleast_2d(weights), n)


def _weight_rows(weights, n: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if (
        weights.ndim != 2
        or weights.shape[1] != n
        or not np.isfinite(weights).all()
        or (weights < 0).any()
    ):
        raise ValueError(f"weights must be [B, {n}], finite and >= 0, not of shape {weights.shape}")
    return weights
