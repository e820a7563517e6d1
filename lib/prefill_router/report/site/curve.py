"""The linked cost/accuracy curve of a pool: its points, and the chart that tells each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from prefill_router.evaluate.curves import convex_hull
from prefill_router.evaluate.keys import main_rows
from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT
from prefill_router.report.decision_sentences import GAIN, SAVING, found
from prefill_router.report.rivals import best_semantic, of_pools
from prefill_router.report.styles import label, style

COLUMNS = ["kind", "method", "rule", "tolerance", "cost", "accuracy", "ci_low", "ci_high"]
PLANS = {NO_LOSS: "plan, no loss of accuracy", ONE_POINT: "plan, one point of accuracy allowed"}
# line styles as Vega draws them
DASHES: dict[str, list[int]] = {"-": [1, 0], "--": [6, 4], ":": [2, 3], "-.": [8, 3, 2, 3]}
SINGLE, MIX = "single target", "mix of single targets"


def shown_methods(metrics: pd.DataFrame, pool: str) -> list[str]:
    """Ours, the paper's network, the best semantic baseline and TF-IDF, where the pool has them."""
    known = set(metrics.loc[metrics["pool"] == pool, "method"])
    wanted = ("ours", "paper", best_semantic(metrics, pool), "tfidf")
    return [name for name in dict.fromkeys(wanted) if name in known and name is not None]


def cost_of_best_single(metrics: pd.DataFrame, curve: pd.DataFrame, pool: str) -> float:
    """Mean cost of the best single target in the unit of the curve, from what it and another method
    save against the dearest target; NaN where there is no cost.
    """
    rows = of_pools(metrics)
    rows = rows[(rows["pool"] == pool) & (rows["metric"] == "cost_saving_vs_max")]
    saved = rows.drop_duplicates("method").set_index("method")["value"]
    argmax = curve[(curve["pool"] == pool) & (curve["tolerance"] == 0)].set_index("method")["cost"]
    shared = [m for m in argmax.index if m in saved.index and saved[m] < 1]
    if not shared or "best_single" not in saved.index:
        return float("nan")
    dearest = argmax[shared[0]] / (1 - saved[shared[0]])
    return float(dearest * (1 - saved["best_single"]))


def target_points(folder: Path, pool: str) -> pd.DataFrame:
    """Mean cost and accuracy of every single target on the test rows that all targets answered,
    averaged over splits.

    Returns
    -------
    DataFrame[target, cost, accuracy]
        Without rows where the results hold no outcomes or costs of single queries.
    """
    paths = [folder / f"{name}.parquet" for name in ("outcomes", "costs", "splits")]
    if not all(path.is_file() for path in paths):
        return pd.DataFrame({"target": [], "cost": [], "accuracy": []})
    outcomes, costs, splits = (pd.read_parquet(path) for path in paths)
    outcomes = outcomes[outcomes["pool"] == pool]
    answered = outcomes.groupby("query_id")["target"].nunique()
    complete = answered.index[answered == outcomes["target"].nunique()]
    test = splits[(splits["part"] == "test") & splits["query_id"].isin(complete)]
    rows = test[["seed", "query_id"]].merge(outcomes, on="query_id")
    rows = rows.merge(costs, on=["seed", "query_id", "target"], how="left")
    means = rows.groupby(["target", "seed"], sort=False)[["cost", "correct"]].mean()
    points = means.groupby("target", sort=False).mean().reset_index()
    return points.rename(columns={"correct": "accuracy"}).dropna(subset="cost")


def curve_points(folder: Path, pool: str) -> pd.DataFrame:
    """Everything that the chart of a pool shows.

    Parameters
    ----------
    folder : ``results/<profile>``

    Returns
    -------
    DataFrame[COLUMNS]
        ``kind``: curve, plan, target or mix; cost in % of the best single target's, accuracies in
        %. Without rows where the pool has no costs.
    """
    metrics, curve = (main_rows(pd.read_csv(folder / f"{n}.csv")) for n in ("metrics", "curve"))
    best = cost_of_best_single(metrics, curve, pool)
    if not best > 0:
        return pd.DataFrame(columns=COLUMNS)
    methods = shown_methods(metrics, pool)
    lines = curve[(curve["pool"] == pool) & curve["method"].isin(methods)].copy()
    lines["rule"] = [f"tolerance {t:g}" for t in lines["tolerance"]]
    singles = target_points(folder, pool)
    hull = singles.iloc[convex_hull(singles["cost"].to_numpy(), singles["accuracy"].to_numpy())]
    rows = pd.concat(
        [
            lines.assign(kind="curve", method=lines["method"].map(label)),
            singles.assign(kind="target", rule=SINGLE, method=singles["target"]),
            hull.assign(kind="mix", rule=MIX, method=MIX),
        ]
    )
    rows["cost"] = 100 * rows["cost"] / best
    for column in ("accuracy", "ci_low", "ci_high"):
        rows[column] = 100 * rows[column]
    known = [rows, _plans(folder, pool, methods)]
    return pd.concat([table for table in known if len(table)], ignore_index=True)[COLUMNS]


