"""The article as pages that open from disk, without network, and from any static host.

    python -m prefill_router.run.site

Sphinx with MyST-NB and Furo writes them into ``build/site``. Whatever they need lies there; nothing
in them is fetched, and whatever prompts contain is shown as text.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import vl_convert

from prefill_router.files import project_root
from prefill_router.report.site.article import About, Notebook, article, profile_page, profiles_in
from prefill_router.report.site.mirror import FILES, all_pages
from prefill_router.report.site.notebooks import shown, title_and_question
from prefill_router.run.arguments import FOLDERS, command_line
from prefill_router.run.profile import ProfileError
from prefill_router.run.profile_files import load_profile

DATA = (".csv", ".parquet", ".json")
MARK = ".buildinfo"  # Sphinx leaves it in every folder of pages that it wrote


@dataclass(frozen=True)
class Folders:
    """Where the article comes from: the project, and its runs, results and figures."""

    root: Path
    build: Path
    results: Path
    figures: Path


def build_site(folders: Folders, out: Path, labels: Sequence[str] | None = None) -> Path:
    """Write the article.

    Parameters
    ----------
    folders : executed notebooks are taken from ``build/<profile>/notebooks``; of a profile that was
        not run here the sources are linked.
    out : folder of the pages, made anew
    labels : the profiles to show; all that have results by default

    Returns
    -------
    Path of ``index.html``

    Raises
    ------
    FileNotFoundError
        No profile has results.
    FileExistsError
        ``out`` holds something else.
    RuntimeError
        Sphinx failed; the message is its own.
    """
    labels = profiles_in(folders.results) if labels is None else list(labels)
    if not labels:
        raise FileNotFoundError(
            f"no profile has results in {folders.results}: run `make reproduce` first"
        )
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise FileExistsError(f"{out} holds other things than pages: name another with --out")
    # made aside and put in place at the end: whatever interrupts it, the old pages stay
    # (and MyST-NB writes beside the pages, too)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    source, fresh = aside / "in", aside / "out"
    try:
        _write_sources(folders, labels, source)
        _sphinx(source, fresh)
        shutil.rmtree(fresh / ".doctrees", ignore_errors=True)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out / "index.html"


def _sphinx(source: Path, out: Path) -> None:
    """Run Sphinx in a process of its own: it keeps state between two runs in one."""
    options = ["-q", "-b", "html", "-d", str(out / ".doctrees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    if done.returncode:
        raise RuntimeError(f"Sphinx failed:\n{done.stdout}{done.stderr}")
    if warnings := done.stderr.replace(f"{source}{os.sep}", "").strip():
        print(warnings, file=sys.stderr)


def _write_sources(folders: Folders, labels: Sequence[str], source: Path) -> None:
    """What Sphinx reads: Markdown, executed notebooks, figures, and in ``_extra`` what is copied as
    it is.
    """
    shutil.copytree(folders.root / "site" / "static", source / "_static")
    shutil.copyfile(folders.root / "site" / "conf.py", source / "conf.py")
    # in a scope of its own: its names would meet those of other scripts
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    (source / "_static" / "vega.js").write_text(f"(() => {{{bundle}}})();", encoding="utf-8")
    for path in folders.figures.rglob("*"):
        if path.suffix in (".svg", ".png") and path.parent.name in (
            *labels,
            "benchmarks",
            folders.figures.name,
        ):
            _copy(path, source / "figures" / path.relative_to(folders.figures))
    docs = _write_docs(folders.root, labels, source)
    sources = _sources(folders.root, source / "_extra")
    for label in labels:
        about = _about(folders, label, source, sources)
        page = profile_page(folders.results, folders.figures, label, about)
        _write(source / "profiles" / f"{label}.md", page)
        print(f"{label}: {len(about.executed)} executed notebooks", flush=True)
    first = article(folders.results, folders.figures, labels, docs)
    _write(source / "index.md", first)


def _write_docs(root: Path, labels: Sequence[str], source: Path) -> list[str]:
    """README.md, the documents and what they link to; the pages' names."""
    first = ["README.md", *(f"docs/{path.name}" for path in sorted((root / "docs").glob("*.md")))]
    instead = {f"results/{label}/report.md": f"profiles/{label}.md" for label in labels}
    pages = all_pages(root, [page for page in first if (root / page).is_file()], instead)
    for name, page in pages.items():
        _write(source / name, page.text)
        for image in page.images:
            _copy(root / image, source / image)
        for file in page.files:
            _copy(root / file, source / "_extra" / FILES / file)
    return [name.removesuffix(".md") for name in pages]


def _sources(root: Path, extra: Path) -> list[Notebook]:
    """The notebooks without outputs, as files to load down."""
    found = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        _copy(path, extra / FILES / "notebooks" / path.name)
        title, question = title_and_question(nbformat.read(path, as_version=4), path.stem)
        found.append(Notebook(title, question, f"{FILES}/notebooks/{path.name}"))
    return found


def _about(folders: Folders, label: str, source: Path, sources: list[Notebook]) -> About:
    """What a profile's page says beside its tables; its data and notebooks are put in place."""
    description, command = _description(label, folders.build)
    data = sorted(p for p in (folders.results / label).iterdir() if p.suffix in DATA)
    for path in data:
        _copy(path, source / "_extra" / "data" / label / path.name)
    executed = []
    for path in sorted((folders.build / label / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if path.name.endswith(".failed.ipynb"):
            continue
        notebook = nbformat.read(path, as_version=4)
        target = source / "notebooks" / label / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(shown(notebook, path.stem), target)
        title, question = title_and_question(notebook, path.stem)
        executed.append(Notebook(title, question, f"notebooks/{label}/{path.name}"))
    return About(description, command, executed, sources, [path.name for path in data])


def _description(label: str, build: Path) -> tuple[str, str]:
    """What a profile is, in its own words, and the command that runs it."""
    name, _, encoder = label.partition("--")
    own = build / "own" / f"{name}.yaml"
    try:
        found = load_profile(str(own) if own.is_file() else name)
    except ProfileError:
        return "", ""
    command = f"PROFILE={name}" if not own.is_file() else f"OUTCOMES={found.outcomes} …"
    return found.description, f"make reproduce {command}" + (
        f" ENCODER={encoder}" if encoder else ""
    )


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 if there is nothing to show or Sphinx failed."""
    parser = command_line("site", "Write the article as pages.", *FOLDERS)
    root = project_root()
    parser.set_defaults(
        build_dir=root / "build", results_dir=root / "results", figures_dir=root / "figures"
    )
    parser.add_argument(
        "--out", type=Path, help="where the pages go (default: site in the build folder)"
    )
    given = parser.parse_args(argv)
    folders = Folders(root, given.build_dir, given.results_dir, given.figures_dir)
    try:
        index = build_site(folders, given.out or given.build_dir / "site")
    except (FileNotFoundError, FileExistsError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Open {index} in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
