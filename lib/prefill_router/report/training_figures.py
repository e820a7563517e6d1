"""Figures and sentences of the notebooks that train: SharedTrunkNet and the kernel router."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefill_router.report.curve_plots import axes_or_new, legend_below
from prefill_router.report.plots import plot_reliability, plot_roc, plot_strip


def draw_networks(
    auc: pd.DataFrame,
    rocs: Mapping[str, pd.DataFrame],
    reliability: Mapping[str, pd.DataFrame],
    members: pd.DataFrame,
) -> Figure:
    """ROC curves, calibration, and the ensemble against its members, side by side.

    Parameters
    ----------
    auc : DataFrame[target, value]
        Test AUC of the ensemble.
    rocs, reliability : of `evaluate.diagnostics`, by target
    members : DataFrame[target, value]
        Test AUC of every single network.
    """
    value = auc.set_index("target")["value"]
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.8))
    named = {f"{target} ({value[target]:.3f})": curve for target, curve in rocs.items()}
    plot_roc(named, axes[0]).set(title="ROC on test rows (mean AUC over splits)")
    plot_reliability(reliability, axes[1]).set(
        title="Calibration on test rows (colours as on the left)"
    )
    axes[1].get_legend().remove()
    legend_below(axes[0])
    plot_strip(members, auc, "test AUC", axes[2]).set(title="Ensemble against its members")
    return fig


def ensemble_sentence(pool: str, auc: pd.DataFrame, members: pd.DataFrame) -> str:
    """What the ensemble reaches, and what it gains over the average single network."""
    single = members.groupby(["seed", "target"])["value"].mean().groupby("target").mean()
    gain = (auc.set_index("target")["value"] - single).mean()
    return (
        f"Pool **{pool}**: mean test AUC {auc['value'].mean():.3f} ({auc['value'].min():.3f} to"
        f" {auc['value'].max():.3f} by target); the ensemble gains {gain:+z.3f} AUC over the"
        " average single network."
    )


def epochs_sentence(history: pd.DataFrame) -> str:
    """When members stop; `history`: `TrunkEnsemble.history` with pool and seed."""
    ends = history.groupby(["pool", "seed", "member"])["epoch"].max()
    return (
        f"Members stop after {ends.median():.0f} epochs in the median (at most {ends.max()}): the"
        " network overfits quickly, early stopping does the work."
    )


def plot_components(components: pd.DataFrame, ax: Axes | None = None, most: int = 8) -> Axes:
    """Cross-validated R2 of the leading components, a point per split seed and a line through the
    means; `components`: component, r2.
    """
    ax = axes_or_new(ax)
    shown = components[components["component"] <= most]
    sns.lineplot(shown, x="component", y="r2", errorbar=None, color="#0072B2", ax=ax)
    sns.scatterplot(shown, x="component", y="r2", color="#56B4E9", s=14, ax=ax, zorder=3)
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle="--")
    ax.set(xlabel="component of the outcomes", ylabel="cross-validated R²")
    ax.set_xticks(sorted(shown["component"].unique()))
    return ax


def components_sentence(components: pd.DataFrame) -> str:
    """How much of the shared difficulty, and of the differences, the states tell."""
    r2 = components.groupby("component")["r2"].mean()
    text = f"The states explain {r2.iloc[0]:.0%} of the difficulty that all targets share"
    if len(r2) == 1:
        return f"{text}."
    best = r2.iloc[1:]
    return (
        f"{text}; of what sets targets apart at most {max(best.max(), 0):.0%} (component"
        f" {best.idxmax()})."
    )
