"""Names beside their points, where they cover neither each other nor a curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from prefill_router.report.styles import INK

# Offsets in points with the alignment that goes with them, the best first.
PLACES = [
    *((6, 0, "left"), (-6, 0, "right"), (0, 8, "center"), (0, -8, "center")),
    *((6, 8, "left"), (-6, 8, "right"), (6, -8, "left"), (-6, -8, "right")),
    *(
        (side * (4 + abs(dy) // 4), dy, "left" if side > 0 else "right")
        for dy in (12, -12, 22, -22, 33, -33, 44, -44, 55, -55)
        for side in (1, -1)
    ),
]
FAR = 15  # points; a name farther off is joined to its point


def name_points(
    ax: Axes,
    points: Sequence[tuple[float, float, str]],
    avoid: np.ndarray | None = None,
    taken: Sequence[Bbox] = (),
    size: float = 7.5,
) -> list[Bbox]:
    """Write the name of each point (x, y, name) beside it; limits and layout must stand.

    Parameters
    ----------
    avoid : ndarray [m, 2], optional
        What names should not cover, in data coordinates: points of curves.
    taken : boxes in pixels that are occupied already

    Returns
    -------
    list of Bbox
        All boxes that are occupied now.
    """
    renderer = ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg has it
    dots = [(x, y) for x, y, _ in points]
    shown = np.array([*dots, *([] if avoid is None else avoid)], dtype=float).reshape(-1, 2)
    pixels = ax.transData.transform(shown)
    frame, boxes = ax.get_window_extent(renderer), list(taken)
    weight = np.where(np.arange(len(pixels)) < len(dots), 60, 3)  # a dot under a name is lost
    for x, y, name in points:
        found = []
        for at, (dx, dy, align) in enumerate(PLACES):
            text = ax.annotate(
                name,
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=size,
                color=INK,
                zorder=8,
                path_effects=[withStroke(linewidth=2, foreground="white")],  # over grey lines
                arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.5}
                if max(abs(dx), abs(dy)) > FAR
                else None,
            )
            text.update_positions(renderer)
            # of the words alone: that of an annotation holds its line and its point as well
            box = Text.get_window_extent(text, renderer).expanded(1.02, 1.05)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
            inside &= frame.y0 <= box.y0 and box.y1 <= frame.y1
            covered = sum(box.overlaps(other) for other in boxes)
            hit = ((pixels > [box.x0, box.y0]) & (pixels < [box.x1, box.y1])).all(axis=1)
            price = 1000 * covered + 900 * (not inside) + int(weight[hit].sum()) + at
            found.append((price, text, box))
            if found[-1][0] == at:
                break
        best = min(found, key=lambda entry: entry[0])
        for entry in found:
            if entry is not best:
                entry[1].remove()
        boxes.append(best[2])
    return boxes
