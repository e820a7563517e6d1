"""The layer ensemble on a small store with a planted layer."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from prefill_router.layer_ensemble import LayerEnsemble
from prefill_router.metrics import mean_auc


class Store:
    """Layers in memory, read as an ActivationStore is."""

    def __init__(self, layers):
        self.layers, self.n_layers = layers, len(layers) - 1

    def read(self, layer, pooling, query_ids):
        return (self.layers[layer] * (1 if pooling == "mean" else 2))[np.asarray(query_ids)]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    n = 400
    skill = rng.normal(size=(n, 2))
    Y = (skill + 0.5 * rng.normal(size=(n, 2)) > 0).astype(float)
    noise = [rng.normal(size=(n, 8)) for _ in range(5)]
    good = [x.copy() for x in noise]
    for x in good[1:]:
        x[:, :2] += 2 * skill
    return {"good": Store(good), "noise": Store(noise)}, Y


def test_it_reads_the_signal_and_leaves_the_noisy_encoder_out(problem):
    stores, Y = problem
    train, test = np.arange(300), np.arange(300, 400)
    router = LayerEnsemble(n_components=8).fit(stores, train, Y[:300], train)
    assert router.encoders_used == ("good",)
    assert set(router.cv_auc) == {("good",), ("noise",), ("good", "noise")}
    p = router.predict_proba(stores, test)
    assert p.shape == (100, 2) and mean_auc(p, Y[test]) > 0.85
    votes = router.encoder_logits(stores, test)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-votes["good"])))
    assert 0.35 < mean_auc(votes["noise"], Y[test]) < 0.65


def test_same_numbers_twice_and_missing_outcomes_are_masked(problem):
    stores, Y = problem
    train = np.arange(300)
    gaps = Y[:300].copy()
    gaps[::7, 0] = np.nan
    a, b = (LayerEnsemble(n_components=8).fit(stores, train, gaps, train).predict_proba(stores, train) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    full = LayerEnsemble(n_components=8).fit(stores, train, Y[:300], train).predict_proba(stores, train)
    np.testing.assert_allclose(a[:, 0], full[:, 0], atol=0.15)
    assert not np.array_equal(a[:, 0], full[:, 0])


def test_clear_errors(problem):
    stores, Y = problem
    with pytest.raises(NotFittedError):
        LayerEnsemble().predict_proba(stores, [0])
    with pytest.raises(ValueError, match="no activations"):
        LayerEnsemble().fit({}, [0], Y[:1], [0])
    router = LayerEnsemble(n_components=8).fit(stores, np.arange(300), Y[:300], np.arange(300))
    with pytest.raises(ValueError, match="good"):
        router.encoder_logits({"noise": stores["noise"]}, [0])
