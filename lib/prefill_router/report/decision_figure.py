"""The figure of a decision: what a pool's plan does, beside all that could be done instead."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

from prefill_router.evaluate.curves import convex_hull
from prefill_router.report.names_at_points import name_points
from prefill_router.report.styles import (
    INK,
    OTHERS,
    OURS,
    QUIET,
    REFERENCE,
    TARGET,
    TEXT,
    label,
    style,
)
from prefill_router.report.words import Interval

DEAREST, LOWEST = 1.35, 0.30  # of the best single's cost; below its accuracy
KEYS = ("ours, as planned", "best text, as planned", "single target", "best single target")
# points of a curve that names should not cover: for each of its own, and at least
BETWEEN, POINTS = 8, 200
TITLE = 105  # characters of a line
STAYS = 5e-4  # a plan whose cost differs by less asks the best single target alone


@dataclass(frozen=True)
class Decision:
    """What the figure of a pool is drawn from; costs are shares of the best single target's.

    Attributes
    ----------
    pool : str
    points : DataFrame[target, cost, accuracy]
        Targets with a price.
    curves : DataFrame[method, cost, accuracy]
    best : str
        Name of the best single target.
    accuracy : float
        Its accuracy. Where splits have different best single targets, the mean of those.
    text : str
        The best text router.
    plan, text_plan : (cost, accuracy) or None
        What the plans of ours and of the best text router do on test rows.
    routed : DataFrame[method, target, share] or None
    saving, gain : (value, low, high) or None
        Share of the best single target's cost that our plan saves, and accuracy above its; with
        95 % intervals.
    certified : bool
        Whether the points are plans with a promise; else tolerances chosen on calibration rows.
    """

    pool: str
    points: pd.DataFrame
    curves: pd.DataFrame
    best: str
    accuracy: float
    text: str
    plan: tuple[float, float] | None
    text_plan: tuple[float, float] | None
    routed: pd.DataFrame | None
    saving: Interval | None = None
    gain: Interval | None = None
    certified: bool = True


def message(found: Decision) -> str:
    """What the plan does, in one line."""
    if found.plan is None:
        return f"Pool {found.pool}: no plan was made"
    cost, accuracy = found.plan
    points = 100 * (accuracy - found.accuracy)
    if abs(cost - 1) < STAYS:
        return f"Pool {found.pool}: no cheaper plan is safe, all queries stay with {found.best}"
    word = "less" if cost < 1 else "more"
    what = "the plan" if found.certified else "the calibrated tolerance, without a promise,"
    saved, gain = f"{abs(1 - cost):.0%}", f"{points:+z.1f}"
    if found.saving is not None and cost < 1:
        saved += " [{:.0f}, {:.0f}]".format(*(100 * bound for bound in found.saving[1:]))
    if found.gain is not None:
        gain += " [{:z.1f}, {:z.1f}]".format(*(100 * bound for bound in found.gain[1:]))
    return (
        f"Pool {found.pool}: {what} costs {saved} {word} than {found.best}, at {gain} points of"
        " accuracy"
    )


def draw_decision(found: Decision) -> Figure:
    """Left: cost and accuracy of everything; right: where the plan sends the queries."""
    wide = found.routed is not None
    fig, axes = plt.subplots(
        *(1, 2 if wide else 1),
        figsize=(8.6, 4.4),
        width_ratios=[2.2, 1] if wide else [1],
        squeeze=False,
    )
    ax = axes[0, 0]
    low, high = _limits(ax, found)
    lines = _curves(ax, found)
    if wide:
        _shares(axes[0, 1], found)
    _legend(fig, ax)
    words = message(found)
    if len(words) > TITLE:
        words = words.replace(", at ", ",\nat ")
    fig.suptitle(words, fontsize=10, fontweight="bold", ha="left", x=0.01)
    fig.canvas.draw()  # names are placed by the layout
    fig.set_layout_engine("none")
    _targets(ax, found, low, high, lines)
    return fig


def _limits(ax: Axes, found: Decision) -> tuple[float, float]:
    """Sets them; returns the lowest accuracy shown, and one above all points and lines."""
    shown = found.points[found.points["cost"] <= DEAREST]
    floor = max(shown["accuracy"].min(), found.accuracy - LOWEST)
    ours = found.curves[found.curves["method"] == "ours"]
    inside = ours[(ours["cost"] <= DEAREST) & (ours["accuracy"] >= floor)]
    plans = [p[1] for p in (found.plan, found.text_plan) if p is not None]
    top = max([found.accuracy, *shown["accuracy"], *inside["accuracy"], *plans])
    room = 0.09 * max(top - floor, 0.02)
    ax.set(xlim=(-0.03, DEAREST), ylim=(floor - room, top + 2.4 * room))
    ax.set(xlabel="mean cost of a query, share of the best single target's", ylabel="accuracy")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if top - floor < 0.06:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    return float(floor - room), float(top + 0.8 * room)


def _curves(ax: Axes, found: Decision) -> np.ndarray:
    """All curves; returns points of those that names should not cover."""
    main = ["ours", found.text]
    rest = [m for m in found.curves["method"].unique() if m not in main]
    for name in rest:
        rows = found.curves[found.curves["method"] == name].sort_values("cost")
        of = "all other methods" if name == rest[0] else None
        ax.plot(
            rows["cost"],
            rows["accuracy"],
            color=OTHERS,
            lw=0.8,
            zorder=1,
            label=of,
            rasterized=True,
        )
    points = found.points
    hull = points.iloc[convex_hull(points["cost"].to_numpy(), points["accuracy"].to_numpy())]
    ax.plot(
        hull["cost"],
        hull["accuracy"],
        color=REFERENCE,
        linestyle="--",
        linewidth=1.2,
        zorder=3,
        label="zero router: targets mixed at random",
    )
    lines = [_along(hull)]
    for name in (m for m in main[::-1] if m is not None):
        rows = found.curves[found.curves["method"] == name].sort_values("cost")
        if rows.empty:  # such a text router was not run in this profile
            continue
        color, dashes = style(name)
        words = {"ours": "ours"}.get(name, f"best text: {label(name)}")
        ax.plot(
            rows["cost"],
            rows["accuracy"],
            color=color,
            linestyle=dashes,
            linewidth=2.2 if name == "ours" else 1.7,
            zorder=4 + (name == "ours"),
            label=f"{words}, by tolerance",
        )
        lines.append(_along(rows))
    return np.vstack(lines)


def _along(rows: pd.DataFrame) -> np.ndarray:
    """Points along a curve, close enough that none passes under a name unseen."""
    steps = np.linspace(0, len(rows) - 1, max(BETWEEN * len(rows), POINTS))
    return np.column_stack(
        [np.interp(steps, range(len(rows)), rows[of]) for of in ("cost", "accuracy")]
    )


def _targets(ax: Axes, found: Decision, low: float, high: float, lines: np.ndarray) -> None:
    """Targets with their names, those beyond the axes at the edge, and the arrow to the plan."""
    right, named = ax.get_xlim()[1], []
    step = 0.035 * (ax.get_ylim()[1] - low)
    for row in found.points.itertuples():
        x, y = min(row.cost, right - 0.012), max(row.accuracy, low + step)
        name, mark = row.target, "o"
        if row.cost > right:
            name, mark = f"{name} ({row.cost:.1f}× cost)", ">"
        if row.accuracy < low + step:
            name, mark = f"{name} ({row.accuracy:.0%})", "v"
        ax.plot(x, y, mark, color=TARGET, markersize=5, zorder=6)
        named.append((x, y, name))
    ax.plot(1, found.accuracy, "D", color=TARGET, markersize=8, zorder=6)
    marks = [(1.0, found.accuracy)]
    for plan, mark, color, size in ((found.text_plan, "^", TEXT, 8), (found.plan, "*", OURS, 15)):
        if plan is not None:
            ax.plot(*plan, mark, color=color, markersize=size, zorder=9, markeredgecolor="white")
            marks.append(plan)
    pixels = ax.transData.transform(marks)
    taken = [Bbox.from_bounds(x - 8, y - 8, 16, 16) for x, y in pixels]
    if found.plan is not None:
        taken += _arrow(ax, found, found.plan, high)
    name_points(ax, named, lines, taken)


def _arrow(ax: Axes, found: Decision, plan: tuple[float, float], high: float) -> list[Bbox]:
    """Above everything, from the best single target's cost to the plan's, and what that changes;
    the boxes of both.
    """
    cost, accuracy = plan
    words = "the plan: stay"
    if abs(cost - 1) >= STAYS:
        word = "saved" if cost < 1 else "more"
        words = f"{abs(1 - cost):.0%} {word}, {100 * (accuracy - found.accuracy):+z.1f} points"
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (cost, high), xytext=(1.0, high), arrowprops=arrow, zorder=7)
        for x, y in ((1.0, found.accuracy), plan):
            ax.plot([x, x], [y, high], color=INK, linewidth=0.8, linestyle=":", zorder=3)
    text = ax.annotate(
        words,
        (min(max((cost + 1) / 2, 0.2), 1.1), high),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        fontweight="bold",
        color=INK,
        zorder=9,
    )
    renderer = ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    line = Bbox(ax.transData.transform([(min(cost, 1), high), (max(cost, 1), high)])).padded(8)
    return [text.get_window_extent(renderer), line]


def _legend(fig: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    order = np.argsort(["ours" not in name for name in labels], kind="stable")
    star = plt.Line2D([], [], color=OURS, marker="*", markersize=11, linestyle="none")
    dot = plt.Line2D([], [], color=TARGET, marker="o", markersize=5, linestyle="none")
    best = plt.Line2D([], [], color=TARGET, marker="D", markersize=7, linestyle="none")
    mark = plt.Line2D([], [], color=TEXT, marker="^", markersize=7, linestyle="none")
    fig.legend(
        [*(handles[i] for i in order), star, mark, dot, best],
        [*(labels[i] for i in order), *KEYS],
        loc="outside lower center",
        ncols=3,
    )


def _shares(ax: Axes, found: Decision) -> None:
    """Share of the queries by target, the dearest at the top."""
    order = found.points.sort_values("cost")["target"].tolist()
    methods = [m for m in ("ours", found.text) if m in set(found.routed["method"])]  # type: ignore[index]
    height = 0.8 / len(methods)
    for i, method in enumerate(methods):
        of = found.routed[found.routed["method"] == method]  # type: ignore[index]
        share = of.set_index("target")["share"].reindex(order).fillna(0.0)
        y = np.arange(len(order)) + height * ((len(methods) - 1) / 2 - i)
        color = style(method)[0]
        ax.barh(y, share, height=0.9 * height, color=color if i == 0 else "none", edgecolor=color)
        for at, value in zip(y, share, strict=True):
            if value >= 0.0005:
                ax.text(value + 0.02, at, f"{value:.0%}", va="center", fontsize=7.5, color=color)
    ax.set(yticks=range(len(order)), xlim=(0, 1.18), ylim=(-0.6, len(order) - 0.4))
    ax.set_yticklabels(order, fontsize=7.5)
    ax.set_xticks([0, 0.5, 1.0])
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_title("where the plan sends queries", fontsize=8.5)
    ax.set_xlabel("share of the queries\n(filled: ours, hollow: best text)", color=QUIET)
    ax.grid(axis="y", visible=False)
