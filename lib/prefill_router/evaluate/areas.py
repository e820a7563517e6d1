"""Areas under cost-accuracy curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prefill_router.evaluate.weighting import divided

SAME = 1e-12  # relative difference below which two mean costs or accuracies are equal


def auccc_rows(
    cost: np.ndarray, accuracy: np.ndarray, c_min: np.ndarray, c_max: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """AUCCC: area under a cost-accuracy curve above the floor, per unit of cost, of each row.

    The points are sorted by cost and joined by straight lines. The curve is padded to [c_min,
    c_max]: left of its first point it is constant at ``floor`` and jumps up (or down) vertically at
    the first point's cost; right of its last point it stays at that point's accuracy. Where it
    extends beyond c_min or c_max it is cut there by linear interpolation. The result is the
    trapezoid integral of (curve - floor) over [c_min, c_max] / (c_max - c_min).

    Parameters
    ----------
    cost, accuracy : ndarray [B, T]
        The curves' points, in any order; of points of equal cost the less accurate comes first.
    c_min, c_max : ndarray [B]
        Mean cost of the cheapest and the dearest single target of the pool.
    floor : ndarray [B]
        Accuracy of the cheapest target.

    Returns
    -------
    ndarray [B]
        NaN where c_max does not exceed c_min: targets that all cost the same have no curve.
    """
    return area_rows(*sorted_rows(cost, accuracy), c_min, c_max, floor)


def sorted_rows(cost: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def area_rows(
    cost: np.ndarray, accuracy: np.ndarray, c_min: np.ndarray, c_max: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """``auccc_rows`` of rows that are sorted."""
    x, y = cost, accuracy - floor[:, None]
    inside = np.clip(x, c_min[:, None], c_max[:, None])
    width = np.diff(inside, axis=1)
    # Height at the middle of the part of each segment inside [c_min, c_max]; vertical segments have
    # no area.
    run = np.diff(x, axis=1)
    slope = np.divide(np.diff(y, axis=1), run, out=np.zeros_like(run), where=width > 0)
    middle = (inside[:, 1:] + inside[:, :-1]) / 2
    area = (width * (y[:, :-1] + slope * (middle - x[:, :-1]))).sum(axis=1)
    # Right padding; the left one is the floor itself, no area.
    area += (c_max - inside[:, -1]) * y[:, -1]
    span = c_max - c_min
    # Targets of equal price differ by rounding dust in their means: no cost axis, no curve.
    return np.where(span > SAME * np.abs(c_max), divided(area, span), np.nan)


def front_auccc(
    cost: np.ndarray, accuracy: np.ndarray, pool: Mapping[str, np.ndarray]
) -> np.ndarray:
    """AUCCC of the Pareto front of the points of each row [B, T]; ``pool`` as from
    ``metrics.pool_values``.
    """
    order = np.lexsort((-accuracy, cost), axis=1)
    cost, accuracy = (
        np.take_along_axis(cost, order, axis=1),
        np.take_along_axis(accuracy, order, axis=1),
    )
    best = np.maximum.accumulate(accuracy, axis=1)
    on_front = np.ones(cost.shape, dtype=bool)
    on_front[:, 1:] = accuracy[:, 1:] > best[:, :-1]
    # A dominated point is replaced by the front point before it: rows stay equally long, the line
    # is unchanged.
    last = np.maximum.accumulate(np.where(on_front, np.arange(cost.shape[1]), 0), axis=1)
    cost, accuracy = (np.take_along_axis(a, last, axis=1) for a in (cost, accuracy))
    return auccc_rows(cost, accuracy, pool["c_min"], pool["c_max"], pool["floor"])
