"""The figure and the sentence of pools of targets, before any router is trained."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter

from prefill_router.evaluate.complementarity import PoolOverview
from prefill_router.report.names_at_points import name_points
from prefill_router.report.styles import ORACLE, TARGET, ZONES, ink_on

GAP = 0.05  # between the names of two zones, as a share of the queries


def draw_pools(pools: pd.DataFrame, targets: pd.DataFrame) -> Figure:
    """A row for each pool. Left: zones of agreement, and the oracle's room above the best single
    target; right: cost and accuracy of every target alone.

    Parameters
    ----------
    pools : as ``pools.csv``
    targets : DataFrame[pool, target, cost, accuracy]
    """
    fig, axes = plt.subplots(
        len(pools), 2, figsize=(8.6, 2.6 * len(pools) + 0.7), width_ratios=[1, 1.35], squeeze=False
    )
    names = []
    for (left, right), row in zip(axes, pools.itertuples(), strict=True):
        names.append(_zones(left, row))
        _prices(right, targets[targets["pool"] == row.pool], row.oracle_accuracy)
    fig.suptitle(pools_message(pools), fontsize=10, fontweight="bold", ha="left", x=0.01)
    fig.canvas.draw()
    fig.set_layout_engine("none")
    for left, of_zones in zip(axes[:, 0], names, strict=True):
        _keep_apart(left, of_zones)
    for right, pool in zip(axes[:, 1], pools["pool"], strict=True):
        of = targets[(targets["pool"] == pool)].dropna(subset="cost")
        share = 100 * of["cost"] / of["cost"].max()
        points = list(zip(share, of["accuracy"], of["target"], strict=True))
        if points:
            name_points(right, points)
    return fig


def pools_message(pools: pd.DataFrame) -> str:
    """How often routing can matter at all."""
    low, high = pools["disagree"].min(), pools["disagree"].max()
    span = f"{low:.0%}" if len(pools) == 1 else f"{low:.0%} to {high:.0%}"
    return f"Targets disagree on {span} of the queries: only there a router can win"


def _zones(ax: Axes, row) -> list[Text]:  # type: ignore[no-untyped-def]  # of itertuples
    """Draw the left side of a row; returns the names of the zones, from left to right."""
    start, names = 0.0, []
    for zone, (name, color) in ZONES.items():
        share = getattr(row, zone)
        ax.barh(1.6, share, left=start, height=0.7, color=color)
        ink = ink_on(color)
        if share >= 0.08:
            ax.text(start + share / 2, 1.6, f"{share:.0%}", ha="center", va="center", color=ink)
        words = name.replace("targets ", "") if share < 0.2 else name
        at, align = (1.0, "right") if zone == "all_wrong" else (start + share / 2, "center")
        names.append(ax.text(at, 2.05, words, ha=align, va="bottom", fontsize=7.5))
        start += share
    best, oracle = row.best_single_accuracy, row.oracle_accuracy
    ax.barh(0.2, best, height=0.45, color=TARGET)
    ax.barh(0.2, oracle - best, left=best, height=0.45, color=ORACLE, alpha=0.45)
    ax.text(best / 2, 0.2, f"best single {best:.1%}", ha="center", va="center", color="white")
    gap = f"oracle {oracle:.1%}, +{100 * (oracle - best):.1f}"
    ax.text(oracle, 0.55, gap, ha="right", va="bottom", fontsize=8, color=ORACLE)
    ax.set(xlim=(0, 1), ylim=(-0.2, 2.5), yticks=[], xlabel="share of the queries")
    ax.set_title(f"Pool {row.pool}: {row.targets} targets, {row.queries:,} queries", loc="left")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    return names


def _keep_apart(ax: Axes, names: list[Text]) -> None:
    """Move names of one line to the left where they would run into the next one: the last stands
    at the end of its axes.
    """
    to_data = ax.transData.inverted()
    for name, following in reversed(list(pairwise(names))):
        _, (end, _) = to_data.transform(name.get_window_extent())
        (start, _), _ = to_data.transform(following.get_window_extent())
        over = end + GAP - start
        if over > 0:
            name.set_x(name.get_position()[0] - over)


def _prices(ax: Axes, points: pd.DataFrame, oracle: float) -> None:
    priced = points.dropna(subset="cost")
    if priced.empty or not priced["cost"].max() > 0:
        order = points.sort_values("accuracy")
        ax.barh(order["target"], order["accuracy"], color=TARGET, height=0.6)
        ax.axvline(oracle, color=ORACLE, linestyle="--", linewidth=1)
        ax.set(xlim=(0, 1), xlabel="accuracy alone (no prices); dashed: oracle")
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        return
    share = 100 * priced["cost"] / priced["cost"].max()
    ax.axhline(oracle, color=ORACLE, linestyle="--", linewidth=1)
    ax.text(
        0.01,
        oracle,
        "oracle",
        color=ORACLE,
        fontsize=7.5,
        va="bottom",
        transform=ax.get_yaxis_transform(),
    )
    ax.plot(share, priced["accuracy"], "o", color=TARGET, markersize=5)
    low = min(priced["accuracy"].min(), oracle)
    ax.set(
        xscale="log",
        xlim=(share.min() / 1.8, 190),
        ylim=(low - 0.12 * (oracle - low + 0.1), oracle + 0.12 * (oracle - low)),
    )
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 30, 100) if tick >= share.min() / 1.8]
    ax.set_xticks(ticks, [f"{tick:g}%" for tick in ticks])
    ax.minorticks_off()
    ax.set(ylabel="accuracy", xlabel="mean cost of a query, % of the dearest target's (log)")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


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
            f" The table names the {len(found.by_benchmark)} largest benchmarks;"
            f" {found.more_benchmarks} more are left out of it."
        )
    blank = found.by_benchmark.isna().all(axis=1)
    if blank.any():
        names = ", ".join(found.by_benchmark.index[blank])
        text += f" Of {names} every target answered no query: blank in the table."
    if found.unpriced:
        text += (
            f" No public price is known for {', '.join(found.unpriced)}: in the pool, but in"
            " nothing that needs a cost."
        )
    return text
