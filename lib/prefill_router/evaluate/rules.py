"""The routing rule: the cheapest target within a tolerance of the highest P(correct)."""

from __future__ import annotations

import numpy as np

GAP_DECIMALS = 12


def route(p: np.ndarray, cost: np.ndarray, tolerance: float) -> np.ndarray:
    """Cheapest target with P >= P_max - tolerance, for each query.

    Parameters
    ----------
    p : ndarray [n, K]
        P(correct), finite.
    cost : ndarray [n, K]
        Expected cost, finite. Equal costs: the higher P wins, then the lower index.
    tolerance : float >= 0
        0 is the argmax of P (the cheaper one of equal maxima), infinity the cheapest target.

    Returns
    -------
    int ndarray [n]
    """
    p, cost = finite_array("p", p), finite_array("cost", cost, np.shape(p))
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a number >= 0, not {tolerance!r}")
    acceptable = gaps_to_best(p) <= np.round(tolerance, GAP_DECIMALS)
    return np.argmin(np.where(acceptable, preference_order(p, cost), p.shape[1]), axis=1)


def gaps_to_best(p: np.ndarray) -> np.ndarray:
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] == 0:
        raise ValueError(
            f"p must be [queries, targets] with at least one of each, not of shape {p.shape}"
        )
    return np.round(p.max(axis=1, keepdims=True) - p, GAP_DECIMALS)


def preference_order(p: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Rank [n, K] of each target when all are acceptable: cheaper, then higher P, then lower index;
    0 is preferred.
    """
    order = np.lexsort((-p, cost), axis=1)  # stable, so equal pairs keep their index order
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(p.shape[1]), p.shape), axis=1)
    return rank


def finite_array(
    what: str, values: np.ndarray | float, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """``values`` as float64, of the expected shape and without NaN or infinity."""
    values = np.asarray(values, dtype=np.float64)
    if shape is not None and values.shape != shape:
        raise ValueError(f"{what} has shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        rows = np.unique(np.argwhere(~np.isfinite(values))[:, 0]) if values.ndim else np.array([0])
        raise ValueError(
            f"{what} is missing or infinite on {rows.size} queries (first: row {rows[0]}); routing"
            " needs complete rows, take outcomes.subset(outcomes.complete_rows())"
        )
    return values
