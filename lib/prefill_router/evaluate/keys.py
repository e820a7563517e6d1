"""What a metric is of: a method at an operating point, and for some metrics one target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ARGMAX, CALIBRATED = "argmax", "calibrated"
"""Operating points: tolerance 0, and the tolerance that was chosen on calibration rows."""

# Metrics of the answers at one operating point; all others are of P(correct) or of the whole curve.
OF_ANSWERS = ("accuracy", "gap_closed", "cost_saving_vs_max", "disagree_accuracy")


class AtPoint(NamedTuple):
    """A method at an operating point other than tolerance 0."""

    method: str
    operating_point: str


class OfTarget(NamedTuple):
    """A metric of a single target."""

    metric: str
    target: str


Method = str | AtPoint
Metric = str | OfTarget
MetricValues = dict[Metric, np.ndarray]
"""Metrics [B] for many weightings of the queries."""


def method_of(key: Method) -> str:
    """The method, whatever the operating point."""
    return key.method if isinstance(key, AtPoint) else key


def metric_and_target(key: Metric) -> tuple[str, str]:
    """The metric, and the target or "" for the pool."""
    return (key.metric, key.target) if isinstance(key, OfTarget) else (key, "")
