"""The diagram of the method: what happens to a prompt, and what is learnt beforehand.

`python -m prefill_router.report.redraw` draws it into ``figures/method.svg`` and ``.png``.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from prefill_router.report.saving import save_figure
from prefill_router.report.styles import INK, PAPER, QUIET, TEXT, use_style

# box: left, bottom, width, height, edge, heading, lines
PATH = [
    (0.0, 3.2, 1.5, 1.5, INK, "prompt", "one query"),
    (2.1, 3.2, 2.2, 1.5, PAPER, "encoder", "open weights; one\nforward pass,\nno text is written"),
    (
        4.9,
        3.2,
        2.2,
        1.5,
        PAPER,
        "prefill states",
        "of all layers;\nlast token and\nmean over tokens",
    ),
    (7.7, 3.2, 2.2, 1.5, INK, "router", "P(correct)\nof each target"),
    (
        10.5,
        3.2,
        2.2,
        1.5,
        INK,
        "rule and plan",
        "the largest P minus\nprice × cost; the\nprice is fixed before",
    ),
]
BEFOREHAND = [
    (
        2.1,
        0.5,
        2.2,
        1.4,
        QUIET,
        "labelled queries",
        "which target was\nright, and what its\nanswer cost",
    ),
    (7.7, 0.5, 2.2, 1.4, QUIET, "training", "kernel regression\non the states, or\nSharedTrunkNet"),
    (
        10.5,
        0.5,
        2.2,
        1.4,
        QUIET,
        "promise",
        "not below the best\nsingle target, with\n95 % confidence",
    ),
]
TARGETS = [(5.25, "dear target"), (3.6, "cheap target"), (1.95, "another target")]


def draw_method() -> Figure:
    """Boxes from left to right: the way of a prompt; below it what is done once, beforehand."""
    fig, ax = plt.subplots(figsize=(8.6, 3.5))
    ax.set(xlim=(-0.1, 15.2), ylim=(0.1, 6.3))
    ax.axis("off")
    for box in (*PATH, *BEFOREHAND):
        _box(ax, *box)
    for left, right in pairwise(PATH):
        _arrow(ax, (left[0] + left[2], 3.95), (right[0], 3.95))
    _arrow(ax, (4.3, 1.2), (7.7, 1.2), QUIET)
    _arrow(ax, (8.8, 1.9), (8.8, 3.2), QUIET)
    _arrow(ax, (9.9, 1.2), (10.5, 1.2), QUIET)
    _arrow(ax, (11.6, 1.9), (11.6, 3.2), QUIET)
    for y, name in TARGETS:
        chosen = name == "cheap target"
        color = TEXT if chosen else QUIET
        _arrow(ax, (12.7, 3.95), (13.3, y + 0.35), color, 2.0 if chosen else 0.8)
        _box(ax, 13.3, y, 1.8, 0.7, color, "", name)
    ax.text(0, 5.7, "each query: one forward pass, one target is asked", fontweight="bold")
    ax.text(0, 2.2, "once, beforehand", fontweight="bold", color=QUIET)
    return fig


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, edge: str, heading: str, lines: str
) -> None:
    """A box with a heading and lines.

    Notes
    -----
    Eight parameters: a row of ``PATH``.
    """
    ax.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor="white", edgecolor=edge, linewidth=1.3,
        )
    )  # fmt: skip
    middle = x + width / 2
    if heading:
        ax.text(
            middle,
            y + height - 0.4,
            heading,
            ha="center",
            va="center",
            color=edge,
            fontweight="bold",
            fontsize=8.5,
        )
        ax.text(middle, y + (height - 0.6) / 2, lines, ha="center", va="center", fontsize=7)
    else:
        ax.text(middle, y + height / 2, lines, ha="center", va="center", fontsize=7.5)


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str = INK,
    width: float = 1.3,
) -> None:
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": width}
    )


def write_method(folder: Path) -> Path:
    """Draw the diagram into a folder; the path of the SVG."""
    use_style()
    fig = draw_method()
    path = save_figure(fig, folder, "method")
    plt.close(fig)
    return path
