"""The table that ends a run."""

from __future__ import annotations

import pandas as pd

from prefill_router.report.rivals import of_pools
from prefill_router.run.workspace import Workspace

HEADLINE = ("accuracy", "mean_auc", "gap_closed", "cost_saving_at_best_single", "p_auccc")


def headline(workspace: Workspace) -> str:
    """The table that ends a run: `value [95 % interval]` of the main metrics per method."""
    path = workspace.results / "metrics.csv"
    if not path.is_file():
        return f"No {path} yet, so no headline table."
    metrics = pd.read_csv(path)
    metrics = metrics[metrics["metric"].isin(HEADLINE)]
    if "target" in metrics:
        metrics = of_pools(metrics)
    metrics = metrics[metrics["pool"] == next(iter(workspace.profile.pools))]
    if metrics.empty:
        return f"{path} holds none of {', '.join(HEADLINE)} for the first pool."
    cells = [
        (
            ""
            if pd.isna(row.value)
            else (
                f"{row.value:z.3f}"
                if pd.isna(row.ci_low)
                else f"{row.value:z.3f} [{row.ci_low:z.3f}, {row.ci_high:z.3f}]"
            )
        )
        for row in metrics.itertuples()
    ]
    table = metrics.assign(cell=cells).pivot_table(
        index="method", columns="metric", values="cell", aggfunc="first", sort=False
    )
    table = table[[name for name in HEADLINE if name in table]].fillna("")
    table.columns.name = table.index.name = None
    return (
        f"{table.to_string()}\n(95 % intervals; n = {metrics['n'].max()} test queries; all of it:"
        f" {path})"
    )
