"""The adapter trunk: features and network by hand, training, and what comes back from its files."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from prefill_router.features.layer_mean import LAYERS, LayerMean, choose_layer_mean
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.adapter import AdapterEnsemble, AdapterTrunkNet
from prefill_router.heads.network import TrunkConfig

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrunkConfig(
    hidden=(8, 6), dropout=(0.0, 0.0), members=3, keep=2, max_epochs=60, learning_rate=1e-2
)
IDS = [f"q{i}" for i in range(120)]


class Store:
    """States that are there already: [layer, n, H], the last token's."""

    def __init__(self, layers=6, width=7):
        self.states = (
            np.random.default_rng(0).normal(size=(layers, len(IDS), width))
            * np.arange(1, layers + 1)[:, None, None]
            + 5
        )

    def read(self, layer, pooling, query_ids):
        assert pooling == "last"
        return self.states[layer][[IDS.index(q) for q in query_ids]]


def test_features_are_scikit_learns_steps():
    store = Store()
    block = LayerMean([1, 4], 3).fit(store, IDS[:80])
    scaled = np.mean(
        [
            StandardScaler().fit(store.states[layer][:80]).transform(store.states[layer])
            for layer in (1, 4)
        ],
        axis=0,
    )
    scaler = StandardScaler().fit(scaled[:80])
    pca = PCA(3).fit(scaler.transform(scaled[:80]))
    expected = scaler.transform(scaled) @ pca.components_.T
    found = block.transform(store, IDS)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)
    again = LayerMean.from_state(*block.state())
    np.testing.assert_array_equal(again.transform(store, IDS), found)
    assert block.state()[1] == {"layers": [1, 4], "n_components": 3}


def test_what_is_asked_too_early_or_of_nothing():
    with pytest.raises(NotFittedError, match="call fit"):
        LayerMean([1], 2).transform(Store(), IDS)
    with pytest.raises(ValueError, match="name at least one"):
        LayerMean([], 2)


def test_the_network_by_hand():
    network = AdapterTrunkNet(2, 2, (2, 1))
    with torch.no_grad():
        for adapter, weight in zip(
            network.adapters, ([[1, 0], [0, 1]], [[-1, 0], [0, 2]]), strict=True
        ):
            adapter.weight.copy_(torch.tensor(weight, dtype=torch.float32))
            adapter.bias.copy_(torch.tensor([0.0, 1.0]))
        network.trunk[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        network.trunk[0].bias.fill_(-1.0)
        for head, weight in zip(network.heads, (2.0, -3.0), strict=True):
            head.weight.fill_(weight)
            head.bias.fill_(0.5)
    # x = (3, 1): target 0: adapter (3, 2), trunk 4, head 8.5; target 1: adapter (-3 -> 0, 3), trunk
    # 2, head -5.5
    np.testing.assert_allclose(network(torch.tensor([[3.0, 1.0]])).detach(), [[8.5, -5.5]])
    assert list(network.state_dict()) == [
        *(f"adapters.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")),
        "trunk.0.weight",
        "trunk.0.bias",
        *(f"heads.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")),
    ]


def labels(x):
    y = np.column_stack([x[:, 0] > 0, x[:, 1] * x[:, 0] > 0, x[:, 2] > 0.3]).astype(float)
    y[:9, 1] = np.nan
    return y


def test_it_learns_and_comes_back_from_its_state():
    x = np.random.default_rng(1).normal(size=(600, 5)).astype(np.float32)
    y = labels(x)
    ensemble = AdapterEnsemble(CONFIG, seed=3).fit(x[:400], y[:400])
    p = ensemble.predict_proba(x[400:])
    assert (
        min(roc_auc_score(y[400:, k], p[:, k]) for k in range(3)) > 0.9
    )  # the second is no linear function
    assert ensemble.n_targets == 3 and len(ensemble.members_kept) == 2
    tensors, meta = ensemble.state()
    assert meta == {"d_in": 5, "n_targets": 3, "hidden": [8, 6], "members": 2}
    np.testing.assert_array_equal(
        AdapterEnsemble.from_state(tensors, meta).predict_proba(x[400:]), p
    )
    np.testing.assert_array_equal(
        AdapterEnsemble(CONFIG, seed=3).fit(x[:400], y[:400]).predict_proba(x[400:]), p
    )
    assert not np.array_equal(
        AdapterEnsemble(CONFIG, seed=4).fit(x[:400], y[:400]).predict_proba(x[400:]), p
    )


def test_a_member_ends_with_its_best_epoch():
    x = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    y = (np.random.default_rng(2).random((200, 2)) < 0.5).astype(
        float
    )  # noise: the validation loss turns up soon
    ensemble = AdapterEnsemble(
        TrunkConfig(
            hidden=(8, 6),
            dropout=(0.0, 0.0),
            members=2,
            keep=2,
            max_epochs=80,
            patience=5,
            learning_rate=3e-2,
        ),
        seed=0,
    ).fit(x, y)
    epochs = ensemble.history.groupby("member")["epoch"].max()
    assert (epochs < 80).all()
    best = ensemble.history.groupby("member")["validation_loss"].min()
    for member, (p, rows) in enumerate(
        zip(ensemble.member_proba(x), ensemble.held_out, strict=True)
    ):
        assert -np.mean(np.where(y == 1, np.log(p), np.log(1 - p))[rows]) == pytest.approx(
            best[member], abs=1e-5
        )


def test_layers_by_probe_auc_and_components_by_cross_validation():
    store = Store()
    y = (store.states[2][:, :1] > 5).astype(float)  # the third layer knows
    queries = LabelledQueries({"e": store}, np.asarray(IDS), y, np.asarray(IDS), ("t",))
    table = pd.DataFrame(
        [
            {
                "pooling": pooling,
                "layer": layer,
                "target": "t",
                "probe_auc": 0.5 + 0.01 * (layer if pooling == "last" else 9 - layer),
            }
            for pooling in ("last", "mean")
            for layer in range(6)
        ]
    )
    block = choose_layer_mean(queries, table, [2, 6, 50], folds=3)
    assert block.layers == tuple(range(6 - LAYERS, 6)) and block.n_components in (2, 6)
    with pytest.raises(ValueError, match="offer smaller sizes"):
        choose_layer_mean(queries, table, [50])
    with pytest.raises(ValueError, match="no rows of the last token"):
        choose_layer_mean(queries, table[table["pooling"] == "mean"], [2])
