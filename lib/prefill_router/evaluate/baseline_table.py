"""Test AUC of every baseline on every split, before intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import mean_auc


def baseline_table(
    fits: Mapping[int, Mapping[str, Any]],
    targets: list[str],
    pools: Mapping[str, Outcomes],
    splits: Mapping[int, Split],
) -> pd.DataFrame:
    """A row for every pool, method and split seed.

    Parameters
    ----------
    fits : seed to method to `heads.fit_baselines.BaselineFit`
        On all targets: none of these routers needs to know the pool.
    targets : the columns of their P(correct).

    Returns
    -------
    DataFrame[pool, method, read, seed, mean_auc, seconds, chosen]
    """
    rows: list[tuple] = []
    for pool, outcomes in pools.items():
        of_pool = [targets.index(target) for target in outcomes.target_names]
        for seed, by_method in fits.items():
            test = splits[seed].test
            for method, fit in by_method.items():
                auc = mean_auc(fit.p[test][:, of_pool], outcomes.correct[test])
                rows.append((pool, method, fit.read, seed, auc, fit.seconds, fit.chosen))
    columns = ["pool", "method", "read", "seed", "mean_auc", "seconds", "chosen"]
    return pd.DataFrame(rows, columns=columns)
