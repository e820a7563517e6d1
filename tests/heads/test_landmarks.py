"""Kernel regression on landmarks: against the exact one, scikit-learn's Nystroem, and its bounds in
size and memory.
"""

import threading
import time

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_approximation import Nystroem

from prefill_router.data import memory
from prefill_router.data.splits import Split
from prefill_router.evaluate.auc import mean_auc
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads import stored_states
from prefill_router.heads.gram import Block
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.kernel_regression import Bounds
from prefill_router.heads.landmarks import Features
from prefill_router.heads.names import OnEncoder
from prefill_router.heads.over_seeds import kernels_over_seeds
from prefill_router.heads.projected import Projected, principal_directions
from prefill_router.heads.query_cost import QueryCost
from prefill_router.heads.stored_states import StoredStates


class Store:
    """States of two layers in memory, in shards of three rows that lie in another order."""

    n_layers, hidden_size = 1, 4

    def __init__(self, n=400, seed=0):
        self.x = np.random.default_rng(seed).normal(size=(n, 2, self.hidden_size)).astype("f4")
        self.ids = np.array([f"q{i}" for i in range(n)])
        self.most = 0

    def read(self, layer, pooling, query_ids):
        self.most = max(self.most, len(query_ids))
        rows = [int(q[1:]) for q in query_ids]
        return self.x[rows, ["last", "mean"].index(pooling)]

    def reading_order(self, query_ids):
        return np.argsort([(7 * int(q[1:])) % 11 for q in query_ids], kind="stable")


def outcomes(x, seed=1):
    logits = 2 * x[:, :1] + np.array([1.5, -1.5, 0.0]) * x[:, 1:2]
    return (logits + np.random.default_rng(seed).logistic(size=logits.shape) > 0).astype(float)


@pytest.fixture(scope="module")
def problem():
    store = Store()
    x = store.x.reshape(len(store.x), -1)
    return store, x, outcomes(x), np.arange(len(x)) // 2


def test_as_many_landmarks_as_rows_are_the_exact_regression(problem):
    _, x, Y, groups = problem
    exact = KernelRouter().fit(x[:300], Y[:300], groups[:300])
    bounded = KernelRouter(bounds=Bounds(10, 300, 8)).fit(x[:300], Y[:300], groups[:300])
    np.testing.assert_array_equal(bounded.ridges_used, exact.ridges_used)
    np.testing.assert_array_equal(bounded.cv_rows_used, exact.cv_rows_used)
    np.testing.assert_allclose(bounded.cv_proba, exact.cv_proba, atol=3e-3)
    p, of_exact = (r.predict_with_familiarity(x[300:]) for r in (bounded, exact))
    np.testing.assert_allclose(p[0], of_exact[0], atol=3e-3)
    np.testing.assert_allclose(p[1], of_exact[1], atol=0.02)


def test_features_are_those_of_sklearns_nystroem(problem):
    _, x, _, _ = problem
    sample = x[:60]
    z = (x - sample.mean(axis=0)) / sample.std(axis=0)
    theirs = Nystroem(gamma=1 / x.shape[1], n_components=60, random_state=0).fit(z[:60])
    block = Projected.of(sample, 8)
    ours = Features.of({"": block}, [sample], 1.0)
    ours = ours.kernel({"": x}, np.arange(len(x))) @ ours.whitening
    np.testing.assert_allclose(
        ours @ ours.T, theirs.transform(z) @ theirs.transform(z).T, atol=5e-3
    )


def test_half_of_the_rows_as_landmarks_cost_little(problem):
    _, x, Y, groups = problem
    exact, bounded = (
        KernelRouter(bounds=bounds).fit(x[:300], Y[:300], groups[:300])
        for bounds in (Bounds(), Bounds(10, 150, 8))
    )
    auc = [mean_auc(router.predict_proba(x[300:]), Y[300:]) for router in (exact, bounded)]
    assert auc[0] > 0.75 and auc[1] > auc[0] - 0.02
    assert bounded.r2_[0] > 0.2 and abs(bounded.cv_error["",] / exact.cv_error["",] - 1) < 0.03


