"""The same questions split at random, and with whole families held out, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.report.cells import HEADLINE, interval_cell
from prefill_router.report.rivals import best_semantic, of_pools
from prefill_router.report.styles import REFERENCE, label
from prefill_router.report.styles import SPLITS as COLORS

SPLITS = {"random": "random split", "families": "families held out"}
METRICS = {
    "mean_auc": ("mean per-target AUC", 0.5),
    "disagreement_auc": ("AUC of differences", 0.5),
    "gap_closed": ("gap to the oracle closed", 0.0),
}
SHOWN = ("ours", "ours_views", "paper", "tfidf", "benchmark_mean", "prompt_length")
COLUMNS = ["pool", "split", "method", "encoder", "metric", "value", "ci_low", "ci_high", "n"]


def side_by_side(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of `METRICS` of both splits, of the methods that both have.

    Parameters
    ----------
    metrics : split (a key of `SPLITS`) to ``metrics.csv`` of its profile

    Returns
    -------
    DataFrame[COLUMNS]
    """
    tables = []
    for split, table in metrics.items():
        rows = of_pools(table)
        rows = rows[rows["metric"].isin(METRICS) & ~rows["method"].isin(["best_single", "oracle"])]
        tables.append(rows.assign(split=split))
    both = pd.concat(tables, ignore_index=True).dropna(subset="value")
    shared = both.groupby(["pool", "method", "metric"])["split"].transform("nunique")
    return both[shared == len(metrics)][COLUMNS].reset_index(drop=True)


def in_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each pool and method; columns (metric, split); methods by falling AUC of the
    families held out.
    """
    wide = table.pivot_table(index=["pool", "method"], columns=["metric", "split"], values="value")
    wide = wide.reindex(columns=pd.MultiIndex.from_product([METRICS, SPLITS]))
    order = wide["mean_auc"]["families"].groupby(level="pool").rank(ascending=False)
    pools = {pool: at for at, pool in enumerate(dict.fromkeys(table["pool"]))}
    place = pd.Series(wide.index.get_level_values("pool").map(pools), wide.index) * 1000 + order
    return wide.loc[place.sort_values().index]


def draw_families(table: pd.DataFrame) -> Figure:
    """A row of panels for each pool, a line for each of the main methods, an axis for each metric:
    both splits with their 95 % intervals, the arrow from the random split to families held out.

    `table`: as ``families.csv``.
    """
    rows = table[table["method"] != "random"]
    pools = list(dict.fromkeys(rows["pool"]))
    held_out = rows[(rows["split"] == "families") & (rows["metric"] == "mean_auc")]
    methods = held_out.groupby("method")["value"].mean().sort_values().index.tolist()
    height = (0.155 * len(methods) + 0.4) * len(pools) + 1.3
    fig, axes = plt.subplots(
        len(pools), 3, figsize=(8.6, height), sharex="col", sharey=True, squeeze=False
    )
    for line, pool in zip(axes, pools, strict=True):
        for ax, (metric, (title, chance)) in zip(line, METRICS.items(), strict=True):
            ax.axvline(chance, color=REFERENCE, linestyle="--", linewidth=0.8)
            for shift, (split, (color, mark)) in zip((0.16, -0.16), COLORS.items(), strict=True):
                same = (rows["pool"] == pool) & (rows["metric"] == metric)
                of = rows[same & (rows["split"] == split)].set_index("method").reindex(methods)
                y = np.arange(len(methods)) + shift
                ax.hlines(y, of["ci_low"], of["ci_high"], color=color, linewidth=1)
                ax.plot(of["value"], y, mark, color=color, markersize=3, label=SPLITS[split])
            ax.grid(axis="y", visible=False)
            if pool == pools[-1]:
                ax.set_xlabel(title)
        line[0].set_yticks(range(len(methods)), [label(m) for m in methods], fontsize=6.5)
        line[0].set_ylim(-0.7, len(methods) - 0.3)
        line[0].set_title(f"Pool {pool}", loc="left", fontweight="bold")
    floor = rows.loc[rows["metric"] == "gap_closed", "ci_low"].quantile(0.1)
    axes[0, 2].set_xlim(left=min(floor, -0.05))  # one wide interval would squeeze the others
    fig.suptitle(_families_message(rows), fontsize=10, fontweight="bold", ha="left", x=0.01)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _families_message(rows: pd.DataFrame) -> str:
    ours = rows[(rows["method"] == "ours") & (rows["metric"] == "mean_auc")]
    mean = ours.groupby("split")["value"].mean()
    return (
        f"With whole families held out the mean AUC of ours falls from {mean['random']:.2f} to"
        f" {mean['families']:.2f}"
    )


def held_out_sentence(table: pd.DataFrame, metrics: pd.DataFrame, pool: str) -> str:
    """What is left of a pool's numbers once families are held out; ``metrics``: of these."""
    wide = in_columns(table[table["pool"] == pool]).droplevel("pool")

    def pair(method: str, metric: str, form: str) -> str:
        random, families = (wide.loc[method, (metric, split)] for split in SPLITS)
        return f"{form.format(random)} → {form.format(families)}"

    text = best_semantic(metrics, pool) or ""
    words = [
        f"{label(m)}: mean AUC {pair(m, 'mean_auc', '{:.3f}')}, of differences"
        f" {pair(m, 'disagreement_auc', '{:.3f}')}, gap closed {pair(m, 'gap_closed', '{:.0%}')}"
        for m in ("ours", "paper", text)
        if m in wide.index
    ]
    return f"Pool {pool}, random split → families held out. {'; '.join(words)}."


def families_table(table: pd.DataFrame, metrics: pd.DataFrame) -> str:
    """Markdown: the main methods of each pool, every metric with the random split and with families
    held out.

    Parameters
    ----------
    table : `side_by_side`
    metrics : ``metrics.csv`` of the profile that holds families out; names the best text baseline
    """
    heads = [f"{title}, {name}" for title, _ in METRICS.values() for name in SPLITS.values()]
    lines = ["| " + " | ".join(["pool", "method", *heads]) + " |", "|" + "---|" * (len(heads) + 2)]
    for pool in dict.fromkeys(table["pool"]):
        known = set(table.loc[table["pool"] == pool, "method"])
        wanted = [*SHOWN[:3], best_semantic(metrics, pool), *SHOWN[3:]]
        for method in (name for name in wanted if name in known):
            rows = table[(table["pool"] == pool) & (table["method"] == method)]
            rows = rows.set_index(["metric", "split"])
            cells = [
                interval_cell(rows.loc[(metric, split)], HEADLINE[metric][1])
                for metric in METRICS
                for split in SPLITS
            ]
            lines.append("| " + " | ".join([f"`{pool}`", label(str(method)), *cells]) + " |")
    return "\n".join(lines)


def layers_sentence(layers: Mapping[str, pd.DataFrame]) -> str:
    """Where the best layer lies on either split."""
    words = []
    for split, table in layers.items():
        mean = table[table["layer"] > 0].groupby(["pooling", "layer"])["probe_auc"].mean()
        pooling, layer = mean.idxmax()
        last = mean["last"].iloc[-1]
        words.append(
            f"{SPLITS[split]}: best at layer {layer}, {pooling} pooling ({mean.max():.3f}); last"
            f" token of the last layer {last:.3f}; spread over layers and poolings"
            f" {mean.max() - mean.min():.3f}"
        )
    return "Probe AUC, mean over targets. " + "; ".join(words) + "."
