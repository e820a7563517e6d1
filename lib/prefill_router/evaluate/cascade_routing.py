"""Routing and cascading as one decision: which target first, how often, and what then.

At a price of cost l, asking target k once is worth P_k - l c_k. Asking c first, m times, is worth

    E[max(P(its answer is right | agreement), max_k P(k is right | agreement) - l c_k)] - l m c_c,

the mean over how many of its answers will agree. P of another target is on average what it was:
agreement moves it up or down, asking alone makes nobody better. The best of these is done, and
again once the answers are there (Dekoninck et al., A Unified Approach to Routing and Cascading for
LLMs, arXiv 2410.10347). Where no cascade is worth its calls, this is the utility rule of `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from prefill_router.evaluate.cascades import Answered, Queries
from prefill_router.evaluate.right_answers import Odds, given_answer, log_odds

WORTH = 0.001  # by how much, in probability, a cascade must be worth more than one call


@dataclass(frozen=True, eq=False)
class Start:
    """What is known of asking one target first, so many times.

    Attributes
    ----------
    target, asks : int
    agreement : LogisticRegression or int
        Of how many answers will agree, from P of this target; a number where it was always so many.
    odds : tuple of K Odds
        P(a target is right) given P of the prefill and how many answers of this one agree: for the
        target itself that of the answer given, for others that of a call.
    """

    target: int
    asks: int
    agreement: LogisticRegression | int
    odds: tuple[Odds, ...]


class Foreseen(NamedTuple):
    """What a start may bring to every query, by how many answers agree (V = asks + 1).

    Attributes
    ----------
    chance : ndarray [n, V]
    right : ndarray [n, V, K]
        P(right): of the answer given for the target itself, of a call for others.
    """

    chance: np.ndarray
    right: np.ndarray


def fit_starts(queries: Queries) -> list[Start]:
    """Every target asked 1 to A times, fitted on labelled queries."""
    A, K = queries.samples.asks, queries.p.shape[1]
    return [_fit(queries, c, asks) for c in range(K) for asks in range(1, A + 1)]


def _fit(queries: Queries, c: int, asks: int) -> Start:
    count, right = given_answer(queries.samples, c, asks)
    seen, x = np.unique(count), log_odds(queries.p[:, [c]])
    agreement = LogisticRegression().fit(x, count) if len(seen) > 1 else int(seen[0])
    odds = [
        Odds(asks).fit(_read(queries.p, c, k), count, right if k == c else queries.grade[:, k])
        for k in range(queries.p.shape[1])
    ]
    return Start(c, asks, agreement, tuple(odds))


def _read(p: np.ndarray, c: int, k: int) -> np.ndarray:
    """The P(correct) that are read of a target k where c was asked."""
    return p[:, [c]] if k == c else p[:, [k, c]]


def foresee(start: Start, p: np.ndarray) -> Foreseen:
    """What a start may bring to queries with P(correct) p [n, K]."""
    levels = start.asks + 1
    chance = np.zeros((len(p), levels))
    if isinstance(start.agreement, int):
        chance[:, start.agreement] = 1.0
    else:
        x = log_odds(p[:, [start.target]])
        chance[:, start.agreement.classes_] = start.agreement.predict_proba(x)
    right = np.empty((len(p), levels, p.shape[1]))
    for k, odds in enumerate(start.odds):
        for level in range(levels):
            right[:, level, k] = odds.predict(_read(p, start.target, k), level)
        if k != start.target:  # the mean over what may come is what is known now
            mean = (chance * right[:, :, k]).sum(axis=1)
            right[:, :, k] = np.clip(right[:, :, k] + (p[:, k] - mean)[:, None], 0, 1)
    return Foreseen(chance, right)


class Cascading:
    """The decisions on given queries at any price.

    Parameters
    ----------
    starts : list of Start
    queries : Queries
    """

    def __init__(self, starts: list[Start], queries: Queries) -> None:
        self.starts, self.queries = starts, queries
        self._foreseen = [foresee(start, queries.p) for start in starts]
        turns = [queries.samples.turned(first) for first in range(queries.samples.asks)]
        self._turns = turns
        self._given = [[given_answer(of, s.target, s.asks) for of in turns] for s in starts]

    def act(self, price: float) -> Answered:
        """What is won and paid at a price, in probability per unit of cost."""
        queries, n = self.queries, len(self.queries.p)
        utility = queries.p - price * queries.cost
        alone = utility.argmax(axis=1)
        best, first = utility[np.arange(n), alone], np.full(n, -1)
        nexts = [
            best_then(start, of, queries.cost, price)
            for start, of in zip(self.starts, self._foreseen, strict=True)
        ]
        for number, (start, of, (worth, _)) in enumerate(
            zip(self.starts, self._foreseen, nexts, strict=True)
        ):
            calls = price * start.asks * queries.cost[:, start.target]
            value = (of.chance * worth).sum(axis=1) - calls
            better = value > best + WORTH * (first < 0)
            best, first = np.where(better, value, best), np.where(better, number, first)
        grade, paid = queries.grade, queries.paid
        right, cost = grade[np.arange(n), alone], paid[np.arange(n), alone]
        again = np.zeros(n)
        for number in np.unique(first[first >= 0]):
            at = np.flatnonzero(first == number)
            found = self._follow(int(number), at, nexts[number][1][at], grade[at], paid[at])
            right[at], cost[at], again[at] = found
        return Answered(right, cost + queries.own, again)

    def _follow(
        self, number: int, at: np.ndarray, then: np.ndarray, grade: np.ndarray, paid: np.ndarray
    ) -> Answered:
        """What a start brings to the queries ``at``, where ``then`` [m, V] says what comes next."""
        start, rows, A = self.starts[number], np.arange(len(at)), len(self._turns)
        right, cost, again = (np.zeros(len(at)) for _ in range(3))
        for samples, (count, given) in zip(self._turns, self._given[number], strict=True):
            target = then[rows, count[at]]
            stops = target == start.target
            right += np.where(stops, given[at], grade[rows, target]) / A
            calls = samples.cost[: start.asks, at, start.target].sum(axis=0)
            cost += (calls + np.where(stops, 0.0, paid[rows, target])) / A
            again += ~stops / A
        return Answered(right, cost, again)


def best_then(
    start: Start, foreseen: Foreseen, cost: np.ndarray, price: float
) -> tuple[np.ndarray, np.ndarray]:
    """The best that can be done once the answers of a start are there.

    Returns
    -------
    worth : ndarray [n, V]
    target : int ndarray [n, V]
        The start's own: its answer is given, and nothing more is paid.
    """
    more = price * cost
    more[:, start.target] = 0.0
    worth = foreseen.right - more[:, None, :]
    target = worth.argmax(axis=2)
    return np.take_along_axis(worth, target[..., None], axis=2)[..., 0], target
