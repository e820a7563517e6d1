"""Where targets agree, and who wins where they do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from prefill_router.evaluate.weighting import divided


def win_shares(correct: np.ndarray) -> np.ndarray:
    """[K, K]: entry (a, b) is the share of queries on which a is right and b is wrong, of those
    with every outcome; NaN if there is none. Of graded outcomes it is the expected share where each
    target answers once, independently of the other.
    """
    correct = with_every_outcome(correct)
    both = correct.T @ (1 - correct)
    np.fill_diagonal(both, 0.0)  # no answer is right and wrong
    return divided(both, np.float64(len(correct)))


def agreement_zones(correct: np.ndarray) -> dict[str, float]:
    """Shares of queries that all targets answer, some do, none does; of graded outcomes the
    expected shares where each target answers once, independently of the others.

    Returns
    -------
    dict
        all_right, disagree, all_wrong (sum 1 over the queries with every outcome), n (their
        number), n_incomplete.
    """
    correct = np.asarray(correct, dtype=np.float64)
    complete = with_every_outcome(correct)
    n = len(complete)
    right = float(complete.prod(axis=1).mean()) if n else float("nan")
    wrong = float((1 - complete).prod(axis=1).mean()) if n else float("nan")
    zones = {"all_right": right, "disagree": 1.0 - right - wrong, "all_wrong": wrong}
    return zones | {"n": n, "n_incomplete": len(correct) - n}


def with_every_outcome(correct: ArrayLike) -> np.ndarray:
    """Rows of [n, K] without NaN."""
    correct = np.asarray(correct, dtype=np.float64)
    return correct[~np.isnan(correct).any(axis=1)]
