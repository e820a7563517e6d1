"""What the notebooks hand on, and the evaluation that stands behind every table."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from prefill_router import experiment, plots, report
from prefill_router.metrics import pool_metrics
from prefill_router.outcomes import Outcomes, OutcomesError, Target
from prefill_router.profiles import Workspace, load_profile
from prefill_router.routing import expected_cost


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    n = 240
    queries = pd.DataFrame({"query_id": [f"q{i:03d}" for i in range(n)], "benchmark": "b", "category": [f"c{i % 4}" for i in range(n)],
                            "prompt": [f"prompt {i}" for i in range(n)], "group": [f"g{i // 2}" for i in range(n)]})
    correct = (rng.random((n, 3)) < [0.3, 0.5, 0.7]).astype(float)
    tokens = rng.integers(5, 50, (n, 3)).astype(float)
    targets = tuple(Target(name, price, price) for name, price in (("small", 1e-3), ("middle", 3e-3), ("large", 1e-2)))
    return Outcomes(queries=queries, targets=targets, correct=correct, input_tokens=tokens, output_tokens=tokens, cost=tokens * 2e-3, cost_unit="TFLOP", name="test")


@pytest.fixture
def workspace(tmp_path):
    profile = dataclasses.replace(load_profile("smoke"), seeds=(0, 1), bootstrap=50)
    ws = Workspace(profile, tmp_path / "build", tmp_path / "results", tmp_path / "figures")
    for folder in (ws.build, ws.results, ws.figures):
        folder.mkdir(parents=True)
    return ws


def noisy(outcomes, seed, noise):
    rng = np.random.default_rng(seed)
    return np.clip(0.25 + 0.5 * outcomes.correct + noise * rng.standard_normal(outcomes.correct.shape), 0.01, 0.99)


def test_splits_come_back_and_keep_groups_together(workspace, outcomes):
    table = experiment.write_splits(workspace, outcomes)
    splits = experiment.read_splits(workspace, outcomes)
    assert list(splits) == [0, 1]
    for seed, split in splits.items():
        parts = np.concatenate([split.train, split.calibration, split.test])
        assert sorted(parts) == list(range(outcomes.n))
        merged = table[table["seed"] == seed].merge(outcomes.queries, on="query_id")
        assert (merged.groupby("group")["split"].nunique() == 1).all()


def test_a_target_that_is_always_right_stops_the_run_with_its_name(workspace, outcomes):
    correct = outcomes.correct.copy()
    correct[:, 1] = 1
    with pytest.raises(OutcomesError, match="middle"):
        experiment.write_splits(workspace, dataclasses.replace(outcomes, correct=correct))


def test_a_target_without_a_price_is_left_out_of_the_pools_aloud(workspace, outcomes, capsys):
    names = outcomes.target_names
    assert [pool.target_names for _, pool in experiment.pools(workspace, outcomes)] == [names]
    targets = (*outcomes.targets[:2], Target("large", np.nan, np.nan))
    ((name, pool),) = experiment.pools(workspace, dataclasses.replace(outcomes, targets=targets))
    assert (name, pool.target_names) == ("all", names[:2])
    assert "pool all: no price is known for large; left out" in capsys.readouterr().out
    with pytest.raises(OutcomesError, match="at least two targets, this one has 1"):
        list(experiment.pools(workspace, dataclasses.replace(outcomes, targets=(outcomes.targets[0], *(Target(n, np.nan, np.nan) for n in names[1:])))))


def test_notes_and_predictions_come_back(workspace, outcomes):
    experiment.write_note(workspace, "encoder", {"params": 3})
    assert experiment.read_note(workspace, "encoder") == {"params": 3}
    with pytest.raises(FileNotFoundError, match="make reproduce"):
        experiment.read_note(workspace, "other")
    experiment.write_splits(workspace, outcomes)
    splits = experiment.read_splits(workspace, outcomes)
    p = {seed: noisy(outcomes, seed, 0.1) for seed in splits}
    overhead = np.arange(outcomes.n) * 1e-4
    with pytest.raises(FileNotFoundError, match="04 and 05"):
        experiment.read_predictions(workspace, "all", outcomes)
    experiment.save_predictions(workspace, "all", "paper", "enc", outcomes, splits, p, overhead)
    back = experiment.read_predictions(workspace, "all", outcomes)["paper"]
    for seed, split in splits.items():
        assert np.isnan(back["p"][seed][split.train]).all()
        np.testing.assert_allclose(back["p"][seed][split.test], p[seed][split.test], atol=1e-6)
        np.testing.assert_allclose(back["overhead"][split.test], overhead[split.test])


def test_evaluation_is_the_mean_of_the_seeds_metrics_and_knows_who_is_better(workspace, outcomes):
    experiment.write_splits(workspace, outcomes)
    splits = experiment.read_splits(workspace, outcomes)
    methods = {name: {"encoder": "", "p": {s: noisy(outcomes, s, noise) for s in splits}, "overhead": np.full(outcomes.n, 1e-3)} for name, noise in (("paper", 0.1), ("mlp_minilm", 2.0))}
    averages = experiment.evaluate(workspace, outcomes, splits, methods)
    by_hand = [pool_metrics(methods["paper"]["p"][s][split.test], expected_cost(outcomes, split.train)[split.test], outcomes.correct[split.test], 1e-3) for s, split in splits.items()]
    for metric in ("accuracy", "mean_auc", "p_auccc", "cost_saving_vs_max"):
        assert averages.point[("paper", metric)] == pytest.approx(np.mean([m[metric] for m in by_hand]))
    difference = averages.paired("paper", "mlp_minilm").set_index("metric").loc["mean_auc"]
    assert difference["ci_low"] > 0
    oracle = averages.point[("oracle", "accuracy")]
    assert oracle == pytest.approx(np.mean([outcomes.correct[s.test].max(axis=1).mean() for s in splits.values()]))
    assert averages.point[("oracle", "gap_closed")] == pytest.approx(1.0)


def test_calibrated_tolerance_by_hand():
    # Two targets at cost 1 and 3. Accuracies 1/2 and 3/4. Gaps P_max - P of the cheap one: 0.1, 0.2, 0.3, 0.4 (dear preferred).
    p = np.array([[0.5, 0.6], [0.5, 0.7], [0.5, 0.8], [0.5, 0.9]])
    cost = np.tile([1.0, 3.0], (4, 1))
    correct = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    # tolerance 0.1 and 0.2 keep 3/4 right; 0.3 loses the third query; the cheapest point that keeps 3/4 is 0.2
    assert experiment.calibrated_tolerance(p, cost, correct, 0.0) == pytest.approx(0.2)
    assert experiment.calibrated_tolerance(p, cost, np.array([[0.0, 1.0]] * 4), 0.0) == 0.0


def test_queries_with_missing_outcomes_are_left_out_and_counted(workspace, outcomes, capsys):
    correct = outcomes.correct.copy()
    correct[:5, 0] = np.nan
    holes = dataclasses.replace(outcomes, correct=correct)
    experiment.write_splits(workspace, holes)
    splits = experiment.read_splits(workspace, holes)
    methods = {"paper": {"encoder": "", "p": {s: noisy(outcomes, s, 0.1) for s in splits}, "overhead": np.zeros(outcomes.n)}}
    averages = experiment.evaluate(workspace, holes, splits, methods)
    assert "5 of 240 queries lack an outcome" in capsys.readouterr().out
    assert 0 < averages.point[("paper", "accuracy")] < 1


def test_report_rows_and_verdicts():
    row = {"pool": "all", "encoder": "", "target": "", "n": 100, "seeds": 5}
    metrics = pd.DataFrame([
        {**row, "method": m, "metric": k, "value": v, "ci_low": v - 0.1, "ci_high": v + 0.1}
        for m, k, v in [("tfidf", "mean_auc", 0.7), ("paper", "mean_auc", 0.8), ("paper", "best_single_accuracy", 0.6), ("paper", "oracle_accuracy", 0.9), ("paper calibrated", "accuracy", 0.5)]
    ])
    table = report.headline_table(metrics)
    assert "best single target 60.0% [50.0%, 70.0%], oracle 90.0%" in table and "n = 100" in table
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert lines[0].startswith("| SharedTrunkNet on prefill | 0.800 [0.700, 0.900] | – |") and lines[1].startswith("| TF-IDF") and len(lines) == 2
    paired = pd.DataFrame([{"pool": "all", "method_a": "paper", "method_b": b, "metric": "mean_auc", "diff": d, "ci_low": d - 0.02, "ci_high": d + 0.02} for b, d in [("tfidf", 0.03), ("random", -0.03), ("oracle", 0.01)]])
    text = report.paired_sentences(paired)
    assert "+0.030 [+0.010, +0.050] (better)" in text and "(worse)" in text and "(no clear difference)" in text


def test_curve_figure_is_the_same_twice_and_shows_every_reference(workspace):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plots.use_style()
    curves = pd.DataFrame({"method": "paper", "cost": [1.0, 2.0], "accuracy": [0.4, 0.6], "ci_low": [0.3, 0.5], "ci_high": [0.5, 0.7]})
    points = pd.DataFrame({"target": ["a", "b"], "cost": [1.0, 2.0], "accuracy": [0.4, 0.5]})
    files = []
    for name in ("one", "two"):
        fig, ax = plt.subplots()
        plots.plot_curves(curves, points, points, (1.5, 0.8), "TFLOP", ["paper"], ["paper"], ax)
        assert {"best single target", "zero router (mix of targets)", "SharedTrunkNet on prefill", "oracle"} <= set(ax.get_legend_handles_labels()[1])
        files.append(workspace.save_figure(fig, name))
        plt.close(fig)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].with_suffix(".png").read_bytes() == files[1].with_suffix(".png").read_bytes()
