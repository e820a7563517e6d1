"""Numbers with intervals in sentences: what leaves out 0 is written so that it does."""

import pandas as pd
import pytest

from prefill_router.report.plan_verdict import planned
from prefill_router.report.rivals import rivals_in_words
from prefill_router.report.words import clear, percent, points, signed, unsigned


def test_an_end_that_rounds_to_zero_has_more_digits_only_where_zero_is_left_out():
    assert points((0.0115, 0.0001, 0.0219)) == "+1.15 [+0.01, +2.19]"
    assert points((-0.006, -0.014, -0.0003)) == "-0.60 [-1.40, -0.03]"
    assert points((0.007, -0.0001, 0.014)) == "+0.7 [+0.0, +1.4]"
    assert points((0.0, 0.0, 0.0)) == "+0.0 [+0.0, +0.0]"
    assert percent((0.009, 0.0004, 0.02)) == "0.90 % [0.04, 2.00]"
    assert signed((0.01, 0.0002, 0.02)) == "+0.0100 [+0.0002, +0.0200]"
    assert unsigned((0.021, 0.009, 0.035)) == "2.1 [0.9, 3.5]"
    assert clear((0.5, 0.04, 1.0), 1) == "0.50 [0.04, 1.00]"


def test_who_is_clearly_better_is_so_in_the_digits_shown():
    row = ("p", "ours", "tfidf", "accuracy", -0.005, -0.01, -0.0002)
    columns = ["pool", "method_a", "method_b", "metric", "diff", "ci_low", "ci_high"]
    said = rivals_in_words(pd.DataFrame([row], columns=columns), "p", "ours")
    assert "TF-IDF + LR by 0.50 points [0.02, 1.00]" in said


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((0.025, 0.009, 0.035), "TF-IDF + LR, saves 2.5 [0.9, 3.5] points less of the best"),
        ((-0.025, -0.035, -0.009), "reads the text, saves 2.5 [0.9, 3.5] points more of the best"),
        ((0.001, -0.01, 0.02), "the difference is +0.1 [-1.0, +2.0] points of the best single"),
    ],
)
def test_less_and_more_have_no_sign(monkeypatch, difference, said):
    module = "prefill_router.report.plan_verdict"
    monkeypatch.setattr(f"{module}.difference", lambda *a: ("tfidf", difference))
    monkeypatch.setattr(f"{module}.found", lambda *a: (0.3, 0.2, 0.4))
    tables = {
        "decisions": pd.DataFrame({"pool": ["p"], "method": ["ours"]}),
        "decision_differences": pd.DataFrame(),
    }
    found = planned(tables, "p", "ours")
    assert found is not None and said in found.against_text
