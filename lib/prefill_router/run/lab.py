"""JupyterLab on a working copy of the notebooks: `make lab`.

The copy lies in ``build/lab/notebooks``, so that saving edits nothing that is tracked. Beside it
are links to the folders of the project, and relative links of a notebook hold in both places.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat

from prefill_router.files import file_hash, project_root, replacing
from prefill_router.run.kernel import NotebookFailed, execute, kernel_environment
from prefill_router.run.stamps import content_hash, notebook_hash

INDEX = "index.ipynb"
LINKED = ("README.md", "config", "data", "docs", "figures", "lib", "results")
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},
}
"""Defaults of JupyterLab's settings here: no news, dark where the desktop is dark."""


def with_folded_setup(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook whose set-up is folded: the code cells between the one tagged `parameters` and the
    first text after it.
    """
    after_parameters = False
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            after_parameters = True
        elif after_parameters and cell.cell_type != "code":
            break
        elif after_parameters:
            cell.metadata.setdefault("jupyter", {})["source_hidden"] = True
    return notebook


def copy_notebooks(source: Path, target: Path) -> list[str]:
    """Bring a working copy of the notebooks up to date.

    A copy whose cells are as they were copied, whatever their outputs, follows its source. One that
    was edited stays; if its source has changed too, it is kept beside the new one.

    Parameters
    ----------
    source, target : folder
        ``target`` is made if it is not there; ``.copied.json`` in it says what was copied.

    Returns
    -------
    list of str
        What the user has to know of it.
    """
    target.mkdir(parents=True, exist_ok=True)
    record = target / ".copied.json"
    copied: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    sources = {path.name: path for path in sorted(source.glob("*.ipynb"))}
    said = []
    for name, path in sources.items():
        notebook, copy = nbformat.read(path, as_version=4), target / name
        new, mine, last = notebook_hash(notebook), _hash_of(copy), copied.get(name)
        copied[name] = new
        if mine == new or (mine not in (None, last) and last == new):
            said += [f"{name}: your edits are kept"] if mine != new else []
            continue
        if mine not in (None, last):
            kept = _free_name(copy)
            copy.rename(kept)
            said.append(f"{name} has changed; yours is kept as {kept.name}")
        with replacing(copy) as temporary:
            nbformat.write(with_folded_setup(notebook), temporary)
    for name in sorted(set(copied) - set(sources)):
        if _hash_of(target / name) == copied.pop(name):
            (target / name).unlink()
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(copied, indent=1) + "\n", encoding="utf-8")
    return said


def _hash_of(path: Path) -> str | None:
    """Hash of a notebook's cells; None if it is not there, "" if it cannot be read."""
    if not path.is_file():
        return None
    try:
        return notebook_hash(nbformat.read(path, as_version=4))
    except (ValueError, KeyError, AttributeError):  # nbformat raises what it stumbles over
        return ""


def _free_name(copy: Path) -> Path:
    names = (copy.with_name(f"{copy.stem}.yours{n}.ipynb") for n in ("", *range(2, 1000)))
    return next(name for name in names if not name.exists())


def link_folders(root: Path, lab: Path) -> None:
    """Links in ``lab`` to what notebooks speak of; what is there already is left."""
    lab.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if (root / name).exists() and not (lab / name).is_symlink() and not (lab / name).exists():
            (lab / name).symlink_to(os.path.relpath(root / name, lab))


def show_index(source: Path, target: Path, results: Path, kernel: Path) -> str:
    """Run the index into its copy, so that it opens with its tables. An edited copy stays, and one
    that shows these results already.

    Returns
    -------
    str
        What went wrong, or "".
    """
    notebook = nbformat.read(source, as_version=4)
    tables = sorted([*results.glob("*/pools.csv"), *results.glob("*/decisions.csv")])
    shown = content_hash([notebook_hash(notebook), *map(file_hash, tables)])
    mark = kernel / "index.shown"
    edited = _hash_of(target) != notebook_hash(notebook)
    if edited or (mark.is_file() and mark.read_text(encoding="utf-8") == shown):
        return ""
    mark.unlink(missing_ok=True)
    try:
        with kernel_environment(kernel):
            execute(source, target, {})
    except NotebookFailed as failure:
        nbformat.write(notebook, target)
        return f"{source.name} opens without its tables:\n{failure}"
    mark.write_text(shown, encoding="utf-8")
    return ""


def lab_environment(lab: Path, environment: dict[str, str]) -> dict[str, str]:
    """Environment of JupyterLab with `OVERRIDES` and a layout of its own; both lie in ``lab``, and
    the user's home is not touched.
    """
    settings = lab / ".jupyter" / "labconfig" / "default_setting_overrides.json"
    with replacing(settings) as temporary:
        temporary.write_text(json.dumps(OVERRIDES, indent=1) + "\n", encoding="utf-8")
    earlier = environment.get("JUPYTER_CONFIG_PATH")
    folders = [str(lab / ".jupyter"), *([earlier] if earlier else [])]
    return environment | {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(folders),
        "JUPYTERLAB_WORKSPACES_DIR": str(lab / ".jupyter" / "workspaces"),
        # the kernel `python3` is that of this Python, also where the home holds another
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def lab_command(root: Path, lab: Path, more: Iterable[str] = ()) -> list[str]:
    """JupyterLab over the project, opened on the index in ``lab``; ``more`` are arguments of
    JupyterLab.

    It serves no file outside its root folder, also through a link: so the project is its root.
    """
    folder = lab.relative_to(root).as_posix()
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"]
    command.append(f"--LabApp.default_url=/lab/tree/{folder}/notebooks/{INDEX}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return [*command, *more]


def prepared(root: Path, lab: Path) -> list[str]:
    """Make the working copy ready; what the user has to know of it."""
    link_folders(root, lab)
    said = copy_notebooks(root / "notebooks", lab / "notebooks")
    source, copy = (folder / "notebooks" / INDEX for folder in (root, lab))
    failed = show_index(source, copy, root / "results", lab / ".jupyter" / "kernel")
    return [*said, *([failed] if failed else [])]


def main(arguments: list[str] | None = None) -> None:
    """Prepare the working copy and become JupyterLab."""
    root = project_root()
    lab = root / "build" / "lab"
    for line in prepared(root, lab):
        print(line)
    print(f"The notebooks are copies in {lab / 'notebooks'}; edit them as you like.", flush=True)
    command = lab_command(root, lab, sys.argv[1:] if arguments is None else arguments)
    os.execvpe(command[0], command, lab_environment(lab, dict(os.environ)))


if __name__ == "__main__":
    main()
