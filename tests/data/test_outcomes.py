"""Outcomes: reading, validation with all problems at once, pools, grouped splits."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.data.outcome_files import load_outcomes, outcomes_from_tables
from prefill_router.data.outcomes import Outcomes, OutcomesError, Target, check_trainable
from prefill_router.data.splits import grouped_split

HEADER = {
    "name": "toy",
    "cost_unit": "TFLOP",
    "targets": [
        {"name": "small", "input_price": 1.0, "output_price": 2.0, "params": 1e8},
        {
            "name": "large",
            "input_price": 10.0,
            "output_price": 20.0,
            "encoder": "x",
            "note": "slow",
        },
    ],
}


def tables():
    queries = pd.DataFrame(
        {
            "query_id": ["a", "b", "c"],
            "benchmark": ["t"] * 3,
            "category": ["sums", "sums", "dates"],
            "prompt": ["1+1?", "2+2?", "today?"],
            "group": ["g1", "g1", "g2"],
        }
    )
    outcomes = pd.DataFrame(
        [
            ("b", "large", 1, 4, 8, 200.0),
            ("a", "small", 0, 3, 5, 13.0),
            ("a", "large", 1, 3, 7, 170.0),
            ("b", "small", 1, 4, 6, 16.0),
            ("c", "small", 0, 5, 9, 23.0),
        ],
        columns=["query_id", "target", "correct", "input_tokens", "output_tokens", "cost"],
    )
    return queries, outcomes


def write(folder, queries, outcomes, header=HEADER):
    queries.to_parquet(folder / "queries.parquet")
    outcomes.to_parquet(folder / "outcomes.parquet")
    (folder / "targets.json").write_text(json.dumps(header))
    return folder


def grouped(groups, categories):
    n = len(groups)
    ids = [f"q{i}" for i in range(n)]
    columns = {
        "query_id": ids,
        "benchmark": "t",
        "category": categories,
        "prompt": "p",
        "group": groups,
    }
    ones = np.ones((n, 2))
    targets = (Target("s", 1.0, 1.0), Target("l", 2.0, 2.0))
    return Outcomes(pd.DataFrame(columns), targets, ones, ones, ones, ones, "USD", "toy")


def test_load_puts_rows_in_order_of_queries_and_missing_pairs_are_nan(tmp_path):
    loaded = load_outcomes(write(tmp_path, *tables()))
    assert (loaded.n, loaded.target_names, loaded.cost_unit, loaded.name) == (
        3,
        ["small", "large"],
        "TFLOP",
        "toy",
    )
    assert loaded.prompts == ["1+1?", "2+2?", "today?"]
    nan = np.nan
    np.testing.assert_array_equal(loaded.correct, [[0, 1], [1, 1], [0, nan]])
    np.testing.assert_array_equal(loaded.input_tokens, [[3, 3], [4, 4], [5, nan]])
    np.testing.assert_array_equal(loaded.output_tokens, [[5, 7], [6, 8], [9, nan]])
    np.testing.assert_array_equal(loaded.cost, [[13, 170], [16, 200], [23, nan]])
    np.testing.assert_array_equal(loaded.complete_rows(), [True, True, False])
    assert loaded.targets[1] == Target("large", 10.0, 20.0, None, "x", "slow")


def test_a_null_price_is_unknown_not_zero():
    small, large = HEADER["targets"]
    header = HEADER | {"targets": [small, large | {"input_price": None, "output_price": None}]}
    loaded = outcomes_from_tables(*tables(), header)
    assert np.isnan([loaded.targets[1].input_price, loaded.targets[1].output_price]).all()
    assert loaded.targets[0].input_price == 1.0
    again = outcomes_from_tables(*tables(), header)
    assert (
        loaded.content_hash()
        == again.content_hash()
        != outcomes_from_tables(*tables(), HEADER).content_hash()
    )
    header["targets"][1]["input_price"] = float("nan")
    with pytest.raises(
        OutcomesError,
        match="input_price is nan, expected a number >= 0 .null where no price is known",
    ):
        outcomes_from_tables(*tables(), header)


def test_null_correctness_in_a_row_is_missing_not_wrong():
    queries, outcomes = tables()
    outcomes["correct"] = outcomes["correct"].astype("Int8")
    outcomes.loc[1, "correct"] = pd.NA
    assert np.isnan(outcomes_from_tables(queries, outcomes, HEADER).correct[0, 0])


def test_categorical_and_boolean_columns_are_read(tmp_path):
    queries, outcomes = tables()
    queries["category"] = queries["category"].astype("category")
    outcomes["target"] = outcomes["target"].astype("category")
    outcomes["correct"] = outcomes["correct"].astype(bool)
    loaded = load_outcomes(write(tmp_path, queries, outcomes))
    assert loaded.content_hash() == outcomes_from_tables(*tables(), HEADER).content_hash()


def test_subset_and_pool_keep_what_belongs_together():
    loaded = outcomes_from_tables(*tables(), HEADER)
    part = loaded.subset([2, 0])
    assert part.queries["query_id"].tolist() == ["c", "a"]
    np.testing.assert_array_equal(part.cost, loaded.cost[[2, 0]])
    np.testing.assert_array_equal(loaded.subset(loaded.complete_rows()).correct, [[0, 1], [1, 1]])
    turned = loaded.pool(["large", "small"])
    assert turned.target_names == ["large", "small"]
    np.testing.assert_array_equal(turned.output_tokens, loaded.output_tokens[:, ::-1])


def test_pool_errors_name_the_known_targets():
    loaded = outcomes_from_tables(*tables(), HEADER)
    with pytest.raises(OutcomesError, match="unknown target 'medium'.*known targets: small, large"):
        loaded.pool(["small", "medium"])
    with pytest.raises(OutcomesError, match="at least two targets, this one has 1"):
        loaded.pool(["small"])
    with pytest.raises(OutcomesError, match="repeat"):
        loaded.pool(["small", "small"])


def test_content_hash_sees_every_part():
    loaded = outcomes_from_tables(*tables(), HEADER)
    assert loaded.content_hash() == outcomes_from_tables(*tables(), HEADER).content_hash()
    queries, outcomes = tables()
    others = [loaded.subset([1, 0, 2]), loaded.pool(["large", "small"])]
    others.append(outcomes_from_tables(queries.replace("today?", "now?"), outcomes, HEADER))
    others.append(outcomes_from_tables(queries.replace("g2", "g3"), outcomes, HEADER))
    others.append(outcomes_from_tables(queries, outcomes.replace(9, 10), HEADER))
    others.append(outcomes_from_tables(queries, outcomes, HEADER | {"cost_unit": "USD"}))
    hashes = {o.content_hash() for o in [loaded, *others]}
    assert len(hashes) == len(others) + 1
    # A missing cost has one hash whatever the bits of its NaN.
    odd = loaded.cost.copy()
    odd[2, 1] = -np.float64("nan")
    again = Outcomes(
        loaded.queries,
        loaded.targets,
        loaded.correct,
        loaded.input_tokens,
        loaded.output_tokens,
        odd,
        "TFLOP",
        "toy",
    )
    assert again.content_hash() == loaded.content_hash()


def break_queries(column, row, value):
    def change(queries, outcomes):
        queries.loc[row, column] = value

    return change


def break_outcomes(column, row, value):
    def change(queries, outcomes):
        outcomes[column] = outcomes[column].astype(object)
        outcomes.loc[row, column] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            break_queries("query_id", 1, "a"),
            r"queries.parquet, column query_id: duplicate query id: row 1 \(a\)",
        ),
        (
            break_queries("prompt", 2, "  "),
            r"queries.parquet, column prompt: empty prompt.*row 2 \(c\)",
        ),
        (break_queries("prompt", 2, None), r"column prompt: empty prompt.*row 2"),
        (break_queries("group", 0, None), r"column group: empty group.*row 0"),
        (
            break_outcomes("query_id", 4, "z"),
            r"column query_id: query id not in queries.parquet: row 4 \(z\)",
        ),
        (
            break_outcomes("target", 0, "huge"),
            r"column target: unknown target \(targets.json has small, large\)",
        ),
        (break_outcomes("query_id", 3, "a"), r"duplicate \(query, target\): row 3 \(a / small\)"),
        (
            break_outcomes("correct", 1, 1.5),
            r"column correct: correctness is not between 0 and 1.*row 1 \(a / small\)",
        ),
        (break_outcomes("correct", 1, "yes"), r"column correct: not a number: row 1"),
        (
            break_outcomes("output_tokens", 2, -1),
            r"column output_tokens: negative or infinite: row 2",
        ),
        (break_outcomes("input_tokens", 2, -1), r"column input_tokens: negative"),
        (
            break_outcomes("cost", 2, float("inf")),
            r"column cost: negative or infinite: row 2 \(a / large\)",
        ),
    ],
)
def test_bad_rows_are_named(change, message):
    queries, outcomes = tables()
    change(queries, outcomes)
    with pytest.raises(OutcomesError, match=message):
        outcomes_from_tables(queries, outcomes, HEADER)


@pytest.mark.parametrize("column", ["prompt", "group", "query_id"])
def test_missing_query_column(column):
    queries, outcomes = tables()
    with pytest.raises(OutcomesError, match=f"queries.parquet: missing column {column}"):
        outcomes_from_tables(queries.drop(columns=column), outcomes, HEADER)


def test_all_problems_come_at_once():
    queries, outcomes = tables()
    queries.loc[2, "prompt"] = ""
    outcomes.loc[0, "target"] = "huge"
    outcomes["correct"] = [2, 2, 2, 2, 2]
    with pytest.raises(OutcomesError) as caught:
        outcomes_from_tables(queries, outcomes, HEADER)
    text = str(caught.value)
    assert all(
        part in text for part in ("empty prompt", "unknown target", "not between 0 and 1", "row 4")
    )


def test_long_lists_of_rows_are_counted():
    queries, outcomes = tables()
    many = pd.concat([outcomes] * 3, ignore_index=True)  # rows 5..14 repeat rows 0..4
    with pytest.raises(OutcomesError, match="row 9.* and 5 more"):
        outcomes_from_tables(queries, many, HEADER)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"targets": HEADER["targets"]}, "missing key name"),
        (HEADER | {"targets": HEADER["targets"][:1]}, "at least two targets"),
        (
            HEADER | {"targets": HEADER["targets"] + [{"name": "third"}]},
            "target 2 lacks input_price",
        ),
        (
            HEADER | {"targets": HEADER["targets"] + HEADER["targets"][:1]},
            "'small' is there 2 times",
        ),
        (
            HEADER
            | {
                "targets": (
                    HEADER["targets"] + [{"name": "third", "input_price": -1, "output_price": 0}]
                )
            },
            "input_price is -1",
        ),
        (
            HEADER
            | {
                "targets": (
                    HEADER["targets"]
                    + [{"name": "t", "input_price": 1, "output_price": 0, "prce": 2}]
                )
            },
            "unknown key prce",
        ),
        ([], "expected"),
    ],
)
def test_bad_targets_json(header, message):
    with pytest.raises(OutcomesError, match=message):
        outcomes_from_tables(*tables(), header)


def test_missing_and_truncated_files(tmp_path):
    with pytest.raises(OutcomesError, match="queries.parquet: no such file"):
        load_outcomes(tmp_path)
    write(tmp_path, *tables())
    data = (tmp_path / "outcomes.parquet").read_bytes()
    (tmp_path / "outcomes.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(OutcomesError, match="outcomes.parquet: not a readable Parquet file"):
        load_outcomes(tmp_path)
    (tmp_path / "outcomes.parquet").write_bytes(data)
    (tmp_path / "targets.json").write_text("{")
    with pytest.raises(OutcomesError, match="targets.json: cannot be read"):
        load_outcomes(tmp_path)


def test_direct_construction_is_checked():
    queries, _ = tables()
    targets = tuple(Target(**t) for t in HEADER["targets"])
    good = np.ones((3, 2))
    with pytest.raises(OutcomesError, match=r"correct has shape \(2, 2\), expected \(3, 2\)"):
        Outcomes(queries, targets, good[:2], good, good, good, "USD", "toy")
    with pytest.raises(OutcomesError, match="correct has values out of range"):
        Outcomes(queries, targets, good * 1.5, good, good, good, "USD", "toy")


def test_constant_targets_cannot_be_trained():
    nan = np.nan
    correct = np.array([[1, 0, nan, 0], [1, 0, nan, 1], [nan, 0, nan, 1.0]])
    with pytest.raises(OutcomesError) as caught:
        check_trainable(correct, ["a", "b", "c", "d"], "training rows of seed 3")
    text = str(caught.value)
    assert "training rows of seed 3" in text and "drop it from the pool" in text
    assert "'a' is always right (2 queries)" in text and "'b' is always wrong (3 queries)" in text
    assert "'c' has no outcome" in text and "'d'" not in text
    check_trainable(correct[:, [3, 3]], ["d", "e"])


def test_split_fractions_are_met_within_categories_when_queries_stand_alone():
    # 200 + 100 queries, one group each: 70/15/15 % are 140/30/30 and 70/15/15.
    outcomes = grouped([f"g{i}" for i in range(300)], ["x"] * 200 + ["y"] * 100)
    split = grouped_split(outcomes, seed=1)
    assert (len(split.train), len(split.calibration), len(split.test)) == (210, 45, 45)
    for rows, big in ((split.train, 140), (split.calibration, 30), (split.test, 30)):
        assert abs((rows < 200).sum() - big) <= 1


def test_split_of_one_group_per_category_fills_every_part():
    names = [f"c{i % 30}" for i in range(900)]
    split = grouped_split(grouped(names, names), seed=0)
    assert 0.6 * 900 <= len(split.train) <= 0.8 * 900
    assert len(split.test) >= 60 and len(split.calibration) >= 60


def test_split_depends_on_the_seed():
    outcomes = grouped([f"g{i}" for i in range(100)], ["x"] * 100)
    a, b, again = grouped_split(outcomes, 1), grouped_split(outcomes, 2), grouped_split(outcomes, 1)
    assert a.test.tolist() == again.test.tolist() != b.test.tolist()


@settings(max_examples=30, deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=30, max_size=80),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_split_properties(groups, seed, order):
    groups = [*groups, *range(13)]
    outcomes = grouped([f"g{g}" for g in groups], [f"c{g % 3}" for g in groups])
    split = grouped_split(outcomes, seed)
    parts = [split.train, split.calibration, split.test]
    # A partition, sorted, no group in two parts, no part empty.
    assert sorted(np.concatenate(parts).tolist()) == list(range(outcomes.n))
    assert all((np.diff(rows) > 0).all() and rows.size for rows in parts)
    members = [set(outcomes.queries["group"].iloc[rows]) for rows in parts]
    assert sum(map(len, members)) == len(set.union(*members))
    # The order of the rows does not matter.
    rows = list(range(outcomes.n))
    order.shuffle(rows)
    turned = outcomes.subset(rows)
    again = grouped_split(turned, seed)
    for part, other in zip(parts, (again.train, again.calibration, again.test), strict=True):
        assert set(outcomes.queries["query_id"].iloc[part]) == set(
            turned.queries["query_id"].iloc[other]
        )


def test_split_refuses_bad_fractions_and_too_few_groups():
    outcomes = grouped(["g"] * 20, ["x"] * 20)
    with pytest.raises(OutcomesError, match="1 groups of up to 20 queries"):
        grouped_split(outcomes, 0)
    with pytest.raises(OutcomesError, match="sum 1"):
        grouped_split(outcomes, 0, (0.5, 0.2, 0.2))
