"""How like the training a prompt is, by its largest kernel value.

A router's P(correct) means little on prompts that are unlike all that it was trained on. The
*nearness* of a prompt is the largest value of the kernel between it and a training prompt: 1 for a
copy. Its *familiarity* is the share of training prompts that are no nearer to those of other
groups: a conformal p-value (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
2005). Of prompts like the training's, at most about a share a has a familiarity of at most a; the
guarantee is approximate, since training prompts are compared with a group less. The kernel values
are there already when P(correct) is predicted, so that familiarity costs a query nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prefill_router.heads.gram import BLOCK


def nearness_in_training(
    kernel: np.ndarray,
    groups: Sequence | np.ndarray,
    of_columns: Sequence | np.ndarray | None = None,
) -> np.ndarray:
    """Largest kernel value of each training query with one of another group, in ascending order.

    Parameters
    ----------
    kernel : ndarray [n, m]
    groups : n labels
    of_columns : m labels, optional
        Of the queries that stand for the training; default: those of the rows.

    Returns
    -------
    float32 ndarray [n]
        Empty where all queries are of one group.
    """
    labels = [np.asarray(x).astype(str) for x in (groups, of_columns) if x is not None]
    _, group = np.unique(np.concatenate(labels), return_inverse=True)
    if group.max(initial=0) == 0:
        return np.zeros(0, np.float32)
    n, of = len(kernel), group if of_columns is None else group[len(kernel) :]
    found = np.empty(n, np.float32)
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        other = group[rows, None] != of
        found[rows] = np.where(other, kernel[rows], -np.inf).max(axis=1)
    return np.sort(found)


def familiarity(nearness: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """(1 + number of training queries that are no nearer) / (1 + n), of queries by their nearness
    [m]: float64 [m], NaN without training queries.

    ``in_training`` is what :func:`nearness_in_training` gives.
    """
    if not len(in_training):
        return np.full(np.shape(nearness), np.nan)
    no_nearer = np.searchsorted(in_training, np.asarray(nearness, np.float32), side="right")
    return (1 + no_nearer) / (1 + len(in_training))
