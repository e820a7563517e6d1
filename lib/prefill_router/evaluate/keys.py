"""What a metric is of: a method at an operating point, and for some metrics one target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from prefill_router.heads.names import MethodKey, method_keys, reads_several

ARGMAX, CALIBRATED = "argmax", "calibrated"
"""Operating points: tolerance 0, and the tolerance that was chosen on calibration rows."""

# Metrics of the answers at one operating point; all others are of P(correct) or of the whole curve.
OF_ANSWERS = ("accuracy", "gap_closed", "cost_saving_vs_max", "disagree_accuracy")


class AtPoint(NamedTuple):
    """A method at an operating point other than tolerance 0."""

    method: MethodKey
    operating_point: str


class OfTarget(NamedTuple):
    """A metric of a single target."""

    metric: str
    target: str


Method = MethodKey | AtPoint
Metric = str | OfTarget
MetricValues = dict[Metric, np.ndarray]
"""Metrics [B] for many weightings of the queries."""


def method_of(key: Method) -> MethodKey:
    """The method, whatever the operating point."""
    return key.method if isinstance(key, AtPoint) else key


def metric_and_target(key: Metric) -> tuple[str, str]:
    """The metric, and the target or "" for the pool."""
    return (key.metric, key.target) if isinstance(key, OfTarget) else (key, "")


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """A table less the rows of methods on one of several encoders (`OnEncoder`), so that every
    method stands for itself once.

    Parameters
    ----------
    table : DataFrame
        With the column ``method``; without the column ``encoder`` no row is left out.
    """
    if "encoder" not in table:
        return table
    known = [name for name in table["encoder"].dropna().unique() if reads_several(name)]
    several = table["encoder"].isin(known)
    return table[several | ~table["method"].isin(table.loc[several, "method"].unique())]


def with_keys(table: pd.DataFrame) -> pd.DataFrame:
    """A table with keys in place of the names of methods, which tell a method on several encoders
    from the same method on one of them.

    Parameters
    ----------
    table : DataFrame
        With ``method``, or ``method_a`` and ``method_b``, and beside each of them, where methods
        may read several encoders, ``encoder``, ``encoder_a``, ``encoder_b``.
    """
    pairs = {}
    for method in ("method", "method_a", "method_b"):
        encoder = method.replace("method", "encoder")
        if method in table and encoder in table:
            pairs[method] = list(
                zip(table[method], table[encoder].astype(object).fillna(""), strict=True)
            )
    keys = method_keys(pair for of in pairs.values() for pair in of)
    return table.assign(
        **{m: pd.Series([keys[p] for p in of], table.index, object) for m, of in pairs.items()}
    )
