"""Routers that predict the category of a query and know each target's accuracy in it.

The control ``benchmark_mean`` is told the category; a router at work is not. These read it off the
embedding: by the law of total probability, P(correct) = sum over categories c of P(c | x) times the
target's accuracy in c. Their ``fit`` takes the categories of the training rows; ``predict_proba``
reads embeddings alone, so a query of a category never seen is no special case: it is spread over
those that it resembles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from prefill_router.data.splits import group_folds
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.gram import fill_missing
from prefill_router.heads.kernel import fit_map, probabilities
from prefill_router.heads.kernel_regression import KernelRegression
from prefill_router.heads.router_base import BaselineRouter, row_count, shrunken_means
from prefill_router.heads.semantic import rows_with_outcomes


@dataclass(frozen=True)
class CategoryMeans:
    """A classifier of categories, and every target's mean in each of them.

    Attributes
    ----------
    scaler : StandardScaler
    classifier : LogisticRegression or None
        None where there is only one category.
    means : float64 ndarray [categories, K]
        In the order of ``classifier.classes_``.
    """

    scaler: StandardScaler
    classifier: LogisticRegression | None
    means: np.ndarray

    def shares(self, X: np.ndarray) -> np.ndarray:
        """P(category | x): float64 [n, categories]."""
        if self.classifier is None:
            return np.ones((len(X), 1))
        return self.classifier.predict_proba(self.scaler.transform(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Mean [n, K] of the targets over the categories that a query may be of."""
        return self.shares(X) @ self.means


class PredictedCategoryRouter(BaselineRouter):
    """Every target's accuracy in the query's category, which is predicted from the embedding.

    A multinomial logistic regression on the standardised embeddings gives P(category). The accuracy
    in a category is that of :class:`GroupMeanRouter`, which is told the category: what lies between
    the two is the price of having to predict it.

    Parameters
    ----------
    Cs : sequence of float
        Candidates for the inverse L2 strength of the classifier; the choice is ``C_``, by the Brier
        score of the outcomes.
    smoothing : float
        As in :class:`GroupMeanRouter`.
    folds, seed : int
        Of the cross-validation.

    Attributes
    ----------
    categories_ : str ndarray [categories]
        Those of the training rows with an outcome.
    """

    def __init__(
        self,
        Cs: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0),
        smoothing: float = 5.0,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        if smoothing < 0:
            raise ValueError(f"smoothing={smoothing}; it must not be negative")
        self.Cs, self.smoothing = tuple(sorted(Cs)), smoothing
        self.folds, self.seed = folds, seed

    def fit(
        self,
        X: Any,
        Y: np.ndarray,
        groups: Sequence | np.ndarray | None = None,
        categories: Sequence | np.ndarray | None = None,
    ) -> BaselineRouter:
        """Fit on training rows; returns the router itself.

        Parameters
        ----------
        X : float ndarray [n, d]
        Y : float ndarray [n, K]
            1 right, 0 wrong, between them a share of right answers; NaN missing.
        groups : n labels, optional
            Rows of one group never straddle a fold; default: every row on its own.
        categories : n labels
            The category of each row.

        Raises
        ------
        ValueError
            Categories that are missing or of another length; what all baselines refuse.
        """
        if categories is None or len(categories) != row_count(X):
            got = "none" if categories is None else len(categories)
            raise ValueError(f"X has {row_count(X)} rows, categories {got}; give one for each row")
        self._given = np.asarray(categories).astype(str)
        return super().fit(X, Y, groups)

    @one_blas_thread  # sums of threads differ in their last bits
    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self._fit_means(X, Y, groups)

    def _fit_means(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Fit the classifier and the means; returns what they give, [m, K], for each row with an
        outcome when its fold is held out.
        """
        given = self._given[~np.isnan(Y).all(axis=1)]
        X, Y, groups = rows_with_outcomes(X, Y, groups)
        fold = group_folds(groups, self.folds, self.seed)
        held_out = np.empty((len(self.Cs), *Y.shape))
        for f in range(self.folds):
            train, test = fold != f, fold == f
            for i, fitted in enumerate(self._fits(self.Cs, X[train], given[train], Y[train])):
                held_out[i, test] = fitted.predict(X[test])
        best = int(np.nansum((held_out - Y) ** 2, axis=(1, 2)).argmin())
        self.C_ = self.Cs[best]
        self._means = next(self._fits((self.C_,), X, given, Y))
        self.categories_ = np.unique(given)
        return held_out[best]

    def _fits(
        self, Cs: Sequence[float], X: np.ndarray, categories: np.ndarray, Y: np.ndarray
    ) -> Iterator[CategoryMeans]:
        """One for each C; a search goes on from where the last one ended, so use each at once."""
        names, labels = np.unique(categories, return_inverse=True)
        means = shrunken_means(labels, Y, self.rates_, self.smoothing, len(names))
        scaler, classifier = (StandardScaler(), LogisticRegression(max_iter=1000, warm_start=True))
        z = scaler.fit_transform(X)
        for C in Cs:
            if len(names) > 1:
                classifier.set_params(C=C).fit(z, labels)
            yield CategoryMeans(scaler, classifier if len(names) > 1 else None, means)

    def _predict(self, X: Any) -> np.ndarray:
        # the shares of a row sum to 1 only up to rounding
        return np.clip(self._means.predict(np.asarray(X, np.float64)), 0, 1)


class CategoryResidualRouter(PredictedCategoryRouter):
    """The predicted category's accuracy, plus what the embedding says beyond it.

    A :class:`KernelRegression` is fitted on the outcomes less the means that
    :class:`PredictedCategoryRouter` gives when the row's fold is held out, so that what the means
    have learnt by heart is not taken for signal. One logistic map for all targets turns the sum of
    both into P(correct), as in :class:`KernelRouter`.

    Parameters
    ----------
    Cs, smoothing, folds, seed
        As in :class:`PredictedCategoryRouter`; folds and seed are those of the regression too.
    """

    @one_blas_thread
    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        means = self._fit_means(X, Y, groups)
        X, Y, groups = rows_with_outcomes(X, Y, groups)
        self._residual = KernelRegression(folds=self.folds, seed=self.seed)
        rows, held_out = self._residual.fit_values(X, fill_missing(Y) - means, groups)
        self._map = fit_map(means[rows] + held_out, Y[rows])

    def _predict(self, X: Any) -> np.ndarray:
        values = super()._predict(X) + self._residual.predict_values(np.asarray(X, np.float64))
        return probabilities(values, self._map)
