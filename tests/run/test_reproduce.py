"""The runner: order, skipping, refusals, failures and interrupts, on tiny notebooks with a real
kernel.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
import yaml

from prefill_router.files import project_root
from prefill_router.run import manifest, notebooks, reproduce, stamps
from prefill_router.run.loading import tables_of_both_splits
from prefill_router.run.workspace import open_workspace

PARAMETERS = "profile = 'local'\nbuild_dir = None\nresults_dir = None\nfigures_dir = None"
OPEN = """from prefill_router.run.workspace import open_workspace
folders = {"build_dir": build_dir, "results_dir": results_dir, "figures_dir": figures_dir}
ws = open_workspace(profile, **folders)"""
# Without the library, so that the kernel is ready sooner.
WRITE = """import pathlib
folder = pathlib.Path(build_dir) / 'tiny' / 'results'
(folder / '{0}.csv').write_text('a\\n{1}\\n')"""


def notebook(
    path: Path, *code: str, parameters: str = PARAMETERS, tags: tuple[str, ...] = ("parameters",)
) -> None:
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": list(tags)})]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(text) for text in code]),
        path,
    )


class Project:
    """A profile, two outcomes files and a notebooks folder below a temporary folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.outcomes = folder / "outcomes"
        for made in (self.notebooks, self.outcomes):
            made.mkdir()
        (self.outcomes / "queries.parquet").write_text("as good as any")
        self.profile = folder / "tiny.yaml"
        self.write_profile()
        self.stamps = folder / "build" / "tiny" / "stamps"
        self.executed = folder / "build" / "tiny" / "notebooks"
        self.results = folder / "build" / "tiny" / "results"
        self.published = folder / "results" / "tiny"

    def write_profile(self, **changes) -> None:
        self.profile.write_text(
            yaml.safe_dump(
                {
                    "name": "tiny",
                    "outcomes": str(self.outcomes),
                    "encoder": "e",
                    "sentence_encoder": "s",
                }
                | changes
            )
        )

    @property
    def arguments(self) -> list[str]:
        folders = [
            part
            for name in ("build", "results", "figures")
            for part in (f"--{name}-dir", str(self.folder / name))
        ]
        return ["--profile", str(self.profile), "--notebooks-dir", str(self.notebooks), *folders]

    def run(self, *more: str) -> int:
        return reproduce.main([*self.arguments, *more])


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def pretend(monkeypatch, outputs=("a",)):
    """Replace the kernel by a function that writes a table per notebook; returns the list of what
    it ran.
    """
    ran = []

    def fake(source, target, parameters):
        ran.append(source.stem)
        for name in outputs:
            folder = Path(parameters["build_dir"]) / "tiny" / "results"
            (folder / f"{source.stem}_{name}.csv").write_text("a\n1\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
        return 1.0, 2**20

    monkeypatch.setattr(notebooks, "execute", fake)
    return ran


def test_the_profile_that_follows_is_run_next(project, capfd, monkeypatch):
    notebook(project.notebooks / "01_first.ipynb", OPEN)
    following = project.folder / "other.yaml"
    project.write_profile(name="other", states_of="tiny")
    project.profile.rename(following)
    project.write_profile(then=str(following))
    ran = []

    def fake(source, target, parameters):
        ran.append(parameters["profile"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
        return 1.0, 2**20

    monkeypatch.setattr(notebooks, "execute", fake)
    assert project.run() == 0
    assert ran == [str(project.profile), str(following)]
    assert (project.folder / "build" / "other" / "stamps" / "01_first.json").is_file()
    capfd.readouterr()


def test_states_of_another_profile_and_of_another_encoder(project):
    project.write_profile(states_of="base")
    folders = {f"{name}_dir": project.folder / name for name in ("build", "results", "figures")}
    ws = open_workspace(str(project.profile), **folders)
    assert ws.activations == project.folder / "build" / "base" / "activations"
    ws = open_workspace(str(project.profile), encoder="org/Other", **folders)
    assert ws.states == project.folder / "build" / "base--other" and ws.build.name == "tiny--other"
    with pytest.raises(FileNotFoundError, match="run `make reproduce PROFILE=base` first"):
        tables_of_both_splits(ws, "metrics")


def test_a_real_run_in_order_then_a_skip_then_a_change(project, capfd):
    notebook(
        project.notebooks / "01_first.ipynb",
        OPEN,
        "import pandas as pd, sys\n"
        "ws.write_table(pd.DataFrame({'python': [sys.executable], 'hash': [hash('a')]}), 'first')",
    )
    notebook(
        project.notebooks / "02_second.ipynb",
        WRITE.format("second", "{n}").replace("'a\\n{n}\\n'", "(folder / 'first.csv').read_text()"),
    )
    assert project.run() == 0
    printed = capfd.readouterr().out
    assert printed.index("[1/2] 01_first") < printed.index("[2/2] 02_second") and " MB" in printed
    first = pd.read_csv(project.results / "first.csv")
    assert first["python"].tolist() == [sys.executable]
    assert (project.results / "second.csv").read_text() == (
        project.results / "first.csv"
    ).read_text()
    assert sorted(path.name for path in project.executed.iterdir()) == [
        "01_first.ipynb",
        "02_second.ipynb",
    ]
    executed = nbformat.read(project.executed / "01_first.ipynb", as_version=4)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells)

    assert (project.published / "first.csv").read_bytes() == (
        project.results / "first.csv"
    ).read_bytes()
    manifest = json.loads((project.published / "manifest.json").read_text())
    assert set(manifest) == {"profile", "seeds", "versions", "inputs", "machine"}
    assert manifest["inputs"]["outcomes"].keys() == {"queries.parquet"}
    assert manifest["seeds"] == [0, 1, 2, 3, 4]
    times = json.loads((project.stamps.parent / "times.json").read_text())
    assert set(times) == {"01_first", "02_second"}
    assert all(found["seconds"] > 0 and found["peak_mb"] > 10 for found in times.values())
    log = (project.stamps.parent / "reproduce.log").read_text().splitlines()
    assert [line[21:] for line in log] == [line.rstrip() for line in printed.splitlines()]
    assert "started, about 50 % of what is to run" in printed

    assert project.run() == 0
    assert capfd.readouterr().out.count("unchanged") == 2

    notebook(project.notebooks / "02_second.ipynb", WRITE.format("second", 5))
    assert project.run() == 0
    printed = capfd.readouterr().out
    assert printed.count("unchanged") == 1 and "1 notebook(s) ran" in printed
    assert (project.results / "second.csv").read_text() == "a\n5\n"


def test_what_makes_a_notebook_run_again(project, monkeypatch):
    ran = pretend(monkeypatch)
    for name in ("01_a", "02_b", "03_c"):
        notebook(project.notebooks / f"{name}.ipynb", f"# {name}")

    def again(*more):
        ran.clear()
        assert project.run(*more) == 0
        return [name[:2] for name in ran]

    assert again() == ["01", "02", "03"]
    assert again() == []
    notebook(project.notebooks / "02_b.ipynb", "# changed")
    assert again() == ["02", "03"]
    # outputs and metadata of the source are not its code
    content = nbformat.read(project.notebooks / "02_b.ipynb", as_version=4)
    content.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]
    content.metadata["kernelspec"] = {"name": "other", "display_name": "other"}
    nbformat.write(content, project.notebooks / "02_b.ipynb")
    assert again() == []
    (project.results / "02_b_a.csv").unlink()
    assert again() == ["02"]
    (project.results / "01_a_a.csv").write_text("edited by hand")
    assert again() == ["01"]
    (project.executed / "03_c.ipynb").unlink()
    assert again() == ["03"]
    (project.outcomes / "queries.parquet").write_text("changed")
    assert again() == ["01", "02", "03"]
    project.write_profile(bootstrap=7)
    assert again() == ["01", "02", "03"]
    project.write_profile(bootstrap=7, description="words", verify={"rtol": 0.5})
    assert again() == []
    assert again("--force", "--notebooks", "1,03") == ["01", "03"]
    (project.stamps / "03_c.json").write_text("{broken")
    assert again() == ["03"]


def test_a_changed_library_or_version_runs_everything_again(project, monkeypatch):
    ran = pretend(monkeypatch)
    notebook(project.notebooks / "01_a.ipynb")
    assert project.run() == 0
    known = stamps.versions()
    monkeypatch.setattr(stamps, "versions", lambda: known | {"torch": "0.0"})
    assert project.run() == 0
    assert ran == ["01_a", "01_a"]
    monkeypatch.setattr(
        notebooks, "library_hashes", lambda found: dict.fromkeys([*found, "all"], "changed")
    )
    assert project.run() == 0
    assert ran == ["01_a"] * 3


def test_a_selected_notebook_alone_does_not_count_as_up_to_date_for_ever(
    project, monkeypatch, capsys
):
    ran = pretend(monkeypatch)
    for name in ("01_a", "02_b"):
        notebook(project.notebooks / f"{name}.ipynb")
    assert project.run("--notebooks", "02") == 0
    assert ran == ["02_b"] and not (project.published / "manifest.json").exists()
    assert "manifest.json is not rewritten" in capsys.readouterr().out
    assert project.run() == 0
    assert ran == ["02_b", "01_a", "02_b"] and (project.published / "manifest.json").exists()


def test_leftover_tables_are_named(project, monkeypatch, capsys):
    pretend(monkeypatch)
    notebook(project.notebooks / "01_a.ipynb")
    project.published.mkdir(parents=True)
    (project.published / "old.csv").write_text("a\n")
    assert project.run() == 0
    assert "no notebook writes results/old.csv" in capsys.readouterr().out
    assert (project.published / "old.csv").is_file()


def test_another_encoder_does_not_touch_the_profiles_results(project, monkeypatch):
    given = []
    nothing = notebooks.Ran([], {}, {}, False)
    monkeypatch.setattr(
        reproduce, "run", lambda ws, parameters, *rest: given.append((ws, parameters)) or nothing
    )
    assert project.run("--encoder", "org/Other", "--device", "cpu") == 0
    ((workspace, parameters),) = given
    assert workspace.published_results == project.folder / "results" / "tiny--other"
    assert parameters["encoder"] == "org/Other" and parameters["device"] == "cpu"


@pytest.mark.parametrize(
    "parameters, tags, message",
    [
        (
            "profile = 'local'",
            ("parameters",),
            "does not assign build_dir, figures_dir, results_dir",
        ),
        (
            PARAMETERS.replace("profile = 'local'", "# profile = 'local'"),
            ("parameters",),
            "does not assign profile",
        ),
        (PARAMETERS, (), "exactly one code cell tagged `parameters`, found 0"),
    ],
)
def test_refused_before_anything_runs(project, monkeypatch, capsys, parameters, tags, message):
    ran = pretend(monkeypatch)
    notebook(project.notebooks / "01_good.ipynb")
    notebook(project.notebooks / "02_bad.ipynb", parameters=parameters, tags=tags)
    assert project.run() == 2
    captured = capsys.readouterr()
    assert "02_bad.ipynb" in captured.err and message in captured.err and ran == []


def test_two_tagged_cells_and_annotated_parameters():
    cell = nbformat.v4.new_code_cell("profile: str = 'a'", metadata={"tags": ["parameters"]})
    other = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    notebooks.check_parameters(nbformat.v4.new_notebook(cells=[cell]), "n", ["profile"])
    with pytest.raises(reproduce.NotebookError, match="found 2"):
        notebooks.check_parameters(nbformat.v4.new_notebook(cells=[cell, other]), "n", [])


def test_a_failing_notebook(project, capfd):
    notebook(project.notebooks / "01_good.ipynb", WRITE.format("good", 1))
    notebook(
        project.notebooks / "02_bad.ipynb", "print('so far')", "raise ValueError('the reason')"
    )
    notebook(project.notebooks / "03_after.ipynb", WRITE.format("after", 1))
    assert project.run() == 1
    error = capfd.readouterr().err
    failed = project.executed / "02_bad.failed.ipynb"
    assert (
        "02_bad.ipynb failed" in error
        and "ValueError: the reason" in error
        and str(failed) in error
    )
    assert error.count("ValueError: the reason") == 1
    assert "so far" in failed.read_text()
    assert [path.name for path in project.stamps.iterdir()] == ["01_good.json"]
    assert sorted(path.name for path in project.executed.iterdir()) == [
        "01_good.ipynb",
        "02_bad.failed.ipynb",
    ]
    assert not (project.results / "after.csv").exists() and not project.published.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(project, number):
    notebook(
        project.notebooks / "01_long.ipynb",
        "import os, pathlib, time\n"
        "pathlib.Path(build_dir, 'started').write_text(str(os.getpid()))\ntime.sleep(300)",
    )
    # an empty home must do
    environment = os.environ | {
        "PYTHONPATH": str(str(project_root() / "lib")),
        "HOME": str(project.folder / "home"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "prefill_router.run.reproduce", *project.arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores SIGINT and hands that on; a user's terminal does not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started = project.folder / "build" / "started"
    try:
        deadline = time.monotonic() + 120
        while not (started.is_file() and started.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.1)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and "Interrupted" in error and "Traceback" not in error
    assert list(project.stamps.glob("*")) == [] and list(project.executed.glob("*")) == []
    assert not psutil.pid_exists(int(started.read_text()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--profile", "locale"], "did you mean 'local'"),
        (["--profil", "local"], "unrecognized arguments"),
        (["--notebooks", "77"], "no notebook has the number 77"),
        (["--device", "gpu"], "'device' must be auto"),
        (["--right-from", "0.8"], "goes with --outcomes"),
        (["--prompt", "{question}"], "--prompt goes with --outcomes"),
        (["--models", "a,b"], "--models goes with --outcomes"),
    ],
)
def test_wrong_arguments(project, capsys, arguments, message):
    notebook(project.notebooks / "01_a.ipynb")
    try:
        status = reproduce.main([*project.arguments, *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and message in capsys.readouterr().err


def test_missing_outcomes_and_no_notebooks(project, capsys):
    assert project.run() == 2
    assert "no notebook named NN_*.ipynb" in capsys.readouterr().err
    project.write_profile(outcomes=str(project.folder / "nowhere"))
    assert project.run() == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_machine_class_names_no_machine():
    import platform

    found = manifest.machine_class()
    assert set(found) == {"system", "cpu", "cores", "memory_gib", "gpu"}
    assert platform.node() not in json.dumps(found) and found["cores"] >= 1
