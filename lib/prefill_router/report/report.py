"""The report of a profile: its verdicts as Markdown and as a page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.files import replacing
from prefill_router.report import pool_sentences
from prefill_router.report.folders import ProfileFolders
from prefill_router.report.pages import page_templates
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES, plan_table
from prefill_router.report.tables import BAR_NOTE, bar_table, headline_table, paired_sentences
from prefill_router.report.verdict import verdicts


def write_summary(workspace: ProfileFolders) -> Path:
    """Write ``summary.md``, the tables of all methods and all paired differences, into the results;
    its path.
    """
    metrics, paired = workspace.read_table("metrics"), workspace.read_table("paired")
    parts = [
        bar_table(metrics, paired),
        BAR_NOTE,
        headline_table(metrics),
        paired_sentences(paired),
    ]
    if workspace.find_table("decisions"):
        of_plans = (workspace.read_table(name) for name in PLAN_TABLES)
        parts += [plan_table(*of_plans), PLAN_NOTE]
    path = workspace.results / "summary.md"
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def write_report(workspace: ProfileFolders) -> Path:
    """Write ``report.md`` and ``report.html`` (one file, opens without network) into the results;
    the path of the latter.
    """
    tables = {name: workspace.read_table(name) for name in ("metrics", "paired", "pools")}
    for name in ("learning_curve", "decisions", "decision_differences"):
        if workspace.find_table(name):
            tables[name] = workspace.read_table(name)
    found = verdicts(tables)
    note_file = workspace.outcomes_folder / "notes.json"
    content: dict[str, Any] = {
        "name": workspace.profile.label,
        "encoder": workspace.profile.encoder,
        "verdicts": found,
        "hidden": pool_sentences.hidden_reasoning(workspace.profile.hidden_reasoning),
        "method": _METHOD.format(
            splits=_SPLITS[workspace.profile.split].format(len(workspace.profile.seeds)),
            encoder=workspace.profile.encoder,
        ),
        "notes": pd.read_json(note_file, typ="series").tolist() if note_file.is_file() else [],
    }
    lines = list(_markdown(content))
    with replacing(workspace.results / "report.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = {
        v.pool: [
            (title, base64.b64encode(path.read_bytes()).decode())
            for name, title in (
                (
                    "08_curves",
                    "Cost against accuracy of the router, of single targets and of the oracle",
                ),
                ("07_methods", "All methods with 95 % intervals"),
            )
            if (path := workspace.find_figure(f"{name}_{v.pool}"))
        ]
        for v in found
    }
    page = page_templates().get_template("report.html.j2")
    path = workspace.results / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page.render(**content, figures=figures), encoding="utf-8")
    return path


def _markdown(content: dict[str, Any]) -> Iterator[str]:
    yield f"# Does routing pay for {content['name']}?"
    for v in content["verdicts"]:
        yield from ("", f"## Pool {v.pool}", "", f"**{v.headline}**", "")
        yield from (f"- {s}" for s in v.sentences)
        if v.targets:
            yield from ("", "| target | AUC | Brier |", "|---|---|---|")
            yield from (
                f"| {t['target'].replace('|', chr(92) + '|')} | {t['AUC']} | {t['Brier']} |"
                for t in v.targets
            )
        yield from ("", "What to do next:", "")
        yield from (f"- {a}" for a in v.advice)
    if content["notes"]:
        yield from ("", "## What was assumed about the table", "")
        yield from (f"- {n}" for n in content["notes"])
    if content["hidden"]:
        yield from ("", "## What the costs leave out", "", content["hidden"])
    yield from ("", "## How this was found", "", content["method"])


_SPLITS = {
    "random": "{} random splits that keep near-duplicates together",
    "families": (
        "{} folds of whole families of questions, each tested by routers that have not seen it"
    ),
}
_METHOD = (
    "Averages over {splits}; the encoder is {encoder}. Intervals are 95 % (bootstrap over groups of"
    " queries); the best single target is chosen on training rows. All numbers are in"
    " metrics.csv and paired.csv beside this file."
)
