"""Whether promises are kept: plans chosen again and again on samples of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, evidence_of
from prefill_router.evaluate.plans import DELTA, EPSILONS
from prefill_router.evaluate.walk import Evidence, certified, walk


@dataclass(frozen=True)
class Promise:
    """How a promise fared when plans were chosen again and again.

    Attributes
    ----------
    draws : int
    broken : int
        Draws whose plan is, on all queries, more than epsilon below the best single target.
    fallback : float
        Share of draws that take the best single target.
    saving : float
        Mean of 1 - cost / cost of the best single target, over the draws, on all queries.
    """

    draws: int
    broken: int
    fallback: float
    saving: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper and Pearson's interval of the probability that the promise is broken."""
        from scipy.stats import binomtest  # a second to import, and plans do not need it

        found = binomtest(self.broken, self.draws).proportion_ci(level, "exact")
        return float(found.low), float(found.high)


def promise_kept(
    evidence: Evidence, epsilon: float, delta: float, share: float, draws: int = 200, seed: int = 0
) -> Promise:
    """Take these queries for the population, draw labelled samples from it, choose a plan on each,
    and look whether it keeps its promise on the population.

    Parameters
    ----------
    evidence : Evidence
        All queries with a P that none of them was trained on.
    share : float
        Size of a sample, as a share of the groups; they are drawn with replacement.
    """
    walked, best = walk(evidence), evidence.best
    best_cost = float(evidence.cost[:, best].mean())
    n_groups = len(walked.sizes)
    size = max(2, round(share * n_groups))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(size, np.full(n_groups, 1 / n_groups), size=draws)
    chosen, _ = certified(walked, epsilon, delta, best_cost, weights.astype(np.float64))
    truth = walked.sums.sum(axis=0) / walked.sizes.sum()
    routed = chosen >= 0
    broken = routed & (truth[chosen] < -epsilon - 1e-12)
    saving = np.where(routed, 1 - walked.cost[chosen] / best_cost, 0.0) if best_cost else [np.nan]
    return Promise(draws, int(broken.sum()), float(1 - routed.mean()), float(np.mean(saving)))


def promises(
    pool: Pool, methods: Mapping[str, CrossFitted], draws: int = 200, delta: float = DELTA
) -> pd.DataFrame:
    """`promise_kept` of every method at both epsilons, on the queries of the first split:
    out-of-fold P of the labelled ones, P of the test rows.

    Returns
    -------
    DataFrame[method, epsilon, delta, draws, broken, ci_low, ci_high, fallback, saving]
    """
    seed = next(iter(pool.splits))
    test, rows = pool.splits[seed].test, []
    for name, method in methods.items():
        e = evidence_of(pool, method, seed)
        share = len(e.p) / (len(e.p) + len(test))
        everything = Evidence(
            np.vstack([e.p, method.p[seed][test][:, pool.columns]]),
            np.vstack([e.cost, pool.cost[seed][test]]),
            np.vstack([e.correct, pool.outcomes.correct[test]]),
            np.concatenate([e.groups, pool.groups[test]]),
            np.concatenate([e.overhead, method.overhead[test]]),
        )
        for epsilon in EPSILONS.values():
            kept = promise_kept(everything, epsilon, delta, share, draws)
            low, high = kept.interval()
            rows.append(
                {"method": name, "epsilon": epsilon, "delta": delta}
                | asdict(kept)
                | {"ci_low": low, "ci_high": high}
            )
    return pd.DataFrame(rows)
