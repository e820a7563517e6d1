"""Times ahead, the log, and the last line of a progress bar."""

from __future__ import annotations

import nbformat
import pytest

from prefill_router.files import project_root
from prefill_router.run import progress
from prefill_router.run.kernel import execute


def test_times_of_the_last_run_are_expected_again():
    last = {"01_a": 10.0, "02_b": 30.0, "03_c": 60.0}
    assert progress.expected_seconds(["02_b", "03_c"], last, {"01_a": 10.0}) == {
        "02_b": 30.0,
        "03_c": 60.0,
    }
    # twice as slow today
    assert progress.expected_seconds(["02_b", "03_c"], last, {"01_a": 20.0}) == {
        "02_b": 60.0,
        "03_c": 120.0,
    }


def test_without_times_the_shares_of_the_profile_count():
    assert progress.expected_seconds(["03_layerwise_probes"], {}, {}) is None
    # 12 parts in a hundred took 24 s, so that one part takes 2 s
    found = progress.expected_seconds(
        ["07_evaluate", "95_new"], {}, {"02_extract_activations": 24.0}
    )
    assert found == {"07_evaluate": 8.0, "95_new": 2.0}


def test_what_is_said_as_a_notebook_starts():
    assert progress.ahead("01_a", ["02_b"], {"01_a": 30.0, "02_b": 240.0}) == (
        "started, about 30 s; 4 min left in all"
    )
    assert progress.ahead("01_a", ["02_b"], None) == "started, about 50 % of what is to run"
    assert [progress.in_words(s) for s in (0.2, 89, 91, 7500)] == [
        *("1 s", "89 s", "2 min", "2 h 05 min")
    ]


def test_every_notebook_has_a_share():
    names = {path.stem[3:] for path in (project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert names == set(progress.SHARES)


def test_the_log_grows_line_by_line(tmp_path):
    said = []
    say = progress.logged(tmp_path / "deep" / "run.log", said.append)
    say("one\ntwo")
    assert (tmp_path / "deep" / "run.log").read_text().count("\n") == 2
    say("three")
    lines = (tmp_path / "deep" / "run.log").read_text().splitlines()
    assert [line[21:] for line in lines] == ["one", "two", "three"] == "\n".join(said).split("\n")
    assert lines[0][4] == "-" and lines[0][13] == ":"


def test_times_are_kept_and_a_broken_file_is_none(tmp_path):
    path = tmp_path / "times.json"
    assert progress.read_times(path) == {}
    progress.keep_time(path, "01_a", 3.0, 100)
    progress.keep_time(path, "02_b", 4.0, 200)
    assert progress.read_times(path)["01_a"] == {"seconds": 3.0, "peak_mb": 100}
    path.write_text("{")
    assert progress.read_times(path) == {}


@pytest.mark.parametrize("steps", [40])
def test_a_progress_bar_is_its_last_line_in_the_executed_notebook(tmp_path, steps):
    code = (
        "import sys\nfrom tqdm import tqdm\n"
        f"for i in tqdm(range({steps}), mininterval=0, desc='bar'):\n    sys.stderr.flush()\n"
        "print('done')"
    )
    source = tmp_path / "source.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), source)
    execute(source, tmp_path / "executed.ipynb", {})
    [cell] = [c for c in nbformat.read(tmp_path / "executed.ipynb", 4).cells if "tqdm" in c.source]
    text = "".join(output["text"] for output in cell.outputs if output.get("name") == "stderr")
    assert text.count("bar:") == 1 and f"{steps}/{steps}" in text
