"""Cascades against routing alone at equal budgets: the table of the notebook on cascades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.samples import Samples
from prefill_router.evaluate.cascade_routing import Cascading, fit_starts
from prefill_router.evaluate.cascades import (
    Answered,
    Candidates,
    Policy,
    Queries,
    at_prices,
    calibrated,
    follow,
    odds_of,
    policies,
    single,
)
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, labelled
from prefill_router.evaluate.headroom import columns_of
from prefill_router.evaluate.keys import AtPoint, Method, MetricValues
from prefill_router.evaluate.resampling import SeedAverages, seed_averaged_intervals
from prefill_router.evaluate.rules import Rule
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.weighting import divided, weight_rows, weighted_means

ROUTING, BY_AGREEMENT, BY_BOTH, PER_QUERY = METHODS = (
    "routing",
    "cascade_by_agreement",
    "cascade_by_both",
    "cascade_per_query",
)
"""One call to the target with the highest utility; a cascade of two targets that goes on by the
agreement of the answers alone, or by it and the prefill; one whose targets and asks are chosen for
every query."""
BUDGETS = (0.25, 0.5, 0.75, 1.0)
PRICES = np.append(0.0, np.geomspace(1e-3, 1e2, 61))  # in probability per cost of the best single
ENDS = ["ci_low", "ci_high"]
COLUMNS = [
    *("pool", "cost", "budget", "method", "metric", "value", *ENDS),
    *("over_routing", "over_low", "over_high", "n"),
]


def cascade_tables(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    outcomes: Outcomes,
    costs: Mapping[str, Samples],
    n_boot: int,
    method: str = "ours",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cascades and routing alone, chosen on labelled rows at equal budgets, on the test rows.

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
    outcomes : of all targets
    costs : what the calls cost, by name of the way to count it, to the answers of all targets
    n_boot : int
    method : whose P(correct) is the prior

    Returns
    -------
    results : DataFrame[COLUMNS]
        ``budget`` is a share of the best single target's mean cost on labelled rows; ``accuracy``;
        ``cost_share``, paid, of that target's cost on the test rows; ``asked_again``, the share of
        queries on which a second target is asked. ``over_routing`` is the paired difference to
        ``routing`` at the same budget. Budgets below what the cheapest way costs are left out.
    chosen : DataFrame[pool, cost, seed, budget, method, and what applies of cheap, asks, threshold,
        prior, fallback, price]
        What was chosen on every split.
    """
    results, chosen = [], []
    for name, (pool, methods) in loaded.items():
        columns = columns_of(outcomes, pool.outcomes)
        for kind, samples in costs.items():
            of_pool = samples.of_targets(columns)
            if not (whole := of_pool.complete).all():
                print(f"pool {name}: {(~whole).sum()} queries lack an answer and are left out")
            print(f"pool {name}: choosing cascades, {kind} cost", flush=True)
            averages, picked = _of_pool(pool, methods[method], of_pool, n_boot)
            if averages is not None:
                results.append(_rows(averages).assign(pool=name, cost=kind))
            chosen += [{"pool": name, "cost": kind} | row for row in picked]
    table = pd.concat(results)[COLUMNS] if results else pd.DataFrame(columns=COLUMNS)
    return table.reset_index(drop=True), pd.DataFrame(chosen)


def _of_pool(
    pool: Pool, method: CrossFitted, samples: Samples, n_boot: int
) -> tuple[SeedAverages | None, list[dict]]:
    runs: dict[Method, list[SeedRun]] = {}
    chosen: list[dict] = []
    for seed, split in pool.splits.items():
        complete = samples.complete
        known = np.isin(method.rows[seed], labelled(split)[complete[labelled(split)]])
        rows, test = method.rows[seed][known], split.test[complete[split.test]]
        if not len(rows) or not len(test):
            continue
        # a median may lie far below the mean: both ways to decide get costs with the right means
        called, expected = samples.rows(rows).cost.mean(axis=(0, 1)), pool.cost[seed]
        factor = divided(called, expected[rows].mean(axis=0))
        expected = expected * np.where(np.isnan(factor), 1.0, factor)  # free ones stay free
        p = method.held_out[seed][known][:, pool.columns]
        fitted = Queries(samples.rows(rows), p, expected[rows], method.overhead[rows])
        p = method.p[seed][test][:, pool.columns]
        asked = Queries(samples.rows(test), p, expected[test], method.overhead[test])
        best = int(fitted.grade.mean(axis=0).argmax())
        best_cost = float(fitted.paid[:, best].mean())
        paid = asked.paid[:, best]
        found, picked = compete(fitted, asked, best_cost)
        for (name, budget), answered in found.items():
            run = _run(answered, paid, pool.groups[test])
            runs.setdefault(AtPoint(name, f"{budget:g}"), []).append(run)
        names = pool.outcomes.target_names
        chosen += [{"seed": seed} | _as_row(*key, rule, names) for key, rule in picked.items()]
    every = {key: of for key, of in runs.items() if len(of) == len(pool.splits)}
    return (seed_averaged_intervals(every, n_boot, seed=0) if every else None), chosen


