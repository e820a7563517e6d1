"""Tables for people: which rows, in which order, and where the README keeps them."""

import pandas as pd
import pytest

from prefill_router.report import SHORT, fill_readme, headline_table, marks


@pytest.fixture
def metrics():
    rows = []
    for method, auc in (("tfidf", 0.8), ("paper", 0.85), ("paper calibrated", None), ("ours", 0.9), ("layer_ensemble@x", 0.7)):
        for metric, value in (("mean_auc", auc), ("best_single_accuracy", 0.6), ("oracle_accuracy", 0.9)):
            rows.append({"pool": "a", "method": method, "encoder": "", "target": "", "metric": metric, "value": value, "ci_low": value, "ci_high": value, "n": 10, "seeds": 2})
    rows.append({"pool": "a", "method": "paper", "encoder": "", "target": "t", "metric": "mean_auc", "value": 0.1, "ci_low": 0, "ci_high": 1, "n": 10, "seeds": 2})
    return pd.DataFrame(rows)


def test_rows_stand_in_order_and_only_those_asked_for(metrics):
    table = headline_table(metrics).splitlines()
    assert "best single target 60.0% [60.0%, 60.0%], oracle 90.0% [90.0%, 90.0%]; n = 10 test queries in each of 2 splits" in table[0]
    assert [line.split(" | ")[0].strip("| ") for line in table[4:]] == ["layer ensemble (ours)", "SharedTrunkNet on prefill", "TF-IDF + LR", "layer_ensemble@x"]
    assert "| 0.850 [0.850, 0.850] |" in table[5] and "0.100" not in table[5]  # the target's own row is left out
    assert len(headline_table(metrics, SHORT).splitlines()) == len(table) - 1


def test_the_readme_keeps_what_stands_around_the_marks():
    start, end = marks("local")
    text = f"before\n{start}\nold\n{end}\nafter"
    filled = fill_readme(text, "local", "| new |")
    assert filled == f"before\n{start}\n\n| new |\n\n{end}\nafter"
    assert fill_readme(filled, "local", "| new |") == filled
    with pytest.raises(ValueError, match="needs the marks"):
        fill_readme(text, "zeroeval", "| new |")
