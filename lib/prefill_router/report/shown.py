"""Which methods and rows the figures of a pool show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from prefill_router.evaluate.keys import ARGMAX, CALIBRATED, main_rows, with_keys
from prefill_router.evaluate.pools import LoadedPools
from prefill_router.report.readable import intervals, readable, with_interval
from prefill_router.report.rivals import best_semantic, of_pools

# none of them reads a query closely enough for a diagram of its own
REFERENCES = ("tfidf", "benchmark_mean", "random")


def shown_methods(metrics: pd.DataFrame, loaded: LoadedPools) -> dict[str, list[str]]:
    """The few methods that figures show of each pool: ours, the paper's network, the best semantic
    baseline and ``REFERENCES``, those of them that there are.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``.
    loaded : mapping of pool to (outcomes, splits, methods)
    """
    found = {}
    for pool, (_, _, known) in loaded.items():
        wanted = ("ours", "paper", best_semantic(metrics, pool), *REFERENCES)
        found[pool] = [name for name in wanted if name is not None and name in known]
    return found


def without(shown: Mapping[str, Iterable[str]], *names: str) -> dict[str, list[str]]:
    """``shown`` less some names."""
    return {pool: [m for m in methods if m not in names] for pool, methods in shown.items()}


def compared(metrics: pd.DataFrame, pool: str) -> pd.DataFrame:
    """Rows of the methods that are set side by side in a pool.

    Single encoders stand in the notebook on encoders; operating points and single points are no
    method; random choices lie so far below zero that an axis with them would show nothing else.
    """
    rows = of_pools(metrics)
    points = ["best_single", "oracle", "random"]
    kept = (rows["pool"] == pool) & ~rows["method"].isin(points)
    return rows[kept].dropna(subset="value")


def operating_points(metrics: pd.DataFrame, shown: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """Accuracy and saving of the methods ``shown`` at tolerance 0, and at the tolerance that was
    chosen on calibration rows.

    Returns
    -------
    DataFrame of str, index (pool, method)
        Columns (point, metric): ``tolerance 0`` or ``planned tolerance``; accuracy, and
        cost_saving_vs_max, the share of the dearest target's cost that is saved; each with its
        interval. A dash where there is no such point.
    """
    rows = main_rows(metrics[metrics["target"].fillna("") == ""])
    index = ["operating_point", "pool", "method", "metric"]
    rows = rows.assign(cell=with_interval(rows, "value")).drop_duplicates(index)
    cell = rows.set_index(index)["cell"]
    points = {"tolerance 0": ARGMAX, "planned tolerance": CALIBRATED}
    keys = [(pool, method) for pool, methods in shown.items() for method in methods]
    table = {
        (name, metric): [cell.get((point, *key, metric)) for key in keys]
        for name, point in points.items()
        for metric in ("accuracy", "cost_saving_vs_max")
    }
    of_rows = pd.MultiIndex.from_tuples(keys, names=["pool", "method"])
    return readable(pd.DataFrame(table, index=of_rows))


def differences_table(paired: pd.DataFrame) -> pd.DataFrame:
    """The main differences with their intervals, a column a metric; text for people.

    Parameters
    ----------
    paired : DataFrame
        As ``results/<profile>/paired.csv``.
    """
    main = ["mean_auc", "disagreement_auc", "accuracy", "p_auccc", "gap_closed"]
    rows = with_keys(paired[paired["metric"].isin(main)])
    return intervals(rows, ["pool", "method_a", "method_b"])
