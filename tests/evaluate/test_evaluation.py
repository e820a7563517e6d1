"""What the notebooks hand on, and the evaluation that stands behind every table."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from prefill_router import files
from prefill_router.data.costs import expected_cost
from prefill_router.data.outcomes import Outcomes, OutcomesError, Target
from prefill_router.evaluate import breakdown, evaluation, operating_point
from prefill_router.evaluate.auc import mean_auc
from prefill_router.evaluate.keys import CALIBRATED, AtPoint
from prefill_router.evaluate.metrics import COST_METRICS
from prefill_router.evaluate.points import oracle_point, single_points, tolerance_curve
from prefill_router.heads.names import OnEncoder, together
from prefill_router.report import tables
from prefill_router.run import handover
from prefill_router.run.profile_files import load_profile
from prefill_router.run.workspace import Workspace
from weightings import metrics_of


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    n = 240
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i:03d}" for i in range(n)],
            "benchmark": "b",
            "category": [f"c{i % 4}" for i in range(n)],
            "prompt": [f"prompt {i}" for i in range(n)],
            "group": [f"g{i // 2}" for i in range(n)],
        }
    )
    correct = (rng.random((n, 3)) < [0.3, 0.5, 0.7]).astype(float)
    tokens = rng.integers(5, 50, (n, 3)).astype(float)
    targets = tuple(
        Target(name, price, price)
        for name, price in (("small", 1e-3), ("middle", 3e-3), ("large", 1e-2))
    )
    return Outcomes(
        queries=queries,
        targets=targets,
        correct=correct,
        input_tokens=tokens,
        output_tokens=tokens,
        cost=tokens * 2e-3,
        cost_unit="TFLOP",
        name="test",
    )


@pytest.fixture
def workspace(tmp_path):
    profile = dataclasses.replace(load_profile("smoke"), seeds=(0, 1), bootstrap=50)
    ws = Workspace(profile, tmp_path / "build", tmp_path / "results", tmp_path / "figures")
    for folder in (ws.build, ws.results, ws.figures):
        folder.mkdir(parents=True)
    return ws


def noisy(outcomes, seed, noise):
    rng = np.random.default_rng(seed)
    return np.clip(
        0.25 + 0.5 * outcomes.correct + noise * rng.standard_normal(outcomes.correct.shape),
        0.01,
        0.99,
    )


def test_splits_come_back_and_keep_groups_together(workspace, outcomes):
    table = handover.write_splits(workspace, outcomes)
    splits = handover.read_splits(workspace, outcomes)
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
        handover.write_splits(workspace, dataclasses.replace(outcomes, correct=correct))


def without_prices(outcomes, *names):
    unpriced = [t.name in names for t in outcomes.targets]
    return dataclasses.replace(
        outcomes,
        targets=tuple(
            Target(t.name, np.nan, np.nan) if t.name in names else t for t in outcomes.targets
        ),
        cost=np.where(unpriced, np.nan, outcomes.cost),
    )


def test_a_target_without_a_price_stays_in_its_pool_and_is_named_once(workspace, outcomes, capsys):
    files.say_once.cache_clear()
    for _ in range(2):
        ((name, pool),) = handover.pools(workspace, without_prices(outcomes, "large"))
        assert (name, pool.target_names) == ("all", outcomes.target_names)
    assert capsys.readouterr().out.count("pool all: no price is known for large") == 1


def test_notes_and_predictions_come_back(workspace, outcomes):
    handover.write_note(workspace, "encoder", {"params": 3})
    assert handover.read_note(workspace, "encoder") == {"params": 3}
    with pytest.raises(FileNotFoundError, match="make reproduce"):
        handover.read_note(workspace, "other")
    handover.write_splits(workspace, outcomes)
    splits = handover.read_splits(workspace, outcomes)
    p = {seed: noisy(outcomes, seed, 0.1) for seed in splits}
    overhead = np.arange(outcomes.n) * 1e-4
    with pytest.raises(FileNotFoundError, match="NOTEBOOKS=01,02,03,04,05"):
        handover.read_predictions(workspace, "all", outcomes)
    handover.save_predictions(workspace, "all", "paper", "enc", outcomes, splits, p, overhead)
    # names are data: a slash in an encoder's, a pool's that begins another's
    both, alone = together(["org/name", "b"]), OnEncoder("ours", "org/name")
    for key, encoder in (("ours", both), (alone, "org/name")):
        handover.save_predictions(workspace, "all", key, encoder, outcomes, splits, p)
    handover.save_predictions(
        workspace, "all--b", "other", "x", outcomes, splits, p, reads="sentence"
    )
    found = handover.read_predictions(workspace, "all", outcomes)
    assert {name: (m["encoder"], m["reads"]) for name, m in found.items()} == {
        "paper": ("enc", "prefill"),
        "ours": ("org/name + b", "prefill"),
        OnEncoder("ours", "org/name"): ("org/name", "prefill"),
    }
    with pytest.raises(ValueError, match="cannot read 'minds'"):
        handover.save_predictions(
            workspace, "all", "paper", "enc", outcomes, splits, p, reads="minds"
        )
    back = found["paper"]
    for seed, split in splits.items():
        assert np.isnan(back["p"][seed][split.train]).all()
        np.testing.assert_array_equal(
            back["p"][seed][split.test], handover.kept(p[seed][split.test])
        )
        np.testing.assert_allclose(back["overhead"][split.test], overhead[split.test])


def test_evaluation_is_the_mean_of_the_seeds_metrics_and_knows_who_is_better(workspace, outcomes):
    handover.write_splits(workspace, outcomes)
    splits = handover.read_splits(workspace, outcomes)
    methods = {
        name: {
            "encoder": "",
            "p": {s: noisy(outcomes, s, noise) for s in splits},
            "overhead": np.full(outcomes.n, 1e-3),
        }
        for name, noise in (("paper", 0.1), ("mlp_minilm", 2.0))
    }
    averages = evaluation.evaluate(workspace.profile, outcomes, splits, methods)
    by_hand = [
        metrics_of(
            methods["paper"]["p"][s][split.test],
            expected_cost(outcomes, split.train)[split.test],
            outcomes.correct[split.test],
            1e-3,
        )
        for s, split in splits.items()
    ]
    for metric in ("accuracy", "mean_auc", "p_auccc", "cost_saving_vs_max"):
        assert averages.point[("paper", metric)] == pytest.approx(
            np.mean([m[metric] for m in by_hand])
        )
    difference = averages.paired("paper", "mlp_minilm").set_index("metric").loc["mean_auc"]
    assert difference["ci_low"] > 0
    oracle = averages.point[("oracle", "accuracy")]
    assert oracle == pytest.approx(
        np.mean([outcomes.correct[s.test].max(axis=1).mean() for s in splits.values()])
    )
    assert averages.point[("oracle", "gap_closed")] == pytest.approx(1.0)


@pytest.fixture
def splits(workspace, outcomes):
    handover.write_splits(workspace, outcomes)
    return handover.read_splits(workspace, outcomes)


def methods_of(outcomes, splits, columns=slice(None)):
    return {
        name: {
            "encoder": "",
            "p": {s: noisy(outcomes, s, noise)[:, columns] for s in splits},
            "overhead": np.full(outcomes.n, 1e-3),
        }
        for name, noise in (("paper", 0.1), ("tfidf", 0.5))
    }


def test_without_a_price_cost_metrics_are_of_the_priced_targets_and_all_others_of_the_whole_pool(
    workspace, outcomes, splits
):
    cut = [0, 2]
    whole = evaluation.evaluate(workspace.profile, outcomes, splits, methods_of(outcomes, splits))
    part = evaluation.evaluate(
        workspace.profile,
        outcomes.pool(["small", "large"]),
        splits,
        methods_of(outcomes, splits, cut),
    )
    mixed = evaluation.evaluate(
        workspace.profile, without_prices(outcomes, "middle"), splits, methods_of(outcomes, splits)
    )
    assert list(mixed.point) == list(whole.point)
    for (method, metric), value in mixed.point.items():
        if isinstance(method, AtPoint) and metric in (
            "accuracy",
            "gap_closed",
            "disagree_accuracy",
        ):
            continue
        source = part if metric in COST_METRICS else whole
        assert value == pytest.approx(source.point[method, metric], nan_ok=True), (method, metric)
        np.testing.assert_allclose(
            mixed.draws[method, metric], source.draws[method, metric], atol=1e-12
        )
    # a calibrated point answers with priced targets, and is held against the whole pool
    planned = AtPoint("paper", CALIBRATED)
    point = {
        metric: mixed.point[planned, metric]
        for metric in ("accuracy", "best_single_accuracy", "oracle_accuracy", "cost_saving_vs_max")
    }
    assert (
        point["accuracy"] == part.point[planned, "accuracy"]
        and point["cost_saving_vs_max"] == part.point[planned, "cost_saving_vs_max"]
    )
    assert (
        point["best_single_accuracy"] == whole.point["paper", "best_single_accuracy"]
        and point["oracle_accuracy"] > part.point["paper", "oracle_accuracy"]
    )
    assert mixed.point["zero_router", "accuracy"] == pytest.approx(
        mixed.point["zero_router", "best_single_accuracy"]
    )


def test_fewer_than_two_priced_targets_have_no_cost_metrics(workspace, outcomes, splits):
    free = without_prices(outcomes, "middle", "large")
    averages = evaluation.evaluate(workspace.profile, free, splits, methods_of(outcomes, splits))
    whole = evaluation.evaluate(workspace.profile, outcomes, splits, methods_of(outcomes, splits))
    assert not {metric for _, metric in averages.point} & set(COST_METRICS)
    assert set(averages.n) == {key for key in whole.n if not isinstance(key, AtPoint)}
    for method in ("paper", "best_single", "oracle"):
        assert averages.point[method, "accuracy"] == pytest.approx(whole.point[method, "accuracy"])
    assert single_points(workspace.profile, free, splits)["cost"].isna().all()
    assert np.isnan(oracle_point(workspace.profile, free, splits)).all()
    assert (
        len(
            tolerance_curve(
                workspace.profile, free, splits, methods_of(outcomes, splits)["paper"], [0.0, 0.1]
            )
        )
        == 0
    )
    averages.table()


def test_points_and_curves_are_of_the_priced_targets(workspace, outcomes, splits):
    mixed, part = without_prices(outcomes, "middle"), outcomes.pool(["small", "large"])
    points = single_points(workspace.profile, mixed, splits).set_index("target")
    assert points["cost"].isna().tolist() == [False, True, False]
    assert (
        points["accuracy"].tolist()
        == single_points(workspace.profile, outcomes, splits)["accuracy"].tolist()
    )
    pd.testing.assert_frame_equal(
        points.loc[["small", "large"]].reset_index(), single_points(workspace.profile, part, splits)
    )
    assert oracle_point(workspace.profile, mixed, splits) == oracle_point(
        workspace.profile, part, splits
    )
    curve = tolerance_curve(
        workspace.profile, mixed, splits, methods_of(outcomes, splits)["paper"], [0.0, 0.2]
    )
    pd.testing.assert_frame_equal(
        curve,
        tolerance_curve(
            workspace.profile,
            part,
            splits,
            methods_of(outcomes, splits, [0, 2])["paper"],
            [0.0, 0.2],
        ),
    )


def test_the_cost_model_can_be_chosen(workspace, outcomes, splits):
    methods = methods_of(outcomes, splits)
    by_input = evaluation.evaluate(
        workspace.profile, outcomes, splits, methods, cost_model="input_only"
    )
    by_hand = [
        metrics_of(
            methods["paper"]["p"][s][split.test],
            expected_cost(outcomes, split.train, "input_only")[split.test],
            outcomes.correct[split.test],
            1e-3,
        )
        for s, split in splits.items()
    ]
    for metric in ("accuracy", "mean_auc", "p_auccc", "cost_saving_vs_max"):
        assert by_input.point["paper", metric] == pytest.approx(
            np.mean([m[metric] for m in by_hand])
        )
    curve = tolerance_curve(
        workspace.profile, outcomes, splits, methods["paper"], [0.0], cost_model="input_only"
    )
    assert curve["accuracy"].iloc[0] == pytest.approx(by_input.point["paper", "accuracy"])
    points = single_points(workspace.profile, outcomes, splits, cost_model="input_only")
    assert (points["cost"] < single_points(workspace.profile, outcomes, splits)["cost"]).all()
    assert (
        oracle_point(workspace.profile, outcomes, splits, "input_only")[0]
        < oracle_point(workspace.profile, outcomes, splits)[0]
    )


def test_the_best_single_target_is_chosen_on_training_rows(workspace, outcomes, splits):
    """On the test rows another target is made the best: the method must not know."""
    workspace = dataclasses.replace(
        workspace, profile=dataclasses.replace(workspace.profile, seeds=(0,))
    )
    correct, split = outcomes.correct.copy(), splits[0]
    correct[split.test] = correct[split.test][
        :, ::-1
    ]  # the target that was best is now the worst there
    turned = dataclasses.replace(outcomes, correct=correct)
    averages = evaluation.evaluate(
        workspace.profile, turned, {0: split}, methods_of(turned, {0: split})
    )
    train_best = correct[split.train].mean(axis=0).argmax()
    assert averages.point["best_single", "accuracy"] == pytest.approx(
        correct[split.test][:, train_best].mean()
    )
    assert (
        averages.point["best_single", "accuracy"]
        < averages.point["best_single", "best_single_accuracy"] - 0.1
    )


def test_auc_inside_benchmarks_needs_no_price(workspace, outcomes, splits):
    free = without_prices(outcomes, *outcomes.target_names)
    free = dataclasses.replace(
        free,
        queries=free.queries.assign(benchmark=np.where(np.arange(free.n) < 120, "first", "second")),
    )
    methods = methods_of(outcomes, splits)
    table = breakdown.within_benchmarks(
        workspace.profile, free, splits, methods, ("tfidf", "absent"), n_boot=20
    )
    assert table[["method", "benchmark"]].to_numpy().tolist() == [
        ["tfidf", "first"],
        ["tfidf", "second"],
    ]
    assert (table["value"] > 0.55).all() and (table["ci_low"] < table["value"]).all()
    first = [
        mean_auc(methods["tfidf"]["p"][s][t], outcomes.correct[t])
        for s, t in ((s, split.test[split.test < 120]) for s, split in splits.items())
    ]
    assert table["value"].iloc[0] == pytest.approx(np.mean(first))


def test_a_benchmark_without_a_complete_test_query_has_no_number_inside(
    workspace, outcomes, capsys
):
    """Three queries of one benchmark, none of which the last target was run on: the others keep
    their numbers.
    """
    files.say_once.cache_clear()
    correct = outcomes.correct.copy()
    correct[:3, 2] = np.nan
    rare = dataclasses.replace(
        outcomes,
        correct=correct,
        queries=outcomes.queries.assign(benchmark=np.where(np.arange(outcomes.n) < 3, "rare", "b")),
    )
    handover.write_splits(workspace, rare)
    splits = handover.read_splits(workspace, rare)
    methods = methods_of(outcomes, splits)
    for _ in range(2):
        table = breakdown.within_benchmarks(
            workspace.profile, rare, splits, methods, ("paper", "tfidf"), n_boot=20
        ).set_index(["benchmark", "method"])
    assert table.loc["rare", "n"].tolist() == [0, 0] and table.loc["rare"][
        ["value", "ci_low", "ci_high"]
    ].isna().all(axis=None)
    tests = [split.test[split.test >= 3] for split in splits.values()]
    expected = np.mean(
        [
            mean_auc(methods["paper"]["p"][s][test], correct[test])
            for s, test in zip(splits, tests, strict=True)
        ]
    )
    assert table.loc[("b", "paper"), "value"] == pytest.approx(expected) and table.loc[
        ("b", "paper"), "n"
    ] == round(np.mean([len(test) for test in tests]))
    assert (
        capsys.readouterr().out.count(
            "no test query that every target answered, so no number inside rare"
        )
        == 1
    )


def test_a_split_without_a_complete_test_query_is_left_out_aloud(
    workspace, outcomes, splits, capsys
):
    files.say_once.cache_clear()
    correct = outcomes.correct.copy()
    only = np.setdiff1d(splits[1].test, splits[0].test)  # of the second split alone
    correct[splits[0].test, 0] = np.nan
    assert len(only) and not np.isnan(correct[only]).any()
    holes, methods = dataclasses.replace(outcomes, correct=correct), methods_of(outcomes, splits)
    averages = evaluation.evaluate(workspace.profile, holes, splits, methods)
    assert (
        averages.seeds["paper", "accuracy"] == 1
        and "split seed 0 has no training or no test query" in capsys.readouterr().out
    )
    alone = evaluation.evaluate(workspace.profile, holes, {1: splits[1]}, methods)
    assert averages.point["paper", "p_auccc"] == alone.point["paper", "p_auccc"] and averages.n[
        "paper"
    ] == len(only)
    pd.testing.assert_frame_equal(
        single_points(workspace.profile, holes, splits),
        single_points(workspace.profile, holes, {1: splits[1]}),
    )
    assert oracle_point(workspace.profile, holes, splits) == oracle_point(
        workspace.profile, holes, {1: splits[1]}
    )
    assert len(tolerance_curve(workspace.profile, holes, splits, methods["paper"], [0.0, 0.1])) == 2
    with pytest.raises(OutcomesError, match="in no split do both training and test rows"):
        evaluation.evaluate(workspace.profile, holes, {0: splits[0]}, methods)


def test_where_all_is_free_or_costs_the_same_nothing_is_divided_by_zero(
    workspace, outcomes, splits
):
    for price, known in ((0.0, False), (1.0, True)):
        same = dataclasses.replace(
            outcomes,
            targets=tuple(Target(t.name, price, 0.0) for t in outcomes.targets),
            input_tokens=np.full_like(outcomes.correct, 7.0),
        )
        averages = evaluation.evaluate(
            workspace.profile, same, splits, methods_of(outcomes, splits)
        )
        assert np.isfinite(averages.point["best_single", "cost_saving_vs_max"]) == known
        assert np.isnan(averages.point["paper", "p_auccc"]) and np.isnan(
            averages.point["zero_router", "mdp_auccc"]
        )
        assert averages.point["paper", "accuracy"] > 0.5 and np.isfinite(
            averages.point["paper", "gap_closed"]
        )
        assert len(averages.table()) and len(averages.paired("paper", "best_single"))


def test_calibrated_tolerance_by_hand():
    # Two targets at cost 1 and 3. Accuracies 1/2 and 3/4. Gaps P_max - P of the cheap one: 0.1,
    # 0.2, 0.3, 0.4 (dear preferred).
    p = np.array([[0.5, 0.6], [0.5, 0.7], [0.5, 0.8], [0.5, 0.9]])
    cost = np.tile([1.0, 3.0], (4, 1))
    correct = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    # tolerance 0.1 and 0.2 keep 3/4 right; 0.3 loses the third query; the cheapest point that keeps
    # 3/4 is 0.2
    assert operating_point.calibrated_tolerance(p, cost, correct, 0.0) == pytest.approx(0.2)
    assert operating_point.calibrated_tolerance(p, cost, np.array([[0.0, 1.0]] * 4), 0.0) == 0.0


def test_queries_with_missing_outcomes_are_left_out_and_counted(workspace, outcomes, capsys):
    correct = outcomes.correct.copy()
    correct[:5, 0] = np.nan
    holes = dataclasses.replace(outcomes, correct=correct)
    handover.write_splits(workspace, holes)
    splits = handover.read_splits(workspace, holes)
    methods = {
        "paper": {
            "encoder": "",
            "p": {s: noisy(outcomes, s, 0.1) for s in splits},
            "overhead": np.zeros(outcomes.n),
        }
    }
    averages = evaluation.evaluate(workspace.profile, holes, splits, methods)
    assert "5 of 240 queries lack an outcome" in capsys.readouterr().out
    assert 0 < averages.point[("paper", "accuracy")] < 1


def test_report_rows_and_verdicts():
    row = {"pool": "all", "encoder": "", "reads": "", "target": "", "n": 100, "seeds": 5}
    metrics = pd.DataFrame(
        [
            row
            | {"method": m, "operating_point": o, "metric": k}
            | {"value": v, "ci_low": v - 0.1, "ci_high": v + 0.1}
            for m, o, k, v in [
                ("tfidf", "", "mean_auc", 0.7),
                ("paper", "", "mean_auc", 0.8),
                ("paper", "", "best_single_accuracy", 0.6),
                ("paper", "", "oracle_accuracy", 0.9),
                ("paper", CALIBRATED, "accuracy", 0.5),
            ]
        ]
    )
    table = tables.headline_table(metrics)
    assert "best single target 60.0% [50.0%, 70.0%], oracle 90.0%" in table and "n = 100" in table
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert (
        lines[0].startswith("| SharedTrunkNet on prefill | 0.800 [0.700, 0.900] | – |")
        and lines[1].startswith("| TF-IDF")
        and len(lines) == 2
    )
    paired = pd.DataFrame(
        [
            {
                "pool": "all",
                "method_a": "paper",
                "method_b": b,
                "metric": "mean_auc",
                "diff": d,
                "ci_low": d - 0.02,
                "ci_high": d + 0.02,
            }
            for b, d in [("tfidf", 0.03), ("random", -0.03), ("oracle", 0.01)]
        ]
    )
    text = tables.paired_sentences(paired)
    assert (
        "+0.030 [+0.010, +0.050] (better)" in text
        and "(worse)" in text
        and "(no clear difference)" in text
    )
