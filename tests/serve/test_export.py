"""Exported routers in the hands of readers that know nothing but docs/formats.md, and what is
refused.
"""

import dataclasses
import json
import os
import shutil
import stat
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from test_router import CONFIG, SETTINGS, N, outcomes, store  # noqa: F401  (fixtures: a tiny encoder's outcomes and activations)

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.encode.activations import extract
from prefill_router.encode.store import ActivationStore
from prefill_router.files import replacing
from prefill_router.heads.fit import FitSettings
from prefill_router.heads.network import TrunkConfig
from prefill_router.run.export import float32_store, main, router_for, some_queries
from prefill_router.run.handover import read_note, write_note
from prefill_router.run.profile_files import load_profile
from prefill_router.run.workspace import open_workspace
from prefill_router.serve.export import export, hub_name
from prefill_router.serve.formats import FORMATS
from prefill_router.serve.names import ExportError, parse_names
from prefill_router.serve.routed import RouterError
from prefill_router.serve.router import Router
from readers import read_own, read_switchyard, read_switchyard_json, read_toolkit
from tiny import tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")
READERS = {
    "own": read_own,
    "switchyard": read_switchyard,
    "switchyard_json": read_switchyard_json,
    "toolkit": read_toolkit,
}
PAIRS = [
    (fmt, method) for fmt, (_, methods) in FORMATS.items() for method in methods if method != "ours"
]  # of ours no other project knows
NAMES = {"t0": "gpt-5.5", "t1": "qwen-122b", "t2": "opus-4.7", "t3": "nemotron-3-super"}


class Altered:
    """The tiny encoder's activations with other columns: what `columns` makes of the states and of
    noise of another layer each.
    """

    def __init__(self, store, columns):
        self.__dict__.update(vars(store))
        self._store, self._columns = store, columns
        self.hidden_size = self.read(0, "last", store.query_ids[:1]).shape[1]

    def read(self, layer, pooling, query_ids=None):
        ids = self.query_ids if query_ids is None else query_ids
        noise = np.random.default_rng(layer).normal(size=(len(self.query_ids), 64))[
            [self.query_ids.index(q) for q in ids]
        ]
        return self._columns(layer, self._store.read(layer, pooling, ids), noise).astype(np.float32)


def wide(store):
    """80 columns: Switchyard's 200 components need more than the tiny encoder's 3 x 16."""
    return Altered(store, lambda layer, x, noise: np.hstack([x, noise]))


def states(store, ids):
    return {
        pooling: (
            np.stack(
                [store.read(layer, pooling, ids) for layer in range(store.n_layers + 1)]
            ).astype(np.float32)
        )
        for pooling in ("last", "mean")
    }


@pytest.fixture(scope="module")
def routers(outcomes, store):
    def fit(method, **options):
        return Router.fit(
            outcomes, store, np.arange(160), method, dataclasses.replace(SETTINGS, **options)
        )

    found = {method: fit(method) for method in ("paper", "shared_block", "adapter_trunk")} | {
        "toolkit": fit("paper", last_layer=False)
    }
    four = Outcomes(
        outcomes.queries,
        tuple(Target(f"t{i}", 1.0 + i, 2.0) for i in range(4)),
        np.hstack([outcomes.correct, 1 - outcomes.correct]),
        *(
            np.hstack([values, values])
            for values in (outcomes.input_tokens, outcomes.output_tokens, outcomes.cost)
        ),
        "USD",
        "four",
    )
    found["switchyard_json"] = Router.fit(
        four,
        wide(store),
        None,
        "shared_block",
        FitSettings(network=TrunkConfig(members=5, keep=5, max_epochs=8)),
    )
    return found


def router_of(routers, fmt, method):
    return routers[
        (
            fmt
            if (fmt, method) in (("toolkit", "paper"), ("switchyard_json", "shared_block"))
            else method
        )
    ]


