"""The notebooks of a profile in order, those alone whose inputs changed."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefill_router.files import project_root, replacing
from prefill_router.run.kernel import NotebookFailed, execute, kernel_environment
from prefill_router.run.progress import ahead, expected_seconds, keep_time, read_times
from prefill_router.run.stamps import (
    content_hash,
    file_states,
    input_hashes,
    library_hashes,
    new_stamp,
    notebook_hash,
    output_fingerprint,
    read_stamp,
)
from prefill_router.run.workspace import Workspace

if TYPE_CHECKING:
    import nbformat

Stamp = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """What a call of `run` leaves behind.

    Attributes
    ----------
    executed : names of the notebooks that ran.
    stamps : stamps of those that are up to date, by name.
    inputs : hashes of what shaped them, for the manifests.
    complete : whether all of the profile's notebooks are up to date.
    """

    executed: list[str]
    stamps: dict[str, Stamp]
    inputs: dict[str, Any]
    complete: bool

    def outputs(self, kind: str) -> list[str]:
        """Names of the files in a folder of the run, "results" or "figures"."""
        return sorted(
            name.removeprefix(f"{kind}/")
            for stamp in self.stamps.values()
            for name in stamp["outputs"]
            if name.startswith(f"{kind}/")
        )


class NotebookError(ValueError):
    """A refused notebook: not just one tagged cell, or a parameter that it does not take."""


def check_parameters(notebook: nbformat.NotebookNode, name: str, given: Iterable[str]) -> None:
    """Refuse what papermill only warns about.

    Raises
    ------
    NotebookError
        Not exactly one cell is tagged `parameters`, or `given` holds a name that this cell does not
        assign.
    """
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        raise NotebookError(
            f"{name}: expected exactly one code cell tagged `parameters`, found {len(tagged)}; "
            "tag the first code cell (JupyterLab: property inspector, cell tags)."
        )
    assigned: set[str] = set()
    for statement in ast.parse(tagged[0].source).body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        assigned |= {target.id for target in targets if isinstance(target, ast.Name)}
    unknown = sorted(set(given) - assigned)
    if unknown:
        raise NotebookError(
            f"{name}: its `parameters` cell does not assign {', '.join(unknown)}; "
            f"it takes {', '.join(sorted(assigned)) or 'nothing'}."
        )


def find_notebooks(folder: Path) -> list[Path]:
    """The numbered notebooks, in order.

    Raises
    ------
    NotebookError
        There is none.
    """
    found = sorted(path for path in folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise NotebookError(f"no notebook named NN_*.ipynb in {folder}.")
    return found


def not_for(notebook: nbformat.NotebookNode, workspace: Workspace) -> str:
    """Why a notebook does not apply to a profile, or "" if it does.

    A notebook says what it needs in its metadata: ``prefill_router: {needs: FILE}``, a file of the
    outcomes folder, ``{method: NAME}``, a method of the profile, or ``{split: NAME}``, its split.
    """
    wants = notebook["metadata"].get("prefill_router", {})
    if "needs" in wants and not (workspace.outcomes_folder / wants["needs"]).is_file():
        return f"these outcomes have no {wants['needs']}"
    if "method" in wants and wants["method"] not in workspace.profile.methods:
        return f"the profile does not train '{wants['method']}'"
    if wants.get("split", workspace.profile.split) != workspace.profile.split:
        return f"the profile's split is {workspace.profile.split}"
    return ""


def run(
    workspace: Workspace,
    parameters: dict[str, Any],
    notebooks_dir: Path | None = None,
    only: Sequence[str] | None = None,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Ran:
    """Bring the notebooks of a profile up to date.

    Parameters
    ----------
    workspace : from `open_workspace`, with the same arguments as `parameters`.
    parameters : what is injected into the cell tagged `parameters`.
    only : numbers of the notebooks to look at ("01"); None for all.
    force : run them even when nothing changed.

    Raises
    ------
    NotebookError
        Before anything runs: a notebook that is refused, or a number in `only` that does not exist.
    NotebookFailed
        A notebook raised; it has no stamp, those before it keep theirs.
    """
    paths = find_notebooks(notebooks_dir or project_root() / "notebooks")
    wanted = _wanted(paths, only)
    sources = _sources(paths, parameters)
    for path in paths:
        if reason := not_for(sources[path], workspace):
            say(f"{path.stem} is left out: {reason}")
            del sources[path]
    shared = input_hashes(workspace)
    library = library_hashes({path.stem: notebook for path, notebook in sources.items()})
    hashes = {path.stem: notebook_hash(notebook) for path, notebook in sources.items()}
    times = read_times(workspace.build / "times.json")
    last = {name: found["seconds"] for name, found in times.items()}
    upstream: list[list[str]] = []
    executed: dict[str, float] = {}
    stamps: dict[str, Stamp] = {}
    for number, path in enumerate(sources, start=1):
        stamp_path = workspace.build / "stamps" / f"{path.stem}.json"
        key = content_hash([shared, library[path.stem], hashes[path.stem], upstream])
        stamp = read_stamp(stamp_path)
        fresh = _is_fresh(workspace, path, stamp, key)
        place = f"[{number}/{len(sources)}] {path.stem:<32}"
        if path.name[:2] in wanted and (force or not fresh):
            # what follows a notebook that runs is run again, too
            rest = [p.stem for p in list(sources)[number:] if p.name[:2] in wanted]
            expected = expected_seconds([path.stem, *rest], last, executed)
            say(f"{place} {ahead(path.stem, rest, expected)}")
            stamp_path.unlink(missing_ok=True)
            stamp = _execute(workspace, path, parameters, (key, stamp), place, say)
            with replacing(stamp_path) as temporary:
                temporary.write_text(json.dumps(stamp, indent=1, sort_keys=True), encoding="utf-8")
            executed[path.stem] = stamp["seconds"]
            fresh = True
            say(f"{place} {stamp['seconds']:7.1f} s  {stamp['peak_mb']:6.0f} MB")
        elif path.name[:2] in wanted:
            say(f"{place} unchanged")
        # A notebook that did not run yet counts as such, so that those after it run again once it
        # has.
        state = "not run"
        if stamp is not None and fresh:
            stamps[path.stem] = stamp
            state = content_hash([stamp["key"], stamp["outputs"]])
        upstream.append([path.stem, state])
    inputs = shared | {"library": library["all"], "notebooks": hashes}
    return Ran(list(executed), stamps, inputs, len(stamps) == len(sources))


def _sources(paths: Sequence[Path], parameters: Iterable[str]) -> dict[Path, nbformat.NotebookNode]:
    """The notebooks in order; refused if one does not take the parameters."""
    import nbformat  # three seconds: its checks of addresses build a grammar

    sources = {path: nbformat.read(path, as_version=4) for path in paths}
    for path, notebook in sources.items():
        check_parameters(notebook, path.name, parameters)
    return sources


def _wanted(paths: Sequence[Path], only: Sequence[str] | None) -> set[str]:
    """Numbers of the notebooks to look at."""
    numbers = {path.name[:2] for path in paths}
    wanted = set(only) if only else numbers
    if missing := sorted(wanted - numbers):
        raise NotebookError(
            f"no notebook has the number {', '.join(missing)}; there are "
            f"{', '.join(path.name for path in paths)}."
        )
    return wanted


def _is_fresh(workspace: Workspace, path: Path, stamp: Stamp | None, key: str) -> bool:
    """Whether nothing that shaped a notebook, and nothing that it wrote, has changed."""
    return (
        stamp is not None
        and stamp["key"] == key
        and (workspace.build / "notebooks" / path.name).is_file()
        and all(
            output_fingerprint(workspace, name) == value for name, value in stamp["outputs"].items()
        )
    )


def _execute(
    workspace: Workspace,
    path: Path,
    parameters: dict[str, Any],
    key_and_last: tuple[str, Stamp | None],
    place: str,
    say: Callable[[str], None],
) -> Stamp:
    """Run a notebook; its new stamp, from its key and its stamp of the last time."""
    key, last = key_and_last
    before = file_states(workspace)
    try:
        with kernel_environment(workspace.build / "kernel"):
            seconds, peak = execute(path, workspace.build / "notebooks" / path.name, parameters)
    except NotebookFailed as failure:
        say(f"{place} FAILED")
        raise NotebookFailed(f"{path.name} failed:\n{failure}") from None
    stamp = new_stamp(workspace, key, before, last, seconds, peak)
    keep_time(workspace.build / "times.json", path.stem, stamp["seconds"], stamp["peak_mb"])
    return stamp
