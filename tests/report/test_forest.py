"""The forest: which numbers it takes, and that a clear difference has its colour."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.forest import draw_forest, forest_rows, write_forest


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    key = {"pool": "all", "n": 9}
    value = {"value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "operating_point": NO_LOSS}
    pd.DataFrame(
        [
            {**key, **value, "method": "ours", "metric": "saving_over_best_single"},
            {**key, **value, "method": "ours", "metric": "accuracy_over_best_single", "ci_low": -1},
        ]
    ).to_csv(folder / "decisions.csv", index=False)
    rows = []
    for other, by_auc in (("tfidf", False), ("kernel_minilm", True)):
        for point, metric in ((CURVE, "mean_auc"), (NO_LOSS, "saving_over_best_single")):
            diff = 0.02 if by_auc else -0.03
            rows.append(
                {**key, "method_a": "ours", "method_b": other, "operating_point": point}
                | {"metric": metric, "diff": diff, "ci_low": diff - 0.01, "ci_high": diff + 0.01}
                | {"best_text_by_auc": by_auc, "best_text_by_plan": not by_auc}
            )
    pd.DataFrame(rows).to_csv(folder / "decision_differences.csv", index=False)
    return tmp_path


def test_auc_against_the_best_by_auc_and_saving_against_the_best_by_plan(root):
    rows = forest_rows(root / "results", ["mine", "absent"]).set_index("panel")["value"]
    assert rows.to_dict() == {"auc": 0.02, "saving": -0.03, "own_saving": 0.4, "gain": 0.4}


def test_colours_say_what_is_clear(root):
    fig = draw_forest(forest_rows(root / "results", ["mine"]))
    colors = [ax.lines[1].get_color() for ax in fig.axes]  # the points
    assert colors == ["#0072B2", "#0072B2", "#D55E00", "0.45"]
    plt.close(fig)


def test_files_are_the_same_each_time_and_none_comes_of_nothing(root):
    path = write_forest(root, ["mine"])
    first = path.read_bytes()
    assert path.with_suffix(".png").is_file()
    assert write_forest(root, ["mine"]).read_bytes() == first
    assert write_forest(root, ["absent"]) is None
