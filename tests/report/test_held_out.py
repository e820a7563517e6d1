"""Both splits side by side: which rows, in which order, and the sentences."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from prefill_router.report import held_out


def metrics(values):
    """`metrics.csv` of one pool; ``values``: (method, metric) -> value."""
    rows = [
        {"pool": "a", "method": method, "encoder": "e", "reads": reads, "operating_point": point}
        | {"target": "", "metric": metric, "value": value, "ci_low": value - 0.1, "n": 9}
        | {"ci_high": value + 0.1, "seeds": 5}
        for (method, reads, point, metric), value in values.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def both():
    keys = [(m, r) for m, r in (("ours", "prefill"), ("knn_minilm", "sentence"), ("random", ""))]

    def table(*auc):
        values = {}
        for (method, reads), value in zip(keys, auc, strict=True):
            values[method, reads, "", "mean_auc"] = value
            values[method, reads, "", "disagreement_auc"] = value - 0.05
            values[method, reads, "argmax", "gap_closed"] = value - 0.5
            values[method, reads, "calibrated", "gap_closed"] = -9.0
        return metrics(values)

    random, families = table(0.9, 0.8, 0.5), table(0.6, 0.7, 0.5)
    alone = metrics({("mlp_minilm", "sentence", "", "mean_auc"): 0.99})
    return {"random": pd.concat([random, alone]), "families": families}


def test_rows_that_both_splits_have(both):
    table = held_out.side_by_side(both)
    assert list(table) == held_out.COLUMNS
    assert set(table["method"]) == {"ours", "knn_minilm", "random"}
    assert len(table) == 2 * 3 * 3 and -9.0 not in set(table["value"])


def test_columns_and_order(both):
    wide = held_out.in_columns(held_out.side_by_side(both))
    assert [method for _, method in wide.index] == ["knn_minilm", "ours", "random"]
    assert wide.loc[("a", "ours"), ("mean_auc", "random")] == 0.9
    assert wide.loc[("a", "ours"), ("gap_closed", "families")] == pytest.approx(0.1)


def test_sentence(both):
    text = held_out.held_out_sentence(held_out.side_by_side(both), both["families"], "a")
    assert "mean AUC 0.900 → 0.600, of differences 0.850 → 0.550, gap closed 40% → 10%" in text
    assert "kNN on MiniLM: mean AUC 0.800 → 0.700" in text


def test_markdown_of_the_readme(both):
    text = held_out.families_table(held_out.side_by_side(both), both["families"])
    head, _, ours, knn = text.splitlines()
    assert head.count("random split") == head.count("families held out") == 3
    assert ours.startswith("| `a` | kernel router on prefill (ours) | 0.900 [0.800, 1.000] | 0.600")
    assert knn.startswith("| `a` | kNN on MiniLM | 0.800") and "20.0% [10.0%, 30.0%]" in knn


def test_figures(both):
    fig = held_out.draw_families(held_out.side_by_side(both))
    assert "falls from 0.90 to 0.60" in fig.get_suptitle()
    last = [ax.get_xlabel() for ax in fig.axes[-3:]]
    assert last == [title for title, _ in held_out.METRICS.values()]
    names = [tick.get_text() for tick in fig.axes[0].get_yticklabels()]
    assert names == ["kernel router on prefill (ours)", "kNN on MiniLM"]
    layers = pd.DataFrame(
        [
            {"pooling": pooling, "layer": layer, "target": "t", "probe_auc": auc}
            for pooling, of in {"last": (0.5, 0.6, 0.65), "mean": (0.5, 0.7, 0.6)}.items()
            for layer, auc in enumerate(of)
        ]
    )
    tables = {"random": layers, "families": layers.assign(probe_auc=layers["probe_auc"] - 0.1)}
    text = held_out.layers_sentence(tables)
    assert (
        "random split: best at layer 1, mean pooling (0.700); last token of the last layer 0.650"
        in text
    )
    plt.close("all")
