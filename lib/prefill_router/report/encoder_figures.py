"""The figures and the sentence of the notebook on encoders."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.report.curve_plots import legend_outside
from prefill_router.report.plots import plot_growth, plot_matrix


def draw_encoder_matrix(matrix: pd.DataFrame) -> Figure:
    """Test AUC of the kernel router, by encoder and target."""
    size = (max(5, 0.55 * matrix.shape[1] + 2), 0.45 * len(matrix) + 1.8)
    fig, ax = plt.subplots(figsize=size)
    title = "Test AUC of the kernel router, by encoder and target"
    plot_matrix(matrix, title, fmt=".3f", ax=ax)
    return fig


def draw_encoder_size(intervals: pd.DataFrame, encoders: pd.DataFrame) -> Figure:
    """Mean AUC against the parameters of the encoder, a line for each pool."""
    sized = intervals[intervals["metric"] == "mean_auc"].merge(
        encoders[["encoder", "parameters_M"]], on="encoder"
    )
    fig, ax = plt.subplots(figsize=(4.8, 3.2))
    plot_growth(sized.sort_values("parameters_M"), "parameters_M", ax).set(
        xlabel="parameters of the encoder (millions)",
        ylabel="mean per-target test AUC",
        title="AUC by size of the encoder",
    )
    legend_outside(ax, "pool")
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
