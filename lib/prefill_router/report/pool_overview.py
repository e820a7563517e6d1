"""The figure and the sentences of a pool of targets, before any router is trained."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from prefill_router.evaluate.complementarity import PoolOverview
from prefill_router.report.curve_plots import legend_below, plot_target_points
from prefill_router.report.plots import plot_matrix


def draw_pool(found: PoolOverview) -> Figure:
    """Cost and accuracy of single targets, who wins where another loses, accuracy by benchmark."""
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), width_ratios=[1.1, 1, 1])
    # before the letters, which are placed by it
    axes[0].set(title="Accuracy and cost of single targets", ylim=(0, 1))
    plot_target_points(found.points, found.cost_unit, axes[0])
    oracle = found.row["oracle_accuracy"]
    axes[0].axhline(oracle, color="#009E73", linewidth=1, linestyle="--", label="oracle")
    legend_below(axes[0])
    plot_matrix(found.wins, "Share of queries: row right, column wrong", ax=axes[1])
    plot_matrix(found.by_benchmark, "Accuracy by benchmark", ax=axes[2])
    return fig


def pool_sentence(found: PoolOverview) -> str:
    """What there is to be won, and what is not in the figure."""
    row = found.row
    best, oracle = row["best_single_accuracy"], row["oracle_accuracy"]
    text = (
        f"Pool **{found.pool}**: best single target {row['best_single']} with {best:.1%}, oracle"
        f" {oracle:.1%}, so {oracle - best:z.1%} points are there to be won. All targets right on"
        f" {row['all_right']:.1%}, all wrong on {row['all_wrong']:.1%}, disagreement on"
        f" {row['disagree']:z.1%}: only there routing matters."
    )
    if row["n_incomplete"]:
        text += (
            f" All this is of the {row['n']} queries that every target answered;"
            f" {row['n_incomplete']} lack an outcome."
        )
    if found.more_benchmarks:
        text += (
            f" The figure names the {len(found.by_benchmark)} largest benchmarks;"
            f" {found.more_benchmarks} more are left out of it."
        )
    blank = found.by_benchmark.isna().all(axis=1)
    if blank.any():
        names = ", ".join(found.by_benchmark.index[blank])
        text += f" Of {names} every target answered no query: blank in the figure."
    if found.unpriced:
        text += (
            f" No public price is known for {', '.join(found.unpriced)}: in the pool, but in"
            " nothing that needs a cost."
        )
    return text