def written(routers, fmt, method, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return export(
            router_of(routers, fmt, method),
            fmt,
            folder,
            allow_pickle=True,
            names=NAMES if fmt == "switchyard_json" else None,
        )


def agree(reader, router, found, expected, names=None):
    assert set(reader.names) == {(names or {}).get(name, name) for name in router.target_names}
    columns = [reader.names.index((names or {}).get(name, name)) for name in router.target_names]
    np.testing.assert_allclose(found[:, columns], expected, atol=1e-4)


@pytest.mark.parametrize("fmt, method", PAIRS)
def test_an_independent_reader_gives_our_probabilities(
    routers, store, outcomes, fmt, method, tmp_path
):
    files, router = written(routers, fmt, method, tmp_path), router_of(routers, fmt, method)
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f.name for f in files)
    reader, ids = READERS[fmt](tmp_path), outcomes.queries["query_id"].tolist()[:200]
    renamed, read = fmt == "switchyard_json", wide(store) if fmt == "switchyard_json" else store
    assert reader.names == (
        ["qwen-122b", "nemotron-3-super", "opus-4.7", "gpt-5.5"] if renamed else router.target_names
    )
    agree(
        reader,
        router,
        reader.predict(states(read, ids)),
        router.predict_proba(read, ids),
        NAMES if renamed else None,
    )


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("fmt, method", PAIRS)
def test_on_a_real_encoder(smoke_run, fmt, method, tmp_path):
    check_profile(
        open_workspace(
            "smoke",
            build_dir=smoke_run / "build",
            results_dir=smoke_run / "results",
            figures_dir=smoke_run / "figures",
        ),
        fmt,
        method,
        tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["local", "zeroeval"])
@pytest.mark.parametrize("fmt, method", PAIRS)
def test_on_the_profiles_that_ran_here(profile, fmt, method, tmp_path):
    workspace = open_workspace(profile)
    if not (workspace.build / "encoder.json").is_file():
        pytest.skip(
            f"the profile {profile} was not run in this checkout (make reproduce PROFILE={profile})"
        )
    check_profile(workspace, fmt, method, tmp_path)


