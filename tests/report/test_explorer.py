"""The explorer: every number by hand, and the widgets that ask for them."""

import base64
import dataclasses

import IPython.display
import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.evaluate.points import tolerance_curve
from prefill_router.evaluate.rules import route
from prefill_router.report import explorer
from prefill_router.report.explorer import GRID, explore, operating_point
from prefill_router.run.profile_files import load_profile
from prefill_router.run.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(
        dataclasses.replace(load_profile("smoke"), bootstrap=20), tmp_path, tmp_path, tmp_path
    )


@pytest.fixture
def outcomes():
    queries = pd.DataFrame(
        {
            "query_id": list("abcdef"),
            "benchmark": "b",
            "category": "c",
            "prompt": list("abcdef"),
            "group": list("abcdef"),
        }
    )
    correct = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [0, 1], [1, 1]], float)
    one = np.ones((6, 2))
    return Outcomes(
        queries,
        (Target("cheap", 1.0, 0.0), Target("dear", 10.0, 0.0)),
        correct,
        one,
        one,
        one,
        "USD",
        "six",
    )


SPLITS = {0: Split(np.array([0, 1]), np.array([], int), np.array([2, 3, 4, 5]))}
P = np.array([[0.5, 0.5], [0.5, 0.5], [0.6, 0.4], [0.2, 0.3], [0.3, 0.9], [0.5, 0.55]])
METHOD = {"encoder": "e", "p": {0: P}, "overhead": np.full(6, 0.25)}


def test_by_hand(workspace, outcomes):
    # tolerance 0: c to cheap (right), d to dear (wrong), e to dear (right), f to dear (right)
    point = operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.0)
    assert (point.accuracy, point.cost) == (0.75, (1 + 3 * 10) / 4 + 0.25)
    assert point.share.to_dict() == {"cheap": 0.25, "dear": 0.75}
    assert point.points.set_index("target").loc["dear"].tolist() == [10, 0.5]
    # within 0.1 d and f are cheap's as well
    point = operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.1)
    assert (point.accuracy, point.cost) == (0.75, (3 * 1 + 10) / 4 + 0.25)
    assert (
        point.sentence()
        == "Right on 75.0% of the test queries at 250% more cost than always asking cheap (50.0%)."
        " Traffic: cheap 75%, dear 25%."
    )


def test_what_costs_nothing_is_no_measure(workspace, outcomes):
    point = operating_point(
        workspace.profile, outcomes, SPLITS, METHOD, 0.0, {"cheap": 0, "dear": 0}
    )
    assert (
        "at a mean cost of 0.25, where it costs nothing to always ask cheap (50.0%)"
        in point.sentence()
    )


def test_another_price_sends_the_traffic_elsewhere(workspace, outcomes):
    point = operating_point(workspace.profile, outcomes, SPLITS, METHOD, 1.0, {"dear": 0.05})
    assert point.share["dear"] == 1 and point.cost == 0.5 + 0.25
    assert point.points["cost"].tolist() == [1, 0.5]
    with pytest.raises(ValueError, match="name a priced target"):
        operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.0, {"dearest": 1})
    with pytest.raises(ValueError, match="factor >= 0"):
        operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.0, {"dear": -1})


def test_without_a_change_it_is_the_curve_of_the_tables(workspace, outcomes):
    point = operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.1)
    table = tolerance_curve(workspace.profile, outcomes, SPLITS, METHOD, GRID)
    pd.testing.assert_frame_equal(point.curve, table[["tolerance", "cost", "accuracy"]])
    at = point.curve.set_index("tolerance").loc[0.1]
    assert (at["cost"], at["accuracy"]) == pytest.approx((point.cost, point.accuracy))


def test_targets_without_a_price_take_no_part(workspace, outcomes):
    unpriced = dataclasses.replace(
        outcomes,
        targets=(outcomes.targets[0], Target("dear", np.nan, np.nan)),
        cost=outcomes.cost * [1, np.nan],
    )
    assert operating_point(workspace.profile, unpriced, SPLITS, METHOD, 0.0) is None


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **more: calls.append((data, more)))
    return calls


def find(box, description):
    found = [c for c in box.children if getattr(c, "description", None) == description]
    return (
        found[0]
        if found
        else next(
            (hit for c in box.children if hasattr(c, "children") and (hit := find(c, description))),
            None,
        )
    )


