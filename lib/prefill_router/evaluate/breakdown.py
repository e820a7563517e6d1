"""The evaluation inside each benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.evaluate.evaluation import Methods
from prefill_router.evaluate.resampling import seed_averaged_intervals
from prefill_router.evaluate.runs import auc_run
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.files import say_once


def within_benchmarks(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    methods: Methods,
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
                f" {', '.join(map(str, methods))}"
            )
        table = seed_averaged_intervals(runs, n_boot, seed=0).table()
        if not table["n"].any():
            empty.append(benchmark)
        tables.append(table[table["metric"] == "mean_auc"].assign(benchmark=benchmark))
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        say_once(
            f"{outcomes.name}: no test query that every target answered, so no number inside"
            f" {shown}"
        )
    found = pd.concat(tables, ignore_index=True)
    found["encoder"] = found["method"].map(
        {name: method["encoder"] for name, method in methods.items()}
    )
    return found[["method", "encoder", "benchmark", "value", "ci_low", "ci_high", "n"]]