def test_directions_keep_the_distances_of_states():
    """Along three columns' mixtures; what is left of them counts by its length."""
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 40))
    x = (mixed + 0.01 * rng.normal(size=mixed.shape)).astype("f4")
    projected = Projected.of(x[:80], 6)
    assert projected.points.shape == (80, 6) and projected.points.dtype == np.float16
    whole = Block.of(x[:80]).kernel(x, 1.0)
    np.testing.assert_allclose(projected.kernel(x, 1.0), whole, atol=2e-3)
    # by hand: lengths in all columns, the inner product along the directions
    z = (x - projected.mean) / projected.scale
    along = z[:80] @ projected.directions.T.astype("f4") @ projected.directions.astype("f4")
    squared = (z**2).sum(axis=1)[:, None] + (z[:80] ** 2).sum(axis=1) - 2 * z @ along.T
    np.testing.assert_allclose(projected.kernel(x, 1.0), np.exp(-squared / 40), atol=1e-3)


def test_all_directions_are_the_exact_kernel():
    rng = np.random.default_rng(4)
    for n, columns in ((30, 90), (90, 30)):  # more columns than rows, and the other way round
        x = rng.normal(size=(n + 20, columns)).astype("f4")
        projected = Projected.of(x[:n], 1000)
        assert len(projected.directions) == min(n - 1, columns)  # standardised rows sum to zero
        exact = Block.of(x[:n]).kernel(x, 1.0)
        np.testing.assert_allclose(projected.kernel(x, 1.0), exact, atol=2e-3)


def test_as_few_directions_as_hold_the_share_of_the_spread():
    """Spreads of 9, 4 and 1 along three axes, of which they are the principal directions."""
    axes = np.array([[3.0, 0, 0], [0, 0, 2.0], [0, 1.0, 0]], "f4")
    rows = np.vstack([axes, -axes])
    for most, share, found in ((3, 1.0, 3), (3, 13 / 14, 2), (3, 0.9, 2), (3, 0.5, 1), (1, 1.0, 1)):
        directions = principal_directions(rows, most, share)
        np.testing.assert_allclose(np.abs(directions), np.eye(3)[[0, 2, 1]][:found], atol=1e-6)


def test_a_file_of_an_earlier_version_gives_what_it_gave(problem):
    """Then lengths were those along the directions."""
    _, x, Y, _ = problem
    arrays, meta = KernelRouter(bounds=Bounds(10, 100, 5)).fit({"enc": x}, Y).state()
    assert len(arrays.pop("encoder0.lengths")) == 100
    older = KernelRouter.from_state(arrays, meta)
    z = (x - arrays["encoder0.mean"]) / arrays["encoder0.scale"]
    along = z @ arrays["encoder0.directions"].T.astype("f4")
    apart = ((along[:, None] - arrays["encoder0.points"].astype("f4")) ** 2).sum(axis=2)
    values = arrays["offset"] + np.exp(-apart / x.shape[1]) @ arrays["dual"]
    found = older.predict_values({"enc": x})
    np.testing.assert_allclose(found, older._values(values), atol=1e-4)


def test_states_in_a_store_are_read_in_blocks_and_give_what_memory_gives(problem, monkeypatch):
    store, x, Y, groups = problem
    monkeypatch.setattr(stored_states, "BLOCK", 64)
    stored = StoredStates(store, store.ids)
    assert stored.shape == (400, 8) and stored[np.array([3, 1])].tolist() == x[[3, 1]].tolist()
    bounds, store.most = Bounds(10, 100, 8), 0
    router = KernelRouter(cv_rows=60, bounds=bounds).fit(stored, Y, groups)
    assert store.most == 100  # the landmarks, never all
    of_memory = KernelRouter(cv_rows=60, bounds=bounds).fit(x, Y, groups)
    store.most = 0
    p = router.predict_proba(stored)
    np.testing.assert_allclose(p, of_memory.predict_proba(x), atol=1e-4)
    assert store.most == 64
    np.testing.assert_allclose(
        KernelRouter().fit(stored, Y, groups).predict_proba(x),
        KernelRouter().fit(x, Y, groups).predict_proba(x),
        atol=1e-6,
    )


