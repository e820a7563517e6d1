"""SharedTrunkNet and its ensemble: the specified shape, masked loss by hand, early stopping,
determinism.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from prefill_router.data.splits import validation_rows
from prefill_router.heads.members import masked_bce
from prefill_router.heads.network import SharedTrunkNet, TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TrunkConfig(
    hidden=(16, 8),
    dropout=(0.1, 0.1),
    learning_rate=1e-2,
    batch_size=64,
    max_epochs=20,
    patience=4,
    members=3,
    keep=2,
    dtype="float32",
)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    Y = (X[:, :2] + 0.5 * rng.normal(size=(400, 2)) > 0).astype(float)
    return X, Y


@pytest.fixture(scope="module")
def fitted(problem):
    return TrunkEnsemble(SMALL, seed=1).fit(*problem)


def test_network_has_the_specified_shape():
    net = SharedTrunkNet(d_in=10, n_targets=3)
    kinds = [
        (type(layer).__name__, getattr(layer, "out_features", getattr(layer, "p", None)))
        for layer in net.layers
    ]
    assert kinds == [
        ("Linear", 256),
        ("ReLU", None),
        ("Dropout", 0.3),
        ("Linear", 128),
        ("ReLU", None),
        ("Dropout", 0.2),
        ("Linear", 3),
    ]
    # 10 x 256 + 256, 256 x 128 + 128, 128 x 3 + 3 = 2,816 + 32,896 + 387
    assert sum(weight.numel() for weight in net.parameters()) == 36_099
    assert net(torch.zeros(7, 10)).shape == (7, 3)


def test_default_configuration_is_the_specification():
    assert TrunkConfig() == TrunkConfig(
        hidden=(256, 128),
        dropout=(0.3, 0.2),
        learning_rate=1e-3,
        weight_decay=1e-4,
        batch_size=512,
        max_epochs=150,
        patience=15,
        min_improvement=1e-4,
        validation_fraction=0.15,
        members=10,
        keep=5,
    )


@pytest.mark.parametrize(
    "values, message",
    [
        ({"hidden": (8,)}, "1 hidden layers but 2 dropout"),
        ({"keep": 11}, "keep=11"),
        ({"keep": 0}, "keep=0"),
        ({"validation_fraction": 1.0}, "between 0 and 1"),
        ({"max_epochs": 0}, "at least 1"),
    ],
)
def test_impossible_configuration_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrunkConfig(**values)


def test_masked_loss_by_hand():
    # Known entries: logit 0, label 1: -log 0.5 = 0.693147; logit log 3 (P = 0.75), label 0: -log
    # 0.25 =
    # 1.386294; mean of the two 1.039721. The NaN entry counts neither as a loss nor in the divisor.
    loss = masked_bce(
        torch.tensor([[0.0, 5.0], [float(np.log(3)), 0.0]]),
        torch.tensor([[1.0, float("nan")], [0.0, float("nan")]]),
    )
    assert loss.item() == pytest.approx(1.039721, abs=1e-5)


def test_missing_labels_give_no_gradient():
    logits = torch.zeros(2, 2, requires_grad=True)
    masked_bce(logits, torch.tensor([[1.0, float("nan")], [0.0, 1.0]])).backward()
    # d/dlogit of the mean of three losses: (0.5 - y) / 3
    np.testing.assert_allclose(logits.grad, [[-0.5 / 3, 0], [0.5 / 3, -0.5 / 3]], atol=1e-6)


def test_learns(fitted, problem):
    rng = np.random.default_rng(9)
    X = rng.normal(size=(300, 5))
    Y = X[:, :2] > 0
    p = fitted.predict_proba(X)
    assert p.shape == (300, 2) and p.dtype == np.float64 and (p > 0).all() and (p < 1).all()
    assert min(roc_auc_score(Y[:, k], p[:, k]) for k in range(2)) > 0.93


def test_ensemble_is_the_mean_of_the_members_with_the_lowest_validation_loss(fitted, problem):
    best = fitted.history.groupby("member")["validation_loss"].min()
    assert fitted.members_kept == list(best.sort_values().index[:2])
    members = fitted.member_proba(problem[0])
    assert members.shape == (3, 400, 2)
    np.testing.assert_allclose(
        fitted.predict_proba(problem[0]), members[fitted.members_kept].mean(axis=0)
    )
    assert np.abs(members[0] - members[1]).max() > 1e-3


def test_kept_weights_are_those_of_the_best_epoch(problem):
    X, Y = problem
    config = TrunkConfig(**{**vars(SMALL), "members": 1, "keep": 1, "max_epochs": 60})
    ensemble = TrunkEnsemble(config, seed=3).fit(X, Y)
    rows = ensemble.history
    held_out = ensemble.held_out[0]
    p = ensemble.predict_proba(X[held_out])
    loss = -np.where(Y[held_out] == 1, np.log(p), np.log(1 - p)).mean()
    # improvements below 1e-4 do not count, so the kept epoch may lie that far above the minimum
    assert rows["validation_loss"].min() - 1e-6 <= loss <= rows["validation_loss"].min() + 1.1e-4
    assert rows["validation_loss"].iloc[-1] > loss


def test_stops_after_patience_epochs_without_improvement(problem):
    X, _ = problem
    Y = (
        np.random.default_rng(5).integers(0, 2, (400, 1)).astype(float)
    )  # noise: the validation loss soon rises
    config = TrunkConfig(**{**vars(SMALL), "max_epochs": 500, "patience": 5})
    history = TrunkEnsemble(config, seed=0).fit(X, Y).history
    for _, rows in history.groupby("member"):
        assert list(rows["epoch"]) == list(range(1, len(rows) + 1)) and len(rows) < 500
        best, best_epoch = np.inf, 0
        for epoch, loss in zip(rows["epoch"], rows["validation_loss"], strict=True):
            if loss < best - 1e-4:
                best, best_epoch = loss, epoch
        assert len(rows) - best_epoch == 5


def test_same_seed_same_numbers_and_the_callers_random_state_is_left_alone(problem, fitted):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    again = TrunkEnsemble(SMALL, seed=1).fit(*problem)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(again.predict_proba(problem[0]), fitted.predict_proba(problem[0]))
    other = TrunkEnsemble(SMALL, seed=2).fit(*problem)
    assert np.abs(other.predict_proba(problem[0]) - fitted.predict_proba(problem[0])).max() > 1e-3


def test_missing_outcomes_are_not_counted_as_wrong(problem):
    X, _ = problem
    Y = np.full((400, 2), np.nan)
    Y[::4] = 1.0  # every known outcome is right; three quarters are missing
    p = TrunkEnsemble(SMALL, seed=0).fit(X, Y).predict_proba(X)
    assert p.mean() > 0.9


def test_every_member_draws_its_own_validation_rows_and_every_row_trains_some_member(problem):
    groups = np.arange(400) // 4
    held_out = TrunkEnsemble(SMALL, seed=0).fit(*problem, groups=groups).held_out
    assert held_out.shape == (3, 400) and (held_out.sum(axis=1) == 60).all()
    assert not held_out.all(axis=0).any() and len({rows.tobytes() for rows in held_out}) == 3
    for rows in held_out:  # groups are kept whole
        assert (rows.reshape(100, 4).sum(axis=1) % 4 == 0).all()


def test_a_rare_target_keeps_an_outcome_to_train_on_in_every_member(problem):
    X, Y = problem[0], problem[1].copy()
    Y[5:, 1] = np.nan
    ensemble = TrunkEnsemble(SMALL, seed=0).fit(X, Y, groups=[0] * 5 + list(range(5, 400)))
    assert not ensemble.held_out[:, 0].any()
    Y[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"columns \[1\] of Y have no outcome to train on"):
        TrunkEnsemble(SMALL, seed=0).fit(X, Y)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=4, max_size=80), st.integers(0, 10))
def test_validation_split_takes_whole_groups(groups, seed):
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="one group"):
            validation_rows(groups, 0.15, seed)
        return
    held_out = validation_rows(groups, 0.15, seed)
    groups = np.array(groups)
    assert 0 < held_out.sum() < len(groups)
    assert not set(groups[held_out]) & set(groups[~held_out])
    # at most the wanted share, unless even the smallest group is larger
    assert held_out.sum() <= max(
        1, round(0.15 * len(groups)), np.unique(groups, return_counts=True)[1].min()
    )


def test_validation_split_has_the_wanted_size():
    assert validation_rows(200, 0.15, 0).sum() == 30
    assert (validation_rows(200, 0.15, 0) != validation_rows(200, 0.15, 1)).any()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X, Y: (X[:-1], Y), "same number of rows"),
        (lambda X, Y: (np.where(np.arange(400)[:, None] == 7, np.nan, X), Y), "first in row 7"),
        (lambda X, Y: (X, Y * 2), "0 to 1 and NaN"),
        (lambda X, Y: (X, np.column_stack([Y[:, 0], np.full(400, np.nan)])), r"columns \[1\]"),
    ],
)
def test_bad_tables_are_refused(problem, change, message):
    with pytest.raises(ValueError, match=message):
        TrunkEnsemble(SMALL).fit(*change(*problem))


def test_predicting_before_fitting_is_refused():
    with pytest.raises(NotFittedError):
        TrunkEnsemble(SMALL).predict_proba(np.zeros((1, 5)))


def test_diverging_loss_is_said(problem):
    X, Y = problem
    with pytest.raises(RuntimeError, match="not finite in epoch"):
        TrunkEnsemble(TrunkConfig(**{**vars(SMALL), "learning_rate": 1e30}), seed=0).fit(
            X * 1e30, Y
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_too_and_leaves_its_random_state_alone(problem):
    X, Y = problem
    state = torch.cuda.get_rng_state()
    p = TrunkEnsemble(SMALL, seed=1, device="cuda").fit(X, Y).predict_proba(X)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert roc_auc_score(Y[:, 0], p[:, 0]) > 0.9
