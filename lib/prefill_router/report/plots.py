"""Figures: every function draws a tidy table on given axes and returns them; nothing is computed
here that a table should hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter, NullLocator

from prefill_router.report.curve_plots import axes_or_new, say_empty
from prefill_router.report.styles import label, style


def plot_layers(
    layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None, hue: str = "target"
) -> Axes:
    """One probe over layers: a line per target (colour) and pooling (style). `layers`: as
    results/layers.csv.
    """
    ax = axes_or_new(ax)
    sns.lineplot(
        layers,
        x="layer",
        y=value,
        hue=hue,
        style="pooling",
        style_order=["last", "mean"],
        ax=ax,
        errorbar=None,
    )
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_layers_label_free(
    layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None
) -> Axes:
    """A label-free probe over layers: a line per pooling."""
    ax = axes_or_new(ax)
    rows = layers.drop_duplicates(["pooling", "layer"])
    sns.lineplot(
        rows,
        x="layer",
        y=value,
        style="pooling",
        style_order=["last", "mean"],
        color="black",
        ax=ax,
        errorbar=None,
    )
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_intervals(
    table: pd.DataFrame, title: str, reference: float | None = None, ax: Axes | None = None
) -> Axes:
    """Point and 95 % interval of one metric per method, best on top. `table`: method, value,
    ci_low, ci_high.
    """
    ax = axes_or_new(ax)
    rows = table.sort_values("value").reset_index(drop=True)
    if rows["value"].isna().all():
        say_empty(ax, "defined for no method")
    for y, row in rows.iterrows():
        color, _ = style(row["method"])
        ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=2)
        ax.scatter(row["value"], y, color=color, s=28, zorder=3)
    if reference is not None:
        ax.axvline(reference, color="0.4", linewidth=0.8, linestyle="--")
    ax.set(yticks=range(len(rows)), yticklabels=[label(m) for m in rows["method"]], xlabel=title)
    ax.grid(axis="y", visible=False)
    return ax


def plot_matrix(
    matrix: pd.DataFrame,
    title: str,
    fmt: str = ".0%",
    center: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A labelled heat map; rows and columns as in `matrix`, NaN left blank."""
    ax = axes_or_new(ax)
    limits = (
        {"vmin": 0.0, "vmax": 1.0} if matrix.isna().all(axis=None) else {}
    )  # nothing to take the colours' range from
    sns.heatmap(
        matrix,
        annot=True,
        **limits,
        fmt=fmt,
        cmap="vlag" if center is not None else "cividis",
        center=center,
        cbar=False,
        ax=ax,
        annot_kws={"size": 7},
        linewidths=0.5,
    )
    ax.set(title=title, xlabel="", ylabel="")
    ax.grid(visible=False)  # it would show through cells without a value
    ax.tick_params(axis="x", rotation=30)
    plt.setp(ax.get_xticklabels(), ha="right")
    ax.tick_params(axis="y", rotation=0)
    return ax


def plot_roc(curves: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """ROC curves; `curves`: label -> DataFrame[fpr, tpr]."""
    ax = axes_or_new(ax)
    for name, rows in curves.items():
        ax.plot(rows["fpr"], rows["tpr"], label=name)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    ax.set(
        xlabel="false positive rate",
        ylabel="true positive rate",
        aspect="equal",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(loc="lower right")
    return ax


def plot_reliability(tables: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Reliability diagram; `tables`: label -> `metrics.reliability_table`."""
    ax = axes_or_new(ax)
    for name, rows in tables.items():
        ax.plot(rows["p_mean"], rows["accuracy"], marker="o", markersize=3, label=name)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    ax.set(
        xlabel="predicted P(correct)",
        ylabel="observed accuracy",
        aspect="equal",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(loc="upper left")
    return ax


def plot_growth(table: pd.DataFrame, x: str, ax: Axes | None = None) -> Axes:
    """A value that grows with a size, with its 95 % interval, a line per pool. `table`: pool, the
    column `x`, value, ci_low, ci_high.
    """
    ax = axes_or_new(ax)
    pools = table["pool"].unique()
    for i, pool in enumerate(pools):
        rows = table[table["pool"] == pool].sort_values(x)
        # a little aside, or the intervals of several pools lie on each other
        at = rows[x] * 1.03 ** (i - (len(pools) - 1) / 2)
        ax.errorbar(
            at,
            rows["value"],
            yerr=[rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]],
            marker="o",
            markersize=4,
            capsize=2,
            label=pool,
        )
    sizes = np.sort(table[x].unique())
    ax.set(xscale="log")
    ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers: matplotlib's own powers of ten are mathematics,
    which the style draws as it is written.
    """
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def plot_strip(
    members: pd.DataFrame, ensemble: pd.DataFrame, title: str, ax: Axes | None = None
) -> Axes:
    """Single members as dots, their ensemble as a bar. `members` and `ensemble`: target, value."""
    ax = axes_or_new(ax)
    order = list(ensemble["target"])
    # not a strip plot: its jitter is drawn from numpy's global state, and two runs would differ
    sns.swarmplot(
        members,
        x="target",
        y="value",
        order=order,
        color="#56B4E9",
        size=2.5,
        ax=ax,
        zorder=1,
        warn_thresh=1,
    )
    ax.scatter(
        np.arange(len(order)),
        ensemble["value"],
        marker="_",
        s=500,
        color="#D55E00",
        linewidth=2,
        zorder=3,
        label="ensemble",
    )
    ax.set(ylabel=title, xlabel="")
    ax.tick_params(axis="x", rotation=30)
    plt.setp(ax.get_xticklabels(), ha="right")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    return ax
