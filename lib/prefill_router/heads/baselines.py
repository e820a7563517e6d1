"""Routers that do not read prefill activations: controls and semantic baselines, one interface.

Every class has ``fit(X, Y, groups=None) -> self`` and ``predict_proba(X) -> float64 [n, K]``. Y [n,
K] holds 1 (right), 0 (wrong), between them the share of several answers that are right, and NaN
(missing; masked, never counted as wrong). What X is differs by class and is said there.
Hyper-parameters are chosen on the training rows, by cross-validation over ``groups`` (n labels;
default: every row on its own), by the lowest Brier score over all known outcomes: it is proper,
like the log loss, and stays finite for a P of exactly 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union
from sklearn.preprocessing import StandardScaler, normalize

from prefill_router.data.labels import class_rows, has_both_classes
from prefill_router.data.splits import group_folds
from prefill_router.hardware import on_every_core
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.router_base import BaselineRouter
from prefill_router.heads.trunk import TrunkEnsemble

_ROWS = 1024  # queries compared with all training queries at a time


class TfidfRouter(BaselineRouter):
    """Logistic regression on TF-IDF of words (1-2) and characters within words (3-5); X is a list
    of prompts.

    Parameters
    ----------
    Cs : sequence of float
        Candidates for the inverse L2 strength, one for all targets; the choice is ``C_``.
    folds, seed : int
        Of the cross-validation. The vocabulary is built once from all training prompts; no label
        enters it.
    """

    def __init__(
        self, Cs: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 30.0), folds: int = 3, seed: int = 0
    ) -> None:
        self.Cs, self.folds, self.seed = tuple(Cs), folds, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        # min_df=1: on a training set of a few prompts every other choice may leave no vocabulary
        self._vectorizer = make_union(
            TfidfVectorizer(
                ngram_range=(1, 2), token_pattern=r"(?u)\S+", sublinear_tf=True, max_features=30_000
            ),
            TfidfVectorizer(
                analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, max_features=30_000
            ),
        )
        features = self._vectorizer.fit_transform(list(X)).tocsr()
        self.C_ = choose_C(self.Cs, features, Y, groups, self.folds, self.seed)
        self._columns = fit_columns(features, Y, self.C_)

    def _predict(self, X: Any) -> np.ndarray:
        return predict_columns(self._columns, self._vectorizer.transform(list(X)).tocsr())


class LogisticRouter(BaselineRouter):
    """Logistic regression on standardised vectors; X is a float ndarray [n, d], such as embeddings.

    Parameters
    ----------
    Cs : sequence of float
        Candidates for the inverse L2 strength, one for all targets; the choice is ``C_``.
    folds, seed : int
        Of the cross-validation.
    """

    def __init__(
        self, Cs: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1), folds: int = 5, seed: int = 0
    ) -> None:
        self.Cs, self.folds, self.seed = tuple(Cs), folds, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(np.asarray(X, np.float64))
        z = self._scaler.transform(np.asarray(X, np.float64))
        self.C_ = choose_C(self.Cs, z, Y, groups, self.folds, self.seed)
        self._columns = fit_columns(z, Y, self.C_)

    def _predict(self, X: Any) -> np.ndarray:
        return predict_columns(self._columns, self._scaler.transform(np.asarray(X, np.float64)))


class KNNRouter(BaselineRouter):
    """Share of right answers among the k training prompts of highest cosine; X is a float ndarray
    [n, d].

    Neighbours whose outcome for a target is missing are left out for that target; if all are, its
    overall accuracy stands.

    Parameters
    ----------
    ks : sequence of int
        Candidates for k, one for all targets; the choice is ``k_``. Those above the number of rows
        to learn from are skipped.
    folds, seed : int
        Of the cross-validation.
    """

    def __init__(
        self, ks: Sequence[int] = (5, 10, 20, 40, 80, 160), folds: int = 5, seed: int = 0
    ) -> None:
        self.ks, self.folds, self.seed = tuple(sorted(set(ks))), folds, seed

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self._unit, self._outcomes = normalize(np.asarray(X, np.float64)), Y
        fold = group_folds(groups, self.folds, self.seed)
        smallest = len(Y) - np.bincount(fold).max()
        ks = [k for k in self.ks if k <= smallest]
        if not ks:
            raise ValueError(
                f"every k in {self.ks} is above the {smallest} rows of a training fold; offer a"
                " smaller k"
            )
        loss = np.zeros(len(ks))
        for f in range(self.folds):
            train, test = fold != f, fold == f
            found = self._neighbours(self._unit[test], self._unit[train], ks[-1])
            for i, k in enumerate(ks):
                p = known_mean(Y[train][found[:, :k]], self.rates_)
                loss[i] += np.nansum((p - Y[test]) ** 2)
        self.k_ = ks[int(loss.argmin())]

    def _predict(self, X: Any) -> np.ndarray:
        return self._averaged(X, self._outcomes, self.rates_)

    def predict_cost(self, X: Any, costs: np.ndarray) -> np.ndarray:
        """Mean cost of every target over the neighbours that :meth:`predict_proba` asks.

        Parameters
        ----------
        X : float ndarray [n, d]
        costs : float ndarray [m, K]
            What each target's answer to the m rows of :meth:`fit` cost, in any unit; NaN where that
            is not known.

        Returns
        -------
        float64 ndarray [n, K]
            In the unit of ``costs``; NaN where the cost is known of no neighbour.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            ``costs`` has another shape than the outcomes had.
        """
        self.check_fitted()
        costs = np.asarray(costs, np.float64)
        if costs.shape != self._outcomes.shape:
            raise ValueError(
                f"costs {costs.shape} must have the shape {self._outcomes.shape} of the outcomes"
                " given to fit"
            )
        return self._averaged(X, costs, np.full(costs.shape[1], np.nan))

    def _averaged(self, X: Any, values: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Mean [n, K] of the training rows' values [m, K] over each query's neighbours."""
        unit = normalize(np.asarray(X, np.float64))
        # by blocks, since n x k x targets values of all queries would be the largest table of a run
        blocks = [
            known_mean(
                values[self._neighbours(unit[start : start + _ROWS], self._unit, self.k_)],
                otherwise,
            )
            for start in range(0, len(unit), _ROWS)
        ]
        return np.vstack(blocks) if blocks else np.empty((0, values.shape[1]))

    @staticmethod
    def _neighbours(unit: np.ndarray, train_unit: np.ndarray, k: int) -> np.ndarray:
        """Rows of the k nearest, nearest first; ties go to the earlier row on every machine."""
        found = np.empty((len(unit), k), np.intp)
        for start in range(0, len(unit), _ROWS):
            distance = -(unit[start : start + _ROWS] @ train_unit.T)
            # a partition instead of a sort of all; of those as far as the k-th, the first ones that
            # there is room for
            limit = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
            nearer, tied = distance < limit, distance == limit
            room = k - nearer.sum(axis=1, keepdims=True)
            rows = np.nonzero(nearer | (tied & (tied.cumsum(axis=1) <= room)))[1].reshape(-1, k)
            order = np.argsort(np.take_along_axis(distance, rows, axis=1), axis=1, kind="stable")
            found[start : start + _ROWS] = np.take_along_axis(rows, order, axis=1)
        return found


