"""All figures of committed results: the registry's colours, readable texts, small files."""

import re
import shutil
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from prefill_router.evaluate import published
from prefill_router.files import project_root
from prefill_router.report import decision_figure, decision_figures, styles
from prefill_router.report.captions import caption
from prefill_router.report.decision_figure import Decision, draw_decision, message
from prefill_router.report.drawings import DRAWINGS, all_figures, draw
from prefill_router.report.names_at_points import name_points
from prefill_router.report.plots import heat
from prefill_router.report.pool_overview import draw_pools
from prefill_router.report.redraw import redraw_profile

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = project_root() / "results"
OTHERS = ("styles.py", "curve_plots.py", "cascade_figures.py")  # the explorer's, and cascades


@pytest.fixture(scope="module")
def drawn():
    """The figures of the embedded pool, from its committed tables."""
    with plt.rc_context():
        styles.use_style()
        figures = {name: fig for name, fig in all_figures(RESULTS / "local") if fig is not None}
        yield figures
    plt.close("all")


def test_every_kind_has_a_caption_and_a_profile_has_at_most_twelve(drawn):
    assert all(caption(kind) != kind for kind in DRAWINGS)
    for folder in (project_root() / "figures").glob("*/"):
        names = [path.stem for path in folder.glob("*.svg")]
        kinds = {next((kind for kind in DRAWINGS if name.startswith(kind)), name) for name in names}
        assert len(kinds) <= 12, f"{folder.name} has {sorted(kinds)}"
    assert {"01_pool", "03_layers", "07_methods", "13_decision_all", "13_plans"} <= set(drawn)
    assert "10_encoders" not in drawn and "16_families" not in drawn  # one encoder, one split


def test_texts_are_readable_on_white(drawn):
    for name, fig in drawn.items():
        for text in fig.findobj(Text):
            if text.get_text().strip() and text.get_color() not in ("white", "#FFFFFF"):
                ratio = styles.contrast(to_rgb(text.get_color()), "white")
                assert ratio >= 4.5, f"{name}: {text.get_text()!r} has {ratio:.1f}"


@pytest.mark.parametrize("colors", [styles.HEAT, styles.DIVERGING])
def test_a_number_is_readable_on_every_cell(colors):
    fig, ax = plt.subplots()
    steps = np.linspace(0, 1, 64)
    mesh = heat(ax, pd.DataFrame(steps[None]), "{:.2f}", colors, (0.0, 1.0))
    for value, text in zip(steps, ax.texts, strict=True):
        cell = mesh.cmap(mesh.norm(value))[:3]
        assert styles.contrast(text.get_color(), cell) >= 4.5
    plt.close(fig)


def test_contrast_by_hand():
    assert styles.contrast("black", "white") == pytest.approx(21)
    assert styles.contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


def test_methods_have_the_colour_of_the_registry_in_every_figure(drawn):
    known = {styles.label(name): style[0] for name, style in styles.STYLES.items()}
    seen = set()
    for fig in drawn.values():
        for line in (line for ax in fig.axes for line in ax.lines):
            name = str(line.get_label())
            if name in known:
                seen.add(name)
                assert to_hex(line.get_color()) == known[name].lower(), name
        for text in (text for ax in fig.axes for text in ax.get_yticklabels()):
            if text.get_text() in known and text.get_color() != styles.INK:
                color = text.get_color()
                assert to_hex(color) in (known[text.get_text()].lower(), styles.INK.lower())
    assert {styles.label("ours"), styles.label("paper")} <= seen


def test_no_figure_has_a_colour_of_its_own():
    """Colours are named in the registry; greys and white are no statement."""
    folder = project_root() / "lib" / "prefill_router" / "report"
    for path in sorted(folder.glob("*.py")):
        if path.name in OTHERS or path.stem.startswith("explorer"):
            continue
        for color in re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text(encoding="utf-8")):
            red, green, blue = to_rgb(color)
            assert red == green == blue, f"{path.name} has {color}; name it in styles.py"


def test_pools_have_one_colour_each_that_can_be_read():
    assert styles.pool_style("frontier") == styles.POOLS["frontier"]
    assert styles.pool_style("mine") == styles.pool_style("mine") in styles.MORE_POOLS
    colors = [*styles.POOLS.values(), *styles.MORE_POOLS]
    assert all(styles.contrast(color, "white") >= 4.5 for color, _ in colors)
    assert styles.ordered(["random", "tfidf", "paper", "ours"]) == [
        *("ours", "paper", "tfidf", "random")
    ]


