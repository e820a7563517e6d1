"""What is left to be won: by more training queries, by a better reader, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.metrics import gap_closed
from prefill_router.evaluate.resampling import seed_averaged_intervals
from prefill_router.evaluate.runs import SeedRun, auc_run
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.heads.baselines import LogisticRouter
from prefill_router.heads.gram import fill_missing
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.stored_states import StoredStates, take

SHARES = (0.125, 0.25, 0.5, 1.0)
METRICS = ("mean_auc", "disagreement_auc")
# an informed reader of fewer other targets knows too little of a query to be called informed
FEWEST_OUTSIDE = 3


def learning_curve(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    pools: Mapping[str, Outcomes],
    splits: Mapping[int, Split],
    states: np.ndarray | StoredStates,
    full: Mapping[str, Mapping[int, np.ndarray]],
    shares: Sequence[float] = SHARES,
) -> pd.DataFrame:
    """The kernel router trained on a part of the training queries.

    Parameters
    ----------
    outcomes : Outcomes
        Of all targets: n queries.
    pools : mapping of pool to its outcomes
    states : ndarray [n, d]
        What the router reads (`heads.gram.read_states`).
    full : mapping of pool to {seed: P(correct) [n, targets of the pool]}
        Of the same router on all training queries, which an earlier notebook has fitted.
    shares : sequence of float
        Of the training groups, whole groups in a fixed random order: a smaller share is a part of
        every larger one. 1 stands for ``full``.

    Returns
    -------
    DataFrame[pool, share, training_queries, metric, value, ci_low, ci_high, n]
        ``METRICS`` on test rows, averaged over split seeds.
    """
    groups = outcomes.queries["group"].to_numpy()
    columns = {pool: columns_of(outcomes, of_pool) for pool, of_pool in pools.items()}
    runs: dict[Any, list[SeedRun]] = {}  # by (pool, share)
    sizes: dict[float, list[int]] = {share: [] for share in shares}
    for seed, split in splits.items():
        order = np.random.default_rng(seed).permutation(np.unique(groups[split.train]))
        for share in shares:
            first = order[: round(share * len(order))]
            rows = split.train[np.isin(groups[split.train], first)]
            sizes[share].append(len(rows))
            if share < 1:
                router = KernelRouter(seed=seed)
                router.fit(take(states, rows), outcomes.correct[rows], groups[rows])
                p = router.predict_proba(take(states, split.test))
            for pool, of_pool in pools.items():
                of_test = p[:, columns[pool]] if share < 1 else full[pool][seed][split.test]
                run = auc_run(of_test, of_pool.correct[split.test], groups[split.test])
                runs.setdefault((pool, share), []).append(run)
        print(f"split seed {seed} done", flush=True)
    table = seed_averaged_intervals(runs, settings.bootstrap, seed=0).table()
    table = table[table["metric"].isin(METRICS)].reset_index(drop=True)
    table["pool"] = [pool for pool, _ in table["method"]]
    table["share"] = [share for _, share in table["method"]]
    table["training_queries"] = [round(np.mean(sizes[share])) for share in table["share"]]
    return table[["pool", "share", "training_queries", "metric", "value", "ci_low", "ci_high", "n"]]


def informed_reader(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    pools: Mapping[str, Outcomes],
    splits: Mapping[int, Split],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A logistic regression that reads how the targets outside a pool did on the very query.

    Pools with fewer than ``FEWEST_OUTSIDE`` targets outside are left out aloud.

    Returns
    -------
    informed : DataFrame[pool, metric, value, ci_low, ci_high, n]
        ``METRICS`` on test rows, averaged over split seeds.
    luck : DataFrame[pool, and the fields of `luck_of`]
        Averages over split seeds. Both are without rows where no pool is left.
    """
    filled = fill_missing(outcomes.correct)
    rows: list[dict] = []
    runs: dict[str, list[SeedRun]] = {}
    for pool, of_pool in pools.items():
        inside = columns_of(outcomes, of_pool)
        outside = [k for k in range(len(outcomes.targets)) if k not in inside]
        if len(outside) < FEWEST_OUTSIDE:
            print(f"pool {pool}: too few targets outside it for an informed reader")
            continue
        groups = outcomes.queries["group"].to_numpy()
        for seed, split in complete_splits(of_pool, splits).items():
            train, test = split.train, split.test
            reader = LogisticRouter(Cs=(1e-3, 1e-2, 1e-1), folds=3, seed=seed)
            reader.fit(filled[train][:, outside], of_pool.correct[train], groups[train])
            p, y = reader.predict_proba(filled[test][:, outside]), of_pool.correct[test]
            runs.setdefault(pool, []).append(auc_run(p, y, groups[test]))
            rows.append({"pool": pool} | luck_of(p, y))
    order = ["pool", "metric", "value", "ci_low", "ci_high", "n"]
    if not rows:
        return pd.DataFrame(columns=order), pd.DataFrame(columns=["pool"])
    informed = seed_averaged_intervals(runs, settings.bootstrap, seed=0).table()
    informed = informed[informed["metric"].isin(METRICS)].rename(columns={"method": "pool"})
    return informed[order], pd.DataFrame(rows).groupby("pool", sort=False).mean().reset_index()


def luck_of(p: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    """What a reader's P(correct) wins, and what independent draws at that P would give.

    Parameters
    ----------
    p, correct : ndarray [n, K]
        P(correct) and correctness (0 to 1, none missing) of every target.

    Returns
    -------
    dict of shares of the queries
        best_single: accuracy of the best target of these queries; informed_routing: of the target
        with the largest P; expected_of_best_p: mean of the largest P, what that target's accuracy
        would be if P were true; oracle_if_independent: mean of 1 - prod(1 - P), how often one
        target would be right if their answers were independent draws at P; oracle: how often one
        is (of graded outcomes: where one answer of each is drawn); informed_gap_closed: of the gap
        between best_single and oracle.
    """
    best, oracle = correct.mean(axis=0).max(), (1 - (1 - correct).prod(axis=1)).mean()
    routed = correct[np.arange(len(p)), p.argmax(axis=1)].mean()
    return {
        "best_single": float(best),
        "informed_routing": float(routed),
        "expected_of_best_p": float(p.max(axis=1).mean()),
        "oracle_if_independent": float((1 - (1 - p).prod(axis=1)).mean()),
        "oracle": float(oracle),
        "informed_gap_closed": float(gap_closed(routed, best, oracle)),
    }


def columns_of(outcomes: Outcomes, pool: Outcomes) -> list[int]:
    """Positions of a pool's targets among those of ``outcomes``."""
    return [outcomes.target_names.index(target) for target in pool.target_names]
