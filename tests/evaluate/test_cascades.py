"""Cascades: by hand, what never and always going on cost, and on answers of known chances."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.samples import Samples
from prefill_router.data.splits import Split
from prefill_router.evaluate import cascade_table
from prefill_router.evaluate.cascade_routing import Cascading, fit_starts
from prefill_router.evaluate.cascades import (
    Candidates,
    Policy,
    Queries,
    calibrated,
    follow,
    odds_of,
    policies,
    single,
)
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool
from prefill_router.evaluate.right_answers import Odds, agreement_table, given_answer, log_odds
from prefill_router.evaluate.rules import Rule
from prefill_router.report import cascade_figures


class Told:
    """P(the answer is right) that is given, not fitted."""

    def __init__(self, of_count):
        self.of_count = np.array(of_count)

    def predict(self, p, count):
        return self.of_count[np.broadcast_to(count, len(p))]


def made(seed, n=60, A=3, K=3, noise=0.5, price=(1.0, 4.0, 10.0)):
    """Answers drawn at known chances; wrong ones differ more often than right ones do."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=(n, 1))
    chance = 1 / (1 + np.exp(-(1.5 * ease + np.linspace(-0.5, 1.5, K))))
    correct = (rng.random((A, n, K)) < chance).astype(float)
    said = np.where(correct == 1, 0, rng.integers(0, 6, (A, n, K)) - 1)
    said = np.where((correct == 0) & (said == 0), 5, said)
    cost = np.array(price[:K]) * rng.uniform(0.5, 1.5, (A, n, K))
    seen = 1 / (1 + np.exp(-(log_odds(chance) + noise * rng.normal(size=(n, K)))))
    samples = Samples(correct, said, cost)
    expected = np.tile(np.array(price[:K], float), (n, 1))
    return Queries(samples, seen, expected, np.full(n, 0.25))


def test_a_policy_by_hand():
    # two queries, two targets, three answers; the cheap one says a a b, then a b c
    said = np.zeros((3, 2, 2), int)
    said[:, 0, 0], said[:, 1, 0] = [0, 0, 1], [0, 1, 2]
    correct = np.zeros((3, 2, 2))
    correct[:, 0, 0], correct[:, 1, 0] = [1, 1, 0], [0, 0, 1]
    correct[:, 0, 1], correct[:, 1, 1] = [0, 1, 1], [1, 1, 1]
    cost = np.ones((3, 2, 2))
    cost[..., 1] = [[10, 10], [20, 10], [30, 10]]
    queries = Queries(Samples(correct, said, cost), np.full((2, 2), 0.5), cost[0], np.full(2, 0.5))
    odds = Told([0.1, 0.2, 0.8, 0.9])
    # twice of three in the first, whatever came first: it stops, right. None agree in the second:
    # it goes on
    found = follow(Policy(0, 3, 0.5, False, 1), odds, queries)
    assert found.right.tolist() == pytest.approx([1, 1])
    assert found.cost.tolist() == pytest.approx([3, 3 + 10])
    assert found.asked_again.tolist() == pytest.approx([0, 1])
    # two asked: aa, ab, ba in turn: it goes on two times of three, and then wins 2/3
    found = follow(Policy(0, 2, 0.5, True, 1), odds, queries)
    assert found.right.tolist() == pytest.approx([1 / 3 + 2 / 3 * 2 / 3, 1])
    assert found.cost.tolist() == pytest.approx([2 + 2 / 3 * 20 + 0.5, 2 + 10 + 0.5])
    # never going on where all three differ: each of them is given in turn, one of three is right
    found = follow(Policy(0, 3, 0.0, False, 1), odds, queries)
    assert found.right.tolist() == pytest.approx([1, 1 / 3]) and not found.asked_again.any()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 3))