def decision(plan):
    points = pd.DataFrame({"target": ["a", "b"], "cost": [0.2, 1.0], "accuracy": [0.5, 0.7]})
    curve = pd.DataFrame({"cost": [0.2, 0.6, 1.0], "accuracy": [0.5, 0.68, 0.71]})
    curves = pd.concat([curve.assign(method=name) for name in ("ours", "tfidf", "knn_minilm")])
    return Decision("mine", points, curves, "b", 0.7, "tfidf", plan, None, None)


def test_the_message_of_a_decision():
    assert message(decision((0.6, 0.71))).endswith(
        "costs 40% less than b, at +1.0 points of accuracy"
    )
    intervals = {"saving": (0.4, 0.351, 0.449), "gain": (0.01, -0.004, 0.024)}
    assert message(replace(decision((0.6, 0.71)), **intervals)).endswith(
        "costs 40% [35, 45] less than b, at +1.0 [-0.4, 2.4] points of accuracy"
    )
    assert "all queries stay with b" in message(decision((1.0, 0.7)))
    assert "no plan" in message(decision(None))
    uncertified = replace(decision((0.6, 0.71)), certified=False)
    assert "the plan" not in message(uncertified) and "without a promise" in message(uncertified)


def test_a_decision_names_targets_at_their_points_and_greys_the_rest():
    fig = draw_decision(decision((0.6, 0.71)))
    ax = fig.axes[0]
    words = [text.get_text() for text in ax.texts]
    assert {"a", "b", "40% saved, +1.0 points"} <= set(words)
    grey = [line for line in ax.lines if line.get_label() == "all other methods"]
    assert [line.get_color() for line in grey] == [styles.OTHERS]
    plt.close(fig)


def test_names_are_told_to_keep_off_the_arrow_of_a_decision(monkeypatch):
    boxes = []
    monkeypatch.setattr(
        decision_figure, "name_points", lambda ax, names, lines, taken: boxes.extend(taken)
    )
    fig = draw_decision(decision((0.6, 0.71)))
    ax, renderer = fig.axes[0], fig.canvas.get_renderer()
    [arrow] = [text for text in ax.texts if not text.get_text() and text.arrow_patch]
    [words] = [text for text in ax.texts if text.get_text()]
    assert (arrow.xy[0], arrow.xyann[0]) == (0.6, 1.0)
    ends = Bbox(ax.transData.transform([arrow.xy, arrow.xyann]))
    for extent in (ends, words.get_window_extent(renderer)):
        assert any(
            box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 <= box.y1
            for box in boxes
        )
    plt.close(fig)


def test_names_are_told_to_keep_off_the_whole_zero_router(monkeypatch):
    given = []
    monkeypatch.setattr(
        decision_figure, "name_points", lambda ax, names, lines, taken: given.append(lines)
    )
    plt.close(draw_decision(decision((0.6, 0.71))))
    between = np.array([0.6, 0.6])  # half way from (0.2, 0.5) to (1.0, 0.7), far from any curve
    assert np.abs(given[0] - between).sum(axis=1).min() < 0.01


def test_one_pool_is_not_counted():
    metric = {"pool": "all", "method": "ours", "metric": "saving_over_best_single"}
    saved = pd.DataFrame([metric | {"ci_low": 0.1}])
    assert decision_figures._saving_pools(saved) == "The plan of ours clearly saves"
    assert decision_figures._saving_pools(saved.assign(ci_low=-0.1)).endswith("not clearly save")
    two = pd.concat([saved, saved.assign(pool="more", ci_low=0.0)])
    assert decision_figures._saving_pools(two).endswith("clearly saves on 1 of 2 pools")
    said = draw(RESULTS / "local_encoders", "07_methods").get_suptitle()
    assert said.startswith("Kernel router on prefill (ours) has the highest mean AUC; none closes")
    for name in ("11_headroom", "14_unlike"):
        assert not draw(RESULTS / "local", name).legends
        assert draw(RESULTS / "swebench", name).legends
    plt.close("all")


def test_luck_is_drawn_where_the_reader_knows_more_than_the_prefill(tmp_path):
    for name in ("learning_curve", "informed_reader", "headroom"):
        shutil.copy(RESULTS / "livecodebench" / f"{name}.csv", tmp_path)
    fig = draw(tmp_path, "11_headroom")
    # in the third one the prefill knows more of what sets targets apart
    shown = [ax.get_title() for ax in fig.axes[2:]]
    assert shown == ["Pool frontier", "Pool mixed"] and "is luck" in fig.get_suptitle()
    reader = pd.read_csv(tmp_path / "informed_reader.csv")
    reader.loc[reader["pool"] == "frontier", "value"] = 0.5  # it knows nothing of one pool
    reader.to_csv(tmp_path / "informed_reader.csv", index=False)
    assert len(draw(tmp_path, "11_headroom").axes) == 3
    reader.assign(value=0.5).to_csv(tmp_path / "informed_reader.csv", index=False)
    fig = draw(tmp_path, "11_headroom")
    assert len(fig.axes) == 2 and "luck" not in fig.get_suptitle()
    plt.close("all")


