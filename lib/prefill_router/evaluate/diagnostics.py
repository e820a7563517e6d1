"""How well P(correct) of one method separates, target by target, on test rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import per_target_auc


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
