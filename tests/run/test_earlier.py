"""A notebook whose inputs are missing says which to run first, with the command."""

import subprocess

import pytest

from prefill_router.files import project_root
from prefill_router.run import kernel
from prefill_router.run.cross_fits import read_cross_fits
from prefill_router.run.earlier import NotRunYet
from prefill_router.run.handover import read_note, read_predictions, read_splits
from prefill_router.run.loading import read_layers
from prefill_router.run.own_profile import write_own_profile
from prefill_router.run.workspace import open_workspace


@pytest.mark.parametrize(
    ("read", "numbers"),
    [
        (lambda ws: read_splits(ws, None), "01"),
        (lambda ws: read_note(ws, "encoders"), "01,02"),
        (read_layers, "01,02,03"),
        (lambda ws: read_predictions(ws, "all", ws.load_outcomes()), "01,02,03,04,05"),
        (lambda ws: read_cross_fits(ws, "all"), "01,02,03,04,12"),
    ],
)
def test_missing_inputs_name_the_notebooks_and_the_command(tmp_path, read, numbers):
    ws = open_workspace("smoke", build_dir=tmp_path, results_dir=tmp_path, figures_dir=tmp_path)
    with pytest.raises(NotRunYet) as told:
        read(ws)
    last = numbers[-2:]
    assert f"run notebook {last} first" in str(told.value)
    assert f"\n  make reproduce PROFILE=smoke NOTEBOOKS={numbers}\n" in str(told.value)


def test_the_command_of_a_table_of_ones_own_has_its_options(tmp_path):
    (tmp_path / "my.csv").write_text("question,model,isCorrect")
    own = write_own_profile(tmp_path / "my.csv", None, tmp_path, 0.8, "{a} {b}", ["x", "y"])
    folders = dict.fromkeys(("build_dir", "results_dir", "figures_dir"), tmp_path / "build")
    with pytest.raises(NotRunYet) as told:
        read_note(open_workspace(str(own), "gemma-3-270m", **folders), "encoder")
    assert (
        f"make reproduce OUTCOMES='{tmp_path / 'my.csv'}' RIGHT_FROM='0.8' PROMPT='{{a}} {{b}}'"
        " MODELS='x,y' ENCODER=gemma-3-270m NOTEBOOKS=01,02"
    ) in str(told.value)


def test_the_runner_shows_the_message_without_the_lines_of_code(tmp_path):
    class Raised(Exception):
        ename, evalue, traceback = "NotRunYet", "run notebook 12 first", ["long"] * 30

    assert kernel._last_lines(Raised(), tmp_path / "no.ipynb") == "run notebook 12 first"
    Raised.ename = "KeyError"
    assert "long" in kernel._last_lines(Raised(), tmp_path / "no.ipynb")


def test_make_hands_the_numbers_on():
    shown = subprocess.run(
        ["make", "-n", "reproduce", "PROFILE=local", "NOTEBOOKS=12,13"],
        capture_output=True,
        text=True,
        cwd=project_root(),
    ).stdout
    assert '--profile "local"' in shown and '--notebooks "12,13"' in shown
