"""Where targets agree, and who wins where they do not."""

from __future__ import annotations

import numpy as np

from prefill_router.evaluate.weighting import check_same_shape, divided


def win_shares(correct: np.ndarray) -> np.ndarray:
    """[K, K]: entry (a, b) is the share of queries on which a is right and b is wrong, of those
    with every outcome; NaN if there is none.
    """
    correct = with_every_outcome(correct)
    return divided((correct == 1).T.astype(np.float64) @ (correct == 0), np.float64(len(correct)))


def agreement_zones(correct: np.ndarray) -> dict[str, float]:
    """Shares of queries that all targets answer, some do, none does.

    Returns
    -------
    dict
        all_right, disagree, all_wrong (sum 1 over the queries with every outcome), n (their
        number), n_incomplete.
    """
    correct = np.asarray(correct, dtype=np.float64)
    complete = with_every_outcome(correct)
    n = len(complete)
    right = float((complete == 1).all(axis=1).mean()) if n else float("nan")
    wrong = float((complete == 0).all(axis=1).mean()) if n else float("nan")
    zones = {"all_right": right, "disagree": 1.0 - right - wrong, "all_wrong": wrong}
    return zones | {"n": n, "n_incomplete": len(correct) - n}


def near_misses(p: np.ndarray, correct: np.ndarray, margin: float = 0.05) -> dict[str, float]:
    """Queries routed (argmax of P) to a wrong target though a right one was within ``margin`` of
    its P.

    Returns
    -------
    dict
        count; wrong (routed wrong at all); n (queries whose routed target has an outcome); share =
        count / n.
    """
    p, correct = check_same_shape(p, correct)
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


def with_every_outcome(correct) -> np.ndarray:
    """Rows of [n, K] without NaN."""
    correct = np.asarray(correct, dtype=np.float64)
    return correct[~np.isnan(correct).any(axis=1)]
