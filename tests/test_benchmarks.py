"""Benchmarks: the recipe computes what ours computes, on small things; no timing is asserted."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import (
    cluster,
    common,
    ensemble,
    extract,
    latency,
    lengths,
    rows,
    shipped,
    sizes_figure,
    sweep,
)
from prefill_router.data.splits import group_folds
from prefill_router.encode.activations import extract as ours
from prefill_router.encode.pooling import Pool
from prefill_router.encode.prefill import Prefill
from prefill_router.encode.store import ActivationStore
from prefill_router.features.queries import LabelledQueries
from prefill_router.files import project_root
from prefill_router.heads.gram import read_states
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble
from prefill_router.report.styles import label
from tiny import LAYERS, tiny_encoder, tiny_llama, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ours(
        tiny_encoder(tiny_llama()),
        *tiny_queries(120),
        tmp_path_factory.mktemp("store"),
        progress=False,
    )


def test_both_ways_of_extraction_give_the_same_vectors(store):
    llama = tiny_llama()
    vectors = extract.recipe(
        dataclasses.replace(tiny_encoder(llama), network=llama), tiny_queries(120)[1][:10]
    )
    for layer in range(LAYERS + 1):
        for pooling in ("last", "mean"):
            np.testing.assert_allclose(
                [v[pooling][layer] for v in vectors], store.read(layer, pooling)[:10], atol=2e-5
            )


def test_the_recipes_search_agrees_with_the_sweep_where_both_looked(store, monkeypatch):
    monkeypatch.setattr(sweep, "SIZES", (2, 5))
    rng = np.random.default_rng(0)
    y = (store.read(2, "mean")[:, 0] + 0.3 * rng.normal(size=120) > 0).astype(float)
    groups = np.arange(120) // 2
    looked = sweep.recipe(store, np.array(store.query_ids), y, group_folds(groups, sweep.FOLDS, 0))
    queries = LabelledQueries(
        {"tiny": store}, np.array(store.query_ids), y[:, None], groups, ("A",)
    )
    table = sweep.sweep(queries, sizes=(2, 5), progress=False).set_index(
        ["pooling", "layer", "n_components"]
    )["auc"]
    # layer 0 of the last token is the template's end, the same for every prompt: no components
    # there
    assert len(table) == (2 * (LAYERS + 1) - 1) * 2 and len(looked) < len(table)
    for place, auc in looked.items():
        assert auc == pytest.approx(table[place], abs=2e-3)


def test_the_recipes_ensemble_reaches_the_losses_of_ours():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(500, 8)).astype(np.float32)
    Y = (X[:, :2] + rng.normal(size=(500, 2)) > 0).astype(float)
    config = TrunkConfig(members=4, keep=2, max_epochs=40, learning_rate=3e-3)
    theirs = ensemble.recipe(X, Y, np.arange(500), config, seed=0)
    mine = (
        TrunkEnsemble(config, seed=0)
        .fit(X, Y, np.arange(500))
        .history.groupby("member")["validation_loss"]
        .min()
    )
    assert len(theirs) == 4 and np.mean(theirs) == pytest.approx(mine.mean(), abs=0.02)


def test_both_ways_read_prompts_of_every_length(llama, monkeypatch, capsys):
    monkeypatch.setattr(lengths, "TOKENS", 80)
    fast = tiny_encoder(llama)
    words = fast.tokenizer(" ".join(tiny_queries(40)[1]), add_special_tokens=False)["input_ids"]
    short, long = lengths.measured(dataclasses.replace(fast, network=llama), fast, words, (20, 40))
    assert [(row["length"], row["prompts"]) for row in (short, long)] == [(20, 4), (40, 2)]
    assert abs(short["tokens"] - 80) < 30 and abs(long["tokens"] - 80) < 40
    for row in (short, long):
        for way in ("alone", "beside_a_busy_process"):
            assert row[way]["ours"]["min"] > 0 and row[way]["ratio"]["min"] > 0


def test_ratios_are_taken_pair_by_pair():
    assert common.ratio([10.0, 9.0, 8.0], [2.0, 3.0, 1.0]) == {
        "median": 5.0,
        "min": 3.0,
        "max": 8.0,
    }
    assert common._rounded({"a": [1.23456, 3], "b": "x"}) == {"a": [1.235, 3], "b": "x"}


def test_the_rate_counts_from_when_all_workers_are_at_work():
    marks = pd.DataFrame(
        [("a", 10.0, 5), ("a", 20.0, 7), ("b", 14.0, 9), ("b", 24.0, 11)],
        columns=["worker", "ended", "tokens"],
    )
    assert cluster.rate(marks) == (7 + 11) / (24 - 14)


def test_the_clock_leaves_the_results_alone():
    class Numbers:
        def open(self):
            return lambda job: json.dumps({"tokens": int(job)}).encode()

    result, worker, ended = json.loads(cluster.Clocked(Numbers()).open()("3"))
    assert result == {"tokens": 3} and worker and ended


def test_unknown_benchmarks_are_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "extrct"])
    with pytest.raises(SystemExit):
        bench.main()
    known = "extract, lengths, sweep, ensemble, latency, scale, rows, shipped, cluster"
    assert f"unknown benchmark extrct; there are {known}" in capsys.readouterr().err


def test_committed_results_have_ratio_machine_and_versions():
    found = {
        path.stem: json.loads(path.read_text())
        for path in (project_root() / "results" / "benchmarks").glob("*.json")
    }
    named = {"cluster" if n == "scale_workers" else n.partition("_")[0] for n in found}
    assert named == set(bench.BENCHMARKS)
    for name, content in found.items():
        assert (
            content["benchmark"] == name
            and content["machine"]["cores"]
            and content["versions"]["torch"]
        ), name
        assert "/" not in json.dumps(content["machine"]), name
        if "recipe" in content:
            assert (
                content["ratio"]["min"] <= content["ratio"]["median"] <= content["ratio"]["max"]
            ), name


def test_the_figure_shows_every_committed_result(tmp_path):
    folder = project_root() / "results" / "benchmarks"
    timed = json.loads((folder / f"latency_{latency.PROFILE}_frontier.json").read_text())[
        "milliseconds"
    ]
    assert set(timed) == set(latency.METHODS)
    ratios, query, growth = bench.draw(folder, tmp_path).axes[:3]
    shown = dict(zip(*reversed(query.get_legend_handles_labels()), strict=True))
    for method, of_method in timed.items():
        line = shown[f"beyond the encoder, {label(method)}"]
        np.testing.assert_allclose(
            line.get_xydata(),
            [[int(n), row["beyond_the_encoder"]["p50"]] for n, row in of_method.items()],
        )
    assert (
        len({(line.get_color(), line.get_linestyle()) for line in shown.values()})
        == len(latency.METHODS) + 2
    )
    assert [text.get_text() for text in ratios.get_yticklabels()] == [
        "ensemble",
        "extract smollm2-135m-instruct",
        "scale workers",
        "sweep",
    ]
    scale = json.loads((folder / "scale_extraction.json").read_text())["rows"]
    np.testing.assert_allclose(
        growth.lines[0].get_xydata(), [[row["prompts"], row["seconds"]] for row in scale]
    )
    assert {path.name for path in tmp_path.iterdir()} == {"speed.svg", "speed.png"}


def test_the_figure_of_sizes_shows_rows_and_prompts(tmp_path):
    folder = project_root() / "results" / "benchmarks"
    time, memory, workers = sizes_figure.draw(folder, tmp_path, bench.plain_log).axes
    ways = json.loads((folder / "scale_workers.json").read_text())["ways"]
    assert [bar.get_width() for bar in workers.patches] == [
        way["tokens_per_second"]["median"] for way in ways.values()
    ]
    assert "1,000,000" in [text.get_text() for text in time.get_xticklabels()]
    expected = json.loads((folder / "scale_extraction.json").read_text())["rows"]
    drawn = {line.get_label(): line.get_xydata() for line in time.lines}
    np.testing.assert_allclose(
        drawn["extraction, two blocks of the encoder"],
        [[row["prompts"], row["seconds"]] for row in expected],
    )
    trained = json.loads((folder / "rows_ours.json").read_text())["rows"]
    drawn = {line.get_label(): line.get_xydata() for line in memory.lines}
    np.testing.assert_allclose(
        drawn["kernel router, fitted from the store"],
        [[row["rows"], row["ours"]["peak_mb"] / 1000] for row in trained],
    )
    assert {path.name for path in tmp_path.iterdir()} == {"sizes.svg", "sizes.png"}


def test_rows_of_a_store_are_fitted_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "HELD_OUT", 200)
    Y = rows.write_store(tmp_path / "store", 700, width=8)
    assert Y.shape == (700, rows.TARGETS) and 0.4 < Y.mean() < 0.6
    store = ActivationStore(tmp_path / "store")
    ids = np.array(store.query_ids)
    assert read_states(store, ids[:2]).shape == (2, 22 * 8)
    for way in (rows.ours, rows.sklearn):
        found = way(store, ids, Y, 500)
        assert 0.6 < found["auc"] < 0.9 and found["seconds"] > 0 and found["peak_mb"] > 0
    # the same rows again and again
    once, often = (rows.ours(store, ids, Y, n)["auc"] for n in (500, 1_500))
    assert often == pytest.approx(once, abs=0.05)


def test_what_is_shipped_is_compared_with_what_is_evaluated(monkeypatch):
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(150, 12)) @ rng.normal(size=(12, 60))).astype(np.float32)
    y = (x[:, :2] > 0).astype(float)
    monkeypatch.setattr(shipped, "ROOMS", (float("inf"), 6_000, 5_000))
    monkeypatch.setattr(shipped, "REPEATS", 2)
    exact, more, less = shipped.compared(KernelRouter().fit(x[:100], y[:100]), x[100:], y[100:])
    assert exact["directions"] is None and exact["p_moves_most"] < 1e-6
    assert exact["router_mb"] > more["router_mb"] > less["router_mb"]
    assert more["directions"] > less["directions"]
    assert 0 < more["p_moves_mean"] < less["p_moves_mean"] < less["p_moves_most"]


def test_the_encoders_own_pass_is_timed_without_pooling(monkeypatch):
    """On a clock that ticks when it is looked at, and that pooling moves by 100: left are the ends
    of the pass, and for each block the beginning of its pooling.
    """
    llama = tiny_llama()
    encoder, take = dataclasses.replace(tiny_encoder(llama), network=llama), Pool.take
    ticks = itertools.count()

    def slow_take(pool, layer, states):
        take(pool, layer, states)
        for _ in range(100):
            next(ticks)

    monkeypatch.setattr(Pool, "take", slow_take)
    with Prefill(encoder) as prefill, latency.own_pass(encoder) as passed:
        prefill.agree_on([4, 5, 6])
        passed.clear()
        with monkeypatch.context() as clock:
            clock.setattr(latency.time, "perf_counter", lambda: next(ticks))
            prefill([[4, 5, 6]], ["q"])
    assert sum(passed) == LAYERS + 1
    assert Pool.take is slow_take and not llama._forward_hooks and not llama._forward_pre_hooks


def test_threads_are_compared_alone_and_in_company(llama):
    before = torch.get_num_threads()
    found = latency.threads(tiny_encoder(llama), [4, 5, 6], repeats=2)
    assert list(found) == ["alone", "beside_a_busy_process"] and all(
        0 < f["min"] <= f["median"] <= f["max"] for f in found.values()
    )
    assert torch.get_num_threads() == before
