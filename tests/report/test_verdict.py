"""The verdict in words: every judgement from tables made by hand, and the report's files."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from prefill_router.evaluate.keys import ARGMAX, CALIBRATED
from prefill_router.report.report import write_report
from prefill_router.report.verdict import verdicts
from prefill_router.run.workspace import open_workspace


def tables(
    gain=(0.03, 0.01, 0.05),
    saving=(0.4, 0.2, 0.5),
    zero=(0.02, 0.01, 0.03),
    oracle=0.9,
    curve=(0.80, 0.83),
    target="cheap",
    planned=(0.6, 0.695),
    seeds=5,
    questions=2000,
    dearness=0.2,
    p_auccc=0.3,
    cheapest="cheap",
    auc=0.83,
    rival=0.01,
):
    def row(method, metric, value, of="", point=""):
        value = value if isinstance(value, tuple) else (value, value - 0.01, value + 0.01)
        return {
            "pool": "mine",
            "method": method,
            "operating_point": point,
            "target": of,
            "metric": metric,
            "value": value[0],
            "ci_low": value[1],
            "ci_high": value[2],
            "n": 200,
            "seeds": seeds if metric == "cost_saving_at_best_single" else 5,
        }

    metrics = [
        row("ours", "accuracy", 0.73, point=ARGMAX),
        row("ours", "mean_auc", 0.81),
        row("ours", "disagreement_auc", 0.6),
        row("ours", "oracle_accuracy", oracle),
        row("best_single", "accuracy", 0.70),
        row("ours", "auc", auc, target),
        row("ours", "brier", 0.12, target),
    ]
    if saving:
        metrics.append(row("ours", "cost_saving_at_best_single", saving))
        # the dearest costs 1: best single 0.8, the planned point 0.4, so half as much
        metrics += [
            row("ours", "cost_saving_vs_max", planned[0], point=CALIBRATED),
            row("ours", "accuracy", planned[1], point=CALIBRATED),
            row("best_single", "cost_saving_vs_max", dearness),
            row("ours", "p_auccc", p_auccc),
        ]
    paired = [
        {
            "pool": "mine",
            "method_a": "ours",
            "method_b": other,
            "metric": metric,
            "diff": d,
            "ci_low": low,
            "ci_high": high,
        }
        for other, metric, (d, low, high) in (
            ("best_single", "accuracy", gain),
            ("zero_router", "p_auccc", zero),
            ("tfidf", "accuracy", (rival, rival - 0.02, rival + 0.02)),
        )
    ]
    learning = [
        {
            "pool": "mine",
            "share": share,
            "training_queries": int(1000 * share),
            "metric": "mean_auc",
            "value": v,
            "ci_low": v - 0.01,
            "ci_high": v + 0.01,
        }
        for share, v in zip((0.5, 1.0), curve, strict=True)
    ]
    pools = pd.DataFrame(
        [{"pool": "mine", "best_single": "dear", "queries": questions, "cheapest": cheapest}]
    )
    return {
        "metrics": pd.DataFrame(metrics),
        "paired": pd.DataFrame(paired),
        "pools": pools,
        "learning_curve": pd.DataFrame(learning),
    }


def text(verdict):
    return " ".join([verdict.headline, *verdict.sentences, *verdict.advice])


def test_a_clear_gain():
    [v] = verdicts(tables())
    assert (
        v.headline
        == "Routing wins accuracy: +3.0 [+1.0, +5.0] points of accuracy over always asking the"
        " best single target (on all queries dear). With a tolerance chosen beforehand it costs"
        " 50% less and is right on 69.5 % against 70.0 %."
    )
    assert "chosen in hindsight (on every split), saves 40.0 % [20.0, 50.0]" in text(v)
    assert (
        "right on 73.0 % [72.0, 74.0] of 200 test queries a split, the best single target on 70.0 %"
        in text(v)
    )
    assert "+0.020 [+0.010, +0.030]: the prompts tell something" in text(v)
    assert (
        "From 500 to 1000 labelled queries the AUC of the kernel router on one encoder went from"
        " 0.800 [0.790, 0.810] to 0.830 [0.820, 0.840]." in text(v)
    )
    assert (
        "More labels help" in text(v)
        and "+0.030 AUC" in text(v)
        and "Train the router on all your queries" in text(v)
    )
    assert v.targets == [{"target": "cheap", "AUC": "0.830", "Brier": "0.120"}]


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            {"gain": (-0.03, -0.05, -0.01)},
            "Routing does not pay in accuracy: -3.0 [-5.0, -1.0] points",
        ),
        ({"gain": (0.01, -0.02, 0.04)}, "neither clearly better nor clearly worse"),
        (
            {"gain": (0.01, -0.02, 0.04), "planned": (0.2, 0.695)},
            "The interval is 6.0 points wide: four times as many",
        ),
        ({"gain": (-0.03, -0.05, -0.01), "planned": (0.6, 0.6)}, "Keep dear"),
        ({"saving": (np.nan, np.nan, np.nan)}, "No point of its curve on the test queries reaches"),
        ({"questions": 200}, "Too few questions (200) for more than a hint. Routing wins accuracy"),
        ({"seeds": 2}, "on 2 of 5 splits, the others never reach it"),
        ({"planned": (0.1, 0.695)}, "it costs 12% more"),
        ({"gain": (0.01, -0.02, 0.04)}, "Train the router"),
        ({"gain": (0.01, -0.02, 0.04), "planned": (0.6, 0.6)}, "The interval is 6.0 points wide"),
        ({"curve": (0.80, 0.815)}, "More labels seem to help"),
        ({"saving": None}, "fewer than two targets have a cost"),
        ({"zero": (0.0, -0.01, 0.01)}, "has not been shown to help"),
        ({"zero": (-0.02, -0.03, -0.01)}, "worse than no router at all"),
        ({"oracle": 0.715}, "only 1.5 points above the best single target"),
        (
            {"gain": (-0.0001, -0.0002, 0.01)},
            (
                "in accuracy than always asking the best single target (on all queries dear): +0.0"
                " [+0.0, +1.0] points"
            ),
        ),
        (
            {"planned": (0.2001, 0.695)},
            "With a tolerance chosen beforehand it costs the same and is right on",
        ),
        (
            {"planned": (0.1, 0.695), "cheapest": "dear"},
            (
                "dear is also the cheapest target, so there is nothing to save: routing can only"
                " win accuracy, and pay for it. With a tolerance chosen beforehand it costs 12%"
                " more"
            ),
        ),
        (
            {"planned": (0.1, 0.695), "cheapest": "dear", "dearness": 1.0},
            "it costs, where that one costs nothing, something and is right on 69.5 %",
        ),
        (
            {
                "planned": (np.nan, 0.695),
                "dearness": np.nan,
                "saving": (np.nan,) * 3,
                "p_auccc": np.nan,
            },
            "All targets cost nothing, so there is nothing to save: only accuracy decides.",
        ),
        (
            {"planned": (0.0, 0.695), "dearness": 0.0, "p_auccc": np.nan},
            "All targets cost the same, so there is nothing to save: only accuracy decides.",
        ),
        (
            {"planned": (np.nan, 0.695), "dearness": np.nan, "p_auccc": np.nan},
            "ask it with tolerance 0, as there is nothing to save",
        ),
        (
            {"rival": -0.03},
            "Clearly better than this router: in accuracy TF-IDF + LR by 3.0 points [1.0, 5.0].",
        ),
        ({"rival": 0.0}, "None of the 1 other routers is clearly better in accuracy."),
        ({"curve": (0.82, 0.825)}, "More labels help little: the last doubling brought +0.005 AUC"),
    ],
)
def test_every_judgement(change, expected):
    assert expected in text(verdicts(tables(**change))[0])


@pytest.mark.parametrize(
    "change",
    [
        {"dearness": np.nan, "planned": (np.nan, 0.7), "saving": (np.nan,) * 3, "p_auccc": np.nan},
        {"cheapest": "dear"},
    ],
)
def test_where_there_is_nothing_to_save_nobody_asks_for_prices_or_says_what_is_saved(change):
    said = text(verdicts(tables(**change))[0])
    assert (
        "nothing to save" in said
        and "Give prices" not in said
        and "chosen in hindsight" not in said
        and "nan" not in said
    )


def test_where_outcomes_are_missing_the_best_single_target_is_not_called_that_of_all_queries():
    given = tables()
    given["pools"]["n_incomplete"] = 68
    assert (
        "the best single target (on the queries that every target answered dear)"
        in verdicts(given)[0].headline
    )


def test_a_target_without_an_auc_has_a_dash_and_no_word_has_a_minus_before_zero():
    [v] = verdicts(
        tables(auc=(np.nan,) * 3, zero=(-0.0001, -0.0003, 0.0001), saving=(-0.0001, -0.0002, 0.1))
    )
    assert v.targets == [{"target": "cheap", "AUC": "–", "Brier": "0.120"}]
    assert (
        "+0.000 [+0.000, +0.000]" in text(v)
        and "saves 0.0 % [0.0, 10.0]" in text(v)
        and "-0.0" not in text(v)
    )


@pytest.mark.parametrize(
    ("saved", "said"),
    [(0.52, ", at 40 % less cost."), (0.0, ", at 25 % more cost."), (-0.6, ", at 2.0 times its")],
)
def test_what_accuracy_costs_is_said_beside_it(saved, said):
    # the best single target costs 0.8 of the dearest: 0.48, 1 and 1.6 against 0.8
    given = tables()
    rows = [
        {**given["metrics"].iloc[0], "method": method, "metric": "cost_saving_vs_max", "value": v}
        for method, v in (("ours", saved), ("best_single", 0.2))
    ]
    given["metrics"] = pd.concat([given["metrics"], pd.DataFrame(rows)], ignore_index=True)
    [v] = verdicts(given)
    assert f"(on all queries dear){said}" in v.headline


def test_nobody_is_sent_to_a_plan_that_asks_one_target():
    saving, gain = "saving_over_best_single", "accuracy_over_best_single"
    nothing = [
        {"pool": "mine", "operating_point": "no_loss", "metric": m, "value": 0.0}
        for m in (saving, gain)
    ]
    of = {"method": "ours", "ci_low": 0.0, "ci_high": 0.0}
    against = {"method_a": "ours", "method_b": "tfidf", "best_text_by_plan": True, "diff": 0.0}
    given = tables()
    given["decisions"] = pd.DataFrame(nothing).assign(**of)
    given["decision_differences"] = pd.DataFrame(nothing).assign(**of, **against)
    [v] = verdicts(given)
    assert "so the plan is to ask that target." in v.headline
    assert v.advice[-1].startswith("A router that follows its plan would always ask dear.")
    given["decisions"].loc[0, ["value", "ci_low", "ci_high"]] = (0.2, 0.1, 0.3)
    assert "let it follow its plan" in verdicts(given)[0].advice[-1]


def test_the_report_keeps_a_name_in_its_cell(tmp_path):
    ws = open_workspace(
        "local", build_dir=tmp_path / "b", results_dir=tmp_path / "r", figures_dir=tmp_path / "f"
    )
    for name, table in tables(target="<b>cheap|&").items():
        ws.write_table(table, name)
    markdown = write_report(ws).read_text(encoding="utf-8")
    assert "Routing wins accuracy" in markdown and r"<b>cheap\|&" in markdown


def test_a_curve_that_reaches_the_best_single_target_at_a_higher_cost_alone():
    [v] = verdicts(tables(saving=(-0.36, -0.79, -0.07)))
    assert "chosen in hindsight (on every split), costs 36.0 % [7.0, 79.0] more" in text(v)
    assert "would save nothing" in text(v) and "saves -" not in text(v)


def test_the_report_says_what_costs_leave_out_and_how_queries_were_split(tmp_path):
    folders = {f"{name}_dir": tmp_path / name for name in ("build", "results", "figures")}
    for profile, split in (
        ("reasoning_gym", "5 random splits that keep near-duplicates together"),
        ("reasoning_gym_families", "5 folds of whole families of questions"),
    ):
        ws = open_workspace(profile, **folders)
        for name, table in tables().items():
            ws.write_table(table, name)
        ws = dataclasses.replace(ws, profile=dataclasses.replace(ws.profile, outcomes="data/local"))
        shown = write_report(ws).read_text(encoding="utf-8")
        assert split in shown and "200 times as long, a stated factor" in shown
        assert "hidden reasoning of o3-mini, deepseek-r1" in shown
