"""Controls: routers that read next to nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from prefill_router.heads.baselines import fit_columns, predict_columns
from prefill_router.heads.router_base import BaselineRouter, row_count, shrunken_means


class RandomRouter(BaselineRouter):
    """Uniform random P from ``seed``, the same at every call; X is anything with a length."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _predict(self, X: Any) -> np.ndarray:
        return np.random.default_rng(self.seed).random((row_count(X), len(self.rates_)))


class GroupMeanRouter(BaselineRouter):
    """Every target's training accuracy in the query's category, shrunk towards its overall
    accuracy.

    P = (right answers in category + smoothing * overall) / (outcomes in category + smoothing). X is
    a 1-d array of categories; an unseen one gets the overall accuracy.

    Parameters
    ----------
    smoothing : float
        Weight of the overall accuracy, in outcomes; not negative.
    """

    def __init__(self, smoothing: float = 5.0) -> None:
        if smoothing < 0:
            raise ValueError(f"smoothing={smoothing}; it must not be negative")
        self.smoothing = smoothing

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        names, labels = np.unique(np.asarray(X).astype(str), return_inverse=True)
        means = shrunken_means(labels, Y, self.rates_, self.smoothing, len(names))
        self._means = dict(zip(names.tolist(), means, strict=True))

    def _predict(self, X: Any) -> np.ndarray:
        return np.array([self._means.get(str(category), self.rates_) for category in X]).reshape(
            -1, len(self.rates_)
        )


class PromptLengthRouter(BaselineRouter):
    """Logistic regression on log(1 + length) and its square; X is a 1-d array of token counts.

    Parameters
    ----------
    C : float
        Inverse L2 strength; with two standardised inputs it hardly matters.
    """

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(self._inputs(X))
        self._columns = fit_columns(self._scaler.transform(self._inputs(X)), Y, self.C)

    def _predict(self, X: Any) -> np.ndarray:
        return predict_columns(self._columns, self._scaler.transform(self._inputs(X)))

    @staticmethod
    def _inputs(X: Any) -> np.ndarray:
        logs = np.log1p(np.asarray(X, np.float64).ravel())
        return np.column_stack([logs, logs**2])