def test_names_of_narrow_zones_keep_apart():
    row = {"pool": "all", "targets": 3, "queries": 100, "best_single_accuracy": 0.7}
    row |= {"oracle_accuracy": 0.95, "all_right": 0.56, "disagree": 0.39, "all_wrong": 0.05}
    points = {"pool": "all", "target": ["a", "b"], "cost": [1.0, 2.0], "accuracy": [0.6, 0.7]}
    fig = draw_pools(pd.DataFrame([row]), pd.DataFrame(points))
    names = {text.get_text(): text.get_window_extent() for text in fig.axes[0].texts}
    right, middle, wrong = (names[n] for n in ("all targets right", "they disagree", "all wrong"))
    assert right.x1 < middle.x0 and middle.x1 < wrong.x0
    plt.close(fig)


def test_names_cover_neither_each_other_nor_leave_the_axes():
    fig, ax = plt.subplots(figsize=(5, 3))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.98, 0.5 + k / 100, f"a long name {k}") for k in range(5)]
    boxes = name_points(ax, points)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x1 <= ax.get_window_extent().x1 + 1 for box in boxes)
    plt.close(fig)


def test_shares_and_points_by_hand(tmp_path):
    plans = pd.DataFrame(
        [("no_loss", 0, "dear", True, 0.1, 0.0), ("no_loss", 1, "dear", False, np.nan, np.nan)],
        columns=["plan", "seed", "best", "routes", "price", "margin"],
    )
    # at a price of 0.1 a query costs 1 or 0.1 in probability: cheap, dear, dear, cheap
    p = {0: np.array([[0.8, 0.9], [0.2, 0.9], [0.1, 0.6], [0.5, 0.5]])}
    p[1], cost = p[0], {seed: np.tile([1.0, 3.0], (4, 1)) for seed in (0, 1)}
    found = published.shares(plans, p, cost, ["cheap", "dear"])
    assert found["share"].tolist() == pytest.approx([(0.5 + 0) / 2, (0.5 + 1) / 2])
    frames = {
        "outcomes": [("a", "x", "q", 1.0), ("a", "x", "r", 0.0), ("a", "y", "q", 1.0)],
        "splits": [(0, "q", "test"), (0, "r", "test")],
        "costs": [(0, "x", "q", 2.0), (0, "x", "r", 9.0)],
    }
    columns = {
        "outcomes": ["pool", "target", "query_id", "correct"],
        "splits": ["seed", "query_id", "part"],
        "costs": ["seed", "target", "query_id", "cost"],
    }
    assert published.target_points(tmp_path) is None
    for name, rows in frames.items():
        pd.DataFrame(rows, columns=columns[name]).to_parquet(tmp_path / f"{name}.parquet")
    points = published.target_points(tmp_path).set_index("target")
    assert points.loc["x", ["cost", "accuracy"]].tolist() == [2.0, 1.0]  # r lacks an answer of y
    assert np.isnan(points.loc["y", "cost"])


def test_redraw_draws_deletes_and_keeps(tmp_path, drawn):
    results, figures = tmp_path / "results", tmp_path / "figures"
    results.mkdir()
    figures.mkdir()
    for name in ("pools", "learning_curve", "unlike_alarms", "unlike_bins"):
        shutil.copy(RESULTS / "local" / f"{name}.csv", results)
    for name in ("02_activations", "18_routes"):
        for kind in ("svg", "png"):
            (figures / f"{name}.{kind}").write_text("old")
    done = redraw_profile(results, figures)
    assert done == {
        "drawn": ["11_headroom", "14_unlike"],
        "kept": ["18_routes"],
        "deleted": ["02_activations"],
    }
    svg = (figures / "14_unlike.svg").read_text(encoding="utf-8")
    assert "Verdana" in svg and len(svg) < 60_000
    assert not (figures / "02_activations.png").exists()
    before = (figures / "14_unlike.svg").read_bytes()
    redraw_profile(results, figures)
    assert (figures / "14_unlike.svg").read_bytes() == before


def test_a_missing_table_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="make reproduce"):
        draw(tmp_path, "14_unlike")
