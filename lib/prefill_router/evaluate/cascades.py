"""Cascades: ask a cheap target, read whether its answers agree, stop or ask another one.

n queries, K targets, A answers of each. Every call is paid: the cheap target's, as often as it is
asked, and the other target's where the cascade goes on. A policy and its threshold are chosen on
labelled queries, as plans are (`plans`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from prefill_router.data.samples import Samples
from prefill_router.evaluate.right_answers import Odds, given_answer

THRESHOLDS = 21


class Answered(NamedTuple):
    """What comes of every query, means over which of the answers came first, [n] each.

    Attributes
    ----------
    right : whether the given answer is; that of one call to a target is the mean of its answers
    cost : of all calls
    asked_again : how often a target was asked after the first one had answered
    """

    right: np.ndarray
    cost: np.ndarray
    asked_again: np.ndarray


@dataclass(frozen=True, eq=False)
class Queries:
    """What is known of queries.

    Attributes
    ----------
    samples : Samples
        Without gaps.
    p : ndarray [n, K]
        P(correct) of the prefill; out of fold where a policy is chosen.
    cost : ndarray [n, K]
        Expected cost of a call, on which decisions rest.
    own : ndarray [n]
        What the prefill costs; paid by what reads it.
    """

    samples: Samples
    p: np.ndarray
    cost: np.ndarray
    own: np.ndarray

    @property
    def grade(self) -> np.ndarray:
        """How often a single call is right [n, K]."""
        return self.samples.correct.mean(axis=0)

    @property
    def paid(self) -> np.ndarray:
        """What a single call costs [n, K]."""
        return self.samples.cost.mean(axis=0)


def calibrated(fitted: Queries, *others: Queries) -> list[Queries]:
    """The same with P calibrated by a logistic regression for each target on the first, which are
    labelled: agreement's odds are fitted on them too, and must not win by that alone.
    """
    K, none = fitted.p.shape[1], np.zeros(len(fitted.p), int)
    odds = [Odds(0).fit(fitted.p[:, [k]], none, fitted.grade[:, k]) for k in range(K)]

    def of(queries: Queries) -> Queries:
        p = [odds[k].predict(queries.p[:, [k]], 0) for k in range(K)]
        return replace(queries, p=np.column_stack(p))

    return [of(queries) for queries in (fitted, *others)]


@dataclass(frozen=True)
class Policy:
    """A cascade of two targets.

    Attributes
    ----------
    cheap, fallback : int
        Indices of the target that is asked first, and of the one that is asked where it goes on.
    asks : int
        How often the cheap target is asked.
    threshold : float
        It goes on where P(the cheap target's answer is right) is below it.
    prior : bool
        Whether that P reads the prefill beside the agreement of the answers.
    """

    cheap: int
    asks: int
    threshold: float
    prior: bool
    fallback: int


def odds_of(policy: Policy, queries: Queries) -> Odds:
    """P(the cheap target's answer is right), fitted on labelled queries."""
    count, right = given_answer(queries.samples, policy.cheap, policy.asks)
    return Odds(policy.asks).fit(_prior(policy, queries), count, right)


def _prior(policy: Policy, queries: Queries) -> np.ndarray:
    return queries.p[:, [policy.cheap] if policy.prior else []]


def follow(policy: Policy, odds: Odds, queries: Queries) -> Answered:
    """What a policy wins and pays; ``odds`` as `odds_of` fitted them on labelled queries."""
    at = np.array([policy.threshold])
    found = [of[0] for of in _at_thresholds(policy, odds, queries, at)]
    fallback_right, fallback_paid = queries.grade, queries.paid
    goes, stays_right, cheap_paid = found
    right = stays_right + goes * fallback_right[:, policy.fallback]
    cost = cheap_paid + goes * fallback_paid[:, policy.fallback]
    return Answered(right, cost + queries.own * policy.prior, goes)


def _at_thresholds(
    policy: Policy, odds: Odds, queries: Queries, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each of T thresholds, means over which answer came first, [T, n] each: how often it goes
    on; how often it stops with a right answer; what the cheap target's calls cost.
    """
    prior, A = _prior(policy, queries), queries.samples.asks
    goes, right, paid = (np.zeros((len(thresholds), len(prior))) for _ in range(3))
    for first in range(A):
        samples = queries.samples.turned(first)
        count, given_right = given_answer(samples, policy.cheap, policy.asks)
        going = odds.predict(prior, count) < thresholds[:, None]
        goes += going / A
        right += ~going * given_right / A
        paid += samples.cost[: policy.asks, :, policy.cheap].sum(axis=0) / A
    return goes, right, paid


class Candidates(NamedTuple):
    """What could be followed, with its accuracy and mean cost on labelled queries.

    Attributes
    ----------
    accuracy, cost : ndarray [C]
    rules : list of C
        Anything that says which it is.
    """

    accuracy: np.ndarray
    cost: np.ndarray
    rules: list[Any]

    def within(self, budget: float) -> Any | None:
        """The most accurate rule whose mean cost keeps to a budget, of equals the cheapest; None if
        none does.
        """
        keeps = np.flatnonzero(self.cost <= budget * (1 + 1e-9))
        if not len(keeps):
            return None
        return self.rules[keeps[np.lexsort((self.cost[keeps], -self.accuracy[keeps]))[0]]]


def policies(queries: Queries, prior: bool) -> Candidates:
    """Every cascade of two targets, the first asked 1 to A times, at `THRESHOLDS`
    quantiles of P(its answer is right)
    on these labelled queries. Never going on is among them, so that each single
    target is too.
    """
    K, own = queries.p.shape[1], float(queries.own.mean()) * prior
    accuracy, cost, rules = [], [], []
    grade, paid = queries.grade, queries.paid
    for cheap in range(K):
        for asks in range(1, queries.samples.asks + 1):
            start = Policy(cheap, asks, 0.0, prior, cheap)
            odds = odds_of(start, queries)
            count, _ = given_answer(queries.samples, cheap, asks)
            score = odds.predict(_prior(start, queries), count)
            # below 0 nothing goes on, below infinity all
            at = np.unique(np.quantile(score, np.linspace(0, 1, THRESHOLDS)))
            at = np.concatenate([[0.0], at, [np.inf]])
            goes, right, calls = _at_thresholds(start, odds, queries, at)
            n = len(score)
            wins = right.mean(axis=1)[:, None] + goes @ grade / n
            pays = calls.mean(axis=1)[:, None] + goes @ paid / n + own
            for fallback in (k for k in range(K) if k != cheap):
                accuracy.append(wins[:, fallback])
                cost.append(pays[:, fallback])
                rules += [Policy(cheap, asks, float(t), prior, fallback) for t in at]
    return Candidates(np.concatenate(accuracy), np.concatenate(cost), rules)


def single(queries: Queries, target: int) -> Answered:
    """One target alone, asked once."""
    never = np.zeros(len(queries.p))
    return Answered(queries.grade[:, target], queries.paid[:, target], never)


def at_prices(act: Callable[[float], Answered], queries: Queries, prices: np.ndarray) -> Candidates:
    """What a rule does at every price of a unit of cost; each single target, as its index, is a
    candidate too.
    """
    K = queries.p.shape[1]
    found = [act(float(price)) for price in prices] + [single(queries, k) for k in range(K)]
    return Candidates(
        np.array([of.right.mean() for of in found]),
        np.array([of.cost.mean() for of in found]),
        [float(price) for price in prices] + list(range(K)),
    )
