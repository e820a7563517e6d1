"""Seeds side by side give the numbers of seeds one after the other; every baseline and trunk
variant is fitted.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
from joblib import parallel_config

from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import mean_auc
from prefill_router.heads import fit_baselines, over_seeds
from prefill_router.heads.fit import FEATURES, METHODS, FitSettings
from prefill_router.heads.fit import HEADS as HEADS_OF_METHODS
from prefill_router.heads.fit_baselines import (
    baselines_over_seeds,
    fit_controls,
    fit_semantic,
    short_name,
    short_names,
)
from prefill_router.heads.names import BASELINES, DEFAULT_BASELINES
from prefill_router.heads.over_seeds import NetworkFits, networks_over_seeds
from prefill_router.heads.parallel import side_by_side
from prefill_router.run.profile_files import load_profile


def draw(seed, split, scale):
    a = np.random.default_rng(seed).normal(size=(40, 40)) * scale
    return np.linalg.svd(a @ a.T)[1][split.train]


SPLITS = {seed: Split(np.arange(4), np.arange(4, 6), np.arange(6, 8)) for seed in (3, 1)}


def run_seeds(function, splits, *arguments):
    return side_by_side(
        {seed: (function, seed, split, *arguments) for seed, split in splits.items()},
        "cpu",
        "split seed {} done",
    )


def test_side_by_side_is_one_after_the_other(capsys):
    found = run_seeds(draw, SPLITS, 2.0)
    assert (
        list(found) == [3, 1] and "split seed 3 done\nsplit seed 1 done" in capsys.readouterr().out
    )
    with parallel_config(n_jobs=1):
        alone = run_seeds(draw, {3: SPLITS[3]}, 2.0)
    assert alone[3].tobytes() == found[3].tobytes()


def fails(seed, split):
    raise ValueError(f"seed {seed} is bad")


def test_an_error_of_a_seed_is_the_error_of_the_run():
    with pytest.raises(ValueError, match="is bad"):
        run_seeds(fails, SPLITS)


@pytest.mark.parametrize("end", ["well", "badly"])
def test_no_worker_stays_with_what_it_once_needed(end):
    try:
        run_seeds(draw, SPLITS, 2.0) if end == "well" else run_seeds(fails, SPLITS)
    except ValueError:
        assert end == "badly"
    workers = [
        p
        for p in psutil.Process().children(recursive=True)
        if "popen_loky" in " ".join(p.cmdline())
    ]
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("all-minilm-l6-v2", "minilm"),
        ("sentence-transformers/all-mpnet-base-v2", "mpnet"),
        ("BAAI/bge-m3", "bge-m3"),
    ],
)
def test_short_names(name, short):
    assert short_name(name) == short


def test_encoders_that_share_a_short_name_bear_their_whole_names():
    names = (
        "all-minilm-l6-v2",
        "org/paraphrase-MiniLM-L12",
        "all-mpnet-base-v2",
        "org/Some-Encoder-v1",
        "other/some-encoder-v1",
    )
    assert list(short_names(names).values()) == [
        "all-minilm-l6-v2",
        "org/paraphrase-MiniLM-L12",
        "mpnet",
        "org/Some-Encoder-v1",
        "other/some-encoder-v1",
    ]
    assert short_names(names[1:4]) == {
        names[1]: "minilm",
        names[2]: "mpnet",
        names[3]: "some-encoder-v1",
    }


SMOKE = FitSettings.of(load_profile("smoke"))
HEADS = {"knn", "logistic", "mlp", "boosting", "factorisation", "clusters", "irt", "kernel"}
CONTROLS = {"random", "prompt_length", "benchmark_mean", "tfidf", "random_features"}
SPLIT = Split(np.arange(120), np.arange(120, 130), np.arange(130, 160))


@pytest.fixture(scope="module")
def fitted():
    """All baselines on a small problem, and again with the outcomes of calibration and test rows
    turned round.
    """
    rng = np.random.default_rng(0)
    n = 160
    x = rng.normal(size=(n, 12)).astype(np.float32)
    y = (x[:, :1] + 0.3 * rng.normal(size=(n, 3)) > 0).astype(float)
    turned = y.copy()
    turned[120:] = 1 - turned[120:]
    queries = pd.DataFrame(
        {"category": np.where(np.arange(n) % 2, "a", "b"), "group": np.arange(n)}
    )
    runs = []
    for correct in (y, turned):
        outcomes = SimpleNamespace(
            n=n,
            prompts=[f"word{i % 7} and more" for i in range(n)],
            queries=queries,
            correct=correct,
        )
        runs.append(
            fit_controls(0, SPLIT, outcomes, np.arange(n) + 5)
            | fit_semantic(0, SPLIT, SMOKE, outcomes, ("all-minilm-l6-v2", "minilm", x))
        )
    return y, runs


def test_names_are_those_that_can_be_fitted():
    assert set(METHODS) == set(HEADS_OF_METHODS) == set(FEATURES)
    assert set(BASELINES) == set(fit_baselines.SEMANTIC) | CONTROLS
    assert set(DEFAULT_BASELINES) == HEADS | CONTROLS
    assert set(fit_baselines.NEED_CATEGORIES) < set(BASELINES)
    assert SMOKE.baselines == DEFAULT_BASELINES == FitSettings().baselines


def test_only_the_baselines_that_are_named_are_fitted(monkeypatch):
    monkeypatch.setattr(
        fit_baselines,
        "side_by_side",
        lambda jobs, *_: {key: function(*given) for key, (function, *given) in jobs.items()},
    )
    rng = np.random.default_rng(2)
    category = rng.choice(["a", "b"], 160)
    x = (rng.normal(size=(160, 4)) + 3 * (category == "a")[:, None]).astype(np.float32)
    y = (rng.random((160, 2)) < np.where(category == "a", 0.9, 0.1)[:, None]).astype(float)
    outcomes = SimpleNamespace(
        n=160,
        prompts=["word"] * 160,
        queries=pd.DataFrame({"category": category, "group": np.arange(160)}),
        correct=y,
    )
    named = ("avengers_pro", "benchmark_mean", "category_residual", "predicted_category")
    settings = replace(SMOKE, baselines=named)
    found = baselines_over_seeds(
        {4: SPLIT}, settings, outcomes, np.arange(160), {"all-minilm-l6-v2": x}
    )[4]
    assert list(found) == [
        "benchmark_mean",
        "avengers_pro_minilm",
        "predicted_category_minilm",
        "category_residual_minilm",
    ]
    for name, fit in found.items():
        assert mean_auc(fit.p[SPLIT.test], y[SPLIT.test]) > 0.75, name
    # categories of calibration and test rows are not read
    outcomes.queries["category"] = np.where(np.arange(160) < 120, category, "unseen")
    again = baselines_over_seeds(
        {4: SPLIT}, settings, outcomes, np.arange(160), {"all-minilm-l6-v2": x}
    )[4]
    for name in list(found)[1:]:
        np.testing.assert_array_equal(again[name].p, found[name].p)


def test_every_baseline_is_fitted_on_all_targets(fitted):
    y, (found, _) = fitted
    assert {f"{name}_minilm" for name in HEADS} | CONTROLS == set(found)
    for name, fit in found.items():
        assert fit.p.shape == (160, 3) and np.isfinite(fit.p).all() and fit.seconds >= 0
        if name.endswith("_minilm"):
            assert (
                fit.read == "all-minilm-l6-v2" and mean_auc(fit.p[SPLIT.test], y[SPLIT.test]) > 0.75
            ), name
    assert found["random_features"].read == ""


def test_outcomes_of_calibration_and_test_rows_teach_nothing(fitted):
    _, (one, other) = fitted
    for name in one:
        np.testing.assert_array_equal(one[name].p, other[name].p, err_msg=name)


def test_jobs_of_seeds_and_encoders_give_what_one_fit_gives():
    rng = np.random.default_rng(1)
    n, d = 160, 4
    x, other = (rng.normal(size=(n, d)).astype(np.float32) for _ in range(2))
    y = (x[:, :1] + 0.3 * rng.normal(size=(n, 2)) > 0).astype(float)
    queries = pd.DataFrame(
        {"category": np.where(np.arange(n) % 2, "a", "b"), "group": np.arange(n)}
    )
    outcomes = SimpleNamespace(
        n=n, prompts=[f"word{i % 7} and more" for i in range(n)], queries=queries, correct=y
    )
    embeddings = {"all-minilm-l6-v2": x, "all-mpnet-base-v2": other}
    tokens = np.arange(n) + 5
    found = baselines_over_seeds({4: SPLIT}, SMOKE, outcomes, tokens, embeddings)[4]
    expected = fit_controls(4, SPLIT, outcomes, tokens)
    for (name, vectors), end in zip(embeddings.items(), ("minilm", "mpnet"), strict=True):
        expected |= fit_semantic(4, SPLIT, SMOKE, outcomes, (name, end, vectors))
    assert list(found) == list(expected)
    for name, fit in expected.items():
        np.testing.assert_allclose(found[name].p, fit.p, atol=1e-6, err_msg=name)
        assert found[name].read == fit.read


def test_a_third_sentence_encoder_has_methods_of_its_own(monkeypatch):
    """Each encoder is a job that sees itself alone: the names must not depend on that."""
    monkeypatch.setattr(fit_baselines, "SEMANTIC", {"knn": fit_baselines.KNNRouter})
    monkeypatch.setattr(
        fit_baselines,
        "side_by_side",
        lambda jobs, *_: {key: function(*given) for key, (function, *given) in jobs.items()},
    )
    rng = np.random.default_rng(1)
    queries = pd.DataFrame({"category": "a", "group": np.arange(160)})
    outcomes = SimpleNamespace(
        n=160,
        prompts=[f"word{i % 7} and more" for i in range(160)],
        queries=queries,
        correct=rng.integers(0, 2, (160, 2)).astype(float),
    )
    embeddings = {
        name: rng.normal(size=(160, 4)).astype(np.float32)
        for name in ("all-minilm-l6-v2", "org/Some-Encoder-v1", "org/paraphrase-MiniLM-L12")
    }
    found = baselines_over_seeds({4: SPLIT}, SMOKE, outcomes, np.arange(160) + 5, embeddings)[4]
    read = {name: fit.read for name, fit in found.items() if fit.read}
    assert read == {
        "knn_all-minilm-l6-v2": "all-minilm-l6-v2",
        "knn_some-encoder-v1": "org/Some-Encoder-v1",
        "knn_org/paraphrase-MiniLM-L12": "org/paraphrase-MiniLM-L12",
    }
    assert set(found) - set(read) == CONTROLS


def of_one_method(method, seed, split, queries, pools, layers, settings):
    table = pd.DataFrame({"method": [method], "seed": [seed], "layer": layers["layer"].tolist()})
    return NetworkFits(
        {pool: {method: split.test + seed} for pool in pools},
        table,
        table if method == "paper" else pd.DataFrame(),
        table if method == "paper" else pd.DataFrame(),
    )


def test_jobs_of_seeds_and_methods_are_put_together_again(monkeypatch):
    monkeypatch.setattr(over_seeds, "fit_networks", of_one_method)
    monkeypatch.setattr(
        over_seeds,
        "side_by_side",
        lambda jobs, *_: {key: function(*given) for key, (function, *given) in jobs.items()},
    )
    layers = pd.DataFrame({"seed": [1, 3], "layer": [10, 30]})
    methods = ("ours", "shared_block", "paper")  # `ours` is no network
    found = networks_over_seeds(
        methods, SPLITS, None, {"small": None, "large": None}, layers, SMOKE
    )
    assert list(found) == list(SPLITS)
    for seed, fits in found.items():
        assert fits.choices.values.tolist() == [
            ["paper", seed, 10 * seed],
            ["shared_block", seed, 10 * seed],
        ]
        assert fits.members["method"].tolist() == fits.history["method"].tolist() == ["paper"]
        assert list(fits.p) == ["small", "large"] and list(fits.p["small"]) == [
            "paper",
            "shared_block",
        ]
        assert all(
            (p == SPLITS[seed].test + seed).all()
            for of_pool in fits.p.values()
            for p in of_pool.values()
        )
