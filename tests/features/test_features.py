"""Features: choices on training rows, blocks in order, state without pickle."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefill_router.data.memory import drawn_rows
from prefill_router.features.choice import FeatureChoice, choose_components, choose_layers
from prefill_router.features.layer_mean import LayerMean
from prefill_router.features.pipeline import FeaturePipeline, SharedBlock
from prefill_router.features.queries import LabelledQueries, read_blocks


class Layers:
    """What a pipeline needs of an activation store."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.hidden_size = next(iter(vectors.values())).shape[1]
        self.read_rows = []

    def read(self, layer, pooling, query_ids):
        self.read_rows.append(list(query_ids))
        return self.vectors[pooling, layer][list(query_ids)].astype(np.float32)


@pytest.fixture
def store():
    rng = np.random.default_rng(0)
    # column variances fall, so that components have a clear order
    scale = np.linspace(3, 1, 12)
    mixing = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    return Layers(
        {
            (pooling, layer): (rng.normal(size=(80, 12)) * scale) @ mixing + 5
            for pooling in ("last", "mean")
            for layer in range(3)
        }
    )


CHOICES = [
    FeatureChoice("A", 2, "mean", 4),
    FeatureChoice("B", 1, "last", 3),
    FeatureChoice("C", 2, "mean", 2),
]


def profile(rows):
    columns = ["encoder", "pooling", "layer", "target", "fisher_j", "probe_auc"]
    return pd.DataFrame([("tiny", *row) for row in rows], columns=columns)


def test_choose_layers_takes_the_global_maximum():
    # B has two peaks of J, layers 1 and 3, the later one higher; by AUC its choice differs
    table = profile(
        [
            ("last", 0, "B", 0.1, 0.9),
            ("last", 0, "A", 0.3, 0.5),
            ("last", 1, "B", 0.4, 0.5),
            ("last", 1, "A", np.nan, 0.5),
            ("last", 2, "B", 0.2, 0.5),
            ("last", 2, "A", 0.3, 0.6),
            ("mean", 3, "B", 0.5, 0.5),
            ("mean", 3, "A", 0.2, 0.5),
        ]
    )
    assert choose_layers(table) == {
        "B": (3, "mean"),
        "A": (0, "last"),
    }  # A: a tie of layers 0 and 2
    assert choose_layers(table, by="probe_auc") == {"B": (0, "last"), "A": (2, "last")}
    assert list(choose_layers(table)) == [
        "B",
        "A",
    ]  # the profile's order is the order of the columns of Y


def test_choose_layers_refuses_what_it_cannot_decide():
    table = profile([("last", 0, "A", np.nan, 0.5)])
    with pytest.raises(ValueError, match="target 'A' is undefined"):
        choose_layers(table)
    with pytest.raises(ValueError, match="'d_eff'"):
        choose_layers(table, by="d_eff")
    with pytest.raises(ValueError, match=r"\['other', 'tiny'\]"):
        choose_layers(pd.concat([table, table.assign(encoder="other")]))


def labelled(store, correct, groups=None, targets=None):
    """These rows of a store, with their outcomes, as choices read them."""
    n, k = correct.shape
    names = tuple(targets or "ABCDEF"[:k])
    groups = np.arange(n) if groups is None else np.asarray(groups)
    return LabelledQueries({"tiny": store}, np.arange(n), correct, groups, names)


def test_choose_components_finds_where_the_signal_lies():
    rng = np.random.default_rng(2)
    common, noise = rng.normal(size=(120, 1)), rng.normal(size=(120, 40))
    x = 2 * common + noise  # the leading component is what all columns share
    # A depends on that, so that more components add noise only; B on a difference, which the
    # leading one does
    # not see
    correct = np.column_stack(
        [x.mean(axis=1) + rng.normal(size=120) > 0, x[:, 3] > x[:, 4]]
    ).astype(float)
    correct[3, 0] = np.nan
    choices = choose_components(
        labelled(Layers({("mean", 2): x}), correct),
        {"A": (2, "mean"), "B": (2, "mean")},
        sizes=(40, 1, 100),
        C=1.0,
    )
    assert choices == [FeatureChoice("A", 2, "mean", 1), FeatureChoice("B", 2, "mean", 40)]


