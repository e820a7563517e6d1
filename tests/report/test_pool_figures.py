"""Figures and sentences of pools: which methods they show, and the numbers in them."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from prefill_router.evaluate.keys import ARGMAX, CALIBRATED, OF_ANSWERS
from prefill_router.report import pool_sentences
from prefill_router.report.headroom_figure import (
    LUCK_ROWS,
    MEASURED_ROWS,
    draw_headroom,
    luck_in_columns,
)
from prefill_router.report.report import write_summary
from prefill_router.report.shown import (
    compared,
    differences_table,
    operating_points,
    shown_methods,
    without,
)
from prefill_router.report.styles import label
from prefill_router.run.workspace import open_workspace

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def point_of(method, metric):
    if method.endswith("_calibrated"):
        return CALIBRATED
    return ARGMAX if metric in OF_ANSWERS and method != "oracle" else ""


def metrics(**values):
    """Rows of metrics.csv: `method__metric=value`, the interval 0.1 to both sides."""
    rows = [
        {
            "pool": "mine",
            "method": (method := name.split("__")[0].removesuffix("_calibrated")),
            "operating_point": point_of(*name.split("__")),
            "encoder": "e",
            "reads": "sentence" if method.endswith("minilm") else "prefill",
            "target": "",
            "metric": name.split("__")[1],
            "value": value,
            "ci_low": value - 0.1,
            "ci_high": value + 0.1,
            "n": 40,
            "seeds": 2,
        }
        for name, value in values.items()
    ]
    return pd.DataFrame(rows)


TABLE = metrics(
    ours__mean_auc=0.7,
    ours__gap_closed=0.2,
    ours__accuracy=0.6,
    ours__cost_saving_vs_max=0.3,
    ours__cost_saving_at_best_single=0.25,
    ours__ece=0.05,
    ours_calibrated__accuracy=0.58,
    ours_calibrated__cost_saving_vs_max=0.5,
    knn_minilm__mean_auc=0.8,
    mlp_minilm__mean_auc=0.75,
    tfidf__mean_auc=0.6,
    random__mean_auc=0.5,
    oracle__accuracy=0.9,
)
TABLE = pd.concat([TABLE, metrics(ours__auc=0.99).assign(target="cheap")], ignore_index=True)
LOADED = {"mine": (None, None, dict.fromkeys(["ours", "knn_minilm", "mlp_minilm", "random"]))}


def test_the_best_semantic_baseline_is_shown_and_no_method_without_predictions():
    shown = shown_methods(TABLE, LOADED)
    assert shown == {"mine": ["ours", "knn_minilm", "random"]}
    assert without(shown, "random", "absent") == {"mine": ["ours", "knn_minilm"]}


def test_points_and_random_choices_are_not_compared():
    assert set(compared(TABLE, "mine")["method"]) == {"ours", "knn_minilm", "mlp_minilm", "tfidf"}


def test_operating_points_stand_side_by_side():
    ends = TABLE.assign(ci_low=TABLE["value"] - 0.1, ci_high=TABLE["value"] + 0.1)
    table = operating_points(ends, {"mine": ["ours", "tfidf"]})
    assert table.index.tolist() == [("mine", label("ours")), ("mine", label("tfidf"))]
    assert table.iloc[0].tolist() == [
        "0.600 [0.500, 0.700]",
        "0.300 [0.200, 0.400]",
        "0.580 [0.480, 0.680]",
        "0.500 [0.400, 0.600]",
    ]
    assert [point for point, _ in table.columns] == ["tolerance 0"] * 2 + ["planned tolerance"] * 2
    assert (table.iloc[1] == "–").all()


def test_differences_have_no_minus_before_zero():
    rows = [
        ("mine", "ours", "tfidf", "accuracy", -0.0001, -0.2, 0.1),
        ("mine", "ours", "tfidf", "ece", 0.5, 0.4, 0.6),
    ]
    columns = ["pool", "method_a", "method_b", "metric", "diff", "ci_low", "ci_high"]
    table = differences_table(pd.DataFrame(rows, columns=columns))
    assert list(table.columns) == ["accuracy"] and table.index.names[1:] == ["method", "minus"]
    assert table.iloc[0, 0] == "+0.000 [-0.200, +0.100]"


def test_sentences_about_methods():
    text = pool_sentences.methods(TABLE, "mine", "ours")
    assert "kNN on MiniLM has the highest mean AUC of 4 methods, 0.800 [0.700, 0.900]" in text
    assert "ours) has 0.700 [0.600, 0.800] and closes 20.0% [10.0%, 30.0%] of the gap" in text
    assert "; it closes – of the gap" in pool_sentences.methods(TABLE, "mine", "knn_minilm")
    assert "no method" in pool_sentences.methods(TABLE, "other", "ours")
    assert "ours) 0.050 [-0.050, 0.150]; TF-IDF + LR –." in pool_sentences.calibration(
        TABLE, "mine", ["ours", "tfidf"]
    )
    assert "it saves 25.0% [15.0%, 35.0%]" in pool_sentences.curves(TABLE, "mine", "ours")
    assert "no tolerance of TF-IDF" in pool_sentences.curves(TABLE, "mine", "tfidf")


def test_sentences_about_differences():
    columns = ["pool", "method", "target_a", "target_b", "n", "auc"]
    pairs = pd.DataFrame(
        [
            ("mine", "ours", "a", "b", 4, 0.6),
            ("mine", "ours", "a", "c", 5, 0.8),
            ("mine", "ours", "b", "c", 1, np.nan),
            ("mine", "tfidf", "a", "b", 4, 0.1),
        ],
        columns=columns,
    )
    text = pool_sentences.disagreement(pairs, "mine")
    assert "apart are a and b (0.60, n = 4), easiest a and c (0.80, n = 5)" in text
    assert "no two targets" in pool_sentences.disagreement(pairs.assign(auc=np.nan), "mine")
    inside = pd.DataFrame(
        {
            "pool": "mine",
            "method": "ours",
            "benchmark": ["x", "y", "z"],
            "value": [0.6, 0.9, np.nan],
            "ci_low": [0.4, 0.7, np.nan],
            "n": [10, 20, 0],
        }
    )
    text = pool_sentences.within(inside, "mine")
    assert "above 0.5 inside 1 of 2 benchmarks, the highest in y (0.90, n = 20)" in text
    paired = pd.DataFrame(
        {
            "pool": "mine",
            "method_a": ["ours", "tfidf"],
            "method_b": "best_single",
            "metric": "accuracy",
            "ci_high": [0.1, -0.1],
        }
    )
    worse = "Of 2 routers, these are clearly less accurate than the best single target:"
    assert pool_sentences.worse(paired) == f"{worse} mine: TF-IDF + LR."
    none = pool_sentences.worse(paired.assign(ci_high=0.1))
    assert none == "None of 2 routers is clearly less accurate than the best single target."


def headroom():
    return pd.DataFrame(
        {
            "pool": ["mine"],
            "best_single": [0.5],
            "informed_routing": [0.52],
            "expected_of_best_p": [0.55],
            "oracle_if_independent": [0.8],
            "oracle": [0.7],
            "informed_gap_closed": [0.1],
        }
    )


def test_which_encoders_are_read():
    columns = ["seed", "method", "encoders", "used"]
    of_ours = pd.DataFrame(
        [
            (0, "ours", "a", False),
            (0, "ours", "b", True),
            (0, "ours", "a + b", False),
            (1, "ours", "a", False),
            (1, "ours", "b", False),
            (1, "ours", "a + b", True),
            (0, "ours_views", "a", True),
        ],
        columns=columns,
    )
    assert pool_sentences.encoders_read("a", of_ours) == (
        "a; ours chose among a, b by cross-validation, a + b on 1 of 2 splits and b on 1 of 2"
        " splits"
    )
    assert pool_sentences.encoders_read("a", None) == "a"
    assert pool_sentences.encoders_read("a", of_ours[of_ours["encoders"] == "a"]) == "a"


def test_sentences_about_headroom():
    curve = pd.DataFrame(
        [
            ("mine", share, metric, value)
            for share, metric, value in (
                (0.5, "mean_auc", 0.7),
                (0.5, "disagreement_auc", 0.6),
                (1.0, "mean_auc", 0.75),
                (1.0, "disagreement_auc", 0.6),
            )
        ],
        columns=["pool", "share", "metric", "value"],
    )
    text = pool_sentences.learning(curve, "mine")
    assert "mean AUC by +0.050 and the AUC of differences by +0.000." in text
    informed = pd.DataFrame(
        {"pool": "mine", "metric": ["mean_auc", "disagreement_auc"], "value": [0.9, 0.68]}
    )
    text = pool_sentences.luck(curve, informed, headroom(), "mine")
    assert "AUC of 0.900 (the prefill 0.750) and 0.680 on differences (the prefill 0.600)" in text
    assert "closes 10% of the gap" in text
    assert "the 25.0 points between them are luck, or what the reader does not know" in text
    assert pool_sentences.luck(curve, informed, headroom(), "other") == ""
    assert pool_sentences.informed_pools(curve, informed) == ["mine"]
    # as much as the prefill of single targets, or less of what sets them apart: not informed
    for known, less in ((0.9, 0.75), (0.68, 0.59)):
        knows_less = informed.replace({known: less})
        assert pool_sentences.informed_pools(curve, knows_less) == []
        text = pool_sentences.luck(curve, knows_less, headroom(), "mine")
        assert f"{less:.3f}" in text and text.endswith("so nothing follows here about luck.")
        assert "are luck" not in text


def learning():
    rows = [
        ("mine", size, metric, 0.6 + size / 4000, 0.5, 0.9)
        for size in (250, 500)
        for metric in ("mean_auc", "disagreement_auc")
    ]
    columns = ["pool", "training_queries", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def test_luck_is_the_shade_between_what_is_expected_and_the_independent_oracle():
    table = pd.concat([headroom(), headroom().assign(pool="yours")])
    fig = draw_headroom(learning(), table, measured=False)
    panel = fig.axes[2]
    [shade] = panel.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((0.55, 0.8))
    shown = [label.get_text() for label in panel.get_yticklabels()]
    assert shown == list(LUCK_ROWS.values())[::-1]
    assert {"not known: 25.0 points", "52.0%", "70.0%"} <= {text.get_text() for text in panel.texts}
    assert fig.axes[3].get_title() == "Pool yours"
    # of 30 points from 0.5 to 0.8 are 25 luck; 250 more queries bring 0.0625
    assert "brings +0.062 AUC" in fig.get_suptitle() and "\n83% of what" in fig.get_suptitle()
    assert "no router" not in fig.get_suptitle()
    plt.close(fig)
    assert len(draw_headroom(learning(), None, measured=False).axes) == 2
    plt.close("all")


def measured():
    values = {
        "best_single": (0.6, 0.55, 0.65),
        "router": (0.62, 0.57, 0.67),
        "knows_1": (0.64, 0.6, 0.68),
        "knows_2": (0.66, 0.61, 0.69),
        "highest_grade": (0.7, 0.65, 0.75),
        "oracle": (0.8, 0.76, 0.84),
        "luck_least": (0.5, 0.4, 0.6),
        "luck_most": (0.7, 0.6, 0.8),
        "router_closes": (0.1, -0.1, 0.2),
        "knows_closes": (0.3, 0.2, 0.4),
        "between": (0.25, 0.2, 0.3),
    }
    rows = [("mine", "", metric, *of, 40) for metric, of in values.items()]
    rows += [("mine", name, "between", v, v, v, 40) for name, v in (("a", 0.81), ("b", 0.42))]
    columns = ["pool", "target", "metric", "value", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_measured_luck_in_words_and_as_a_figure():
    # empty targets are NaN in a table that was written and read
    for table in (measured(), measured().replace({"target": {"": np.nan}})):
        text = pool_sentences.measured_luck(table, "mine")
        assert "of the 20.0 points between" in text
        assert "at least 50% [40%, 60%] and at most 70% [60%, 80%] are luck" in text
        assert "closes 10% [-10%, 20%] of that gap, and 30% [20%, 40%] where it is told" in text
        assert "42% to 81%, depending on the target" in text and "it is 25% [20%, 30%]" in text
        assert pool_sentences.measured_luck(table, "other") == ""
    wide = luck_in_columns(pd.concat([measured(), measured().assign(pool="a second")]))
    fig = draw_headroom(learning(), wide, measured=True)
    [shade] = fig.axes[2].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((0.7, 0.8))
    # of 20 points from 0.6 to 0.8 are 10 luck in both pools, whatever else is known
    assert "at least 50% of what" in fig.get_suptitle()
    assert "luck, at least: 10.0 points" in {text.get_text() for text in fig.axes[2].texts}
    labels = [label.get_text() for label in fig.axes[2].get_yticklabels()]
    assert labels[::-1] == [MEASURED_ROWS[name] for name in MEASURED_ROWS if name != "text"]
    assert [ax.get_title() for ax in fig.axes[2:]] == ["Pool mine", "Pool a second"]
    plt.close(fig)


def test_the_summary_is_of_the_tables_beside_it(tmp_path):
    ws = open_workspace(
        "smoke", build_dir=tmp_path / "b", results_dir=tmp_path / "r", figures_dir=tmp_path / "f"
    )
    ws.write_table(TABLE, "metrics")
    paired = pd.DataFrame(
        [("mine", "ours", "tfidf", "mean_auc", 0.1, 0.05, 0.15, 40)],
        columns=["pool", "method_a", "method_b", "metric", "diff", "ci_low", "ci_high", "n"],
    )
    ws.write_table(paired, "paired")
    text = write_summary(ws).read_text(encoding="utf-8")
    assert (
        text.index("| pool | router |") < text.index("Pool `mine`") < text.index("against TF-IDF")
    )
    assert "mean AUC +0.100 [+0.050, +0.150] (better)" in text
