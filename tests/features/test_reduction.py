"""PCA of every training fold from shared moments, against the plain fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.features.reduction import ScaledPCA, fold_reductions


def agree(fast: ScaledPCA, plain: ScaledPCA) -> None:
    np.testing.assert_allclose(fast.mean, plain.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fast.scale, plain.scale, rtol=1e-7)
    np.testing.assert_allclose(fast.variance, plain.variance, rtol=1e-7)
    np.testing.assert_allclose(fast.components, plain.components, atol=1e-6)


@pytest.mark.parametrize("rows", [80, 12])  # more rows than columns, and fewer
def test_fold_reductions_equal_the_plain_fit(rows):
    rng = np.random.default_rng(0)
    # columns of very different size, far from the origin, one of them constant
    x = rng.normal(size=(rows, 15)) @ np.diag(2.0 ** np.arange(15)) + 1000.0
    x[:, 3] = 7.0
    fold = np.arange(rows) % 4
    found = list(fold_reductions(x, fold, 5))
    assert len(found) == 4
    for f, fast in enumerate(found):
        agree(fast, ScaledPCA.fit(x[fold != f], 5))


def test_rows_in_blocks_give_the_plain_fit():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(90, 12)) @ np.diag(2.0 ** np.arange(12)) + 1e4
    x[:, 3] = 0.1  # constant, and no sum of it is exact
    plain = ScaledPCA.fit(x, 5)
    agree(ScaledPCA.fit_blocks(iter([x[:7], x[7:50], x[50:]]), 5), plain)
    whole = ScaledPCA.fit_blocks([x], 5)
    np.testing.assert_array_equal(whole.components, plain.components)
    np.testing.assert_array_equal(whole.mean, plain.mean)


def test_a_column_that_is_constant_in_one_training_fold_only_becomes_zero_there():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4))
    fold = np.arange(60) % 3
    x[fold != 2, 1] = 5.0  # varies only within fold 2
    for f, fast in enumerate(fold_reductions(x, fold, 4)):
        agree(fast, ScaledPCA.fit(x[fold != f], 4))
    assert np.abs(fast.components[:, 1]).max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), offset=st.floats(-1e4, 1e4))
def test_projections_do_not_depend_on_the_origin(seed, offset):
    rng = np.random.default_rng(seed)
    x, fold = rng.normal(size=(40, 6)), np.arange(40) % 4
    for here, there in zip(
        fold_reductions(x, fold, 3), fold_reductions(x + offset, fold, 3), strict=True
    ):
        np.testing.assert_allclose(here.variance, there.variance, rtol=1e-5)
