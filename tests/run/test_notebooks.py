"""The whole smoke profile through papermill, with real SmolLM2 weights, as a user runs it."""

import io
import json
import shutil
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest

from prefill_router.data.costs import expected_cost
from prefill_router.evaluate.auc import per_target_auc
from prefill_router.evaluate.curves import router_curve
from prefill_router.files import project_root
from prefill_router.report.published import profiles
from prefill_router.report.rivals import of_pools
from prefill_router.report.tables import SHORT, bar_table, headline_table
from prefill_router.run.handover import read_splits
from prefill_router.run.kernel import execute
from prefill_router.run.notebooks import not_for
from prefill_router.run.workspace import open_workspace
from runs import reproduce_smoke

PROFILES = profiles(project_root())
CONTROLLED = ("reasoning_gym", "local", "zeroeval", "mmlu_pro")
pytestmark = [pytest.mark.slow, pytest.mark.weights]
FILES = {
    "metrics.csv",
    "paired.csv",
    "layers.csv",
    "curve.csv",
    "predictions.parquet",
    "manifest.json",
    "summary.md",
}


@pytest.fixture(scope="module")
def workspace(smoke_run):
    return open_workspace(
        "smoke",
        build_dir=smoke_run / "build",
        results_dir=smoke_run / "results",
        figures_dir=smoke_run / "figures",
    )


