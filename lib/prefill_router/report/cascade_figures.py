"""The figures and sentences about cascades."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefill_router.report.words import Interval, percent, points, three_digits

NAMES = {
    "routing": "routing, one call",
    "cascade_by_agreement": "cascade by agreement",
    "cascade_by_both": "cascade by agreement and prefill",
    "cascade_per_query": "cascade chosen per query",
}
COLORS = {
    "cascade_by_agreement": "#E69F00",
    "cascade_by_both": "#009E73",
    "cascade_per_query": "#000000",
}
READS = {"agreement": "#E69F00", "prefill": "#0072B2", "both": "#000000"}
PAID = {"visible": "visible tokens paid", "hidden": "hidden reasoning paid too"}


def draw_agreement(table: pd.DataFrame) -> Figure:
    """AUC of "this answer is right" by what is read, a row for each target.

    `table`: `evaluate.right_answers.agreement_table`.
    """
    targets = list(table["target"].unique())
    fig, ax = plt.subplots(figsize=(6.5, 0.35 * len(targets) + 1.1))
    for shift, (read, color) in zip((0.2, 0, -0.2), READS.items(), strict=True):
        rows = table[table["metric"] == f"auc_{read}"].set_index("target").loc[targets]
        y = [len(targets) - 1 - i + shift for i in range(len(targets))]
        ax.hlines(y, rows["ci_low"], rows["ci_high"], color=color, linewidth=1.5)
        ax.plot(rows["value"], y, "o", color=color, markersize=4, label=read)
    ax.set(yticks=range(len(targets)), ylim=(-0.6, len(targets) - 0.4), ylabel="target")
    ax.set_yticklabels(targets[::-1])
    ax.set(xlabel='AUC of "this answer is right"')
    ax.legend(title="read", loc="upper left", bbox_to_anchor=(1.02, 1))
    over = table[table["metric"] == "both_over_prefill"]
    _title(
        fig,
        "Agreement and prefill together tell clearly more than the prefill alone\nfor"
        f" {(over['ci_low'] > 0).sum()} of {len(over)} targets",
    )
    return fig


def draw_cascades(table: pd.DataFrame) -> Figure:
    """Accuracy of cascades above routing alone against the budget: a column for each pool, a row
    for each way to count the cost.

    `table`: `evaluate.cascade_table.cascade_tables`.
    """
    pools, kinds = list(table["pool"].unique()), list(table["cost"].unique())
    size = (2.9 * len(pools) + 1.5, 2.3 * len(kinds) + 0.5)
    fig, axes = plt.subplots(
        len(kinds), len(pools), figsize=size, squeeze=False, sharex=True, sharey=True
    )
    for row, kind in zip(axes, kinds, strict=True):
        for ax, pool in zip(row, pools, strict=True):
            of = table[(table["pool"] == pool) & (table["cost"] == kind)]
            _draw_panel(of[of["metric"] == "accuracy"], ax)
            ax.set(title=f"{pool}, {PAID.get(kind, kind)}")
            ax.title.set_size("small")
        row[0].set(ylabel="accuracy over\nrouting, points")
    for ax in axes[-1]:
        ax.set(xlabel="budget, % of best single")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    of = table[(table["metric"] == "accuracy") & (table["method"] == "cascade_per_query")]
    _title(
        fig,
        "A cascade chosen per query is clearly more accurate than routing with one call in"
        f" {(of['over_low'] > 0).sum()} of {len(of)} cases,"
        f" clearly less in {(of['over_high'] < 0).sum()}",
    )
    return fig


def _title(fig: Figure, words: str) -> None:
    fig.suptitle(words, fontsize=10, fontweight="bold", ha="left", x=0.01)


def _draw_panel(rows: pd.DataFrame, ax: Axes) -> None:
    for shift, (method, color) in zip((-3, 0, 3), COLORS.items(), strict=True):
        of = rows[rows["method"] == method]
        x = 100 * of["budget"] + shift
        ax.vlines(x, 100 * of["over_low"], 100 * of["over_high"], color=color, linewidth=1.5)
        over = 100 * of["over_routing"]
        ax.plot(x, over, "o", color=color, markersize=4, label=NAMES[method])
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle="--")
    ax.set_xticks(sorted(100 * rows["budget"].unique()))


def agreement_sentence(table: pd.DataFrame) -> str:
    """The range of each AUC over targets, and for how many both tell clearly more than one."""
    parts = []
    for read in READS:
        values = table.loc[table["metric"] == f"auc_{read}", "value"]
        parts.append(f"{read} {values.min():.2f} to {values.max():.2f}")
    clear = []
    for read in ("prefill", "agreement"):
        rows = table[table["metric"] == f"both_over_{read}"]
        clear.append(f"the {read} alone for {(rows['ci_low'] > 0).sum()} of {len(rows)} targets")
    strongest = table[table["metric"] == "both_over_prefill"].nlargest(1, "value").iloc[0]
    most = three_digits(tuple(strongest[["value", "ci_low", "ci_high"]].astype(float)))
    return (
        f"AUC of telling whether the answer is right: {', '.join(parts)}. Both tell clearly more"
        f" than {' and than '.join(clear)}; most over the prefill for {strongest['target']}, by"
        f" {most}."
    )


def cascade_sentences(table: pd.DataFrame) -> str:
    """How often each cascade is clearly better or worse than routing alone at the same budget, and
    what comes at the budget of the best single target in every pool.
    """
    accuracy = table[table["metric"] == "accuracy"]
    lines = []
    for kind, of_kind in accuracy.groupby("cost", sort=False):
        for method in COLORS:
            of = of_kind[of_kind["method"] == method]
            better, worse = (of["over_low"] > 0).sum(), (of["over_high"] < 0).sum()
            lines.append(
                f"{PAID.get(str(kind), kind)}, {NAMES[method]}: of {len(of)} pools and budgets"
                f" clearly better than routing in {better}, clearly worse in {worse}."
            )
    for (pool, kind, budget), of in accuracy.groupby(["pool", "cost", "budget"], sort=False):
        if budget == 1.0:
            lines.append(f"Pool **{pool}**, {PAID.get(str(kind), kind)}: {_at_budget(table, of)}")
    return "\n\n".join(lines)


def _at_budget(table: pd.DataFrame, accuracy: pd.DataFrame) -> str:
    by = accuracy.set_index("method")
    found = by.loc["cascade_per_query"]
    same = (table["pool"] == found["pool"]) & (table["cost"] == found["cost"])
    rows = table[same & (table["budget"] == found["budget"])]
    cost = rows[rows["metric"] == "cost_share"].set_index("method")
    over: Interval = tuple(found[["over_routing", "over_low", "over_high"]].astype(float))
    ends = ["value", "ci_low", "ci_high"]
    shares = [
        percent(tuple(cost.loc[name, ends].astype(float)))
        for name in ("cascade_per_query", "routing")
    ]
    return (
        f"a cascade chosen per query at the best single target's budget lies {points(over)} points"
        f" from routing, and pays {shares[0]} of its cost, routing {shares[1]}."
    )