def test_choose_components_skips_sizes_above_the_rank_and_says_if_none_is_left(store):
    correct = (store.vectors["last", 1][:, :1] > 5).astype(float)
    layers = {"A": (1, "last")}
    assert choose_components(labelled(store, correct), layers, sizes=(12, 13))[0].n_components == 12
    with pytest.raises(ValueError, match="rank 12"):
        choose_components(labelled(store, correct), layers, sizes=(13, 50))
    with pytest.raises(ValueError, match="chosen for A, the queries have outcomes of A, B"):
        choose_components(labelled(store, np.zeros((80, 2))), layers)
    with pytest.raises(ValueError, match="target 'A' is undefined"):
        choose_components(labelled(store, np.zeros((80, 1))), layers, sizes=(3,))


def test_blocks_are_concatenated_in_order_and_equal_scikit_learn(store):
    train, test = range(60), range(60, 80)
    features = FeaturePipeline(CHOICES).fit(store, train).transform(store, test)
    assert features.shape == (20, 9) and features.dtype == np.float32
    start = 0
    for choice in CHOICES:
        x = store.vectors[choice.pooling, choice.layer]
        reference = make_pipeline(
            StandardScaler(), PCA(choice.n_components, svd_solver="full")
        ).fit(x[:60])
        expected = reference.transform(x[60:])
        block = features[:, start : start + choice.n_components]
        np.testing.assert_allclose(np.abs(block), np.abs(expected), atol=1e-3)
        start += choice.n_components


def test_fit_reads_training_rows_only_and_test_rows_do_not_matter(store):
    pipeline = FeaturePipeline(CHOICES).fit(store, range(60))
    assert all(rows == list(range(60)) for rows in store.read_rows)
    before = pipeline.transform(store, range(60))
    for vectors in store.vectors.values():
        vectors[60:] *= 1000
    np.testing.assert_array_equal(
        FeaturePipeline(CHOICES).fit(store, range(60)).transform(store, range(60)), before
    )


def test_state_survives_safetensors_and_json(store):
    pipeline = FeaturePipeline(CHOICES).fit(store, range(60))
    tensors, meta = pipeline.state()
    again = FeaturePipeline.from_state(load(save(tensors)), json.loads(json.dumps(meta)))
    assert again.choices == tuple(CHOICES)
    np.testing.assert_array_equal(
        again.transform(store, range(80)), pipeline.transform(store, range(80))
    )


def test_state_that_does_not_fit_is_refused(store):
    tensors, meta = FeaturePipeline(CHOICES).fit(store, range(60)).state()
    with pytest.raises(ValueError, match="format 99"):
        FeaturePipeline.from_state(tensors, {**meta, "format": 99})
    del tensors["block1.scale"]
    with pytest.raises(ValueError, match="block1.scale"):
        FeaturePipeline.from_state(tensors, meta)


def test_pipeline_says_what_is_wrong(store):
    with pytest.raises(ValueError, match="not fitted"):
        FeaturePipeline(CHOICES).transform(store, range(3))
    with pytest.raises(ValueError, match="no feature choices"):
        FeaturePipeline([])
    with pytest.warns(UserWarning, match="'A': 12 components, not 50"):
        pipeline = FeaturePipeline([FeatureChoice("A", 0, "last", 50)]).fit(store, range(60))
    other = Layers({("last", 0): np.zeros((3, 5))})
    with pytest.raises(ValueError, match="fitted on width 12, not 5"):
        pipeline.transform(other, range(3))


