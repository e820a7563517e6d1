"""Graded outcomes as labels of a classification: two weighted rows for one graded row.

A grade y between 0 and 1 is the share of a target's answers to a query that are right. A row graded
2/3 counts as 2/3 of a right row and 1/3 of a wrong one: the log loss of the two weighted rows is
the cross-entropy -y log p - (1 - y) log(1 - p), so whatever takes weights takes grades.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def check_grades(Y: ArrayLike) -> np.ndarray:
    """Y [n, K] as float64; ValueError if it is no table of numbers from 0 to 1 and NaN."""
    Y = np.asarray(Y, np.float64)
    if Y.ndim != 2 or not (np.isnan(Y) | ((Y >= 0) & (Y <= 1))).all():
        raise ValueError(f"Y {Y.shape} must be a table [n, K] of 0 to 1 and NaN (missing)")
    return Y


def has_both_classes(y: np.ndarray) -> np.ndarray:
    """Whether the known grades are neither all 0 nor all 1, for each column of [n, ...]: bool."""
    return (np.nan_to_num(y, nan=0.0) > 0).any(axis=0) & (np.nan_to_num(y, nan=1.0) < 1).any(axis=0)


def class_rows(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows, labels and weights that stand for the known grades of one target.

    Parameters
    ----------
    y : float ndarray [n]
        Grades from 0 to 1; NaN missing (left out).

    Returns
    -------
    rows : int ndarray [m]
        Row of y, ascending; one that is graded between 0 and 1 is there twice.
    labels : float64 ndarray [m]
        1 right, 0 wrong.
    weights : float64 ndarray [m] or None
        y of a right row, 1 - y of a wrong one; None where every grade is 0 or 1.
    """
    right, wrong = np.flatnonzero(y > 0), np.flatnonzero(y < 1)
    rows = np.concatenate([right, wrong])
    order = np.argsort(rows, kind="stable")
    labels = np.repeat([1.0, 0.0], [len(right), len(wrong)])[order]
    weights = np.concatenate([y[right], 1 - y[wrong]])[order]
    return rows[order], labels, None if (weights == 1).all() else weights
