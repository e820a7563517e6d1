"""The tables of the article: what stands in them, and how great-tables writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import great_tables as gt
import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL
from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT
from prefill_router.report.cells import HEADLINE, interval_cell
from prefill_router.report.decision_sentences import GAIN, SAVING, difference, found
from prefill_router.report.held_out import METRICS, SHOWN, SPLITS
from prefill_router.report.rivals import best_semantic, of_pools_and_encoders, semantic_ranking
from prefill_router.report.site.claims import PANELS
from prefill_router.report.site.titles import pool_title, profile_title
from prefill_router.report.styles import label
from prefill_router.report.tables import FIRST, LAST
from prefill_router.report.words import percent, points, signed, three_digits

SHORT_METRICS = ("mean_auc", "disagreement_auc", "accuracy", "gap_closed", "p_auccc", "brier")
PLAN_SPANNERS = {
    "No loss of accuracy": ["saving", "accuracy minus best single"],
    "One point allowed": ["saving ", "accuracy minus best single "],
}


def table_html(
    rows: pd.DataFrame,
    title: str,
    group: str | None = None,
    note: str = "",
    spanners: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A table as HTML: the first column as row names, ``group`` as headings of rows, ``spanners``
    over columns.

    Its looks are those of the page's own style, so that they follow the light or dark mode.
    """
    stub = next(column for column in rows.columns if column != group)
    table = gt.GT(rows, rowname_col=stub, groupname_col=group, id=_identifier(title))
    table = table.tab_header(title=title).tab_stubhead(label=stub)
    for name, columns in (spanners or {}).items():
        table = table.tab_spanner(label=name, columns=list(columns))
    if note:
        table = table.tab_source_note(note)
    html = re.sub(r"<style>.*?</style>", "", table.as_raw_html(), flags=re.DOTALL)
    html = re.sub(r'(<div id="[^"]*") style="[^"]*"', r'\1 class="scrolls" tabindex="0"', html)
    return re.sub(r"\n\s*\n", "\n", html)


def _identifier(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def pool_rows(results: Path, labels: Sequence[str]) -> pd.DataFrame:
    """Every pool of some profiles: queries, targets, accuracy of the best single target and of the
    oracle.
    """
    rows = []
    for profile in labels:
        for row in pd.read_csv(results / profile / "pools.csv").itertuples():
            cells = {
                "pool": pool_title(str(row.pool)),
                "profile": profile_title(profile),
                "queries": f"{row.queries:,}",
                "targets": f"{row.targets}",
                "best single target": row.best_single,
                "its accuracy": f"{row.best_single_accuracy:.1%}",
                "oracle": f"{row.oracle_accuracy:.1%}",
            }
            rows.append(cells)
    return pd.DataFrame(rows)


def method_rows(metrics: pd.DataFrame, pool: str) -> pd.DataFrame:
    """A row for each method of a pool, the main metrics with their intervals."""
    rows = of_pools_and_encoders(metrics)
    rows = rows[rows["pool"] == pool]
    known = list(dict.fromkeys(rows["method"]))
    semantic = semantic_ranking(metrics, pool)
    others = sorted(set(known) - {*FIRST, *semantic, *LAST}, key=str)
    order = [m for m in dict.fromkeys([*FIRST, *semantic, *others, *LAST]) if m in known]
    cell = {(r["method"], r["metric"]): r for _, r in rows.iterrows()}
    return pd.DataFrame(
        {
            "method": [label(m) for m in order],
            **{
                name: [interval_cell(cell.get((m, metric)), form) for m in order]
                for metric, (name, form) in HEADLINE.items()
                if metric in SHORT_METRICS
            },
        }
    )


def plan_rows(decisions: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """A row for each pool and method: mean AUC, and what its plans do on test rows. The methods:
    ours, the paper's network, and the best routers on text by their plan and by their AUC.
    """
    rows = []
    for pool in decisions["pool"].unique():
        best = [
            difference(differences, pool, "ours", point, metric)[0]
            for point, metric in ((NO_LOSS, SAVING), (CURVE, "mean_auc"))
        ]
        known = set(decisions.loc[decisions["pool"] == pool, "method"])
        for method in (m for m in dict.fromkeys([*PREFILL, *best]) if m in known):
            cells = {
                "method": label(method),
                "pool": f"pool {pool_title(pool)}",
                "mean AUC": three_digits(found(decisions, pool, method, CURVE, "mean_auc")),
            }
            for plan, space in ((NO_LOSS, ""), (ONE_POINT, " ")):
                of = (found(decisions, pool, method, plan, metric) for metric in (SAVING, GAIN))
                saving, gain = of
                cells[f"saving{space}"] = "–" if pd.isna(saving[0]) else percent(saving)
                cells[f"accuracy minus best single{space}"] = points(gain)
            rows.append(cells)
    return pd.DataFrame(rows)


def families_rows(table: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """The main methods of each pool: every metric on the random split and with families held out.

    Parameters
    ----------
    table : of `held_out.side_by_side`
    metrics : ``metrics.csv`` of the profile that holds families out; names the best text baseline
    """
    rows = []
    for pool in dict.fromkeys(table["pool"]):
        of_pool = table[table["pool"] == pool]
        wanted = [*SHOWN[:3], best_semantic(metrics, pool), *SHOWN[3:]]
        for method in (m for m in dict.fromkeys(wanted) if m in set(of_pool["method"])):
            cell = of_pool[of_pool["method"] == method].set_index(["metric", "split"])
            cells = {"method": label(str(method)), "pool": f"pool {pool_title(pool)}"}
            for metric, columns in _families_columns().items():
                for split, column in columns.items():
                    form = HEADLINE[metric][1]
                    cells[column] = interval_cell(cell.loc[(metric, split)], form)
            rows.append(cells)
    return pd.DataFrame(rows)


def families_spanners() -> dict[str, list[str]]:
    """The columns of `families_rows` under the name of their metric."""
    return {METRICS[metric][0]: list(of.values()) for metric, of in _families_columns().items()}


def _families_columns() -> dict[str, dict[str, str]]:
    """Metric to split to column; equal names differ by the spaces after them."""
    return {
        metric: {split: name + " " * at for split, name in SPLITS.items()}
        for at, metric in enumerate(METRICS)
    }


def differences_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """`pool_differences` as people read them: a row for each pool, a column for each panel."""
    form = {"auc": signed, "own_saving": percent, "saving": points, "gain": points}
    table = []
    for (profile, pool), of in rows.groupby(["profile", "pool"], sort=False):
        values = of.set_index("panel")[["value", "ci_low", "ci_high"]].astype(float)
        cells = {"pool": pool_title(str(pool)), "profile": profile_title(str(profile))}
        for panel, head in PANELS.items():
            there = panel in values.index
            cells[head] = form[panel](tuple(values.loc[panel])) if there else "–"
        table.append(cells)
    return pd.DataFrame(table)