def test_shared_block_is_scikit_learns_pca_of_all_layers_side_by_side():
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(80, 5)) * [
        8,
        5,
        3,
        2,
        1.2,
    ]  # five directions of clearly different strength
    mixed = {
        ("mean", layer): hidden @ rng.normal(size=(5, 12)) + 0.01 * rng.normal(size=(80, 12)) + 5
        for layer in range(3)
    }
    store, train = Layers(mixed), list(range(60))
    store.n_layers = 2
    # two layers have three states: the embeddings, the first block's output and the last one's,
    # which is not read
    block = SharedBlock(5, "mean").fit(store, train)
    got = block.transform(store, range(80))
    assert block.layers == (0, 1) and SharedBlock.from_state(*block.state()).layers == (0, 1)
    side_by_side = np.hstack([store.vectors["mean", layer] for layer in range(2)])
    plain = (
        make_pipeline(StandardScaler(), PCA(5, svd_solver="full"))
        .fit(side_by_side[train])
        .transform(side_by_side)
    )
    assert got.shape == (80, 5) and got.dtype == np.float32
    signs = np.sign((got * plain).sum(axis=0))
    np.testing.assert_allclose(got * signs, plain, atol=1e-3)
    with pytest.raises(ValueError, match="not fitted"):
        SharedBlock().transform(store, [0])
    tensors, meta = block.state()
    with pytest.raises(
        ValueError, match="format None, this library reads 2: older ones read the last layer too"
    ):
        SharedBlock.from_state(tensors, {"pooling": "mean", "n_components": 5})
    assert meta == {"format": 2, "layers": [0, 1], "pooling": "mean", "n_components": 5}


def test_a_block_of_very_many_rows_is_fitted_on_a_draw_of_them(monkeypatch):
    assert drawn_rows(5, 5).tolist() == [0, 1, 2, 3, 4]
    drawn = drawn_rows(1000, 50)
    assert len(set(drawn)) == 50 and (np.diff(drawn) > 0).all() and drawn.max() < 1000
    asked = []

    class Store:
        n_layers, hidden_size = 2, 4

        def read(self, layer, pooling, query_ids):
            asked.append(len(query_ids))
            rng = np.random.default_rng(layer)
            return rng.normal(size=(1000, 4)).astype("f4")[[int(q) for q in query_ids]]

    monkeypatch.setattr(
        "prefill_router.features.pipeline.drawn_rows", lambda n: drawn_rows(n, most=50)
    )
    ids = np.arange(1000).astype(str)
    block = SharedBlock(n_components=3).fit(Store(), ids)
    assert set(asked) == {50} and block.transform(Store(), ids).shape == (1000, 3)


def test_very_many_rows_are_read_in_blocks_and_give_what_all_at_once_give(store, monkeypatch):
    def features():
        pipeline = FeaturePipeline(CHOICES).fit(store, range(60))
        mean = LayerMean([1, 2], 3).fit(store, range(60))
        shared = SharedBlock(3, layers=(0, 1)).fit(store, range(60))
        store.read_rows.clear()
        return [of.transform(store, range(80)) for of in (pipeline, mean, shared)]

    at_once = features()
    assert set(map(len, store.read_rows)) == {80}
    monkeypatch.setattr("prefill_router.features.queries.EXACT_ROWS", 50)
    monkeypatch.setattr("prefill_router.features.queries.BLOCK_ROWS", 32)
    in_blocks = features()
    assert set(map(len, store.read_rows)) == {32, 16}
    for found, expected in zip(in_blocks, at_once, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rows_are_read_in_the_order_of_the_store(monkeypatch):
    class Store:
        def reading_order(self, query_ids):
            return np.argsort([(7 * q) % 5 for q in query_ids], kind="stable")

    ids = np.arange(5)
    assert [at.tolist() for at in read_blocks(Store(), ids)] == [[0, 1, 2, 3, 4]]
    monkeypatch.setattr("prefill_router.features.queries.EXACT_ROWS", 4)
    monkeypatch.setattr("prefill_router.features.queries.BLOCK_ROWS", 3)
    assert [at.tolist() for at in read_blocks(Store(), ids)] == [[0, 3, 1], [4, 2]]
    assert [at.tolist() for at in read_blocks(object(), ids)] == [[0, 1, 2], [3, 4]]
