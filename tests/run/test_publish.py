"""What a run publishes: what agrees stays byte for byte, what does not is replaced and named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from prefill_router.files import file_hash, project_root
from prefill_router.run.compare import compare_folders
from prefill_router.run.conclusions import compare_conclusions
from prefill_router.run.headline import headline_rows, largest_difference
from prefill_router.run.notebooks import Ran
from prefill_router.run.publish import compare_run, looks_the_same, publish
from prefill_router.run.reproduced import details, outcome
from prefill_router.run.workspace import open_workspace

RULES = {"atol": 0.01, "columns": {"p_correct": {"mean": 0.01}}}
INPUTS = {
    "outcomes": {},
    "library": "l",
    "prices": None,
    "notebooks": {},
    "versions": {"numpy": "2"},
}
PAIRED = pd.DataFrame(
    {
        "pool": "all",
        "method_a": "ours",
        "method_b": ["paper", "tfidf", "oracle", "random"],
        "diff": [0.02, 0.001, -0.2, 0.0],
        "ci_low": [0.01, -0.002, -0.3, np.nan],
        "ci_high": [0.03, 0.004, -0.1, np.nan],
    }
)
METRICS = pd.DataFrame({"metric": ["accuracy", "brier"], "value": [0.7, 0.1]})


def picture(path, line: int) -> None:
    """A black column on white, and an SVG with other bytes each time."""
    pixels = np.full((50, 50, 3), 255, np.uint8)
    pixels[:, line] = 0
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    path.with_suffix(".svg").write_text(f"<svg>{np.random.default_rng().random()}</svg>")


@pytest.fixture
def workspace(tmp_path):
    path = tmp_path / "tiny.yaml"
    names = ("outcomes", "encoder", "sentence_encoder")
    path.write_text(yaml.safe_dump({"name": "tiny", "verify": RULES} | dict.fromkeys(names, "x")))
    folders = {f"{name}_dir": tmp_path / name for name in ("build", "results", "figures")}
    ws = open_workspace(str(path), **folders)
    ws.write_table(PAIRED, "paired")
    ws.write_table(METRICS, "metrics")
    (ws.results / "report.md").write_text("0.7 right\n")
    picture(ws.figures / "f.png", 10)
    return ws


def ran(ws, *without: str) -> Ran:
    outputs = [
        f"{kind}/{path.name}"
        for kind in ("results", "figures")
        for path in sorted(getattr(ws, kind).iterdir())
        if path.name not in without
    ]
    stamp = {"outputs": dict.fromkeys(outputs, "")}
    return Ran(["01_a"], {"01_a": stamp}, INPUTS, not without)


def state(ws) -> dict[str, bytes]:
    folders = (ws.published_results, ws.published_figures)
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_the_first_run_writes_everything_and_the_second_nothing(workspace):
    first = publish(workspace, ran(workspace))
    assert first.comparison.report.empty and first.replaced == []
    assert first.new == [
        *(f"results/{name}" for name in ("metrics.csv", "paired.csv", "report.md")),
        *("figures/f.png", "figures/f.svg"),
    ]
    before = state(workspace)
    assert set(before) >= {"manifest.json", "f.svg"}
    second = publish(workspace, ran(workspace))
    assert (second.new, second.replaced, second.other_picture) == ([], [], [])
    assert outcome(second.comparison, 0.0) == (
        "reproduced: 3 of 3 conclusions, headline numbers equal, no number differs"
    )
    assert state(workspace) == before and list(details(second, ["library"])) == []


def test_what_agrees_stays_byte_for_byte(workspace):
    publish(workspace, ran(workspace))
    before = state(workspace)
    workspace.write_table(METRICS.assign(value=[0.705, 0.1]), "metrics")
    (workspace.results / "report.md").write_text("0.705 right\n")
    picture(workspace.figures / "f.png", 10)
    done = publish(workspace, ran(workspace))
    assert state(workspace) == before and done.comparison.reproduced
    told = outcome(done.comparison, 0.005)
    assert "headline numbers within 0.005, largest difference 0.005 (0.01 allowed: value in" in told


def test_a_number_out_of_tolerance_is_replaced_and_named_with_what_was_made_of_it(workspace):
    publish(workspace, ran(workspace))
    before = state(workspace)
    workspace.write_table(METRICS.assign(value=[0.75, 0.1]), "metrics")
    workspace.write_table(PAIRED.assign(diff=PAIRED["diff"] + 0.001), "paired")
    (workspace.results / "report.md").write_text("0.75 right\n")
    picture(workspace.figures / "f.png", 30)
    done = publish(workspace, ran(workspace))
    assert done.replaced == [
        *("results/metrics.csv", "results/report.md", "figures/f.png", "figures/f.svg")
    ]
    after = state(workspace)
    assert after["paired.csv"] == before["paired.csv"] and b"0.75" in after["metrics.csv"]
    known = json.loads(after["manifest.json"])["figures"]["f.png"]
    assert known == file_hash(workspace.published_figures / "f.png")
    assert outcome(done.comparison, 0.05).startswith("not reproduced: 3 of 3 conclusions")
    told = "\n".join(details(done, ["library"]))
    assert "value in metrics.csv, accuracy: 0.7 before, now 0.75 (differs by 0.05, 0.01 all" in told
    assert "Differs from the run that was published: library." in told
    assert "Replaced: results/metrics.csv" in told


def test_a_changed_sign_is_no_reproduction_even_within_the_tolerance(workspace):
    publish(workspace, ran(workspace))
    moved = PAIRED.assign(ci_low=[0.01, 0.0005, -0.3, np.nan])  # by 0.0025 of 0.01 allowed
    workspace.write_table(moved, "paired")
    done = publish(workspace, ran(workspace))
    assert done.replaced == ["results/paired.csv"] and not done.comparison.reproduced
    assert outcome(done.comparison, 0.0).startswith("not reproduced: 2 of 3 conclusions")
    assert "paired.csv: all, ours, tfidf: neither side of 0 before, now above" in "\n".join(
        details(done, [])
    )


def test_accept_writes_all_of_the_run(workspace):
    publish(workspace, ran(workspace))
    workspace.write_table(METRICS.assign(value=[0.7001, 0.1]), "metrics")
    picture(workspace.figures / "f.png", 10)
    done = publish(workspace, ran(workspace), accept=True)
    assert done.replaced == ["results/metrics.csv", "figures/f.svg"]
    assert b"0.7001" in state(workspace)["metrics.csv"] and done.comparison.reproduced


def test_a_part_of_the_notebooks_touches_nothing_else(workspace):
    publish(workspace, ran(workspace))
    before = state(workspace)
    workspace.write_table(METRICS.assign(value=[0.8, 0.1]), "metrics")
    (workspace.results / "paired.csv").unlink()
    said = []
    done = publish(workspace, ran(workspace, "report.md", "f.png", "f.svg"), say=said.append)
    assert done.replaced == ["results/metrics.csv"]
    after = state(workspace)
    assert {name for name in before if before[name] != after.get(name)} == {"metrics.csv"}
    assert said == ["results: manifest.json is not rewritten: some notebooks are not up to date."]


def test_a_profile_without_tolerances_gets_everything_written(workspace):
    object.__setattr__(workspace.profile, "verify", {})
    publish(workspace, ran(workspace))
    workspace.write_table(METRICS.assign(value=[0.7001, 0.1]), "metrics")
    done = publish(workspace, ran(workspace))
    assert done.comparison is None and done.replaced == ["results/metrics.csv"]


def test_a_figure_drawn_otherwise_is_named_and_left_while_its_tables_agree(workspace):
    publish(workspace, ran(workspace))
    before = state(workspace)
    picture(workspace.figures / "f.png", 30)
    done = publish(workspace, ran(workspace))
    assert done.other_picture == ["figures/f.png", "figures/f.svg"] and state(workspace) == before
    assert "`make accept` writes them" in "\n".join(details(done, []))
    (workspace.published_figures / "f.svg").unlink()
    assert publish(workspace, ran(workspace)).new == ["figures/f.svg"]


def test_pictures(tmp_path):
    for name, line in (("a", 10), ("b", 10), ("c", 12)):
        picture(tmp_path / f"{name}.png", line)
    same = [looks_the_same(tmp_path / "a.svg", tmp_path / f"{n}.svg") for n in "bc"]
    assert same == [True, False] and not looks_the_same(tmp_path / "a.svg", tmp_path / "x.svg")


def test_what_an_interval_says():
    low, high = [1e-12, 0.1, -0.2, np.nan, -0.1], [0.3, 0.3, -0.1, np.nan, -1e-12]
    table = pd.DataFrame({"method": list("abcde"), "diff": 0.0, "ci_low": low, "ci_high": high})
    said = compare_conclusions(table, table.iloc[:2])
    assert said["committed"].tolist() == ["neither", "above", "below", "neither"]
    assert said["new"].tolist() == ["neither", "above", "missing", "missing"]
    renamed = {"diff": "over_mean", "ci_low": "mean_low", "ci_high": "mean_high"}
    said = compare_conclusions(*[table.rename(columns=renamed)] * 2)
    assert len(said) == 4 and (said["committed"] == said["new"]).all()
    assert compare_conclusions(METRICS, METRICS).empty


@pytest.mark.parametrize("profile", ["reasoning_gym", "local"])
def test_committed_tables_shifted_and_turned_over(tmp_path, profile):
    committed = project_root() / "results" / profile
    run = tmp_path / "run"
    names = ["metrics.csv", "paired.csv", "query_costs.csv"]
    run.mkdir()
    for name in names:
        shutil.copy(committed / name, run / name)
    rules = {"rtol": 0.02, "atol": 0.01}
    same = compare_run(committed, run, names, rules)
    intervals = pd.read_csv(committed / "paired.csv")["ci_low"].notna().sum()
    assert same.reproduced and len(same.conclusions) > intervals > 100

    paired = pd.read_csv(run / "paired.csv")
    at = int((paired["ci_low"] > 0).to_numpy().nonzero()[0][0])
    columns = ["diff", "ci_low", "ci_high"]
    turned = -paired.loc[at, ["diff", "ci_high", "ci_low"]].to_numpy(dtype=float)
    paired.loc[at, columns] = turned
    paired.to_csv(run / "paired.csv", index=False)
    found = compare_run(committed, run, names, rules)
    assert len(found.changed) == 1 and found.changed.iloc[0][["committed", "new"]].tolist() == [
        "above",
        "below",
    ]
    assert set(found.problems["file"]) == {"paired.csv"} and not found.reproduced

    tables = {name: pd.read_csv(committed / f"{name}.csv") for name in ("metrics", "pools")}
    of_auc = tables["metrics"]["metric"] == "mean_auc"
    moved = tables["metrics"].assign(value=tables["metrics"]["value"] + 0.003 * of_auc)
    assert largest_difference(tables, tables) == 0
    assert largest_difference(tables, tables | {"metrics": moved}) == pytest.approx(0.003)


def test_headline_numbers_are_those_of_the_tables():
    tables = {
        name: pd.read_csv(project_root() / "results" / "local" / f"{name}.csv")
        for name in ("metrics", "pools", "decisions", "decision_differences")
    }
    rows = headline_rows(tables, "all").set_index(["row", "metric"])
    assert set(rows.index.get_level_values("row")) == {
        *("ours", "paper", "text", "best_single", "oracle")
    }
    planned = tables["decisions"].set_index(["method", "operating_point", "metric"])
    saving = planned.loc[("ours", "no_loss", "saving_over_best_single")]
    assert rows.loc[("ours", "cost"), "value"] == 1 - saving["value"].item()
    assert rows.loc[("ours", "cost"), "ci_low"] == 1 - saving["ci_high"].item()
    assert rows.loc[("best_single", "cost"), "value"] == 1
    without = {name: tables[name] for name in ("metrics", "pools")}
    of_metrics = tables["metrics"][
        (tables["metrics"]["method"] == "ours")
        & (tables["metrics"]["operating_point"] == "calibrated")
    ].set_index("metric")["value"]
    rows = headline_rows(without, "all").set_index(["row", "metric"])
    assert rows.loc[("ours", "accuracy"), "value"] == of_metrics["accuracy"]


@pytest.mark.parametrize("kind", ["results", "figures"])
def test_committed_manifests_hold_no_times_and_no_memory(kind):
    paths = sorted((project_root() / kind).glob("*/manifest.json"))
    assert len(paths) > 5
    for path in paths:
        words = set(names_in(json.loads(path.read_text())))
        assert not {w for w in words if "second" in w or "time" in w or w[-2:] == "mb"}, path
        assert not {w for w in words if "memory" in w}, path


def names_in(content):
    for key, value in content.items() if isinstance(content, dict) else []:
        yield key
        yield from names_in(value)


def test_the_same_mechanism_verifies(workspace):
    publish(workspace, ran(workspace))
    moved = PAIRED.assign(ci_low=[0.01, 0.0005, -0.3, np.nan])
    workspace.write_table(moved, "paired")
    report = compare_folders(workspace.published_results, workspace.results, RULES)
    assert report.loc[report["problem"] != "", "problem"].tolist() == [
        "1 of 3 conclusions changed, the first from neither to above"
    ]
