"""Prompts unlike the training: by hand on rows that lie on a line."""

import numpy as np
import pytest

from prefill_router.data.splits import Split
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool
from prefill_router.evaluate.unlike import alarms, by_familiarity, familiarity_of_tests
from prefill_router.report.unlike_figures import draw_unlike, unlike_sentence


class Made:
    """What of a pool is read here: two targets, the second is the best single one."""

    columns = [0, 1]
    best_single = Pool.best_single

    def __init__(self, correct, splits):
        self.outcomes = type("Outcomes", (), {"correct": correct})
        self.splits = splits


def test_rows_far_from_the_training_are_flagged():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    x[390:] += 20  # the last ten of the test rows
    splits = {0: Split(np.arange(200), np.arange(200, 300), np.arange(300, 400))}
    found = familiarity_of_tests(x, np.arange(400), splits)
    assert (found[0][-10:] == 1 / 301).all() and found[0][:90].min() > 1 / 301
    table = alarms(found).set_index("false_alarms")
    assert table.loc[0.01, "flagged"] == pytest.approx(0.1, abs=0.04)
    assert (table["least"] == table["flagged"]).all()  # one split


def test_bins_by_hand():
    correct = np.array([[0, 1]] * 4 + [[1, 0], [0, 1], [1, 1]], float)
    p = np.array([[0.5, 0.5]] * 4 + [[0.9, 0.1], [0.8, 0.2], [0.5, 0.6]])
    split = Split(np.arange(3), np.array([3]), np.array([4, 5, 6]))
    pool = Made(correct, {7: split})
    method = CrossFitted("", {}, {}, {7: p}, np.zeros(7))
    found = {7: np.array([0.005, 0.3, 0.3])}
    table = by_familiarity(pool, method, found).set_index("familiarity")
    assert table["n"].to_dict() == {0.0: 1, 0.25: 2}
    assert table["accuracy"].to_dict() == {0.0: 1.0, 0.25: 0.5}
    assert table["best_single"].to_dict() == {0.0: 0.0, 0.25: 1.0}
    assert table.loc[0.0, "brier"] == pytest.approx(0.01)
    assert table.loc[0.25, "brier"] == pytest.approx((0.64 + (0.25 + 0.16) / 2) / 2)
    bins = table.reset_index().assign(pool="made")
    flagged = alarms(found)
    draw_unlike(flagged, bins).canvas.draw()
    assert "0.01 lie 33.3%" in unlike_sentence(flagged, bins)
