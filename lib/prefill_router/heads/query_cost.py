"""What an answer will cost, read from the same states as whether it will be right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prefill_router.heads.kernel_regression import KernelRegression
from prefill_router.heads.landmarks import Rows


class QueryCost:
    """Kernel ridge regression of the logarithm of every target's realised cost.

    Costs are products of tokens and prices, and answers differ in length by factors: on a
    logarithmic scale no long answer rules the fit. Back on the scale of costs a target's
    predictions are multiplied by the factor that makes their held-out mean right (Duan, Smearing
    estimate, J. Am. Stat. Assoc. 78, 1983).

    Parameters
    ----------
    seed : int
        Of the cross-validation, see :class:`KernelRegression`.
    precomputed : bool
        As there.

    Attributes
    ----------
    factors_ : ndarray [K]
    rows_ : int ndarray [m]
        Training rows that the cross-validation looked at.
    held_out_ : ndarray [m, K]
        Expected cost of those, predicted from other folds.
    """

    def __init__(self, seed: int = 0, precomputed: bool = False) -> None:
        self._regression = KernelRegression(seed=seed, precomputed=precomputed)

    def fit(
        self, X: Rows, cost: np.ndarray, groups: Sequence | np.ndarray | None = None
    ) -> QueryCost:
        """Fit on training rows.

        Parameters
        ----------
        X : ndarray [n, D] or StoredStates, or kernels [n, n]
        cost : ndarray [n, K]
            Realised, in any unit; NaN missing. Both that and 0 are taken at the target's mean
            logarithm; a 0 counts in the held-out mean that the factor makes right.
        groups : n labels, optional

        Raises
        ------
        ValueError
            A target without a positive cost.
        """
        cost = np.asarray(cost, np.float64)
        known = cost > 0
        if not known.any(axis=0).all():
            lacking = np.flatnonzero(~known.any(axis=0)).tolist()
            raise ValueError(f"targets in columns {lacking} have no positive cost; leave them out")
        logs = np.log(np.where(known, cost, np.nan))
        mean = np.nanmean(logs, axis=0)
        rows, held_out = self._regression.fit_values(X, np.where(known, logs, mean), groups)
        there = cost >= 0  # what cost nothing has no logarithm, but a part in the mean
        seen = np.where(there, cost, 0.0)[rows].sum(axis=0)
        self.factors_ = seen / np.where(there[rows], np.exp(held_out), 0.0).sum(axis=0)
        self.rows_, self.held_out_ = rows, np.exp(held_out) * self.factors_
        return self

    def predict(self, X: Rows) -> np.ndarray:
        """Expected cost [m, K], in the unit of the training."""
        return np.exp(self._regression.predict_values(X)) * self.factors_
