"""AUC for many weightings of the same queries, per target and between targets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from prefill_router.evaluate.calibration import ECE_BINS, brier_rows, ece_rows, log_loss_rows
from prefill_router.evaluate.keys import MetricValues
from prefill_router.evaluate.weighting import check_same_shape, cumulated, known_mean, weight_rows


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
    below = cumulated(weights[:, wrong])
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
    p, correct = check_same_shape(p, correct)
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
    p, correct = check_same_shape(p, correct)
    weights = weight_rows(weights, len(p))
    return {
        "auc": np.stack(
            [weighted_auc(p[:, k], correct[:, k], weights) for k in range(p.shape[1])], axis=1
        ),
        "brier": brier_rows(p, correct, weights),
        "ece": ece_rows(p, correct, weights, ECE_BINS),
        "log_loss": log_loss_rows(p, correct, weights),
    }


def auc_boot(p: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> MetricValues:
    """mean_auc and disagreement_auc [B] of ``pool_metrics_boot``, which need no cost."""
    p, correct = check_same_shape(p, correct)
    weights = weight_rows(weights, len(p))
    alone = [weighted_auc(p[:, k], correct[:, k], weights) for k in range(p.shape[1])]
    return {
        "mean_auc": known_mean(np.array(alone)),
        "disagreement_auc": known_mean(pair_auc_rows(p, correct, weights)),
    }


def mean_auc(p: np.ndarray, correct: np.ndarray) -> float:
    """Mean of ``per_target_auc`` over the targets for which it is defined; NaN if there is none."""
    return float(known_mean(per_target_auc(p, correct)))


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
    p, correct = check_same_shape(p, correct)
    auc = pair_auc_rows(p, correct, np.ones((1, len(p))))[:, 0]
    pairs = list(combinations(range(p.shape[1]), 2))
    return pd.DataFrame(
        {
            "target_a": [target_names[a] for a, _ in pairs],
            "target_b": [target_names[b] for _, b in pairs],
            "n": [int(just_one_right(correct, a, b).sum()) for a, b in pairs],
            "auc": auc,
        }
    )


def just_one_right(correct: np.ndarray, a: int, b: int) -> np.ndarray:
    """Mask [n] of the queries on which just one of two targets is right; missing outcomes are
    neither.
    """
    of_a, of_b = correct[:, a], correct[:, b]
    return ((of_a == 1) & (of_b == 0)) | ((of_a == 0) & (of_b == 1))


def pair_auc_rows(p: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of P_a - P_b for "a is right" where just one is, [pairs, B], in the order of
    ``combinations``.
    """
    values = [np.empty((0, len(weights)))]
    for a, b in combinations(range(p.shape[1]), 2):
        rows = just_one_right(correct, a, b)
        # 12 decimals, as in routing: 0.8 - 0.7 equals 0.3 - 0.2 whatever the last bit says.
        lead = np.round(p[rows, a] - p[rows, b], 12)
        values.append(weighted_auc(lead, correct[rows, a], weights[:, rows])[None])
    return np.concatenate(values)
