"""How well P(correct) of one method separates and is calibrated, target by target, on test rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from prefill_router.data.labels import class_rows
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import per_target_auc
from prefill_router.evaluate.calibration import reliability_table


def auc_on_test_rows(
    p: Mapping[int, np.ndarray], outcomes: Outcomes, splits: Mapping[int, Split]
) -> pd.DataFrame:
    """AUC of every target on test rows, the mean over splits: DataFrame[target, value].

    Parameters
    ----------
    p : split seed to ndarray [n, K]
        P(correct) of all queries.
    """
    aucs = [per_target_auc(p[s][at.test], outcomes.correct[at.test]) for s, at in splits.items()]
    return pd.DataFrame(
        {"target": outcomes.target_names, "value": pd.DataFrame(aucs).mean().to_numpy()}
    )


def roc_curves(
    p: Mapping[int, np.ndarray], outcomes: Outcomes, splits: Mapping[int, Split]
) -> dict[str, pd.DataFrame]:
    """ROC curve of every target, DataFrame[fpr, tpr], over the test rows of all splits.

    A target without any test outcome has none.
    """
    found = {}
    for target, y, q in _test_rows(p, outcomes, splits):
        rows, labels, weights = class_rows(y)
        fpr, tpr, _ = roc_curve(labels, q[rows], sample_weight=weights)
        found[target] = pd.DataFrame({"fpr": fpr, "tpr": tpr})
    return found


def reliability(
    p: Mapping[int, np.ndarray], outcomes: Outcomes, splits: Mapping[int, Split], bins: int = 10
) -> dict[str, pd.DataFrame]:
    """`evaluate.calibration.reliability_table` of every target over the test rows of all splits."""
    return {
        target: reliability_table(q, y, bins=bins)
        for target, y, q in _test_rows(p, outcomes, splits)
    }


def _test_rows(
    p: Mapping[int, np.ndarray], outcomes: Outcomes, splits: Mapping[int, Split]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Target, outcomes and P(correct) on the test rows of all splits; none without outcomes."""
    y = np.concatenate([outcomes.correct[split.test] for split in splits.values()])
    q = np.concatenate([p[seed][split.test] for seed, split in splits.items()])
    for k, target in enumerate(outcomes.target_names):
        if not np.isnan(y[:, k]).all():
            yield target, y[:, k], q[:, k]
