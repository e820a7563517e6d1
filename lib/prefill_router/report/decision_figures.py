"""What the plan without a loss does for every method, and how often it breaks its promise."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.styles import REFERENCE, label, marker, ordered, style

METRICS = {
    "accuracy_over_best_single": "accuracy over best single,\npoints",
    "saving_over_best_single": "saved of the best single\ntarget's cost, %",
}


def draw_plans(decisions: pd.DataFrame, promises: pd.DataFrame, plan: str = NO_LOSS) -> Figure:
    """A row of panels for each pool, a line for each method with its 95 % interval: accuracy above
    the best single target's, the share of its cost that is saved, and the share of draws in which
    the plan broke its promise; the dashed line there is what was promised.

    Parameters
    ----------
    decisions, promises : as ``decisions.csv`` and ``promises.csv``
    """
    rows = decisions[decisions["operating_point"] == plan]
    pools, methods = list(rows["pool"].unique()), ordered(rows["method"].unique())[::-1]
    height = (0.24 * len(methods) + 0.35) * len(pools) + 1.3
    fig, axes = plt.subplots(
        len(pools), 3, figsize=(8.6, height), squeeze=False, sharex="col", sharey=True
    )
    for line, pool in zip(axes, pools, strict=True):
        for ax, metric in zip(line, METRICS, strict=False):
            of = rows[(rows["pool"] == pool) & (rows["metric"] == metric)].set_index("method")
            _intervals(ax, 100 * of[["value", "ci_low", "ci_high"]].reindex(methods))
            ax.axvline(0, color=REFERENCE, linewidth=0.8, linestyle="--")
        kept = promises[(promises["pool"] == pool) & (promises["epsilon"] == 0)]
        kept = kept.assign(value=kept["broken"] / kept["draws"]).set_index("method")
        _intervals(line[2], kept[["value", "ci_low", "ci_high"]].reindex(methods))
        line[2].axvline(promises["delta"].iloc[0], color=REFERENCE, lw=0.8, ls="--")
        line[2].set_xlim(left=-0.004)
        line[0].set(yticks=range(len(methods)), ylim=(-0.6, len(methods) - 0.4))
        line[0].set_yticklabels([label(method) for method in methods], fontsize=7.5)
        line[0].set_title(f"Pool {pool}", loc="left", fontweight="bold")
    for ax in axes[0, :2]:  # where every plan stays with the best single target, all are 0
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, -1), max(high, 1))
    for ax, title in zip(
        axes[-1], [*METRICS.values(), "share of draws in which\nthe promise broke"], strict=True
    ):
        ax.set_xlabel(title)
    axes[-1, 2].xaxis.set_major_formatter(PercentFormatter(1.0))
    broken, draws = promises["broken"].sum(), promises["draws"].sum()
    fig.suptitle(
        f"{_saving_pools(rows)}; promises broke in {broken / draws:.1%} of the draws"
        f" ({promises['delta'].iloc[0]:.0%} allowed)",
        fontsize=9.5,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
    return fig


def _intervals(ax: Axes, of: pd.DataFrame) -> None:
    for y, row in enumerate(of.itertuples()):
        if not np.isnan(row.value):
            color = style(row.Index)[0]
            ax.plot([row.ci_low, row.ci_high], [y, y], color=color, linewidth=1.6)
            ax.plot(row.value, y, marker(row.Index), color=color, markersize=4.5)
    ax.grid(axis="y", visible=False)


def _saving_pools(rows: pd.DataFrame) -> str:
    ours = rows[(rows["method"] == "ours") & (rows["metric"] == "saving_over_best_single")]
    clear = int((ours["ci_low"] > 0).sum())
    if len(ours) == 1:
        return f"The plan of ours {'clearly saves' if clear else 'does not clearly save'}"
    return f"The plan of ours clearly saves on {clear} of {len(ours)} pools"
