"""The figures and the sentence of the notebook on encoders."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.report.plots import heat
from prefill_router.report.styles import DIVERGING, pool_style


def draw_encoders(
    intervals: pd.DataFrame, by_target: pd.DataFrame, encoders: pd.DataFrame
) -> Figure:
    """Left: mean AUC of the kernel router by the size of its encoder, a line for each pool; right:
    by target, how far each encoder lies above the mean of all encoders: what is left of a row when
    the difficulty of the target is taken off.

    Parameters
    ----------
    intervals, by_target, encoders : as ``encoder_auc.csv``, ``encoder_target_auc.csv`` and
        ``encoders.csv``
    """
    sized = intervals[intervals["metric"] == "mean_auc"].merge(
        encoders[["encoder", "parameters_M"]], on="encoder"
    )
    matrix = by_target.pivot(index="target", columns="encoder", values="auc")
    matrix = matrix.loc[by_target["target"].unique(), by_target["encoder"].unique()]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, max(3.2, 0.24 * len(matrix) + 1.8)), width_ratios=[1, 1.35]
    )
    for pool, rows in sized.sort_values("parameters_M").groupby("pool", sort=False):
        color, mark = pool_style(str(pool))
        error = [rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]]
        left.errorbar(
            rows["parameters_M"], rows["value"], yerr=error, color=color, marker=mark, capsize=2,
            label=f"pool {pool}",
        )  # fmt: skip
    sizes = sorted(sized["parameters_M"].unique())
    left.set(
        xscale="log", xlabel="parameters of the encoder, millions", ylabel="mean AUC per target"
    )
    left.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    left.minorticks_off()
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    over = matrix.sub(matrix.drop(columns="ours", errors="ignore").mean(axis=1), axis=0)
    most = float(over.abs().max().max()) or 0.01
    heat(right, over, "{:+z.3f}", DIVERGING, (-1.15 * most, 1.15 * most))
    right.set_title("AUC minus the mean of the encoders, by target", fontsize=8.5)
    single = matrix.drop(columns="ours", errors="ignore")
    between = single.mean(axis=1).max() - single.mean(axis=1).min()
    fig.suptitle(
        f"Which target is asked about moves AUC by {between:.2f}, which encoder reads by"
        f" {single.mean().max() - single.mean().min():.2f}",
        fontsize=10,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
    return fig


def encoder_sentence(encoders: pd.DataFrame, matrix: pd.DataFrame) -> str:
    """How the AUC grows with the encoder, and which label-free probe would have told."""

    def ordered(by: str) -> str:
        return ", ".join(encoders.sort_values(by, ascending=False)["encoder"])

    small, large = encoders.iloc[0], encoders.iloc[-1]
    if len(encoders) == 1:
        return (
            f"{small['encoder']}, the only encoder ({small['parameters_M']:.0f} M parameters), has"
            f" a mean AUC over all targets of {small['test_auc']:.3f}."
        )
    together = ""
    if "ours" in matrix.index:
        together = (
            " `ours`, which averages the encoders that cross-validation chose, has"
            f" {matrix.loc['ours'].mean():.3f}."
        )
    return (
        f"From {small['parameters_M']:.0f} M to {large['parameters_M']:.0f} M parameters the mean"
        f" AUC over all targets goes from {small['test_auc']:.3f} to {large['test_auc']:.3f}."
        f"{together} Encoders by AUC: {ordered('test_auc')}; by J: {ordered('mean_fisher_j')}; by"
        f" effective dimensionality: {ordered('d_eff')}."
    )
