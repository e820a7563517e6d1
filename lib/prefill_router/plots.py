"""Figures: every function draws a tidy table on given axes and returns them; nothing is computed here that a table should hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

NAMES = {
    "paper": "SharedTrunkNet on prefill", "paper_auc": "SharedTrunkNet, layers by AUC", "shared_block": "SharedTrunkNet, all layers", "ours": "kernel router on prefill (ours)",
    "benchmark_mean": "category mean", "prompt_length": "prompt length", "tfidf": "TF-IDF + LR", "shuffled_labels": "shuffled labels", "random_features": "random features",
    "random": "random", "best_single": "best single", "oracle": "oracle", "zero_router": "zero router",
}
# A semantic baseline is named <head>_<embedding>: `factorisation` as in RouteLLM, `clusters` as in Avengers, `kernel` is our own head.
HEADS = {
    "knn": "kNN", "logistic": "LR", "mlp": "MLP", "boosting": "boosted trees", "factorisation": "matrix factorisation", "clusters": "k-means clusters", "irt": "IRT", "kernel": "kernel router",
}
EMBEDDINGS = {"minilm": "MiniLM", "mpnet": "MPNet"}
STYLES = {
    "paper": ("#0072B2", "-"), "paper_auc": ("#0072B2", "--"), "shared_block": ("#0072B2", ":"), "ours": ("#000000", "-"),
    "tfidf": ("#009E73", "--"), "benchmark_mean": ("#56B4E9", ":"), "prompt_length": ("#999999", "--"), "random": ("#999999", ":"),
}
HEAD_COLORS = {
    "mlp": "#D55E00", "logistic": "#E69F00", "knn": "#CC79A7", "boosting": "#882255", "factorisation": "#AA4499", "clusters": "#999933", "irt": "#117733", "kernel": "#A65628",
}


def use_style() -> None:
    """Switch matplotlib to the project's look."""
    plt.style.use(Path(__file__).with_name("paper.mplstyle"))


def label(method: str) -> str:
    """The name of a method as figures show it; `ours@<encoder>` is `ours` with one encoder."""
    base, at, encoder = method.partition("@")
    if at:
        return f"{'ours' if base == 'ours' else label(base)} on {encoder}"
    head, _, embedding = method.rpartition("_")
    if head in HEADS and embedding in EMBEDDINGS:
        return f"{HEADS[head]} on {EMBEDDINGS[embedding]}"
    return NAMES.get(method, method)


def style(method: str) -> tuple[str, str]:
    """Colour and line style of a method: colour by its head, dashed on MiniLM."""
    head, _, embedding = method.rpartition("_")
    if head in HEAD_COLORS and embedding in EMBEDDINGS:
        return HEAD_COLORS[head], "--" if embedding == "minilm" else "-"
    return STYLES.get(method, ("#777777", "-"))


def _axes(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def plot_target_points(points: pd.DataFrame, unit: str, ax: Axes | None = None) -> Axes:
    """Single targets in the cost/accuracy plane. `points`: target, cost, accuracy; those without a cost have no place in it."""
    ax = _axes(ax)
    points = points.dropna(subset=["cost"])
    ax.scatter(points["cost"], points["accuracy"], color="black", s=22, zorder=4)
    middle = points["cost"].mean()
    taken: list[Bbox] = []
    for row in points.sort_values("accuracy").itertuples():
        align, dx = ("right", -5) if row.cost > middle else ("left", 5)
        # below the point, else the next place above or below that no other label has
        for dy in (-10, 4, -19, 13, -28, 22, -37, 31):
            text = ax.annotate(row.target, (row.cost, row.accuracy), xytext=(dx, dy), textcoords="offset points", fontsize=7, ha=align, zorder=6,
                               bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5})
            box = text.get_window_extent(ax.figure.canvas.get_renderer())
            if not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            ax.add_artist(text)
        taken.append(box)
    ax.set(xlabel=f"mean cost per query ({unit})", ylabel="accuracy")
    return ax


