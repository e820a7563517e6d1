"""Names and styles of methods, and figures of pools in which not every target has a price."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from prefill_router.data.own.fonts import without_glyph
from prefill_router.report.curve_plots import legend_outside, plot_curves, plot_target_points
from prefill_router.report.encoder_figures import encoder_sentence
from prefill_router.report.layer_figures import draw_activations
from prefill_router.report.plots import (
    plot_growth,
    plot_intervals,
    plot_matrix,
    plot_reliability,
    plot_strip,
)
from prefill_router.report.styles import label, style, use_style

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def points(*cost):
    return pd.DataFrame(
        {
            "target": [f"t{k}" for k in range(len(cost))],
            "cost": cost,
            "accuracy": np.linspace(0.4, 0.8, len(cost)),
        }
    )


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("ours", "kernel router on prefill (ours)"),
        ("ours@smollm2-135m-instruct", "ours on smollm2-135m-instruct"),
        ("paper@x", "SharedTrunkNet on prefill on x"),
        ("knn_minilm", "kNN on MiniLM"),
        ("irt_mpnet", "IRT on MPNet"),
        ("factorisation_mpnet", "matrix factorisation on MPNet"),
        ("kernel_minilm", "kernel router on MiniLM"),
        ("benchmark_mean", "category mean"),
        ("shuffled_labels", "shuffled labels"),
        ("random_features", "random features"),
        ("something_else", "something_else"),
    ],
)
def test_names(method, name):
    assert label(method) == name


def test_semantic_baselines_have_the_colour_of_their_head_and_the_line_of_their_embedding():
    assert style("knn_minilm")[0] == style("knn_mpnet")[0] != style("irt_mpnet")[0]
    assert style("knn_minilm")[1] != style("knn_mpnet")[1] == style("irt_mpnet")[1]
    # an encoder without a name of its own: whatever stands in its name
    assert (
        label("knn_some_encoder-v1") == "kNN on some_encoder-v1"
        and label("random_features") == "random features"
    )
    assert style("knn_some_encoder-v1") == (style("knn_minilm")[0], ":") and style(
        "random_minilm"
    ) == style("unheard of")
    assert style("ours") != style("paper") != style("unheard of") == style("neither")


def test_targets_without_a_cost_are_not_drawn(ax):
    plot_target_points(points(1.0, np.nan, 2.0), "TFLOP", ax)
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == [1.0, 2.0]
    plot_target_points(points(np.nan, np.nan), "TFLOP", ax)


def test_letters_stand_for_targets_by_falling_accuracy_and_do_not_cover_each_other(ax):
    crowded = points(*[1e-5] * 6)
    crowded["accuracy"] = 0.7 + 1e-4 * np.arange(6)
    plot_target_points(crowded, "USD", ax)
    assert ax.get_xlabel() == "mean cost of 1,000 queries (USD)"
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], 0.01)
    handles, labels = ax.get_legend_handles_labels()
    named = {
        handle.get_marker().strip("$"): name for handle, name in zip(handles, labels, strict=True)
    }
    assert named == dict(zip("ABCDEF", ["t5", "t4", "t3", "t2", "t1", "t0"], strict=True))
    assert [text.get_text() for text in ax.texts] == list("ABCDEF")
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_point_outside_earlier_limits_has_its_letter_beside_it(ax):
    ax.plot([5.0, 6.0], [0.9, 1.0])
    plot_target_points(points(1.0, 2.0), "TFLOP", ax)
    assert [text.get_position() for text in ax.texts] == [(6, -3), (6, -3)]


def test_the_legend_of_the_curves_covers_none_of_them(ax):
    curves = pd.DataFrame(
        {
            "method": "ours",
            "cost": [1.0, 2.0],
            "accuracy": [0.4, 0.6],
            "ci_low": [0.3, 0.5],
            "ci_high": [0.5, 0.7],
        }
    )
    plot_curves(
        curves, points(1.0, 2.0), points(1.0, 2.0), (1.5, 0.9), "TFLOP", ["ours"], ["ours"], ax
    )
    ax.figure.canvas.draw()
    assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())


def test_the_best_single_target_of_a_curve_has_a_price(ax):
    curves = pd.DataFrame(
        {
            "method": "ours",
            "cost": [1.0, 2.0],
            "accuracy": [0.4, 0.6],
            "ci_low": [0.3, 0.5],
            "ci_high": [0.5, 0.7],
        }
    )
    priced = points(1.0, 2.0, np.nan)
    plot_curves(curves, priced, priced.dropna(), (1.5, 0.9), "USD", ["ours"], ["ours"], ax)
    line = next(line for line in ax.lines if line.get_label() == "best single target")
    assert list(line.get_ydata()) == pytest.approx([0.6, 0.6])


def test_empty_intervals_and_blank_cells(ax):
    plot_intervals(
        pd.DataFrame(columns=["method", "value", "ci_low", "ci_high"]), "P-AUCCC", None, ax
    )
    plot_matrix(pd.DataFrame([[np.nan, 0.7], [0.7, np.nan]]), "AUC", fmt=".2f", center=0.5, ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == [
        "defined for no method",
        "0.70",
        "0.70",
    ]


def test_growth_has_a_line_per_pool_and_plain_sizes_under_a_log_axis(ax):
    table = pd.DataFrame(
        {
            "pool": ["a", "a", "b", "b"],
            "n": [250, 1000, 250, 1000],
            "value": [0.7, 0.8, 0.6, 0.9],
            "ci_low": [0.6, 0.7, 0.5, 0.8],
            "ci_high": [0.8, 0.9, 0.7, 1.0],
        }
    )
    plot_growth(table, "n", ax)
    legend_outside(ax, "pool")
    assert [t.get_text() for t in ax.get_xticklabels()] == [
        "250",
        "1,000",
    ] and ax.get_xscale() == "log"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "a",
        "b",
    ] and ax.get_legend().get_title().get_text() == "pool"
    for container, pool in zip(ax.containers, "ab", strict=True):
        line = container.lines[0]
        np.testing.assert_allclose(
            np.asarray(line.get_ydata(), float), table[table["pool"] == pool]["value"]
        )
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), [250, 1000], rtol=0.03)


def test_names_are_drawn_as_they_are(ax):
    names = ["small $0.15_$0.60", "a|b_$^$", "x$y"]
    with matplotlib.rc_context():
        use_style()
        fig, axes = plt.subplots(1, 2)
        plot_target_points(points(1.0, 2.0, 3.0).assign(target=names), "USD", axes[0])
        legend_outside(axes[0])
        plot_matrix(pd.DataFrame(np.eye(3), names, names), "win $rate$", ax=axes[1])
        fig.canvas.draw()  # text that is taken for mathematics fails here
        texts = [
            *axes[0].get_legend().get_texts(),
            *axes[1].get_xticklabels(),
            *axes[1].get_yticklabels(),
        ]
        assert not any(text.get_parse_math() for text in texts) and {
            text.get_text() for text in texts
        } == set(names)
        plt.close(fig)


def test_letters_are_drawn_alike_whether_texts_are_mathematics_or_not():
    shapes = []
    for mathematics in (False, True):
        with matplotlib.rc_context():
            use_style()
            plt.rcParams["text.parse_math"] = mathematics
            _, own = plt.subplots()
            plot_target_points(points(1.0, 2.0), "USD", own)
            own.legend()
            own.figure.canvas.draw()
            shapes.append(
                [line._marker.get_path().vertices for line in own.get_legend().get_lines()]
            )
            plt.close(own.figure)
    for plain, styled in zip(*shapes, strict=True):
        np.testing.assert_array_equal(plain, styled)


def test_signs_without_a_glyph_are_named():
    assert (
        without_glyph("gpt-4o \u00fc $") == ""
        and without_glyph("a\U000e0fff\U000e0fff") == "\U000e0fff"
    )


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_empty_cells_are_drawn_as_nothing(tmp_path):
    nan = np.nan
    blank, none = pd.DataFrame([[nan, 0.5], [nan, nan]]), pd.DataFrame([[nan, nan], [nan, nan]])
    values = pd.DataFrame(
        {
            "pool": "a",
            "n": [100, 200],
            "method": ["x", "y"],
            "value": [nan, 1.0],
            "ci_low": [nan, 0.5],
            "ci_high": [nan, 2.0],
        }
    )
    free = pd.DataFrame({"target": ["a", "b"], "cost": [0.0, 0.0], "accuracy": [0.5, 0.6]})
    fig, axes = plt.subplots(2, 4, figsize=(12, 6))
    assert [t.get_text() for t in plot_matrix(blank, "some", ax=axes[0, 0]).texts] == ["50%"]
    assert not plot_matrix(none, "none", fmt=".2f", center=0.5, ax=axes[0, 1]).texts
    plot_intervals(values, "value", ax=axes[0, 2])
    assert [
        t.get_text() for t in plot_intervals(values.iloc[:0], "no row", ax=axes[0, 3]).texts
    ] == ["defined for no method"]
    plot_growth(values, "n", axes[1, 0])
    plot_reliability({"a": pd.DataFrame({"p_mean": [], "accuracy": []})}, axes[1, 1])
    plot_strip(
        pd.DataFrame({"target": ["a", "b"], "value": [0.5, nan]}),
        pd.DataFrame({"target": ["a", "b"], "value": [0.5, nan]}),
        "AUC",
        axes[1, 2],
    )
    plot_target_points(free, "USD", axes[1, 3])  # all at no cost
    fig.savefig(tmp_path / "x.png")
    plt.close(fig)


def test_one_encoder_is_compared_with_none():
    encoders = pd.DataFrame({"encoder": ["a"], "parameters_M": [135.0], "test_auc": [0.749]})
    assert encoder_sentence(encoders, pd.DataFrame(index=["a"])) == (
        "a, the only encoder (135 M parameters), has a mean AUC over all targets of 0.749."
    )


def test_ticks_of_a_logarithmic_axis_are_plain_numbers():
    """The style draws texts as they are, and matplotlib's powers of ten are mathematics."""
    norms = pd.DataFrame({"layer": [0, 1, 2], "norm": [1.0, 10.0, 200.0], "pooling": "last"})
    with plt.rc_context():
        use_style()
        fig = draw_activations(np.array([5, 6, 9]), ["a", "a", "b"], norms)
        fig.canvas.draw()
    shown = [text.get_text() for text in fig.axes[1].get_yticklabels(which="both")]
    assert {"1", "10", "100"} <= set(shown) and not [text for text in shown if "$" in text]
    plt.close(fig)


def test_the_legend_of_a_strip_is_off_its_dots(ax):
    members = pd.DataFrame(
        {"target": ["a"] * 3 + ["b"] * 3, "value": [0.9, 0.8, 0.7, 0.5, 0.6, 0.7]}
    )
    plot_strip(members, pd.DataFrame({"target": ["a", "b"], "value": [0.85, 0.65]}), "AUC", ax)
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.y0 >= ax.get_window_extent().y1


def test_letters_of_near_points_stay_apart_beside_a_legend(ax):
    """The legend narrows the axes after the letters were placed."""
    near = pd.DataFrame(
        {"target": ["p", "q", "r"], "cost": [0.02, 0.09, 3.0], "accuracy": [0.24, 0.23, 0.4]}
    )
    curve = pd.DataFrame(
        {"method": ["ours"], "cost": [0.1], "accuracy": [0.8], "ci_low": [0.7], "ci_high": [0.9]}
    )
    plot_curves(curve, near, near, (0.1, 0.8), "USD", ["ours"], ax=ax)
    ax.figure.set_layout_engine("constrained")
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
