"""Figures: every function draws a tidy table on given axes and returns them; nothing is computed
here that a table should hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

NAMES = {
    "paper": "SharedTrunkNet on prefill",
    "paper_auc": "SharedTrunkNet, layers by AUC",
    "shared_block": "SharedTrunkNet, all layers",
    "adapter_trunk": "adapter trunk on prefill",
    "ours": "kernel router on prefill (ours)",
    "benchmark_mean": "category mean",
    "prompt_length": "prompt length",
    "tfidf": "TF-IDF + LR",
    "shuffled_labels": "shuffled labels",
    "random_features": "random features",
    "random": "random",
    "best_single": "best single",
    "oracle": "oracle",
    "zero_router": "zero router",
}
# A semantic baseline is named <head>_<embedding>: `factorisation` as in RouteLLM, `clusters` as in
# Avengers, `kernel` is our own head.
HEADS = {
    "knn": "kNN",
    "logistic": "LR",
    "mlp": "MLP",
    "boosting": "boosted trees",
    "factorisation": "matrix factorisation",
    "clusters": "k-means clusters",
    "irt": "IRT",
    "kernel": "kernel router",
}
EMBEDDINGS = {"minilm": "MiniLM", "mpnet": "MPNet"}
STYLES = {
    "paper": ("#0072B2", "-"),
    "paper_auc": ("#0072B2", "--"),
    "shared_block": ("#0072B2", ":"),
    "adapter_trunk": ("#0072B2", "-."),
    "ours": ("#000000", "-"),
    "tfidf": ("#009E73", "--"),
    "benchmark_mean": ("#56B4E9", ":"),
    "prompt_length": ("#999999", "--"),
    "random": ("#999999", ":"),
}
HEAD_COLORS = {
    "mlp": "#D55E00",
    "logistic": "#E69F00",
    "knn": "#CC79A7",
    "boosting": "#882255",
    "factorisation": "#AA4499",
    "clusters": "#999933",
    "irt": "#117733",
    "kernel": "#A65628",
}


# Fonts that hold what matplotlib's own lacks, most of all Chinese, Japanese and Korean; those that
# a machine has are asked after it.
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Emoji",
    "Symbola",
)


def use_style() -> None:
    """Switch matplotlib to the project's look."""
    plt.style.use(Path(__file__).with_name("paper.mplstyle"))
    plt.rcParams["font.family"] = ["DejaVu Sans", *_installed_fonts()]
    pd.set_option(
        "display.html.use_mathjax", False
    )  # in tables too a name with dollar signs is no formula


def without_glyph(text: str) -> str:
    """The signs of a text that no font of this machine draws: a figure shows a box for each."""
    fonts = [
        font_manager.get_font(font_manager.findfont(name))
        for name in ("DejaVu Sans", *_installed_fonts())
    ]
    return "".join(
        dict.fromkeys(
            sign
            for sign in text
            if not sign.isspace() and not any(font.get_char_index(ord(sign)) for font in fonts)
        )
    )


def _installed_fonts() -> list[str]:
    there = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in there]


def label(method: str) -> str:
    """The name of a method as figures show it; `ours@<encoder>` is `ours` with one encoder."""
    base, at, encoder = method.partition("@")
    if at:
        return f"{'ours' if base == 'ours' else label(base)} on {encoder}"
    head, _, embedding = method.partition("_")  # no head has an underscore, an embedding may
    if head in HEADS and embedding:
        return f"{HEADS[head]} on {EMBEDDINGS.get(embedding, embedding)}"
    return NAMES.get(method, method)


def style(method: str) -> tuple[str, str]:
    """Colour and line style of a method: colour by its head, dashed on MiniLM, dotted on embeddings
    without a name of their own.
    """
    head, _, embedding = method.partition("_")
    if head in HEAD_COLORS and embedding:
        return HEAD_COLORS[head], {"minilm": "--", "mpnet": "-"}.get(embedding, ":")
    return STYLES.get(method, ("#777777", "-"))


