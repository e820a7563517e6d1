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
        1 right, 0 wrong, between them a grade: y of a right query and 1 - y of a wrong one, as in
        ``labels.class_rows``; NaN missing (left out).
    weights : ndarray [B, n]
        >= 0.

    Returns
    -------
    ndarray [B]
        NaN where the weighted queries are all right or all wrong.
    """
    score, label = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if ((label < 0) | (label > 1)).any():
        raise ValueError("AUC needs labels from 0 to 1, or NaN; scale the grades first")
    known = np.nan_to_num(label)
    return auc_of_shares(score, known, np.where(np.isnan(label), 0.0, 1 - known), weights)


def auc_of_shares(
    score: np.ndarray, as_right: np.ndarray, as_wrong: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """``weighted_auc`` of queries of which shares [n] count as right and as wrong: [B]."""
    right, wrong = np.flatnonzero(as_right), np.flatnonzero(as_wrong)
    if not (np.isfinite(score[right]).all() and np.isfinite(score[wrong]).all()):
        raise ValueError("AUC needs finite values of P; look for NaN in the predictions")
    if right.size == 0 or wrong.size == 0:
        return np.full(len(weights), np.nan)
    wrong = wrong[np.argsort(score[wrong], kind="stable")]
    below = cumulated(weights[:, wrong] * as_wrong[wrong])
    # Weight of the wrong ones with a score below that of each right one; of equal scores half
    # counts.
    first, last = (
        np.searchsorted(score[wrong], score[right], side=side) for side in ("left", "right")
    )
    right_weights, wrong_below = weights[:, right] * as_right[right], below[:, first]
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
    is; a graded query counts by how likely that is (``just_one_right``).

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
        n: queries on which just one of the two is right, the expected number where outcomes are
        graded, rounded; auc is NaN unless each of the two is on some.
    """
    p, correct = check_same_shape(p, correct)
    auc = pair_auc_rows(p, correct, np.ones((1, len(p))))[:, 0]
    pairs = list(combinations(range(p.shape[1]), 2))
    return pd.DataFrame(
        {
            "target_a": [target_names[a] for a, _ in pairs],
            "target_b": [target_names[b] for _, b in pairs],
            "n": [round(np.sum(just_one_right(correct, a, b))) for a, b in pairs],
            "auc": auc,
        }
    )


def just_one_right(correct: np.ndarray, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """How likely a alone and b alone are right on each query, [n] each; 0 where one is missing.

    y_a (1 - y_b) and y_b (1 - y_a): the shares of all pairs of an answer of a and one of b. With
    one answer each, 1 where it is so and 0 elsewhere.
    """
    of_a, of_b = correct[:, a], correct[:, b]
    return np.nan_to_num(of_a * (1 - of_b)), np.nan_to_num(of_b * (1 - of_a))


def pair_auc_rows(p: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of P_a - P_b for "a is right" where just one is, [pairs, B], in the order of
    ``combinations``.
    """
    values = [np.empty((0, len(weights)))]
    for a, b in combinations(range(p.shape[1]), 2):
        # 12 decimals, as in routing: 0.8 - 0.7 equals 0.3 - 0.2 whatever the last bit says.
        lead = np.round(p[:, a] - p[:, b], 12)
        values.append(auc_of_shares(lead, *just_one_right(correct, a, b), weights)[None])
    return np.concatenate(values)
