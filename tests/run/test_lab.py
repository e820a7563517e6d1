"""The working copy that JupyterLab opens, and the index at its door."""

import json
import os
import re
import subprocess

import nbformat
import pytest

from prefill_router.files import project_root
from prefill_router.report.front_door import pools_table, profiles_in_words
from prefill_router.run import lab

ROOT = project_root()
INDEX = ROOT / "notebooks" / lab.INDEX


def notebook(*code):
    cells = [nbformat.v4.new_markdown_cell("# A title")]
    cells.append(nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(text) for text in ("import os", "use()")]
    cells.append(nbformat.v4.new_markdown_cell("## A part"))
    return nbformat.v4.new_notebook(cells=[*cells, *map(nbformat.v4.new_code_cell, code)])


@pytest.fixture
def folders(tmp_path):
    source, target = tmp_path / "notebooks", tmp_path / "copy"
    source.mkdir()
    nbformat.write(notebook("1"), source / "01_a.ipynb")
    assert lab.copy_notebooks(source, target) == []
    return source, target


def code_of(path):
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


def edit(path, text):
    changed = nbformat.read(path, 4)
    changed.cells[-1].source = text
    nbformat.write(changed, path)


def test_the_set_up_of_a_copy_is_folded_and_nothing_else(folders):
    cells = nbformat.read(folders[1] / "01_a.ipynb", 4).cells
    hidden = [c.metadata.get("jupyter", {}).get("source_hidden", False) for c in cells]
    assert hidden == [False, False, True, True, False, False]


def test_a_copy_that_only_ran_follows_its_source(folders):
    source, target = folders
    ran = nbformat.read(target / "01_a.ipynb", 4)
    ran.cells[-1].outputs = [nbformat.v4.new_output("stream", text="one")]
    nbformat.write(ran, target / "01_a.ipynb")
    assert lab.copy_notebooks(source, target) == []
    assert nbformat.read(target / "01_a.ipynb", 4).cells[-1].outputs  # nothing new: outputs stay
    edit(source / "01_a.ipynb", "2")
    assert lab.copy_notebooks(source, target) == []
    assert code_of(target / "01_a.ipynb")[-1] == "2"


def test_an_edited_copy_stays_and_is_never_overwritten(folders):
    source, target = folders
    edit(target / "01_a.ipynb", "mine")
    assert lab.copy_notebooks(source, target) == ["01_a.ipynb: your edits are kept"]
    assert code_of(target / "01_a.ipynb")[-1] == "mine"
    for new, kept in (("2", "01_a.yours.ipynb"), ("3", "01_a.yours2.ipynb")):
        edit(source / "01_a.ipynb", new)
        edit(target / "01_a.ipynb", f"mine {new}")
        said = lab.copy_notebooks(source, target)
        assert said == [f"01_a.ipynb has changed; yours is kept as {kept}"]
        assert code_of(target / "01_a.ipynb")[-1] == new
        assert code_of(target / kept)[-1] == f"mine {new}"
    assert code_of(source / "01_a.ipynb")[-1] == "3"


def test_what_is_no_notebook_is_kept_too_and_what_is_gone_goes(folders):
    source, target = folders
    (target / "01_a.ipynb").write_text("not a notebook")
    assert lab.copy_notebooks(source, target) == ["01_a.ipynb: your edits are kept"]
    edit(source / "01_a.ipynb", "2")
    [said] = lab.copy_notebooks(source, target)
    assert "kept as 01_a.yours.ipynb" in said
    assert (target / "01_a.yours.ipynb").read_text() == "not a notebook"
    (source / "01_a.ipynb").unlink()
    lab.copy_notebooks(source, target)
    assert sorted(p.name for p in target.glob("*.ipynb")) == ["01_a.yours.ipynb"]


def test_a_running_lab_writes_settings_of_its_own(tmp_path):
    given = {"JUPYTER_CONFIG_PATH": "mine", "HOME": "home"}
    found = lab.lab_environment(tmp_path, given)
    folders = found["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert folders == [str(tmp_path / ".jupyter"), "mine"] and found["HOME"] == "home"
    text = (tmp_path / ".jupyter/labconfig/default_setting_overrides.json").read_text()
    news = json.loads(text)["@jupyterlab/apputils-extension:notification"]
    assert news == {"fetchNews": "false", "checkForUpdates": False}
    command = lab.lab_command(tmp_path, tmp_path / "build" / "lab", ["--no-browser"])
    assert command[-1] == "--no-browser" and f"--ServerApp.root_dir={tmp_path}" in command
    assert "--LabApp.default_url=/lab/tree/build/lab/notebooks/index.ipynb" in command


def test_links_of_a_copy_lead_to_the_project(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "forest.png").write_bytes(b"1")
    (tmp_path / "build" / "lab" / "notebooks").mkdir(parents=True)
    for _ in range(2):
        lab.link_folders(tmp_path, tmp_path / "build" / "lab")
    assert (tmp_path / "build/lab/notebooks/../figures/forest.png").read_bytes() == b"1"


def links(text):
    return re.findall(r"\]\(([^)#]+)\)", text)


def test_the_index_names_every_notebook_with_its_question_and_no_link_is_broken():
    cells = nbformat.read(INDEX, 4).cells
    table = cells[-1].source
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        first = nbformat.read(path, 4).cells[0].source
        title = first.splitlines()[0].removeprefix("# ")
        question = re.search(r"\*\*Question\.\*\* (.*)", first)[1]
        assert f"| [{title}]({path.name}) | {question} |" in table
    found = [link for c in cells if c.cell_type == "markdown" for link in links(c.source)]
    assert len(found) > 20
    assert [link for link in found if not (INDEX.parent / link).exists()] == []


def test_the_tables_of_the_index_hold_what_the_results_hold():
    table = pools_table(ROOT / "results")
    assert "smoke" not in table.index.get_level_values("profile")
    row = table.loc[("local", "all")]
    assert row["queries"] == "2,774" and row["best single target"] == "qwen2.5-coder-1.5b-steps"
    assert re.fullmatch(r"\d+\.\d % \[-?\d+\.\d, \d+\.\d\]", row["planned saving"])
    assert not table.isna().any().any()
    said = profiles_in_words(ROOT)
    for link in links(said):
        assert (INDEX.parent / link).is_file()
    names = {path.stem for path in (ROOT / "config").glob("*.yaml")} - {"prices", "smoke"}
    assert {name for name in names if f"`{name}`" in said} == names


def test_clean_leaves_edited_notebooks(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("lab/notebooks", "local"):
        (tmp_path / "build" / name).mkdir(parents=True)
    for _ in range(2):
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert [p.name for p in (tmp_path / "build").iterdir()] == ["lab"]
    assert (tmp_path / "build" / "lab" / "notebooks").is_dir()
