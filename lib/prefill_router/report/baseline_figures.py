"""The figure and the sentence of the notebook on semantic baselines."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from prefill_router.report.curve_plots import axes_or_new
from prefill_router.report.styles import label

CONTROLS = {
    "benchmark_mean": "knowing the category gives",
    "prompt_length": "prompt length alone",
    "random_features": "random features",
    "random": "random",
}


def plot_baselines(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Mean AUC of every method, a dot for each split and a bar at their mean, the best at the top;
    those that read no text are grey.

    `table`: `evaluate.baseline_table` of one pool.
    """
    ax = axes_or_new(ax)
    means = table.groupby("method")["mean_auc"].mean().dropna().sort_values(ascending=False)
    order = [label(method) for method in means.index]
    shown = table[table["method"].isin(means.index)].assign(
        name=table["method"].map(label), reads=table["read"].ne("") | table["method"].eq("tfidf")
    )
    sns.stripplot(
        shown, x="mean_auc", y="name", order=order, hue="reads", jitter=False, size=4,
        palette={True: "#0072B2", False: "0.6"}, legend=False, ax=ax,
    )  # fmt: skip
    ax.plot(means.to_numpy(), range(len(means)), "|", color="black", markersize=9)
    ax.axvline(0.5, color="0.6", linewidth=0.8, linestyle="--")
    ax.set(xlabel="mean AUC per target, test rows", ylabel="")
    return ax


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