def test_a_loaded_router_gives_the_same_p_and_holds_landmarks_alone(problem):
    _, x, Y, groups = problem
    router = KernelRouter(bounds=Bounds(10, 100, 5)).fit({"enc": x}, Y, groups)
    arrays, meta = router.state()
    assert arrays["encoder0.points"].shape == (100, 5) and "encoder0.states" not in arrays
    again = KernelRouter.from_state(arrays, meta)
    for a, b in zip(
        *(r.predict_with_familiarity({"enc": x}) for r in (router, again)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_router_of_usual_width_has_at_most_50_megabytes():
    """Sizes of SmolLM2-135M: 11 layers, both poolings, 576 numbers; 11 targets."""
    columns, targets = 22 * 576, 11
    for rows in (1000, 2000, memory.EXACT_ROWS):
        r = memory.directions_within(memory.ROUTER_BYTES, rows, columns, targets)
        # directions and points; mean and scale; lengths and nearness; dual
        whole = 2 * r * (columns + rows) + 8 * columns + 8 * rows + 8 * rows * targets
        one_more = whole + 2 * (columns + rows)
        assert whole <= memory.ROUTER_BYTES < one_more and memory.ROUTER_BYTES < 50e6
    block = 2 * memory.DIRECTIONS * (columns + memory.LANDMARKS)
    assert block + 8 * columns + 8 * memory.LANDMARKS * (targets + 1) + 4 * 4000 < 50e6


def test_what_is_shipped_of_an_exact_router_is_projected():
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(300, 10)) @ rng.normal(size=(10, 60))).astype("f4")
    x += 0.1 * rng.normal(size=x.shape).astype("f4")
    Y = outcomes(x)
    router = KernelRouter().fit(x[:200], Y[:200])
    p, states = router.predict_proba(x), 4 * 200 * 60
    assert router.compact() is router and router.compact(states) is router  # there is room for all
    sizes, changes = [], []
    for most in (states - 1, 24_000, 16_000):
        compact = router.compact(most)
        arrays = compact.state()[0]
        assert sum(array.nbytes for array in arrays.values()) < most + 200  # offset, vectors, map
        assert arrays["encoder0.points"].shape == (200, len(arrays["encoder0.directions"]))
        sizes.append(len(arrays["encoder0.directions"]))
        changes.append(np.abs(compact.predict_proba(x) - p).mean())
        assert compact.compact(most) is compact
    # the first has room for more directions than hold all of the spread but LEFT_OUT
    assert 60 >= sizes[0] > sizes[1] > sizes[2] > 10
    assert changes[0] < 1e-3 and changes[0] < changes[1] < changes[2] < 0.03
    assert isinstance(router._blocks[""], Block)


def test_two_encoders_share_the_room_of_a_shipped_router(problem):
    _, x, Y, groups = problem
    noise = np.random.default_rng(6).normal(size=(400, 40)).astype("f4")
    X = {"a": x, "b": noise + x[:, :1]}
    router = KernelRouter().fit(X, Y, groups)
    assert router.encoders_used == ("a", "b")
    compact = router.compact(76_000)
    arrays = compact.state()[0]
    assert sum(array.nbytes for array in arrays.values()) < 76_000
    assert len(arrays["encoder0.directions"]) == 8 and 20 < len(arrays["encoder1.directions"]) < 40
    assert np.abs(compact.predict_proba(X) - router.predict_proba(X)).mean() < 0.03


def test_of_two_encoders_landmarks_leave_the_noisy_one_out(problem):
    _, x, Y, groups = problem
    X = {"good": x, "noise": np.random.default_rng(3).normal(size=(400, 30)).astype("f4")}
    router = KernelRouter(bounds=Bounds(10, 150, 8)).fit(X, Y, groups)
    assert router.encoders_used == ("good",) and len(router.cv_error) == 3
    assert list(router._blocks) == ["good"]


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(3)))
def test_the_order_of_targets_does_not_matter_with_landmarks(problem, order):
    _, x, Y, _ = problem
    p, q = (
        KernelRouter(ridges=(1.0, 30.0), bounds=Bounds(10, 40, 8)).fit(x[:120], y).predict_proba(x)
        for y in (Y[:120], Y[:120][:, order])
    )
    np.testing.assert_allclose(p[:, order], q, atol=1e-5)


