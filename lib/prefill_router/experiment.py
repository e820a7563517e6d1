"""What the notebooks hand on to each other: splits, where the activations lie, predictions, and their evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from prefill_router.outcomes import Outcomes, Split, check_trainable, grouped_split
from prefill_router.profiles import Workspace, replacing
from prefill_router.routing import expected_cost, route, router_curve, without_cost
from prefill_router.stats import SeedAverages, point_run, router_run, seed_averaged_intervals, zero_router_run

PARTS = ("train", "calibration", "test")


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
        check_trainable(outcomes.correct[split.train], outcomes.target_names, where=f"training rows of split seed {seed}")
        for part in PARTS:
            rows.append(pd.DataFrame({"seed": seed, "query_id": outcomes.queries["query_id"].to_numpy()[getattr(split, part)], "split": part}))
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
        int(seed): Split(*(np.sort(position.loc[rows.loc[rows["split"] == part, "query_id"]].to_numpy()) for part in PARTS))
        for seed, rows in pd.read_parquet(path).groupby("seed")
    }


def write_note(workspace: Workspace, name: str, content: dict) -> None:
    """Keep a small JSON note for later notebooks in the build folder (such as where the activations are)."""
    with replacing(workspace.build / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_note(workspace: Workspace, name: str) -> dict:
    """Read what `write_note` wrote; says which notebook makes it if it is not there."""
    path = workspace.build / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run the earlier notebooks first, or `make reproduce PROFILE={workspace.profile.name}`")
    return json.loads(path.read_text(encoding="utf-8"))


def pools(workspace: Workspace, outcomes: Outcomes) -> Iterator[tuple[str, Outcomes]]:
    """The profile's pools: name and outcomes cut to its targets; a target without a price is left out, aloud."""
    for name, targets in workspace.profile.pool_targets(outcomes.target_names).items():
        pool = outcomes.pool(targets)
        if unknown := without_cost(pool, workspace.profile.cost_model):
            print(f"pool {name}: no price is known for {', '.join(unknown)}; left out, since routing weighs cost")
            pool = pool.pool([target for target in targets if target not in unknown])
        yield name, pool


def save_predictions(workspace: Workspace, pool: str, method: str, encoder: str, outcomes: Outcomes, splits: Mapping[int, Split],
                     p: Mapping[int, np.ndarray], overhead: np.ndarray | None = None) -> None:
    """Keep P(correct) of one method on calibration and test rows of every split.

    Parameters
    ----------
    outcomes : Outcomes
        Of the pool: n queries, K targets.
    p : mapping of seed to ndarray [n, K]
        P(correct) of all queries; training rows are not kept.
    overhead : ndarray [n], optional
        The router's own cost per query, in the outcomes' unit; 0 by default.
    """
    overhead = np.zeros(outcomes.n) if overhead is None else overhead
    rows = []
    for seed, split in splits.items():
        for part in ("calibration", "test"):
            at = getattr(split, part)
            for k, target in enumerate(outcomes.target_names):
                rows.append(pd.DataFrame({"seed": seed, "pool": pool, "method": method, "encoder": encoder, "query_id": outcomes.queries["query_id"].to_numpy()[at],
                                          "target": target, "p_correct": p[seed][at, k].astype(np.float32), "split": part, "overhead": overhead[at]}))
    folder = workspace.build / "predictions"
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"{pool}--{method}.parquet") as temporary:
        pd.concat(rows, ignore_index=True).to_parquet(temporary, index=False)


def read_predictions(workspace: Workspace, pool: str, outcomes: Outcomes) -> dict[str, dict]:
    """Predictions of all methods on a pool.

    Returns
    -------
    dict of method to dict
        ``encoder`` (str), ``p`` ({seed: ndarray [n, K], NaN on training rows}), ``overhead`` (ndarray [n], 0 where unknown).
    """
    found = {}
    position = pd.Series(np.arange(outcomes.n), index=outcomes.queries["query_id"])
    column = {name: k for k, name in enumerate(outcomes.target_names)}
    for path in sorted((workspace.build / "predictions").glob(f"{pool}--*.parquet")):
        table = pd.read_parquet(path)
        p, overhead = {}, np.zeros(outcomes.n)
        for seed, rows in table.groupby("seed"):
            p[int(seed)] = np.full((outcomes.n, len(column)), np.nan)
            at = position.loc[rows["query_id"]].to_numpy()
            p[int(seed)][at, rows["target"].map(column).to_numpy()] = rows["p_correct"]
            overhead[at] = rows["overhead"]
        found[str(table["method"].iloc[0])] = {"encoder": str(table["encoder"].iloc[0]), "p": p, "overhead": overhead}
    if not found:
        raise FileNotFoundError(f"no predictions for pool {pool!r} in {workspace.build / 'predictions'}: run notebooks 04 and 05 first")
    return found


