"""What a run says about itself as it ends: whether what was published came out again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.run.publish import Comparison, Published

SHOWN = 12  # lines of a list; the rest is counted


def outcome(comparison: Comparison, headline: float | None) -> str:
    """The sentence that a run ends in.

    Parameters
    ----------
    headline : the largest difference between a headline number and the published one; None where
        there are none to compare.
    """
    if comparison.report.empty:
        return "Nothing was published before, so there is nothing to compare."
    total, changed = len(comparison.conclusions), len(comparison.changed)
    parts = []
    if total:
        parts.append(f"{total - changed:,} of {total:,} conclusions")
    if headline is not None:
        parts.append(
            "headline numbers equal" if headline == 0 else f"headline numbers within {headline:.1g}"
        )
    parts.append(_largest(comparison.report))
    verdict = "reproduced" if comparison.reproduced else "not reproduced"
    return f"{verdict}: {', '.join(parts)}"


def _largest(report: pd.DataFrame) -> str:
    """The number that differs most, for what it is allowed."""
    numbers = report[np.isfinite(report["deviation"]) & (report["column"] != "")]
    if numbers.empty or not (numbers["deviation"] > 0).any():
        return "no number differs"
    share = numbers["deviation"] / numbers["allowed"].where(numbers["allowed"] > 0, 1e-300)
    row = numbers.loc[share.idxmax()]
    return f"largest difference {row['deviation']:.2g} ({row['allowed']:.2g} allowed: {_at(row)})"


def _at(row: pd.Series) -> str:
    return f"{row['column']} in {row['file']}" + (f", {row['row']}" if row["row"] else "")


def details(done: Published, inputs: list[str]) -> Iterator[str]:
    """Line by line what was replaced and why; nothing where all of it agrees.

    Parameters
    ----------
    inputs : what shaped the run otherwise than the published tables.
    """
    comparison = done.comparison
    if comparison is not None:
        changed = comparison.changed
        lines = [
            f"  {c.file}: {c.row}: {c.committed} 0 before, now {c.new}".replace(
                "neither 0", "neither side of 0"
            )
            for c in changed.itertuples()
        ]
        yield from _some("Conclusions that did not come out again:", lines)
        worst = comparison.problems.sort_values("deviation", ascending=False, kind="stable")
        worst = worst.sort_values("file", kind="stable").groupby("file", sort=False).head(1)
        yield from _some(
            "Out of tolerance, the worst of each file:", list(map(_worst, _rows(worst)))
        )
        if not comparison.reproduced and inputs:
            yield f"Differs from the run that was published: {', '.join(inputs)}."
    for what, names in (("Replaced", done.replaced), ("Written for the first time", done.new)):
        if names:
            yield f"{what}: {_listed(names)}"
    if done.replaced:
        yield "`git diff` shows what changed; `git checkout results figures` takes it back."
    if done.other_picture:
        yield (
            f"Drawn otherwise though all tables agree, and left as they are:"
            f" {_listed(done.other_picture)}; `make accept` writes them."
        )


def _rows(table: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in table.iterrows()]


def _worst(row: pd.Series) -> str:
    if not np.isfinite(row["deviation"]) or row["committed"] is None:
        return f"  {row['file']}: {row['problem']}" + (f" ({row['row']})" if row["row"] else "")
    return (
        f"  {_at(row)}: {row['committed']:.6g} before, now {row['new']:.6g}"
        f" (differs by {row['deviation']:.2g}, {row['allowed']:.2g} allowed; {row['problem']})"
    )


def _some(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from lines[:SHOWN]
        if len(lines) > SHOWN:
            yield f"  and {len(lines) - SHOWN} more"


def _listed(names: list[str]) -> str:
    shown = [Path(name).as_posix() for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
