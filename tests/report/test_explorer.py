"""The explorer: every number by hand, and the widgets that ask for them."""

import base64
import dataclasses
import xml.etree.ElementTree as ElementTree

import IPython.display
import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool
from prefill_router.evaluate.decisions_of_pools import DecisionTables
from prefill_router.evaluate.explored import (
    explored,
    planned_price,
    singles,
    slider_stops,
    stops,
    usual_best,
)
from prefill_router.report.explorer import HIDDEN, Explorer, Setting, explore
from prefill_router.report.explorer_figure import as_svg, draw, sentence

LABELLED = [[0.5, 0.5], [0.4, 0.6], [0.2, 0.8], [0.3, 0.4]]
TEST = [[0.6, 0.4], [0.2, 0.3], [0.3, 0.9], [0.5, 0.55]]
P = np.array(LABELLED + TEST)
CORRECT = np.array([[1, 1], [0, 1], [0, 1], [1, 0], [1, 0], [0, 0], [0, 1], [1, 1]], float)
SPLIT = Split(np.array([0, 1, 2]), np.array([3]), np.array([4, 5, 6, 7]))
PLANNED = (0.6 - 0.4) / 9
TODAY = Setting("all", "ours", "tolerance", "cheap", 1.0)


def made(names=("cheap", "dear")):
    queries = pd.DataFrame({"query_id": list("abcdefgh"), "benchmark": "b", "category": "c"})
    queries = queries.assign(prompt=queries["query_id"], group=queries["query_id"])
    targets = tuple(
        Target(name, price, 0.0) for name, price in zip(names, (1.0, 10.0), strict=True)
    )
    one = np.ones((8, 2))
    outcomes = Outcomes(queries, targets, CORRECT, one, one, one, "USD", "eight")
    pool = Pool.of(outcomes, {0: SPLIT}, "median_output")
    method = CrossFitted("e", {0: np.arange(4)}, {0: np.array(LABELLED)}, {0: P}, np.full(8, 0.25))
    return pool, {"ours": method, "tfidf": dataclasses.replace(method, overhead=np.zeros(8))}


@pytest.fixture
def pool():
    return made()[0]


@pytest.fixture
def ours():
    return made()[1]["ours"]


def tables(pools=("all",), price=PLANNED, routes=True):
    """As the notebook on decisions makes them; the numbers of the plans are to be found again."""
    points = [(p, metric) for p in ("no_loss", "one_point") for metric in ("accuracy", "cost")]
    decisions = pd.DataFrame(
        [
            (pool, "ours", point, metric, 0.625 if metric == "accuracy" else 4.5, 0.5, 0.875)
            for pool in pools
            for point, metric in points
        ],
        columns=["pool", "method", "operating_point", "metric", "value", "ci_low", "ci_high"],
    )
    against = pd.DataFrame({"pool": pools, "method_b": "tfidf", "best_text_by_plan": True})
    plans = pd.DataFrame({"pool": pools, "method": "ours", "plan": "no_loss", "price": price})
    return DecisionTables(decisions, against, plans.assign(routes=routes), pd.DataFrame())


def test_points_by_hand(pool, ours):
    # tolerance 0: e to cheap (right), f to dear (wrong), g and h to dear (right);
    # within 0.1 f and h are cheap's as well
    found = explored(pool, ours, "tolerance", np.array([0, 0.1]), {}, 20)
    assert found.curve["accuracy"].tolist() == [0.75, 0.75]
    assert found.curve["cost"].tolist() == [(1 + 3 * 10) / 4 + 0.25, (3 * 1 + 10) / 4 + 0.25]
    assert found.share.to_dict("list") == {"cheap": [0.25, 0.75], "dear": [0.75, 0.25]}
    assert (found.curve["ci_low"] <= 0.75).all() and (found.curve["ci_high"] >= 0.75).all()
    # utility: h moves at 0.05 / 9, f at 0.1 / 9, g at 0.6 / 9
    found = explored(pool, ours, "utility", np.array([0.006, 0.07]), {}, 20)
    assert found.curve["cost"].tolist() == [(2 * 1 + 2 * 10) / 4 + 0.25, 1.25]
    assert usual_best(pool) == 1  # dear: 3 of 4 labelled, cheap 2
    assert found.curve["weight"].tolist() == pytest.approx([0.06, 0.7])


def test_single_targets_and_another_price(pool, ours):
    points = singles(pool, {"dear": 0.05}, 20).set_index("target")
    assert points["cost"].tolist() == [1, 0.5] and points["accuracy"].tolist() == [0.5, 0.5]
    found = explored(pool, ours, "tolerance", np.array([1.0]), {"dear": 0.05}, 20)
    assert found.share["dear"].tolist() == [1.0] and found.curve["cost"].tolist() == [0.75]
    with pytest.raises(ValueError, match="name a priced target"):
        stops(pool, ours, "utility", {"dearest": 1})
    with pytest.raises(ValueError, match="factor >= 0"):
        stops(pool, ours, "utility", {"dear": -1})


