"""Familiarity: by hand, and that it raises as many false alarms as it says."""

import numpy as np
import pytest

from prefill_router.heads.familiarity import familiarity, nearness_in_training
from prefill_router.heads.kernel import KernelRouter


def test_by_hand():
    kernel = np.array([[1, 0.9, 0.2], [0.9, 1, 0.4], [0.2, 0.4, 1]], np.float32)
    # rows 0 and 1 are of one group: each is compared with row 2 alone
    in_training = nearness_in_training(kernel, ["a", "a", "b"])
    np.testing.assert_allclose(in_training, [0.2, 0.4, 0.4])
    found = familiarity(np.array([0.1, 0.2, 0.3, 0.9]), in_training)
    np.testing.assert_allclose(found, [1 / 4, 2 / 4, 2 / 4, 1.0])
    assert np.isnan(familiarity(np.array([0.5]), nearness_in_training(kernel, ["a"] * 3))).all()


def test_false_alarms_and_what_is_caught():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 20)).astype(np.float32)
    y = (rng.random((900, 2)) < 0.5).astype(float)
    router = KernelRouter(ridges=(1.0,)).fit(x[:500], y[:500])
    p, like = router.predict_with_familiarity(x[500:])
    np.testing.assert_array_equal(p, router.predict_proba(x[500:]))
    for share in (0.05, 0.2):
        assert (like < share).mean() == pytest.approx(share, abs=4 * (share / 400) ** 0.5)
    _, unlike = router.predict_with_familiarity(3 * x[500:])
    assert (unlike < 0.05).mean() > 0.99


def test_a_copy_is_most_familiar_and_files_keep_it():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 5)).astype(np.float32), rng.integers(0, 2, (60, 2)).astype(float)
    router = KernelRouter(ridges=(1.0,)).fit({"enc": x}, y)
    asked = {"enc": np.vstack([x[:3], 9 + x[:3]])}
    _, found = router.predict_with_familiarity(asked)
    assert (found[:3] == 1.0).all() and (found[3:] == 1 / 61).all()
    again = KernelRouter.from_state(*router.state())
    np.testing.assert_allclose(again.predict_with_familiarity(asked)[1], found)
    arrays, meta = router.state()
    del arrays["nearness"]  # a file of an earlier version
    older = KernelRouter.from_state(arrays, meta)
    assert np.isnan(older.predict_with_familiarity(asked)[1]).all()
