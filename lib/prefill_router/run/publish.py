"""What a run computed, compared with what is published, and published where it differs.

A run computes into the build folder. A published table that agrees with it stays byte for byte, so
that the working tree stays clean; one that does not agree is replaced and named.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prefill_router.files import replacing
from prefill_router.run.compare import (
    NOT_COMPARED,
    REPORT_COLUMNS,
    TABLES,
    compare_files,
    read_result,
    result_files,
)
from prefill_router.run.conclusions import compare_conclusions
from prefill_router.run.manifest import what_differs, write_figure_manifest, write_manifest
from prefill_router.run.notebooks import Ran
from prefill_router.run.workspace import Workspace

# Two pictures look the same if at most this share of their pixels differs by more than this much
# of white: another processor moves a line by less than a pixel.
PIXELS, CONTRAST = 0.002, 0.25


@dataclass(frozen=True)
class Comparison:
    """A run beside what was published before it.

    Attributes
    ----------
    report : DataFrame with `compare.REPORT_COLUMNS`; a row with a `problem` is out of tolerance.
    conclusions : DataFrame[file, row, column, committed, new], see `compare_conclusions`.
    """

    report: pd.DataFrame
    conclusions: pd.DataFrame

    @property
    def problems(self) -> pd.DataFrame:
        """The rows of the report that are out of tolerance."""
        return self.report[self.report["problem"] != ""]

    @property
    def changed(self) -> pd.DataFrame:
        """The conclusions that did not come out again."""
        return self.conclusions[self.conclusions["committed"] != self.conclusions["new"]]

    @property
    def reproduced(self) -> bool:
        """Whether all conclusions hold and all numbers are within their tolerances."""
        return self.problems.empty and self.changed.empty


def compare_run(
    published: Path, run: Path, names: Sequence[str], rules: Mapping[str, Any]
) -> Comparison:
    """Compare the files of a run with those of the same name that are published.

    Parameters
    ----------
    published, run : two folders of results.
    names : the files of the run; one that is not published is no difference.
    rules : the profile's `verify`.
    """
    rows: list[dict[str, Any]] = []
    said = [pd.DataFrame(columns=["file", "row", "column", "committed", "new"])]
    for name in names:
        before, now = published / name, run / name
        if now.suffix not in TABLES or not before.is_file():
            continue
        rows += compare_files(before, now, name, rules)
        if now.suffix == ".csv" and not rows[-1]["problem"].startswith("unreadable"):
            found = compare_conclusions(read_result(before), read_result(now))
            said.append(found.assign(file=name))
    known = [table for table in said if len(table)] or said
    return Comparison(
        pd.DataFrame(rows, columns=REPORT_COLUMNS), pd.concat(known, ignore_index=True)
    )


@dataclass(frozen=True)
class Published:
    """What `publish` did.

    Attributes
    ----------
    comparison : with what was published before; None for a profile that states no tolerances.
    new, replaced : names of files (``results/…``, ``figures/…``) that were written.
    other_picture : figures that look different though all tables agree; they were left.
    """

    comparison: Comparison | None
    new: list[str]
    replaced: list[str]
    other_picture: list[str]


def publish(
    workspace: Workspace, ran: Ran, accept: bool = False, say: Callable[[str], None] = print
) -> Published:
    """Write the files of a run where they do not agree with the published ones, or all of them.

    No file is ever deleted: what a run of all notebooks does not write any more is named.

    Parameters
    ----------
    accept : write everything; also done for a profile without tolerances, such as that of a table
        of one's own, which has nothing to be compared with.
    """
    places = {
        "results": (workspace.results, workspace.published_results),
        "figures": (workspace.figures, workspace.published_figures),
    }
    names = {kind: ran.outputs(kind) for kind in places}
    rules = workspace.profile.verify
    comparison = (
        compare_run(workspace.published_results, workspace.results, names["results"], rules)
        if rules
        else None
    )
    accept = accept or comparison is None
    bad = set() if comparison is None else set(comparison.problems["file"])
    found: dict[str, list[str]] = {fate: [] for fate in ("new", "replaced", "stays", "redrawn")}
    for kind, (run, published) in places.items():
        for name in names[kind]:
            before, now = published / name, run / name
            fate = _fate(before, now, accept, name if kind == "results" else None, bad)
            found[fate].append(f"{kind}/{name}")
    # after all are judged: an SVG is judged by the published PNG beside it
    for full in found["new"] + found["replaced"]:
        kind, name = full.split("/", 1)
        run, published = places[kind]
        _copy(run / name, published / name)
    _manifests(workspace, ran, accept, found["new"] + found["replaced"], say)
    if ran.complete:
        _name_strays(places, names, say)
    return Published(comparison, found["new"], found["replaced"], found["redrawn"])


def _fate(before: Path, now: Path, accept: bool, result: str | None, bad: set[str]) -> str:
    """What becomes of a published file: it is new, replaced, stays, or stays though redrawn.

    Parameters
    ----------
    result : the name of a table or text; None for a figure.
    bad : the tables that do not agree. Texts and figures follow the tables of their run.
    """
    if not before.is_file():
        return "new"
    if before.read_bytes() == now.read_bytes():
        return "stays"
    if accept or result in bad:
        return "replaced"
    if result is not None:
        return "replaced" if bad and now.suffix not in TABLES else "stays"
    if looks_the_same(before, now):
        return "stays"
    return "replaced" if bad else "redrawn"


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def looks_the_same(before: Path, now: Path) -> bool:
    """Whether two figures look the same; an SVG is judged by the PNG beside it."""
    pictures = [path.with_suffix(".png") for path in (before, now)]
    if not all(path.is_file() for path in pictures):
        return False
    a, b = (np.asarray(Image.open(path).convert("RGB"), dtype=np.int16) for path in pictures)
    if a.shape != b.shape:
        return False
    return float((np.abs(a - b).max(axis=2) > 255 * CONTRAST).mean()) <= PIXELS


def _manifests(
    workspace: Workspace, ran: Ran, accept: bool, written: list[str], say: Callable[[str], None]
) -> None:
    """Bring the manifests up to date with what was written; untouched where nothing was."""
    for kind, folder, write in (
        ("results", workspace.published_results, write_manifest),
        ("figures", workspace.published_figures, write_figure_manifest),
    ):
        touched = accept or any(name.startswith(kind) for name in written)
        if touched or (ran.outputs(kind) and not (folder / "manifest.json").is_file()):
            if ran.complete:
                write(workspace, ran.inputs)
            else:
                say(f"{kind}: manifest.json is not rewritten: some notebooks are not up to date.")


def _name_strays(
    places: Mapping[str, tuple[Path, Path]],
    names: Mapping[str, Sequence[str]],
    say: Callable[[str], None],
) -> None:
    strays = [
        f"{kind}/{name}"
        for kind, (_, published) in places.items()
        for name in result_files(published)
        if name not in names[kind] and name not in NOT_COMPARED
    ]
    if strays:
        say(f"Note: no notebook writes {', '.join(strays)} any more; delete or keep them yourself.")


def differing_inputs(workspace: Workspace, ran: Ran) -> list[str]:
    """What shaped a run otherwise than the published tables; to be asked before `publish`."""
    manifest = workspace.published_results / "manifest.json"
    return what_differs(manifest, ran.inputs, workspace.profile.as_dict())