def _axes(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def _say_empty(ax: Axes, why: str) -> None:
    """Write on axes why nothing is drawn there."""
    ax.annotate(
        why, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=8, color="0.4"
    )


def _cost_axis(unit: str) -> tuple[float, str]:
    """Factor and label of a cost axis: a single query costs too small a part of a dollar to be
    read.
    """
    return (
        (1000.0, "mean cost of 1,000 queries (USD)")
        if unit == "USD"
        else (1.0, f"mean cost per query ({unit})")
    )


def plot_target_points(points: pd.DataFrame, unit: str, ax: Axes | None = None) -> Axes:
    """Single targets in the cost/accuracy plane, lettered by falling accuracy; the legend says
    which is which.

    `points`: target, cost, accuracy; those without a cost have no place in the plane. Names beside
    the points would cover each other and the curves, so draw the legend with
    :func:`legend_outside`.
    """
    ax = _axes(ax)
    factor, label_of_cost = _cost_axis(unit)
    points = points.dropna(subset=["cost"]).sort_values("accuracy", ascending=False)
    if points.empty:
        _say_empty(ax, "no target has a cost")
    renderer = ax.figure.canvas.get_renderer()
    ax.scatter(factor * points["cost"], points["accuracy"], color="black", s=16, zorder=4)
    ax.set(xlabel=label_of_cost, ylabel="accuracy")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.autoscale_view()  # else a letter is measured against limits from before its point was drawn
    places = (
        (6, -3),
        (-6, -3),
        (0, 6),
        (0, -12),
        (8, 5),
        (-8, 5),
        (8, -11),
        (-8, -11),
        (15, -3),
        (-15, -3),
        (0, 15),
        (0, -21),
    )
    taken: list[Bbox] = []
    for letter, row in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", points.itertuples(), strict=False):
        text = None
        for place in places:  # the first that no other letter has
            if text is not None:
                text.remove()
            text = ax.annotate(
                letter,
                (factor * row.cost, row.accuracy),
                xytext=place,
                textcoords="offset points",
                fontsize=8,
                fontweight="bold",
                ha="center",
                zorder=6,
            )
            box = text.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
        with plt.rc_context({"text.parse_math": True}):  # a marker is a letter only as mathematics
            ax.plot(
                [],
                [],
                color="black",
                marker=f"${letter}$",
                linestyle="none",
                markersize=6,
                label=row.target,
            )
    return ax


def legend_outside(ax: Axes, title: str | None = None) -> None:
    """The legend to the right of the axes, where it covers nothing."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=8, title=title
    )


def legend_below(ax: Axes) -> None:
    """The legend under the axes, in two columns."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=7)


def plot_curves(
    curves: pd.DataFrame,
    points: pd.DataFrame,
    hull: pd.DataFrame,
    oracle: tuple[float, float],
    unit: str,
    methods: Sequence[str],
    bands: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Cost/accuracy curves of routers with single targets, zero router and oracle, the legend
    beside them.

    `curves`: method, cost, accuracy, ci_low, ci_high; `points`: target, cost, accuracy; `hull`:
    cost, accuracy; `oracle`: (cost, accuracy); `bands`: methods drawn with their 95 % interval.
    """
    ax = _axes(ax)
    factor, _ = _cost_axis(unit)
    points = points.dropna(subset=["cost"])
    for method in methods:
        rows = curves[curves["method"] == method].sort_values("cost")
        color, line = style(method)
        ax.plot(
            factor * rows["cost"],
            rows["accuracy"],
            color=color,
            linestyle=line,
            label=label(method),
            zorder=3,
        )
        if method in bands:
            ax.fill_between(
                factor * rows["cost"],
                rows["ci_low"],
                rows["ci_high"],
                color=color,
                alpha=0.15,
                linewidth=0,
                label="its 95 % interval",
            )
    ax.plot(
        factor * hull["cost"],
        hull["accuracy"],
        color="black",
        linewidth=1,
        linestyle="--",
        label="zero router (mix of targets)",
    )
    ax.axhline(
        points["accuracy"].max(),
        color="0.5",
        linewidth=0.8,
        linestyle=(0, (1, 1)),
        label="best single target",
    )
    ax.scatter(
        factor * oracle[0], oracle[1], marker="*", s=90, color="#009E73", zorder=5, label="oracle"
    )
    plot_target_points(points, unit, ax)
    legend_outside(ax)
    return ax


def plot_operating_point(
    curve: pd.DataFrame,
    points: pd.DataFrame,
    share: pd.Series,
    at: tuple[float, float],
    unit: str,
    axes: Sequence[Axes],
) -> Sequence[Axes]:
    """One point (cost, accuracy) on a router's curve, and beside it the share of the queries that
    each target answers.

    `curve`: cost, accuracy; `points`: target, cost, accuracy; `share`: by target; `axes`: two.
    """
    factor, _ = _cost_axis(unit)
    curve_line = axes[0].plot(
        factor * curve["cost"],
        curve["accuracy"],
        color="black",
        zorder=3,
        label="router, by tolerance",
    )[0]
    here = axes[0].scatter(factor * at[0], at[1], color="#D55E00", s=70, zorder=7, label="here")
    plot_target_points(points, unit, axes[0])
    axes[0].legend(handles=[curve_line, here], loc="lower right")
    letters = dict(
        zip(
            points.sort_values("accuracy", ascending=False)["target"],
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            strict=False,
        )
    )
    order = list(letters)[::-1]
    axes[1].barh(
        [f"{target}  {letters[target]}" for target in order],
        [100 * share[target] for target in order],
        color="#0072B2",
    )
    axes[1].set(xlabel="share of the queries (%)", xlim=(0, 100))
    axes[1].grid(axis="y", visible=False)
    return axes


def plot_layers(
    layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None, hue: str = "target"
) -> Axes:
    """One probe over layers: a line per target (colour) and pooling (style). `layers`: as
    results/layers.csv.
    """
    ax = _axes(ax)
    sns.lineplot(
        layers,
        x="layer",
        y=value,
        hue=hue,
        style="pooling",
        style_order=["last", "mean"],
        ax=ax,
        errorbar=None,
    )
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_layers_label_free(
    layers: pd.DataFrame, value: str, title: str, ax: Axes | None = None
) -> Axes:
    """A label-free probe over layers: a line per pooling."""
    ax = _axes(ax)
    rows = layers.drop_duplicates(["pooling", "layer"])
    sns.lineplot(
        rows,
        x="layer",
        y=value,
        style="pooling",
        style_order=["last", "mean"],
        color="black",
        ax=ax,
        errorbar=None,
    )
    ax.set(title=title, xlabel="layer (0 = embeddings)", ylabel=title)
    return ax


def plot_intervals(
    table: pd.DataFrame, title: str, reference: float | None = None, ax: Axes | None = None
) -> Axes:
    """Point and 95 % interval of one metric per method, best on top. `table`: method, value,
    ci_low, ci_high.
    """
    ax = _axes(ax)
    rows = table.sort_values("value").reset_index(drop=True)
    if rows["value"].isna().all():
        _say_empty(ax, "defined for no method")
    for y, row in rows.iterrows():
        color, _ = style(row["method"])
        ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=2)
        ax.scatter(row["value"], y, color=color, s=28, zorder=3)
    if reference is not None:
        ax.axvline(reference, color="0.4", linewidth=0.8, linestyle="--")
    ax.set(yticks=range(len(rows)), yticklabels=[label(m) for m in rows["method"]], xlabel=title)
    ax.grid(axis="y", visible=False)
    return ax


def plot_matrix(
    matrix: pd.DataFrame,
    title: str,
    fmt: str = ".0%",
    center: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A labelled heat map; rows and columns as in `matrix`, NaN left blank."""
    ax = _axes(ax)
    limits = (
        {"vmin": 0.0, "vmax": 1.0} if matrix.isna().all(axis=None) else {}
    )  # nothing to take the colours' range from
    sns.heatmap(
        matrix,
        annot=True,
        **limits,
        fmt=fmt,
        cmap="vlag" if center is not None else "cividis",
        center=center,
        cbar=False,
        ax=ax,
        annot_kws={"size": 7},
        linewidths=0.5,
    )
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
    ax.set(
        xlabel="false positive rate",
        ylabel="true positive rate",
        aspect="equal",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(loc="lower right")
    return ax


def plot_reliability(tables: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Reliability diagram; `tables`: label -> `metrics.reliability_table`."""
    ax = _axes(ax)
    for name, rows in tables.items():
        ax.plot(rows["p_mean"], rows["accuracy"], marker="o", markersize=3, label=name)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    ax.set(
        xlabel="predicted P(correct)",
        ylabel="observed accuracy",
        aspect="equal",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(loc="upper left")
    return ax


def plot_growth(table: pd.DataFrame, x: str, ax: Axes | None = None) -> Axes:
    """A value that grows with a size, with its 95 % interval, a line per pool. `table`: pool, the
    column `x`, value, ci_low, ci_high.
    """
    ax = _axes(ax)
    pools = table["pool"].unique()
    for i, pool in enumerate(pools):
        rows = table[table["pool"] == pool].sort_values(x)
        # a little aside, or the intervals of several pools lie on each other
        at = rows[x] * 1.03 ** (i - (len(pools) - 1) / 2)
        ax.errorbar(
            at,
            rows["value"],
            yerr=[rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]],
            marker="o",
            markersize=4,
            capsize=2,
            label=pool,
        )
    sizes = np.sort(table[x].unique())
    ax.set(xscale="log")
    ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def plot_strip(
    members: pd.DataFrame, ensemble: pd.DataFrame, title: str, ax: Axes | None = None
) -> Axes:
    """Single members as dots, their ensemble as a bar. `members` and `ensemble`: target, value."""
    ax = _axes(ax)
    order = list(ensemble["target"])
    # not a strip plot: its jitter is drawn from numpy's global state, and two runs would differ
    sns.swarmplot(
        members,
        x="target",
        y="value",
        order=order,
        color="#56B4E9",
        size=2.5,
        ax=ax,
        zorder=1,
        warn_thresh=1,
    )
    ax.scatter(
        np.arange(len(order)),
        ensemble["value"],
        marker="_",
        s=500,
        color="#D55E00",
        linewidth=2,
        zorder=3,
        label="ensemble",
    )
    ax.set(ylabel=title, xlabel="")
    ax.tick_params(axis="x", rotation=30)
    plt.setp(ax.get_xticklabels(), ha="right")
    ax.legend(loc="lower right")
    return ax