def check_profile(workspace, fmt, method, folder):
    names, all_of = None, workspace.load_outcomes()
    if fmt == "switchyard_json":
        pool = next(iter(workspace.profile.pool_targets(all_of.target_names).values()))
        if len(pool) != 4:
            pytest.skip(
                f"the first pool of {workspace.profile.name} has {len(pool)} targets; Switchyard's"
                " reader takes four"
            )
        names = dict(zip(pool, NAMES.values(), strict=True))
    router = router_for(workspace, fmt, method, names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        export(router, fmt, folder, allow_pickle=True, names=names)
    real = (
        ActivationStore(workspace.build / read_note(workspace, "encoder")["folder"])
        if fmt == "own"
        else float32_store(workspace, all_of)
    )
    ids, reader = (
        pd.Series(real.query_ids).sample(200, random_state=0).tolist(),
        READERS[fmt](folder),
    )
    agree(reader, router, reader.predict(states(real, ids)), router.predict_proba(real, ids), names)


def test_the_worked_example_of_the_page(tmp_path):
    one = {
        "format_version": 1,
        "encoder": {
            "name": "e",
            "view": "task_prompt_only",
            "n_layers": 3,
            "hidden_dim": 2,
            "dtype": "float32",
        },
        "architecture": {"activation": "ReLU", "ensemble_reduction": "mean(sigmoid(logits))"},
        "feature_pipeline": {
            "pooling": "mean of independently standardized selected layers",
            "selected_layers": [3],
            "layer_mean": {"3": torch.tensor([1.0, 0])},
            "layer_std": {"3": torch.tensor([2.0, 1])},
            "scaler_mean": torch.zeros(2),
            "scaler_scale": torch.tensor([1.0, 2]),
            "pca_mean": torch.zeros(2),
            "pca_components": torch.tensor([[0.6, 0.8]]),
        },
        "models": ["m"],
        "model_state_dicts": [
            {
                "adapters.0.weight": torch.tensor([[2.0]]),
                "adapters.0.bias": torch.tensor([-1.0]),
                "trunk.0.weight": torch.tensor([[1.0]]),
                "trunk.0.bias": torch.tensor([0.5]),
                "heads.0.weight": torch.tensor([[-1.0]]),
                "heads.0.bias": torch.tensor([1.0]),
            }
        ],
    }
    torch.save(one, tmp_path / "router.pt")
    x = np.zeros((4, 1, 2), np.float32)
    x[3] = [5, 2]
    np.testing.assert_allclose(
        read_switchyard(tmp_path).predict({"last": x, "mean": x}), [[0.0759]], atol=5e-5
    )


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
        (
            "own",
            "paper",
            lambda f: change_tensors(f, lambda t: t["member0.layers.0.bias"].fill(1)),
            "router.json: sha256",
        ),
        ("own", "adapter_trunk", lambda f: change_json(f, format=1), "router.json: format"),
        (
            "switchyard",
            "adapter_trunk",
            lambda f: change_torch(
                f, lambda d: d["feature_pipeline"].update(scaler_scale=torch.zeros(16))
            ),
            "scaler_scale: has values that are not positive",
        ),
        (
            "switchyard",
            "adapter_trunk",
            lambda f: change_torch(f, lambda d: d["model_state_dicts"][0].pop("heads.1.bias")),
            "heads.1.bias",
        ),
        (
            "switchyard",
            "adapter_trunk",
            lambda f: change_torch(f, lambda d: d["models"].append("third")),
            "adapters.2",
        ),
        (
            "own",
            "shared_block",
            lambda f: change_json(f, features={"pooling": "mean", "n_components": 48}),
            "features: format: is missing",
        ),
        (
            "switchyard",
            "adapter_trunk",
            lambda f: change_torch(
                f, lambda d: d["feature_pipeline"].update(selected_layers=[1, 1, 2])
            ),
            "selected_layers: are not distinct",
        ),
        (
            "switchyard",
            "adapter_trunk",
            lambda f: change_torch(f, lambda d: d["encoder"].update(dtype="bfloat16")),
            "encoder.dtype: is 'bfloat16', not 'float32'",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, training_mode="other"),
            "router.json: training_mode",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, output_names=["t0", "t1", "t2", "t3"]),
            (
                "output_names: is .*'t0'.* not .*'qwen-122b', 'nemotron-3-super', 'opus-4.7',"
                " 'gpt-5.5'"
            ),
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(
                f, output_names=["gpt-5.5", "qwen-122b", "nemotron-3-super", "opus-4.7"]
            ),
            "output_names: is",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, pca_dim=100),
            "pca_dim: is 100, not 200",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, ensemble_size=4),
            "ensemble_size: is 4, not 5",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, trunk_hidden=[64, 64]),
            "trunk_hidden",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, extraction_layer_ids=[1, 2, 3]),
            "extraction_layer_ids",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_json(f, encoder_dtype="bfloat16"),
            "encoder_dtype",
        ),
        (
            "toolkit",
            "paper",
            lambda f: change_torch(f, lambda d: d.pop("encoder_dtype")),
            "encoder_dtype: is missing",
        ),
        (
            "switchyard_json",
            "shared_block",
            lambda f: change_tensors(f, lambda t: t["transform.scaler_mean"].fill(np.nan)),
            "scaler_mean: has NaN",
        ),
        (
            "toolkit",
            "paper",
            lambda f: change_torch(f, lambda d: d.update(version=1)),
            "router.pt: version",
        ),
        (
            "toolkit",
            "shared_block",
            lambda f: change_torch(f, lambda d: d["shared_trunk"].clear()),
            "shared_trunk: is not a list",
        ),
    ],
)
def test_malformed_files_are_refused_by_the_readers(
    routers, fmt, method, damage, message, tmp_path
):
    written(routers, fmt, method, tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        READERS[fmt](tmp_path)


@pytest.mark.parametrize(
    "fmt, method, change, asked",
    [
        ("toolkit", "paper", lambda d: d["transforms"]["dear"].update(layer=3), [3]),
        ("toolkit", "shared_block", lambda d: None, [2]),
        ("switchyard_json", "shared_block", None, [2]),
    ],
)
def test_layers_beyond_those_that_a_program_numbers_are_refused(
    routers, store, fmt, method, change, asked, tmp_path
):
    """As by the real program: "Requested layers [30] are outside encoder range 0..29". An encoder
    of n layers has n + 1 states.
    """
    written(routers, fmt, method, tmp_path)
    if change is not None:
        change_torch(tmp_path, change)
    found = states(wide(store) if fmt == "switchyard_json" else store, store.query_ids[:3])
    if asked == [2]:  # of an encoder of two layers
        found = {pooling: x[:3] for pooling, x in found.items()}
    message = (
        "have shape"
        if fmt == "switchyard_json"
        else rf"requested layers \[{asked[0]}\] are outside encoder range 0..{asked[0] - 1}"
    )
    with pytest.raises(ValueError, match=message):
        READERS[fmt](tmp_path).predict(found)


def test_the_block_of_all_layers_ends_before_the_last_one(routers, tmp_path):
    assert routers["shared_block"].fitted.features.layers == (
        0,
        1,
        2,
    )  # of an encoder of three layers: four states
    written(routers, "toolkit", "shared_block", tmp_path)
    transforms = torch.load(tmp_path / "router.pt", weights_only=False)["transforms"]
    assert [t["feature_spec"]["layers"] for t in transforms.values()] == [[0, 1, 2]] * 2
    written(routers, "switchyard_json", "shared_block", tmp_path)
    assert json.loads((tmp_path / "router.json").read_text())["extraction_layer_ids"] == [0, 1, 2]
    written(routers, "own", "shared_block", tmp_path)
    change_json(
        tmp_path, features={"pooling": "mean", "n_components": 48}
    )  # as it was written when the last layer was among them
    with pytest.raises(
        RouterError, match="older ones read the last layer too; train the router again"
    ):
        Router.load(tmp_path)


def test_the_last_layer_is_not_chosen_for_the_toolkit(outcomes, store, tmp_path):
    knowing = Altered(
        store, lambda layer, x, noise: x if layer == 3 else noise[:, :16]
    )  # every other layer knows nothing

    def fit(**options):
        return Router.fit(
            outcomes, knowing, np.arange(160), "paper", dataclasses.replace(SETTINGS, **options)
        )

    chosen = fit()
    assert 3 in {c.layer for c in chosen.fitted.features.choices}
    with pytest.raises(
        ExportError,
        match=(
            r"reads layers 0 to 2, .*\(layer 3\); train one without it: Router.fit\(...,"
            r" method='paper', settings=FitSettings\(last_layer=False\)\)"
        ),
    ):
        export(chosen, "toolkit", tmp_path / "out", allow_pickle=True)
    assert not (tmp_path / "out").exists()
    export(chosen, "own", tmp_path / "own")  # numbers it, and holds it
    assert max(c.layer for c in fit(last_layer=False).fitted.features.choices) <= 2


def test_switchyards_names_are_asked_for(routers, tmp_path):
    router = routers["switchyard_json"]
    for names, message in (
        (
            None,
            (
                r'which of them stands for which target: --names "ours=theirs,…" \(NAMES=.*such as'
                r' --names "t0=qwen-122b,t1=nemotron-3-super,t2=opus-4.7,t3=gpt-5.5"'
            ),
        ),
        (NAMES | {"t4": "gpt-5.5"}, "t4 are no targets of this router"),
        ({k: v for k, v in NAMES.items() if k != "t2"}, "t2 are targets without a name"),
        (NAMES | {"t0": "gpt-6"}, "gpt-6 are no names that the reader takes"),
        (NAMES | {"t0": "opus-4.7"}, "gpt-5.5 must be given to a target, and each to one alone"),
    ):
        with pytest.raises(ExportError, match=message):
            export(router, "switchyard_json", tmp_path / "out", names=names)
    with pytest.raises(
        ExportError, match=r"takes 4 targets \(qwen-122b, .*\), this router has 2 \(cheap, dear\)"
    ):
        export(routers["shared_block"], "switchyard_json", tmp_path / "out", names=NAMES)
    with pytest.raises(
        ExportError, match=r"--names \(NAMES= with make\) is of switchyard_json alone"
    ):
        export(routers["adapter_trunk"], "switchyard", tmp_path / "out", names=NAMES)
    small = Router.load(router.save(tmp_path / "small"))
    small.fitted = dataclasses.replace(
        small.fitted, head=routers["shared_block"].fitted.head
    )  # two members of other widths
    with pytest.raises(
        ExportError,
        match=(
            r"'components': 200, .*'members': 5} alone, .*'members': 2}; train one on 200 queries"
            r" or more with TrunkConfig"
        ),
    ):
        export(small, "switchyard_json", tmp_path / "out", names=NAMES)
    assert not (tmp_path / "out").exists()
    assert parse_names("t0 = gpt-5.5, a=b=opus-4.7") == {"t0": "gpt-5.5", "a=b": "opus-4.7"}
    for text, message in (
        ("t0", "'t0' is not of the form ours=theirs"),
        ("t0=", "'t0=' is not"),
        ("a=b,a=c", "'a' is named twice"),
    ):
        with pytest.raises(ExportError, match=message):
            parse_names(text)


def test_a_target_without_a_price_per_token_is_said(routers, tmp_path):
    router = Router.load(routers["toolkit"].save(tmp_path / "own"))
    router.targets = (
        dataclasses.replace(router.targets[0], input_price=float("nan"), output_price=None),
        router.targets[1],
    )
    with pytest.warns(
        UserWarning,
        match=(
            "'cheap' has no price per token: pool_config says nothing of its"
            " cost_per_m_input_tokens and cost_per_m_output_tokens"
        ),
    ):
        export(router, "toolkit", tmp_path / "out", allow_pickle=True)
    targets = torch.load(tmp_path / "out" / "router.pt", weights_only=False)["pool_config"][
        "targets"
    ]
    assert targets == [
        {"name": "cheap", "encoder": "tiny/llama"},
        {
            "name": "dear",
            "encoder": "tiny/llama",
            "cost_per_m_input_tokens": 1e7,
            "cost_per_m_output_tokens": 2e7,
        },
    ]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640)])
