"""The metrics that tables show, and how a number with its interval is written."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.evaluate.keys import with_keys

# z in a format: what rounds to 0 has no minus before it
HEADLINE = {
    "mean_auc": ("mean AUC", "{:z.3f}"),
    "disagreement_auc": ("disagreement AUC", "{:z.3f}"),
    "accuracy": ("accuracy", "{:z.1%}"),
    "gap_closed": ("gap closed", "{:z.1%}"),
    "cost_saving_vs_max": ("saving vs dearest", "{:z.1%}"),
    "cost_saving_at_best_single": ("saving at best-single accuracy", "{:z.1%}"),
    "p_auccc": ("P-AUCCC", "{:z.3f}"),
    "mdp_auccc": ("MDP-AUCCC", "{:+z.3f}"),
    "pdp_auccc": ("PDP-AUCCC", "{:+z.3f}"),
    "brier": ("Brier", "{:z.3f}"),
    "ece": ("ECE", "{:z.3f}"),
}


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says."""
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"


def interval_cell(row: pd.Series | None, form: str) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    return (
        f"{form.format(row['value'])} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]"
    )


def difference_cell(
    paired: pd.DataFrame,
    pool: str,
    method_a: str,
    method_b: str | None,
    metric: str,
    form: str = "{:+z.3f}",
) -> str:
    """A difference of ``paired.csv`` with interval and verdict; a dash where there is none."""
    paired = with_keys(paired)
    keys = {"pool": pool, "method_a": method_a, "method_b": method_b, "metric": metric}
    same = np.all([paired[name] == value for name, value in keys.items()], axis=0)
    rows = paired[same].dropna(subset=["diff"])
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    return (
        f"{form.format(row['diff'])} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]"
        f" ({verdict(row['ci_low'], row['ci_high'])})"
    )