def test_never_going_on_is_the_cheap_target_and_always_pays_both(seed, prior, asks):
    queries = made(seed)
    own = queries.own * prior
    odds = odds_of(Policy(0, asks, 0.0, prior, 2), queries)
    never = follow(Policy(0, asks, 0.0, prior, 2), odds, queries)
    always = follow(Policy(0, asks, np.inf, prior, 2), odds, queries)
    calls = asks * queries.paid[:, 0]  # each answer comes first once
    assert never.cost == pytest.approx(calls + own) and not never.asked_again.any()
    if asks == 1:
        assert never.right == pytest.approx(queries.grade[:, 0])
    assert always.cost == pytest.approx(calls + queries.paid[:, 2] + own)
    assert always.right == pytest.approx(queries.grade[:, 2]) and (always.asked_again == 1).all()
    # between them no threshold costs less or more
    some = follow(Policy(0, asks, 0.6, prior, 2), odds, queries)
    assert (some.cost >= never.cost - 1e-9).all() and (some.cost <= always.cost + 1e-9).all()


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_candidates_are_what_their_policies_do(seed, prior):
    queries = made(seed, n=40)
    found = policies(queries, prior)
    rng = np.random.default_rng(seed)
    for at in rng.choice(len(found.rules), 5, replace=False):
        policy = found.rules[at]
        done = follow(policy, odds_of(policy, queries), queries)
        assert found.accuracy[at] == pytest.approx(done.right.mean())
        assert found.cost[at] == pytest.approx(done.cost.mean())
    # each single target is among them
    for k in range(3):
        alone, own = single(queries, k), queries.own.mean() * prior
        near = np.isclose(found.accuracy, alone.right.mean())
        assert (near & np.isclose(found.cost, alone.cost.mean() + own)).any()


def test_the_most_accurate_within_a_budget():
    options = Candidates(np.array([0.5, 0.7, 0.7, 0.9]), np.array([1.0, 3, 2, 4]), list("abcd"))
    assert [options.within(b) for b in (0.5, 1, 3, 4)] == [None, "a", "c", "d"]


def test_odds_are_a_logistic_regression_on_prior_and_agreement():
    queries = made(3, n=400)
    count, right = given_answer(queries.samples, 0, 3)
    x = np.column_stack([log_odds(queries.p[:, 0]), count == 1, count == 2, count == 3])
    want = LogisticRegression().fit(x, right).predict_proba(x)[:, 1]
    found = Odds(3).fit(queries.p[:, [0]], count, right)
    assert found.predict(queries.p[:, [0]], count) == pytest.approx(want)
    alone = Odds(3).fit(queries.p[:, :0], count, right)
    by_count = alone.predict(queries.p[:3, :0], np.arange(1, 4))
    assert (np.diff(by_count) > 0).all()  # right answers agree more often
    constant = Odds(3).fit(queries.p[:, [0]], count, np.ones(400))
    assert (constant.predict(queries.p[:, [0]], 2) == 1).all()


def test_a_cascade_for_every_query_at_both_ends_of_the_price():
    queries = made(5, n=500)
    cascading = Cascading(fit_starts(queries), queries)
    dear = cascading.act(1e9)  # the cheapest call, nothing else
    assert dear.right == pytest.approx(queries.grade[:, 0]) and not dear.asked_again.any()
    assert dear.cost == pytest.approx(queries.paid[:, 0] + queries.own)
    free, middle = cascading.act(0.0), cascading.act(0.02)
    assert dear.cost.mean() < middle.cost.mean() < free.cost.mean()
    # where calls are free, votes and further targets win over one call
    target = Rule().choose(queries.p, queries.cost)
    assert free.right.mean() > queries.grade[np.arange(500), target].mean() + 0.02
    assert free.asked_again.mean() > 0.02


def test_agreement_that_tells_nothing_leaves_routing():
    """Every target always says the same thing: no answer tells more than the prefill did."""
    queries = made(8, n=300)
    same = Samples(queries.samples.correct, queries.samples.said * 0, queries.samples.cost)
    same = Samples(np.repeat(same.correct[:1], 3, axis=0), same.said, same.cost)
    (queries,) = calibrated(Queries(same, queries.p, queries.cost, queries.own))
    starts = fit_starts(queries)
    cascading = Cascading(starts, queries)
    assert all(isinstance(start.agreement, int) for start in starts)
    for price in (0.01, 0.1):
        found = cascading.act(price)
        target = Rule("utility", price).choose(queries.p, queries.cost)
        one_call = queries.paid[np.arange(300), target] + queries.own
        assert (found.asked_again == 0).all() and found.cost == pytest.approx(one_call)


@pytest.fixture
def loaded():
    """One pool of three targets, of which the splits train on 800 queries and test on 400."""
    queries = made(11, n=1200)
    names = ("query_id", "benchmark", "category", "prompt", "group")
    table = pd.DataFrame({name: [f"{i}" for i in range(1200)] for name in names})
    targets = tuple(Target(f"t{k}", 1.0, 1.0) for k in range(3))
    outcomes = Outcomes(
        table, targets, queries.grade, queries.paid * 0, queries.paid, queries.paid, "USD", "made"
    )
    order = np.random.default_rng(0).permutation(1200)
    splits = {
        seed: Split(*(np.sort(part) for part in np.split(np.roll(order, 100 * seed), [700, 800])))
        for seed in (0, 1)
    }
    pool = Pool(outcomes, splits, dict.fromkeys(splits, queries.cost), [0, 1, 2])
    rows = {s: np.sort(np.concatenate([of.train, of.calibration])) for s, of in splits.items()}
    method = CrossFitted(
        "e", rows, {s: queries.p[rows[s]] for s in splits}, dict.fromkeys(splits, queries.p),
        queries.own * 0,
    )  # fmt: skip
    return {"made": (pool, {"ours": method})}, outcomes, queries.samples