def _plans(folder: Path, pool: str, methods: list[str]) -> pd.DataFrame:
    """The planned points of the methods; the interval is that of the accuracy."""
    path = folder / "decisions.csv"
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    decisions, rows = pd.read_csv(path), []
    for method in methods:
        for plan, rule in PLANS.items():
            saving = found(decisions, pool, method, plan, SAVING)[0]
            accuracy = 100 * np.array(found(decisions, pool, method, plan, "accuracy"))
            gain = 100 * found(decisions, pool, method, plan, GAIN)[0]
            if np.isfinite([saving, *accuracy]).all():
                told = f"{rule} ({gain:+z.1f} points against the best single target)"
                row = ("plan", label(method), told, None, 100 * (1 - saving), *accuracy)
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def told(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with what a point tells when one is over it: ``cost_text``, ``accuracy_text``."""
    interval = [
        f"{a:.1f} %" + (f" [{low:.1f}, {high:.1f}]" if pd.notna(low) else "")
        for a, low, high in rows[["accuracy", "ci_low", "ci_high"]].to_numpy(dtype=float)
    ]
    cost = [f"{c:.1f} % of the best single target's" for c in rows["cost"]]
    return rows.assign(cost_text=cost, accuracy_text=interval)


def cost_chart(rows: pd.DataFrame, methods: list[str]) -> dict[str, Any]:
    """The Vega-Lite specification of a pool's chart.

    One point under the pointer tells method, rule, cost and accuracy with its interval, and marks
    the points of the same tolerance on the other curves; a click on a name leaves that method
    alone.

    Parameters
    ----------
    rows : of `curve_points`
    methods : of `shown_methods`, for colours and order
    """
    rows = told(rows)
    curves = rows["kind"] == "curve"
    widest = 1.08 * max(100.0, rows.loc[curves, "cost"].max())
    rows = rows[curves | (rows["cost"] <= widest)].round(3)
    records = rows.drop(columns=["ci_low", "ci_high"]).to_dict("records")
    # JSON has no NaN: what a point has not is left out
    values = [{key: value for key, value in row.items() if pd.notna(value)} for row in records]
    names = [label(m) for m in methods]
    color = alt.Color(
        "method:N",
        scale=alt.Scale(domain=names, range=[style(m)[0] for m in methods]),
        legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=320, symbolSize=200),
    )
    dash = alt.StrokeDash(
        "method:N",
        scale=alt.Scale(domain=names, range=[DASHES[style(m)[1]] for m in methods]),
        legend=alt.Legend(title=None),
    )
    chosen = alt.selection_point(name="chosen", fields=["method"], bind="legend")
    # not `nearest`: its cells tell no fields of the point
    near = alt.selection_point(name="near", fields=["tolerance"], on="pointerover", empty=False)
    x = alt.X("cost:Q", title="cost, % of the best single target's").scale(domain=[0, widest])
    y = alt.Y("accuracy:Q", title="accuracy, %").scale(zero=False)
    tips = {"method": "", "rule": "rule", "cost_text": "cost", "accuracy_text": "accuracy"}
    tooltip = [alt.Tooltip(f"{field}:N", title=title or "method") for field, title in tips.items()]
    seen = alt.when(chosen).then(alt.value(1.0)).otherwise(alt.value(0.12))
    base = alt.Chart(alt.Data(values=values)).encode(x=x, y=y, tooltip=tooltip)

    def of(kind: str) -> alt.Chart:
        return base.transform_filter(alt.datum.kind == kind)

    line = of("curve").mark_line(strokeWidth=2).encode(color=color, opacity=seen)
    line = line.encode(order="tolerance:Q", strokeDash=dash)
    under = of("curve").mark_point(size=110, filled=True).encode(color=color)
    marked = alt.when(near).then(alt.value(1.0)).otherwise(alt.value(0.0))
    under = under.encode(opacity=marked).add_params(near)
    mix = of("mix").mark_line(strokeDash=[5, 4], color="#888888")
    single = of("target").mark_square(size=50, color="#888888")
    named = of("target").mark_text(dy=-9, fontSize=10, color="#888888").encode(text="method:N")
    plan = of("plan").mark_point(shape="diamond", size=150, filled=True, strokeWidth=1)
    plan = plan.encode(color=color, opacity=seen).add_params(chosen)
    chart = alt.layer(mix, line, single, named, under, plan)
    return chart.properties(width=640, height=380).configure_view(stroke=None).to_dict()
