"""What the README finds: words that turn where the numbers turn."""

from __future__ import annotations

import pandas as pd
import pytest

from prefill_router.files import project_root
from prefill_router.report.findings import (
    collections,
    costs_computation,
    counted,
    counts,
    extent,
    luck_in_the_gap,
    plans_save,
    prefill_against_text,
    text_is_the_rival,
    unseen_kinds,
)
from prefill_router.report.plan_evidence import Evidence

ABOVE, LEVEL, BELOW = (0.03, 0.01, 0.05), (0.01, -0.01, 0.03), (-0.03, -0.05, -0.01)


def rows(panel, *intervals):
    return pd.DataFrame(
        [("p", f"pool{i}", panel, *interval) for i, interval in enumerate(intervals)],
        columns=["profile", "pool", "panel", "value", "ci_low", "ci_high"],
    )


@pytest.mark.parametrize(
    ("intervals", "head", "counts"),
    [
        (
            (LEVEL, LEVEL, BELOW),
            "do as well in most pools",
            "in none, clearly less in 1, and about",
        ),
        ((ABOVE, ABOVE, BELOW), "are the rival to beat", "in 2, clearly less in 1, and about"),
        ((ABOVE, ABOVE, ABOVE), "saves more than reading the text", "in 3, clearly less in none"),
    ],
)
def test_text_is_named_first_as_far_as_it_holds(intervals, head, counts):
    said = text_is_the_rival(rows("saving", *intervals))
    assert head in said and counts in said and "3 pools" in said


def test_a_pool_where_the_plan_is_less_accurate_than_the_text_routers_is_named():
    saving = rows("saving", ABOVE, LEVEL)
    said = text_is_the_rival(pd.concat([saving, rows("gain_over_text", LEVEL, BELOW)]))
    assert "less accurate than that router's in 1: p (pool1); clearly more in none." in said
    said = text_is_the_rival(pd.concat([saving, rows("gain_over_text", LEVEL, ABOVE)]))
    assert "less accurate" not in said


def test_pools_where_neither_saves_or_more_is_saved_at_a_loss_are_told_apart():
    saving = rows("saving", ABOVE, LEVEL, (0.0, 0.0, 0.0))
    said = text_is_the_rival(pd.concat([saving, rows("gain_over_text", BELOW, LEVEL, LEVEL)]))
    assert "and about as much in 1; in 1 neither saves anything." in said
    assert said.endswith("In p (pool0) it saves more and is less accurate.")


def test_the_pools_of_the_figure_are_counted_by_kind():
    table = pd.concat([rows("auc", *[LEVEL] * 5), rows("own_saving", *[LEVEL] * 3)])
    held_out = table["pool"].isin(["pool0", "pool4"])
    assert counts(table, held_out) == (
        "The figure above and the table below show 5 pools: 3 on kinds of questions that were seen"
        " in training, 2 of them with plans, and 2 whose kinds were held out."
    )
    assert "held out" not in counts(table, held_out & False)


def test_profiles_of_the_same_outcomes_are_one_collection():
    root = project_root()
    names = ["local", "local_encoders", "zeroeval"]
    assert "from 2 collections of questions" in collections(root, names)
    assert [costs_computation(root, name) for name in names] == [True, True, False]


def planned(saving, gain):
    return pd.concat([rows("own_saving", *saving), rows("gain", *gain)])


def test_plans_that_save_and_lose_nothing():
    saving = [(0.4, 0.35, 0.45), (0.1, 0.05, 0.15), (0.0, 0.0, 0.0)]
    splits = {("p", "pool0"): (5, 5), ("p", "pool1"): (3, 5), ("p", "pool2"): (0, 5)}
    kept = Evidence(splits, draws=1000, broken=12, routed=300, delta=0.05)
    said = plans_save(planned(saving, [LEVEL] * 3), kept)
    assert said.startswith("*Routing saves money and need not lose accuracy.*")
    assert "saves 10 to 40 % of the best single target's cost in 2 of 3 pools; in the" in said
    assert "clearly less accurate than that target in no pool." in said
    assert "not found on every split: p (pool1) on 3 of 5." in said
    assert "Of 1,000 such plans, chosen on samples, 1.2 % were in truth less accurate" in said
    assert said.endswith("(5 % may be); of the 300 that route at all it is 4.0 %.")
    nothing = [(0.0, 0.0, 0.0)] * 3
    said = plans_save(planned([saving[0], *nothing], [LEVEL] * 4), Evidence(splits))
    assert said.startswith("*In some pools routing saves money and need not lose accuracy.*")
    assert "on samples" not in said and "every split" not in said


