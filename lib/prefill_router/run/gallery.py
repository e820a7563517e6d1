"""The gallery: all figures and rendered notebooks as pages that open from disk, without network.

    python -m prefill_router.run.gallery

Everything the pages need lies in ``build/html``; nothing in them is fetched, and whatever prompts
contain is shown as text.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from prefill_router.files import project_root, replacing
from prefill_router.report.captions import caption
from prefill_router.report.pages import page_templates
from prefill_router.report.verdict import verdicts
from prefill_router.run.arguments import FOLDERS, command_line
from prefill_router.run.gallery_page import GENERATOR, page_style, render
from prefill_router.run.profile import ProfileError
from prefill_router.run.profile_files import load_profile, profile_names


@dataclass(frozen=True)
class Page:
    """A rendered notebook: file name without its end, title, the question that it answers."""

    name: str
    title: str
    question: str


def _page(notebook: nbformat.NotebookNode, name: str) -> Page:
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    title = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    question = re.search(r"\*\*Question\.\*\*\s*(.+)", text)
    return Page(name, title.group(1) if title else name, question.group(1) if question else "")


def _description(label: str, build: Path) -> tuple[str, str]:
    """What a profile is, in its own words, and the command that runs it."""
    name, _, encoder = label.partition("--")
    own = build / "own" / f"{name}.yaml"
    try:
        found = load_profile(str(own) if own.is_file() else name)
    except ProfileError:
        return "", ""
    command = (
        f"make reproduce OUTCOMES={found.outcomes} …"
        if own.is_file()
        else f"make reproduce PROFILE={name}"
    )
    command += f" ENCODER={encoder}" if encoder else ""
    return found.description + (f" Encoder: {encoder}." if encoder else ""), command


def _profiles(results: Path) -> Iterator[str]:
    """Labels of the profiles with results: those of config/ in the order of the README, then one's
    own.
    """
    there = (
        [folder.name for folder in sorted(results.iterdir()) if (folder / "metrics.csv").is_file()]
        if results.is_dir()
        else []
    )
    order = ["local", "local_encoders", "zeroeval", "mmlu_pro"]
    yield from sorted(
        there,
        key=lambda label: (
            order.index(label) if label in order else len(order),
            label.partition("--")[0] not in profile_names(),
            label,
        ),
    )


def _headlines(results: Path) -> list[dict[str, str]]:
    """A sentence per pool, from the tables."""
    if not (results / "pools.csv").is_file() or not (results / "paired.csv").is_file():
        return []
    tables = {name: pd.read_csv(results / f"{name}.csv") for name in ("metrics", "paired", "pools")}
    return [{"pool": found.pool, "text": found.headline} for found in verdicts(tables)]


def build_gallery(build: Path, results: Path, figures: Path, out: Path) -> Path:
    """Write the gallery of all profiles that have results.

    Parameters
    ----------
    build, results, figures : folders with one folder per profile
        Executed notebooks are taken from ``build/<profile>/notebooks``; a profile that was not run
        here has its figures alone.
    out : folder of the pages, made anew.

    Returns
    -------
    Path of ``index.html``

    Raises
    ------
    FileNotFoundError
        No profile has results.
    FileExistsError
        ``out`` holds something else.
    """
    labels = list(_profiles(results))
    if not labels:
        raise FileNotFoundError(f"no profile has results in {results}: run `make reproduce` first")
    if out.exists() and any(out.iterdir()):
        index = out / "index.html"
        if not (index.is_file() and GENERATOR in index.read_text(encoding="utf-8")):
            raise FileExistsError(
                f"{out} holds other things than a gallery: name another folder with --out"
            )
    # made aside and put in place at the end: whatever interrupts it, the old pages stay
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _fill(labels, build, results, figures, fresh)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out / "index.html"


def _fill(labels: Sequence[str], build: Path, results: Path, figures: Path, out: Path) -> None:
    sections = []
    for label in [*labels, "benchmarks"]:
        drawn = _copy_figures(figures / label, label, out)
        description, command = _description(label, build)
        if label == "benchmarks":
            description, command = (
                "Every expensive step beside the published recipe, measured in the same run.",
                "make bench",
            )
            if not drawn:
                continue
        pages = _write_notebooks(build / label / "notebooks", label, out)
        report = results / label / "report.html"
        if report.is_file():
            (out / "reports").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(report, out / "reports" / f"{label}.html")
        sections.append(
            {
                "label": label,
                "description": description,
                "command": command,
                "headlines": _headlines(results / label),
                "figures": drawn,
                "pages": pages,
                "report": report.is_file(),
            }
        )
        print(f"{label}: {len(drawn)} figures, {len(pages)} notebooks", flush=True)
    _write(
        out / "index.html",
        page_templates()
        .get_template("index.html.j2")
        .render(
            title="Routing by prefill activations: figures and notebooks",
            sections=sections,
            root="",
            style=page_style(),
        ),
    )


def _copy_figures(folder: Path, label: str, out: Path) -> list[dict[str, Any]]:
    """Copy the figures of a profile; what the index says of each."""
    drawn = []
    for source in sorted(folder.glob("*.png")):
        target = out / "figures" / label
        target.mkdir(parents=True, exist_ok=True)
        for file in (source, source.with_suffix(".svg")):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
        drawn.append(
            {
                "name": source.stem,
                "caption": caption(source.stem),
                "folder": f"figures/{label}",
                "svg": source.with_suffix(".svg").is_file(),
            }
        )
    return drawn


def _write_notebooks(folder: Path, label: str, out: Path) -> list[Page]:
    """Write a page for every executed notebook of a profile, each with links to its neighbours."""
    pages = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        if path.name.endswith(".failed.ipynb"):
            continue
        notebook = nbformat.read(path, as_version=4)
        pages.append((_page(notebook, path.stem), render(notebook, path.stem)))
    template = page_templates().get_template("notebook.html.j2")
    for at, (page, body) in enumerate(pages):
        before, after = (pages[i][0] if 0 <= i < len(pages) else None for i in (at - 1, at + 1))
        _write(
            out / "notebooks" / label / f"{page.name}.html",
            template.render(
                title=f"{page.title} ({label})",
                page=page,
                label=label,
                body=body,
                before=before,
                after=after,
                root="../../",
                style=page_style(),
            ),
        )
    return [page for page, _ in pages]


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 if there is nothing to show."""
    parser = command_line("gallery", "Write all figures and rendered notebooks as HTML.", *FOLDERS)
    root = project_root()
    parser.set_defaults(
        build_dir=root / "build", results_dir=root / "results", figures_dir=root / "figures"
    )
    parser.add_argument(
        "--out", type=Path, help="where the pages go (default: html in the build folder)"
    )
    arguments = parser.parse_args(argv)
    try:
        index = build_gallery(
            arguments.build_dir,
            arguments.results_dir,
            arguments.figures_dir,
            arguments.out or arguments.build_dir / "html",
        )
    except (FileNotFoundError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Open {index} in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
