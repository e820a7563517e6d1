"""P(correct) of live prompts, and where they go."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.report.plots import plot_matrix
from prefill_router.report.styles import TEXT

LONGEST = 60  # characters of a prompt beside the figure


def shown_routes(routes: pd.DataFrame) -> pd.DataFrame:
    """Routes with as many digits as matter."""
    digits = {column: 3 for column in routes.columns if column.startswith("P(")}
    return routes.round({"seconds": 3, "cost": 6, **digits})


def draw_routes(
    routes: pd.DataFrame, prompts: Sequence[str], targets: Sequence[str], decided: str
) -> Figure:
    """A row for each prompt, a column for each target; the frame is where the prompt goes.

    `routes`: `serve.live.routes_table`; ``decided``: by what, for the title.
    """
    short = [text if len(text) < LONGEST else f"{text[: LONGEST - 3]}..." for text in prompts]
    p = routes[[f"P({target})" for target in targets]].set_axis(list(targets), axis=1)
    # a dollar sign would begin a formula in matplotlib
    p = p.set_axis([text.replace("$", r"\$") for text in short])
    fig, ax = plt.subplots(figsize=(1.0 * p.shape[1] + 4, 0.4 * len(p) + 1.6))
    title = f"P(correct); framed: where the prompt goes {decided}"
    plot_matrix(p, title, fmt=".2f", ax=ax)
    for row, target in enumerate(routes["target"]):
        at = (list(targets).index(target), row)
        ax.add_patch(plt.Rectangle(at, 1, 1, fill=False, edgecolor=TEXT, linewidth=2.5))
    return fig