def test_what_is_no_money_is_called_computation():
    table = planned([(0.4, 0.35, 0.45), (0.66, 0.6, 0.7)], [LEVEL] * 2)
    table.loc[table["pool"] == "pool1", "profile"] = "watts"
    said = plans_save(table, Evidence({}), ["watts"])
    assert (
        "saves 40 % of the best single target's cost in all 1 pools, and 66 % of its computation"
        " in watts (pool1)." in said
    )
    alone = plans_save(table[table["profile"] == "watts"], Evidence({}), ["watts"])
    assert "none saves 66 % of its computation in watts (pool1)." in alone


def test_the_evidence_is_that_of_plans_of_ours_that_lose_nothing(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "plans.csv").write_text(
        "pool,method,seed,plan,routes\n"
        "a,ours,0,no_loss,True\na,ours,1,no_loss,False\na,ours,0,one_point,True\n"
        "a,tfidf,0,no_loss,True\n"
    )
    (folder / "promises.csv").write_text(
        "pool,method,epsilon,delta,draws,broken,fallback\n"
        "a,ours,0,0.05,200,5,0.5\nb,ours,0,0.05,200,1,1\n"
        "a,ours,0.01,0.05,200,50,0\na,tfidf,0,0.05,200,50,0\n"
    )
    found = Evidence.of(tmp_path, ["p", "no such profile"])
    assert found == Evidence({("p", "a"): (1, 2)}, 400, 6, 100, 0.05)
    assert "1.5 % were in truth" in found.sentence and "6.0 %." in found.sentence


def test_plans_that_lose_or_break_promises_say_so():
    broken = Evidence({}, draws=1000, broken=80, routed=1000, delta=0.05)
    said = plans_save(planned([(0.4, 0.35, 0.45)], [BELOW]), broken)
    assert "need not lose" not in said and "less accurate than that target in 1 of 1 pools." in said
    assert "8.0 % were" in said and "(5 % may be, fewer than that)" in said
    nothing = plans_save(planned([(0.0, 0.0, 0.0)], [LEVEL]), Evidence({}))
    assert nothing.startswith("*No plan saves")


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ((ABOVE, ABOVE), "better than the text*"),
        ((ABOVE, ABOVE, LEVEL), "in most pools*"),
        ((ABOVE, LEVEL, BELOW), "in some pools*"),
        ((LEVEL, BELOW), "no better than the text*"),
    ],
)
def test_the_prefill_is_better_only_where_it_is(intervals, said):
    text = prefill_against_text(rows("auc", *intervals))
    assert said in text
    assert text.endswith("below in 1." if BELOW in intervals else "below in none.")


def held_out(saving, auc):
    return pd.concat([rows("own_saving", saving), rows("auc", auc)])


def test_unseen_kinds():
    alarms = pd.DataFrame({"false_alarms": [0.01, 0.05], "flagged": [0.94, 0.99]})
    nothing = unseen_kinds(held_out((0.0, 0.0, 0.0), LEVEL), alarms)
    assert "routing buys nothing" in nothing and "every plan is to ask" in nothing
    assert "notices: set to take 1 % of known prompts for unknown, it recognises 94 %" in nothing
    blind = unseen_kinds(held_out((0.0, 0.0, 0.0), LEVEL), alarms.assign(flagged=0.1))
    assert "Nor does the router notice" in blind
    saves = unseen_kinds(held_out((0.3, 0.2, 0.4), ABOVE), None)
    assert "still saves in 1 of 1" in saves and "every plan" not in saves
    assert unseen_kinds(rows("auc"), alarms) == ""


@pytest.mark.parametrize(
    ("least", "most", "head"),
    [(0.6, 0.9, "*Most of"), (0.2, 0.7, "*A part of"), (0.1, 0.3, "*A part of")],
)
def test_luck(least, most, head):
    table = pd.DataFrame(
        {
            "pool": ["a", "a"],
            "target": ["", ""],
            "metric": ["luck_least", "luck_most"],
            "value": [least, most],
        }
    )
    said = luck_in_the_gap({"p": table})
    assert said.startswith(head) and f"at least {100 * least:.0f} %" in said
    assert luck_in_the_gap({}) == ""


def test_counts_and_extents():
    assert (counted(3, 3), counted(0, 3), counted(1, 3)) == ("all 3", "none of 3", "1 of 3")
    assert extent([0.0204, 0.0196], "{:.2f}") == "0.02"
    assert extent([12.0, 67.2], "{:.0f}", " %") == "12 to 67 %"
