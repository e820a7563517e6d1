"""The report of a profile: its verdicts in words, and the tables of all methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.files import replacing
from prefill_router.report import pool_sentences
from prefill_router.report.folders import ProfileFolders
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
    if (workspace.results / "decisions.csv").is_file():
        of_plans = (workspace.read_table(name) for name in PLAN_TABLES)
        parts += [plan_table(*of_plans), PLAN_NOTE]
    path = workspace.results / "summary.md"
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def write_report(workspace: ProfileFolders) -> Path:
    """Write ``report.md`` into the results; its path."""
    tables = {name: workspace.read_table(name) for name in ("metrics", "paired", "pools")}
    for name in ("learning_curve", "decisions", "decision_differences"):
        if (workspace.results / f"{name}.csv").is_file():
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
    path = workspace.results / "report.md"
    with replacing(path) as temporary:
        temporary.write_text("\n".join(_markdown(content)) + "\n", encoding="utf-8")
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
