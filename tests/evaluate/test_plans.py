"""Plans: the bound by hand and against scipy, the walk, and whether promises are kept."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from prefill_router.evaluate.certify import FEW_DIFFER, group_sums, lower_bounds
from prefill_router.evaluate.plans import (
    BUDGET,
    EPSILONS,
    NO_LOSS,
    ONE_POINT,
    at_budget,
    most_accurate_margin,
    plans,
)
from prefill_router.evaluate.promises import promise_kept
from prefill_router.evaluate.walk import Evidence, certified, walk


def evidence(n=2000, seed=0, skill=1.0, best=0.7, cheap=0.6, cost=(1.0, 4.0)):
    """Two targets; P knows the truth with some skill, 0 being the rates alone."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(size=(n, 2))
    rates = np.array([cheap, best])
    truth = stats.norm.cdf(stats.norm.ppf(rates) * np.sqrt(2) + easy)
    correct = (rng.random((n, 2)) < truth).astype(float)
    p = skill * truth + (1 - skill) * rates
    return Evidence(p, np.tile(cost, (n, 1)), correct, np.arange(n), np.zeros(n))


def test_the_bound_is_that_of_a_t_test_where_every_row_stands_alone():
    d = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=200, p=[0.1, 0.7, 0.2])
    found = lower_bounds(d[:, None], np.ones(200), 0.05)[0, 0]
    expected = stats.ttest_1samp(d, 0).confidence_interval(0.90).low
    assert found == pytest.approx(expected)


def test_groups_are_the_unit_by_hand():
    # three groups of sizes 1, 2, 3 with sums 1, 0, 2: mean 3 / 6 = 0.5
    # residuals S - mean N: 0.5, -1, 0.5; variance = 3 / 2 * 1.5 / 36 = 0.0625
    d, group = np.array([1.0, 1.0, -1.0, 1.0, 1.0, 0.0]), np.array([0, 1, 1, 2, 2, 2])
    sums = group_sums(d[:, None], group, 3)
    assert sums[:, 0].tolist() == [1, 0, 2]
    many = np.vstack([sums] * 20)  # so many that the t bound is trusted: 60 groups
    n = 60
    found = lower_bounds(many, np.tile([1.0, 2.0, 3.0], 20), 0.05)[0, 0]
    spread = np.sqrt(n / (n - 1) * 20 * 1.5) / (20 * 6)
    # Kish: (20 x (1 + 2 + 3))^2 / (20 x (1 + 4 + 9)) = 14400 / 280 groups of one size
    assert found == pytest.approx(0.5 - stats.t.ppf(0.95, 14400 / 280 - 1) * spread)