def compete(
    fitted: Queries, asked: Queries, best_cost: float
) -> tuple[dict[tuple[str, float], Answered], dict[tuple[str, float], Policy | float | int]]:
    """What every method, chosen on labelled queries, does on others, and what was chosen.

    Parameters
    ----------
    fitted, asked : Queries
    best_cost : float
        Mean cost of the best single target on labelled queries; ``BUDGETS`` are shares of it.

    Returns
    -------
    answered, rules : dict of (method, budget)
        Only budgets that every method can keep to on the labelled queries.
    """
    fitted, asked = calibrated(fitted, asked)
    prices, starts = PRICES / best_cost, fit_starts(fitted)
    seen, now = Cascading(starts, fitted), Cascading(starts, asked)
    options: dict[str, Candidates] = {
        ROUTING: at_prices(partial(_routed, fitted), fitted, prices),
        BY_AGREEMENT: policies(fitted, False),
        BY_BOTH: policies(fitted, True),
        PER_QUERY: at_prices(seen.act, fitted, prices),
    }
    answered: dict[tuple[str, float], Answered] = {}
    rules: dict[tuple[str, float], Policy | float | int] = {}
    for budget in BUDGETS:
        kept = {name: of.within(budget * best_cost) for name, of in options.items()}
        picked = {name: rule for name, rule in kept.items() if rule is not None}
        if len(picked) < len(options):
            continue
        for name, rule in picked.items():
            rules[name, budget] = rule
            if isinstance(rule, Policy):
                answered[name, budget] = follow(rule, odds_of(rule, fitted), asked)
            elif isinstance(rule, int):
                answered[name, budget] = single(asked, rule)
            else:
                per_query = name == PER_QUERY
                answered[name, budget] = now.act(rule) if per_query else _routed(asked, rule)
    return answered, rules


def _routed(queries: Queries, price: float) -> Answered:
    """One call to the target that the utility rule chooses."""
    target, rows = Rule("utility", price).choose(queries.p, queries.cost), np.arange(len(queries.p))
    cost = queries.paid[rows, target] + queries.own
    return Answered(queries.grade[rows, target], cost, np.zeros(len(rows)))


def _as_row(method: str, budget: float, rule: Policy | float | int, names: Sequence[str]) -> dict:
    row: dict = {"budget": budget, "method": method}
    if isinstance(rule, Policy):
        cheap, fallback = names[rule.cheap], names[rule.fallback]
        return row | vars(rule) | {"cheap": cheap, "fallback": fallback}
    return row | ({"cheap": names[rule]} if isinstance(rule, int) else {"price": rule})


def _run(answered: Answered, best_paid: np.ndarray, groups: np.ndarray) -> SeedRun:
    values = np.column_stack([*answered, best_paid])

    def metrics(weights: np.ndarray) -> MetricValues:
        right, cost, again, best = weighted_means(values, weight_rows(weights, len(values))).T
        return {"accuracy": right, "cost_share": divided(cost, best), "asked_again": again}

    return SeedRun(groups, metrics)


def _rows(averages: SeedAverages) -> pd.DataFrame:
    """Rows of the table but for pool and kind of cost."""
    table = averages.table()
    over = pd.concat(
        averages.paired(key, AtPoint(ROUTING, key.operating_point))
        for key in averages.n
        if isinstance(key, AtPoint)
    )
    over = over.rename(
        columns={"method_a": "method", "diff": "over_routing"}
        | {end: end.replace("ci", "over") for end in ENDS}
    )
    both = table.merge(over.drop(columns=["method_b", "n"]), on=["method", "metric"])
    keys = list(both["method"])
    return both.assign(
        method=[key.method for key in keys], budget=[float(key.operating_point) for key in keys]
    )