def test_files_have_the_permissions_that_a_new_file_has(routers, umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        for fmt, method in PAIRS:
            written(routers, fmt, method, tmp_path / fmt / method)
        with replacing(tmp_path / "any.safetensors") as temporary:
            save_file({"x": np.zeros(1)}, temporary)  # writes through a private file of its own
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.*")} == {mode}


@pytest.fixture
def bfloat16_workspace(outcomes, encoder, tmp_path):
    """What is needed of a workspace whose notebook 02 stored bfloat16 states."""
    profile = dataclasses.replace(
        load_profile("smoke"),
        encoder="tiny/llama",
        component_sizes=(4, 8),
        ensemble={"members": 2, "keep": 1, "max_epochs": 3},
    )
    workspace = SimpleNamespace(
        build=tmp_path,
        activations=tmp_path / "activations",
        profile=profile,
        load_outcomes=lambda: outcomes,
    )
    rough = dataclasses.replace(encoder, fingerprint=encoder.fingerprint | {"dtype": "bfloat16"})
    extract(rough, *tiny_queries(N), tmp_path / "rough", progress=False)
    write_note(workspace, "encoder", {"folder": "rough", "name": "tiny/llama"})
    return workspace


def test_other_projects_get_routers_of_float32_states(
    bfloat16_workspace, encoder, monkeypatch, tmp_path, capsys
):
    loaded = []
    monkeypatch.setattr(
        "prefill_router.run.export.load_encoder",
        lambda name, **options: loaded.append((name, options["dtype"])) or encoder,
    )
    own = router_for(bfloat16_workspace, "own", "adapter_trunk")
    assert own.encoder_note["fingerprint"]["dtype"] == "bfloat16" and not loaded
    with pytest.raises(
        ExportError,
        match="trained on bfloat16 states, and other projects read their encoder in float32",
    ):
        export(own, "switchyard", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    router, calls = router_for(bfloat16_workspace, "switchyard", queries=50), encoder.network.calls
    assert (
        loaded == [("tiny/llama", "float32")]
        and router.trained_on == 50
        and "50 prompts are read again" in capsys.readouterr().out
    )
    again = router_for(bfloat16_workspace, "switchyard", queries=50)
    assert (
        encoder.network.calls == calls and again.encoder_note == router.encoder_note
    )  # read from the store
    export(router, "switchyard", tmp_path / "out")
    assert (
        torch.load(tmp_path / "out" / "router.pt", weights_only=True)["encoder"]["dtype"]
        == "float32"
    )
    with pytest.raises(
        ExportError, match="takes 4 targets"
    ):  # before the training and the extraction
        router_for(bfloat16_workspace, "switchyard_json")
    assert encoder.network.calls == calls


def test_a_demonstration_takes_few_queries_but_enough_of_every_target(outcomes):
    few = some_queries(outcomes, 50)
    assert (
        few.n == 50
        and some_queries(outcomes, N) is outcomes
        and some_queries(outcomes, 10 * N) is outcomes
    )
    rare = outcomes.subset(np.arange(N))
    rare.correct[:, 0] = np.arange(N) % 20 == 7  # right on twelve queries
    found = some_queries(rare, 50)
    assert 50 < found.n <= N and found.correct[:, 0].sum() >= 10


def test_a_float32_store_is_used_as_it_is(bfloat16_workspace, outcomes, store):
    write_note(bfloat16_workspace, "encoder", {"folder": str(store.folder), "name": "tiny/llama"})
    assert float32_store(bfloat16_workspace, outcomes).folder == store.folder


def test_switchyards_file_holds_tensors_and_plain_values_alone(routers, tmp_path):
    written(routers, "switchyard", "adapter_trunk", tmp_path)
    data = torch.load(tmp_path / "router.pt", weights_only=True)  # refuses any other object
    assert data["models"] == ["cheap", "dear"] and data["feature_pipeline"][
        "selected_layers"
    ] == list(routers["adapter_trunk"].fitted.features.layers)
    assert {t.dtype for state in data["model_state_dicts"] for t in state.values()} == {
        torch.float32
    }


def test_what_a_format_cannot_hold_is_refused(routers, tmp_path):
    for fmt, method, message in (
        ("onnx", "paper", "unknown format 'onnx'"),
        (
            "switchyard",
            "paper",
            (
                r"cannot hold a router of the method 'paper'; train one with Router.fit\(...,"
                r" method='adapter_trunk'\)"
            ),
        ),
        ("toolkit", "paper", "is a pickle"),
        ("switchyard_json", "adapter_trunk", "cannot hold"),
    ):
        with pytest.raises(ExportError, match=message):
            export(routers[method], fmt, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="a pickle is written"):
        export(routers["toolkit"], "toolkit", tmp_path / "out", allow_pickle=True)


def test_the_encoder_is_named_as_a_hub_knows_it(routers, tmp_path):
    assert hub_name(routers["paper"]) == "tiny/llama"
    embedded = shutil.copytree(routers["paper"].save(tmp_path / "a"), tmp_path / "b")
    change_json(
        embedded, encoders=[routers["paper"].encoder_note | {"name": "smollm2-135m-instruct"}]
    )
    assert hub_name(Router.load(embedded)) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    change_json(embedded, encoders=[routers["paper"].encoder_note | {"name": "org/model@abc"}])
    assert hub_name(Router.load(embedded)) == "org/model"
    export(routers["adapter_trunk"], "switchyard", tmp_path / "c", encoder_name="mine/own")
    assert (
        torch.load(tmp_path / "c" / "router.pt", weights_only=True)["encoder"]["name"] == "mine/own"
    )


def test_our_own_reader_reads_no_foreign_format(routers, tmp_path):
    written(routers, "switchyard_json", "shared_block", tmp_path)
    with pytest.raises(RouterError, match="has format None"):
        Router.load(tmp_path)


def test_the_command_line(tmp_path, capsys):
    assert main(["--profile", "smoke", "--format", "toolkit", f"--build-dir={tmp_path}"]) == 2
    assert "ALLOW_PICKLE=1" in capsys.readouterr().err
    assert main(["--profile", "smoke", "--format", "onnx", f"--build-dir={tmp_path}"]) == 2
    assert "unknown format 'onnx'" in capsys.readouterr().err
    assert (
        main(
            [
                "--profile",
                "smoke",
                "--format",
                "switchyard",
                "--method",
                "paper",
                f"--build-dir={tmp_path}",
            ]
        )
        == 2
    )
    assert "holds routers of adapter_trunk, not of 'paper'" in capsys.readouterr().err
    assert main(["--profile", "smoke", "--pool", "none", f"--build-dir={tmp_path}"]) == 2
    assert "has no pool 'none'; it has all" in capsys.readouterr().err
    assert main(["--profile", "smoke", f"--build-dir={tmp_path}"]) == 2
    assert "PROFILE=smoke NOTEBOOKS=01,02" in capsys.readouterr().err
    assert (
        main(["--profile", "smoke", "--format", "switchyard_json", f"--build-dir={tmp_path}"]) == 2
    )
    assert "say which of them stands for which target" in capsys.readouterr().err
    assert (
        main(
            [
                "--profile",
                "smoke",
                "--format",
                "switchyard_json",
                "--names",
                "smollm2-135m=gpt-5.5",
                f"--build-dir={tmp_path}",
            ]
        )
        == 2
    )
    assert (
        "qwen2.5-coder-0.5b, qwen2.5-coder-1.5b, qwen2.5-coder-1.5b-steps are targets without a"
        " name" in capsys.readouterr().err
    )
    assert (
        main(["--profile", "smoke", "--format", "own", "--names", "a=b", f"--build-dir={tmp_path}"])
        == 2
    )
    assert "own keeps the targets' own names" in capsys.readouterr().err
