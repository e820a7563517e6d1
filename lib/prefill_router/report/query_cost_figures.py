"""The figure about plans by a predicted cost of each query."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.evaluate.plans import NO_LOSS

PLANNED = "saving_over_best_single"
OVER = {"median": "#0072B2", "mean": "#E69F00"}


def draw_query_cost_plans(table: pd.DataFrame) -> Figure:
    """By how much the plan without a loss saves more when it decides by a predicted cost than by a
    constant one, in points of the best single target's realised cost; a row for each pool.

    `table`: `evaluate.query_cost_plans.query_cost_plans`.
    """
    found = (table["plan"] == NO_LOSS) & (table["metric"] == PLANNED)
    rows = table[found].reset_index(drop=True)
    fig, ax = plt.subplots(figsize=(6.5, 0.45 * len(rows) + 1.1))
    for shift, (kind, color) in zip((0.12, -0.12), OVER.items(), strict=True):
        y = len(rows) - 1 - rows.index + shift
        low, high = 100 * rows[f"{kind}_low"], 100 * rows[f"{kind}_high"]
        ax.hlines(y, low, high, color=color, linewidth=1.5)
        name = f"over the {kind} of the training"
        ax.plot(100 * rows[f"over_{kind}"], y, "o", color=color, markersize=4, label=name)
    ax.axvline(0, color="0.6", linewidth=0.8, linestyle="--")
    ax.set(yticks=range(len(rows)), ylim=(-0.6, len(rows) - 0.4))
    ax.set_yticklabels(list(rows["pool"])[::-1])
    ax.set(xlabel="planned saving gained by a predicted cost, points", ylabel="pool")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