def known_mean(values: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Mean [n, K] over the neighbours of those values [n, k, K] that are known; ``otherwise`` [K]
    where none is.
    """
    known = (~np.isnan(values)).sum(axis=1)
    out = np.tile(otherwise, (len(values), 1))
    return np.divide(np.nansum(values, axis=1), known, out=out, where=known > 0)


class MLPRouter(BaselineRouter):
    """The trunk's own ensemble on standardised vectors; X is a float ndarray [n, d], such as
    embeddings.

    Against the trunk on prefill features it shows what the features are worth, as the network is
    the same.

    Parameters
    ----------
    config : TrunkConfig, optional
    seed, device
        As in :class:`prefill_router.heads.trunk.TrunkEnsemble`.
    """

    def __init__(
        self, config: TrunkConfig | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.ensemble = TrunkEnsemble(config, seed=seed, device=device)

    def _fit(self, X: Any, Y: np.ndarray, groups: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(np.asarray(X, np.float64))
        self.ensemble.fit(self._scaler.transform(np.asarray(X, np.float64)), Y, groups)

    def _predict(self, X: Any) -> np.ndarray:
        return self.ensemble.predict_proba(self._scaler.transform(np.asarray(X, np.float64)))


def fit_columns(
    X: Any, Y: np.ndarray, C: float, start: Sequence[LogisticRegression | float] | None = None
) -> list[LogisticRegression | float]:
    """One L2 logistic regression per target on its known outcomes; a number where these are all
    right or all wrong. Grades are weighted rows (`labels.class_rows`).

    ``start``: what this returned for the same X and Y with another C. Its regressions go on from
    their solutions, and are changed.
    """
    columns: list[LogisticRegression | float] = []
    # a few hundred dense columns: Newton steps reach the optimum in a tenth of the time; the cost
    # of a step grows with their square
    newton = not issparse(X) and X.shape[1] <= 400
    solver = {"solver": "newton-cholesky", "tol": 1e-8} if newton else {"solver": "lbfgs"}
    for k, y in enumerate(Y.T):
        if has_both_classes(y):
            rows, labels, weights = class_rows(y)
            model = start[k] if start else None
            if not isinstance(model, LogisticRegression):
                model = LogisticRegression(max_iter=1000, warm_start=True, **solver)
            columns.append(model.set_params(C=C).fit(X[rows], labels, weights))
        else:  # a fold may see one class only: the rule of succession, so that P is neither 0 nor 1
            columns.append(float((np.nansum(y) + 1) / ((~np.isnan(y)).sum() + 2)))
    return columns


def predict_columns(columns: list[LogisticRegression | float], X: Any) -> np.ndarray:
    return np.column_stack(
        [
            np.full(X.shape[0], c) if isinstance(c, float) else c.predict_proba(X)[:, 1]
            for c in columns
        ]
    )


def choose_C(
    Cs: Sequence[float], X: Any, Y: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> float:
    """The C with the lowest cross-validated Brier score of known outcomes; ties: the stronger
    penalty.
    """
    fold, rising = group_folds(groups, folds, seed), sorted(Cs)
    losses = np.sum(
        list(
            on_every_core(
                lambda f: _fold_losses(rising, X, Y, fold, f), ((f,) for f in range(folds))
            )
        ),
        axis=0,
    )
    return rising[int(losses.argmin())]


def _fold_losses(
    Cs: Sequence[float], X: Any, Y: np.ndarray, fold: np.ndarray, f: int
) -> list[float]:
    """Squared error, for each C, on the rows of fold ``f`` of regressions fitted on the other rows.

    The C rise, so that each search begins near its end: a third of the steps.
    """
    train, test, columns, losses = fold != f, fold == f, None, []
    inside, outside = X[train], X[test]
    for C in Cs:
        columns = fit_columns(inside, Y[train], C, columns)
        losses.append(float(np.nansum((predict_columns(columns, outside) - Y[test]) ** 2)))
    return losses
