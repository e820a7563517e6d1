"""The rows that end a run: ours, the paper's network, text, best single target and oracle."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import pandas as pd

from prefill_router.evaluate.keys import ARGMAX, CALIBRATED
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.decision_sentences import SAVING, difference, found
from prefill_router.report.rivals import of_pools, saving_against
from prefill_router.report.styles import label
from prefill_router.report.verdict import verdicts
from prefill_router.run.workspace import Workspace

WIDTH = 100
LABEL = 36
TABLES = ("metrics", "paired", "pools", "decisions", "decision_differences", "learning_curve")
ROWS = ("ours", "paper", "text", "best_single", "oracle")
# heading, width, factor and form of each number of a row; the widths and LABEL make WIDTH
COLUMNS = {
    "accuracy": ("accuracy, %", 19, 100, "{:z.1f}"),
    "cost": ("cost, % of best single", 23, 100, "{:z.1f}"),
    "mean_auc": ("mean AUC", 22, 1, "{:.3f}"),
}


def headline_tables(read: Mapping[str, pd.DataFrame | None]) -> dict[str, pd.DataFrame]:
    """Those of ``TABLES`` that are there."""
    return {name: table for name in TABLES if (table := read.get(name)) is not None}


def headline_rows(tables: Mapping[str, pd.DataFrame], pool: str) -> pd.DataFrame:
    """The headline numbers of a pool.

    Parameters
    ----------
    tables : ``metrics`` and, where there are, ``decisions`` with ``decision_differences``

    Returns
    -------
    DataFrame[row, method, metric, value, ci_low, ci_high]
        ``row``: of ``ROWS``; ``metric``: of ``COLUMNS``. Accuracy and cost are those of the plan
        without a loss where the profile makes plans, else those at the tolerance chosen on
        calibration rows; cost is a share of the best single target's.
    """
    metrics = tables["metrics"][tables["metrics"]["pool"] == pool]
    text = _best_text(tables, pool)
    methods = {row: text if row == "text" else row for row in ROWS}
    rows = []
    for row, method in methods.items():
        if method is None or not (metrics["method"] == method).any():
            continue
        auc = _interval(of_pools(metrics), method, "mean_auc")
        numbers = {**_by_plan_or_tolerance(tables, metrics, pool, method), "mean_auc": auc}
        rows += [(row, method, metric, *numbers[metric]) for metric in COLUMNS]
    return pd.DataFrame(rows, columns=["row", "method", "metric", "value", "ci_low", "ci_high"])


def _by_plan_or_tolerance(
    tables: Mapping[str, pd.DataFrame], metrics: pd.DataFrame, pool: str, method: str
) -> dict[str, tuple[float, float, float]]:
    """Accuracy and relative cost of a method."""
    if planned(tables, pool) and method in set(tables["decisions"]["method"]):
        accuracy, saving = (
            found(tables["decisions"], pool, method, NO_LOSS, m) for m in ("accuracy", SAVING)
        )
        return {"accuracy": accuracy, "cost": (1 - saving[0], 1 - saving[2], 1 - saving[1])}
    at = of_pools(metrics, CALIBRATED)
    if pd.isna(_interval(at, method, "accuracy")[0]):  # best single and oracle have no tolerance
        at = of_pools(metrics, ARGMAX)
    single = _interval(of_pools(metrics), "best_single", "cost_saving_vs_max")[0]
    cost = 1 - saving_against(_interval(at, method, "cost_saving_vs_max")[0], single)
    return {"accuracy": _interval(at, method, "accuracy"), "cost": (cost,) + (float("nan"),) * 2}


def planned(tables: Mapping[str, pd.DataFrame], pool: str) -> bool:
    """Whether there are plans for a pool."""
    decisions = tables.get("decisions")
    return decisions is not None and bool((decisions["pool"] == pool).any())


def _best_text(tables: Mapping[str, pd.DataFrame], pool: str) -> str | None:
    """The router on text with the cheapest plan, chosen beforehand; without plans the one with the
    highest mean AUC.
    """
    if planned(tables, pool) and "decision_differences" in tables:
        return difference(tables["decision_differences"], pool, "ours", NO_LOSS, SAVING)[0]
    rows = of_pools(tables["metrics"])
    reads = (rows["reads"] == "sentence") | (rows["method"] == "tfidf")
    rows = rows[(rows["pool"] == pool) & (rows["metric"] == "mean_auc") & reads]
    rows = rows.dropna(subset=["value"]).sort_values("value", ascending=False, kind="stable")
    return None if rows.empty else str(rows.iloc[0]["method"])


def _interval(rows: pd.DataFrame, method: str, metric: str) -> tuple[float, float, float]:
    rows = rows[(rows["method"] == method) & (rows["metric"] == metric)]
    if rows.empty:
        return (float("nan"),) * 3
    value, low, high = rows.iloc[0][["value", "ci_low", "ci_high"]].astype(float)
    return value, low, high


def largest_difference(
    before: Mapping[str, pd.DataFrame], now: Mapping[str, pd.DataFrame]
) -> float | None:
    """The largest difference of a headline number; None where the two share none."""
    if "metrics" not in before or "metrics" not in now:
        return None
    gaps = []
    for pool in now["metrics"]["pool"].unique():
        a, b = (
            headline_rows(tables, pool).set_index(["row", "metric"])["value"]
            for tables in (before, now)
        )
        gaps += list((a - b).abs().dropna())
    return max(gaps, default=None)


def headline(workspace: Workspace) -> str:
    """What a run found: for each pool its five rows and its verdict."""
    tables = headline_tables(
        {name: workspace.read_table(name) for name in TABLES if workspace.find_table(name)}
    )
    if "metrics" not in tables:
        return f"No {workspace.results / 'metrics.csv'} yet, so no headline table."
    said = {}
    if {"paired", "pools"} <= set(tables):
        said = {v.pool: v.headline for v in verdicts(tables)}
    lines: list[str] = []
    for pool in workspace.profile.pools:
        lines += _of_pool(tables, pool)
        if pool in said:
            lines += textwrap.wrap(said[pool], WIDTH)
        lines.append("")
    return "\n".join(lines).rstrip()


def _of_pool(tables: Mapping[str, pd.DataFrame], pool: str) -> Iterator[str]:
    """A heading and a line for each row."""
    rows = headline_rows(tables, pool)
    of_pool = tables["metrics"][tables["metrics"]["pool"] == pool]
    if rows.empty:
        yield f"Pool {pool}: no metrics."
        return
    n = int(of_pool["n"].max())
    how = (
        "accuracy and cost by a plan made to lose nothing"
        if planned(tables, pool)
        else "accuracy and cost at a tolerance chosen beforehand"
    )
    yield from textwrap.wrap(f"Pool {pool}: {n:,} test queries; {how}; [95 % intervals]", WIDTH)
    titles = "".join(f"{title:>{width}}" for title, width, _, _ in COLUMNS.values())
    yield " " * LABEL + titles
    for row, of_row in rows.groupby("row", sort=False):
        numbers = of_row.set_index("metric")
        name = _label(str(row), str(of_row["method"].iloc[0]), tables, pool)
        yield f"{name:<{LABEL}}" + "".join(
            f"{_cell(numbers.loc[metric], factor, form):>{width}}"
            for metric, (_, width, factor, form) in COLUMNS.items()
        )


def _label(row: str, method: str, tables: Mapping[str, pd.DataFrame], pool: str) -> str:
    """What the row is, in at most `LABEL` characters less one."""
    name = row
    if row == "text":
        name = f"text: {label(method)}"
    elif row in ("ours", "paper"):
        name = f"{row}: {label(method).removesuffix(' (ours)')}"
    elif row == "best_single":
        name = "best single"
        if "pools" in tables:
            row_of = tables["pools"].set_index("pool")
            name += f": {row_of.loc[pool, 'best_single']}" if pool in row_of.index else ""
    return name if len(name) < LABEL else f"{name[: LABEL - 2]}…"


def _cell(numbers: pd.Series, factor: float, form: str) -> str:
    value, low, high = (factor * numbers[key] for key in ("value", "ci_low", "ci_high"))
    if pd.isna(value):
        return "–"
    if pd.isna(low):
        return form.format(value)
    return f"{form.format(value)} [{form.format(low)}, {form.format(high)}]"
