"""Comparison of two results folders: tolerances, matching of rows, missing and extra, bytes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.run import compare, reproduce, verify

RULES = {
    "rtol": 0.01,
    "atol": 0.001,
    "columns": {"p_correct": {"atol": 0.1}},
    "metrics": {"brier": {"rtol": 0.5}},
}


def problems(a, b, rules=RULES):
    return [
        (row["column"], row["problem"])
        for row in compare.compare_tables(a, b, "t.csv", rules)
        if row["problem"]
    ]


def test_which_tolerance_counts():
    assert compare.tolerance(RULES, "value") == (0.01, 0.001)
    assert compare.tolerance(RULES, "p_correct") == (0.0, 0.1)
    assert compare.tolerance(RULES, "value", "brier") == (0.5, 0.0)
    assert compare.tolerance(RULES, "p_correct", "brier") == (0.5, 0.0)
    assert compare.tolerance({}, "value", "auc") == (0.0, 0.0)


def test_a_number_at_and_beyond_its_tolerance():
    # allowed for 2.0: 0.001 + 0.01 * 2 = 0.021
    committed = pd.DataFrame({"method": ["a", "b"], "value": [2.0, 2.0]})
    assert problems(committed, committed.assign(value=[2.0209, 1.9791])) == []
    assert problems(committed, committed.assign(value=[2.0, 2.0211])) == [
        ("value", "1 of 2 out of tolerance")
    ]


def test_the_report_names_the_worst_row_with_its_numbers():
    committed = pd.DataFrame({"method": ["a", "b", "c"], "value": [1.0, 1.0, 1.0]})
    (row,) = compare.compare_tables(
        committed, committed.assign(value=[1.1, 1.5, 1.2]), "t.csv", RULES
    )
    assert (row["row"], row["committed"], row["new"]) == ("b", 1.0, 1.5)
    assert row["deviation"] == pytest.approx(0.5) and row["allowed"] == pytest.approx(0.011)
    assert row["problem"] == "3 of 3 out of tolerance"


def test_metric_rows_have_their_own_tolerance():
    committed = pd.DataFrame({"metric": ["brier", "auc"], "value": [0.2, 0.2]})
    assert problems(committed, committed.assign(value=[0.29, 0.2])) == []
    assert problems(committed, committed.assign(value=[0.2, 0.29])) == [
        ("value", "1 of 2 out of tolerance")
    ]


def test_a_mean_limits_each_method_and_no_single_number():
    rules = {"columns": {"p": {"mean": 0.02}}}
    committed = pd.DataFrame({"method": list("aabb"), "p": [0.5, 0.5, 0.5, 0.5]})
    # means of absolute differences: (0.039 + 0) / 2 = 0.0195 and 0; then 0 and (0.03 + 0.02) / 2
    assert problems(committed, committed.assign(p=[0.539, 0.5, 0.5, 0.5]), rules) == []
    found = compare.compare_tables(
        committed, committed.assign(p=[0.5, 0.5, 0.53, 0.48]), "t.csv", rules
    )
    assert found[0]["problem"] == "mean difference of 1 of 2 methods out of tolerance"
    assert found[0]["row"] == "mean of b" and found[0]["deviation"] == pytest.approx(0.025)
    assert problems(committed, committed.assign(p=[np.nan, 0.5, 0.5, 0.5]), rules) != []


def test_missing_numbers():
    committed = pd.DataFrame({"method": ["a", "b"], "value": [np.nan, 1.0]})
    assert problems(committed, committed) == []
    assert problems(committed, committed.assign(value=[0.0, 1.0])) == [
        ("value", "1 of 2 out of tolerance")
    ]
    assert problems(committed, committed.assign(value=[np.nan, np.nan])) == [
        ("value", "1 of 2 out of tolerance")
    ]


def test_infinite_numbers():
    committed = pd.DataFrame({"value": [np.inf, 1.0]})
    assert problems(committed, committed) == []
    assert problems(committed, committed.assign(value=[1.0, np.inf])) == [
        ("value", "2 of 2 out of tolerance")
    ]


def test_rows_are_matched_by_name_and_not_by_place():
    committed = pd.DataFrame({"method": ["a", "b"], "layer": [1, 2], "value": [1.0, 2.0]})
    assert problems(committed, committed.iloc[::-1]) == []
    assert problems(committed, committed.assign(layer=[1, 3])) == [
        ("", "1 missing row"),
        ("", "1 extra row"),
    ]


def test_rows_with_one_name_are_matched_in_order():
    committed = pd.DataFrame({"method": ["a", "a"], "cost": [1.0, 2.0]})
    assert problems(committed, committed) == []
    assert problems(committed, committed.iloc[:1]) == [("", "1 missing row")]
    assert problems(committed, committed.iloc[::-1]) == [("cost", "2 of 2 out of tolerance")]


def test_columns():
    committed = pd.DataFrame({"method": ["a"], "value": [1.0]})
    assert problems(committed, committed.rename(columns={"value": "worth"})) == [
        ("value", "missing column"),
        ("worth", "extra column"),
    ]


def test_a_number_that_became_text_is_no_match():
    committed = pd.DataFrame({"value": [1.0]})
    assert problems(committed, pd.DataFrame({"value": ["error"]})) == [
        ("", "1 missing row"),
        ("", "1 extra row"),
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8),
    st.floats(0, 0.1),
    st.floats(0, 1),
)
def test_agrees_with_numpy(values, shifts, rtol, atol):
    old = np.array(values)
    new = old + np.array(shifts[: len(old)])
    inside = np.abs(new - old) <= atol + rtol * np.abs(old)
    expected = (
        [] if inside.all() else [("value", f"{(~inside).sum()} of {len(old)} out of tolerance")]
    )
    assert (
        problems(
            pd.DataFrame({"value": old}), pd.DataFrame({"value": new}), {"rtol": rtol, "atol": atol}
        )
        == expected
    )


@pytest.fixture
def folders(tmp_path):
    pair = []
    for name in ("committed", "new"):
        folder = tmp_path / name
        folder.mkdir()
        pd.DataFrame({"method": ["a"], "value": [0.5]}).to_csv(folder / "metrics.csv", index=False)
        pd.DataFrame({"query_id": ["q1"], "p_correct": np.float32([0.25])}).to_parquet(
            folder / "predictions.parquet"
        )
        (folder / "choices.json").write_text(json.dumps({"a": {"layer": 3}}))
        (folder / "manifest.json").write_text(name)
        pair.append(folder)
    return pair


def failing(report):
    return sorted(set(report.loc[report["problem"] != "", "file"]))


def test_equal_folders(folders):
    for by_bytes in (False, True):
        report = verify.compare_folders(*folders, RULES, by_bytes)
        assert failing(report) == []
        assert set(report["file"]) == {"metrics.csv", "predictions.parquet", "choices.json"}


def test_every_kind_of_file_is_read(folders):
    committed, new = folders
    pd.DataFrame({"method": ["a"], "value": [0.6]}).to_csv(new / "metrics.csv", index=False)
    pd.DataFrame({"query_id": ["q1"], "p_correct": np.float32([0.3])}).to_parquet(
        new / "predictions.parquet"
    )
    (new / "choices.json").write_text(json.dumps({"a": {"layer": 4}}))
    assert failing(verify.compare_folders(committed, new, RULES)) == ["choices.json", "metrics.csv"]
    assert len(failing(verify.compare_folders(committed, new, RULES, by_bytes=True))) == 3


def test_json_numbers_have_tolerances(folders):
    committed, new = folders
    for folder, number, text in ((committed, 1.0, "x"), (new, 1.005, "x")):
        (folder / "choices.json").write_text(
            json.dumps({"a": [{"number": number, "text": text}, None]})
        )
    assert failing(verify.compare_folders(committed, new, RULES)) == []
    (new / "choices.json").write_text(json.dumps({"a": [{"number": 1.0, "text": "y"}, None]}))
    assert failing(verify.compare_folders(committed, new, RULES)) == ["choices.json"]


def test_missing_extra_and_unreadable_files(folders):
    committed, new = folders
    (new / "metrics.csv").rename(new / "other.csv")
    (new / "predictions.parquet").write_bytes(b"not parquet")
    report = verify.compare_folders(committed, new, RULES).set_index("file")["problem"]
    assert report["metrics.csv"] == "missing file" and report["other.csv"] == "extra file"
    assert report["predictions.parquet"].startswith("unreadable")


def profile_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "outcomes": "d",
                "encoder": "e",
                "sentence_encoder": "s",
                "verify": RULES,
            }
        )
    )
    return str(path)


def test_command_line_against(folders, tmp_path, capsys):
    committed, new = map(str, folders)
    arguments = ["--profile", profile_file(tmp_path), "--results", committed, "--against", new]
    assert verify.main(arguments) == 0 and verify.main([*arguments, "--bytes"]) == 0
    assert "3 file(s) agree byte for byte" in capsys.readouterr().out
    (folders[1] / "metrics.csv").write_text("method,value\na,0.7\n")
    assert verify.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "1 of 1 out of tolerance" in printed and "1 problem(s)" in printed


def test_command_line_refuses(folders, tmp_path, capsys):
    assert verify.main(["--profile", "locla"]) == 2
    assert "did you mean 'local'" in capsys.readouterr().err
    assert (
        verify.main(["--profile", profile_file(tmp_path), "--against", str(tmp_path / "none")]) == 2
    )
    assert "does not exist" in capsys.readouterr().err


def test_empty_folders_are_no_agreement(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert (
        verify.main(
            [
                "--profile",
                profile_file(tmp_path),
                "--results",
                str(tmp_path / "a"),
                "--against",
                str(tmp_path / "b"),
            ]
        )
        == 1
    )


def test_command_line_runs_from_a_clean_build(tmp_path, monkeypatch, capsys):
    value = {"now": 0.5, "status": 0}

    def fake(arguments):
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        assert given["--profile"] == profile and given["--device"] == "cpu"
        assert not stale.exists()
        for kind, name, text in (
            ("results", "t.csv", f"value\n{value['now']}\n"),
            ("figures", "f.svg", "x"),
        ):
            assert given[f"--{kind}-dir"] == str(tmp_path / "build" / "verify" / kind)
            folder = tmp_path / "build" / "verify" / kind / "tiny"
            folder.mkdir(parents=True)
            (folder / name).write_text(text)
        return value["status"]

    monkeypatch.setattr(verify, "project_root", lambda: tmp_path)
    monkeypatch.setattr(reproduce, "main", fake)
    profile = profile_file(tmp_path)
    stale = tmp_path / "build" / "verify" / "results" / "tiny" / "stale.csv"
    for kind, name, text in (("results", "t.csv", "value\n0.5\n"), ("figures", "f.svg", "y")):
        (tmp_path / kind / "tiny").mkdir(parents=True)
        (tmp_path / kind / "tiny" / name).write_text(text)
    stale.parent.mkdir(parents=True)
    stale.write_text("value\n1\n")
    arguments = ["--profile", profile, "--device", "cpu"]
    assert verify.main(arguments) == 0
    assert verify.main([*arguments, "--bytes"]) == 1, "the figure's bytes differ"
    value["now"] = 0.6
    assert verify.main(arguments) == 1
    value["status"] = 130
    assert verify.main(arguments) == 130
