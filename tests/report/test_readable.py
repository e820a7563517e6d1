"""Tables for people, written out."""

import numpy as np
import pandas as pd

from prefill_router.report.readable import intervals, readable


def test_names_numbers_and_gaps_by_hand():
    table = pd.DataFrame(
        {
            "method": ["ours", "knn_minilm"],
            "d_eff": [1.23456, np.nan],
            "best_single": ["a_b", None],
            "queries": [12345, 7],
            "value": [0.5, np.nan],
            "ci_low": [-0.00001, np.nan],
            "ci_high": [1.0, np.nan],
        }
    )
    shown = readable(table)
    assert list(shown.columns) == [
        *("method", "effective dimensionality", "best single", "queries", "value")
    ]
    assert shown.values.tolist() == [
        ["kernel router on prefill (ours)", "1.235", "a_b", "12,345", "0.500 [0.000, 1.000]"],
        ["kNN on MiniLM", "–", "–", "7", "–"],
    ]
    assert "ci_low" in table and table["method"][0] == "ours"  # the table itself stays


def test_an_index_of_methods_and_a_column_for_each_metric():
    long = pd.DataFrame(
        {
            "pool": "p_1",
            "method_a": ["ours", "ours", "paper"],
            "metric": ["mean_auc", "accuracy", "mean_auc"],
            "diff": [0.01234, -0.5, 0.25],
            "ci_low": [0.01, -0.6, 0.2],
            "ci_high": [0.02, -0.4, 0.3],
        }
    )
    shown = intervals(long, ["pool", "method_a"])
    assert shown.index.tolist() == [
        ("p_1", "kernel router on prefill (ours)"),
        ("p_1", "SharedTrunkNet on prefill"),
    ]
    assert shown.index.names == ["pool", "method"] and list(shown.columns) == [
        *("mean AUC", "accuracy")
    ]
    assert shown.values.tolist() == [
        ["+0.012 [+0.010, +0.020]", "-0.500 [-0.600, -0.400]"],
        ["+0.250 [+0.200, +0.300]", "–"],
    ]
