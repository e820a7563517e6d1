"""All methods side by side, their calibration, and the pairs of targets they tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prefill_router.report.plots import heat
from prefill_router.report.rivals import of_pools
from prefill_router.report.shown import compared
from prefill_router.report.styles import (
    CONTROL,
    DIVERGING,
    OURS,
    PAPER,
    REFERENCE,
    TEXT,
    label,
    marker,
    style,
)

# metric: its name on the axis, where a line says what no method needs a prompt for
METHOD_AXES = {
    "mean_auc": ("mean AUC per target", 0.5),
    "disagreement_auc": ("AUC of differences between targets", 0.5),
    "gap_closed": ("gap to the oracle closed", 0.0),
}
READS = {OURS: "prefill: ours", PAPER: "prefill: SharedTrunkNet", TEXT: "text", CONTROL: "no text"}


def draw_methods(metrics: pd.DataFrame, pools: Sequence[str]) -> Figure:
    """A row for each method in one order for all pools, a column for each pool, a band of panels
    for each of ``METHOD_AXES``; a line is a 95 % interval.
    """
    tables = {pool: compared(metrics, pool) for pool in pools}
    both = pd.concat(tables.values())
    auc = both[both["metric"] == "mean_auc"].groupby("method")["value"].mean().sort_values()
    methods = list(auc.index)
    height = len(METHOD_AXES) * (0.145 * len(methods) + 0.55) + 0.9
    fig, axes = plt.subplots(
        len(METHOD_AXES),
        len(pools),
        figsize=(8.6, height),
        sharey=True,
        sharex="row",
        squeeze=False,
    )
    for line, (metric, (title, reference)) in zip(axes, METHOD_AXES.items(), strict=True):
        for ax, pool in zip(line, pools, strict=True):
            rows = tables[pool][tables[pool]["metric"] == metric].set_index("method")
            _method_rows(ax, rows.reindex(methods))
            ax.axvline(reference, color=REFERENCE, linewidth=0.8, linestyle="--")
            ax.set_title(f"Pool {pool}" if metric == "mean_auc" else "", fontsize=8.5)
            ax.set_ylim(-0.7, len(methods) - 0.3)
        low = np.nanquantile(_values(both, metric)["ci_low"], 0.05)
        high = _values(both, metric)["ci_high"].max()
        low = min(low, reference)
        line[0].set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        line[0].set_xlabel(title, fontweight="bold", loc="left")
        line[0].set_yticks(range(len(methods)), [label(m) for m in methods], fontsize=7)
        for text, method in zip(line[0].get_yticklabels(), methods, strict=True):
            text.set_color(style(method)[0])
    fig.suptitle(_methods_message(both, pools), fontsize=10, fontweight="bold", ha="left", x=0.01)
    handles = [
        Line2D([], [], color=color, marker=marker_of, linestyle="-", markersize=5, label=name)
        for (color, name), marker_of in zip(READS.items(), ("o", "s", "^", "x"), strict=True)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, title="what a method reads")
    return fig


def _values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return rows[rows["metric"] == metric]


def _method_rows(ax: Axes, rows: pd.DataFrame) -> None:
    """Rasterised: several hundred marks would make the largest part of the file."""
    y, colors = np.arange(len(rows)), [style(method)[0] for method in rows.index]
    wide = [2.0 if method in ("ours", "paper") else 1.2 for method in rows.index]
    ax.hlines(y, rows["ci_low"], rows["ci_high"], colors, linewidth=wide, rasterized=True)
    marks = np.array([marker(method) for method in rows.index])
    for mark in dict.fromkeys(marks):
        of = marks == mark
        color = colors[int(of.argmax())]
        ax.plot(
            rows["value"].to_numpy()[of], y[of], mark, color=color, markersize=4, rasterized=True
        )  # fmt: skip


def _methods_message(both: pd.DataFrame, pools: Sequence[str]) -> str:
    rows = _values(both, "mean_auc")
    first = [of.loc[of["value"].idxmax(), "method"] for _, of in rows.groupby("pool", sort=False)]
    ours = sum(name in ("ours", "ours_views") for name in first)
    best = _values(both, "gap_closed").groupby("pool")["value"].max().max()
    found = f"A kernel router on prefill has the highest mean AUC on {ours} of {len(pools)} pools"
    if len(pools) == 1:
        name = label(first[0])
        found = f"{name[0].upper()}{name[1:]} has the highest mean AUC"
    return f"{found}; none closes more than {best:.0%} of the gap to the oracle"


def draw_calibration(bins: pd.DataFrame, metrics: pd.DataFrame, pools: Sequence[str]) -> Figure:
    """A reliability diagram for each pool. `bins`: pool, method, p_mean, accuracy
    (`pools.reliability`).
    """
    fig, axes = plt.subplots(
        1, len(pools), figsize=(8.6, 8.0 / max(len(pools), 3) + 1.3), squeeze=False, sharey=True
    )
    for ax, pool in zip(axes[0], pools, strict=True):
        ax.plot([0, 1], [0, 1], color=REFERENCE, linewidth=0.8, linestyle="--")
        for method, rows in bins[bins["pool"] == pool].groupby("method", sort=False):
            color, dashes = style(str(method))
            ax.plot(
                rows["p_mean"], rows["accuracy"], dashes, color=color, marker=marker(str(method)),
                markersize=3.5, label=label(str(method)),
            )  # fmt: skip
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=f"Pool {pool}")
        ax.set_xlabel("predicted P(correct)")
    axes[0, 0].set_ylabel("share that was right")
    found = of_pools(metrics)
    worst = found[(found["metric"] == "ece") & (found["method"] == "ours")]["value"].max()
    words = f"P(correct) of ours is off by {worst:.3f} on average in its worst pool (ECE)"
    fig.suptitle(
        words if worst == worst else "Calibration on test rows",
        fontsize=10,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
    named: Mapping[str, Line2D] = {}
    for ax in axes[0]:
        handles, names = ax.get_legend_handles_labels()
        named = {**dict(zip(names, handles, strict=True)), **named}
    fig.legend(list(named.values()), list(named), loc="outside lower center", ncols=3)
    return fig


def draw_disagreement(pairs: pd.DataFrame, pools: Sequence[str]) -> Figure:
    """A matrix for each pool, its lower half: the AUC of telling which of two targets is right
    where just one of them is, of ours (the first method); one colour scale for all.

    `pairs`: as ``disagreement.csv``.
    """
    ours = pairs[pairs["method"] == pairs["method"].iloc[0]]
    across = min(2, len(pools))
    down = -(-len(pools) // across)
    most = max(len(set(of["target_a"]) | set(of["target_b"])) for _, of in ours.groupby("pool"))
    height = down * (0.3 * most + 1.5) + 0.6
    fig, axes = plt.subplots(down, across, figsize=(8.6, height), squeeze=False)
    for ax in axes.flat[len(pools) :]:
        ax.set_visible(False)
    image = None
    for ax, pool in zip(axes.flat, pools, strict=False):
        image = _half(ax, ours[ours["pool"] == pool]) or image
        ax.set_title(f"Pool {pool}", loc="left")
    if image is not None:
        bar = fig.colorbar(image, ax=axes, shrink=0.5, aspect=25)
        bar.set_label("AUC (0.5: does not know which)")
    fig.suptitle(
        f"Where just one of two targets is right, ours tells which with an AUC of"
        f" {ours['auc'].mean():.2f} on average",
        fontsize=10,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
    return fig


def _half(ax: Axes, pairs: pd.DataFrame):  # type: ignore[no-untyped-def]
    names = list(dict.fromkeys([*pairs["target_a"], *pairs["target_b"]]))
    columns, rows = names[:-1], names[1:]
    matrix = np.full((len(rows), len(columns)), np.nan)
    for pair in pairs.itertuples():
        a, b = sorted((names.index(pair.target_a), names.index(pair.target_b)))
        matrix[b - 1, a] = pair.auc
    return heat(ax, pd.DataFrame(matrix, rows, columns), "{:.2f}", DIVERGING, (0.2, 0.8))
