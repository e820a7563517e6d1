"""The figures and the sentence of the notebook on encoders."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.plots import heat
from prefill_router.report.styles import DIVERGING, pool_style


def draw_encoders(
    intervals: pd.DataFrame,
    by_target: pd.DataFrame,
    encoders: pd.DataFrame,
    plans: pd.DataFrame | None = None,
) -> Figure:
    """Left: mean AUC of the kernel router by the size of its encoder, a line for each pool; in the
    middle, with ``plans``, what the plan without a loss saves; right: by target, how far each
    encoder lies above the mean of all encoders: what is left of a row when the difficulty of the
    target is taken off.

    Parameters
    ----------
    intervals, by_target, encoders, plans : as ``encoder_auc.csv``, ``encoder_target_auc.csv``,
        ``encoders.csv`` and ``encoder_plans.csv``
    """
    matrix = by_target.pivot(index="target", columns="encoder", values="auc")
    matrix = matrix.loc[by_target["target"].unique(), by_target["encoder"].unique()]
    shown = [(intervals[intervals["metric"] == "mean_auc"], "mean AUC per target", 1.0)]
    if plans is not None:
        saved = plans["metric"].eq("saving_over_best_single") & plans["operating_point"].eq(NO_LOSS)
        shown.append((plans[saved], "saving of the plan without a loss, %", 100.0))
    fig, axes = plt.subplots(
        1,
        len(shown) + 1,
        figsize=(5.0 + 3.6 * len(shown), max(3.2, 0.24 * len(matrix) + 1.8)),
        width_ratios=[1] * len(shown) + [1.35],
    )
    *by_size, right = axes
    for ax, (table, name, factor) in zip(by_size, shown, strict=True):
        _by_size(ax, table, encoders, name, factor)
    if intervals["pool"].nunique() > 1:  # one line needs no name
        by_size[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
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


def _by_size(
    ax: Axes, table: pd.DataFrame, encoders: pd.DataFrame, name: str, factor: float
) -> None:
    """Values with intervals against the size of the encoder, a line for each pool."""
    sized = table.merge(encoders[["encoder", "parameters_M"]], on="encoder")
    for pool, rows in sized.sort_values("parameters_M").groupby("pool", sort=False):
        color, mark = pool_style(str(pool))
        error = [rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]]
        ax.errorbar(
            rows["parameters_M"], factor * rows["value"], yerr=[factor * e for e in error],
            color=color, marker=mark, capsize=2, label=f"pool {pool}",
        )  # fmt: skip
    sizes = sorted(sized["parameters_M"].unique())
    ax.set(xscale="log", xlabel="parameters of the encoder, millions", ylabel=name)
    ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    ax.minorticks_off()


def plans_sentence(gains: pd.DataFrame, encoders: pd.DataFrame) -> str:
    """What the plan without a loss saves by the largest encoder more than by the smallest."""
    large = str(encoders.iloc[-1]["encoder"])
    rows = gains[
        gains["encoder"].eq(large)
        & gains["operating_point"].eq(NO_LOSS)
        & gains["metric"].eq("saving_over_best_single")
    ]
    if rows.empty:
        return "No pool can be planned: prices are missing, or there is nothing to save."
    said = "; ".join(
        f"{row.pool} {100 * row.diff:+.1f} [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}]"
        for row in rows.itertuples()
    )
    return (
        f"Read by {large} instead of {rows.iloc[0]['reference']}, the plan without a loss saves, in"
        f" points of the best single target's cost: {said}."
    )


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
