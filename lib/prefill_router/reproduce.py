"""Run the notebooks of a profile in order, and only those whose inputs changed.

    python -m prefill_router.reproduce --profile local

A notebook is skipped when nothing that shaped it changed: its cells, the library, the profile, the
outcomes, the versions of the libraries, what the notebooks before it wrote, and what it wrote
itself. This is kept as one JSON stamp per notebook in `build/<profile>/stamps`; hashes of contents
and no file times, which a clone scrambles.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import psutil

from prefill_router.outcomes import OutcomesError
from prefill_router.profiles import (
    ProfileError,
    Workspace,
    open_workspace,
    project_root,
    replacing,
    write_own_profile,
)

PACKAGES = (
    "torch",
    "transformers",
    "gguf",
    "safetensors",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "seaborn",
)
HEADLINE = ("accuracy", "mean_auc", "gap_closed", "cost_saving_at_best_single", "p_auccc")
# The runner, the comparison, the gallery and the serving side cannot change a number.
NOT_HASHED = ("reproduce.py", "verify.py", "gallery.py", "litellm_strategy.py")


class NotebookError(ValueError):
    """A refused notebook: not just one tagged cell, or a parameter that it does not take."""


class NotebookFailed(RuntimeError):
    """A notebook that raised; the message holds the end of its traceback and where the failing copy
    lies.
    """


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


def _hash(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tree(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Hash of every file below a folder, by its path in it; caches and hidden files aside."""
    return {
        path.relative_to(folder).as_posix(): _file_hash(path)
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute the numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def input_hashes(workspace: Workspace) -> dict[str, Any]:
    """What all notebooks of a profile depend on: profile, outcomes, library, versions."""
    package = Path(__file__).parent
    library = {
        name: digest
        for pattern in ("*.py", "*.mplstyle", "*.json", "*.txt", "*.yaml")
        for name, digest in _tree(package, pattern).items()
        if name not in NOT_HASHED
    }
    profile = workspace.profile.as_dict()
    for key in ("description", "verify"):
        del profile[key]
    prices = project_root() / "config" / "prices.yaml"
    return {
        "profile": profile,
        "outcomes": _tree(workspace.outcomes_folder),
        "library": _hash(library),
        "prices": _file_hash(prices) if prices.is_file() else None,
        "versions": versions(),
    }


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


def _source_hash(notebook: nbformat.NotebookNode) -> str:
    return _hash(
        [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    )


def _state(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    """What identifies a version of each file below the profile's folders: (inode, time, size)."""
    found = {}
    runner_files = {workspace.build / name for name in ("notebooks", "stamps", "kernel")}
    for label, folder in (
        ("build", workspace.build),
        ("results", workspace.results),
        ("figures", workspace.figures),
    ):
        for path in folder.rglob("*"):
            # The runner's own manifests; those in build are of activation stores.
            own = runner_files & set(path.parents) or (
                path.name == "manifest.json" and label != "build"
            )
            if path.is_file() and not own and not path.name.startswith("."):
                status = path.stat()
                found[f"{label}/{path.relative_to(folder).as_posix()}"] = (
                    status.st_ino,
                    status.st_mtime_ns,
                    status.st_size,
                )
    return found


def _output_path(workspace: Workspace, name: str) -> Path:
    label, rest = name.split("/", 1)
    return {"build": workspace.build, "results": workspace.results, "figures": workspace.figures}[
        label
    ] / rest


def _fingerprint(workspace: Workspace, name: str) -> str | int | None:
    """Hash of a table or figure; of the large files in build the size, which costs no reading."""
    path = _output_path(workspace, name)
    if not path.is_file():
        return None
    return path.stat().st_size if name.startswith("build/") else _file_hash(path)


def _read_stamp(path: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return (
        stamp
        if isinstance(stamp, dict) and {"key", "outputs", "seconds", "peak_mb"} <= set(stamp)
        else None
    )


@contextmanager
def _kernel_environment(folder: Path) -> Iterator[None]:
    """Environment in which the kernel `python3` is this Python and library, whatever the home
    holds.
    """
    folder = folder.resolve()
    library = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    changes = {
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PATH": None,
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": os.pathsep.join([library, inherited] if inherited else [library]),
    }
    before = {key: os.environ.get(key) for key in changes}
    for key in ("runtime", "ipython"):
        (folder / key).mkdir(parents=True, exist_ok=True)
    # ipykernel warns at every start that it talks TCP on this machine without encryption: five
    # lines of noise a run.
    settings = folder / "ipython" / "profile_default" / "ipython_kernel_config.py"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("c.IPKernelApp.log_level = 40\n", encoding="utf-8")
    try:
        _set_environment(changes)
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def _resident(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _end(processes: Iterable[psutil.Process]) -> None:
    processes = list(processes)
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    for process in psutil.wait_procs(processes, timeout=3)[1]:
        process.kill()


def execute(source: Path, target: Path, parameters: dict[str, Any]) -> tuple[float, int]:
    """Execute one notebook with papermill and keep the executed copy at `target` only if it ran to
    its end.

    Papermill works in a thread, so that this one can watch the memory of the kernel and its
    children and answer an interrupt at once.

    Returns
    -------
    (seconds, bytes of memory at the peak)

    Raises
    ------
    NotebookFailed
        A cell raised or the kernel died; the failing copy stays beside `target` as
        `*.failed.ipynb`.
    """
    import papermill

    running = target.with_name(f".{target.stem}.running.ipynb")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in (running, failed, target):
        stale.unlink(missing_ok=True)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            papermill.execute_notebook(
                str(source),
                str(running),
                parameters=parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=300,
                cwd=str(source.parent),
            )
        except BaseException as error:  # carried over to the waiting thread
            errors.append(error)

    me = psutil.Process()
    earlier = set(me.children(recursive=True))
    started, peak = time.monotonic(), 0
    thread = threading.Thread(target=work, name=f"papermill {source.name}", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
            peak = max(peak, _resident(set(me.children(recursive=True)) - earlier))
    except BaseException:
        _end(set(me.children(recursive=True)) - earlier)
        thread.join(10)
        running.unlink(missing_ok=True)
        raise
    if errors:
        if running.is_file():
            os.replace(running, failed)
        raise NotebookFailed(_last_lines(errors[0], failed)) from None
    os.replace(running, target)
    return time.monotonic() - started, peak


def _last_lines(error: BaseException, failed: Path) -> str:
    lines = [f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"]
    traceback = "\n".join(getattr(error, "traceback", []) or [])
    tail = re.sub(r"\x1b\[[0-9;]*m", "", traceback).rstrip().splitlines()[-12:]
    where = [f"The notebook up to the failing cell: {failed}"] if failed.is_file() else []
    return "\n".join(
        tail + ([] if tail and tail[-1].startswith(lines[0].split("\n")[0]) else lines) + where
    )


def not_for(notebook: nbformat.NotebookNode, workspace: Workspace) -> str:
    """Why a notebook does not apply to a profile, or "" if it does.

    A notebook says what it needs in its metadata: ``prefill_router: {needs: FILE}``, a file of the
    outcomes folder, or ``{method: NAME}``, a method of the profile.
    """
    wants = notebook["metadata"].get("prefill_router", {})
    if "needs" in wants and not (workspace.outcomes_folder / wants["needs"]).is_file():
        return f"these outcomes have no {wants['needs']}"
    if "method" in wants and wants["method"] not in workspace.profile.methods:
        return f"the profile does not train '{wants['method']}'"
    return ""


def run(
    workspace: Workspace,
    parameters: dict[str, Any],
    notebooks_dir: Path | None = None,
    only: Sequence[str] | None = None,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Bring the notebooks of a profile up to date.

    Parameters
    ----------
    workspace : from `open_workspace`, with the same arguments as `parameters`.
    parameters : what is injected into the cell tagged `parameters`.
    only : numbers of the notebooks to look at ("01"); None for all.
    force : run them even when nothing changed.

    Returns
    -------
    Names of the notebooks that ran.

    Raises
    ------
    NotebookError
        Before anything runs: a notebook that is refused, or a number in `only` that does not exist.
    NotebookFailed
        A notebook raised; it has no stamp, those before it keep theirs.
    """
    paths = find_notebooks(notebooks_dir or project_root() / "notebooks")
    wanted = set(only) if only else {path.name[:2] for path in paths}
    missing = sorted(wanted - {path.name[:2] for path in paths})
    if missing:
        raise NotebookError(
            f"no notebook has the number {', '.join(missing)}; there are "
            f"{', '.join(path.name for path in paths)}."
        )
    sources = {path: nbformat.read(path, as_version=4) for path in paths}
    for path, notebook in sources.items():
        check_parameters(notebook, path.name, parameters)
    for path in list(paths):
        reason = not_for(sources[path], workspace)
        if reason:
            say(f"{path.stem} is left out: {reason}")
            paths.remove(path)
    shared = input_hashes(workspace)
    upstream: list[list[str]] = []
    executed: list[str] = []
    stamps: dict[str, dict[str, Any]] = {}
    for number, path in enumerate(paths, start=1):
        target = workspace.build / "notebooks" / path.name
        stamp_path = workspace.build / "stamps" / f"{path.stem}.json"
        key = _hash([shared, _source_hash(sources[path]), upstream])
        stamp = _read_stamp(stamp_path)
        fresh = (
            stamp is not None
            and stamp["key"] == key
            and target.is_file()
            and all(
                _fingerprint(workspace, name) == value for name, value in stamp["outputs"].items()
            )
        )
        if path.name[:2] in wanted and (force or not fresh):
            stamp_path.unlink(missing_ok=True)
            prefix = f"[{number}/{len(paths)}] {path.stem:<32}"
            if sys.stdout.isatty():
                print(f"{prefix} ...", end="\r", flush=True)
            before = _state(workspace)
            try:
                with _kernel_environment(workspace.build / "kernel"):
                    seconds, peak = execute(path, target, parameters)
            except NotebookFailed as failure:
                say(f"{prefix} FAILED")
                raise NotebookFailed(f"{path.name} failed:\n{failure}") from None
            stamp = _new_stamp(workspace, key, before, stamp, seconds, peak)
            with replacing(stamp_path) as temporary:
                temporary.write_text(json.dumps(stamp, indent=1, sort_keys=True), encoding="utf-8")
            executed.append(path.stem)
            fresh = True
            say(f"{prefix} {seconds:7.1f} s  {peak / 2**20:6.0f} MB")
        elif path.name[:2] in wanted:
            say(f"[{number}/{len(paths)}] {path.stem:<32} unchanged")
        if stamp is not None and fresh:
            stamps[path.stem] = stamp
        # A notebook that did not run yet counts as such, so that those after it run again once it
        # has.
        upstream.append(
            [path.stem, _hash([stamp["key"], stamp["outputs"]]) if stamp and fresh else "not run"]
        )
    if len(stamps) == len(paths):
        if executed or not (workspace.results / "manifest.json").is_file():
            write_manifests(
                workspace,
                shared,
                {path.stem: _source_hash(sources[path]) for path in paths},
                stamps,
            )
        _name_strays(workspace, stamps, say)
    else:
        say("manifest.json is not rewritten: some notebooks are not up to date.")
    return executed


def _new_stamp(
    workspace: Workspace,
    key: str,
    before: dict[str, tuple[int, int, int]],
    old: dict[str, Any] | None,
    seconds: float,
    peak: int,
) -> dict[str, Any]:
    after = _state(workspace)
    written = {name for name, state in after.items() if before.get(name) != state}
    # A store in build that was found complete and not written again still belongs to its notebook.
    kept = {
        name
        for name in (old or {}).get("outputs", {})
        if name.startswith("build/") and name in after
    }
    return {
        "key": key,
        "outputs": {name: _fingerprint(workspace, name) for name in sorted(written | kept)},
        "seconds": round(seconds, 1),
        "peak_mb": round(peak / 2**20),
    }


def _name_strays(
    workspace: Workspace, stamps: dict[str, dict[str, Any]], say: Callable[[str], None]
) -> None:
    known = {name for stamp in stamps.values() for name in stamp["outputs"]}
    strays = [
        name
        for name in sorted(_state(workspace))
        if not name.startswith("build/") and name not in known
    ]
    if strays:
        say(f"Note: no notebook writes {', '.join(strays)} any more; delete or keep them yourself.")


def machine_class() -> dict[str, Any]:
    """The kind of machine, without anything that names this one: processor, cores, memory in GiB,
    GPU.
    """
    import torch

    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(
            r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE
        )
        cpu = found.group(1).strip() if found else cpu
    gpu = (
        torch.cuda.get_device_name(0)
        if torch.cuda.is_available()
        else "Apple GPU"
        if torch.backends.mps.is_available()
        else "none"
    )
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": gpu,
    }


def write_manifests(
    workspace: Workspace,
    inputs: dict[str, Any],
    notebooks: dict[str, str],
    stamps: dict[str, dict[str, Any]],
) -> None:
    """Write `manifest.json` beside the tables (everything) and beside the figures (hashes only, no
    times).
    """
    hashes = {
        "outcomes": inputs["outcomes"],
        "library": inputs["library"],
        "prices": inputs["prices"],
        "notebooks": notebooks,
    }
    full = {
        "profile": workspace.profile.as_dict(),
        "seeds": list(workspace.profile.seeds),
        "versions": inputs["versions"],
        "inputs": hashes,
        "machine": machine_class(),
        "notebooks": {
            name: {"seconds": stamp["seconds"], "peak_mb": stamp["peak_mb"]}
            for name, stamp in stamps.items()
        },
    }
    figures = {
        name: digest for name, digest in _tree(workspace.figures).items() if name != "manifest.json"
    }
    for folder, content in (
        (workspace.results, full),
        (workspace.figures, {"figures": figures, "inputs": hashes}),
    ):
        with replacing(folder / "manifest.json") as temporary:
            temporary.write_text(
                json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )


def headline(workspace: Workspace) -> str:
    """The table that ends a run: `value [95 % interval]` of the main metrics per method."""
    path = workspace.results / "metrics.csv"
    if not path.is_file():
        return f"No {path} yet, so no headline table."
    metrics = pd.read_csv(path)
    metrics = metrics[metrics["metric"].isin(HEADLINE)]
    if "target" in metrics:
        metrics = metrics[metrics["target"].isna()]
    metrics = metrics[metrics["pool"] == next(iter(workspace.profile.pools))]
    if metrics.empty:
        return f"{path} holds none of {', '.join(HEADLINE)} for the first pool."
    cells = [
        (
            ""
            if pd.isna(row.value)
            else (
                f"{row.value:z.3f}"
                if pd.isna(row.ci_low)
                else f"{row.value:z.3f} [{row.ci_low:z.3f}, {row.ci_high:z.3f}]"
            )
        )
        for row in metrics.itertuples()
    ]
    table = metrics.assign(cell=cells).pivot_table(
        index="method", columns="metric", values="cell", aggfunc="first", sort=False
    )
    table = table[[name for name in HEADLINE if name in table]].fillna("")
    table.columns.name = table.index.name = None
    return (
        f"{table.to_string()}\n(95 % intervals; n = {metrics['n'].max()} test queries; all of it:"
        f" {path})"
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prefill_router.reproduce",
        allow_abbrev=False,
        description="Run the notebooks of a profile; unchanged ones are skipped.",
    )
    parser.add_argument(
        "--profile", default="local", help="profile of config/, or a YAML file (default: local)"
    )
    parser.add_argument(
        "--encoder", help="another encoder than the profile's; its results get folders of their own"
    )
    parser.add_argument(
        "--outcomes",
        type=Path,
        help="a table of your own instead of a profile: .csv, .tsv, .json, .jsonl or .parquet",
    )
    parser.add_argument(
        "--prices", type=Path, help="prices of its models per million tokens, a YAML file"
    )
    parser.add_argument(
        "--right-from",
        type=float,
        help="from which grade on an answer of that table is right (default: 0.5)",
    )
    parser.add_argument(
        "--prompt",
        help=(
            "template that joins columns of that table to the prompt, such as"
            ' "{context}\\n\\n{question}"'
        ),
    )
    parser.add_argument(
        "--models",
        help=(
            "the models of that table to keep, with commas between; says which columns of a wide"
            " one are models"
        ),
    )
    parser.add_argument("--device", help="auto, cpu, mps, cuda or cuda:N")
    for name in ("build", "results", "figures"):
        parser.add_argument(f"--{name}-dir", type=Path, help=f"another folder than {name}/")
    parser.add_argument("--notebooks-dir", type=Path, help="another folder than notebooks/")
    parser.add_argument("--notebooks", help="only these numbers, for example 01,03")
    parser.add_argument("--force", action="store_true", help="run them even when nothing changed")
    arguments = parser.parse_args(argv)
    if arguments.prices and not arguments.outcomes:
        parser.error("--prices goes with --outcomes (a profile names its own price list)")
    if arguments.right_from is not None and not (
        arguments.outcomes and 0 < arguments.right_from <= 1
    ):
        parser.error("--right-from is a grade above 0, at most 1, and goes with --outcomes")
    for name in ("prompt", "models"):
        if getattr(arguments, name) is not None and not arguments.outcomes:
            parser.error(f"--{name} goes with --outcomes")
    arguments.models = [
        name.strip() for name in (arguments.models or "").split(",") if name.strip()
    ]
    for given in (arguments.outcomes, arguments.prices):
        if given is not None and not given.is_file():
            parser.error(f"{given}: no such file")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, 1 (a notebook failed), 2 (wrong arguments or files) or 130
    (interrupted).
    """
    arguments = _arguments(argv)

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    previous = (
        signal.signal(signal.SIGTERM, interrupt)
        if threading.current_thread() is threading.main_thread()
        else None
    )
    chosen = {
        "profile": arguments.profile,
        "encoder": arguments.encoder,
        "device": arguments.device,
        "build_dir": arguments.build_dir,
        "results_dir": arguments.results_dir,
        "figures_dir": arguments.figures_dir,
    }
    # Kernels work in the notebooks' folder, so that paths given here must not be relative.
    if Path(arguments.profile).suffix in (".yaml", ".yml"):
        chosen["profile"] = str(Path(arguments.profile).resolve())
    if arguments.outcomes:
        own = write_own_profile(
            arguments.outcomes,
            arguments.prices,
            (arguments.build_dir or project_root() / "build") / "own",
            arguments.right_from,
            arguments.prompt,
            arguments.models,
        )
        chosen["profile"] = str(own.resolve())
    parameters = {
        key: str(value.resolve()) if isinstance(value, Path) else value
        for key, value in chosen.items()
        if value is not None
    }
    try:
        workspace = open_workspace(**parameters)
        if not workspace.outcomes_folder.is_dir():
            raise ProfileError(
                f"profile {workspace.profile.name}: its outcomes folder {workspace.outcomes_folder}"
                " does not exist."
            )
        executed = run(
            workspace,
            parameters,
            arguments.notebooks_dir and arguments.notebooks_dir.resolve(),
            (
                [part.strip().zfill(2) for part in arguments.notebooks.split(",")]
                if arguments.notebooks
                else None
            ),
            arguments.force,
        )
        print(
            f"\n{headline(workspace)}\n\n{len(executed)} notebook(s) ran. Tables:"
            f" {workspace.results}\nFigures: {workspace.figures}\nExecuted notebooks:"
            f" {workspace.build / 'notebooks'}"
        )
        return 0
    except (ProfileError, NotebookError, OutcomesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Finished notebooks are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    sys.exit(main())
