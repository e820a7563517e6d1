"""The sentence of the notebook on semantic baselines."""

from __future__ import annotations

import pandas as pd

from prefill_router.report.styles import label

CONTROLS = {
    "benchmark_mean": "knowing the category gives",
    "prompt_length": "prompt length alone",
    "random_features": "random features",
    "random": "random",
}


def baseline_sentence(table: pd.DataFrame, pool: str) -> str:
    """The best text baseline of a pool, and the controls, as far as they were trained."""
    of_pool = table[table["pool"] == pool]
    means = of_pool.groupby("method")["mean_auc"].mean().sort_values(na_position="first")
    semantic = means[means.index.isin(of_pool.loc[of_pool["read"] != "", "method"])]
    parts = [
        ", ".join(f"{text} {means[name]:.3f}" for name, text in CONTROLS.items() if name in means)
    ]
    if len(semantic):
        best = f"{label(semantic.index[-1])} with {semantic.iloc[-1]:.3f}"
        parts.insert(0, f"the best text baseline is {best}")
    return f"Pool **{pool}**: {'; '.join(part for part in parts if part)}."
