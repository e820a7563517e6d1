"""Single answers: the vote by hand, what is read from a folder, what hidden reasoning costs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.data.costs import with_hidden_reasoning
from prefill_router.data.outcomes import Outcomes, OutcomesError, Target
from prefill_router.data.samples import (
    NOTHING,
    Samples,
    hidden_costs,
    load_answers,
    load_samples,
    votes,
)


def test_the_vote_by_hand():
    # a query in each column: all the same, two of three, the later two, all differ, one silent,
    # two silent, none
    said = np.array([[0, 0, 0, 0, -1, -1, -1], [0, 0, 1, 1, 0, -1, -1], [0, 1, 1, 2, 0, 0, -1]])
    count, given_answer = votes(said, 3)
    assert count.tolist() == [3, 2, 2, 1, 2, 1, 0]
    assert given_answer.tolist() == [0, 0, 1, 0, 1, 2, 0]
    count, given_answer = votes(said, 2)
    assert count.tolist() == [2, 2, 1, 1, 1, 0, 0]
    assert given_answer.tolist() == [0, 0, 0, 0, 1, 0, 0]
    count, given_answer = votes(said, 1)
    assert count.tolist() == [1, 1, 1, 1, 0, 0, 0] and not given_answer.any()
    with pytest.raises(ValueError, match="1 to 3 can be read, not 4"):
        votes(said, 4)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=1, max_size=20))
def test_the_vote_is_of_what_was_said(rows):
    said = np.array(rows).T
    count, at = votes(said, 3)
    for i, answers in enumerate(rows):
        spoken = [a for a in answers if a != NOTHING]
        most = max((spoken.count(a) for a in spoken), default=0)
        assert count[i] == most
        if most:
            assert spoken.count(answers[at[i]]) == most
    # another order of the answers changes which is given, never how many agree
    assert np.array_equal(votes(said[[2, 0, 1]], 3)[0], count)


@pytest.fixture
def outcomes():
    queries = pd.DataFrame({name: ["q0", "q1"] for name in ("query_id", "benchmark", "category")})
    queries = queries.assign(prompt="?", group=["g0", "g1"])
    targets = (Target("a", 1.0, 2.0), Target("b", 10.0, 20.0))
    correct = np.array([[0.5, 1.0], [0.0, 0.0]])
    read, wrote = np.full((2, 2), 3.0), np.array([[2.0, 5.0], [1.0, 4.0]])
    cost = read * [1, 10] + wrote * [2, 20]
    return Outcomes(queries, targets, correct, read, wrote, cost, "USD", "made")


def written(folder, **more):
    rows = [
        ("q0", "a", 0, 1, 3, 1, 0), ("q0", "a", 1, 0, 3, 3, 1),
        ("q0", "b", 0, 1, 3, 5, 0), ("q0", "b", 1, 1, 3, 5, 0),
        ("q1", "a", 0, 0, 3, 1, -1), ("q1", "a", 1, 0, 3, 1, 0),
        ("q1", "b", 0, 0, 3, 4, 0),
        ("q9", "a", 0, 1, 3, 1, 0), ("q0", "z", 0, 1, 3, 1, 0),
    ]  # fmt: skip
    names = ["query_id", "target", "answer", "correct", "input_tokens", "output_tokens", "said"]
    table = pd.DataFrame(rows, columns=names).drop(columns=more.get("without", []))
    table.to_parquet(folder / "answers.parquet")


def test_answers_of_a_folder(tmp_path, outcomes):
    assert load_samples(tmp_path, outcomes) is None
    written(tmp_path, without=["said"])
    assert load_samples(tmp_path, outcomes) is None
    written(tmp_path, without=["output_tokens"])
    with pytest.raises(OutcomesError, match="lacks output_tokens"):
        load_samples(tmp_path, outcomes)
    written(tmp_path)
    found = load_samples(tmp_path, outcomes)
    assert found.asks == 2 and found.complete.tolist() == [True, False]  # b answered q1 once
    assert found.correct[:, 0].tolist() == [[1, 1], [0, 1]]
    assert found.said[:, 0].tolist() == [[0, 0], [1, 0]] and found.said[:, 1, 0].tolist() == [-1, 0]
    # 3 read at 1 and 1 or 3 written at 2; 3 at 10 and 5 at 20
    assert found.cost[:, 0].tolist() == [[5, 130], [9, 130]]
    assert np.isnan(found.cost[1, 1, 1])
    turned = found.turned(1)
    assert turned.cost[:, 0, 0].tolist() == [9, 5] and turned.said[:, 0, 0].tolist() == [1, 0]
    some = found.rows(np.array([0])).of_targets([1])
    assert some.correct.shape == (2, 1, 1) and some.cost[0, 0, 0] == 130


def test_ids_that_are_numbers_and_answers_that_are_numbered_otherwise(tmp_path, outcomes):
    written(tmp_path)
    expected = load_samples(tmp_path, outcomes)
    table = pd.read_parquet(tmp_path / "answers.parquet")
    for numbers in ({0: 1, 1: 2}, {0: 40, 1: 77}):  # from 1, or seeds
        table.assign(answer=table["answer"].map(numbers)).to_parquet(tmp_path / "answers.parquet")
        found = load_samples(tmp_path, outcomes)
        np.testing.assert_array_equal(found.cost, expected.cost)
        np.testing.assert_array_equal(found.said, expected.said)
        assert found.complete.tolist() == [True, False]
        np.testing.assert_array_equal(load_answers(tmp_path, outcomes), expected.correct)
    whole = table.assign(query_id=table["query_id"].str[1:].astype(int))
    whole.to_parquet(tmp_path / "answers.parquet")
    numbered = outcomes.queries.assign(query_id=["0", "1"])
    found = load_samples(tmp_path, dataclasses.replace(outcomes, queries=numbered))
    np.testing.assert_array_equal(found.correct, expected.correct)
    table.assign(answer=[None, *table["answer"][1:]]).to_parquet(tmp_path / "answers.parquet")
    with pytest.raises(OutcomesError, match="1 rows have no number of the answer"):
        load_answers(tmp_path, outcomes)


def test_hidden_reasoning_is_paid_as_that_of_the_mean_answer(tmp_path, outcomes):
    written(tmp_path)
    factors = {"a": 10, "elsewhere": 5}
    found = hidden_costs(load_samples(tmp_path, outcomes), outcomes, factors)
    assert found.cost[:, 0].tolist() == [[23, 130], [63, 130]]
    mean = with_hidden_reasoning(outcomes, factors).cost
    assert found.cost[:, 0].mean(axis=0) == pytest.approx(mean[0])


def test_which_queries_are_complete():
    values = np.zeros((2, 3, 1))
    values[1, 1] = np.nan
    assert Samples(values, values, values * 0).complete.tolist() == [True, False, True]