def plot_curves(curves: pd.DataFrame, points: pd.DataFrame, hull: pd.DataFrame, oracle: tuple[float, float], unit: str, methods: Sequence[str],
                bands: Sequence[str] = (), ax: Axes | None = None) -> Axes:
    """Cost/accuracy curves of routers with single targets, zero router and oracle.

    `curves`: method, cost, accuracy, ci_low, ci_high; `points`: target, cost, accuracy; `hull`: cost, accuracy;
    `oracle`: (cost, accuracy); `bands`: methods drawn with their 95 % interval. Targets without a cost are left out, of the
    best single target's line too: the routers of the curves cannot choose them.
    """
    ax = _axes(ax)
    points = points.dropna(subset=["cost"])
    best = points["accuracy"].max()
    ax.axhline(best, color="0.5", linewidth=0.8, linestyle=(0, (1, 1)), label="best single target")
    ax.plot(hull["cost"], hull["accuracy"], color="black", linewidth=1, linestyle="--", label="zero router (mix of targets)")
    for method in methods:
        rows = curves[curves["method"] == method].sort_values("cost")
        color, line = style(method)
        ax.plot(rows["cost"], rows["accuracy"], color=color, linestyle=line, label=label(method), zorder=3)
        if method in bands:
            ax.fill_between(rows["cost"], rows["ci_low"], rows["ci_high"], color=color, alpha=0.15, linewidth=0)
    ax.scatter(*oracle, marker="*", s=90, color="#009E73", zorder=5, label="oracle")
    plot_target_points(points, unit, ax)
    return ax


def plot_layers(layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None, hue: str = "target") -> Axes:
    """One probe over layers: a line per target (colour) and pooling (style). `layers`: as results/layers.csv."""
    ax = _axes(ax)
    sns.lineplot(layers, x="layer", y=value, hue=hue, style="pooling", style_order=["last", "mean"], ax=ax, errorbar=None)
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_layers_label_free(layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None) -> Axes:
    """A label-free probe over layers: a line per pooling."""
    ax = _axes(ax)
    rows = layers.drop_duplicates(["pooling", "layer"])
    sns.lineplot(rows, x="layer", y=value, style="pooling", style_order=["last", "mean"], color="black", ax=ax, errorbar=None)
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_intervals(table: pd.DataFrame, title: str, reference: float | None = None, ax: Axes | None = None) -> Axes:
    """Point and 95 % interval of one metric per method, best on top. `table`: method, value, ci_low, ci_high."""
    ax = _axes(ax)
    rows = table.sort_values("value").reset_index(drop=True)
    for y, row in rows.iterrows():
        color, _ = style(row["method"])
        ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=2)
        ax.scatter(row["value"], y, color=color, s=28, zorder=3)
    if reference is not None:
        ax.axvline(reference, color="0.4", linewidth=0.8, linestyle="--")
    ax.set(yticks=range(len(rows)), yticklabels=[label(m) for m in rows["method"]], xlabel=title)
    ax.grid(axis="y", visible=False)
    return ax


def plot_matrix(matrix: pd.DataFrame, title: str, fmt: str = ".0%", center: float | None = None, ax: Axes | None = None) -> Axes:
    """A labelled heat map; rows and columns as in `matrix`, NaN left blank."""
    ax = _axes(ax)
    sns.heatmap(matrix, annot=True, fmt=fmt, cmap="vlag" if center is not None else "cividis", center=center, cbar=False, ax=ax, annot_kws={"size": 7}, linewidths=0.5)
    ax.set(title=title, xlabel="", ylabel="")
    ax.grid(visible=False)  # it would show through cells without a value
    ax.tick_params(axis="x", rotation=30)
    plt.setp(ax.get_xticklabels(), ha="right")
    ax.tick_params(axis="y", rotation=0)
    return ax


def plot_roc(curves: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """ROC curves; `curves`: label -> DataFrame[fpr, tpr]."""
    ax = _axes(ax)
    for name, rows in curves.items():
        ax.plot(rows["fpr"], rows["tpr"], label=name)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    ax.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="lower right")
    return ax


def plot_reliability(tables: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Reliability diagram; `tables`: label -> `metrics.reliability_table`."""
    ax = _axes(ax)
    for name, rows in tables.items():
        ax.plot(rows["p_mean"], rows["accuracy"], marker="o", markersize=3, label=name)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    ax.set(xlabel="predicted P(correct)", ylabel="observed accuracy", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="lower right")
    return ax


def plot_strip(members: pd.DataFrame, ensemble: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Single members as dots, their ensemble as a bar. `members` and `ensemble`: target, value."""
    ax = _axes(ax)
    order = list(ensemble["target"])
    # not a strip plot: its jitter is drawn from numpy's global state, and two runs would differ
    sns.swarmplot(members, x="target", y="value", order=order, color="#56B4E9", size=2.5, ax=ax, zorder=1, warn_thresh=1)
    ax.scatter(np.arange(len(order)), ensemble["value"], marker="_", s=500, color="#D55E00", linewidth=2, zorder=3, label="ensemble")
    ax.set(ylabel=title, xlabel="")
    ax.tick_params(axis="x", rotation=15)
    ax.legend(loc="lower right")
    return ax
