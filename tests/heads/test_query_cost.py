"""Costs read from states: that they are learnt, that means are right, what is refused."""

import numpy as np
import pytest

from prefill_router.heads.query_cost import QueryCost


def made(n=500):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    logs = np.column_stack([1.0 + x[:, 0], 3.0 - x[:, 1]]) + 0.3 * rng.normal(size=(n, 2))
    return x, np.exp(logs)


def test_what_the_states_tell_is_learnt_and_the_mean_is_right():
    x, cost = made()
    gaps = cost.copy()
    gaps[:40, 0] = np.nan
    model = QueryCost().fit(x[:400], gaps[:400])
    found = model.predict(x[400:])
    error = np.abs(np.log(found / cost[400:])).mean()
    constant = np.abs(np.log(np.median(cost[:400], axis=0) / cost[400:])).mean()
    assert error < 0.6 * constant
    np.testing.assert_allclose(found.mean(axis=0), cost[400:].mean(axis=0), rtol=0.15)
    assert (model.factors_ > 1).all()  # exp of a mean logarithm is below the mean


def test_any_unit_gives_the_same():
    x, cost = made(200)
    dollars, cents = (QueryCost().fit(x, cost * unit).predict(x) for unit in (1.0, 100.0))
    np.testing.assert_allclose(100 * dollars, cents, rtol=1e-6)


def test_a_target_that_costs_nothing_is_refused():
    x, cost = made(50)
    cost[:, 1] = 0
    with pytest.raises(ValueError, match=r"columns \[1\]"):
        QueryCost().fit(x, cost)


def test_answers_that_cost_nothing_count_in_the_mean():
    x, cost = made(300)
    cost[::2, 0] = 0.0  # half of the first target's answers
    cost[:40, 1] = np.nan
    model = QueryCost().fit(x, cost)
    known = np.where(np.isnan(cost[model.rows_]), np.nan, model.held_out_)
    np.testing.assert_allclose(np.nanmean(known, axis=0), np.nanmean(cost[model.rows_], axis=0))
    # without a 0 nothing but the missing ones is left out
    cost[::2, 0] = np.nan
    assert model.factors_[0] < 0.6 * QueryCost().fit(x, cost).factors_[0]
