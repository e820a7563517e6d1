"""The report of a profile: its verdicts in words, and the tables of all methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.files import replacing
from prefill_router.report import pool_sentences
from prefill_router.report.folders import ProfileFolders
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES, plan_table
from prefill_router.report.tables import BAR_NOTE, bar_table, headline_table, paired_sentences
from prefill_router.report.verdict import verdicts

REPORTED = (*("metrics", "paired", "pools", "learning_curve", "ours_encoders"), *PLAN_TABLES)
"""The tables that both texts are made of; a profile may lack all but the first three."""


def summary(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables of all methods and all paired differences, as Markdown.

    Parameters
    ----------
    tables : those of ``REPORTED`` that there are
    """
    metrics, paired = tables["metrics"], tables["paired"]
    parts = [
        bar_table(metrics, paired),
        BAR_NOTE,
        headline_table(metrics),
        paired_sentences(paired),
    ]
    if all(name in tables for name in PLAN_TABLES):
        parts += [plan_table(*(tables[name] for name in PLAN_TABLES)), PLAN_NOTE]
    return "\n\n".join(parts) + "\n"


def report(
    tables: Mapping[str, pd.DataFrame],
    profile: Mapping[str, Any],
    name: str,
    notes: Sequence[str] = (),
) -> str:
    """The verdicts in words, as Markdown.

    Parameters
    ----------
    tables : those of ``REPORTED`` that there are
    profile : its file: ``encoder``, ``seeds``, and perhaps ``split`` and ``hidden_reasoning``
    name : what the profile is called
    notes : what was assumed about a table of one's own
    """
    encoder = pool_sentences.encoders_read(profile["encoder"], tables.get("ours_encoders"))
    splits = _SPLITS[profile.get("split", "random")].format(len(profile["seeds"]))
    content: dict[str, Any] = {
        "name": name,
        "verdicts": verdicts(dict(tables)),
        "hidden": pool_sentences.hidden_reasoning(profile.get("hidden_reasoning", {})),
        "method": _METHOD.format(splits=splits, encoder=encoder),
        "notes": notes,
    }
    return "\n".join(_markdown(content)) + "\n"


def write_summary(workspace: ProfileFolders) -> Path:
    """Write ``summary.md`` (`summary`) into the results; its path."""
    return _write(workspace.results / "summary.md", summary(_tables(workspace, 2)))


def write_report(workspace: ProfileFolders) -> Path:
    """Write ``report.md`` (`report`) into the results; its path."""
    note_file = workspace.outcomes_folder / "notes.json"
    notes = pd.read_json(note_file, typ="series").tolist() if note_file.is_file() else []
    of, tables = workspace.profile, _tables(workspace, 3)
    return _write(workspace.results / "report.md", report(tables, of.as_dict(), of.label, notes))


def _tables(workspace: ProfileFolders, needed: int) -> dict[str, pd.DataFrame]:
    """Those of ``REPORTED``; the first so many are read in any case, as the error of a missing one
    says what to run.
    """
    return {
        name: workspace.read_table(name)
        for i, name in enumerate(REPORTED)
        if i < needed or workspace.find_table(name)
    }


def _write(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
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
