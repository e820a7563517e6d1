"""metrics.csv from results/<profile> alone: what comes out again, what is refused."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.evaluate import evaluation as experiment
from prefill_router.evaluate.auc import mean_auc
from prefill_router.files import project_root
from prefill_router.heads.names import OnEncoder
from prefill_router.report.baseline_sentences import baseline_sentence
from prefill_router.run import evaluation_files, handover, recompute
from prefill_router.run.profile_files import load_profile
from prefill_router.run.workspace import Workspace

POOLS = {"large": ("a", "b", "c"), "small": ("c", "b", "d")}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two pools that share targets, a target without a price, missing outcomes, a router's own
    cost; and what was written of them.
    """
    rng, n, folder = np.random.default_rng(0), 150, tmp_path_factory.mktemp("evaluation")
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i:03d}" for i in rng.permutation(n)],
            "benchmark": [f"b{i % 2}" for i in range(n)],
            "category": "c",
            "prompt": [f"secret words {i}" for i in range(n)],
            "group": [f"secret group {i // 2}" for i in range(n)],
        }
    )
    correct = (rng.random((n, 4)) < [0.3, 0.5, 0.6, 0.7]).astype(float)
    correct[:4, 0] = np.nan
    tokens = rng.integers(5, 50, (n, 4)).astype(float)
    targets = tuple(
        Target(name, price, price)
        for name, price in zip("abcd", (1e-3, 3e-3, 1e-2, np.nan), strict=True)
    )
    outcomes = Outcomes(
        queries, targets, correct, tokens, tokens[:, ::-1], tokens * 2e-3, "TFLOP", "test"
    )
    ws = Workspace(
        dataclasses.replace(load_profile("smoke"), seeds=(0, 1), bootstrap=30),
        *(folder / name for name in ("build", "results", "figures")),
    )
    for path in (ws.build, ws.results, ws.figures):
        path.mkdir(parents=True)
    handover.write_splits(ws, outcomes)
    splits = handover.read_splits(ws, outcomes)
    p = {
        s: (
            np.clip(
                0.25 + 0.5 * np.nan_to_num(correct) + 0.2 * rng.standard_normal(correct.shape),
                -0.2,
                1.2,
            ).clip(0, 1)
        )
        for s in splits
    }
    loaded, tables = {}, []
    for pool, names in POOLS.items():
        o = outcomes.pool(names)
        columns = ["abcd".index(name) for name in names]
        handover.save_predictions(
            ws,
            pool,
            "ours",
            "org/one + org/two",
            o,
            splits,
            {s: v[:, columns] for s, v in p.items()},
            tokens[:, 0] * 1e-3,
        )
        for alone, power in (("org/one", 2), ("org/two", 3)):
            handover.save_predictions(
                ws,
                pool,
                OnEncoder("ours", alone),
                alone,
                o,
                splits,
                {s: v[:, columns] ** power for s, v in p.items()},
                tokens[:, 0] * 1e-3 / power,
            )
        handover.save_predictions(
            ws,
            pool,
            "paper",
            "org/one",
            o,
            splits,
            {s: v[:, columns] ** (1 + len(loaded)) for s, v in p.items()},
        )
        handover.save_predictions(
            ws,
            pool,
            "knn_some-encoder-v1",
            "org/Some-Encoder-v1",
            o,
            splits,
            {s: v[:, columns].round(1) for s, v in p.items()},
            reads="sentence",
        )
        methods = handover.read_predictions(ws, pool, o)
        loaded[pool] = (o, splits, methods)
        tables.append(
            experiment.metrics_table(
                experiment.evaluate(ws.profile, o, splits, methods), pool, methods
            )
        )
    ws.write_table(pd.concat(tables, ignore_index=True), "metrics")
    evaluation_files.write_evaluation(ws, loaded)
    for name in ("predictions", "splits.parquet"):  # what is published must do
        path = ws.build / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return ws, loaded


