"""Numbers for people: the blocks of README.md and of `docs/` between marks, and a page for each
profile in `docs/results`, and `report.md` and `summary.md` beside its tables, all made from them.

python -m prefill_router.report.readme
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from prefill_router.files import project_root, replacing
from prefill_router.report.benchmark_table import benchmark_table, speed_sentence
from prefill_router.report.contents import notebook_list, page_list
from prefill_router.report.findings import findings
from prefill_router.report.forest import write_forest
from prefill_router.report.overview import overview, overview_table, query_counts, several_encoders
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES, plan_table
from prefill_router.report.profile_page import profile_page
from prefill_router.report.published import config, profiles
from prefill_router.report.report import REPORTED, report, summary
from prefill_router.report.sizes_table import sizes_table
from prefill_router.report.tables import BAR_NOTE, bar_table

MAKER = "made by `python -m prefill_router.report.readme`"


def marks(name: str) -> tuple[str, str]:
    """The lines between which a block stands."""
    return f"<!-- {name}: {MAKER} -->", f"<!-- {name} ends -->"


def fill(text: str, name: str, block: str) -> str:
    """Put a block between its two marks.

    Raises
    ------
    ValueError
        A mark is missing.
    """
    start, end = marks(name)
    if start not in text or end not in text:
        raise ValueError(f"needs the marks {start!r} and {end!r}")
    head, rest = text.split(start, 1)
    return f"{head}{start}\n\n{block.strip()}\n\n{end}{rest.split(end, 1)[1]}"


def without_blocks(text: str) -> str:
    """A page without what is generated in it."""
    return re.sub(rf"<!-- (\w+): {re.escape(MAKER)} -->.*?<!-- \1 ends -->", "", text, flags=re.S)


def blocks(root: Path) -> dict[str, str]:
    """Name of the marks -> Markdown, of what has results."""
    results, names = root / "results", profiles(root)
    metrics = {name: pd.read_csv(results / name / "metrics.csv") for name in names}
    found = {
        "profiles": _profile_list(root, names),
        "notebooks": notebook_list(root),
        "guide": page_list(root),
    }
    if said := findings(root):
        found["findings"] = said
    if metrics:
        found["pools"] = overview_table(
            overview(metrics), query_counts(metrics), several_encoders(metrics)
        )
    if bars := [*_bars(results, metrics)]:
        found["bar"] = "\n\n".join([*bars, BAR_NOTE])
    if planned := [*_plans(results, names)]:
        found["plans"] = "\n\n".join([*planned, PLAN_NOTE])
    if any((results / "benchmarks").glob("*.json")):
        found["speed"] = speed_sentence(results / "benchmarks")
        found["benchmarks"] = benchmark_table(results / "benchmarks")
        found["sizes"] = sizes_table(results / "benchmarks")
    return found


def _profile_list(root: Path, names: list[str]) -> str:
    lines = ["| profile | what it is |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| [{n}](results/{n}.md) | {config(root, n)['description']} |" for n in names)]
    )


def _bars(results: Path, metrics: dict[str, pd.DataFrame]) -> Iterator[str]:
    for name, table in metrics.items():
        if (path := results / name / "paired.csv").is_file():
            yield f"Profile `{name}`:\n\n{bar_table(table, pd.read_csv(path))}"


def _plans(results: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        paths = [results / name / f"{table}.csv" for table in PLAN_TABLES]
        if all(path.is_file() for path in paths):
            yield f"Profile `{name}`:\n\n{plan_table(*map(pd.read_csv, paths))}"


def pages(root: Path) -> dict[Path, str]:
    """Every page with what the results say now: path -> text, whether it differs or not."""
    found = blocks(root)
    handwritten = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    texts = {path: path.read_text(encoding="utf-8") for path in handwritten if path.is_file()}
    for path, text in texts.items():
        for name, block in found.items():
            if marks(name)[0] in text:
                texts[path] = text = fill(text, name, block)
    for name in profiles(root):
        texts[root / "docs" / "results" / f"{name}.md"] = profile_page(root, name)
        texts |= _texts(root, name)
    return texts


def _texts(root: Path, profile: str) -> dict[Path, str]:
    """The texts beside the tables of a profile, which its notebooks wrote first."""
    folder = root / "results" / profile
    found = {name: folder / f"{name}.csv" for name in REPORTED}
    tables = {name: pd.read_csv(path) for name, path in found.items() if path.is_file()}
    texts = {"summary.md": lambda: summary(tables)}
    texts["report.md"] = lambda: report(tables, config(root, profile), profile)
    return {folder / name: text() for name, text in texts.items() if (folder / name).is_file()}


def main(root: Path | None = None) -> int:
    """Write every page that differs, and draw the forest."""
    root = root or project_root()
    for path, text in pages(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(root)}: written")
    if (drawn := write_forest(root, profiles(root))) is not None:
        print(f"{drawn.name}: drawn")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
