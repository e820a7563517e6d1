"""The page of a profile in `docs/results`: every number of it from `results/<profile>`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from prefill_router.report import pool_sentences
from prefill_router.report.held_out import families_table
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES, plan_table
from prefill_router.report.published import config
from prefill_router.report.query_cost_sentences import query_cost_sentence
from prefill_router.report.tables import BAR_NOTE, SHORT, bar_table, headline_table
from prefill_router.report.unlike_figures import unlike_sentence

GENERATED = "<!-- written by `python -m prefill_router.report.readme`: change nothing here -->"


def profile_page(root: Path, profile: str) -> str:
    """Markdown of the page of a profile."""
    folder = root / "results" / profile
    tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
    return "\n\n".join([*_head(root, profile, tables), *_sections(tables)]) + "\n"


def _head(root: Path, profile: str, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    of, up = config(root, profile), "../.."
    files = {
        "verdict in plain words": "report.md",
        "all methods and all paired differences": "summary.md",
        "numbers": "metrics.csv",
    }
    links = [
        f"[{name}]({up}/results/{profile}/{file})"
        for name, file in files.items()
        if (root / "results" / profile / file).is_file()
    ]
    yield GENERATED
    yield f"# Results of {profile}"
    yield f"{of['description']} What the columns mean: [glossary](../glossary.md)."
    encoders = pool_sentences.encoders_read(of["encoder"], tables.get("ours_encoders"))
    yield f"Encoder: {encoders}. {', '.join(links).capitalize()}."


def _sections(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    metrics, paired = tables["metrics"], tables.get("paired")
    if paired is not None:
        yield "## Prefill against text"
        yield bar_table(metrics, paired)
        yield BAR_NOTE
        yield pool_sentences.worse(paired)
    if all(name in tables for name in PLAN_TABLES):
        yield "## Plans"
        yield plan_table(*(tables[name] for name in PLAN_TABLES))
        yield PLAN_NOTE
    if "split" in tables.get("families", ()):
        yield "## Families held out beside the random split"
        yield families_table(tables["families"], metrics)
    said = [sentence for sentence in _sentences(tables) if sentence]
    if said:
        yield "## In words"
        yield from said
    yield "## All methods"
    yield headline_table(metrics, SHORT)


def _sentences(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """What notebooks say of their tables, of every pool."""
    pools = list(tables["metrics"]["pool"].unique())
    if "within_benchmarks" in tables:
        known = set(tables["within_benchmarks"]["pool"])
        for pool in (pool for pool in pools if pool in known):
            yield pool_sentences.within(tables["within_benchmarks"], pool)
    if "learning_curve" in tables:
        for pool in pools:
            yield pool_sentences.learning(tables["learning_curve"], pool)
    if {"informed_reader", "headroom", "learning_curve"} <= set(tables):
        for pool in pools:
            curve, informed = tables["learning_curve"], tables["informed_reader"]
            yield pool_sentences.luck(curve, informed, tables["headroom"], pool)
    if "luck" in tables:
        for pool in pools:
            yield pool_sentences.measured_luck(tables["luck"], pool)
    if {"unlike_alarms", "unlike_bins"} <= set(tables):
        yield unlike_sentence(tables["unlike_alarms"], tables["unlike_bins"])
    if "query_costs" in tables:
        yield query_cost_sentence(tables["query_costs"])
