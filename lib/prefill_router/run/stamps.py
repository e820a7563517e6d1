"""What shaped the outputs of a notebook, as hashes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefill_router.files import file_hash, project_root
from prefill_router.run.library_hash import library_hash, reached_modules
from prefill_router.run.workspace import Workspace

if TYPE_CHECKING:
    import nbformat

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


# What lies in the build folder and is no output of a notebook, or counted under its own name.
RUNNER_FILES = (
    "notebooks",
    "stamps",
    "kernel",
    "results",
    "figures",
    "times.json",
    "reproduce.log",
)


def content_hash(content: Any) -> str:
    """SHA-256 (hex) of bytes, or of anything that JSON can write."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def tree_hashes(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Hash of every file below a folder, by its path in it; caches and hidden files aside."""
    return {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute the numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def input_hashes(workspace: Workspace) -> dict[str, Any]:
    """What all notebooks of a profile depend on: profile, outcomes, prices, versions."""
    profile = workspace.profile.as_dict()
    for key in ("description", "verify"):
        del profile[key]
    prices = project_root() / "config" / "prices.yaml"
    return {
        "profile": profile,
        "outcomes": tree_hashes(workspace.outcomes_folder),
        "prices": file_hash(prices) if prices.is_file() else None,
        "versions": versions(),
    }


def library_hashes(notebooks: Mapping[str, nbformat.NotebookNode]) -> dict[str, str]:
    """Hash of the library that each notebook reaches, and of all that any does under "all"."""
    package = Path(__file__).resolve().parents[1]
    reached = {
        name: reached_modules(
            "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"), package
        )
        for name, notebook in notebooks.items()
    }
    reached["all"] = set().union(*reached.values())
    return {name: library_hash(modules, package) for name, modules in reached.items()}


def notebook_hash(notebook: nbformat.NotebookNode) -> str:
    return content_hash(
        [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    )


def file_states(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    """What identifies a version of each file below the run's folders: (inode, time, size)."""
    found = {}
    runner_files = {workspace.build / name for name in RUNNER_FILES}
    for label, folder in (
        ("build", workspace.build),
        ("results", workspace.results),
        ("figures", workspace.figures),
    ):
        for path in folder.rglob("*"):
            own = label == "build" and runner_files & {path, *path.parents}
            if path.is_file() and not own and not path.name.startswith("."):
                status = path.stat()
                found[f"{label}/{path.relative_to(folder).as_posix()}"] = (
                    status.st_ino,
                    status.st_mtime_ns,
                    status.st_size,
                )
    return found


def output_path(workspace: Workspace, name: str) -> Path:
    label, rest = name.split("/", 1)
    return {"build": workspace.build, "results": workspace.results, "figures": workspace.figures}[
        label
    ] / rest


def output_fingerprint(workspace: Workspace, name: str) -> str | int | None:
    """Hash of a table or figure; of the large files in build the size, which costs no reading."""
    path = output_path(workspace, name)
    if not path.is_file():
        return None
    return path.stat().st_size if name.startswith("build/") else file_hash(path)


def read_stamp(path: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return (
        stamp
        if isinstance(stamp, dict) and {"key", "outputs", "seconds", "peak_mb"} <= set(stamp)
        else None
    )


def new_stamp(
    workspace: Workspace,
    key: str,
    before: dict[str, tuple[int, int, int]],
    old: dict[str, Any] | None,
    seconds: float,
    peak: int,
) -> dict[str, Any]:
    after = file_states(workspace)
    written = {name for name, state in after.items() if before.get(name) != state}
    # A store in build that was found complete and not written again still belongs to its notebook.
    kept = {
        name
        for name in (old or {}).get("outputs", {})
        if name.startswith("build/") and name in after
    }
    return {
        "key": key,
        "outputs": {name: output_fingerprint(workspace, name) for name in sorted(written | kept)},
        "seconds": round(seconds, 1),
        "peak_mb": round(peak / 2**20),
    }
