"""What the notebooks hand on to each other: splits, where the activations lie, predictions, and
their evaluation.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import numpy as np
import pandas as pd

from prefill_router.metrics import COST_METRICS
from prefill_router.outcomes import Outcomes, OutcomesError, Split, check_trainable, grouped_split
from prefill_router.profiles import Workspace, replacing
from prefill_router.routing import expected_cost, priced, route, router_curve, without_cost
from prefill_router.stats import (
    SeedAverages,
    SeedRun,
    auc_run,
    point_run,
    router_run,
    seed_averaged_curve,
    seed_averaged_intervals,
    zero_router_run,
)

PARTS = ("train", "calibration", "test")
READS = (
    "prefill",
    "sentence",
    "",
)  # what a method reads of its encoder: hidden states, a sentence embedding; nothing
P_DECIMALS = 4
METRIC_COLUMNS = [
    "pool",
    "method",
    "encoder",
    "reads",
    "target",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "seeds",
]


def write_splits(workspace: Workspace, outcomes: Outcomes) -> pd.DataFrame:
    """Draw the grouped splits of every seed, check that every target can be learnt, and keep them.

    Returns
    -------
    DataFrame[seed, query_id, split]
        Also written to ``splits.parquet`` of the build folder.
    """
    rows = []
    for seed in workspace.profile.seeds:
        split = grouped_split(outcomes, seed, workspace.profile.fractions)
        check_trainable(
            outcomes.correct[split.train],
            outcomes.target_names,
            where=f"training rows of split seed {seed}",
        )
        for part in PARTS:
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "query_id": outcomes.queries["query_id"].to_numpy()[getattr(split, part)],
                        "split": part,
                    }
                )
            )
    table = pd.concat(rows, ignore_index=True)
    with replacing(workspace.build / "splits.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    return table


def read_splits(workspace: Workspace, outcomes: Outcomes) -> dict[int, Split]:
    """The splits of `write_splits` as row positions, by seed."""
    path = workspace.build / "splits.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run notebook 01 first")
    position = pd.Series(np.arange(outcomes.n), index=outcomes.queries["query_id"])
    return {
        int(seed): Split(
            *(
                np.sort(position.loc[rows.loc[rows["split"] == part, "query_id"]].to_numpy())
                for part in PARTS
            )
        )
        for seed, rows in pd.read_parquet(path).groupby("seed")
    }


def write_note(workspace: Workspace, name: str, content: dict) -> None:
    """Keep a small JSON note for later notebooks in the build folder (such as where the activations
    are).
    """
    with replacing(workspace.build / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_note(workspace: Workspace, name: str) -> dict:
    """Read what `write_note` wrote; says which notebook makes it if it is not there."""
    path = workspace.build / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: run the earlier notebooks first, or `make reproduce"
            f" PROFILE={workspace.profile.name}`"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def pools(workspace: Workspace, outcomes: Outcomes) -> Iterator[tuple[str, Outcomes]]:
    """The profile's pools: name and outcomes cut to its targets. Those without a price are named
    aloud, once; they stay in.
    """
    for name, targets in workspace.profile.pool_targets(outcomes.target_names).items():
        pool = outcomes.pool(targets)
        if unknown := without_cost(pool, workspace.profile.cost_model):
            _say_once(
                f"pool {name}: no price is known for {', '.join(unknown)}; left out of what needs a"
                " cost, and of nothing else"
            )
        yield name, pool


@functools.cache
def _say_once(text: str) -> None:
    print(text)


def kept(p: np.ndarray) -> np.ndarray:
    """P(correct) as it is kept, and evaluated: to four decimals, and half a step from 0 and 1 (the
    log loss needs that).

    What is published is then what was evaluated, to the last digit, in two bytes each.
    """
    return np.clip(
        np.round(np.asarray(p, dtype=np.float64), P_DECIMALS),
        half := 0.5 * 10.0**-P_DECIMALS,
        1 - half,
    )


def unpacked(stored: np.ndarray) -> np.ndarray:
    """What `kept` gave, from its float32 in a file."""
    return np.round(np.asarray(stored, dtype=np.float64), P_DECIMALS + 1)


def save_predictions(
    workspace: Workspace,
    pool: str,
    method: str,
    encoder: str,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    p: Mapping[int, np.ndarray],
    overhead: np.ndarray | None = None,
    reads: str = "prefill",
) -> None:
    """Keep P(correct) of one method on calibration and test rows of every split, as `kept` has it.

    Parameters
    ----------
    encoder : name of what it reads; several are joined for display, nothing is read out of the
    name.
    outcomes : Outcomes
        Of the pool: n queries, K targets.
    p : mapping of seed to ndarray [n, K]
        P(correct) of all queries; training rows are not kept.
    overhead : ndarray [n], optional
        The router's own cost per query, in the outcomes' unit; 0 by default.
    reads : one of `READS`
    """
    if reads not in READS:
        raise ValueError(
            f"method {method!r} cannot read {reads!r}; known: {', '.join(map(repr, READS))}"
        )
    overhead = np.zeros(outcomes.n) if overhead is None else overhead
    rows = []
    for seed, split in splits.items():
        for part in ("calibration", "test"):
            at = getattr(split, part)
            for k, target in enumerate(outcomes.target_names):
                rows.append(
                    pd.DataFrame(
                        {
                            "seed": seed,
                            "pool": pool,
                            "method": method,
                            "encoder": encoder,
                            "reads": reads,
                            "query_id": outcomes.queries["query_id"].to_numpy()[at],
                            "target": target,
                            "p_correct": kept(p[seed][at, k]).astype(np.float32),
                            "split": part,
                            "overhead": overhead[at],
                        }
                    )
                )
    folder = workspace.build / "predictions"
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"{quote(f'{pool}--{method}', safe=' @+')}.parquet") as temporary:
        pd.concat(rows, ignore_index=True).to_parquet(temporary, index=False)


def read_predictions(workspace: Workspace, pool: str, outcomes: Outcomes) -> dict[str, dict]:
    """Predictions of all methods on a pool.

    Returns
    -------
    dict of method to dict
        ``encoder``, ``reads`` (str), ``p`` ({seed: ndarray [n, K], NaN on training rows}),
        ``overhead`` (ndarray [n], 0 where unknown).
    """
    found = {}
    position = pd.Series(np.arange(outcomes.n), index=outcomes.queries["query_id"])
    column = {name: k for k, name in enumerate(outcomes.target_names)}
    for path in sorted((workspace.build / "predictions").glob("*.parquet")):
        table = pd.read_parquet(path, filters=[("pool", "==", pool)])
        if table.empty:
            continue
        p, overhead = {}, np.zeros(outcomes.n)
        for seed, rows in table.groupby("seed"):
            p[int(seed)] = np.full((outcomes.n, len(column)), np.nan)
            at = position.loc[rows["query_id"]].to_numpy()
            p[int(seed)][at, rows["target"].map(column).to_numpy()] = unpacked(rows["p_correct"])
            overhead[at] = rows["overhead"]
        found[table["method"].iloc[0]] = {
            name: table[name].iloc[0] for name in ("encoder", "reads")
        } | {"p": p, "overhead": overhead}
    if not found:
        raise FileNotFoundError(
            f"no predictions for pool {pool!r} in {workspace.build / 'predictions'}: run notebooks"
            " 04 and 05 first"
        )
    return found


def complete_splits(outcomes: Outcomes, splits: Mapping[int, Split]) -> dict[int, Split]:
    """The splits cut to the queries on which every target has an outcome.

    A split without such a training or test query is left out, and named aloud, once.

    Raises
    ------
    OutcomesError
        If no split is left.
    """
    complete = outcomes.complete_rows()
    found = {
        seed: Split(
            *(rows[complete[rows]] for rows in (split.train, split.calibration, split.test))
        )
        for seed, split in splits.items()
    }
    empty = [seed for seed, split in found.items() if not len(split.train) or not len(split.test)]
    if len(empty) == len(found):
        raise OutcomesError(
            f"{outcomes.name}: in no split do both training and test rows hold a query with an"
            " outcome of every target; fill outcomes in or drop a target"
        )
    if empty:
        _say_once(
            f"{outcomes.name}: split seed {', '.join(map(str, empty))} has no training or no test"
            " query with an outcome of every target and is left out of the evaluation"
        )
    return {seed: split for seed, split in found.items() if seed not in empty}


def calibrated_tolerance(p, cost, correct, overhead) -> float:
    """The tolerance whose router was cheapest on the calibration rows among those at least as
    accurate as the best single target there.

    0 if no tolerance reaches it. `p, cost, correct` are [n, K] on calibration rows.
    """
    curve = router_curve(p, cost, correct, overhead)
    good = curve[curve["accuracy"] >= correct.mean(axis=0).max() - 1e-12]
    return float(good.loc[good["cost"].idxmin(), "tolerance"]) if len(good) else 0.0


def evaluate(
    workspace: Workspace,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Mapping[str, dict],
    cost_model: str | None = None,
) -> SeedAverages:
    """All metrics of all methods on the test rows, averaged over split seeds, with bootstrap draws
    on shared resamples.

    To the methods with predictions come the points `best_single` (the target with the highest
    accuracy on training rows), `oracle` (the cheapest right target), `<method> calibrated` (the
    tolerance chosen on calibration rows), and the `zero_router`. Queries with a missing outcome of
    the pool are left out, and counted aloud.

    Where some targets have no price, `metrics.COST_METRICS` are those of the priced ones as a pool
    of their own (routing among them, their best single target), on the same queries; fewer than two
    of them have no cost metrics and no calibrated point. All other metrics are of the whole pool:
    accuracy is that of the argmax of P over all targets. A calibrated point is chosen among the
    priced targets, and its accuracy is compared with the best single target and the oracle of the
    whole pool.

    Parameters
    ----------
    cost_model : one of `routing.COST_MODELS`
        The profile's by default.
    """
    return evaluate_at(
        outcomes,
        splits,
        methods,
        expected_costs(outcomes, splits, cost_model or workspace.profile.cost_model),
        workspace.profile.bootstrap,
    )


def expected_costs(
    outcomes: Outcomes, splits: Mapping[int, Split], cost_model: str
) -> dict[int, np.ndarray]:
    """`routing.expected_cost` [n, K] by split seed; NaN for targets without a price, for all if
    fewer than two have one.
    """
    found, pool = {}, priced(outcomes, cost_model)
    for seed, split in splits.items():
        found[seed] = np.full(outcomes.correct.shape, np.nan)
        if pool is not None:
            found[seed][:, [outcomes.target_names.index(name) for name in pool.target_names]] = (
                expected_cost(pool, split.train, cost_model)
            )
    return found


def evaluate_at(
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Mapping[str, dict],
    costs: Mapping[int, np.ndarray],
    n_boot: int,
) -> SeedAverages:
    """`evaluate` with the costs [n, K] of each split seed given; targets whose cost is NaN on every
    query have none.
    """
    complete = outcomes.complete_rows()
    if not complete.all():
        print(
            f"{outcomes.name}: {int((~complete).sum())} of {outcomes.n} queries lack an outcome of"
            " this pool and are left out of the evaluation"
        )
    known = ~np.all([np.isnan(cost).all(axis=0) for cost in costs.values()], axis=0)
    names = [name for name, yes in zip(outcomes.target_names, known, strict=True) if yes]
    pool = outcomes if known.all() else outcomes.pool(names) if len(names) > 1 else None
    # Without a price every target costs nothing: the cost then decides nothing, and the metrics
    # that need one are dropped below.
    free = np.zeros_like(outcomes.correct)
    whole: dict[str, list[SeedRun]] = {}
    paying: dict[str, list[SeedRun]] = {}
    for seed, split in complete_splits(outcomes, splits).items():
        train, calibration, test = split.train, split.calibration, split.test
        p, overhead = (
            {name: m["p"][seed] for name, m in methods.items()},
            {name: m["overhead"] for name, m in methods.items()},
        )
        cost, chosen = free, {}
        if pool is not None:
            cost, of_pool = costs[seed][:, known], cut(p, outcomes, pool)
            # without a calibration query there is no calibrated point on this split
            chosen = {
                name: _calibrated_choice(
                    of_pool[name], cost, pool.correct, overhead[name], calibration, test
                )
                for name in methods
                if len(calibration)
            }
        if pool is not outcomes and pool is not None:
            _add_runs(paying, pool, cost, of_pool, overhead, chosen, train, test)
        _add_runs(
            whole, outcomes, cost if pool is outcomes else free, p, overhead, chosen, train, test
        )
    averages = seed_averaged_intervals(whole, n_boot, seed=0)
    if pool is outcomes:
        return averages
    return _with_costs_of(
        averages, seed_averaged_intervals(paying, n_boot, seed=0) if paying else None
    )


def metrics_table(averages: SeedAverages, pool: str, methods: Mapping[str, dict]) -> pd.DataFrame:
    """Rows of ``metrics.csv`` (`METRIC_COLUMNS`) of one pool; a calibrated point reads what its
    method reads.
    """
    table = averages.table().assign(pool=pool)
    for column in ("encoder", "reads"):
        read = {
            f"{name}{suffix}": method.get(column, "")
            for name, method in methods.items()
            for suffix in ("", " calibrated")
        }
        table[column] = table["method"].map(read).fillna("")
    return table[METRIC_COLUMNS]


def cut(p: Mapping[str, np.ndarray], outcomes: Outcomes, pool: Outcomes) -> dict[str, np.ndarray]:
    """P(correct) [n, K] of each method, cut to the targets of a smaller pool."""
    columns = [outcomes.target_names.index(name) for name in pool.target_names]
    return {name: values[:, columns] for name, values in p.items()}


def _calibrated_choice(
    p, cost, correct, overhead, calibration, test
) -> tuple[np.ndarray, np.ndarray]:
    """Cost and correctness on the test rows of the answers at the tolerance chosen on the
    calibration rows.
    """
    tolerance = calibrated_tolerance(
        p[calibration], cost[calibration], correct[calibration], overhead[calibration]
    )
    chosen = route(p[test], cost[test], tolerance)
    return cost[test, chosen] + overhead[test], correct[test, chosen]


def _add_runs(
    runs: dict[str, list[SeedRun]], outcomes: Outcomes, cost, p, overhead, calibrated, train, test
) -> None:
    """Add one split's runs of all methods, `calibrated` points and references to the lists in
    `runs`.
    """
    c, y, g = cost[test], outcomes.correct[test], outcomes.queries["group"].to_numpy()[test]
    for name in p:
        runs.setdefault(name, []).append(
            router_run(p[name][test], c, y, g, overhead[name][test], outcomes.target_names)
        )
        if name in calibrated:
            runs.setdefault(f"{name} calibrated", []).append(point_run(*calibrated[name], c, y, g))
    best = int(outcomes.correct[train].mean(axis=0).argmax())
    runs.setdefault("best_single", []).append(point_run(c[:, best], y[:, best], c, y, g))
    oracle = route(y, c, 0.0)
    at = np.arange(len(test))
    runs.setdefault("oracle", []).append(point_run(c[at, oracle], y[at, oracle], c, y, g))
    runs.setdefault("zero_router", []).append(zero_router_run(c, y, g))


def _with_costs_of(averages: SeedAverages, paying: SeedAverages | None) -> SeedAverages:
    """`averages` with the cost metrics of `paying`, or without any. Both are on the same queries,
    hence on the same resamples.
    """

    def merged(field: str) -> dict:
        ours, theirs = getattr(averages, field), getattr(paying, field) if paying else {}
        keys = [key for key in ours if key[1] not in COST_METRICS or key in theirs]
        return {key: theirs[key] if key[1] in COST_METRICS else ours[key] for key in keys}

    return SeedAverages(
        merged("point"), merged("draws"), merged("seeds"), merged("undefined"), averages.n
    )


def tolerance_curve(
    workspace: Workspace,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    method: Mapping,
    tolerances: Sequence[float] | np.ndarray,
    cost_model: str | None = None,
) -> pd.DataFrame:
    """`stats.seed_averaged_curve` of one method (a value of `read_predictions`) on the test rows,
    routing among the targets with a price.

    Returns
    -------
    DataFrame[tolerance, cost, accuracy, ci_low, ci_high]
        Without rows if fewer than two targets have a price.
    """
    cost_model = cost_model or workspace.profile.cost_model
    groups = outcomes.queries["group"].to_numpy()
    pool = priced(outcomes, cost_model)
    if pool is None:
        return pd.DataFrame(
            columns=["tolerance", "cost", "accuracy", "ci_low", "ci_high"], dtype=np.float64
        )
    p, runs = cut(method["p"], outcomes, pool), []
    for seed, split in complete_splits(outcomes, splits).items():
        test, cost = split.test, expected_cost(pool, splits[seed].train, cost_model)
        runs.append(
            (p[seed][test], cost[test], pool.correct[test], groups[test], method["overhead"][test])
        )
    return seed_averaged_curve(runs, tolerances, workspace.profile.bootstrap, seed=0)


def single_points(
    workspace: Workspace,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    cost_model: str | None = None,
) -> pd.DataFrame:
    """Mean cost and accuracy of every single target on the test rows, averaged over split seeds:
    [target, cost, accuracy].

    The cost is NaN where a target has no price (and for all of them if fewer than two have one).
    """
    cost_model = cost_model or workspace.profile.cost_model
    pool, tests = (
        priced(outcomes, cost_model),
        {seed: split.test for seed, split in complete_splits(outcomes, splits).items()},
    )
    accuracy = np.mean([outcomes.correct[test].mean(axis=0) for test in tests.values()], axis=0)
    points = pd.DataFrame({"target": outcomes.target_names, "cost": np.nan, "accuracy": accuracy})
    if pool is not None:
        cost = [
            expected_cost(pool, splits[seed].train, cost_model)[test].mean(axis=0)
            for seed, test in tests.items()
        ]
        points.loc[points["target"].isin(pool.target_names), "cost"] = np.mean(cost, axis=0)
    return points


def oracle_point(
    workspace: Workspace,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    cost_model: str | None = None,
) -> tuple[float, float]:
    """Mean cost and accuracy of the oracle among the targets with a price, averaged over split
    seeds; NaN if fewer than two have one.
    """
    cost_model = cost_model or workspace.profile.cost_model
    pool = priced(outcomes, cost_model)
    if pool is None:
        return float("nan"), float("nan")
    points = []
    for seed, split in complete_splits(outcomes, splits).items():
        test = split.test
        cost, correct = (
            expected_cost(pool, splits[seed].train, cost_model)[test],
            pool.correct[test],
        )
        points.append(
            (
                cost[np.arange(len(test)), route(correct, cost, 0.0)].mean(),
                correct.max(axis=1).mean(),
            )
        )
    cost, accuracy = np.mean(points, axis=0)
    return float(cost), float(accuracy)


def within_benchmarks(
    workspace: Workspace,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Mapping[str, dict],
    names: Sequence[str],
    n_boot: int = 300,
) -> pd.DataFrame:
    """Mean per-target AUC inside each benchmark, where knowing the benchmark is worth nothing (AUC
    0.5).

    Returns
    -------
    DataFrame[method, encoder, benchmark, value, ci_low, ci_high, n]
        Averages over split seeds on test rows; 95 % intervals by bootstrap over groups. A benchmark
        without a test query that every target has an outcome on has n = 0 and no number (NaN), and
        is named aloud, once.
    """
    complete, groups = outcomes.complete_rows(), outcomes.queries["group"].to_numpy()
    benchmarks = outcomes.queries["benchmark"].to_numpy()
    tables, empty = [], []
    for benchmark in sorted(set(benchmarks)):
        runs: dict[str, list] = {}
        for seed, split in splits.items():
            test = split.test[complete[split.test] & (benchmarks[split.test] == benchmark)]
            for name in (n for n in names if n in methods):
                runs.setdefault(name, []).append(
                    auc_run(methods[name]["p"][seed][test], outcomes.correct[test], groups[test])
                )
        if not runs:
            raise ValueError(
                f"none of the methods {', '.join(names)} has predictions; there are"
                f" {', '.join(methods)}"
            )
        table = seed_averaged_intervals(runs, n_boot, seed=0).table()
        if not table["n"].any():
            empty.append(benchmark)
        tables.append(table[table["metric"] == "mean_auc"].assign(benchmark=benchmark))
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        _say_once(
            f"{outcomes.name}: no test query that every target answered, so no number inside"
            f" {shown}"
        )
    found = pd.concat(tables, ignore_index=True)
    found["encoder"] = found["method"].map(
        {name: method["encoder"] for name, method in methods.items()}
    )
    return found[["method", "encoder", "benchmark", "value", "ci_low", "ci_high", "n"]]
