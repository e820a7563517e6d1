"""Names and styles of methods, and figures of pools in which not every target has a price."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from prefill_router.data.own.fonts import without_glyph
from prefill_router.heads.names import OnEncoder
from prefill_router.report.curve_plots import plot_target_points
from prefill_router.report.encoder_figures import draw_encoders, encoder_sentence, plans_sentence
from prefill_router.report.plots import plot_matrix
from prefill_router.report.styles import TEXT, label, style, use_style

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
        (OnEncoder("ours", "smollm2-135m-instruct"), "ours on smollm2-135m-instruct"),
        (OnEncoder("paper", "x"), "SharedTrunkNet on prefill on x"),
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


def test_a_colour_says_what_a_method_reads_and_the_line_which_embedding():
    assert style("knn_minilm")[0] == style("irt_mpnet")[0] == style("tfidf")[0] == TEXT
    assert style("knn_minilm")[1] != style("knn_mpnet")[1] == style("irt_mpnet")[1]
    # an encoder without a name of its own: whatever stands in its name
    assert label("knn_some_encoder-v1") == "kNN on some_encoder-v1"
    assert style("knn_some_encoder-v1") == (TEXT, ":")
    assert style(OnEncoder("ours", "a"))[0] == style("ours")[0] != style("paper")[0] != TEXT
    assert style("random_minilm") == style("unheard of") == style("neither")


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


def test_blank_cells(ax):
    plot_matrix(pd.DataFrame([[np.nan, 0.7], [0.7, np.nan]]), "AUC", fmt=".2f", center=0.5, ax=ax)
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["0.70", "0.70"]


def test_names_are_drawn_as_they_are(ax):
    names = ["small $0.15_$0.60", "a|b_$^$", "x$y"]
    with matplotlib.rc_context():
        use_style()
        fig, axes = plt.subplots(1, 2)
        plot_target_points(points(1.0, 2.0, 3.0).assign(target=names), "USD", axes[0])
        axes[0].legend()
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


def test_one_encoder_is_compared_with_none():
    encoders = pd.DataFrame({"encoder": ["a"], "parameters_M": [135.0], "test_auc": [0.749]})
    assert encoder_sentence(encoders, pd.DataFrame(index=["a"])) == (
        "a, the only encoder (135 M parameters), has a mean AUC over all targets of 0.749."
    )


def test_encoders_are_drawn_by_size_with_what_their_plans_save():
    sizes = pd.DataFrame({"encoder": ["s", "l"], "parameters_M": [100.0, 1000.0]})
    ends = {"value": [0.6, 0.8], "ci_low": [0.5, 0.7], "ci_high": [0.7, 0.9], "pool": "mixed"}
    auc = pd.DataFrame({"encoder": ["s", "l"], "metric": "mean_auc"} | ends)
    matrix = pd.DataFrame({"target": ["x", "x"], "encoder": ["s", "l"], "auc": [0.6, 0.8]})
    saving = {"metric": "saving_over_best_single", "operating_point": "no_loss"}
    plans = pd.DataFrame({"encoder": ["s", "l"]} | saving | ends)
    assert len(draw_encoders(auc, matrix, sizes).axes) == 2
    figure = draw_encoders(auc, matrix, sizes, plans)
    left, middle, _ = figure.axes
    for ax, heights in ((left, [0.6, 0.8]), (middle, [60, 80])):
        line = ax.lines[0]
        assert list(line.get_xdata()) == [100, 1000]
        assert list(line.get_ydata()) == pytest.approx(heights)
    assert left.get_legend() is None  # one pool
    more = pd.concat([auc, auc.assign(pool="small")])
    legend = draw_encoders(more, matrix, sizes).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["pool mixed", "pool small"]
    plt.close("all")


def test_the_saving_by_size_is_said_with_its_interval():
    sizes = pd.DataFrame({"encoder": ["s", "l"]})
    gains = pd.DataFrame(
        {"pool": ["a"], "encoder": ["l"], "reference": ["s"], "operating_point": ["no_loss"]}
        | {"metric": ["saving_over_best_single"], "diff": [0.05], "ci_low": [-0.01]}
        | {"ci_high": [0.11]}
    )
    assert plans_sentence(gains, sizes).endswith("cost: a +5.0 [-1.0, 11.0].")
    assert plans_sentence(gains[:0], sizes).startswith("No pool can be planned")
