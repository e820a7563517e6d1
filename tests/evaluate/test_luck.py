"""Luck measured with several answers: by hand, against scipy, and on answers of known chances."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f_oneway

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.luck import COLUMNS, between_shares, measured_luck, per_query


class Settings:
    bootstrap = 20
    cost_model = "median_output"


def test_what_each_choice_wins_by_hand():
    # two queries, targets a and b, three answers each
    a, b = [[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [1, 1, 1]]
    answers = np.stack([np.array(a).T, np.array(b).T], axis=2).astype(float)
    assert answers.shape == (3, 2, 2)
    found = per_query(answers, np.array([[0.2, 0.3], [0.2, 0.3]]), np.ones((2, 2)))
    assert found["router"] == pytest.approx([1 / 3, 1])  # b both times
    assert found["highest_grade"] == pytest.approx([2 / 3, 1])
    assert found["oracle"] == pytest.approx([2 / 3, 1])  # 1, 1, 0 and 1, 1, 1
    # the first query, judged by answer 0: a 1.2, b 0.3, so a: right; by 1: a 1.2, b 1.3, so b:
    # wrong; by 2: a 2.2, b 1.3, so a: wrong. In the second b is never behind
    assert found["knows_2"] == pytest.approx([1 / 3, 1])
    # judge 0 sees 1: a, right; sees 2: b, right; judge 1 sees 0 or 2: b, wrong; judge 2: wrong
    assert found["knows_1"] == pytest.approx([2 / 6, 1])


def test_of_equals_the_cheapest_is_asked():
    answers = np.tile([[1.0, 0.0]], (2, 1, 1))
    dear = per_query(answers, np.zeros((1, 2)), np.array([[2.0, 1.0]]))
    assert (dear["router"][0], dear["knows_1"][0], dear["oracle"][0]) == (0, 1, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 4))
def test_the_order_of_what_can_be_known(seed, A, K):
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 2, (A, 30, K)).astype(float)
    found = per_query(answers, rng.random((30, K)), np.ones((30, K)))
    known = [f"knows_{k}" for k in range(1, A)]
    assert list(found) == ["router", *known, "highest_grade", "oracle"]
    for name, won in found.items():
        assert (won <= found["oracle"] + 1e-12).all()
        if name != "oracle":
            assert (won <= found["highest_grade"] + 1e-12).all()
    # with the answers in another order nothing changes
    again = per_query(answers[::-1], np.zeros((30, K)), np.ones((30, K)))
    same = per_query(answers, np.zeros((30, K)), np.ones((30, K)))
    assert all(np.allclose(again[name], same[name]) for name in same)


def test_the_share_between_questions_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    answers = (rng.random((3, 200, 2)) < rng.random((200, 1))).astype(float)
    found, of_differences = between_shares(answers, np.ones((1, 200)))
    for k in range(2):
        # ICC(1) = (F - 1) / (F + A - 1)
        F = f_oneway(*answers[:, :, k].T).statistic
        assert found[0, k] == pytest.approx((F - 1) / (F + 2))
    # both targets have the same P: nothing of their difference lies between questions
    assert abs(of_differences[0]) < 0.1 < found[0].min()


def made(P, A, seed, single=()):
    """Outcomes of answers drawn at P [n, K], and the answers."""
    rng, (n, K) = np.random.default_rng(seed), P.shape
    answers = (rng.random((A, n, K)) < P).astype(float)
    answers[1:, :, list(single)] = np.nan
    names = ("query_id", "benchmark", "category", "prompt", "group")
    queries = pd.DataFrame({name: [f"{i}" for i in range(n)] for name in names})
    targets, one = tuple(Target(f"t{k}", 1, 1) for k in range(K)), np.ones((n, K))
    grade = np.nanmean(answers, axis=0)
    return Outcomes(queries, targets, grade, one, one, one, "USD", "made"), answers


@pytest.fixture
def splits():
    return {0: Split(np.arange(500), np.arange(500, 600), np.arange(600, 3000))}


def test_answers_of_known_chances(splits):
    P = np.random.default_rng(1).random((3000, 3)) ** [1, 1.2, 1.5]
    outcomes, answers = made(P, 3, 2)
    p = np.tile(P.mean(axis=0), (3000, 1))  # a router that knows the rates alone
    found = measured_luck(Settings, outcomes, answers, {"all": outcomes}, splits, {"all": {0: p}})
    assert list(found.columns) == COLUMNS and (found["n"] == 2400).all()
    value = found.set_index(["metric", "target"])["value"]
    test, best = P[600:], P[600:].mean(axis=0).max()
    knows_all = test.max(axis=1).mean()  # what one wins who knows every P
    assert value["router", ""] == value["best_single", ""] == pytest.approx(best, abs=0.02)
    assert value["knows_1", ""] < value["knows_2", ""] < knows_all < value["highest_grade", ""]
    oracle = (1 - (1 - test).prod(axis=1)).mean()
    assert value["oracle", ""] == pytest.approx(oracle, abs=0.02)
    luck = (oracle - knows_all) / (oracle - best)
    assert value["luck_least", ""] < luck < value["luck_most", ""]
    assert value["router_closes", ""] == 0
    assert value["knows_closes", ""] == pytest.approx(1 - value["luck_most", ""])
    for k in range(3):
        p = test[:, k]
        share = p.var() / (p.mean() * (1 - p.mean()))
        assert value["between", f"t{k}"] == pytest.approx(share, abs=0.06)


def test_a_pool_with_a_target_of_one_answer_is_left_out_aloud(splits, capsys):
    outcomes, answers = made(np.full((3000, 3), 0.5), 3, 0, single=[2])
    two = outcomes.pool(["t0", "t1"])
    p = {name: {0: np.full((3000, k), 0.5)} for name, k in (("three", 3), ("two", 2))}
    pools = {"three": outcomes, "two": two}
    found = measured_luck(Settings, outcomes, answers, pools, splits, p)
    assert set(found["pool"]) == {"two"}
    assert "pool three: t2 answered once" in capsys.readouterr().out
    assert measured_luck(Settings, outcomes, answers[:1], pools, splits, p).empty
    assert "pool two: every target answered once" in capsys.readouterr().out
