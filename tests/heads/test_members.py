"""Members trained side by side against plain training, one after the other."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from prefill_router.heads.members import _kept, masked_bce, rows_per_epoch, train_members
from prefill_router.heads.network import SharedTrunkNet, TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrunkConfig(
    hidden=(16, 8),
    dropout=(0.0, 0.0),
    learning_rate=1e-2,
    batch_size=64,
    max_epochs=12,
    patience=4,
    members=4,
    keep=2,
    dtype="float32",
)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5)).astype(np.float32)
    Y = (X[:, :2] + 0.5 * rng.normal(size=(400, 2)) > 0).astype(np.float32)
    Y[rng.random(Y.shape) < 0.1] = np.nan
    return torch.from_numpy(X), torch.from_numpy(Y)


def held_out(seeds):
    """100 validation rows of each member's own."""
    return np.stack([np.random.default_rng(seed).permutation(400) < 100 for seed in seeds])


def split(problem, seed):
    rows = held_out([seed])[0]
    return [table[mask] for mask in (~rows, rows) for table in problem]


def networks(seeds, config=CONFIG):
    made = []
    with torch.random.fork_rng():
        for seed in seeds:
            torch.manual_seed(seed)
            made.append(SharedTrunkNet(5, 2, config.hidden, config.dropout))
    return made


def plain(network, seed, parts, config):
    """The specification's training loop, one network, as PyTorch's users write it."""
    X, Y, X_val, Y_val = parts
    shuffle, best, best_epoch, losses, kept = (
        torch.Generator().manual_seed(seed),
        np.inf,
        0,
        [],
        None,
    )
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for epoch in range(1, config.max_epochs + 1):
        for batch in torch.randperm(len(X), generator=shuffle).split(config.batch_size):
            optimizer.zero_grad()
            masked_bce(network(X[batch]), Y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(masked_bce(network(X_val), Y_val).item())
        if losses[-1] < best - config.min_improvement:
            best, best_epoch, kept = losses[-1], epoch, copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= config.patience:
            break
    network.load_state_dict(kept)
    return losses


@pytest.mark.parametrize("epochs", [12, 60])  # none stops early; all do, each in its own epoch
def test_equals_plain_training_where_nothing_is_dropped(problem, epochs):
    config = TrunkConfig(**{**vars(CONFIG), "max_epochs": epochs, "validation_fraction": 0.25})
    seeds = [3, 1, 4, 15]
    together = networks(seeds)
    found = train_members(together, seeds, *problem, held_out(seeds), config)
    ends = set()
    for network, seed, member in zip(networks(seeds), seeds, found, strict=True):
        losses = plain(network, seed, split(problem, seed), config)
        np.testing.assert_allclose([loss for _, _, loss in member.rows], losses, rtol=1e-3)
        ends.add(len(losses))
    for network, mine, seed in zip(networks(seeds), together, seeds, strict=True):
        plain(network, seed, split(problem, seed), config)
        with torch.no_grad():
            np.testing.assert_allclose(mine(problem[0]), network(problem[0]), atol=0.02)
    assert len(ends) > 1 or epochs == 12  # members have stopped at different times


def test_a_member_does_not_depend_on_those_beside_it(problem):
    config = TrunkConfig(
        **{**vars(CONFIG), "dropout": (0.3, 0.2), "max_epochs": 40, "validation_fraction": 0.25}
    )
    alone, beside = networks([7]), networks([7, 8, 9])
    one = train_members(alone, [7], *problem, held_out([7]), config)[0]
    three = train_members(beside, [7, 8, 9], *problem, held_out([7, 8, 9]), config)
    assert len(one.rows) == len(three[0].rows)
    np.testing.assert_allclose(np.array(one.rows), np.array(three[0].rows), rtol=1e-3)
    assert abs(three[1].loss - three[0].loss) > 1e-4


def test_dropout_keeps_the_wanted_share_scaled_up_and_differs_by_member_and_step():
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    first = _kept(300, 101, 0.3, generators, torch.device("cpu"))
    again = _kept(300, 101, 0.3, generators, torch.device("cpu"))
    assert first.shape == (2, 300, 101) and first.dtype == torch.bool
    # 30,300 draws of 0.7: standard error 0.0026
    np.testing.assert_allclose(first.float().mean(dim=(1, 2)), 0.7, atol=0.011)
    for a, b in ((first[0], first[1]), (first[0], again[0])):
        assert abs((a & b).float().mean().item() - 0.49) < 0.015  # independent
    assert _kept(10, 3, 0.0, generators, torch.device("cpu")).all()


def test_training_with_dropout_has_the_expected_activations():
    """A hidden layer of ones behind dropout has mean 1: what is kept is divided by the share that
    is kept.
    """
    from prefill_router.heads.stack import Stack

    config = TrunkConfig(**{**vars(CONFIG), "hidden": (1000,), "dropout": (0.4,)})
    network = SharedTrunkNet(5, 1, config.hidden, config.dropout)
    with torch.no_grad():
        for layer in (m for m in network.modules() if isinstance(m, nn.Linear)):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
        network.layers[-1].weight.fill_(1 / 1000)
    stack = Stack([network], config, torch.float32)
    generators = [torch.Generator().manual_seed(0)]
    logits = stack.logits(
        torch.zeros(1, 200, 5), [_kept(200, 1000, 0.4, generators, torch.device("cpu"))]
    )
    assert logits.mean().item() == pytest.approx(
        2.0, abs=0.01
    )  # the bias, and the mean of a thousand ones
    assert stack.logits(torch.zeros(1, 200, 5)).mean().item() == pytest.approx(2.0, abs=1e-5)


def test_bfloat16_trains_as_well_as_float32(problem):
    X, Y = (table.numpy() for table in problem)
    ends = {}
    for dtype in ("float32", "bfloat16"):
        config = TrunkConfig(
            **{
                **vars(CONFIG),
                "dropout": (0.1, 0.1),
                "max_epochs": 60,
                "members": 8,
                "keep": 8,
                "dtype": dtype,
            }
        )
        ends[dtype] = (
            TrunkEnsemble(config, seed=0)
            .fit(X, Y)
            .history.groupby("member")["validation_loss"]
            .min()
        )
    # the same seeds: pairs differ by far less than members do
    assert (ends["float32"] - ends["bfloat16"]).abs().max() < 0.5 * ends["float32"].std() + 0.01


def test_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="auto, float32 or bfloat16"):
        TrunkConfig(dtype="int8")


def test_members_take_the_same_number_of_rows_an_epoch_whatever_their_groups_left_over():
    masks = np.zeros((3, 100), bool)
    masks[0, :15] = masks[1, :13] = masks[2, :14] = True  # 85, 87 and 86 rows to train on
    assert rows_per_epoch(masks, TrunkConfig()) == 85
    masks[1, :30] = True  # one group larger than the share
    assert rows_per_epoch(masks, TrunkConfig()) == 70


def test_validation_splits_of_different_size_give_the_losses_of_plain_training(problem):
    config = TrunkConfig(**{**vars(CONFIG), "max_epochs": 5, "validation_fraction": 0.25})
    masks = held_out([3, 4])
    masks[1, np.flatnonzero(masks[1])[60:]] = (
        False  # 60 validation rows beside 100; no more rows to train on an epoch
    )
    together = networks([3, 4])
    found = train_members(together, [3, 4], *problem, masks, config)
    for network, member, rows in zip(together, found, masks, strict=True):
        with torch.no_grad():
            loss = masked_bce(network(problem[0][rows]), problem[1][rows]).item()
        assert loss == pytest.approx(member.loss, rel=1e-4)