def test_every_file_and_figure_is_there(workspace):
    assert {p.name for p in workspace.published_results.iterdir()} >= FILES
    figures = workspace.published_figures
    svgs, pngs = ({p.stem for p in figures.glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svgs == pngs and len(svgs) >= 7
    executed = sorted(p.name for p in (workspace.build / "notebooks").glob("*.ipynb"))
    sources = sorted((project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    apply = [p.name for p in sources if not not_for(nbformat.read(p, 4), workspace)]
    # families are held out, and targets asked several times, elsewhere
    assert executed == apply and len(apply) == len(sources) - 2
    manifest = json.loads((workspace.published_results / "manifest.json").read_text())
    assert manifest["profile"]["name"] == "smoke"


def test_metrics_can_be_recomputed_from_the_predictions(workspace):
    """Anybody can get the numbers of metrics.csv back from predictions.parquet and the outcomes."""
    outcomes = workspace.load_outcomes()
    split = read_splits(workspace, outcomes)[0]
    predictions, metrics = (
        workspace.read_table("predictions.parquet"),
        workspace.read_table("metrics"),
    )
    predictions = predictions[predictions["part"] == "test"]
    for method in ("paper", "mlp_minilm", "benchmark_mean"):
        wide = predictions[predictions["method"] == method].pivot(
            index="query_id", columns="target", values="p_correct"
        )
        ids = outcomes.queries["query_id"].to_numpy()[split.test]
        assert set(wide.index) == set(ids)
        p = wide.loc[ids, outcomes.target_names].to_numpy(dtype=float)
        y, cost = outcomes.correct[split.test], expected_cost(outcomes, split.train)[split.test]
        row = of_pools(metrics[metrics["method"] == method]).set_index("metric")
        assert row.loc["mean_auc", "value"] == pytest.approx(
            np.nanmean(per_target_auc(p, y)), abs=1e-5
        )
        assert row.loc["accuracy", "value"] == pytest.approx(
            router_curve(p, cost, y).loc[0, "accuracy"], abs=1e-5
        )
        assert (
            row.loc["mean_auc", "ci_low"]
            <= row.loc["mean_auc", "value"]
            <= row.loc["mean_auc", "ci_high"]
        )


def test_random_routing_is_at_chance_and_the_oracle_closes_the_gap(workspace):
    metrics = workspace.read_table("metrics")
    value = of_pools(metrics).set_index(["method", "metric"])["value"]
    assert value["oracle", "gap_closed"] == pytest.approx(1.0)
    assert value["zero_router", "accuracy"] == pytest.approx(
        value["paper", "best_single_accuracy"], abs=1e-6
    )
    low, high = metrics[
        (metrics["method"] == "random")
        & (metrics["metric"] == "mean_auc")
        & metrics["target"].isna()
    ][["ci_low", "ci_high"]].iloc[0]
    assert low < 0.5 < high


# Those that draw at random: splits, folds, networks, resamples, prompts. The others are functions
# of what these write, and cost a kernel each.
RANDOM = "01,03,04,05,06,07,12,13"


def test_a_second_run_does_nothing_and_a_forced_one_gives_the_same_bytes(
    smoke_run, workspace, tmp_path, capsys
):
    assert reproduce_smoke(smoke_run) == 0
    assert "0 notebook(s) ran" in capsys.readouterr().out
    before = {
        p.name: p.read_bytes() for p in [*workspace.results.iterdir(), *workspace.figures.iterdir()]
    }
    assert reproduce_smoke(smoke_run, "--force", "--notebooks", RANDOM) == 0
    assert "smoke: reproduced: " in capsys.readouterr().out
    after = {
        p.name: p.read_bytes() for p in [*workspace.results.iterdir(), *workspace.figures.iterdir()]
    }
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def committed(path):
    """A file as it was committed: in the working tree a run on another machine may have replaced
    it, in its last digits.
    """
    found = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=project_root(), capture_output=True)
    if found.returncode:
        pytest.skip(f"no commit with {path} here")
    return found.stdout.decode()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_committed_results_are_what_the_pages_show(profile):
    metrics = pd.read_csv(io.StringIO(committed(f"results/{profile}/metrics.csv")))
    paired = pd.read_csv(io.StringIO(committed(f"results/{profile}/paired.csv")))
    assert headline_table(metrics) in committed(f"results/{profile}/summary.md")
    page = committed(f"docs/results/{profile}.md")
    for table in (headline_table(metrics, SHORT), bar_table(metrics, paired)):
        assert table in page, f"docs/results/{profile}.md does not show results/{profile}"
    assert f"](docs/results/{profile}.md)" in committed("README.md")


@pytest.mark.parametrize("profile", CONTROLLED)
def test_committed_controls_are_at_chance(profile):
    """Random features and labels of other queries must teach nothing, also averaged over splits on
    real pools.

    A permutation of labels is one draw for all targets: by chance it ties them to the benchmark,
    and their AUCs stray together. On what sets targets apart it has nothing to say either way.
    """
    metrics = pd.read_csv(io.StringIO(committed(f"results/{profile}/metrics.csv")))
    value = of_pools(metrics).set_index(["method", "metric"])["value"].sort_index()
    for method, metric, tolerance in (
        ("random", "mean_auc", 0.04),
        ("random_features", "mean_auc", 0.04),
        ("shuffled_labels", "disagreement_auc", 0.05),
        ("shuffled_labels", "mean_auc", 0.1),
    ):
        found = np.atleast_1d(value[method, metric])
        assert len(found) and (np.abs(found - 0.5) < tolerance).all(), (
            f"{profile}, {method}, {metric}: {found.tolist()}"
        )


def test_families_held_out_beside_the_random_split(workspace, tmp_path):
    """Notebook 14 on the tables of the smoke run, once as they are and once as those of a profile
    that holds families out."""
    profile = workspace.profile.as_dict() | {"name": "held_out", "split": "families"}
    del profile["label"]
    path = tmp_path / "held_out.yaml"
    path.write_text(json.dumps(profile | {"states_of": "smoke"}))
    results = tmp_path / "results"
    for name in ("smoke", "held_out"):
        shutil.copytree(workspace.results, results / name)
    folders = {f"{kind}_dir": str(tmp_path / kind) for kind in ("build", "results", "figures")}
    source = project_root() / "notebooks" / "16_families_held_out.ipynb"
    execute(source, tmp_path / "executed.ipynb", {"profile": str(path), **folders})
    table = pd.read_csv(tmp_path / "build" / "held_out" / "results" / "families.csv")
    assert set(table["split"]) == {"random", "families"} and {"ours", "paper"} <= set(
        table["method"]
    )
    wide = table.pivot_table(index=["pool", "method", "metric"], columns="split", values="value")
    assert wide["random"].equals(wide["families"].rename("random"))  # the same tables twice
    figures = {p.name for p in (tmp_path / "build" / "held_out" / "figures").glob("*.png")}
    assert figures == {"16_families.png"}
