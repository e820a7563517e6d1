"""Where the plans send the queries of the test rows."""

from __future__ import annotations

import pandas as pd

from prefill_router.evaluate.decisions_of_pools import DecisionTables, Loaded
from prefill_router.evaluate.published import SHARE_COLUMNS, shares


def routed_shares(loaded: Loaded, tables: DecisionTables) -> pd.DataFrame:
    """Share of the test rows that the plan without a loss sends to each target, averaged over
    split seeds: of ours, and of the text router with the cheapest such plan.

    Returns
    -------
    DataFrame[SHARE_COLUMNS]
    """
    against, found = tables.differences, []
    for name, (pool, methods) in loaded.items():
        of_pool = against[(against["pool"] == name) & against["best_text_by_plan"]]
        for method in ("ours", *of_pool["method_b"].unique()):
            plans = tables.plans
            plans = plans[(plans["pool"] == name) & (plans["method"] == method)]
            p = {
                seed: methods[method].p[seed][split.test][:, pool.columns]
                for seed, split in pool.splits.items()
            }
            cost = {seed: pool.cost[seed][split.test] for seed, split in pool.splits.items()}
            table = shares(plans, p, cost, pool.outcomes.target_names)
            found.append(table.assign(pool=name, method=method))
    return pd.concat(found, ignore_index=True)[SHARE_COLUMNS]
