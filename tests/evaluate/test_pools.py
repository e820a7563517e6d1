"""The tables of all pools: numbers by hand on a pool of four test queries."""

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.metrics import COST_METRICS, METRICS
from prefill_router.evaluate.pools import (
    CURVE_COLUMNS,
    PAIRED_COLUMNS,
    curves_of_pools,
    disagreement,
    evaluate_pools,
    input_only_metrics,
    references,
    reliability,
    within_benchmarks_of_pools,
)
from prefill_router.heads.names import OnEncoder


class Settings:
    bootstrap = 20
    cost_model = "median_output"


SPLITS = {0: Split(np.array([0, 1]), np.array([], int), np.array([2, 3, 4, 5]))}
P = np.array([[0.5, 0.5], [0.5, 0.5], [0.6, 0.4], [0.2, 0.3], [0.3, 0.9], [0.5, 0.55]])


def pool(prices=(1.0, 10.0)):
    queries = pd.DataFrame(
        {
            "query_id": list("abcdef"),
            "benchmark": ["x", "x", "x", "x", "y", "y"],
            "category": "c",
            "prompt": list("abcdef"),
            "group": list("abcdef"),
        }
    )
    correct = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [0, 1], [1, 1]], float)
    one = np.ones((6, 2))
    targets = tuple(
        Target(name, price, 0.0) for name, price in zip(("cheap", "dear"), prices, strict=True)
    )
    return Outcomes(queries, targets, correct, one, one, one, "USD", "six")


@pytest.fixture
def loaded():
    def method(p):
        return {"encoder": "e", "reads": "prefill", "p": {0: p}, "overhead": np.zeros(6)}

    methods = {"ours": method(P), "tfidf": method(P[:, ::-1]), "knn_minilm": method(1 - P)}
    return {"six": (pool(), SPLITS, methods)}


def test_ours_is_compared_with_all_and_others_with_the_best_single_target(loaded):
    metrics, paired = evaluate_pools(Settings, loaded)
    assert list(paired.columns) == PAIRED_COLUMNS and set(metrics["pool"]) == {"six"}
    pairs = set(zip(paired["method_a"], paired["method_b"], strict=True))
    assert pairs == {
        ("ours", "tfidf"),
        ("ours", "knn_minilm"),
        ("ours", "zero_router"),
        ("ours", "best_single"),
        ("tfidf", "best_single"),
        ("knn_minilm", "best_single"),
    }
    of_others = paired[paired["method_a"] == "tfidf"]
    assert set(of_others["metric"]) == {"accuracy", "gap_closed"}
    assert set(paired["metric"]) <= set(METRICS)
    # c and e and f right, d wrong: 3 of 4; always dear (the best on training rows): 2 of 4
    row = paired[(paired["method_b"] == "best_single") & (paired["metric"] == "accuracy")].iloc[0]
    assert (row["method_a"], row["diff"]) == ("ours", pytest.approx(0.25))


def test_a_method_on_one_of_several_encoders_is_a_row_of_its_own(loaded):
    outcomes, splits, methods = loaded["six"]
    alone = OnEncoder("ours", "e")
    methods = {"ours": methods["ours"] | {"encoder": "e + f"}, alone: methods["knn_minilm"]}
    one = {"six": (outcomes, splits, methods)}
    metrics, paired = evaluate_pools(Settings, one)
    accuracy = metrics[(metrics["metric"] == "accuracy") & (metrics["operating_point"] == "argmax")]
    of = accuracy[["method", "encoder", "value"]].to_numpy().tolist()
    assert of == [["ours", "e + f", 0.75], ["ours", "e", 0.25]]
    names = ["method_a", "encoder_a", "method_b", "encoder_b"]
    assert paired[names].drop_duplicates().to_numpy().tolist() == [
        ["ours", "e + f", "ours", "e"],
        ["ours", "e + f", "zero_router", ""],
        ["ours", "e + f", "best_single", ""],
        ["ours", "e", "best_single", ""],
    ]
    curve = curves_of_pools(Settings, one, [0.0])
    assert curve[["method", "encoder"]].to_numpy().tolist() == [["ours", "e + f"], ["ours", "e"]]


def test_under_the_input_price_alone_only_cost_metrics_are_kept(loaded):
    table = input_only_metrics(Settings, loaded, {"six": ["ours", "tfidf"]})
    assert set(table["metric"]) == set(COST_METRICS)
    assert "knn_minilm" not in set(table["method"])


def test_curves_begin_at_tolerance_0_and_end_at_the_cheapest_target(loaded):
    table = curves_of_pools(Settings, loaded, [0.0, 1.0])
    assert list(table.columns) == CURVE_COLUMNS
    ours = table[table["method"] == "ours"]
    # c to cheap, the others to dear: (1 + 10 + 10 + 10) / 4; then all to cheap
    assert ours["cost"].tolist() == pytest.approx([7.75, 1.0])
    assert ours["accuracy"].tolist() == pytest.approx([0.75, 0.5])


def test_references_are_the_single_targets_their_hull_and_the_oracle():
    found = references(Settings, pool(), SPLITS)
    assert found.points["target"].tolist() == ["cheap", "dear"] and found.all_priced
    assert found.points["accuracy"].tolist() == [0.5, 0.5]
    assert found.hull["target"].tolist() == ["cheap"]  # as accurate, and cheaper
    # c and f to cheap, e to dear, d (all wrong) to cheap
    assert found.oracle == (pytest.approx(13 / 4), 0.75)
    assert references(Settings, pool((1.0, np.nan)), SPLITS) is None


def test_disagreement_by_hand(loaded):
    table = disagreement(loaded, {"six": ["ours", "tfidf"]})
    # just one is right on c (cheap, P ahead by 0.2) and on e (dear, cheap behind by 0.6)
    assert table.to_dict("list") == {
        "pool": ["six", "six"],
        "method": ["ours", "tfidf"],
        "encoder": ["e", "e"],
        "target_a": ["cheap", "cheap"],
        "target_b": ["dear", "dear"],
        "n": [2, 2],
        "auc": [1.0, 0.0],
    }


def test_reliability_takes_all_targets_on_test_rows(loaded):
    table = reliability(loaded, {"six": ["ours"]})
    assert table["n"].sum() == 8 and set(table["method"]) == {"ours"}
    assert (table["p_mean"] * table["n"]).sum() == pytest.approx(P[2:].sum())
    assert (table["accuracy"] * table["n"]).sum() == 4


def test_inside_benchmarks_a_pool_is_named_first(loaded):
    table = within_benchmarks_of_pools(Settings, loaded, {"six": ["ours"]})
    assert list(table.columns)[:4] == ["pool", "method", "encoder", "benchmark"]
    assert table["benchmark"].tolist() == ["x", "y"] and table["n"].tolist() == [2, 2]
    # x: of cheap c (0.6) is right and d (0.2) wrong, of dear none is right;
    # y: of cheap f (0.5) is right and e (0.3) wrong, of dear none is wrong
    assert table["value"].tolist() == [1.0, 1.0]