def test_positions_of_the_slider_are_of_labelled_rows(pool, ours):
    # a is cheap's at once; d moves first, then b, then c
    values, paid = stops(pool, ours, "utility", {})
    np.testing.assert_allclose(values, np.array([0, 0.1, 0.2, 0.6]) / 9)
    assert paid.tolist() == [31 / 4, 22 / 4, 13 / 4, 1]
    values, _ = stops(pool, ours, "tolerance", {})
    np.testing.assert_allclose(values, [0, 0.1, 0.2, 0.6])
    other = dataclasses.replace(ours, p={0: P[::-1]})  # other P on test rows
    for rule in ("utility", "tolerance"):
        again = slider_stops(pool, other, rule, {}, PLANNED)
        first = slider_stops(pool, ours, rule, {}, PLANNED)
        np.testing.assert_array_equal(again[0], first[0])
        assert again[1] == first[1] == 2
    values, start = slider_stops(pool, ours, "utility", {}, 0.3 / 9)
    assert values[start] == 0.3 / 9 and len(values) == 5
    assert slider_stops(pool, ours, "utility", {}, None)[1] == 0


def test_the_planned_price_is_the_median_of_the_splits_that_route():
    plans = pd.DataFrame({"pool": "p", "method": "m", "plan": "no_loss", "price": [1, 5, np.nan]})
    assert planned_price(plans.assign(routes=[True, True, False]), "p", "m", "no_loss") == 3
    assert planned_price(plans.assign(routes=[True, False, False]), "p", "m", "no_loss") is None


def test_what_is_said_and_drawn():
    explorer = Explorer({"all": made()}, tables(), 20)
    ours, *_, start = explorer.curves(TODAY)
    assert ours.curve["value"].iloc[start] == pytest.approx(0.2)
    seen = explorer.view(TODAY, 1)
    said = sentence(seen)
    assert (
        said.startswith("Right on 75.0% [") and "at 65% less cost than always asking dear" in said
    )
    assert "TF-IDF + LR at about the same cost: 75.0% [" in said
    assert said.endswith("Traffic: cheap 75%, dear 25%.")
    assert seen.plans[["plan", "cost", "accuracy"]].values.tolist() == [
        ["no_loss", 4.5, 0.625],
        ["one_point", 4.5, 0.625],
    ]
    fig, tips = draw(seen)
    assert [bar.get_width() for bar in fig.axes[1].patches] == [75, 25]  # of equals the first below
    svg = as_svg(fig, tips, "<alt>")
    root = ElementTree.fromstring(svg)
    titles = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == tips and len(tips) > 8
    plan = next(tip for tip in tips if tip.startswith("plan: no loss"))
    assert "accuracy 62.5% [50.0%, 87.5%]" in plan and "4.5e+03" in plan  # of 1,000 queries
    assert root.get("aria-label") == "<alt>" and root.get("width") is None


def test_what_costs_nothing_is_no_measure():
    explorer = Explorer({"all": made()}, tables(), 20)
    seen = explorer.view(dataclasses.replace(TODAY, target="dear", factor=0.0), 0)
    assert "at a mean cost of 0.5, where it costs nothing to always ask dear" in sentence(seen)


def test_plans_are_hidden_at_another_price_and_it_is_said():
    explorer = Explorer({"all": made()}, tables(), 20)
    changed = dataclasses.replace(TODAY, factor=2.0)
    assert explorer.view(changed, 0).plans.empty and explorer.planned(changed) == HIDDEN
    assert "starts at the plan" in explorer.planned(TODAY)
    explorer = Explorer({"all": made()}, tables(routes=False), 20)
    assert "is to ask dear" in explorer.planned(TODAY) and explorer.curves(TODAY)[-1] == 0


@pytest.fixture
def shown(monkeypatch):
    import ipywidgets

    calls, boxes, VBox = [], [], ipywidgets.VBox
    monkeypatch.setattr(
        ipywidgets, "VBox", lambda children: boxes.append(VBox(children)) or boxes[-1]
    )
    monkeypatch.setattr(IPython.display, "display", lambda data, **more: calls.append((data, more)))
    return calls, boxes


def controls_of(box):
    rows = [row for row in box.children if hasattr(row, "children")]
    return {control.description: control for row in rows for control in row.children}


def test_controls_move_the_point_and_a_page_has_the_figure(shown):
    calls, boxes = shown
    explore({"all": made()}, tables(), 20)
    [(data, more)] = calls
    assert "application/vnd.jupyter.widget-view+json" in data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "utility rule" in more["metadata"]["image/png"]["alt"]
    *_, note, view = boxes[0].children
    at = controls_of(boxes[0])
    assert at["value"].value == 2 and len(at["value"].options) == 4
    assert "λ: 22.2 points an answer" in view.value and "starts at the plan" in note.value
    before = view.value
    at["value"].value = 0
    assert view.value != before and "cheap 25%" in view.value
    at["rule"].value = "tolerance"
    assert at["value"].value == 2 and "tolerance rule, 0.2" in view.value
    assert "plan: no loss" in view.value
    at["price of"].value = "dear"
    at["times"].value = 0.1
    assert "dear at 0.1 times its price" in view.value and "hidden" in note.value
    assert "plan: no loss" not in view.value


def test_a_pool_with_other_targets_and_their_names_are_escaped(shown):
    _, boxes = shown
    loaded = {"one": made(), "two": made(("<i>", "<b>"))}
    explore(loaded, tables(("one", "two")), 20)
    at, view = controls_of(boxes[0]), boxes[0].children[-1]
    at["times"].value = 2.0
    at["pool"].value = "two"
    assert at["price of"].options == ("<i>", "<b>") and at["times"].value == 1
    assert "&lt;b&gt;" in view.value and "<b>" not in view.value and "Pool two" in view.value
