"""Luck, measured: how much of the gap to the oracle no choice before the answer can win.

Where every target answered a query several times, P, the chance that its next answer is right, can
be told apart from which answer happened to be drawn. n queries, K targets, A answers of each.

An oracle that sees one answer of each target wins also where a target of low P was lucky. What one
would win who knew every P lies between two numbers: the choice by a router and A - 1 answers of
every target, judged by the answer left out (it knows P roughly, so it wins less), and the highest
share of right answers among all A, judged by these same answers (the largest of noisy shares is too
high on average, by Jensen's inequality). What the oracle wins beyond the second is luck; what it
wins beyond the first may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from prefill_router.data.costs import expected_costs
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.headroom import columns_of
from prefill_router.evaluate.keys import Metric, MetricValues, OfTarget
from prefill_router.evaluate.metrics import gap_closed
from prefill_router.evaluate.resampling import seed_averaged_intervals
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.evaluate.weighting import divided, weighted_means

COLUMNS = ["pool", "target", "metric", "value", "ci_low", "ci_high", "n"]


def measured_luck(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    answers: np.ndarray,
    pools: Mapping[str, Outcomes],
    splits: Mapping[int, Split],
    p: Mapping[str, Mapping[int, np.ndarray]],
) -> pd.DataFrame:
    """What is luck, on the test rows of every pool whose targets all answered several times.

    Pools with a target of a single answer are left out aloud.

    Parameters
    ----------
    outcomes : Outcomes
        Of all targets.
    answers : ndarray [A, n, targets of ``outcomes``]
        1 right, 0 wrong, NaN where a target has fewer answers.
    p : pool to {seed: P(correct) [n, targets of the pool]}
        Of a router.

    Returns
    -------
    DataFrame[pool, target, metric, value, ci_low, ci_high, n]
        Averages over split seeds on test rows, 95 % intervals by bootstrap over groups. Shares of
        the queries, target "":

        - best_single: mean grade of the best target of these queries.
        - router: of the targets with the router's highest P.
        - knows_1, ..., knows_A-1: of the target with the most right ones among so many of its other
          answers, the router's P counted as one more, judged by an answer that is not among them.
        - highest_grade: mean of each query's highest grade.
        - oracle: how often one target is right that answers once, mean over the A tables.

        Shares of the gap between best_single and oracle, target "": luck_least, above
        highest_grade; luck_most, above knows_A-1; router_closes, knows_closes (of knows_A-1).

        Shares of a variance, unbiased: between, with a target of how P differs from question to
        question in the variance of one answer; with target "" the same of the difference between
        two targets, over all pairs.
    """
    runs: dict[str, list[SeedRun]] = {}
    groups = outcomes.queries["group"].to_numpy()
    for pool, of_pool in pools.items():
        of_targets = answers[:, :, columns_of(outcomes, of_pool)]
        missing = np.isnan(of_targets).any(axis=0)
        names = np.array(of_pool.target_names)
        if len(answers) < 2 or (single := missing.all(axis=0)).any():
            who = ", ".join(names[single]) if len(answers) > 1 else "every target"
            print(f"pool {pool}: {who} answered once, so its luck cannot be measured")
            continue
        costs = expected_costs(of_pool, splits, settings.cost_model)
        for seed, split in complete_splits(of_pool, splits).items():
            test = split.test[~missing[split.test].any(axis=1)]
            cost = costs[seed][test]
            if np.isnan(cost).any():  # as in the evaluation: without a price no cost decides
                cost = np.zeros_like(cost)
            values = per_query(of_targets[:, test], p[pool][seed][test], cost)
            runs.setdefault(pool, []).append(_run(values, of_targets[:, test], names, groups[test]))
    if not runs:
        return pd.DataFrame(columns=COLUMNS)
    table = seed_averaged_intervals(runs, settings.bootstrap, seed=0).table()
    return table.rename(columns={"method": "pool"})[COLUMNS]


def per_query(answers: np.ndarray, p: np.ndarray, cost: np.ndarray) -> dict[str, np.ndarray]:
    """What each choice wins on every query, [n] each; their means are in ``measured_luck``.

    Parameters
    ----------
    answers : ndarray [A, n, K]
        None missing.
    p : ndarray [n, K]
        A router's P(correct), which must not have seen these answers.
    cost : ndarray [n, K]
        Decides between equals (`rules.route`).
    """
    A, grade = len(answers), answers.mean(axis=0)
    at = np.arange(grade.shape[0])
    found = {"router": grade[at, route(p, cost, 0.0)]}
    for known in range(1, A):
        won = []
        for judge in range(A):
            others = [a for a in range(A) if a != judge]
            for seen in combinations(others, known):
                chosen = route(answers[list(seen)].sum(axis=0) + p, cost, 0.0)
                won.append(answers[judge, at, chosen])
        found[f"knows_{known}"] = np.mean(won, axis=0)
    found["highest_grade"] = grade.max(axis=1)
    found["oracle"] = answers.max(axis=2).mean(axis=0)
    return found


def between_shares(answers: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the variance of one answer that lies between questions.

    One-way analysis of variance with random effects: within, the mean over questions of the
    variance of the answers (divisor A - 1); between, the variance of the grades less within / A, so
    that the noise of a grade is not taken for a difference between questions. Both are unbiased for
    weights of 1. The share is the intraclass correlation ICC(1) of Shrout and Fleiss (Psychol.
    Bull. 86, 1979).

    Parameters
    ----------
    answers : ndarray [A, n, K]
        None missing.
    weights : ndarray [B, n]

    Returns
    -------
    of_targets : ndarray [B, K]
    of_differences : ndarray [B]
        The same of the difference between one answer of each of two targets, whose answers are
        independent draws: sums over all pairs of targets.
    """
    A, grade = len(answers), answers.mean(axis=0)
    within = weighted_means(answers.var(axis=0, ddof=1), weights)
    size = weights.sum(axis=1)[:, None]
    unbiased = divided(size, size - 1)

    def variance(values: np.ndarray) -> np.ndarray:
        squares = weighted_means(values**2, weights)
        return (squares - weighted_means(values, weights) ** 2) * unbiased

    between = variance(grade) - within / A
    a, b = np.array(list(combinations(range(grade.shape[1]), 2))).T
    of_pairs = within[:, a] + within[:, b]
    apart = variance(grade[:, a] - grade[:, b]) - of_pairs / A
    return (
        divided(between, between + within),
        divided(apart.sum(axis=1), (apart + of_pairs).sum(axis=1)),
    )


def _run(
    values: Mapping[str, np.ndarray], answers: np.ndarray, names: np.ndarray, groups: np.ndarray
) -> SeedRun:
    """One pool on the test queries of one split."""
    grade, nearest = answers.mean(axis=0), f"knows_{len(answers) - 1}"

    def metrics(weights: np.ndarray) -> MetricValues:
        found: dict[Metric, np.ndarray] = {
            "best_single": weighted_means(grade, weights).max(axis=1)
        }
        for name, won in values.items():
            found[name] = weighted_means(won[:, None], weights)[:, 0]
        best, oracle = found["best_single"], found["oracle"]
        closes = {n: gap_closed(found[n], best, oracle) for n in values}
        found["luck_least"], found["luck_most"] = 1 - closes["highest_grade"], 1 - closes[nearest]
        found["router_closes"], found["knows_closes"] = closes["router"], closes[nearest]
        of_targets, found["between"] = between_shares(answers, weights)
        for k, target in enumerate(names):
            found[OfTarget("between", str(target))] = of_targets[:, k]
        return found

    return SeedRun(groups, metrics)
