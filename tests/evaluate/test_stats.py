"""Uncertainty: group bootstrap, intervals, averages over seeds on shared resamples."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.evaluate import resampling
from prefill_router.evaluate.curves import router_curve
from prefill_router.evaluate.intervals import basic_interval, interval_of, percentile_interval
from prefill_router.evaluate.metrics import METRICS, pool_metrics_boot
from prefill_router.evaluate.resampling import (
    count_blocks,
    seed_averaged_curve,
    seed_averaged_intervals,
)
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.runs import SeedRun, point_run, router_run, zero_router_run
from weightings import drawn_weights, metrics_of


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20), st.integers(0, 1000), st.randoms()
)
def test_group_weights_are_multiplicities_of_groups(groups, seed, order):
    groups = np.array(groups)
    weights = drawn_weights(groups, 7, seed)
    assert (
        weights.shape == (7, len(groups))
        and (weights == weights.astype(int)).all()
        and (weights >= 0).all()
    )
    names, first, index = np.unique(groups, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(weights, weights[:, first][:, index])
    assert (weights[:, first].sum(axis=1) == len(names)).all()
    rows = list(range(len(groups)))
    order.shuffle(rows)
    np.testing.assert_array_equal(drawn_weights(groups[rows], 7, seed), weights[:, rows])


def test_group_weights_are_drawn_with_replacement():
    weights = drawn_weights(np.arange(50), 4000, seed=0)
    # A multiplicity is binomial(50, 1/50): mean 1, variance .98, P(0) = .98^50 = .364.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    assert weights.var() == pytest.approx(0.98, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(0.98**50, abs=0.005)
    assert not np.array_equal(weights, drawn_weights(np.arange(50), 4000, seed=1))


def test_bootstrap_of_a_mean_has_the_textbook_standard_error():
    x = np.random.default_rng(0).normal(size=200)
    weights = drawn_weights(np.arange(200), 4000, seed=0)
    assert (weights @ x / 200).std() == pytest.approx(x.std() / np.sqrt(200), rel=0.05)
    # Ten equal copies of 20 values: as groups, the error is that of 20 values, not of 200.
    groups = np.repeat(np.arange(20), 10)
    y = x[:20][groups]
    draws = drawn_weights(groups, 4000, seed=0) @ y / 200
    assert draws.std() == pytest.approx(x[:20].std() / np.sqrt(20), rel=0.05)


def test_percentile_interval_by_hand():
    # 0, 1, ..., 100: the 2.5th and 97.5th percentiles are 2.5 and 97.5.
    low, high = percentile_interval(np.arange(101.0)[::-1])
    assert (low, high) == pytest.approx((2.5, 97.5))
    assert tuple(percentile_interval(np.arange(101.0), level=0.5)) == pytest.approx((25, 75))
    interval = percentile_interval(np.append(np.arange(101.0), [np.nan] * 9))
    assert (interval.low, interval.high, interval.undefined) == pytest.approx((2.5, 97.5, 9))
    empty = percentile_interval(np.full(3, np.nan))
    assert np.isnan(empty.low) and np.isnan(empty.high) and empty.undefined == 3
    with pytest.raises(ValueError, match="level"):
        percentile_interval(np.arange(3.0), level=95)


def test_basic_interval_reflects_the_draws_at_the_value():
    draws = np.arange(101.0)  # percentiles 2.5 and 97.5
    assert tuple(basic_interval(40.0, draws)) == pytest.approx((80 - 97.5, 80 - 2.5))
    assert tuple(basic_interval(40.0, draws, level=0.5)) == pytest.approx((80 - 75, 80 - 25))
    # on the scale of squares, cut at 0: 2 * 60^2 - 97.5^2 < 0
    assert tuple(basic_interval(60.0, draws, power=2)) == pytest.approx((0, np.sqrt(7200 - 2.5**2)))
    assert basic_interval(40.0, np.append(draws, np.nan)).undefined == 1
    assert np.isnan(tuple(basic_interval(40.0, np.full(3, np.nan), power=2))).all()


@pytest.mark.parametrize(
    ("method", "of"),
    [
        ("basic", lambda v, d: basic_interval(v, d, 0.9)),
        ("percentile", lambda v, d: percentile_interval(d, 0.9)),
    ],
)
def test_intervals_equal_scipys_on_the_same_draws(method, of):
    x = np.random.default_rng(0).exponential(size=40)
    theirs = scipy.stats.bootstrap(
        (x,),
        np.mean,
        confidence_level=0.9,
        n_resamples=300,
        method=method,
        rng=np.random.default_rng(1),
    )
    assert tuple(of(x.mean(), theirs.bootstrap_distribution)) == pytest.approx(
        tuple(theirs.confidence_interval)
    )


def test_an_interval_holds_its_value():
    above = np.linspace(
        0.3, 0.7, 101
    )  # all draws above the value, as of a distance that is noise alone
    assert tuple(interval_of("pdp_auccc", 0.2, above)) == pytest.approx((0.4 - 0.69, 0.2))
    assert tuple(interval_of("ece", 0.2, above)) == pytest.approx((0.0, 0.2))
    assert tuple(interval_of("ece", 0.6, above)) == pytest.approx(
        (np.sqrt(0.72 - 0.69**2), np.sqrt(0.72 - 0.31**2))
    )
    # a difference of two distances has either sign, and is reflected as it is
    assert tuple(interval_of("ece", -0.6, -above, power=1)) == pytest.approx(
        (-1.2 + 0.31, -1.2 + 0.69)
    )
    # a metric that is defined on other split seeds in the replicates: the end is moved, the kind
    # stays
    assert tuple(interval_of("cost_saving_at_best_single", 0.2, above)) == pytest.approx(
        (0.2, 0.69)
    )
    assert tuple(interval_of("accuracy", 0.4, above)) == pytest.approx(
        tuple(percentile_interval(above))
    )
    assert (
        np.isnan(tuple(interval_of("ece", np.nan, above))).all()
        and np.isnan(tuple(interval_of("accuracy", 0.4, above * np.nan))).all()
    )


def simulated(rng, n):
    """A pool whose P is nearly right: small ECE and PDP-AUCCC, so that their values are mostly
    noise.
    """
    z, e, a = rng.normal(size=n), 0.8 * rng.normal(size=(n, 3)), np.array([-0.6, 0.5, 1.0])
    correct = (rng.random((n, 3)) < 1 / (1 + np.exp(-(a + 1.2 * z[:, None] + e)))).astype(float)
    p = 1 / (1 + np.exp(-(a + 1.08 * z[:, None] + 0.5 * e + 0.3 * rng.normal(size=(n, 3)))))
    return p, np.array([1.0, 3, 9]) * rng.uniform(0.5, 1.5, (n, 1)), correct


def test_basic_intervals_of_distances_hold_the_truth_and_percentile_intervals_do_not():
    """The truth is the value on 40,000 queries; 60 pools of 300 queries, 150 replicates each."""
    rng = np.random.default_rng(0)
    large = simulated(rng, 40_000)
    truth = metrics_of(*large)
    metrics, found = ("ece", "pdp_auccc", "accuracy", "brier"), []
    for _ in range(60):
        p, cost, correct = simulated(rng, 300)
        weights = np.vstack(
            [np.ones(300), drawn_weights(np.arange(300), 150, seed=int(rng.integers(2**31)))]
        )
        values = pool_metrics_boot(p, cost, correct, 0.0, weights)
        for metric in metrics:
            value, draws = values[metric][0], values[metric][1:]
            ours, percentile = interval_of(metric, value, draws), percentile_interval(draws)
            found.append(
                (
                    metric,
                    ours.low <= truth[metric] <= ours.high,
                    percentile.low <= truth[metric] <= percentile.high,
                )
            )
    share = {
        metric: np.mean([row[1:] for row in found if row[0] == metric], axis=0)
        for metric in metrics
    }
    for metric in ("ece", "pdp_auccc"):
        assert share[metric][0] >= 0.9 and share[metric][1] <= 0.1, (metric, share[metric])
    for metric in ("accuracy", "brier"):  # plain means: percentile
        assert share[metric][0] == share[metric][1] >= 0.88, (metric, share[metric])


def test_every_interval_of_every_table_holds_its_value():
    """A P that is right and one that is noise: values of distances lie below all of their draws."""
    (p, cost, correct), groups = simulated(np.random.default_rng(1), 300), np.arange(300)
    noise = np.random.default_rng(1).random(p.shape)
    runs = {
        name: [router_run(q, cost, correct, groups, target_names=["s", "m", "l"])]
        for name, q in (("good", p), ("noise", noise))
    }
    runs |= {
        "zero_router": [zero_router_run(cost, correct, groups)],
        "best_single": [point_run(cost[:, 2], correct[:, 2], cost, correct, groups)],
    }
    averages = seed_averaged_intervals(runs, n_boot=200, seed=0)
    below = [
        key
        for key, value in averages.point.items()
        if value < percentile_interval(averages.draws[key]).low
    ]
    assert ("good", "ece") in below  # its percentile interval would not hold it
    tables = [
        averages.table().rename(columns={"value": "diff"}),
        *(averages.paired("good", other) for other in ("noise", "zero_router", "best_single")),
    ]
    for table in tables:
        known = table.dropna(subset=["diff", "ci_low"])
        assert (
            len(known) > 4
            and (known["ci_low"] <= known["diff"]).all()
            and (known["diff"] <= known["ci_high"]).all()
        )


def test_paired_differences_use_the_pairs():
    groups, rng = np.arange(50), np.random.default_rng(0)
    x = rng.normal(size=50)
    averages = seed_averaged_intervals(
        {"a": [mean_run(groups, x + 0.25)], "b": [mean_run(groups, x)]}, 500, seed=0
    )
    # Both vary, their difference not at all: unpaired intervals would hide it.
    assert averages.draws["a", "mean"].std() > 0.05
    assert averages.paired("a", "b").loc[
        0, ["diff", "ci_low", "ci_high"]
    ].tolist() == pytest.approx([0.25] * 3)


def mean_run(groups, x):
    def metrics(weights):
        with np.errstate(invalid="ignore"):
            return {"mean": weights @ x / weights.sum(axis=1)}

    return SeedRun(np.asarray(groups), metrics)


def test_seed_averages_by_hand():
    # Seed 1 tests groups a a b with 0, 1, 5 (mean 2), seed 2 groups b c with 1, 3 (mean 2). One
    # multiplicity
    # per group: with a, b, c drawn i, j, k times the draw is ((0i + 1i + 5j)/(2i + j) + (1j +
    # 3k)/(j + k))/2.
    runs = [
        mean_run(["a", "a", "b"], np.array([0.0, 1, 5])),
        mean_run(["b", "c"], np.array([1.0, 3])),
    ]
    result = seed_averaged_intervals({"m": runs}, n_boot=40, seed=9)
    assert result.point["m", "mean"] == pytest.approx(2.0)
    assert result.n["m"] == 2  # (3 + 2)/2, rounded to even
    counts = drawn_weights(["a", "b", "c"], 40, seed=9)
    assert (counts == 0).any()
    for (i, j, k), draw in zip(counts, result.draws["m", "mean"], strict=True):
        seeds = []
        if 2 * i + j:
            seeds.append((i + 5 * j) / (2 * i + j))
        if j + k:
            seeds.append((j + 3 * k) / (j + k))
        assert draw == pytest.approx(np.mean(seeds))
    missing = [(2 * i + j == 0) + (j + k == 0) for i, j, k in counts]
    assert result.undefined["m", "mean"] == pytest.approx(np.sum(missing) / 80)


def test_methods_share_resamples_and_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 2)
    x = rng.normal(size=60)
    a, b = [mean_run(groups, x)], [mean_run(groups, x + 0.5)]
    both = seed_averaged_intervals({"a": a, "b": b}, 100, seed=1)
    alone = seed_averaged_intervals({"b": b}, 100, seed=1)
    np.testing.assert_array_equal(both.draws["b", "mean"], alone.draws["b", "mean"])
    row = both.paired("b", "a").iloc[0]
    assert (row["diff"], row["ci_low"], row["ci_high"], row["n"]) == pytest.approx(
        (0.5, 0.5, 0.5, 60)
    )
    assert both.draws["a", "mean"].std() > 0.05
    with pytest.raises(ValueError, match="unknown method c; known methods: a, b"):
        both.paired("a", "c")


def test_undefined_seeds_are_left_out_and_counted():
    defined = SeedRun(np.arange(4), lambda w: {"m": np.full(len(w), 3.0)})
    never = SeedRun(np.arange(4), lambda w: {"m": np.full(len(w), np.nan)})
    result = seed_averaged_intervals({"x": [defined, never], "y": [never]}, 10, seed=0)
    assert (result.point["x", "m"], result.seeds["x", "m"], result.undefined["x", "m"]) == (
        3.0,
        1,
        0.5,
    )
    table = result.table().set_index("method")
    assert np.isnan(table.loc["y", "value"]) and np.isnan(table.loc["y", "ci_low"])
    assert table.loc["y", "seeds"] == 0 and table.loc["y", "undefined"] == 1


def test_empty_input_is_refused():
    with pytest.raises(ValueError, match="at least one run; without: b"):
        seed_averaged_intervals({"a": [mean_run([1], np.ones(1))], "b": []}, 10, seed=0)
    with pytest.raises(ValueError, match="no method given"):
        seed_averaged_intervals({}, 10, seed=0)


def pool(seed, n=60):
    rng = np.random.default_rng(seed)
    correct = (rng.random((n, 3)) < [0.3, 0.5, 0.7]).astype(float)
    p = np.clip(0.3 + 0.4 * correct + 0.2 * rng.normal(size=(n, 3)), 0.01, 0.99)
    cost = np.array([1.0, 3, 9]) * rng.uniform(0.8, 1.2, (n, 1))
    groups = rng.choice(40, n)
    return p, cost, correct, groups


def test_table_of_a_router_the_zero_router_and_a_point():
    pools = [pool(1), pool(2)]
    methods = {
        "ours": [
            router_run(p, c, y, g, overhead=0.1, target_names=["s", "m", "l"])
            for p, c, y, g in pools
        ],
        "zero_router": [zero_router_run(c, y, g) for p, c, y, g in pools],
        "best_single": [point_run(c[:, 2], y[:, 2], c, y, g) for p, c, y, g in pools],
    }
    result = seed_averaged_intervals(methods, n_boot=200, seed=0)
    table = result.table()
    ours = table[(table["method"] == "ours") & (table["target"] == "")].set_index("metric")
    assert set(ours.index) == set(METRICS)
    by_seed = [metrics_of(p, c, y, 0.1) for p, c, y, g in pools]
    for metric in METRICS:
        expected = np.mean([values[metric] for values in by_seed])
        assert ours.loc[metric, "value"] == pytest.approx(expected), metric
        assert ours.loc[metric, "ci_low"] < ours.loc[metric, "ci_high"]
    assert (ours["n"] == 60).all() and (ours["seeds"] == 2).all()
    of_target = table[table["target"] != ""]
    assert set(zip(of_target["metric"], of_target["target"], strict=True)) == {
        (metric, target) for metric in ("auc", "brier", "ece", "log_loss") for target in "sml"
    }
    auc = of_target.loc[of_target["metric"] == "auc", "value"]
    assert auc.mean() == pytest.approx(ours.loc["mean_auc", "value"])
    # Single targets and the oracle are the same for every method, replicate by replicate.
    for metric in ("best_single_accuracy", "oracle_accuracy"):
        np.testing.assert_array_equal(
            result.draws["ours", metric], result.draws["best_single", metric]
        )
    paired = result.paired("ours", "zero_router").set_index("metric")
    assert set(paired.index) == set(METRICS) - {
        "mean_auc", "pdp_auccc", "brier", "ece", "log_loss", "disagreement_auc", "disagree_accuracy"
    }  # fmt: skip
    # Whether a router is ever worse than the best single target.
    to_best = result.paired("ours", "best_single").set_index("metric")
    assert {"accuracy", "gap_closed", "cost_saving_vs_max", "disagree_accuracy"} <= set(
        to_best.index
    )
    draws = result.draws["ours", "accuracy"] - result.draws["best_single", "accuracy"]
    assert to_best.loc["accuracy", "ci_low"] == pytest.approx(np.quantile(draws, 0.025))
    assert paired.loc["p_auccc", "diff"] == pytest.approx(
        result.point["ours", "p_auccc"] - result.point["zero_router", "p_auccc"]
    )
    # The same call gives the same numbers.
    again = seed_averaged_intervals(methods, n_boot=200, seed=0).table()
    assert again.equals(table)


def test_seed_averaged_curve_is_the_mean_of_the_curves():
    pools = [pool(3), pool(4)]
    tolerances = [0.0, 0.05, 0.2, 1.0]
    curve = seed_averaged_curve(
        [(p, c, y, g, 0.1) for p, c, y, g in pools], tolerances, n_boot=100, seed=0
    )
    for i, tolerance in enumerate(tolerances):
        rows = np.arange(60)
        chosen = [route(p, c, tolerance) for p, c, _, _ in pools]
        accuracy = np.mean(
            [y[rows, k].mean() for k, (_, _, y, _) in zip(chosen, pools, strict=True)]
        )
        cost = np.mean(
            [c[rows, k].mean() + 0.1 for k, (_, c, _, _) in zip(chosen, pools, strict=True)]
        )
        assert curve.loc[i, ["cost", "accuracy"]].tolist() == pytest.approx([cost, accuracy])
    assert (curve["ci_low"] < curve["accuracy"]).all() and (
        curve["accuracy"] < curve["ci_high"]
    ).all()
    p, c, y, g = pools[0]
    exact = router_curve(p, c, y)
    one = seed_averaged_curve([(p, c, y, g, 0.0)], exact["tolerance"], n_boot=2, seed=0)
    np.testing.assert_allclose(one[["cost", "accuracy"]], exact[["cost", "accuracy"]])


def test_resamples_in_blocks_are_those_drawn_at_once(monkeypatch):
    rng = np.random.default_rng(3)
    p, cost = rng.random((40, 3)), rng.random((40, 3))
    correct, groups = (rng.random((40, 3)) < 0.6).astype(float), np.arange(40) // 2
    runs = {
        "a": [router_run(p, cost, correct, groups)],
        "zero": [zero_router_run(cost, correct, groups)],
    }
    curve = ([(p, cost, correct, groups, 0.0)], [0.0, 0.1], 25, 0)
    once, curve_once = seed_averaged_intervals(runs, 25, 0), seed_averaged_curve(*curve)
    (whole,) = count_blocks(20, 25, 0)
    monkeypatch.setattr(resampling, "ENTRIES", 20 * 7)
    blocks = list(count_blocks(20, 25, 0))
    assert [len(block) for block in blocks] == [8, 7, 7, 4]
    np.testing.assert_array_equal(np.vstack(blocks), whole)
    found = seed_averaged_intervals(runs, 25, 0)
    for key, draws in once.draws.items():
        np.testing.assert_allclose(found.draws[key], draws, atol=1e-12)
        assert found.point[key] == pytest.approx(once.point[key], nan_ok=True)
        assert len(draws) == 25 and found.undefined[key] == once.undefined[key]
    pd.testing.assert_frame_equal(seed_averaged_curve(*curve), curve_once)
    assert [len(block) for block in count_blocks(0, 3, 0)] == [4]
    assert [len(block) for block in count_blocks(5, 0, 0)] == [1]