def test_every_number_comes_out_again(written, capsys):
    ws, _ = written
    committed = pd.read_csv(ws.results / "metrics.csv")
    again = recompute.recompute_metrics(ws.results, n_boot=30)
    assert len(again) == len(committed) > 200 and list(again) == experiment.METRIC_COLUMNS
    assert recompute.compare(committed, again).empty
    assert set(committed["metric"]) >= {
        "log_loss",
        "ece",
        "p_auccc",
        "cost_saving_at_best_single",
    } and {"ours", "best_single", "oracle", "zero_router"} <= set(committed["method"])
    assert set(committed["operating_point"].fillna("")) == {"", "argmax", "calibrated"}
    # and the comparison sees one digit
    wrong = committed.copy()
    alone = (wrong["method"] == "ours") & (wrong["encoder"] == "org/two")
    row = wrong.index[(wrong["metric"] == "brier") & alone][0]
    wrong.loc[row, "value"] += 2e-5 * wrong.loc[row, "value"]
    found = recompute.compare(wrong.drop(index=len(wrong) - 1), again)
    assert (
        set(found["number"]) == {"value", "ci_low", "ci_high", "n", "seeds"}
        and found["committed"].notna().sum() == 1
    )


def test_predictions_of_all_pools_are_kept_once_and_what_is_kept_was_evaluated(written):
    ws, loaded = written
    table = pd.read_parquet(ws.results / "predictions.parquet")
    assert set(table["pool"][table["method"] == "ours"]) == {"*"} and set(
        table["pool"][table["method"] == "paper"]
    ) == set(POOLS)
    assert set(table["part"]) == {"calibration", "test"}
    read = (
        table.drop_duplicates(["method", "encoder"])
        .set_index("method")[["encoder", "reads"]]
        .to_numpy()
        .tolist()
    )
    assert sorted(read) == [
        ["org/Some-Encoder-v1", "sentence"],
        ["org/one", "prefill"],
        ["org/one", "prefill"],
        ["org/one + org/two", "prefill"],
        ["org/two", "prefill"],
    ]
    again = dict(recompute.read_evaluation(ws.results))
    assert list(again) == list(POOLS)
    for pool, (o, splits, methods) in loaded.items():
        of, parts, found, _ = again[pool]
        assert (
            of.target_names == o.target_names
            and of.queries["query_id"].tolist() == o.queries["query_id"].tolist()
        )
        for seed, split in splits.items():
            np.testing.assert_array_equal(parts[seed].train, split.train)
            for name, m in methods.items():
                np.testing.assert_array_equal(found[name]["p"][seed], m["p"][seed])
        assert list(found) == list(methods)
        own = methods["ours"]["overhead"]
        np.testing.assert_array_equal(found["ours"]["overhead"], own)
        alone = found[OnEncoder("ours", "org/two")]["overhead"]
        np.testing.assert_allclose(alone, own / 3)
        assert own.any() and not found["paper"]["overhead"].any()


def test_no_word_of_a_prompt_or_group_is_written(written):
    ws, _ = written
    for path in ws.results.glob("*.parquet"):
        table = pd.read_parquet(path)
        assert not any(table[c].astype(str).str.contains("secret").any() for c in table), path.name


def test_large_predictions_are_a_file_per_split_seed(written, tmp_path, monkeypatch):
    ws, loaded = written
    monkeypatch.setattr(evaluation_files, "ONE_FILE", 1000)
    other = dataclasses.replace(ws, build_dir=tmp_path)
    other.results.mkdir(parents=True)
    (other.results / "predictions.parquet").write_bytes(b"of an earlier run")
    files = evaluation_files.write_evaluation(other, loaded)
    assert (
        sorted(p.name for p in other.results.glob("predictions*"))
        == sorted(f.name for f in files)
        == ["predictions_seed0.parquet", "predictions_seed1.parquet"]
    )
    assert recompute.compare(
        recompute.recompute_metrics(ws.results, 30), recompute.recompute_metrics(other.results, 30)
    ).empty