def test_a_slider_moves_the_point_and_a_page_has_the_figure(
    workspace, outcomes, shown, monkeypatch
):
    import ipywidgets

    boxes, VBox = [], ipywidgets.VBox
    monkeypatch.setattr(
        ipywidgets, "VBox", lambda children: boxes.append(VBox(children)) or boxes[-1]
    )
    explore(workspace.profile, {"all": (outcomes, SPLITS, {"ours": METHOD})}, tolerance=0.0)
    [(data, more)] = shown
    assert "application/vnd.jupyter.widget-view+json" in data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert (
        "Right on 75.0%" in data["text/plain"]
        and "tolerance 0." in more["metadata"]["image/png"]["alt"]
    )
    view = boxes[0].children[-1]
    before = view.value
    assert 'alt="Pool all' in before
    find(boxes[0], "tolerance").value = 0.1
    assert view.value != before and "cheap 75%, dear 25%" in view.value
    find(boxes[0], "price of").value = "dear"
    find(boxes[0], "times").value = 0.05
    find(boxes[0], "tolerance").value = 1
    assert "Traffic: dear 100%" in view.value and "dear at 0.05 times its price" in view.value


def test_a_pool_with_other_targets_and_their_names_are_escaped(
    workspace, outcomes, shown, monkeypatch
):
    import ipywidgets

    boxes, VBox = [], ipywidgets.VBox
    monkeypatch.setattr(
        ipywidgets, "VBox", lambda children: boxes.append(VBox(children)) or boxes[-1]
    )
    odd = dataclasses.replace(outcomes, targets=(Target("<i>", 1.0, 0.0), Target("<b>", 10.0, 0.0)))
    explore(
        workspace.profile,
        {"one": (outcomes, SPLITS, {"ours": METHOD}), "two": (odd, SPLITS, {"ours": METHOD})},
    )
    find(boxes[0], "pool").value = "two"
    view = boxes[0].children[-1]
    assert find(boxes[0], "price of").options == ("<i>", "<b>")
    assert "&lt;b&gt;" in view.value and "<b>" not in view.value and "Pool two" in view.value


def test_nothing_to_explore_is_said(workspace, outcomes, shown, capsys):
    unpriced = dataclasses.replace(
        outcomes,
        targets=(outcomes.targets[0], Target("dear", np.nan, np.nan)),
        cost=outcomes.cost * [1, np.nan],
    )
    explore(workspace.profile, {"all": (unpriced, SPLITS, {"ours": METHOD})})
    assert shown == [] and "no cost to explore" in capsys.readouterr().out


def test_the_figure_has_a_bar_per_target_and_the_point(workspace, outcomes):
    point = operating_point(workspace.profile, outcomes, SPLITS, METHOD, 0.1)
    fig = explorer.draw(point, "USD", "t")
    assert [bar.get_width() for bar in fig.axes[1].patches] == [
        100 * point.share[t] for t in ("dear", "cheap")
    ]
    here = fig.axes[0].collections[0].get_offsets()[0]
    assert here.tolist() == pytest.approx([1000 * point.cost, point.accuracy])


def test_shares_and_costs_are_those_of_the_policy(workspace):
    rng = np.random.default_rng(0)
    n, k = 50, 3
    queries = pd.DataFrame(
        {
            "query_id": [str(i) for i in range(n)],
            "benchmark": "b",
            "category": "c",
            "prompt": "p",
            "group": [str(i) for i in range(n)],
        }
    )
    tokens = rng.integers(1, 9, (n, k)).astype(float)
    o = Outcomes(
        queries,
        tuple(Target(f"t{j}", 1.0 + j, 2.0) for j in range(k)),
        rng.integers(0, 2, (n, k)).astype(float),
        tokens,
        tokens,
        tokens,
        "USD",
        "x",
    )
    p = rng.random((n, k))
    split = Split(np.arange(20), np.arange(20, 25), np.arange(25, n))
    cost = tokens * [1.0, 2.0, 3.0] + np.median(tokens[:20], axis=0) * 2.0
    point = operating_point(
        workspace.profile, o, {0: split}, {"p": {0: p}, "overhead": np.zeros(n)}, 0.3, {"t2": 0.5}
    )
    cost = (cost * [1, 1, 0.5])[25:]
    chosen = route(p[25:], cost, 0.3)
    np.testing.assert_allclose(point.share, np.bincount(chosen, minlength=k) / 25)
    assert point.cost == pytest.approx(cost[np.arange(25), chosen].mean())
