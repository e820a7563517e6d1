"""What all baselines share: the checks of fit and predict_proba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from prefill_router.data.labels import check_grades


def target_rates(Y: np.ndarray) -> np.ndarray:
    """Mean grade per target [K] of the outcomes that are known.

    Raises
    ------
    ValueError
        Y is no table of 0 to 1 and NaN, or a target has no known outcome.
    """
    Y = check_grades(Y)
    known = ~np.isnan(Y)
    if not known.any(axis=0).all():
        raise ValueError(
            f"targets in columns {np.flatnonzero(~known.any(axis=0)).tolist()} of Y have no"
            " outcome; drop them from the pool"
        )
    return np.nansum(Y, axis=0) / known.sum(axis=0)


def shrunken_means(
    labels: np.ndarray, Y: np.ndarray, overall: np.ndarray, smoothing: float, count: int
) -> np.ndarray:
    """Mean of every target in each part of the rows, shrunk towards its overall mean.

    (sum of the known values in the part + smoothing * overall) / (their number + smoothing).

    Parameters
    ----------
    labels : int ndarray [n]
        Part of each row, 0 ... count - 1.
    Y : float ndarray [n, K]
        Outcomes, or other values such as costs; NaN missing.
    overall : float ndarray [K]
    smoothing : float
        Weight of the overall mean, in values; not negative.
    count : int

    Returns
    -------
    float64 ndarray [count, K]
        The overall mean where a part has no known value.
    """
    member = (labels == np.arange(count)[:, None]).astype(np.float64)
    total, known = member @ np.nan_to_num(Y), member @ ~np.isnan(Y)
    weight = known + smoothing
    tiled = np.tile(np.asarray(overall, np.float64), (count, 1))
    return np.divide(total + smoothing * tiled, weight, out=tiled.copy(), where=weight > 0)


class BaselineRouter:
    """Checks that every router shares."""

    def fit(
        self, X: Any, Y: np.ndarray, groups: Sequence | np.ndarray | None = None
    ) -> BaselineRouter:
        """Fit on training rows; returns the router itself.

        Parameters
        ----------
        X : n rows
            See the class.
        Y : float ndarray [n, K]
            1 right, 0 wrong, between them a share of right answers; NaN missing.
        groups : n labels, optional
            Rows of one group never straddle a fold; default: every row on its own.

        Raises
        ------
        ValueError
            Lengths that disagree, other values in Y, a target without any outcome.
        """
        Y = np.asarray(Y, np.float64)
        groups = np.arange(len(Y)) if groups is None else np.asarray(groups)
        if not row_count(X) == len(Y) == len(groups):
            raise ValueError(
                f"X has {row_count(X)} rows, Y {len(Y)}, groups {len(groups)}; they must be equal"
            )
        self.rates_ = target_rates(Y)
        self._fit(X, Y, groups)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """P(correct): float64 [n, K]; raises NotFittedError before :meth:`fit`."""
        self.check_fitted()
        return self._predict(X)

    def check_fitted(self) -> None:
        """Raises NotFittedError before :meth:`fit`."""
        if not hasattr(self, "rates_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted; call fit(X, Y) first")

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        """Nothing beyond the rates by default."""

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError


def row_count(X: Any) -> int:
    return X.shape[0] if hasattr(X, "shape") else len(X)
