"""Headroom: what a reader wins and what is luck, by hand; the learning curve's ends."""

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import mean_auc
from prefill_router.evaluate.headroom import informed_reader, learning_curve, luck_of


class Settings:
    bootstrap = 20
    cost_model = "median_output"


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    n = 120
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i:03d}" for i in range(n)],
            "benchmark": "b",
            "category": "c",
            "prompt": [f"p{i}" for i in range(n)],
            "group": [f"g{i // 2:02d}" for i in range(n)],
        }
    )
    hard = rng.random((n, 1))
    correct = (rng.random((n, 5)) < 0.1 + 0.8 * hard).astype(float)
    targets = tuple(Target(name, 1.0, 1.0) for name in "abcde")
    one = np.ones((n, 5))
    return Outcomes(queries, targets, correct, one, one, one, "USD", "five")


@pytest.fixture
def splits():
    return {3: Split(np.arange(80), np.arange(80, 90), np.arange(90, 120))}


def test_luck_by_hand():
    p = np.array([[0.9, 0.5], [0.2, 0.4], [0.5, 0.5], [0.6, 0.8]])
    correct = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], float)
    found = luck_of(p, correct)
    assert found == {
        "best_single": 0.5,  # the first on 2 of 4
        "informed_routing": 0.25,  # chosen: first, second, first (of equals), second; right once
        "expected_of_best_p": pytest.approx((0.9 + 0.4 + 0.5 + 0.8) / 4),
        "oracle_if_independent": pytest.approx((0.95 + 0.52 + 0.75 + 0.92) / 4),
        "oracle": 0.75,
        "informed_gap_closed": pytest.approx(-1.0),  # (0.25 - 0.5) / (0.75 - 0.5)
    }


def test_the_informed_reader_needs_three_targets_outside(outcomes, splits, capsys):
    pools = {"two": outcomes.pool(["a", "b"]), "three": outcomes.pool(["a", "b", "c"])}
    informed, luck = informed_reader(Settings, outcomes, pools, splits)
    assert "pool three: too few targets outside it" in capsys.readouterr().out
    assert luck["pool"].tolist() == ["two"]
    assert informed["metric"].tolist() == ["mean_auc", "disagreement_auc"]
    # difficulty is shared, so the outcomes of the others tell much
    assert informed["value"].iloc[0] > 0.6 and informed["n"].tolist() == [30, 30]
    assert luck["oracle"].iloc[0] == outcomes.correct[90:, :2].max(axis=1).mean()
    informed, luck = informed_reader(Settings, outcomes, {"all": outcomes}, splits)
    assert informed.empty and luck.empty and list(luck.columns) == ["pool"]


def test_the_learning_curve_ends_at_what_was_fitted_on_all_queries(outcomes, splits):
    rng = np.random.default_rng(1)
    states = outcomes.correct @ rng.standard_normal((5, 6)) + 0.1 * rng.standard_normal((120, 6))
    pools = {"two": outcomes.pool(["b", "d"])}
    full = {"two": {3: rng.random((120, 2))}}
    shares = (0.5, 1.0)
    curve = learning_curve(
        Settings, outcomes, pools, splits, states.astype(np.float32), full, shares
    )
    assert list(curve.columns[:4]) == ["pool", "share", "training_queries", "metric"]
    # 40 groups of two train: half of them are 40 queries
    assert curve["training_queries"].tolist() == [40, 40, 80, 80]
    value = curve.set_index(["share", "metric"])["value"]
    assert value[1.0, "mean_auc"] == pytest.approx(
        mean_auc(full["two"][3][90:], outcomes.correct[90:][:, [1, 3]])
    )
    assert value[0.5, "mean_auc"] > 0.9  # the states tell the outcomes
