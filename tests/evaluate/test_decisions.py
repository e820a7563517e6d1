"""What plans do on test rows: against numbers computed here, and against the functions of numpy."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.costs import expected_cost
from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import auc_boot
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, evidence_of
from prefill_router.evaluate.decisions import CURVE, best_texts, decide, plans_of
from prefill_router.evaluate.decisions_of_pools import decide_pools
from prefill_router.evaluate.encoder_plans import encoder_plans
from prefill_router.evaluate.keys import ARGMAX, AtPoint
from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT
from prefill_router.evaluate.promises import promises
from prefill_router.evaluate.query_cost_plans import query_cost_plans
from prefill_router.evaluate.query_costs import expected_costs_by_kind, query_cost_table
from prefill_router.evaluate.routed import routed_shares
from prefill_router.report import decision_figures, decision_sentences
from prefill_router.report.plan_verdict import plan_table, planned
from prefill_router.report.query_cost_sentences import query_cost_plan_sentence, query_cost_sentence

N = 1200


def outcomes(targets):
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 1, size=(N, 3)) * [0.7, 0.85, 1.0]
    correct = (rng.random((N, 3)) < truth).astype(float)
    correct[5, 1] = np.nan
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(N)],
            "benchmark": "b",
            "category": "c",
            "prompt": "p",
            "group": [f"g{i // 2}" for i in range(N)],
        }
    )
    tokens = np.full((N, 3), 100.0)
    cost = np.full((N, 3), np.nan)
    return truth, Outcomes(queries, targets, correct, tokens, tokens, cost, "USD", "made")


PRICED = (Target("small", 1.0, 1.0), Target("middle", 3.0, 3.0), Target("large", 10.0, 10.0))


@pytest.fixture(scope="module")
def loaded():
    truth, made = outcomes(PRICED)
    splits = {
        seed: Split(
            *(np.sort(part) for part in np.split(_groups_first(seed), [int(0.7 * N), int(0.8 * N)]))
        )
        for seed in (0, 1)
    }
    pool = Pool.of(made, splits, "median_output")
    rng = np.random.default_rng(1)

    def method(noise):
        p = np.clip(truth + noise * rng.normal(size=truth.shape), 0.001, 0.999)
        rows = {s: np.sort(np.concatenate([x.train, x.calibration])) for s, x in splits.items()}
        held_out = {s: p[r] for s, r in rows.items()}
        return CrossFitted("enc", rows, held_out, dict.fromkeys(splits, p), np.full(N, 2.0))

    methods = {"ours": method(0.05), "paper": method(0.1), "tfidf": method(0.3)}
    return {"made": (pool, methods | {"kernel_minilm": method(0.5)})}


def _groups_first(seed):
    order = np.random.default_rng(seed).permutation(N // 2)
    return np.column_stack([2 * order, 2 * order + 1]).ravel()


def test_numbers_of_a_plan_by_hand(loaded):
    pool, methods = loaded["made"]
    averages, chosen = decide(pool, methods, n_boot=50)
    gains, savings = [], []
    for seed, split in pool.splits.items():
        assert 5 not in np.concatenate([split.train, split.calibration, split.test])
        test = split.test
        cost = expected_cost(pool.outcomes, np.arange(N), "median_output")[test]
        assert (cost == [200.0, 600.0, 2000.0]).all()
        y = pool.outcomes.correct[test]
        plan = plans_of(pool, methods["ours"], seed)[NO_LOSS]
        price = plan.rule.value
        target = (methods["ours"].p[seed][test] - price * cost).argmax(axis=1)
        at = np.arange(len(test))
        gains.append(y[at, target].mean() - y[:, 2].mean())
        savings.append(1 - (cost[at, target] + 2.0).mean() / 2000.0)
    point = AtPoint("ours", NO_LOSS)
    assert averages.point[point, "accuracy_over_best_single"] == pytest.approx(np.mean(gains))
    assert averages.point[point, "saving_over_best_single"] == pytest.approx(np.mean(savings))
    p, y = (np.concatenate([a[s.test] for s in pool.splits.values()]) for a in (
        methods["ours"].p[0], pool.outcomes.correct))  # fmt: skip
    whole = auc_boot(p, y, np.ones((1, len(p))))["mean_auc"][0]
    assert averages.point[AtPoint("ours", CURVE), "mean_auc"] == pytest.approx(whole, abs=0.02)
    assert set(chosen["best"]) == {"large"} and len(chosen) == 4 * 2 * 4
    curve = AtPoint("ours", CURVE)
    utility, tolerance = (
        averages.point[curve, f"p_auccc_{rule}"] for rule in ("utility", "tolerance")
    )
    assert utility > tolerance
    assert averages.point[AtPoint("ours", ARGMAX), "accuracy"] > 0


def test_evidence_is_of_labelled_rows_alone(loaded):
    pool, methods = loaded["made"]
    e = evidence_of(pool, methods["paper"], 1)
    split = pool.splits[1]
    assert len(e.p) == len(split.train) + len(split.calibration)
    rows = np.sort(np.concatenate([split.train, split.calibration]))
    np.testing.assert_array_equal(e.correct, pool.outcomes.correct[rows])


def test_the_best_text_is_chosen_on_labelled_rows(loaded):
    pool, methods = loaded["made"]
    _, chosen = decide(pool, methods, n_boot=2)
    assert best_texts(pool, methods, chosen) == ("tfidf", "tfidf")


def test_targets_without_a_price_are_left_out():
    free = (Target("small", 1.0, 1.0), Target("middle", np.nan, np.nan), PRICED[2])
    _, made = outcomes(free)
    splits = {0: Split(np.arange(800), np.arange(800, 1000), np.arange(1000, N))}
    assert Pool.of(made, splits, "median_output").columns == [0, 2]
    _, made = outcomes((free[0], free[1], Target("large", np.nan, np.nan)))
    assert Pool.of(made, splits, "median_output") is None
    # "large" is the best: where it costs nothing, nothing can be saved
    _, made = outcomes((PRICED[0], PRICED[1], Target("large", 0.0, 0.0)))
    assert Pool.of(made, splits, "median_output") is None


def test_tables_figures_and_sentences(loaded):
    tables = decide_pools(loaded, n_boot=50)
    kept = tables.promises
    assert set(kept["epsilon"]) == {0.0, 0.01} and (kept["draws"] == 200).all()
    assert (kept["ci_low"] <= 0.05).all()
    decision_figures.draw_plans(tables.decisions, kept).canvas.draw()
    shares = routed_shares(loaded, tables)
    assert set(shares["method"]) == {"ours", "tfidf"}
    assert shares.groupby("method")["share"].sum().to_numpy() == pytest.approx([1, 1])
    # the mean over splits of what the plan is expected to pay, from the shares alone
    pool = loaded["made"][0]
    ours = shares[shares["method"] == "ours"].set_index("target")["share"]
    cost = np.mean([pool.cost[s][at.test].mean(axis=0) for s, at in pool.splits.items()], axis=0)
    paid = tables.decisions.set_index(["method", "operating_point", "metric"])["value"]
    assert ours.to_numpy() @ cost == pytest.approx(paid["ours", "no_loss", "cost"], rel=0.1)
    said = decision_sentences.plans(tables.decisions, tables.differences, "made")
    assert "ours saves more" in said and "TF-IDF" in said
    assert "2 of 2 splits for `no_loss`" in decision_sentences.chosen(tables.plans, "made")
    assert "no method is clearly below" in decision_sentences.losing(tables.decisions)
    lost = tables.decisions.assign(ci_high=-0.01)
    assert "kernel router on prefill (ours) on made" in decision_sentences.losing(lost)
    assert "promise" in decision_sentences.promises(kept)
    assert "by the utility rule" in decision_sentences.rules(tables.decisions, "made")
    rows = plan_table(tables.decisions, tables.differences, kept).splitlines()
    assert len(rows) == 2 + 3 and rows[2].startswith("| `made` | kernel router on prefill")
    found = planned(
        {"decisions": tables.decisions, "decision_differences": tables.differences}, "made", "ours"
    )
    assert found.pays and "points less" in found.against_text and "By its plan" in found.headline
    assert planned({}, "made", "ours") is None


def test_more_is_promised_and_less_is_saved(loaded):
    pool, methods = loaded["made"]
    by_seed = plans_of(pool, methods["ours"], 0)
    assert by_seed[NO_LOSS].cost >= by_seed[ONE_POINT].cost
    table = promises(pool, {"ours": methods["ours"]}, draws=50)
    assert table["saving"].is_monotonic_increasing


def test_a_predicted_cost_that_knows_the_length_saves_more(loaded):
    pool, methods = loaded["made"]
    rng = np.random.default_rng(3)
    states = rng.normal(size=(N, 8)).astype(np.float32)
    length = np.exp(1.5 * states[:, [0]])  # of the answers of the dearest target alone
    cost = np.hstack([np.full((N, 2), 1.0) * [200.0, 600.0], 2000 * length])
    paying = dataclasses.replace(pool, outcomes=dataclasses.replace(pool.outcomes, cost=cost))
    expected = expected_costs_by_kind({"made": (paying, methods)}, states)
    table = query_cost_table({"made": (paying, methods)}, expected, 40).set_index("metric")
    saved = table.loc["cost_saving_at_best_single"]
    assert saved["predicted"] > saved["mean"] and saved["mean_low"] > 0
    assert saved["over_mean"] == pytest.approx(saved["predicted"] - saved["mean"])
    errors = table.loc["log_error"]
    assert errors["predicted"] < 0.1  # two of three targets always cost the same
    said = query_cost_sentence(table.reset_index())
    assert "Pool **made**" in said and "falls" not in said and "changes the saving by" in said
    # a plan that knows the length saves more of what is paid, and the promise holds by each cost
    made = query_cost_plans({"made": (paying, methods)}, expected, 40)
    by = made.set_index(["plan", "metric"]).loc[(NO_LOSS, "saving_over_best_single")]
    assert by["predicted"] > by["mean"] > 0 and by["mean_low"] > 0
    assert by["over_mean"] == pytest.approx(by["predicted"] - by["mean"])
    assert set(made["plan"]) == {NO_LOSS, ONE_POINT, "budget"} and (made["n"] > 0).all()
    assert "predicted costs" in query_cost_plan_sentence(made)
    nothing = expected_costs_by_kind({"made": (pool, methods)}, states)
    assert nothing == {} and query_cost_table({"made": (pool, methods)}, nothing, 2).empty
    assert query_cost_plans({"made": (pool, methods)}, nothing, 2).empty


def test_plans_by_encoder_are_those_of_any_method(loaded):
    pool, methods = loaded["made"]
    by_encoder = {"large": methods["ours"], "small": methods["tfidf"]}
    plans, gains = encoder_plans({"made": (pool, by_encoder)}, 50, "small")
    point = decide(pool, by_encoder, 50)[0].point
    for row in plans.itertuples():
        assert row.ci_low <= row.value <= row.ci_high
        assert row.value == point[AtPoint(row.encoder, row.operating_point), row.metric]
    value = plans.set_index(["encoder", "operating_point", "metric"])["value"]
    assert len(value) == 2 * 5  # saving and accuracy of two plans, and the curve
    assert set(gains["encoder"]) == {"large"} and set(gains["reference"]) == {"small"}
    for row in gains.itertuples():
        at = row.operating_point, row.metric
        assert row.diff == pytest.approx(value["large", *at] - value["small", *at])
    assert encoder_plans({"made": (pool, {"small": methods["ours"]})}, 20, "small")[1].empty
