"""Brier score, log loss, calibration error."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.evaluate.weighting import check_same_shape, cumulated, divided, row_blocks

ECE_BINS = 15
# P is kept this far from 0 and 1: one certain and wrong P would make the mean infinite.
LOG_LOSS_CLIP = 1e-7


def reliability_table(p: np.ndarray, y: np.ndarray, bins: int = ECE_BINS) -> pd.DataFrame:
    """The bins of ``ece_rows`` for one target [n], one row per non-empty bin, by ascending p.

    Returns
    -------
    DataFrame [bin, n, p_min, p_max, p_mean, accuracy]
    """
    p, y = check_same_shape(p, y)
    if p.ndim != 1:
        raise ValueError(
            f"reliability_table takes one target, not {p.shape[1]}; call it per column"
        )
    seen = ~np.isnan(y)
    p, y = p[seen], y[seen]
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


def brier_rows(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Brier score [B, K]: weighted mean of (p - y)^2; lower is better.

    Against grades it lacks the chance in a single answer, which nobody can predict: it is lower by
    the mean of y (1 - y) than against each answer.

    Parameters
    ----------
    p, y : ndarray [n, K]
        P(correct) and correctness, 0 to 1 (NaN = missing: left out).
    weights : ndarray [B, n]
    """
    seen = ~np.isnan(y)
    error = np.where(seen, (p - np.where(seen, y, 0.0)) ** 2, 0.0)
    return divided(weights @ error, weights @ seen.astype(np.float64))


def log_loss_rows(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Binary cross-entropy [B, K]: weighted mean of -y log p - (1 - y) log(1 - p), in nats.

    Lower is better. P is kept ``LOG_LOSS_CLIP`` away from 0 and 1. Parameters as in
    ``brier_rows``.
    """
    seen = ~np.isnan(y)
    p, right = np.clip(p, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP), np.where(seen, y, 0.0)
    loss = np.where(seen, -right * np.log(p) - (1 - right) * np.log1p(-p), 0.0)
    return divided(weights @ loss, weights @ seen.astype(np.float64))


def ece_rows(p: np.ndarray, y: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Expected calibration error [B, K] over bins of equal mass: sum over bins of share x |mean p -
    accuracy|.

    Queries are put in order of p and cut into ``bins`` parts of equal weight (15 of 45 queries: 3
    each; sizes differ by at most one where they must). Equal values of p stay together, in the bin
    that holds the middle of their weight, so that the order of the rows cannot matter; a constant p
    is one bin. Parameters as in ``brier_rows``.
    """
    values = np.empty((len(weights), p.shape[1]))
    for k in range(p.shape[1]):
        seen = np.flatnonzero(~np.isnan(y[:, k]))
        order = seen[np.argsort(p[seen, k], kind="stable")]
        score, error = p[order, k], p[order, k] - y[order, k]
        for rows in row_blocks(len(weights), len(order)):
            w = weights[rows][:, order]
            flat = _equal_mass_bins(score, w, bins) + bins * np.arange(len(w))[:, None]
            excess = np.bincount(flat.ravel(), (w * error).ravel(), minlength=bins * len(w))
            values[rows, k] = divided(
                np.abs(excess.reshape(len(w), bins)).sum(axis=1), w.sum(axis=1)
            )
    return values


def _equal_mass_bins(p: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Bin [B, n] of each query, by ascending p [n]: where the middle of the weight of its value of
    p lies, in units of a bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    below = cumulated(weights)
    total = np.where(below[:, -1:] > 0, below[:, -1:], 1.0)
    first, last = (np.searchsorted(p, p, side=side) for side in ("left", "right"))
    if (last - first == 1).all():
        middle = below[:, 1:] - weights / 2
    else:
        middle = (below[:, first] + below[:, last]) / 2
    return np.minimum((middle * bins / total).astype(np.intp), bins - 1)
