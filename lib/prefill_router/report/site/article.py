"""What the templates of the article are filled with, from the folders of results and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from prefill_router.report.benchmark_table import benchmark_table
from prefill_router.report.forest import pool_differences
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES
from prefill_router.report.site import claims, site_templates
from prefill_router.report.site.curve import cost_chart, curve_points, shown_methods
from prefill_router.report.site.figures import figures_in, first_of
from prefill_router.report.site.tables import (
    PLAN_SPANNERS,
    differences_rows,
    families_rows,
    families_spanners,
    method_rows,
    plan_rows,
    pool_rows,
    table_html,
)
from prefill_router.report.site.titles import in_order, pool_title, profile_title

BENCHMARKS = "benchmarks"


@dataclass(frozen=True)
class Notebook:
    """A notebook of a profile: title, the question it answers, address from the pages' root."""

    title: str
    question: str
    address: str


@dataclass(frozen=True)
class About:
    """What a profile's page says that is in no table.

    Attributes
    ----------
    description, command : str
        What the profile is, and what runs it; "" where unknown.
    executed, sources : list[Notebook]
        Executed notebooks are pages; where there are none, the sources are linked.
    data : list[str]
        Names of the files of results that lie beside the pages.
    """

    description: str = ""
    command: str = ""
    executed: list[Notebook] = field(default_factory=list)
    sources: list[Notebook] = field(default_factory=list)
    data: list[str] = field(default_factory=list)


def profiles_in(results: Path) -> list[str]:
    """The profiles that have results, in the order of the article."""
    return in_order(path.parent.name for path in results.glob("*/metrics.csv"))


def article(results: Path, figures: Path, labels: Sequence[str], docs: Sequence[str]) -> str:
    """The first page, as Markdown.

    Parameters
    ----------
    results, figures : folders with one folder per profile
    labels : of `profiles_in`
    docs : other pages, by their paths without the end
    """
    rows = pool_differences(results, labels)
    drawn = {label: figures_in(figures, label) for label in (*labels, BENCHMARKS)}
    whole = figures_in(figures)
    every = [figure for label in labels for figure in drawn[label]]
    planned = list(rows.loc[rows["panel"] == "own_saving", "profile"].unique())
    chart = next(filter(None, (_charts(results, label, first=True) for label in labels)), [])
    content = {
        "claim": claims.claim(rows) if len(rows) else "",
        "forest": first_of(whole, "forest"),
        "forest_table": table_html(
            differences_rows(rows), "Paired differences of every pool", group="profile"
        )
        if len(rows)
        else "",
        "method": first_of(whole, "method"),
        "pools": table_html(pool_rows(results, labels), "The pools", group="profile"),
        "text_first": claims.text_does_as_well(rows) if len(rows) else [],
        "signal": claims.signal(rows) if len(rows) else "",
        "layers": first_of(every, "03_"),
        "decides": claims.decides(rows) if len(rows) else [],
        "decision": first_of(every, "13_decision", "13_plans", "08_curves"),
        "plans": [_plan_table(results, label) for label in planned],
        "charts": chart,
        "families": _families(results, labels),
        "families_figure": first_of(every, "16_families"),
        "luck": _luck(results, labels),
        "luck_figure": first_of(every, "11_measured_luck", "11_luck"),
        "speed": benchmark_table(results / BENCHMARKS)
        if any((results / BENCHMARKS).glob("*.json"))
        else "",
        "speed_figure": first_of(drawn[BENCHMARKS], "speed"),
        "profiles": [(name, profile_title(name)) for name in labels],
        "docs": list(docs),
    }
    return site_templates().get_template("index.md.j2").render(**content, up="")


def profile_page(results: Path, figures: Path, label: str, about: About) -> str:
    """The page of a profile, as Markdown."""
    folder = results / label
    metrics, pools = (pd.read_csv(folder / f"{name}.csv") for name in ("metrics", "pools"))
    report = folder / "report.md"
    tables = [
        table_html(method_rows(metrics, pool), f"All methods, pool {pool_title(pool)}")
        for pool in pools["pool"]
    ]
    plans = all((folder / f"{name}.csv").is_file() for name in PLAN_TABLES)
    content = {
        "title": profile_title(label),
        "label": label,
        "about": about,
        "report": _under(report.read_text(encoding="utf-8")) if report.is_file() else "",
        "charts": _charts(results, label),
        "plans": _plan_table(results, label) if plans else "",
        "tables": tables,
        "figures": figures_in(figures, label),
    }
    return site_templates().get_template("profile.md.j2").render(**content, up="../")


def _under(report: str) -> str:
    """A report's headings one level lower, its first left out; what looks like a tag, as in a name
    of one's own table, is text.
    """
    text = re.sub(r"^# .*\n", "", report).replace("<", "&lt;")
    return re.sub(r"^#(#+ )", r"##\1", text, flags=re.MULTILINE)


def _plan_table(results: Path, label: str) -> str:
    of = (pd.read_csv(results / label / f"{name}.csv") for name in PLAN_TABLES[:2])
    title = f"Plans: {profile_title(label)}"
    return table_html(plan_rows(*of), title, group="pool", note=PLAN_NOTE, spanners=PLAN_SPANNERS)


def _charts(results: Path, label: str, first: bool = False) -> list[dict[str, str]]:
    """The linked curves of a profile's pools that have costs, or the first of them."""
    folder, found = results / label, []
    if not (folder / "curve.csv").is_file():
        return []
    metrics = pd.read_csv(folder / "metrics.csv")
    for pool in pd.read_csv(folder / "pools.csv")["pool"]:
        rows = curve_points(folder, pool)
        if rows.empty:
            continue
        chart = cost_chart(rows, shown_methods(metrics, pool))
        # "</" would end the script that holds it
        text = json.dumps(chart, separators=(",", ":")).replace("</", "<\\/")
        found.append({"pool": pool_title(pool), "profile": profile_title(label), "spec": text})
        if first:
            break
    return found


def _families(results: Path, labels: Sequence[str]) -> list[str]:
    """Tables of the profiles that hold families out."""
    tables = []
    for label in labels:
        held_out = results / label / "families.csv"
        if not held_out.is_file() or "split" not in pd.read_csv(held_out, nrows=1):
            continue
        of = (pd.read_csv(results / label / f"{name}.csv") for name in ("families", "metrics"))
        title = f"{profile_title(label)}, beside the random split"
        rows = families_rows(*of)
        tables.append(table_html(rows, title, group="pool", spanners=families_spanners()))
    return tables


def _luck(results: Path, labels: Sequence[str]) -> list[str]:
    """Of the first profile where luck was measured, else of the first with an informed reader."""
    measured = [label for label in labels if (results / label / "luck.csv").is_file()]
    for label in (*measured, *labels):
        if said := claims.luck_sentences(results / label):
            return [f"{profile_title(label)}. {sentence}" for sentence in said]
    return []
