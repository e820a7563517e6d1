"""The figure and the sentence about prompts unlike the training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter


def draw_unlike(alarms: pd.DataFrame, bins: pd.DataFrame) -> Figure:
    """Share of test rows that are flagged against the share that was asked for; and, in bins of
    familiarity, accuracy of ours above the best single target's, a line for each pool.

    `alarms`, `bins`: `evaluate.unlike.unlike_tables`.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    asked = alarms["false_alarms"]
    left.plot([0, asked.max()], [0, asked.max()], color="0.6", linewidth=0.8, linestyle="--")
    left.vlines(asked, alarms["least"], alarms["most"], color="black", linewidth=1.5)
    left.plot(asked, alarms["flagged"], "o", color="black", markersize=4)
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="familiarity below", ylabel="share of test rows", ylim=(0, None))
    left.set_xticks(asked)
    starts = sorted(bins["familiarity"].unique())
    for pool, rows in bins.groupby("pool", sort=False):
        x = [starts.index(start) for start in rows["familiarity"]]
        gain = 100 * (rows["accuracy"] - rows["best_single"])
        right.plot(x, gain, marker="o", markersize=4, label=pool)
    right.axhline(0, color="0.6", linewidth=0.8, linestyle="--")
    right.set(xticks=range(len(starts)), xlabel="familiarity from")
    right.set_xticklabels([f"{start:g}" for start in starts])
    right.set(ylabel="accuracy over best single, points")
    right.legend(title="pool", loc="upper left", bbox_to_anchor=(1.02, 1))
    fig.subplots_adjust(wspace=0.35)
    return fig


def unlike_sentence(alarms: pd.DataFrame, bins: pd.DataFrame) -> str:
    """How many test rows are flagged, and the Brier score at both ends of familiarity."""
    shares = alarms.set_index("false_alarms")["flagged"]
    said = (
        f"Below a familiarity of 0.01 lie {shares[0.01]:.1%} of the test rows, below 0.05"
        f" {shares[0.05]:.1%}."
    )
    parts = []
    for pool, rows in bins.groupby("pool", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        parts.append(
            f"pool **{pool}** {first['brier']:.3f} ({first['n']:.0f} rows) and {last['brier']:.3f}"
        )
    return f"{said} Brier score of ours in the least and the most familiar bin: {'; '.join(parts)}."
