"""Profiles: checked keys and values. Workspace: folders, tables and figures that repeat byte for
byte.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.splits import subset_rows
from prefill_router.files import project_root, replacing
from prefill_router.heads.names import DEFAULT_BASELINES
from prefill_router.run import profile_files
from prefill_router.run.arguments import command_line, profile_of
from prefill_router.run.own_profile import write_profile_of_methods
from prefill_router.run.profile import ProfileError
from prefill_router.run.profile_files import load_profile
from prefill_router.run.profile_types import Ensemble
from prefill_router.run.workspace import open_workspace

GOOD = {
    "name": "tiny",
    "outcomes": "data/local",
    "encoder": "an-encoder",
    "sentence_encoder": "a-sentence-encoder",
}


def write(folder, **changes):
    content = GOOD | changes
    path = folder / f"{GOOD['name']}.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in content.items() if value != "absent"})
    )
    return str(path)


def test_local_holds_the_specification():
    profile = load_profile("local")
    assert dict(profile.ensemble) == {"members": 10, "keep": 5, "max_epochs": 150, "patience": 15}
    assert profile.seeds == (0, 1, 2, 3, 4) and profile.component_sizes == (50, 100, 150, 200, 300)
    assert (profile.bootstrap, profile.folds, profile.subset, profile.label) == (
        1000,
        5,
        None,
        "local",
    )


def test_smoke_is_small():
    profile = load_profile("smoke")
    assert dict(profile.ensemble) == {"members": 3, "keep": 2, "max_epochs": 40, "patience": 15}
    assert (profile.subset, profile.seeds, profile.bootstrap, profile.folds) == (240, (0,), 100, 3)
    assert profile.component_sizes == (20, 50) and profile.encoder == load_profile("local").encoder


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ProfileError, match=r"'locl'; did you mean 'local'\? Known: .*smoke"):
        load_profile("locl")


def test_other_yaml_files_are_no_profiles(tmp_path):
    write(tmp_path)
    (tmp_path / "prices.yaml").write_text("some-target: {input: 1}\n")
    assert profile_files.profile_names(tmp_path) == ["tiny"]
    with pytest.raises(ProfileError, match="no profile 'prices'"):
        load_profile("prices", config_dir=tmp_path)


def test_unknown_keys_and_missing_keys_come_together(tmp_path):
    path = write(tmp_path, bootstraps=10, encoder="absent")
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert "unknown key 'bootstraps'; did you mean 'bootstrap'?" in str(caught.value)
    assert "the key 'encoder' is missing" in str(caught.value)


def test_unknown_override_and_none(tmp_path):
    path = write(tmp_path, device="cpu")
    assert load_profile(path, device=None).device == "cpu"
    assert load_profile(path, device="cuda:1").device == "cuda:1"
    with pytest.raises(ProfileError, match="unknown key 'devise'; did you mean 'device'"):
        load_profile(path, devise="cpu")


@pytest.mark.parametrize(
    "key, value",
    [
        ("seeds", []),
        ("seeds", [0, 0]),
        ("seeds", [-1]),
        ("seeds", [True]),
        ("fractions", [0.7, 0.2, 0.2]),
        ("fractions", [0.5, 0.5]),
        ("subset", 0),
        ("subset", "all"),
        ("poolings", ["first"]),
        ("poolings", []),
        ("pools", {}),
        ("pools", {"one": ["a"]}),
        ("pools", {"twice": ["a", "a"]}),
        ("layer_choice", "auc"),
        ("cost_model", "free"),
        ("device", "gpu"),
        ("dtype", "int8"),
        ("folds", 1),
        ("bootstrap", 0),
        ("component_sizes", [0]),
        ("ensemble", {"members": 2, "keep": 3}),
        ("ensemble", {"member": 2}),
        ("ensemble", {"members": 0}),
        ("verify", {"rtol": -1}),
        ("verify", {"metrics": {"brier": 0.1}}),
        ("verify", {"tolerance": 1}),
        ("encoder", ""),
        ("name", "other"),
        ("batch_tokens", 1.5),
        ("baselines", []),
        ("baselines", ["knn", "knn"]),
        ("baselines", "knn"),
    ],
)
def test_bad_values_are_refused(tmp_path, key, value):
    with pytest.raises(ProfileError, match=key):
        load_profile(write(tmp_path, **{key: value}))


def test_baselines_are_known_by_name(tmp_path):
    assert load_profile(write(tmp_path)).baselines == DEFAULT_BASELINES
    chosen = ["category_residual", "random"]
    assert load_profile(write(tmp_path, baselines=chosen)).baselines == tuple(chosen)
    with pytest.raises(ProfileError, match=r"'baselines' must be a list .* knn.*avengers_pro"):
        load_profile(write(tmp_path, baselines=["knn", "oracles"]))


def test_not_yaml_and_not_a_table(tmp_path):
    path = tmp_path / "tiny.yaml"
    for text in ("encoder: [", "- encoder"):
        path.write_text(text)
        with pytest.raises(ProfileError, match="tiny.yaml"):
            load_profile(str(path))
    with pytest.raises(ProfileError, match="no profile file"):
        load_profile(str(tmp_path / "none.yaml"))


def test_another_encoder_gets_folders_of_its_own(tmp_path):
    path = write(tmp_path)
    assert load_profile(path, encoder="an-encoder").label == "tiny"
    assert load_profile(path, encoder="Some-Org/Encoder_1.5B").label == "tiny--encoder-1.5b"


def test_a_profile_cannot_be_changed_and_round_trips(tmp_path):
    profile = load_profile(write(tmp_path, ensemble={"hidden": [8, 4]}))
    with pytest.raises(TypeError):
        profile.ensemble["members"] = 1
    assert profile.ensemble["hidden"] == (8, 4)
    content = profile.as_dict()
    assert content.pop("label") == "tiny"
    assert yaml.safe_load(yaml.safe_dump(content)) == content
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    assert load_profile(str(tmp_path / "tiny.yaml")) == profile


def test_pools(tmp_path):
    profile = load_profile(write(tmp_path, pools={"all": "*", "pair": ["c", "a"]}))
    assert profile.pool_targets(["a", "b", "c"]) == {"all": ["a", "b", "c"], "pair": ["c", "a"]}
    with pytest.raises(ProfileError, match="pool 'pair' names the target 'c'"):
        profile.pool_targets(["a", "b"])


def test_ensemble_keys_are_those_of_the_trunk():
    trunk = pytest.importorskip("prefill_router.heads.trunk")
    assert set(Ensemble.__annotations__) == set(trunk.TrunkConfig.__dataclass_fields__)


def queries(groups):
    return pd.DataFrame(
        [
            {"query_id": f"q{g:03d}-{i:03d}", "category": f"c{g % 3}", "group": f"g{g:03d}"}
            for g, size in enumerate(groups)
            for i in range(size)
        ]
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(6, 60), st.integers(0, 5))
def test_subset_keeps_groups_whole_and_ignores_row_order(groups, size, seed):
    table = queries(groups)
    rows = subset_rows(table, size, seed)
    assert len(rows) == len(set(rows)) <= size
    chosen = table.iloc[rows]
    assert (
        chosen.groupby("group").size().to_dict()
        == table[table["group"].isin(chosen["group"])].groupby("group").size().to_dict()
    )
    # a group that was left out would not have fitted
    left = table[~table["group"].isin(chosen["group"])].groupby("group").size()
    assert left.empty or left.min() > size - len(rows)
    shuffled = table.sample(frac=1, random_state=seed)
    assert set(shuffled.iloc[subset_rows(shuffled, size, seed)]["query_id"]) == set(
        chosen["query_id"]
    )


def test_subset_takes_turns_over_categories():
    # nine groups of two, three per category; six queries are three groups, one of each category
    rows = subset_rows(queries([2] * 9), 6)
    assert sorted(queries([2] * 9).iloc[rows]["category"]) == ["c0", "c0", "c1", "c1", "c2", "c2"]


def test_subset_smaller_than_any_group():
    with pytest.raises(OutcomesError, match=r"subset 2 .* \(3\)"):
        subset_rows(queries([3, 4]), 2)


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(
        write(tmp_path),
        build_dir=tmp_path / "b",
        results_dir=tmp_path / "r",
        figures_dir=tmp_path / "f",
    )


def test_workspace_folders(workspace, tmp_path):
    assert (workspace.build, workspace.results, workspace.figures) == (
        tmp_path / "b" / "tiny",
        tmp_path / "b" / "tiny" / "results",
        tmp_path / "b" / "tiny" / "figures",
    )
    assert workspace.published_results == tmp_path / "r" / "tiny"
    assert workspace.published_figures == tmp_path / "f" / "tiny"
    assert all(
        folder.is_dir() for folder in (workspace.build, workspace.results, workspace.figures)
    )
    assert workspace.outcomes_folder == project_root() / "data" / "local"


def test_tables_round_trip_in_one_format(workspace):
    table = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, np.nan], "n": [3, 4]})
    path = workspace.write_table(table, "metrics")
    assert path.read_bytes() == b"name,value,n\na,0.333333,3\nb,,4\n"
    assert workspace.read_table("metrics.csv")["value"].tolist()[0] == 0.333333
    workspace.write_table(table, "p.parquet")
    pd.testing.assert_frame_equal(workspace.read_table("p.parquet"), table)
    with pytest.raises(FileNotFoundError, match="make reproduce PROFILE=tiny"):
        workspace.read_table("absent")


def test_a_published_table_is_read_until_the_run_has_its_own(workspace):
    workspace.published_results.mkdir(parents=True)
    workspace.published_figures.mkdir(parents=True)
    (workspace.published_results / "t.csv").write_text("a\n1\n")
    (workspace.published_figures / "f.png").write_text("x")
    assert workspace.read_table("t")["a"].tolist() == [1]
    assert workspace.find_figure("f") == workspace.published_figures / "f.png"
    workspace.write_table(pd.DataFrame({"a": [2]}), "t")
    assert workspace.read_table("t")["a"].tolist() == [2]
    assert (workspace.published_results / "t.csv").read_text() == "a\n1\n"
    assert workspace.find_figure("absent") is None and workspace.find_table("absent") is None


def test_a_failed_write_leaves_the_old_file(workspace):
    path = workspace.write_table(pd.DataFrame({"a": [1]}), "t")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "a\n1\n"
    assert [found.name for found in workspace.results.iterdir()] == ["t.csv"]


def test_figures_repeat_byte_for_byte(workspace):
    contents = []
    for _ in range(2):
        fig, ax = plt.subplots(figsize=(2, 1))
        ax.plot([0, 1], [0, 1], label="a")
        ax.fill_between([0, 1], [0, 0], [1, 1], hatch="/")  # hatches and clips carry generated ids
        ax.legend()
        svg = workspace.save_figure(fig, "f")
        plt.close(fig)
        contents.append((svg.read_bytes(), svg.with_suffix(".png").read_bytes()))
    assert contents[0] == contents[1]
    assert b"<dc:date>" not in contents[0][0] and b"Matplotlib v" not in contents[0][0]


def test_the_paper_profile_names_a_hub_encoder_and_the_specifications_network():
    from prefill_router.encode.sources import resolve
    from prefill_router.heads.network import TrunkConfig

    profile = load_profile("paper")
    source = resolve(profile.encoder)
    assert source.kind == "hub" and "Qwen3.5" in source.location
    assert TrunkConfig(**profile.ensemble) == TrunkConfig()
    assert set(profile.pools) == {"frontier", "small", "mixed"}


def test_methods_may_be_chosen_for_a_profile(tmp_path):
    profile = load_profile(str(write_profile_of_methods("smoke", ["ours", "paper"], tmp_path)))
    assert profile.methods == ("ours", "paper") and profile.label == "smoke_ours_paper"
    base = load_profile("smoke").as_dict()
    assert {k for k, v in profile.as_dict().items() if v != base[k]} == {"name", "methods", "label"}
    with pytest.raises(ProfileError, match=r"no method 'papr'; did you mean 'paper'\? Known: "):
        write_profile_of_methods("smoke", ["papr"], tmp_path)
    with pytest.raises(ProfileError, match=r"'methods' must be .*with paper among them"):
        write_profile_of_methods("smoke", ["ours"], tmp_path)
    arguments = command_line("reproduce", "", "profile", "outcomes", "methods", "build-dir")
    given = ["--profile", "smoke", "--methods", "paper, ours", "--build-dir", str(tmp_path)]
    path = Path(profile_of(arguments.parse_args(given)))
    assert path == tmp_path / "own" / "smoke_paper_ours.yaml" and path.is_file()
    assert profile_of(arguments.parse_args(["--profile", "smoke"])) == "smoke"