def test_p_is_kept_to_four_decimals_and_off_zero_and_one():
    p = np.array([0.0, 1.0, 0.12344, 0.1 + 0.2, np.nan])
    back = handover.unpacked(handover.kept(p).astype(np.float32))
    np.testing.assert_array_equal(back, [5e-5, 0.99995, 0.1234, 0.3, np.nan])
    # equal gaps stay equal: 0.8 - 0.7 and 0.3 - 0.2 in float32 differ in the eighth decimal
    a, b, c, d = handover.unpacked(np.float32([0.8, 0.7, 0.3, 0.2]))
    assert round(a - b, 12) == round(c - d, 12)
    # an AUC over many close P moves by a hundredth of its own noise (0.03)
    rng = np.random.default_rng(0)
    y = (rng.random((2000, 1)) < 0.97).astype(float)
    q = 1 / (1 + np.exp(-(3.5 + y + rng.normal(size=y.shape))))
    assert mean_auc(handover.kept(q), y) == pytest.approx(mean_auc(q, y), abs=3e-4)


def test_what_is_not_there_is_named(written, tmp_path, capsys):
    ws, _ = written
    folder = tmp_path / "mine"
    shutil.copytree(ws.results, folder)
    assert (
        recompute.main([str(folder)]) == 2
        and "manifest.json is not there" in capsys.readouterr().err
    )
    (folder / "manifest.json").write_text('{"profile": {"bootstrap": 30}}')
    assert recompute.main([str(folder)]) == 0 and "rows come out again" in capsys.readouterr().out
    metrics = pd.read_csv(folder / "metrics.csv")
    metrics.loc[0, "value"] = 0.123
    metrics.to_csv(folder / "metrics.csv", index=False)
    assert recompute.main([str(folder)]) == 1 and "0.123" in capsys.readouterr().out
    table = pd.read_parquet(folder / "predictions.parquet")
    table.drop(columns=["part", "reads"]).to_parquet(folder / "predictions.parquet")
    assert (
        recompute.main([str(folder)]) == 2
        and "lacks the column part, reads: an earlier version wrote it" in capsys.readouterr().err
    )
    (folder / "costs.parquet").unlink()
    table.to_parquet(folder / "predictions.parquet")
    with pytest.raises(
        FileNotFoundError, match="costs.parquet is not there: run the profile again"
    ):
        recompute.recompute_metrics(folder)


def test_the_best_baseline_of_an_encoder_never_heard_of_is_named():
    auc = {
        "knn_some-encoder-v1": ("org/Some-Encoder-v1", 0.8),
        "knn_minilm": ("all-minilm-l6-v2", 0.7),
        **dict.fromkeys(
            ("benchmark_mean", "prompt_length", "random_features", "random"), ("", 0.9)
        ),
    }
    for names in (auc, {m: read for m, read in auc.items() if m != "knn_minilm"}):
        table = pd.DataFrame(
            [
                {"pool": "a", "method": m, "read": read, "mean_auc": value}
                for m, (read, value) in names.items()
            ]
        )
        told = baseline_sentence(table, "a")
        assert "the best text baseline is kNN on some-encoder-v1 with 0.800" in told


@pytest.mark.slow
@pytest.mark.weights
def test_a_run_of_the_smoke_profile_comes_out_again(smoke_run):
    folder = smoke_run / "results" / "smoke"
    assert recompute.compare(
        pd.read_csv(folder / "metrics.csv"), recompute.recompute_metrics(folder)
    ).empty


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["local", "local_encoders"])
def test_committed_results_come_out_again(profile):
    folder = project_root() / "results" / profile
    if not (folder / "costs.parquet").is_file():
        pytest.skip(
            f"results/{profile} was written by an earlier version, without costs.parquet: make it"
            " again"
        )
    assert recompute.compare(
        pd.read_csv(folder / "metrics.csv"), recompute.recompute_metrics(folder)
    ).empty


@pytest.mark.parametrize("profile", ["local", "local_encoders", "zeroeval", "mmlu_pro"])
def test_committed_intervals_hold_their_value(profile):
    metrics = pd.read_csv(project_root() / "results" / profile / "metrics.csv")
    if "log_loss" not in set(metrics["metric"]):
        pytest.skip(
            f"results/{profile}/metrics.csv was written by an earlier version, with percentile"
            " intervals for all metrics: make it again"
        )
    known = metrics.dropna(subset=["value", "ci_low"])
    assert (
        len(known)
        and (known["ci_low"] <= known["value"]).all()
        and (known["value"] <= known["ci_high"]).all()
    )
