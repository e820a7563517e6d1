"""Layers by J and by probe AUC, by hand."""

import pandas as pd
import pytest

from prefill_router.features.layer_choice import choices_of_targets, mean_over_seeds


def table(seed, auc):
    rows = [
        ("e", "mean", layer, "t", j, 2.0, 0.1, auc[layer], seed)
        for layer, j in enumerate([9.0, 1.0, 3.0, 2.0])
    ]
    names = ["encoder", "pooling", "layer", "target", "fisher_j", "d_eff", "anisotropy"]
    return pd.DataFrame(rows, columns=[*names, "probe_auc", "seed"])


def test_means_and_choices():
    layers = mean_over_seeds(
        pd.concat([table(0, [0.5, 0.6, 0.7, 0.9]), table(1, [0.5, 0.6, 0.9, 0.9])])
    )
    assert layers["probe_auc"].tolist() == pytest.approx([0.5, 0.6, 0.8, 0.9])
    (row,) = choices_of_targets(layers).to_dict("records")
    assert (row["layer_by_j"], row["layer_by_auc"]) == (0, 3)
    assert (row["auc_at_j"], row["auc_at_auc"]) == pytest.approx((0.5, 0.9))
    # without the embeddings: J ranks 1, 3, 2 and AUC 1, 2, 3
    assert row["rank_correlation_mean"] == pytest.approx(0.5)
