"""The forest: which numbers it takes, and that a clear difference has its colour."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.forest import COLUMNS, draw_forest, forest_rows, message, write_forest
from prefill_router.report.styles import VERDICTS


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
        for point, metric in (
            (CURVE, "mean_auc"),
            (NO_LOSS, "saving_over_best_single"),
            (NO_LOSS, "accuracy_over_best_single"),
        ):
            diff = 0.02 if by_auc else -0.03
            rows.append(
                {**key, "method_a": "ours", "method_b": other, "operating_point": point}
                | {"metric": metric, "diff": diff, "ci_low": diff - 0.01, "ci_high": diff + 0.01}
                | {"best_text_by_auc": by_auc, "best_text_by_plan": not by_auc}
            )
    pd.DataFrame(rows).to_csv(folder / "decision_differences.csv", index=False)
    return tmp_path


def test_auc_against_the_best_by_auc_and_saving_against_the_best_by_plan(root):
    rows = forest_rows(root / "results", ["mine", "absent"]).set_index(["panel", "against"])
    assert rows["value"].to_dict() == {
        ("auc", "text"): 0.02,
        ("gain", "text"): -0.03,
        ("gain", "single"): 0.4,
        ("saving", "text"): -0.03,
        ("saving", "single"): 0.4,
    }


def test_the_message_counts_clear_intervals(root):
    said = message(forest_rows(root / "results", ["mine"]))
    assert "cheaper than the best single target on 1 of 1 pools, clearly less accurate on 0" in said
    assert (
        "AUC clearly higher on 1 of 1, lower on 0; clearly cheaper on 0 of 1, dearer on 1" in said
    )


def test_colours_say_what_is_clear_and_cost_goes_to_the_left(root):
    fig = draw_forest(forest_rows(root / "results", ["mine"]))
    better, unclear, worse = (VERDICTS[name][0] for name in VERDICTS)
    points = [[line for line in ax.lines if line.get_marker() in "oD"] for ax in fig.axes]
    colors = [[line.get_color() for line in of] for of in points]
    assert colors == [[better], [worse, unclear], [worse, better]]
    assert [float(line.get_xdata()[0]) for line in points[2]] == pytest.approx([3, -40])
    plt.close(fig)


def test_an_interval_that_runs_out_of_its_axis_ends_in_an_arrow():
    wide = [("p", f"pool{i}", "auc", "text", 0.01, -0.02, 0.03) for i in range(60)]
    wide.append(("p", "wide", "auc", "text", 0.01, -0.9, 0.03))
    fig = draw_forest(pd.DataFrame(wide, columns=COLUMNS))
    arrows = [line for line in fig.axes[0].lines if line.get_marker() in ("<", ">")]
    assert [line.get_marker() for line in arrows] == ["<"]
    assert arrows[0].get_xdata()[0] == fig.axes[0].get_xlim()[0] > -0.9
    plt.close(fig)


def test_a_profile_without_plans_has_its_auc(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    auc = {"pool": "a", "metric": "mean_auc", "operating_point": "", "target": "", "value": 0.7}
    pd.DataFrame([{**auc, "method": "knn_minilm", "reads": "sentence"}]).to_csv(
        folder / "metrics.csv"
    )
    pair = {"pool": "a", "method_a": "ours", "method_b": "knn_minilm", "metric": "mean_auc"}
    pd.DataFrame([{**pair, "diff": 0.1, "ci_low": 0.05, "ci_high": 0.2}]).to_csv(
        folder / "paired.csv"
    )
    rows = forest_rows(tmp_path, ["plain"])
    assert rows[["panel", "value", "ci_low"]].to_numpy().tolist() == [["auc", 0.1, 0.05]]
    assert message(rows) == "AUC: clearly above the best text router on 1 of 1 pools"


def test_the_opponent_without_plans_is_the_best_router_on_text_of_any_kind(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    auc = {"pool": "a", "metric": "mean_auc", "operating_point": "", "target": ""}
    readers = {"knn_minilm": ("sentence", 0.7, 0.1), "tfidf": ("", 0.75, 0.05)}
    rows = [
        {**auc, "method": method, "reads": reads, "value": value}
        for method, (reads, value, _) in readers.items()
    ]
    pairs = [
        {"pool": "a", "method_a": "ours", "method_b": method, "metric": "mean_auc", "diff": lead}
        for method, (*_, lead) in readers.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv")
    pd.DataFrame(pairs).assign(ci_low=0.01, ci_high=0.2).to_csv(folder / "paired.csv")
    assert forest_rows(tmp_path, ["plain"])["value"].tolist() == [0.05]


def test_files_are_the_same_each_time_and_none_comes_of_nothing(root):
    path = write_forest(root, ["mine"])
    first = path.read_bytes()
    assert path.with_suffix(".png").is_file()
    assert write_forest(root, ["mine"]).read_bytes() == first
    assert write_forest(root, ["absent"]) is None
