"""Cost against accuracy: single targets, curves, operating points."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox


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

    `points`: target, cost, accuracy; those without a cost have no place in the plane.
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
