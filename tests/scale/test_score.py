"""Routes of many prompts in shards: those of `Router.route`, whoever computes them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.heads.fit import FitSettings
from prefill_router.scale import score as command
from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.score import Choice, SavedRouter, score_shards
from prefill_router.serve.router import Router
from scale.inputs import everything, prompts_of
from tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")
N = 60


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder with an encoder, a router of two targets, and prompts of which three are bad."""
    folder = tmp_path_factory.mktemp("saved")
    encoder = load_encoder(str(save_tiny(folder / "tiny")), "cpu", "float32")
    ids, prompts = [f"q{i}" for i in range(N)], prompts_of(N)
    length = np.array([len(p.split()) for p in prompts])
    correct = np.column_stack([length < 10, np.random.default_rng(0).random(N) < 0.8]).astype(float)
    queries = pd.DataFrame(
        {"query_id": ids, "benchmark": "b", "category": "c", "prompt": prompts, "group": ids}
    )
    targets = (Target("cheap", 1.0, 2.0), Target("dear", 10.0, 20.0))
    tokens = np.column_stack([length + 2.0] * 2)
    outcomes = Outcomes(
        queries, targets, correct, tokens, 3 + 0 * tokens, np.full((N, 2), np.nan), "USD", "tiny"
    )
    store = extract(encoder, ids, prompts, folder / "store", progress=False)
    Router.fit(outcomes, store, settings=FitSettings(component_sizes=(4,))).save(folder / "router")
    asked = [*prompts_of(20, seed=2), None, " ", "w1 " * 70]
    table = pa.table({"query_id": [f"r{i}" for i in range(len(asked))], "prompt": asked})
    pq.write_table(table, folder / "in.parquet")
    return folder, asked


def score(folder, output, choice=None, **more):
    return score_shards(
        Address.of(folder / "in.parquet"),
        Address.of(output),
        SavedRouter.read(Address.of(folder / "router"), str(folder / "tiny"), "cpu"),
        choice,
        **{"shard_rows": 8, "progress": False, **more},
    )


def test_routes_are_those_of_the_router(saved, tmp_path):
    folder, asked = saved
    manifest = score(folder, tmp_path, Choice(tolerance=0.05))
    assert (manifest["kind"], manifest["rows"], manifest["bad"]) == ("routes", 20, 3)
    table = pd.read_parquet(tmp_path / "routes")
    router = Router.load(folder / "router", load_encoder(str(folder / "tiny"), "cpu", "float32"))
    wanted = router.route(asked[:20], tolerance=0.05)
    assert table["query_id"].tolist() == [f"r{i}" for i in range(20)]
    assert table["target"].tolist() == [route.target for route in wanted]
    assert table["tokens"].tolist() == [len(p.split()) + 2 for p in asked[:20]]
    for name in ("cheap", "dear"):
        np.testing.assert_allclose(table[f"p.{name}"], [r.p_correct[name] for r in wanted], 1e-4)
        np.testing.assert_allclose(table[f"cost.{name}"], [r.cost[name] for r in wanted])
    np.testing.assert_allclose(table["cost"], [r.cost[r.target] for r in wanted])
    bad = pd.read_parquet(tmp_path / "bad")
    assert bad["query_id"].tolist() == ["r20", "r21", "r22"]
    assert bad["reason"].str.contains("no prompt|no text|72 tokens").all()


def test_another_router_or_choice_is_refused(saved, tmp_path):
    folder, _ = saved
    score(folder, tmp_path, Choice(tolerance=0.05))
    before = everything(tmp_path)
    with pytest.raises(ScaleError, match=r"tolerance was 0.05, asked for 0.1"):
        score(folder, tmp_path, Choice(tolerance=0.1))
    with pytest.raises(ScaleError, match="holds no router"):
        SavedRouter.read(Address.of(folder / "tiny"))
    score(folder, tmp_path, Choice(tolerance=0.05))
    assert everything(tmp_path) == before


def test_the_command(saved, tmp_path, capsys):
    folder, _ = saved
    given = [str(folder / "in.parquet"), str(tmp_path), "--router", str(folder / "router")]
    given += ["--encoder", str(folder / "tiny"), "--device", "cpu", "--quiet"]
    assert command.main([*given, "--tolerance", "0"]) == 0
    assert "routes of 20 prompts" in capsys.readouterr().out
    assert command.main([*given, "--plan", "none"]) == 2
    assert "error: " in capsys.readouterr().err
