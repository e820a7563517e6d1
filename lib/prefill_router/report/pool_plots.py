"""The figures of a pool: tidy tables of `evaluate.pools` and `evaluate.headroom` on given axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from prefill_router.evaluate.pools import References
from prefill_router.report.curve_plots import legend_outside, plot_curves
from prefill_router.report.plots import plot_growth, plot_intervals, plot_matrix, plot_reliability
from prefill_router.report.styles import label

# metric, its name on the axis, where a line says what no method needs a prompt for
METHOD_AXES = (
    ("mean_auc", "mean per-target AUC", 0.5),
    ("gap_closed", "gap to the oracle closed", 0.0),
    ("p_auccc", "P-AUCCC", None),
)

LUCK_ROWS = {
    "best_single": "best single target",
    "informed_routing": "informed routing",
    "expected_of_best_p": "expected of the largest P",
    "oracle": "oracle",
    "oracle_if_independent": "oracle if independent",
}


MEASURED_ROWS = {
    "best_single": "best single target",
    "router": "the router",
    "knows_1": "router and one other answer",
    "knows_2": "router and two other answers",
    "highest_grade": "highest share of three",
    "oracle": "oracle of one answer",
}


def plot_methods(table: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """All methods of a pool with their 95 % intervals, an axis for each of ``METHOD_AXES``.

    `table`: method, metric, value, ci_low, ci_high (`shown.compared`).
    """
    for ax, (metric, title, reference) in zip(axes, METHOD_AXES, strict=True):
        plot_intervals(table[table["metric"] == metric], title, reference, ax)
    return axes


def plot_calibration(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Reliability diagram of a pool. `table`: method, p_mean, accuracy (`pools.reliability`)."""
    tables = {label(str(name)): rows for name, rows in table.groupby("method", sort=False)}
    ax = plot_reliability(tables, ax)
    ax.set(title="Calibration on test rows, all targets together")
    return ax


def plot_pool_curves(
    curves: pd.DataFrame, found: References, unit: str, methods: Sequence[str], ax: Axes
) -> Axes:
    """`curve_plots.plot_curves` of a pool; the first method has its 95 % interval."""
    plot_curves(
        curves, found.points, found.hull, found.oracle, unit, methods, bands=methods[:1], ax=ax
    )
    pool = curves["pool"].iloc[0]
    few = "" if found.all_priced else ", priced targets"
    ax.set(title=f"Pool {pool}: cost against accuracy{few}")
    return ax


def plot_disagreement(
    pairs: pd.DataFrame, target_names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """AUC of every pair of targets as a symmetric matrix, of the first method of the table.

    `pairs`: method, target_a, target_b, auc (`pools.disagreement`, of one pool).
    """
    method = pairs["method"].iloc[0]
    half = pairs[pairs["method"] == method].pivot(
        index="target_a", columns="target_b", values="auc"
    )
    half = half.reindex(index=target_names, columns=target_names)
    title = f"AUC of which target is right, where just one of two is:\n{label(method)}"
    return plot_matrix(half.fillna(half.T), title, fmt=".2f", center=0.5, ax=ax)


def plot_learning(curve: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """Both AUCs against the number of training queries. `curve`: `headroom.learning_curve`."""
    titles = {
        "mean_auc": "mean per-target AUC",
        "disagreement_auc": "AUC of differences between targets",
    }
    for ax, (metric, title) in zip(axes, titles.items(), strict=True):
        plot_growth(curve[curve["metric"] == metric], "training_queries", ax)
        ax.set(xlabel="training queries", ylabel=title)
    legend_outside(axes[-1], "pool")
    return axes


def plot_luck(luck: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """How much of the gap to the oracle is luck: a panel for every pool, on one axis of accuracy.

    `luck`: pool, and a column for each key of ``LUCK_ROWS`` (`headroom.informed_reader`). The
    stretch from what the largest P is expected to win to what an oracle would win if answers were
    independent draws is shaded.
    """
    return _luck_panels(luck, LUCK_ROWS, ("expected_of_best_p", "oracle_if_independent"), axes)


def plot_measured_luck(luck: pd.DataFrame, axes: Sequence[Axes]) -> Sequence[Axes]:
    """The same where targets answered three times, so that luck is measured.

    `luck`: pool, target, metric, value (`luck.measured_luck`). What is surely luck is shaded: from
    the highest grade to the oracle that sees one answer of each target.
    """
    of_pool = luck[luck["metric"].isin(MEASURED_ROWS)]
    wide = of_pool.pivot(index="pool", columns="metric", values="value")
    wide = wide.loc[of_pool["pool"].unique()].reset_index()
    return _luck_panels(wide, MEASURED_ROWS, ("highest_grade", "oracle"), axes)


def _luck_panels(
    luck: pd.DataFrame, rows: Mapping[str, str], shaded: tuple[str, str], axes: Sequence[Axes]
) -> Sequence[Axes]:
    """A panel for every pool: a dot for each column of ``rows``, shade between two of them."""
    for ax, (_, row) in zip(axes, luck.iterrows(), strict=True):
        _luck_of_pool(row, rows, shaded, ax)
    for ax in axes[1:]:
        ax.set_yticklabels([])
    return axes


def _luck_of_pool(
    row: pd.Series, rows: Mapping[str, str], shaded: tuple[str, str], ax: Axes
) -> None:
    names = list(rows)[::-1]
    values = row[names].astype(float)
    low, high = row[list(shaded)]
    ax.axvspan(low, high, color="#E69F00", alpha=0.25, linewidth=0)
    ax.text((low + high) / 2, len(names) - 0.3, "luck", ha="center", fontsize=8, color="#8A5A00")
    ax.plot(values, range(len(names)), marker="o", markersize=5, linestyle="none", color="black")
    room = 0.08 * (values.max() - values.min() or 0.1)
    for y, value in enumerate(values):
        ax.text(value + room / 2, y, f"{value:.1%}", va="center", fontsize=7)
    ax.set(
        xlim=(values.min() - room, values.max() + 4 * room),  # a number stands to the right
        ylim=(-0.6, len(names) - 0.4),
        yticks=range(len(names)),
        yticklabels=[rows[name] for name in names],
        xlabel="accuracy",
    )
    ax.set_title(f"Pool {row['pool']}", pad=16)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.grid(axis="y", visible=False)