def test_groups_of_one_size_have_one_degree_of_freedom_less_than_groups():
    d = np.random.default_rng(3).choice([-3.0, 0.0, 3.0], size=(70, 1), p=[0.2, 0.3, 0.5])
    drawn = np.random.default_rng(4).multinomial(70, np.full(70, 1 / 70)).astype(float)
    for weights in (np.ones(70), drawn):
        found = lower_bounds(d, np.full(70, 3.0), 0.05, weights[None])[0, 0]
        mean = weights @ d[:, 0] / 210
        squares = weights @ (d[:, 0] - 3 * mean) ** 2
        spread = np.sqrt(squares * 70 / 69) / 210
        assert found == pytest.approx(mean - stats.t.ppf(0.95, 69) * spread, rel=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_the_bound_holds_where_one_group_has_much_of_all(share):
    """240 queries of their own, and one group whose answers correlate by 0.3; the truth is 0.05.

    With one degree of freedom less than groups the last two were above it in 8 % and 16 %.
    """
    large = int(240 * share / (1 - share))
    sizes, rng, above = np.append(np.ones(240), large), np.random.default_rng(0), 0
    group = np.repeat(np.arange(241), sizes.astype(int))
    for _ in range(600):
        shared = rng.random(len(group)) < np.sqrt(0.3)
        u = np.where(shared, rng.random(241)[group], rng.random(len(group)))
        d = (u < 0.15).astype(float) - (u > 0.9)
        sums = np.bincount(group, d)[:, None]
        above += lower_bounds(sums, sizes, 0.05)[0, 0] > 0.05
    assert stats.binomtest(above, 600).proportion_ci().low <= 0.05


def test_one_group_that_holds_nearly_all_proves_nothing():
    sums, sizes = np.append(np.tile([1.0, 0.0], 20), 9e5)[:, None], np.append(np.ones(40), 1e6)
    assert lower_bounds(sums, sizes, 0.05)[0, 0] < -1e9
    assert lower_bounds(0 * sums, sizes, 0.05)[0, 0] <= 0  # a variance of 0 gives a number, too


def test_a_group_that_is_drawn_twice_counts_twice():
    rng = np.random.default_rng(1)
    sums, sizes = rng.normal(size=(80, 3)), rng.integers(1, 4, 80).astype(float)
    weights = rng.integers(0, 3, size=(4, 80)).astype(float)
    found = lower_bounds(sums, sizes, 0.1, weights)
    for b, row in enumerate(weights.astype(int)):
        alone = lower_bounds(np.repeat(sums, row, axis=0), np.repeat(sizes, row), 0.1)
        np.testing.assert_allclose(found[b], alone[0])


def test_few_differing_groups_get_the_exact_bound():
    d = np.zeros(1000)
    d[: FEW_DIFFER - 1] = 1.0  # 29 wins, no loss: the t bound would be above 0
    found = lower_bounds(d[:, None], np.ones(1000), 0.05)[0, 0]
    # with no loss in 1000, their share is at most 1 - 0.05 ** (1 / 1000)
    assert found == pytest.approx(-(1 - 0.05 ** (1 / 1000)))
    d[FEW_DIFFER - 1] = 1.0
    assert lower_bounds(d[:, None], np.ones(1000), 0.05)[0, 0] > 0
    assert lower_bounds(d[:1, None], np.ones(1), 0.05)[0, 0] == -np.inf
    with pytest.raises(ValueError, match="delta"):
        lower_bounds(d[:, None], np.ones(1000), 1.0)


def test_the_bound_holds_as_often_as_it_says():
    """Groups of one to four alike rows; the truth is 0.02."""
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        sizes = rng.integers(1, 5, 300).astype(float)
        sums = sizes * rng.choice([-1.0, 0.0, 1.0], size=300, p=[0.14, 0.7, 0.16])
        held.append(lower_bounds(sums[:, None], sizes, 0.05)[0, 0] <= 0.02)
    assert stats.binomtest(sum(held), 400).proportion_ci().high >= 0.95 >= 0.91 <= np.mean(held)


def test_candidates_do_not_depend_on_outcomes_and_fall_in_cost():
    e = evidence()
    other = dataclasses.replace(e, correct=1 - e.correct)
    one, two = walk(e, best=1), walk(other, best=1)
    np.testing.assert_array_equal(one.prices, two.prices)
    assert one.prices[0] == 0 and (np.diff(one.cost) <= 0).all()
    assert np.diff(one.cost).min() > -0.1  # about evenly spaced


def test_a_walk_stops_at_the_first_candidate_that_fails():
    e = evidence()
    walked = walk(e)
    chosen, bounds = certified(walked, 0.0, 0.05, 4.0)
    at = int(chosen[0])
    assert at > 0 and (bounds[0, : at + 1] >= 0).all()
    failed = np.flatnonzero(bounds[0] < 0)
    assert failed[0] == at + 1  # costs fall along the walk, so the last that passed is cheapest
    # one that fails early hides all that would pass after it
    sums = walked.sums.copy()
    sums[:, 1] -= 1
    blocked = dataclasses.replace(walked, sums=sums)
    assert certified(blocked, 0.0, 0.05, 4.0)[0][0] <= 0


def test_plans_by_what_they_promise():
    e = evidence()
    found = plans(e)
    assert list(found) == [NO_LOSS, ONE_POINT, BUDGET]
    lossless, cheaper = found[NO_LOSS], found[ONE_POINT]
    assert lossless.rule and lossless.bound >= 0 and lossless.best == 1
    assert cheaper.cost < lossless.cost < lossless.best_cost == 4.0
    assert (lossless.queries, lossless.groups, lossless.delta) == (2000, 2000, 0.05)
    chosen = lossless.choose(e.p, e.cost)
    rows = np.arange(2000)
    assert lossless.accuracy == e.correct[rows, chosen].mean()
    assert lossless.cost == pytest.approx(e.cost[rows, chosen].mean())
    assert found[BUDGET].cost <= 4.0 and found[BUDGET].accuracy >= lossless.best_accuracy
    assert at_budget(e, 2.0).cost <= 2.0


def test_without_skill_the_plan_is_the_best_single_target():
    e = evidence(skill=0.0)
    for name in EPSILONS:
        plan = plans(e)[name]
        assert plan.rule is None and plan.cost == plan.best_cost
        assert (plan.choose(e.p, e.cost) == 1).all()
    kept = promise_kept(e, 0.0, 0.05, 0.85)
    assert (kept.broken, kept.fallback, kept.saving) == (0, 1.0, 0.0)


def test_a_best_single_target_that_is_the_cheapest_is_kept():
    e = evidence(best=0.6, cheap=0.7, cost=(1.0, 4.0))
    plan = plans(e)[NO_LOSS]
    assert plan.best == 0 and plan.rule is None and plan.cost == 1.0


def test_where_all_are_free_the_most_accurate_rule_is_taken():
    e = evidence(cost=(0.0, 0.0))
    plan = plans(e)[NO_LOSS]
    assert plan.rule.value == 0 and plan.accuracy > plan.best_accuracy and plan.bound > 0
    assert plans(evidence(skill=0.0, cost=(0.0, 0.0)))[NO_LOSS].rule is None


def test_the_router_is_paid():
    e = evidence()
    dear = dataclasses.replace(e, overhead=np.full(2000, 3.5))
    assert plans(dear)[NO_LOSS].rule is None
    assert plans(e)[NO_LOSS].cost < 3.0


def test_a_margin_is_chosen_by_accuracy():
    e = evidence(skill=1.0)
    plan = most_accurate_margin(e)
    assert plan.accuracy >= plan.best_accuracy and plan.rule.stay == 1
    assert most_accurate_margin(evidence(skill=0.0)).rule.margin == 0.3  # the largest of equals


@pytest.mark.parametrize("epsilon", [0.0, 0.01])
@pytest.mark.parametrize("skill", [0.15, 0.5, 1.0])
def test_promises_are_kept_on_simulated_pools(epsilon, skill):
    kept = promise_kept(evidence(skill=skill, seed=3), epsilon, 0.05, 0.5, draws=200)
    low, _ = kept.interval()
    assert low <= 0.05 and kept.draws == 200


def test_without_a_bound_the_promise_would_break():
    """What the bound is for: the cheapest point whose accuracy merely looks good enough."""
    e = evidence(skill=0.5, seed=3)
    walked = walk(e)
    truth = walked.sums.sum(axis=0) / walked.sizes.sum()
    weights = np.random.default_rng(0).multinomial(1000, np.full(2000, 1 / 2000), size=200)
    looks_good = weights @ walked.sums >= 0
    cost = np.where(looks_good, walked.cost, np.inf)
    assert (truth[cost.argmin(axis=1)] < 0).mean() > 0.3


@pytest.mark.parametrize("best_cost", [0.0, 1e-6])
def test_a_best_single_target_that_costs_nearly_nothing_has_plans(best_cost):
    """The running sum of what is saved misses so small a budget by rounding."""
    for seed in range(5):
        e = evidence(n=600, seed=seed, best=0.6, cheap=0.8, cost=(1.0, 4.0))
        tokens = np.random.default_rng(seed).integers(20, 400, 600)
        paid = np.column_stack([best_cost * (1 + tokens / 100), tokens * 3e-6 + 0.0123])
        found = plans(dataclasses.replace(e, cost=paid))
        assert found[BUDGET].best == 0 and found[BUDGET].cost <= paid[:, 0].mean() * (1 + 1e-9)