def test_the_table_of_cascades(loaded, capsys):
    loaded, outcomes, samples = loaded
    gap = Samples(samples.correct.copy(), samples.said, samples.cost)
    gap.correct[2, 7, 1] = np.nan
    table, chosen = cascade_table.cascade_tables(loaded, outcomes, {"visible": gap}, 30)
    assert "1 queries lack an answer" in capsys.readouterr().out
    assert list(table) == cascade_table.COLUMNS
    assert set(table["method"]) == set(cascade_table.METHODS)
    by = table.set_index(["method", "budget", "metric"])
    for budget in (0.5, 1.0):
        for name in cascade_table.METHODS:
            accuracy, cost = (by.loc[(name, budget, m)] for m in ("accuracy", "cost_share"))
            assert cost["value"] == pytest.approx(budget, abs=0.15)  # chosen on other rows
            over = accuracy["value"] - by.loc[("routing", budget, "accuracy"), "value"]
            assert accuracy["over_routing"] == pytest.approx(over)
            assert accuracy["over_low"] <= over <= accuracy["over_high"]
        assert by.loc[("routing", budget, "asked_again"), "value"] == 0
    # agreement tells, and asking often is cheap here: it wins
    won = by.loc[("cascade_per_query", 1.0, "accuracy")]
    assert won["over_low"] > 0
    pairs = chosen[chosen["method"] == "cascade_by_both"]
    assert set(pairs["seed"]) == {0, 1} and pairs["asks"].between(1, 3).all()
    fig = cascade_figures.draw_cascades(table)
    fig.canvas.draw()
    # counted here by budget, not by the code that writes the title
    ends = [by.loc[("cascade_per_query", b, "accuracy")] for b in table["budget"].unique()]
    better, worse = (
        sum(end["over_low"] > 0 for end in ends),
        sum(e["over_high"] < 0 for e in ends),
    )
    assert f"in {better} of {len(ends)} cases, clearly less in {worse}" in fig.get_suptitle()
    turned = table.assign(over_low=-1.0, over_high=-0.5)
    words = cascade_figures.draw_cascades(turned).get_suptitle()
    assert f"in 0 of {len(ends)} cases, clearly less in {len(ends)}" in words
    said = cascade_figures.cascade_sentences(table)
    over = 100 * won["over_routing"]
    assert "Pool **made**, visible tokens paid: a cascade chosen per query" in said
    assert f"lies {over:+.1f} [" in said and "clearly better than routing in" in said


def test_the_table_of_agreement(loaded):
    loaded, outcomes, samples = loaded
    pool, methods = loaded["made"]
    table = agreement_table(loaded, outcomes, samples, 30)
    by = table.set_index(["target", "metric"])["value"]
    assert list(dict.fromkeys(table["target"])) == ["t0", "t1", "t2"] and (table["asks"] == 3).all()
    count, right = given_answer(samples, 1, 3)
    want = np.mean(
        [
            roc_auc_score(right[of.test], methods["ours"].p[seed][of.test][:, 1])
            for seed, of in pool.splits.items()
        ]
    )
    assert by["t1", "auc_prefill"] == pytest.approx(want)
    share = np.mean([(count[of.test] == 3).mean() for of in pool.splits.values()])
    assert by["t1", "unanimous"] == pytest.approx(share)
    for name in outcomes.target_names:
        assert by[name, "auc_both"] > max(by[name, "auc_agreement"], by[name, "auc_prefill"])
        over = by[name, "auc_both"] - by[name, "auc_prefill"]
        assert by[name, "both_over_prefill"] == pytest.approx(over)
    fig = cascade_figures.draw_agreement(table)
    fig.canvas.draw()
    over = table[table["metric"] == "both_over_prefill"]
    assert f"for {sum(low > 0 for low in over['ci_low'])} of 3 targets" in fig.get_suptitle()
    none = cascade_figures.draw_agreement(table.assign(ci_low=-0.1)).get_suptitle()
    assert "for 0 of 3 targets" in none
    assert "than the prefill alone for" in cascade_figures.agreement_sentence(table)
