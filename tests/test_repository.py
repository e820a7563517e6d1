"""What a clone must hold: every module, thin notebooks, versions that agree, nothing of one
machine.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONDA_NAMES = {"pytorch": "torch"}
LARGEST = 5_000_000
LONGEST_CELL = 600  # characters of code


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)


def committed_files() -> list[Path]:
    """Files that git tracks or would add; of an unpacked archive without git, all but the ignored
    folders.
    """
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        skipped = {
            ".git",
            ".venv",
            "build",
            "__pycache__",
            ".pytest_cache",
            ".hypothesis",
            ".ipynb_checkpoints",
        }
        paths = [
            path
            for path in ROOT.rglob("*")
            if not skipped & set(path.relative_to(ROOT).parts) and ".egg-info" not in str(path)
        ]
    return [path for path in paths if path.is_file()]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def direct_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["test"], *extras["site"], *extras["lint"]]


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_no_module_is_ignored():
    modules = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "lib" / "prefill_router").rglob("*.py"))
    ]
    assert "lib/prefill_router/run/profile.py" in modules
    if git("rev-parse", "--git-dir").returncode != 0:
        pytest.skip("not a git checkout")
    # status 1: none of the paths is ignored
    found = git("check-ignore", "--no-index", *modules)
    assert (found.returncode, found.stdout) == (1, "")


def test_the_ignored_is_ignored():
    if git("rev-parse", "--git-dir").returncode != 0:
        pytest.skip("not a git checkout")
    ignored = [
        "build/local/stamps/x.json",
        ".venv/bin/python",
        "lib/prefill_router/__pycache__/a.pyc",
        "lib/prefill_router.egg-info/PKG-INFO",
        "notebooks/.ipynb_checkpoints/a.ipynb",
    ]
    kept = [
        "data/local/queries.parquet",
        "results/local/metrics.csv",
        "figures/local/a.svg",
        "requirements.lock",
    ]
    assert git("check-ignore", "--no-index", *ignored, *kept).stdout.split() == ignored


def test_contributing_names_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([\w/*.]+\.(?:py|md|json|yaml))`", text)) - {"targets.json"}
    assert len(named) > 30
    places = (ROOT, ROOT / "lib" / "prefill_router", ROOT / "lib" / "prefill_router" / "heads")
    missing = [path for path in sorted(named) if not any(list(p.glob(path)) for p in places)]
    assert not missing


Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_code(function: Function) -> int:
    """Lines of a function, its docstring not counted."""
    doc = function.body[0] if ast.get_docstring(function) else None
    lines = function.end_lineno - function.lineno + 1
    return lines - (doc.end_lineno - doc.lineno + 1 if doc else 0)


def parameters(function: Function) -> int:
    of = function.args
    return len({a.arg for a in [*of.posonlyargs, *of.args, *of.kwonlyargs]} - {"self", "cls"})


def says_why(function: Function) -> bool:
    """Whether the Notes of a docstring speak of the parameters."""
    notes = re.search(r"^Notes\n-----\n(.*)", ast.get_docstring(function) or "", re.M | re.S)
    return notes is not None and "parameters" in notes[1]


def test_modules_functions_and_parameter_lists_are_short():
    library = ROOT / "lib" / "prefill_router"
    large, long, many = set(), set(), set()
    for path in library.rglob("*.py"):
        name, text = path.relative_to(library).as_posix(), path.read_text()
        if len(text.splitlines()) > 300:
            large.add(name)
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, Function):
                continue
            if lines_of_code(function) > 60:
                long.add((name, function.name))
            if parameters(function) > 7 and not says_why(function):
                many.add((name, function.name))
    assert (large, long, many) == (set(), set(), set())


def test_lock_is_plain():
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 50
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    names = list(lock())
    assert len(names) == len(lines), "a package stands twice in the lock"
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]
    assert "setuptools" in names, "installing the project itself without build isolation needs it"


def test_lock_satisfies_pyproject():
    versions = lock()
    for requirement in direct_dependencies():
        name, bound = requirement.split(">=")
        assert release(versions[canonical(name)]) >= release(bound), requirement


def test_environment_agrees_with_the_lock():
    versions = lock()
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    pairs = [entry.split("=", 1) for entry in entries if isinstance(entry, str) and "=" in entry]
    pairs += [entry.split("==") for entry in pip if "==" in entry]
    named = {canonical(CONDA_NAMES.get(name, name)): version for name, version in pairs}
    assert named.pop("python") == "3.11"
    assert named == {name: versions[name] for name in named}
    assert {canonical(requirement.split(">=")[0]) for requirement in direct_dependencies()} <= set(
        named
    )
    assert "-e ." in pip


def test_every_import_of_the_library_is_a_dependency():
    distributions = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow"}
    distributions["vl_convert"] = "vl-convert-python"
    known = {canonical(requirement.split(">=")[0]) for requirement in direct_dependencies()}
    standard = set(__import__("sys").stdlib_module_names) | {"prefill_router"}
    for path in sorted((ROOT / "lib" / "prefill_router").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            for top in {name.split(".")[0] for name in names} - standard:
                # tokenizers comes with transformers; IPython and traitlets with ipykernel; bleach
                # and Pygments with nbconvert
                if top not in ("tokenizers", "IPython", "traitlets", "bleach", "pygments"):
                    assert canonical(distributions.get(top, top)) in known, (
                        f"{path.name} imports {top}"
                    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_sources(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code), (
        "clear all outputs"
    )
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].cell_type == "code"
    assert [cell.source for cell in code if len(cell.source) > LONGEST_CELL] == []
    assert [line for cell in code for line in cell.source.splitlines() if len(line) > 100] == []
    trees = [
        ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE))
        for cell in code
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    assert not any(isinstance(node, ast.ClassDef) for node in nodes)
    assert not any(isinstance(node, ast.FunctionDef) for node in nodes)
    assert notebook.metadata.get("kernelspec", {}).get("name") == "python3"


def test_no_large_file():
    large = {
        path.relative_to(ROOT).as_posix(): path.stat().st_size
        for path in committed_files()
        if path.stat().st_size > LARGEST
    }
    assert large == {}


def test_no_path_of_one_machine():
    # put together here, so that this file does not hold them itself
    words = ["/" + folder + "/" for folder in ("root", "work")] + ["/home" + "/", "/Use" + "rs/"]
    found = []
    for path in committed_files():
        data = path.read_bytes()
        if b"\0" in data or path.name == "LICENSE":
            continue
        text = data.decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words if word in text]
    assert found == []


def test_no_pickle_is_loaded():
    for path in sorted((ROOT / "lib" / "prefill_router").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            # of joblib only its workers are used: its load reads pickles
            if isinstance(node, ast.ImportFrom) and node.module in (
                "joblib",
                "joblib.externals.loky",
            ):
                assert {alias.name for alias in node.names} <= {
                    "Parallel",
                    "delayed",
                    "parallel_config",
                    "get_reusable_executor",
                }, path
                continue
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & {
                str(name).split(".")[0] for name in names
            }, path
            assert not (
                isinstance(node, ast.Attribute)
                and node.attr == "load"
                and getattr(node.value, "id", "") == "torch"
            ), path
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
                assert (node.arg, node.value.value) not in {
                    ("trust_remote_code", True),
                    ("allow_pickle", True),
                }, path


def test_ci_runs_the_tests():
    path = ROOT / ".ci" / "run"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert os.access(path, os.X_OK)
    assert len(lines) == 1 and lines[0].endswith("exec make test")


def test_make_help_lists_every_target():
    targets = {
        "help",
        "env",
        "reproduce",
        "smoke",
        "verify",
        "lint",
        "test",
        "lab",
        "site",
        "export",
        "collect",
        "audit",
        "bench",
        "clean",
    }
    environment = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")
    }
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert shown.returncode == 0
    assert set(re.findall(r"^  make (\w+)", shown.stdout, re.MULTILINE)) == targets
    makefile = (ROOT / "Makefile").read_text()
    assert targets == set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split())
    # features that GNU make 3.81 does not have
    assert not re.search(r"\.ONESHELL|\$\(file |&:|\$\(let |!=", makefile.replace('" != "', ""))


def test_make_env_refuses_an_old_python(tmp_path):
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    environment = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")
    }
    refused = subprocess.run(
        ["make", "env", f"PYTHON={old}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr and str(old) in refused.stderr
    assert not (tmp_path / ".venv").exists()
