"""Metrics of LLM Router (arXiv 2603.20895), vectorised over bootstrap weights.

Shapes: n queries, K targets, B replicates (one row of weights each), T points of a curve. Accuracies are
shares in [0, 1], costs are in the unit of the outcomes, differences are in the same units. Missing outcomes
(NaN) are masked where a target is looked at alone (AUC, Brier, ECE); whatever routes needs complete rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.routing import CurveSteps, convex_hull, curve_steps

METRICS = (
    "mean_auc", "accuracy", "best_single_accuracy", "oracle_accuracy", "gap_closed", "cost_saving_vs_max",
    "cost_saving_at_best_single", "p_auccc", "model_pareto_auccc", "mdp_auccc", "pdp_auccc", "brier", "ece",
)  # fmt: skip
ECE_BINS = 15
_SAME = 1e-12  # relative difference below which two mean costs or accuracies are equal
_BLOCK = 2_000_000  # numbers per temporary array in the bootstrap


# --- one target alone ---------------------------------------------------------------------------------------


def weighted_auc(score: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for many weightings of the same queries.

    P(score of a right one > score of a wrong one) + half P(equal), each query counted by its weight: what
    ``sklearn.metrics.roc_auc_score(label, score, sample_weight=w)`` gives for every row w.

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
    order = seen[np.argsort(score[seen], kind="stable")]
    # Queries of equal score are one block.
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))
    sorted_weights = weights[:, order]
    right = np.add.reduceat(sorted_weights * label[order], starts, axis=1)
    wrong = np.add.reduceat(sorted_weights * (1 - label[order]), starts, axis=1)
    wrong_below = np.cumsum(wrong, axis=1) - wrong
    with np.errstate(invalid="ignore", divide="ignore"):
        return (right * (wrong_below + wrong / 2)).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1))


def per_target_auc(p: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """AUC [K] of P(correct) against correctness, both [n, K], per target; NaN where undefined."""
    p, correct = _same_shape(p, correct)
    unit = np.ones((1, len(p)))
    return np.array([weighted_auc(p[:, k], correct[:, k], unit)[0] for k in range(p.shape[1])])


def per_target_boot(p: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUC, Brier score and ECE of every target for every weighting; the pool's are their means.

    Parameters
    ----------
    p, correct : ndarray [n, K]
        P(correct) and correctness (NaN = missing: left out).
    weights : ndarray [B, n]

    Returns
    -------
    dict of ndarray [B, K]
        auc, brier, ece (15 bins); NaN where undefined.
    """
    p, correct = _same_shape(p, correct)
    weights = _weight_rows(weights, len(p))
    return {
        "auc": np.stack([weighted_auc(p[:, k], correct[:, k], weights) for k in range(p.shape[1])], axis=1),
        "brier": _brier_rows(p, correct, weights),
        "ece": _ece_rows(p, correct, weights, ECE_BINS),
    }


def mean_auc(p: np.ndarray, correct: np.ndarray) -> float:
    """Mean of ``per_target_auc`` over the targets for which it is defined; NaN if there is none."""
    return float(_nanmean(per_target_auc(p, correct)))


