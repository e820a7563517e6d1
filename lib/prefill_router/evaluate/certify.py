"""A lower bound of what a routing rule wins or loses against one target, on grouped queries."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, stdtrit  # quantiles; scipy.stats takes a second to import

LEAST_FREEDOM = 1e-3  # where one group holds all queries: the t bound is then without end
FEW_DIFFER = 30  # below so many groups in which the rule and the target differ, the t bound is off


def group_sums(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums [G, T] of values [n, T] over groups; ``group`` [n] numbers them from 0."""
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    found = np.zeros((n_groups, values.shape[1]))
    found[present] = np.add.reduceat(values[order], starts, axis=0)
    return found


def lower_bounds(
    sums: np.ndarray, sizes: np.ndarray, delta: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """One-sided lower confidence bounds of mean differences, with whole groups as the unit.

    Student's t on the ratio of group sums to group sizes (the linearised variance of a ratio
    estimator, Cochran, Sampling Techniques, 1977, section 6.4). Its degrees of freedom are one less
    than Kish's effective number of groups, (sum N)^2 / sum N^2 (Survey Sampling, 1965): for groups
    of one size their number, fewer where some are larger, since the variance then rests on these.
    Where only a few groups differ at all, it would trust them too much; the bound is then what the
    share of groups with a loss can be at most (Clopper and Pearson) times the largest loss of a
    group: gains count nothing.

    Parameters
    ----------
    sums : ndarray [G, T]
        Summed differences of each group, for T rules.
    sizes : ndarray [G]
        Queries of each group.
    delta : float in (0, 1)
        The bound lies above the true mean with at most this probability.
    weights : ndarray [B, G], optional
        How often each group was drawn, of B samples; one sample with each group once by default.

    Returns
    -------
    ndarray [B, T]
        Per query; -inf with fewer than two groups.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie between 0 and 1, not {delta!r}")
    weights = np.ones((1, len(sizes))) if weights is None else np.asarray(weights, np.float64)
    n_groups, queries = weights.sum(axis=1)[:, None], (weights @ sizes)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weights @ sums / queries
        # sum of w (S - mean N)^2, multiplied out so that no [B, G, T] is held
        squares = (
            weights @ sums**2
            - 2 * mean * (weights @ (sums * sizes[:, None]))
            + mean**2 * (weights @ sizes**2)[:, None]
        )
        variance = np.maximum(squares, 0) * n_groups / (n_groups - 1) / queries**2
        relative = sizes / sizes.max()  # so that groups of one size give their number exactly
        kish = (weights @ relative)[:, None] ** 2 / (weights @ relative**2)[:, None]
        freedom = np.maximum(np.minimum(n_groups, kish) - 1, LEAST_FREEDOM)
        bound = mean - stdtrit(freedom, 1 - delta) * np.sqrt(variance)
        differing, losing = weights @ (sums != 0), weights @ (sums < 0)
        most = np.where(
            losing < n_groups, betaincinv(losing + 1, n_groups - losing, 1 - delta), 1.0
        )
        few = -most * np.maximum(-sums.min(axis=0), 1.0) * n_groups / queries
    bound = np.where(differing < FEW_DIFFER, np.minimum(few, bound), bound)
    return np.where(n_groups > 1, bound, -np.inf)
