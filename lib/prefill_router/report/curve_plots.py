"""Cost against accuracy: single targets, curves, operating points."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from prefill_router.report.styles import label, style


def axes_or_new(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def say_empty(ax: Axes, why: str) -> None:
    """Write on axes why nothing is drawn there."""
    ax.annotate(
        why, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=8, color="0.4"
    )


def cost_axis(unit: str) -> tuple[float, str]:
    """Factor and label of a cost axis: a single query costs too small a part of a dollar to be
    read.
    """
    return (
        (1000.0, "mean cost of 1,000 queries (USD)")
        if unit == "USD"
        else (1.0, f"mean cost per query ({unit})")
    )


def plot_target_points(points: pd.DataFrame, unit: str, ax: Axes | None = None) -> Axes:
    """Single targets in the cost/accuracy plane, lettered by falling accuracy; the legend says
    which is which.

    `points`: target, cost, accuracy; those without a cost have no place in the plane. Names beside
    the points would cover each other and the curves, so draw the legend with
    :func:`legend_outside`.
    """
    ax = axes_or_new(ax)
    factor, label_of_cost = cost_axis(unit)
    points = points.dropna(subset=["cost"]).sort_values("accuracy", ascending=False)
    if points.empty:
        say_empty(ax, "no target has a cost")
    renderer = ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg has it
    ax.scatter(factor * points["cost"], points["accuracy"], color="black", s=16, zorder=4)
    ax.set(xlabel=label_of_cost, ylabel="accuracy")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.autoscale_view()  # else a letter is measured against limits from before its point was drawn
    places = (
        (6, -3),
        (-6, -3),
        (0, 6),
        (0, -12),
        (8, 5),
        (-8, 5),
        (8, -11),
        (-8, -11),
        (15, -3),
        (-15, -3),
        (0, 15),
        (0, -21),
    )
    taken: list[Bbox] = []
    for letter, row in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", points.itertuples(), strict=False):
        text = None
        for place in places:  # the first that no other letter has
            if text is not None:
                text.remove()
            text = ax.annotate(
                letter,
                (factor * row.cost, row.accuracy),
                xytext=place,
                textcoords="offset points",
                fontsize=8,
                fontweight="bold",
                ha="center",
                zorder=6,
            )
            # with room to spare: a legend beside the axes will draw points closer together
            box = text.get_window_extent(renderer).expanded(1.6, 1.3)
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
        with plt.rc_context({"text.parse_math": True}):  # a marker is a letter only as mathematics
            ax.plot(
                [],
                [],
                color="black",
                marker=f"${letter}$",
                linestyle="none",
                markersize=6,
                label=row.target,
            )
    return ax


def legend_outside(ax: Axes, title: str | None = None) -> None:
    """The legend to the right of the axes, where it covers nothing."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=8, title=title
    )


def legend_below(ax: Axes) -> None:
    """The legend under the axes, in two columns."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=7)


def plot_curves(
    curves: pd.DataFrame,
    points: pd.DataFrame,
    hull: pd.DataFrame,
    oracle: tuple[float, float],
    unit: str,
    methods: Sequence[str],
    bands: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Cost/accuracy curves of routers with single targets, zero router and oracle, the legend
    beside them.

    `curves`: method, cost, accuracy, ci_low, ci_high; `points`: target, cost, accuracy; `hull`:
    cost, accuracy; `oracle`: (cost, accuracy); `bands`: methods drawn with their 95 % interval.

    Notes
    -----
    Eight parameters: the four tables of a figure, and how they are drawn.
    """
    ax = axes_or_new(ax)
    factor, _ = cost_axis(unit)
    points = points.dropna(subset=["cost"])
    for method in methods:
        rows = curves[curves["method"] == method].sort_values("cost")
        color, line = style(method)
        ax.plot(
            factor * rows["cost"],
            rows["accuracy"],
            color=color,
            linestyle=line,
            label=label(method),
            zorder=3,
        )
        if method in bands:
            ax.fill_between(
                factor * rows["cost"],
                rows["ci_low"],
                rows["ci_high"],
                color=color,
                alpha=0.15,
                linewidth=0,
                label="its 95 % interval",
            )
    ax.plot(
        factor * hull["cost"],
        hull["accuracy"],
        color="black",
        linewidth=1,
        linestyle="--",
        label="zero router (mix of targets)",
    )
    ax.axhline(
        points["accuracy"].max(),
        color="0.5",
        linewidth=0.8,
        linestyle=(0, (1, 1)),
        label="best single target",
    )
    ax.scatter(
        factor * oracle[0], oracle[1], marker="*", s=90, color="#009E73", zorder=5, label="oracle"
    )
    plot_target_points(points, unit, ax)
    legend_outside(ax)
    return ax
