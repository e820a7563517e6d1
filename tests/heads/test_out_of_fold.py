"""Out-of-fold P(correct): who trained on what, and that noise stays noise."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.splits import Split
from prefill_router.features.choice import FeatureChoice
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.fit import FitSettings, fit_method
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.out_of_fold import (
    FOLDS,
    by_refits,
    cross_fits_over_seeds,
    out_of_fold,
    text_routers,
)

CONFIG = TrunkConfig(members=2, keep=1, max_epochs=30, hidden=(16, 8), learning_rate=1e-2)
SETTINGS = FitSettings(network=CONFIG, component_sizes=(4,), layer_components=4)
N, D = 150, 12


class Memory:
    """States in memory, one layer."""

    n_layers, hidden_size = 1, D

    def __init__(self, ids, x):
        self.row = {q: i for i, q in enumerate(ids)}
        self.x = x

    def read(self, layer, pooling, query_ids):
        return self.x[[self.row[q] for q in query_ids]]


@pytest.fixture(scope="module")
def noise():
    """Labels that no state tells, in groups of three rows with equal labels and equal states."""
    rng = np.random.default_rng(0)
    ids = np.array([f"q{i}" for i in range(N)])
    x = np.repeat(rng.normal(size=(N // 3, D)), 3, axis=0).astype(np.float32)
    correct = np.repeat(rng.integers(0, 2, size=(N // 3, 2)), 3, axis=0).astype(float)
    groups = np.repeat([f"g{i}" for i in range(N // 3)], 3)
    return LabelledQueries({"tiny": Memory(ids, x)}, ids, correct, groups, ("a", "b"))


def test_each_fold_is_predicted_by_the_others():
    groups, asked = np.repeat(np.arange(10), 3), []

    def predict(train, rows):
        assert not set(groups[train]) & set(groups[rows])
        assert len(train) + len(rows) == 30
        asked.append(rows)
        return np.column_stack([rows, -rows])

    p = by_refits(predict, groups, seed=1)
    assert p[:, 0].tolist() == list(range(30)) and len(asked) == FOLDS


@pytest.mark.parametrize("method", ["ours", "shared_block"])
def test_noise_is_learnt_by_heart_and_not_out_of_fold(noise, method):
    fitted = fit_method(method, noise, SETTINGS)
    rows, p = out_of_fold(fitted, noise, SETTINGS)
    assert rows.tolist() == list(range(N)) and p.shape == (N, 2)
    held_out = roc_auc_score(noise.correct, p)
    assert 0.25 < held_out < 0.75  # 50 groups
    if method == "ours":
        wiggly = KernelRouter(ridges=(1e-6,)).fit(noise.store.x, noise.correct, noise.groups)
        # values, not P: on noise the map from held-out values may fall
        by_heart = wiggly.predict_values(noise.store.x)
        assert roc_auc_score(noise.correct, by_heart) > 0.99
        assert 0.25 < roc_auc_score(noise.correct, wiggly.cv_proba) < 0.75
        one = wiggly.of_targets([1])
        np.testing.assert_array_equal(one.cv_proba, wiggly.cv_proba[:, [1]])


def test_every_method_on_every_split(noise, monkeypatch):
    prompts = [f"text number {i % 7} of {i // 3}" for i in range(N)]
    queries = pd.DataFrame(
        {
            "query_id": noise.query_ids,
            "benchmark": "b",
            "category": np.where(np.arange(N) % 2, "odd", "even"),
            "prompt": prompts,
            "group": noise.groups,
        }
    )
    nan = np.full((N, 2), np.nan)
    targets = (Target("a", 1.0, 1.0), Target("b", 2.0, 2.0))
    outcomes = Outcomes(queries, targets, noise.correct, nan, nan, nan, "USD", "noise")
    split = Split(np.arange(0, 90), np.arange(90, 120), np.arange(120, N))
    only_b = noise.of_targets(["b"])
    choices = {("pool", 0): [FeatureChoice("b", 1, "mean", 4)]}
    texts = text_routers(prompts, {"some/minilm": noise.store.x}, {"some/minilm": "minilm"})
    found = cross_fits_over_seeds(
        {0: split}, noise, {"pool": only_b}, choices, texts, outcomes, SETTINGS
    )
    assert [key[1] for key in found] == [
        "paper",
        "kernel_minilm",
        "tfidf",
        "predicted_category_minilm",
        "ours",
    ]
    for fit in found.values():
        assert fit.p.shape == (N, 1) and fit.held_out.shape == (120, 1)
        assert fit.rows.tolist() == list(range(120))
        assert np.isfinite(fit.p).all() and np.isfinite(fit.held_out).all()
