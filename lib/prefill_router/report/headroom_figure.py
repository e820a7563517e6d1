"""What more queries would bring, and how much of the gap to the oracle is luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from prefill_router.report.styles import INK, LUCK, OURS, TARGET, pool_style

LUCK_ROWS = {
    "best_single": "best single target",
    "informed_routing": "informed routing",
    "expected_of_best_p": "expected of the largest P",
    "oracle": "oracle",
    "oracle_if_independent": "oracle if independent",
}
MEASURED_ROWS = {
    "best_single": "best single target",
    "text": "best text router",
    "router": "ours",
    "knows_1": "ours and one other answer",
    "knows_2": "ours and two other answers",
    "highest_grade": "highest share of three",
    "oracle": "oracle of one answer",
}
LEARNING = {"mean_auc": "mean AUC per target", "disagreement_auc": "AUC of differences"}


def draw_headroom(curve: pd.DataFrame, luck: pd.DataFrame | None, measured: bool) -> Figure:
    """Above: both AUCs against the number of training queries; below, where it is known, a panel of
    luck for each pool.

    Parameters
    ----------
    curve : as ``learning_curve.csv``
    luck : DataFrame or None
        A row for each pool, a column for each of ``LUCK_ROWS`` or, if ``measured``, of
        ``MEASURED_ROWS`` (`luck_in_columns`).
    """
    pools = 0 if luck is None else len(luck)
    fig = plt.figure(figsize=(8.6, 2.9 + (2.5 if pools else 0)))
    grid = fig.add_gridspec(2 if pools else 1, 1, height_ratios=[1.15, 1] if pools else [1])
    top = grid[0].subgridspec(1, 2)
    axes = [fig.add_subplot(top[0, k]) for k in range(2)]
    for ax, (metric, title) in zip(axes, LEARNING.items(), strict=True):
        _learning(ax, curve[curve["metric"] == metric])
        ax.set(xlabel="training queries", ylabel=title)
    if curve["pool"].nunique() > 1:
        fig.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title="pool"
        )
    if luck is not None and pools:
        rows = MEASURED_ROWS if measured else LUCK_ROWS
        rows = {name: words for name, words in rows.items() if name in luck}
        shaded = (
            ("highest_grade", "oracle")
            if measured
            else ("expected_of_best_p", "oracle_if_independent")
        )
        below = grid[1].subgridspec(1, pools)
        panels = [fig.add_subplot(below[0, k]) for k in range(pools)]
        plot_luck(luck, rows, shaded, "luck, at least" if measured else "not known", panels)
    fig.suptitle(_message(curve, luck, measured), fontsize=10, fontweight="bold", ha="left", x=0.01)
    return fig


def luck_in_columns(luck: pd.DataFrame) -> pd.DataFrame:
    """A row for each pool of ``luck.csv``: pool, target, metric, value (`luck.measured_luck`)."""
    of_pool = luck[luck["metric"].isin(MEASURED_ROWS)]
    wide = of_pool.pivot(index="pool", columns="metric", values="value")
    return wide.loc[of_pool["pool"].unique()].reset_index()


def _learning(ax: Axes, table: pd.DataFrame) -> None:
    pools = list(table["pool"].unique())
    for i, pool in enumerate(pools):
        rows = table[table["pool"] == pool].sort_values("training_queries")
        # a little aside, or the intervals of several pools lie on each other
        at = rows["training_queries"] * 1.03 ** (i - (len(pools) - 1) / 2)
        color, mark = pool_style(pool)
        error = [rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]]
        ax.errorbar(at, rows["value"], yerr=error, color=color, marker=mark, capsize=2, label=pool)
    sizes = np.sort(table["training_queries"].unique())
    ax.set(xscale="log")
    ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def plot_luck(
    luck: pd.DataFrame,
    rows: Mapping[str, str],
    shaded: tuple[str, str],
    what: str,
    axes: Sequence[Axes],
) -> None:
    """A panel for every pool: a dot for each of ``rows``, shade between two of them, and ``what``
    that stretch is.
    """
    names = list(rows)[::-1]
    for ax, (_, row) in zip(axes, luck.iterrows(), strict=True):
        values = row[names].astype(float)
        low, high = row[list(shaded)].astype(float)
        ax.axvspan(low, high, color=LUCK, alpha=0.45, linewidth=0)
        words = f"{what}: {100 * (high - low):.1f} points"
        ax.text((low + high) / 2, len(names) - 0.35, words, ha="center", fontsize=7.5, color=INK)
        for y, (name, value) in enumerate(zip(names, values, strict=True)):
            ours = rows[name].startswith("ours")
            ax.plot(value, y, "o", color=OURS if ours else TARGET, markersize=5)
        span = max(values.max() - values.min(), 0.02)
        for y, value in enumerate(values):
            ax.text(value + 0.06 * span, y, f"{value:.1%}", va="center", fontsize=7)
        ax.set(xlim=(values.min() - 0.1 * span, values.max() + 0.48 * span))
        ax.set(ylim=(-0.6, len(names) + 0.2), yticks=range(len(names)))
        ax.set_yticklabels([rows[name] for name in names] if ax is axes[0] else [], fontsize=7.5)
        ax.set(xlabel="accuracy", title=f"Pool {row['pool']}")
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.grid(axis="y", visible=False)


def _message(curve: pd.DataFrame, luck: pd.DataFrame | None, measured: bool) -> str:
    auc = curve[curve["metric"] == "mean_auc"].sort_values("training_queries")
    gains = [
        of["value"].iloc[-1] - of["value"].iloc[-2] for _, of in auc.groupby("pool") if len(of) > 1
    ]
    words = (
        f"The last doubling of the training queries brings {np.mean(gains):+z.3f} AUC"
        if gains
        else "Learning curve"
    )
    if luck is None or luck.empty:
        return words
    top, low = (
        ("oracle", "highest_grade") if measured else ("oracle_if_independent", "expected_of_best_p")
    )
    reach = luck[top] - luck["best_single"]
    share = ((luck[top] - luck[low]) / reach).mean()
    what = (
        f"at least {share:.0%} of what an oracle seems to win is luck, which no router can know"
        if measured
        else f"{share:.0%} of what an oracle seems to win is luck, or beyond the informed reader"
    )
    return f"{words};\n{what} (mean over the pools below)"
