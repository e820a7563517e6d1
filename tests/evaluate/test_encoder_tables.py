"""Tables of encoders and baselines over splits, by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.baseline_table import baseline_table
from prefill_router.evaluate.encoders import (
    encoder_matrix,
    encoder_tables,
    ours_by_encoder,
    self_and_foreign,
)
from prefill_router.heads.names import OnEncoder

NAN = np.full((4, 2), np.nan)
SPLITS = {s: Split(np.arange(0), np.arange(0), np.arange(4)) for s in (0, 1)}


@pytest.fixture
def outcomes():
    queries = pd.DataFrame({name: list("abcd") for name in ("query_id", "group", "prompt")})
    queries = queries.assign(benchmark="b", category="c")
    correct = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], float)
    targets = (Target("x", 1, 1), Target("y", 1, 1))
    return Outcomes(queries, targets, correct, NAN, NAN, NAN, "USD", "tiny")


def test_ours_stands_for_all_encoders_or_for_the_only_one():
    of = {"ours": {"encoder": "a + b", "p": 1}, "paper": {}}
    of[OnEncoder("ours", "a")] = {"encoder": "a", "p": 2}
    assert ours_by_encoder(of, several=True) == {"ours": 1, "a": 2}
    assert ours_by_encoder({"ours": {"encoder": "a", "p": 1}}, several=False) == {"a": 1}


def test_the_matrix_is_the_mean_over_splits_in_the_order_given(outcomes):
    right, wrong, flat = outcomes.correct, 1 - outcomes.correct, np.full((4, 2), 0.5)
    p = {"pool": {"good": {0: right, 1: flat}, "bad": {0: wrong, 1: wrong}}}
    matrix = encoder_matrix({"pool": outcomes}, p, SPLITS, ["bad", "good"])
    assert matrix.index.tolist() == ["bad", "good"]
    assert matrix.to_numpy().tolist() == [[0, 0], [0.75, 0.75]]


def test_all_together_are_compared_with_the_best_single_encoder(outcomes):
    right, wrong = outcomes.correct, 1 - outcomes.correct
    p = {"good": {0: right, 1: right}, "bad": {0: wrong, 1: wrong}, "ours": {0: wrong, 1: right}}
    table, gains = encoder_tables({"pool": outcomes}, {"pool": p}, SPLITS, 20)
    auc = table[table["metric"] == "mean_auc"].set_index("encoder")["value"]
    assert auc.to_dict() == {"good": 1, "bad": 0, "ours": 0.5}
    gain = gains.set_index("metric").loc["mean_auc"]
    assert gain[["pool", "method_a", "method_b", "diff"]].tolist() == ["pool", "ours", "good", -0.5]
    del p["ours"]
    assert encoder_tables({"pool": outcomes}, {"pool": p}, SPLITS, 20)[1].empty


def test_targets_that_are_encoders_read_themselves():
    matrix = pd.DataFrame(
        [[0.7, 0.6, 0.5], [0.8, 0.9, 0.4]], ["net", "other-instruct"], ["net-q4", "other-1", "z"]
    )
    found = self_and_foreign(matrix, ["net", "other-instruct"])
    assert found.to_numpy().tolist() == [
        ["net-q4", "itself", "net", 0.7],
        ["net-q4", "another", "other-instruct", 0.8],
        ["other-1", "another", "net", 0.6],
        ["other-1", "itself", "other-instruct", 0.9],
    ]
    assert self_and_foreign(matrix[["z"]], ["net"]).empty


def test_baselines_are_cut_to_the_pool(outcomes):
    p = np.column_stack([np.full(4, 0.5), outcomes.correct[:, ::-1]])  # of z, y and x
    fit = SimpleNamespace(p=p, read="minilm", seconds=1.5, chosen=3)
    table = baseline_table({0: {"knn": fit}}, ["z", "y", "x"], {"one": outcomes}, SPLITS)
    assert table.to_numpy().tolist() == [["one", "knn", "minilm", 0, 1.0, 1.5, 3]]
