"""The figure and the sentence about prompts unlike the training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from prefill_router.report.styles import OURS, REFERENCE, pool_style


def draw_unlike(alarms: pd.DataFrame, bins: pd.DataFrame) -> Figure:
    """Share of test rows that are flagged against the share that was asked for; and, in bins of
    familiarity, accuracy of ours above the best single target's, a line for each pool.

    `alarms`, `bins`: `evaluate.unlike.unlike_tables`.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.1))
    asked = alarms["false_alarms"]
    left.plot([0, asked.max()], [0, asked.max()], color=REFERENCE, lw=0.8, ls="--")
    left.vlines(asked, alarms["least"], alarms["most"], color=OURS, linewidth=1.5)
    left.plot(asked, alarms["flagged"], "o", color=OURS, markersize=5)
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="alarm below this familiarity", ylabel="share of test rows", ylim=(0, None))
    left.set_xticks(asked)
    starts = sorted(bins["familiarity"].unique())
    for pool, rows in bins.groupby("pool", sort=False):
        x = [starts.index(start) for start in rows["familiarity"]]
        gain = 100 * (rows["accuracy"] - rows["best_single"])
        color, mark = pool_style(str(pool))
        right.plot(x, gain, color=color, marker=mark, markersize=5, label=f"pool {pool}")
    right.axhline(0, color=REFERENCE, linewidth=0.8, linestyle="--")
    right.set(xticks=range(len(starts)), xlabel="familiarity of the prompt, from")
    right.set_xticklabels([f"{start:g}" for start in starts])
    right.set(ylabel="accuracy of ours minus\nbest single, points")
    if bins["pool"].nunique() > 1:
        fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    row = alarms.iloc[(asked - 0.05).abs().argmin()]
    fig.suptitle(
        f"An alarm meant for {row['false_alarms']:.0%} of familiar prompts rings for"
        f" {row['flagged']:.0%} of the test prompts",
        fontsize=10,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
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