def brier(p: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Brier score: mean of (p - y)^2; lower is better.

    Parameters
    ----------
    p, y : ndarray [n] or [n, K]
        P(correct) and correctness (NaN = missing: left out). With K targets, the mean of their scores.
    weights : ndarray [n], optional
    """
    return float(_nanmean(_brier_rows(*_columns(p, y), _one_row(weights, len(p)))[0]))


def ece_equal_mass(
    p: np.ndarray, y: np.ndarray, bins: int = ECE_BINS, weights: np.ndarray | None = None
) -> float:
    """Expected calibration error over bins of equal mass: sum over bins of share x |mean p - accuracy|.

    Queries are put in order of p and cut into ``bins`` parts of equal weight (15 of 45 queries: 3 each; sizes
    differ by at most one where they must). Equal values of p stay together, in the bin that holds the middle
    of their weight, so that the order of the rows cannot matter; a constant p is one bin.

    Parameters
    ----------
    p, y : ndarray [n] or [n, K]
        P(correct) and correctness (NaN = missing: left out). With K targets, the mean of their errors.
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
        raise ValueError(f"reliability_table takes one target, not {p.shape[1]}; call it per column")
    seen = ~np.isnan(y[:, 0])
    p, y = p[seen, 0], y[seen, 0]
    table = pd.DataFrame({"bin": _equal_mass_bins(p, np.ones((1, len(p))), bins)[0], "p": p, "y": y})
    return table.groupby("bin", as_index=False).agg(
        n=("p", "size"), p_min=("p", "min"), p_max=("p", "max"), p_mean=("p", "mean"), accuracy=("y", "mean")
    )


# --- the pool -----------------------------------------------------------------------------------------------


def best_single(correct: np.ndarray) -> tuple[int, float]:
    """Index and accuracy of the most accurate target of [n, K] (NaN left out; the first one of equals)."""
    accuracy = _nanmean(np.asarray(correct, dtype=np.float64))
    if np.isnan(accuracy).all():
        raise ValueError("no target has an outcome on these queries")
    best = int(np.nanargmax(accuracy))
    return best, float(accuracy[best])


def oracle_accuracy(correct: np.ndarray) -> float:
    """Share of queries that any target answers.

    Queries without any outcome are left out; on a query with some outcomes missing the observed ones decide,
    so the value is then a lower bound.
    """
    correct = np.asarray(correct, dtype=np.float64)
    correct = correct[~np.isnan(correct).all(axis=1)]
    return float(np.nanmax(correct, axis=1).mean()) if len(correct) else float("nan")


def gap_closed(accuracy, best, oracle):
    """(accuracy - best) / (oracle - best), elementwise; 1 = oracle, NaN where oracle = best."""
    gap = np.subtract(oracle, best)
    return _ratio(np.subtract(accuracy, best), np.where(np.abs(gap) > _SAME, gap, 0.0))


def cost_saving(router_cost, reference_cost):
    """1 - router_cost / reference_cost, elementwise; negative = dearer; NaN where the reference is 0."""
    return 1.0 - _ratio(router_cost, reference_cost)


def auccc(cost: np.ndarray, accuracy: np.ndarray, c_min: float, c_max: float, floor: float) -> float:
    """Area under a cost-coverage curve above the floor, per unit of cost.

    The points are sorted by cost and joined by straight lines. The curve is padded to [c_min, c_max]: left of
    its first point it is constant at ``floor`` and jumps up (or down) vertically at the first point's cost;
    right of its last point it stays at that point's accuracy. Where it extends beyond c_min or c_max it is
    cut there by linear interpolation. The result is the trapezoid integral of (curve - floor) over [c_min,
    c_max] / (c_max - c_min).

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
    if cost.ndim != 1 or cost.size == 0 or not (np.isfinite(cost).all() and np.isfinite(accuracy).all()):
        raise ValueError("a curve needs at least one point, all of them finite")
    if not c_max > c_min:
        raise ValueError(f"AUCCC needs c_max > c_min, not [{c_min}, {c_max}]: all targets cost the same")
    bounds = (np.array([v], dtype=np.float64) for v in (c_min, c_max, floor))
    return float(_auccc_rows(cost[None, :], accuracy[None, :], *bounds)[0])


def pool_metrics(
    p: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    overhead: float | np.ndarray = 0.0,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """All of ``METRICS`` for a router on a pool: ``pool_metrics_boot`` for one weighting (default: all 1)."""
    values = pool_metrics_boot(p, cost, correct, overhead, _one_row(weights, len(np.asarray(p))))
    return {name: float(value[0]) for name, value in values.items()}


def pool_metrics_boot(
    p: np.ndarray, cost: np.ndarray, correct: np.ndarray, overhead: float | np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """All of ``METRICS`` for every weighting of the queries.

    Everything that depends on the queries is redone for each row of weights: the curve, the best single
    target, the front, c_min, c_max and the floor. Noise raises ECE, maxima and fronts, so their draws tend to
    lie above the value on the queries themselves.

    Parameters
    ----------
    p, cost, correct : ndarray [n, K]
        P(correct), cost of each target, correctness; no NaN (take ``Outcomes.complete_rows`` first).
    overhead : float or ndarray [n]
        The router's own cost per query, added to its curve but not to the single targets.
    weights : ndarray [B, n]
        For example from ``stats.group_bootstrap_weights``.

    Returns
    -------
    dict of ndarray [B]
        - mean_auc: mean over targets of the AUC of P (targets with one class in a replicate left out).
        - accuracy: of the routed answers at tolerance 0.
        - best_single_accuracy, oracle_accuracy, gap_closed: see the functions of these names.
        - cost_saving_vs_max: at tolerance 0, against the target with the largest mean cost.
        - cost_saving_at_best_single: at the cheapest point of the curve that is at least as accurate as the
          best single target, against that target's mean cost (the cheaper of equals); NaN if no point is.
        - p_auccc, model_pareto_auccc: ``auccc`` of the router's curve, of the Pareto front of the single
          targets.
        - mdp_auccc: p_auccc - model_pareto_auccc (lift over the single targets). The front is not the zero
          router: where it is not concave, random mixing alone has a positive lift (``zero_router_boot``).
        - pdp_auccc: AUCCC of the Pareto front of targets and router points together, minus p_auccc. It can
          fall below 0: a target that no point dominates, yet below the router's line, bends the front down.
        - brier, ece: means over targets, the latter with 15 bins of equal mass.
        AUCCCs are NaN where all targets cost the same.
    """
    steps = curve_steps(p, cost, correct, overhead)
    p, cost, correct = (np.asarray(a, dtype=np.float64) for a in (p, cost, correct))
    weights = _weight_rows(weights, len(p))
    block = max(1, _BLOCK // (len(steps.query) + len(steps.tolerance) + len(p) + p.shape[1]))
    parts = [
        _pool_block(steps, p, cost, correct, weights[i : i + block]) for i in range(0, len(weights), block)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def point_metrics_boot(
    chosen_cost: np.ndarray,
    chosen_correct: np.ndarray,
    cost: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """The metrics of a method with one fixed choice per query (a single target, the oracle): no P, no curve.

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
        cost_saving_at_best_single, as in ``pool_metrics_boot``, the curve being the single point.
    """
    weights = _weight_rows(weights, len(np.asarray(cost)))
    pool = _pool_values(cost, correct, weights)
    chosen = [
        _complete(*named) for named in (("chosen_cost", chosen_cost), ("chosen_correct", chosen_correct))
    ]
    curve_cost, curve_accuracy = (_means(values[:, None], weights) for values in chosen)
    return _curve_values(curve_cost, curve_accuracy, pool)


def zero_router_boot(cost: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The zero router's metrics: the upper convex hull of the single targets, their best random mixing.

    Parameters and result are those of ``point_metrics_boot`` with p_auccc, model_pareto_auccc and mdp_auccc
    added; the curve is the hull, recomputed in each replicate, and its accuracy is the best single target's.
    """
    weights = _weight_rows(weights, len(np.asarray(cost)))
    pool = _pool_values(cost, correct, weights)
    curve_cost, curve_accuracy = pool["cost"].copy(), pool["accuracy"].copy()
    for row_cost, row_accuracy in zip(curve_cost, curve_accuracy, strict=True):
        if np.isfinite(row_accuracy).all():
            hull = convex_hull(row_cost, row_accuracy)
            # Dearest first, as in a router's curve; the cheapest is repeated so that rows are equally long.
            hull = hull[::-1][np.minimum(np.arange(len(row_cost)), len(hull) - 1)]
            row_cost[:], row_accuracy[:] = row_cost[hull], row_accuracy[hull]
    values = _curve_values(curve_cost, curve_accuracy, pool)
    values["p_auccc"] = _auccc_rows(curve_cost, curve_accuracy, pool["c_min"], pool["c_max"], pool["floor"])
    values["model_pareto_auccc"] = _front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    return values


# --- where targets differ -----------------------------------------------------------------------------------


def agreement_zones(correct: np.ndarray) -> dict[str, float]:
    """Shares of queries that all targets answer, some do, none does.

    Returns
    -------
    dict
        all_right, disagree, all_wrong (sum 1 over the queries with every outcome), n (their number),
        n_incomplete.
    """
    correct = np.asarray(correct, dtype=np.float64)
    complete = correct[~np.isnan(correct).any(axis=1)]
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


def near_misses(p: np.ndarray, correct: np.ndarray, margin: float = 0.05) -> dict[str, float]:
    """Queries routed (argmax of P) to a wrong target though a right one was within ``margin`` of its P.

    Returns
    -------
    dict
        count; wrong (routed wrong at all); n (queries whose routed target has an outcome); share = count / n.
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
    return {"count": count, "wrong": int(wrong.sum()), "n": n, "share": count / n if n else float("nan")}


# --- rows of replicates -------------------------------------------------------------------------------------


def _pool_block(steps: CurveSteps, p, cost, correct, weights) -> dict[str, np.ndarray]:
    """``pool_metrics_boot`` for a block of replicates that fits in memory."""
    pool = _pool_values(cost, correct, weights)
    curve_cost, curve_accuracy = steps.evaluate(weights)
    values = _curve_values(curve_cost, curve_accuracy, pool)
    values["p_auccc"] = _auccc_rows(curve_cost, curve_accuracy, pool["c_min"], pool["c_max"], pool["floor"])
    values["model_pareto_auccc"] = _front_auccc(pool["cost"], pool["accuracy"], pool)
    values["mdp_auccc"] = values["p_auccc"] - values["model_pareto_auccc"]
    all_cost = np.hstack([pool["cost"], curve_cost])
    all_accuracy = np.hstack([pool["accuracy"], curve_accuracy])
    values["pdp_auccc"] = _front_auccc(all_cost, all_accuracy, pool) - values["p_auccc"]
    alone = per_target_boot(p, correct, weights)
    for name, of_pool in (("auc", "mean_auc"), ("brier", "brier"), ("ece", "ece")):
        values[of_pool] = _nanmean(alone[name].T)
    return values


def _pool_values(cost, correct, weights) -> dict[str, np.ndarray]:
    """What the single targets and the oracle do: cost and accuracy are [B, K], all else [B]."""
    cost, correct = _complete("cost", cost), _complete("correct", correct)
    mean_cost, accuracy = _means(cost, weights), _means(correct, weights)
    c_min, c_max, best = mean_cost.min(axis=1), mean_cost.max(axis=1), accuracy.max(axis=1)
    # Ties: of equally cheap targets the more accurate is the floor, of equally accurate the cheaper is the
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
    order = np.lexsort((accuracy, cost), axis=1)
    x = np.take_along_axis(cost, order, axis=1)
    y = np.take_along_axis(accuracy, order, axis=1) - floor[:, None]
    inside = np.clip(x, c_min[:, None], c_max[:, None])
    width = np.diff(inside, axis=1)
    # Height at the middle of the part of each segment inside [c_min, c_max]; vertical segments have no area.
    run = np.diff(x, axis=1)
    slope = np.divide(np.diff(y, axis=1), run, out=np.zeros_like(run), where=width > 0)
    middle = (inside[:, 1:] + inside[:, :-1]) / 2
    area = (width * (y[:, :-1] + slope * (middle - x[:, :-1]))).sum(axis=1)
    area += (c_max - inside[:, -1]) * y[:, -1]  # right padding; the left one is the floor itself, no area
    span = c_max - c_min
    # Targets of equal price differ by rounding dust in their means: no cost axis, no curve.
    return np.where(span > _SAME * np.abs(c_max), _ratio(area, span), np.nan)


def _front_auccc(cost, accuracy, pool) -> np.ndarray:
    """AUCCC of the Pareto front of the points of each row [B, T]."""
    order = np.lexsort((-accuracy, cost), axis=1)
    cost, accuracy = np.take_along_axis(cost, order, axis=1), np.take_along_axis(accuracy, order, axis=1)
    best = np.maximum.accumulate(accuracy, axis=1)
    on_front = np.ones(cost.shape, dtype=bool)
    on_front[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    # A dominated point is replaced by the front point before it: rows stay equally long, the line is
    # unchanged.
    last = np.maximum.accumulate(np.where(on_front, np.arange(cost.shape[1]), 0), axis=1)
    front = (np.take_along_axis(a, last, axis=1) for a in (cost, accuracy))
    return _auccc_rows(*front, pool["c_min"], pool["c_max"], pool["floor"])


def _brier_rows(p, y, weights) -> np.ndarray:
    """Brier score [B, K]."""
    seen = ~np.isnan(y)
    error = np.where(seen, (p - np.where(seen, y, 0.0)) ** 2, 0.0)
    return _ratio(weights @ error, weights @ seen.astype(np.float64))


def _ece_rows(p, y, weights, bins: int) -> np.ndarray:
    """Expected calibration error [B, K]."""
    values = []
    for k in range(p.shape[1]):
        seen = ~np.isnan(y[:, k])
        w = weights[:, seen]
        flat = (_equal_mass_bins(p[seen, k], w, bins) + bins * np.arange(len(w))[:, None]).ravel()
        excess = np.bincount(flat, (w * (p[seen, k] - y[seen, k])).ravel(), minlength=bins * len(w))
        values.append(_ratio(np.abs(excess.reshape(len(w), bins)).sum(axis=1), w.sum(axis=1)))
    return np.stack(values, axis=1)


def _equal_mass_bins(p: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Bin [B, n] of each query: where the middle of the weight of its value of p lies, in units of a bin."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    _, value = np.unique(p, return_inverse=True)
    order = np.argsort(value, kind="stable")
    if p.size == 0:
        return np.zeros(weights.shape, dtype=np.intp)
    starts = np.flatnonzero(np.append(True, np.diff(value[order]) > 0))
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(mass, axis=1) - mass / 2
    total = np.where(mass.sum(axis=1) > 0, mass.sum(axis=1), 1.0)[:, None]
    return np.minimum((middle * bins / total).astype(np.intp), bins - 1)[:, value]


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


def _same_shape(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return a, b


def _complete(what: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has missing values; take outcomes.subset(outcomes.complete_rows()) first")
    return values


def _columns(p, y) -> tuple[np.ndarray, np.ndarray]:
    p, y = _same_shape(p, y)
    return (p[:, None], y[:, None]) if p.ndim == 1 else (p, y)


def _one_row(weights, n: int) -> np.ndarray:
    return np.ones((1, n)) if weights is None else _weight_rows(np.atleast_2d(weights), n)


def _weight_rows(weights, n: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != n or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights must be [B, {n}], finite and >= 0, not of shape {weights.shape}")
    return weights