def calibrated_tolerance(p, cost, correct, overhead) -> float:
    """The tolerance whose router was cheapest on the calibration rows among those at least as accurate as the best single target there.

    0 if no tolerance reaches it. `p, cost, correct` are [n, K] on calibration rows.
    """
    curve = router_curve(p, cost, correct, overhead)
    good = curve[curve["accuracy"] >= correct.mean(axis=0).max() - 1e-12]
    return float(good.loc[good["cost"].idxmin(), "tolerance"]) if len(good) else 0.0


def evaluate(workspace: Workspace, outcomes: Outcomes, splits: Mapping[int, Split], methods: Mapping[str, dict]) -> SeedAverages:
    """All metrics of all methods on the test rows, averaged over split seeds, with bootstrap draws on shared resamples.

    To the methods with predictions come the points `best_single` (of each replicate), `oracle` (its cheapest right target),
    `<method>@calibrated` (the tolerance chosen on calibration rows), and the `zero_router`.
    Queries with a missing outcome of the pool are left out, and counted aloud.
    """
    complete = outcomes.complete_rows()
    if not complete.all():
        print(f"{outcomes.name}: {int((~complete).sum())} of {outcomes.n} queries lack an outcome of this pool and are left out of the evaluation")
    groups = outcomes.queries["group"].to_numpy()
    runs: dict[str, list] = {}
    for seed, split in splits.items():
        cost = expected_cost(outcomes, split.train, workspace.profile.cost_model)
        test, calibration = (rows[complete[rows]] for rows in (split.test, split.calibration))
        c, y, g = cost[test], outcomes.correct[test], groups[test]
        for name, method in methods.items():
            p, overhead = method["p"][seed], method["overhead"]
            runs.setdefault(name, []).append(router_run(p[test], c, y, g, overhead[test], outcomes.target_names))
            tolerance = calibrated_tolerance(p[calibration], cost[calibration], outcomes.correct[calibration], overhead[calibration])
            chosen = route(p[test], c, tolerance)
            at = np.arange(len(test))
            runs.setdefault(f"{name} calibrated", []).append(point_run(c[at, chosen] + overhead[test], y[at, chosen], c, y, g))
        best = int(outcomes.correct[split.train][complete[split.train]].mean(axis=0).argmax())
        runs.setdefault("best_single", []).append(point_run(c[:, best], y[:, best], c, y, g))
        oracle = route(y, c, 0.0)
        at = np.arange(len(test))
        runs.setdefault("oracle", []).append(point_run(c[at, oracle], y[at, oracle], c, y, g))
        runs.setdefault("zero_router", []).append(zero_router_run(c, y, g))
    return seed_averaged_intervals(runs, workspace.profile.bootstrap, seed=0)


def single_points(workspace: Workspace, outcomes: Outcomes, splits: Mapping[int, Split]) -> pd.DataFrame:
    """Mean cost and accuracy of every single target on the test rows, averaged over split seeds: [target, cost, accuracy]."""
    complete = outcomes.complete_rows()
    cost, accuracy = [], []
    for split in splits.values():
        test = split.test[complete[split.test]]
        cost.append(expected_cost(outcomes, split.train, workspace.profile.cost_model)[test].mean(axis=0))
        accuracy.append(outcomes.correct[test].mean(axis=0))
    return pd.DataFrame({"target": outcomes.target_names, "cost": np.mean(cost, axis=0), "accuracy": np.mean(accuracy, axis=0)})


def within_benchmarks(workspace: Workspace, outcomes: Outcomes, splits: Mapping[int, Split], methods: Mapping[str, dict], names: Iterable[str], n_boot: int = 300) -> pd.DataFrame:
    """Mean per-target AUC inside each benchmark, where knowing the benchmark is worth nothing (AUC 0.5).

    Returns
    -------
    DataFrame[method, encoder, benchmark, value, ci_low, ci_high, n]
        Averages over split seeds on test rows; 95 % intervals by bootstrap over groups.
    """
    complete, groups = outcomes.complete_rows(), outcomes.queries["group"].to_numpy()
    benchmarks = outcomes.queries["benchmark"].to_numpy()
    tables = []
    for benchmark in sorted(set(benchmarks)):
        runs: dict[str, list] = {}
        for seed, split in splits.items():
            cost = expected_cost(outcomes, split.train, workspace.profile.cost_model)
            test = split.test[complete[split.test] & (benchmarks[split.test] == benchmark)]
            for name in (n for n in names if n in methods):
                method = methods[name]
                runs.setdefault(name, []).append(
                    router_run(method["p"][seed][test], cost[test], outcomes.correct[test], groups[test], method["overhead"][test], outcomes.target_names)
                )
        table = seed_averaged_intervals(runs, n_boot, seed=0).table()
        tables.append(table[(table["metric"] == "mean_auc") & (table["target"].fillna("") == "")].assign(benchmark=benchmark))
    found = pd.concat(tables, ignore_index=True)
    found["encoder"] = found["method"].map({name: method["encoder"] for name, method in methods.items()})
    return found[["method", "encoder", "benchmark", "value", "ci_low", "ci_high", "n"]]
