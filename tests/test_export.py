"""Exported routers in the hands of readers that know nothing but docs/formats.md, and what is refused."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from readers import read_own, read_switchyard, read_switchyard_json, read_toolkit
from safetensors.numpy import load_file, save_file
from test_router import CONFIG, outcomes, store  # noqa: F401  (fixtures: a tiny encoder's outcomes and activations)

from prefill_router.activations import ActivationStore
from prefill_router.experiment import read_note
from prefill_router.export import FORMATS, ExportError, export, hub_name, main, router_for
from prefill_router.profiles import open_workspace
from prefill_router.router import Router, RouterError

pytestmark = pytest.mark.usefixtures("one_thread")
READERS = {"own": read_own, "switchyard": read_switchyard, "switchyard_json": read_switchyard_json, "toolkit": read_toolkit}
PAIRS = [(fmt, method) for fmt, (_, methods) in FORMATS.items() for method in methods if method != "ours"]  # of ours no other project knows


def states(store, ids):  # noqa: F811
    return {pooling: np.stack([store.read(layer, pooling, ids) for layer in range(store.n_layers + 1)]).astype(np.float32) for pooling in ("last", "mean")}


@pytest.fixture(scope="module")
def routers(outcomes, store):  # noqa: F811
    return {method: Router.fit(outcomes, store, np.arange(160), method, config=CONFIG, sizes=(4, 8), progress=False) for method in ("paper", "shared_block", "adapter_trunk")}


def written(routers, fmt, method, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return export(routers[method], fmt, folder, allow_pickle=True)


@pytest.mark.parametrize("fmt, method", PAIRS)
def test_an_independent_reader_gives_our_probabilities(routers, store, outcomes, fmt, method, tmp_path):  # noqa: F811
    files = written(routers, fmt, method, tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f.name for f in files)
    reader, ids = READERS[fmt](tmp_path), outcomes.queries["query_id"].tolist()[:200]
    assert reader.names == routers[method].target_names
    np.testing.assert_allclose(reader.predict(states(store, ids)), routers[method].predict_proba(store, ids), atol=1e-4)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("fmt, method", PAIRS)
def test_on_a_real_encoder(smoke_run, fmt, method, tmp_path):
    check_profile(open_workspace("smoke", build_dir=smoke_run / "build", results_dir=smoke_run / "results", figures_dir=smoke_run / "figures"), fmt, method, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["local", "zeroeval"])
@pytest.mark.parametrize("fmt, method", PAIRS)
def test_on_the_profiles_that_ran_here(profile, fmt, method, tmp_path):
    workspace = open_workspace(profile)
    if not (workspace.build / "encoder.json").is_file():
        pytest.skip(f"the profile {profile} was not run in this checkout (make reproduce PROFILE={profile})")
    check_profile(workspace, fmt, method, tmp_path)


def check_profile(workspace, fmt, method, folder):
    router = router_for(workspace, fmt, method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        export(router, fmt, folder, allow_pickle=True)
    real = ActivationStore(workspace.build / read_note(workspace, "encoder")["folder"])
    ids = pd.Series(real.query_ids).sample(200, random_state=0).tolist()
    np.testing.assert_allclose(READERS[fmt](folder).predict(states(real, ids)), router.predict_proba(real, ids), atol=1e-4)


def test_the_worked_example_of_the_page(tmp_path):
    one = {
        "format_version": 1, "encoder": {"name": "e", "view": "task_prompt_only", "n_layers": 3, "hidden_dim": 2},
        "architecture": {"activation": "ReLU", "ensemble_reduction": "mean(sigmoid(logits))"},
        "feature_pipeline": {
            "pooling": "mean of independently standardized selected layers", "selected_layers": [3], "layer_mean": {"3": torch.tensor([1.0, 0])}, "layer_std": {"3": torch.tensor([2.0, 1])},
            "scaler_mean": torch.zeros(2), "scaler_scale": torch.tensor([1.0, 2]), "pca_mean": torch.zeros(2), "pca_components": torch.tensor([[0.6, 0.8]]),
        },
        "models": ["m"],
        "model_state_dicts": [{
            "adapters.0.weight": torch.tensor([[2.0]]), "adapters.0.bias": torch.tensor([-1.0]), "trunk.0.weight": torch.tensor([[1.0]]), "trunk.0.bias": torch.tensor([0.5]),
            "heads.0.weight": torch.tensor([[-1.0]]), "heads.0.bias": torch.tensor([1.0]),
        }],
    }
    torch.save(one, tmp_path / "router.pt")
    x = np.zeros((4, 1, 2), np.float32)
    x[3] = [5, 2]
    np.testing.assert_allclose(read_switchyard(tmp_path).predict({"last": x, "mean": x}), [[0.0759]], atol=5e-5)


def change_json(folder, **changes):
    path = folder / "router.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder, change):
    tensors = load_file(folder / "router.safetensors")
    change(tensors)
    save_file(tensors, folder / "router.safetensors")


def change_torch(folder, change):
    data = torch.load(folder / "router.pt", weights_only=False)
    change(data)
    torch.save(data, folder / "router.pt")


@pytest.mark.parametrize(
    "fmt, method, damage, message",
    [
        ("own", "paper", lambda f: change_tensors(f, lambda t: t["member0.layers.0.bias"].fill(1)), "router.json: sha256"),
        ("own", "adapter_trunk", lambda f: change_json(f, format=1), "router.json: format"),
        ("switchyard", "adapter_trunk", lambda f: change_torch(f, lambda d: d["feature_pipeline"].update(scaler_scale=torch.zeros(16))), "scaler_scale: has values that are not positive"),
        ("switchyard", "adapter_trunk", lambda f: change_torch(f, lambda d: d["model_state_dicts"][0].pop("heads.1.bias")), "heads.1.bias"),
        ("switchyard", "adapter_trunk", lambda f: change_torch(f, lambda d: d["models"].append("third")), "adapters.2"),
        ("switchyard_json", "shared_block", lambda f: change_json(f, training_mode="other"), "router.json: training_mode"),
        ("switchyard_json", "shared_block", lambda f: change_tensors(f, lambda t: t["transform.scaler_mean"].fill(np.nan)), "scaler_mean: has NaN"),
        ("toolkit", "paper", lambda f: change_torch(f, lambda d: d.update(version=1)), "router.pt: version"),
        ("toolkit", "shared_block", lambda f: change_torch(f, lambda d: d["shared_trunk"].clear()), "shared_trunk: is not a list"),
    ],
)
def test_malformed_files_are_refused_by_the_readers(routers, fmt, method, damage, message, tmp_path):
    written(routers, fmt, method, tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        READERS[fmt](tmp_path)


def test_switchyards_file_holds_tensors_and_plain_values_alone(routers, tmp_path):
    written(routers, "switchyard", "adapter_trunk", tmp_path)
    data = torch.load(tmp_path / "router.pt", weights_only=True)  # refuses any other object
    assert data["models"] == ["cheap", "dear"] and data["feature_pipeline"]["selected_layers"] == list(routers["adapter_trunk"].features.layers)
    assert {t.dtype for state in data["model_state_dicts"] for t in state.values()} == {torch.float32}


def test_what_a_format_cannot_hold_is_refused(routers, tmp_path):
    for fmt, method, options, message in (
        ("onnx", "paper", {}, "unknown format 'onnx'"), ("switchyard", "paper", {}, r"cannot hold a router of the method 'paper'; train one with Router.fit\(..., method='adapter_trunk'\)"),
        ("toolkit", "paper", {}, "is a pickle"), ("switchyard_json", "adapter_trunk", {}, "cannot hold"),
    ):
        with pytest.raises(ExportError, match=message):
            export(routers[method], fmt, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="a pickle is written"):
        export(routers["paper"], "toolkit", tmp_path / "out", allow_pickle=True)
    with pytest.warns(UserWarning, match="takes 200 components"):
        export(routers["shared_block"], "switchyard_json", tmp_path / "other")


def test_the_encoder_is_named_as_a_hub_knows_it(routers, tmp_path):
    assert hub_name(routers["paper"]) == "tiny/llama"
    embedded = shutil.copytree(routers["paper"].save(tmp_path / "a"), tmp_path / "b")
    change_json(embedded, encoder=routers["paper"].encoder_note | {"name": "smollm2-135m-instruct"})
    assert hub_name(Router.load(embedded)) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    change_json(embedded, encoder=routers["paper"].encoder_note | {"name": "org/model@abc"})
    assert hub_name(Router.load(embedded)) == "org/model"
    export(routers["adapter_trunk"], "switchyard", tmp_path / "c", encoder_name="mine/own")
    assert torch.load(tmp_path / "c" / "router.pt", weights_only=True)["encoder"]["name"] == "mine/own"


def test_our_own_reader_reads_no_foreign_format(routers, tmp_path):
    written(routers, "switchyard_json", "shared_block", tmp_path)
    with pytest.raises(RouterError, match="has format None"):
        Router.load(tmp_path)


def test_the_command_line(tmp_path, capsys):
    assert main(["--profile", "smoke", "--format", "toolkit", f"--build-dir={tmp_path}"]) == 2
    assert "ALLOW_PICKLE=1" in capsys.readouterr().err
    assert main(["--profile", "smoke", "--format", "onnx", f"--build-dir={tmp_path}"]) == 2
    assert "unknown format 'onnx'" in capsys.readouterr().err
    assert main(["--profile", "smoke", "--format", "switchyard", "--method", "paper", f"--build-dir={tmp_path}"]) == 2
    assert "holds routers of adapter_trunk, not of 'paper'" in capsys.readouterr().err
    assert main(["--profile", "smoke", "--pool", "none", f"--build-dir={tmp_path}"]) == 2
    assert "has no pool 'none'; it has all" in capsys.readouterr().err
    assert main(["--profile", "smoke", f"--build-dir={tmp_path}"]) == 2
    assert "run the earlier notebooks first" in capsys.readouterr().err
