"""Tables and sentences for people, made from ``metrics.csv`` and ``paired.csv`` alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prefill_router.report.benchmark_table import benchmark_table
from prefill_router.report.forest import write_forest
from prefill_router.report.held_out import families_table
from prefill_router.report.plan_verdict import PLAN_NOTE, PLAN_TABLES, plan_table
from prefill_router.report.tables import BAR_NOTE, SHORT, bar_table, headline_table

PROFILES = ("reasoning_gym", "local", "zeroeval", "mmlu_pro")
FAMILIES = "reasoning_gym_families"  # its families held out, beside the random split


PLANNED = (
    *("reasoning_gym", FAMILIES, "reasoning_gym_easy", "local", "local_encoders"),
    *("zeroeval", "mmlu_pro", "livecodebench", "swebench"),
)


def _has_plans(results: Path, profile: str) -> bool:
    return all((results / profile / f"{name}.csv").is_file() for name in PLAN_TABLES)


def _plans(folder: Path) -> str:
    of = (pd.read_csv(folder / f"{name}.csv") for name in PLAN_TABLES)
    return f"Profile `{folder.name}`:\n\n{plan_table(*of)}"


def marks(name: str) -> tuple[str, str]:
    """The lines of README.md between which the table of a profile, or of ``bar``, stands."""
    sources = {"bar": PROFILES, "plans": ("*",)}.get(name, (name,))
    source = " and ".join(f"results/{profile}" for profile in sources)
    return (
        f"<!-- {name}: made by `python -m prefill_router.report.readme` from {source} -->",
        f"<!-- {name} ends -->",
    )


def fill_readme(text: str, name: str, table: str) -> str:
    """Put the table of a profile (or of ``bar``) between its two marks of a README.

    Raises
    ------
    ValueError
        A mark is missing.
    """
    start, end = marks(name)
    if start not in text or end not in text:
        raise ValueError(f"README.md needs the marks {start!r} and {end!r}")
    return (
        text[: text.index(start) + len(start)]
        + f"\n\n{table.strip()}\n\n"
        + text[text.index(end) :]
    )


def tables(results: Path) -> dict[str, str]:
    """What stands between the marks of README.md: name of the marks -> Markdown, for the profiles
    that have results.
    """
    found, bars = {}, []
    for profile in PROFILES:
        if not (results / profile / "metrics.csv").is_file():
            continue
        metrics = pd.read_csv(results / profile / "metrics.csv")
        found[profile] = headline_table(metrics, SHORT)
        if (results / profile / "paired.csv").is_file():
            bars.append(
                f"Profile `{profile}`:\n\n"
                + bar_table(metrics, pd.read_csv(results / profile / "paired.csv"))
            )
    if (results / FAMILIES / "families.csv").is_file():
        held_out = (
            pd.read_csv(results / FAMILIES / f"{name}.csv") for name in ("families", "metrics")
        )
        found[FAMILIES] = families_table(*held_out)
    if any((results / "benchmarks").glob("*.json")):
        found["benchmarks"] = benchmark_table(results / "benchmarks")
    if bars:
        found["bar"] = "\n\n".join([*bars, BAR_NOTE])
    if planned := [
        _plans(results / profile) for profile in PLANNED if _has_plans(results, profile)
    ]:
        found["plans"] = "\n\n".join([*planned, PLAN_NOTE])
    return found


def main(root: Path | None = None) -> int:
    """Write the tables of the committed results into README.md; a table without marks there is
    said, and left out.
    """
    from prefill_router.files import project_root

    root = root or project_root()
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, table in tables(root / "results").items():
        try:
            text = fill_readme(text, name, table)
            print(f"{name}: written")
        except ValueError as error:
            print(f"{name}: left out, {error}")
    readme.write_text(text, encoding="utf-8")
    if (path := write_forest(root, PLANNED)) is not None:
        print(f"{path.name}: drawn")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
