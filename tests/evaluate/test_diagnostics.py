"""Test AUC of targets over splits, by hand."""

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.diagnostics import auc_on_test_rows

NAN = np.full((4, 2), np.nan)


@pytest.fixture
def outcomes():
    queries = pd.DataFrame(
        {"query_id": list("abcd"), "group": list("abcd"), "prompt": list("abcd")}
    ).assign(benchmark="b", category="c")
    correct = np.array([[1, 1], [0, np.nan], [1, 0], [0, np.nan]], float)
    return Outcomes(
        queries, (Target("x", 1, 1), Target("y", 1, 1)), correct, NAN, NAN, NAN, "USD", "tiny"
    )


def split(*test):
    return Split(np.arange(0), np.arange(0), np.array(test))


def test_the_mean_over_splits(outcomes):
    # first split: both pairs right; second split: 0.3 < 0.4, the pair is wrong
    p = {
        0: np.array([[0.9, 0.5], [0.1, 0.5], [0, 0], [0, 0]]),
        1: np.array([[0, 0], [0, 0], [0.3, 0.5], [0.4, 0.5]]),
    }
    splits = {0: split(0, 1), 1: split(2, 3)}
    auc = auc_on_test_rows(p, outcomes, splits).set_index("target")["value"]
    assert auc["x"] == pytest.approx((1 + 0) / 2) and np.isnan(auc["y"])