def test_costs_are_read_from_states_in_a_store(problem):
    store, x, _, groups = problem
    cost = np.exp(x[:, :2] + 0.1 * x[:, 2:4])
    model = QueryCost()
    model._regression.bounds = Bounds(10, 200, 8)
    found = model.fit(StoredStates(store, store.ids), cost, groups).predict(x)
    assert np.corrcoef(np.log(found[:, 0]), np.log(cost[:, 0]))[0, 1] > 0.9


def test_an_evaluation_of_many_rows_leaves_the_states_in_the_store(problem, monkeypatch):
    store, _, Y, groups = problem
    queries = LabelledQueries({"enc": store}, store.ids, Y, groups, ("a", "b", "c"))
    splits = {0: Split(np.arange(240), np.arange(240, 300), np.arange(300, 400))}
    exact = kernels_over_seeds(splits, queries, "enc").p
    monkeypatch.setattr(stored_states, "EXACT_ROWS", 300)
    found = kernels_over_seeds(splits, queries, "enc").p
    for method in ("ours", "shuffled_labels"):
        np.testing.assert_allclose(found[method][0], exact[method][0], atol=1e-4)


def test_ours_is_kept_on_several_encoders_and_on_each_alone(problem):
    store, _, Y, groups = problem
    queries = LabelledQueries({"a": store, "b": store}, store.ids, Y, groups, ("a", "b", "c"))
    splits = {0: Split(np.arange(120), np.arange(120, 150), np.arange(150, 200))}
    fits = kernels_over_seeds(splits, queries, "a")
    alone = {OnEncoder("ours", name): [name] for name in ("a", "b")}
    assert fits.reads == {"ours": ["a", "b"], **alone, "shuffled_labels": ["a"]}
    assert set(fits.p) == set(fits.reads) and all(0 in p for p in fits.p.values())


def test_states_that_are_not_finite_are_named(problem):
    _, x, Y, _ = problem
    broken = x.copy()
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="not finite, first in row"):
        KernelRouter(bounds=Bounds(10, 100, 8)).fit(broken, Y)
    with pytest.raises(ValueError, match=r"rows, Y 400"):
        KernelRouter(bounds=Bounds(10, 100, 8)).fit(x[:300], Y)


def test_too_little_memory_is_told_before_the_work(problem, monkeypatch):
    _, x, Y, _ = problem
    with pytest.raises(
        MemoryError, match=r"kernel of 400 rows needs about 0.0 GB.*0.0 GB are free"
    ):
        monkeypatch.setattr(
            memory.psutil, "virtual_memory", lambda: type("M", (), {"available": 1e6})
        )
        KernelRouter().fit(x, Y)
    with pytest.raises(MemoryError, match="400 rows on 100 landmarks"):
        KernelRouter(bounds=Bounds(10, 100, 8)).fit(x, Y)


def test_the_estimate_of_memory_covers_what_a_fit_takes():
    n, columns = 2000, 1500
    x = np.random.default_rng(0).normal(size=(n, columns)).astype("f4")
    Y, peak, done = outcomes(x), [0], threading.Event()

    def watch():
        while not done.wait(0.01):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    before = psutil.Process().memory_info().rss
    watcher.start()
    time.sleep(0.02)
    try:
        KernelRouter(ridges=(1.0,), bounds=Bounds(10, 300, 64)).fit(x, Y)
    finally:
        done.set()
        watcher.join()
    assert peak[0] - before < memory.memory_of_bounded(n, columns, 3, 300)
    # at a hundred thousand and a million labels of 11 targets, 4 GB are enough
    for rows in (100_000, 1_000_000):
        assert memory.MEMORY_BASE + memory.memory_of_bounded(rows, 22 * 576, 11) < 4e9
