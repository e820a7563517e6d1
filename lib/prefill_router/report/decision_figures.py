"""The figures of the notebook on decisions: a panel, or a row of panels, for every pool."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.curve_plots import say_empty
from prefill_router.report.styles import label, style

RULE_STYLES = {"tolerance": ("#D55E00", "--"), "utility": ("#000000", "-")}
EPSILON_COLORS = ("#0072B2", "#E69F00")


def draw_rules(curves: pd.DataFrame, pools: Sequence[str]) -> Figure:
    """Accuracy over the best single target's against the share of its cost, by both rules.

    `curves`: `decisions_of_pools.rule_curves`; a pool may have none there, where every point of
    its curve costs more.
    """
    fig, axes = _panels(pools)
    for ax, pool in zip(axes, pools, strict=True):
        for rule, (color, dashes) in RULE_STYLES.items():
            line = curves[(curves["pool"] == pool) & (curves["rule"] == rule)]
            gain = line["accuracy_over_best_single"]
            ax.plot(line["cost_share"], 100 * gain, color=color, linestyle=dashes, label=rule)
        _reference(ax, pool)
        ax.set_ylim(bottom=max(ax.get_ylim()[0], -12))  # below, nobody would route
        if not (curves["pool"] == pool).any():
            say_empty(ax, "every point costs more")
        ax.set(ylabel="accuracy over best single, points" if ax is axes[0] else "")
    axes[-1].legend(title="rule", loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def draw_walks(walked: pd.DataFrame) -> Figure:
    """Candidates of ours in order of their cost: the difference to the best single target on
    labelled queries, its lower bound, and the plans that were taken.

    `walked`: `decisions_of_pools.walks`.
    """
    fig, axes = _panels(walked["pool"].unique())
    for ax, (pool, of_pool) in zip(axes, walked.groupby("pool", sort=False), strict=True):
        line = of_pool[of_pool["epsilon"] == of_pool["epsilon"].min()]
        ax.plot(line["cost_share"], 100 * line["difference"], color="black", label="difference")
        ax.plot(line["cost_share"], 100 * line["bound"], color="0.45", ls=":", label="lower bound")
        for color, (epsilon, rows) in zip(EPSILON_COLORS, of_pool.groupby("epsilon"), strict=True):
            ax.axhline(-100 * float(epsilon), color=color, linewidth=0.8, linestyle="--")
            taken = rows[rows["chosen"]]
            name = f"plan, at most {100 * float(epsilon):g} points below"
            ax.plot(taken["cost_share"], 100 * taken["bound"], "*", color=color, ms=11, label=name)
        _reference(ax, str(pool))
        ax.set_ylim(bottom=max(ax.get_ylim()[0], -6))
        ax.set(ylabel="accuracy over best single, points" if ax is axes[0] else "")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def draw_plans(decisions: pd.DataFrame, plan: str = NO_LOSS) -> Figure:
    """What a plan does on test rows, a row of panels for each pool: accuracy over the best single
    target's, and the share of its cost that is saved; a row is a method.

    `decisions`: as ``decisions.csv``.
    """
    rows = decisions[decisions["operating_point"] == plan]
    pools, methods = list(rows["pool"].unique()), list(rows["method"].unique())
    metrics = {
        "accuracy_over_best_single": "accuracy over best single, points",
        "saving_over_best_single": "saved of the best single target's cost, %",
    }
    height = 0.28 * len(methods) * len(pools) + 0.9
    fig, axes = plt.subplots(
        len(pools), 2, figsize=(8.5, height), squeeze=False, sharex="col", sharey=True
    )
    for row, pool in zip(axes, pools, strict=True):
        for ax, (metric, title) in zip(row, metrics.items(), strict=True):
            of = rows[(rows["pool"] == pool) & (rows["metric"] == metric)].set_index("method")
            for y, method in enumerate(methods[::-1]):
                value, low, high = 100 * of.loc[method, ["value", "ci_low", "ci_high"]].astype(
                    float
                )
                color = style(method)[0]
                ax.plot([low, high], [y, y], color=color, linewidth=1.5)
                ax.plot(value, y, "o", color=color, markersize=4)
            ax.axvline(0, color="0.6", linewidth=0.8, linestyle="--")
            ax.set(yticks=range(len(methods)), ylim=(-0.6, len(methods) - 0.4))
            ax.set_yticklabels([label(method) for method in methods[::-1]])
            ax.set(xlabel=title if pool == pools[-1] else "")
        row[0].set_title(f"Pool {pool}", loc="left")
    return fig


def draw_promises(promises: pd.DataFrame) -> Figure:
    """Share of draws in which a plan broke its promise, with its interval; the line is what was
    promised. `promises`: as ``promises.csv``.
    """
    fig, axes = _panels(promises["pool"].unique(), width=2.6, height=2.6, sharey=True)
    methods = list(promises["method"].unique())[::-1]
    for ax, (pool, of_pool) in zip(axes, promises.groupby("pool", sort=False), strict=True):
        both = zip(EPSILON_COLORS, of_pool.groupby("epsilon"), (0.12, -0.12), strict=True)
        for color, (epsilon, rows), shift in both:
            y = np.array([methods.index(method) for method in rows["method"]]) + shift
            ax.hlines(y, rows["ci_low"], rows["ci_high"], color=color, linewidth=1.5)
            name = f"at most {100 * float(epsilon):g} points below"
            ax.plot(rows["broken"] / rows["draws"], y, "o", color=color, ms=4, label=name)
        ax.axvline(of_pool["delta"].iloc[0], color="0.3", linewidth=0.8, linestyle="--")
        ax.set(title=f"Pool {pool}", xlabel="share of draws that broke it", xlim=(-0.005, None))
        ax.set(yticks=range(len(methods)), ylim=(-0.6, len(methods) - 0.4))
        ax.set_yticklabels([label(method) for method in methods])
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].legend(title="promise", loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def _panels(
    pools: Sequence[str], width: float = 3.0, height: float = 2.9, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    fig, axes = plt.subplots(
        1, len(pools), figsize=(width * len(pools) + 2, height), squeeze=False, sharey=sharey
    )
    return fig, axes[0]


def _reference(ax: Axes, pool: str) -> None:
    """Where the best single target stands."""
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(1, color="0.6", linewidth=0.8)
    ax.set(title=f"Pool {pool}", xlabel="cost, share of best single's", xlim=(0, 1.5))
