"""The layer ensemble: no layer is chosen, every one votes.

One L2 logistic regression per layer, pooling and target on principal components of that layer; their logits are averaged
within an encoder, then over those encoders whose average ranks best in cross-validation on the training rows. Against the
paper's network it needs no choice of a layer, no early stopping and no random initialisation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

from .activations import ActivationStore
from .baselines import fit_columns, predict_columns, target_rates
from .metrics import mean_auc
from .probes import group_folds
from .reduction import ScaledPCA

_CLIP = 1e-6  # a target that a fold never saw wrong must not decide the average alone


class LayerEnsemble:
    """Average of logistic regressions on every ``step``-th layer and both poolings of one or more encoders.

    Parameters
    ----------
    n_components : int
        Principal components per layer and pooling.
    Cs : sequence of float
        Inverse L2 strengths on components scaled so that the first has variance ``n_components``; one is chosen per layer and
        pooling, for all targets, by the cross-validated Brier score on training rows.
    step : int
        Layers ``step``, ``2 * step``, ... up to the last are read.
    poolings : sequence of str
    folds, seed : int
        Of the cross-validation. Scaler and components are fitted once on all rows given to :meth:`fit`: they see no labels.

    Attributes
    ----------
    encoders_used : tuple of str
        Those that :meth:`predict_proba` averages: the subset with the highest cross-validated mean AUC.
    cv_auc : dict of tuple of str to float
        That AUC of every subset.
    """

    def __init__(
        self,
        n_components: int = 100,
        Cs: Sequence[float] = (1e-3, 3e-3, 1e-2),
        step: int = 2,
        poolings: Sequence[str] = ("last", "mean"),
        folds: int = 3,
        seed: int = 0,
    ) -> None:
        self.n_components, self.Cs, self.step = n_components, tuple(Cs), step
        self.poolings, self.folds, self.seed = tuple(poolings), folds, seed

    def fit(self, stores: Mapping[str, ActivationStore], query_ids: Sequence[str], Y: np.ndarray, groups: Sequence) -> LayerEnsemble:
        """Fit on training rows.

        Parameters
        ----------
        stores : mapping of encoder name to its activations.
        query_ids : n ids of training queries.
        Y : float ndarray [n, K]
            1 right, 0 wrong, NaN missing.
        groups : n labels that never straddle a fold.

        Raises
        ------
        ValueError
            No store, other values in Y, or a target without any outcome.
        """
        if not stores:
            raise ValueError("no activations given; pass a store for at least one encoder")
        Y, groups = np.asarray(Y, np.float64), np.asarray(groups)
        target_rates(Y)
        fold = group_folds(groups, self.folds, self.seed)
        jobs = [
            (name, layer, pooling)
            for name, store in stores.items()
            for pooling in self.poolings
            for layer in range(self.step, store.n_layers + 1, self.step)
        ]

        def one(job: tuple[str, int, str]) -> tuple:
            name, layer, pooling = job
            x = stores[name].read(layer, pooling, query_ids)
            reduction = ScaledPCA.fit(x, self.n_components)
            scale = np.sqrt(self.n_components / reduction.variance[0])
            z = reduction.transform(x) * scale
            held_out = {C: self._held_out(z, Y, fold, C) for C in sorted(self.Cs)}
            C = min(held_out, key=lambda C: np.nansum((held_out[C] - Y) ** 2))  # Brier score; ties: the stronger penalty
            return reduction, scale, C, fit_columns(z, Y, C), _logit(held_out[C])

        # one matrix per core, each with a single thread: the numbers do not depend on the number of cores
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as workers:
            fitted = list(workers.map(one, jobs))
        self._members = {job: member[:4] for job, member in zip(jobs, fitted, strict=True)}
        votes = _by_encoder(jobs, [member[4] for member in fitted])
        subsets = [s for size in range(1, len(votes) + 1) for s in combinations(votes, size)]
        self.cv_auc = {s: mean_auc(expit(np.mean([votes[name] for name in s], axis=0)), Y) for s in subsets}
        self.encoders_used = max(subsets, key=self.cv_auc.get)
        return self

    @staticmethod
    def _held_out(z: np.ndarray, Y: np.ndarray, fold: np.ndarray, C: float) -> np.ndarray:
        p = np.empty_like(Y)
        for f in range(fold.max() + 1):
            p[fold == f] = predict_columns(fit_columns(z[fold != f], Y[fold != f], C), z[fold == f])
        return p

    def predict_proba(self, stores: Mapping[str, ActivationStore], query_ids: Sequence[str]) -> np.ndarray:
        """P(correct): float64 [n, K]."""
        votes = self.encoder_logits(stores, query_ids)
        return expit(np.mean([votes[name] for name in self.encoders_used], axis=0))

    def encoder_logits(self, stores: Mapping[str, ActivationStore], query_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean logit over layers and poolings, for every encoder: {name: float64 [n, K]}.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            The store of an encoder that was fitted is not given.
        """
        if not hasattr(self, "_members"):
            raise NotFittedError("the layer ensemble is not fitted; call fit(stores, query_ids, Y, groups) first")
        lacking = {name for name, _, _ in self._members} - set(stores)
        if lacking:
            raise ValueError(f"no activations of {', '.join(sorted(lacking))}, which the ensemble was fitted on")

        def one(item: tuple) -> np.ndarray:
            (name, layer, pooling), (reduction, scale, _, columns) = item
            p = predict_columns(columns, reduction.transform(stores[name].read(layer, pooling, query_ids)) * scale)
            return _logit(p)

        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as workers:
            votes = list(workers.map(one, self._members.items()))
        return _by_encoder(list(self._members), votes)


def _logit(p: np.ndarray) -> np.ndarray:
    return logit(np.clip(p, _CLIP, 1 - _CLIP))


def _by_encoder(jobs: Sequence[tuple[str, int, str]], votes: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Mean over the layers and poolings of each encoder."""
    names = [name for name, _, _ in jobs]
    return {name: np.mean([v for v, n in zip(votes, names, strict=True) if n == name], axis=0) for name in dict.fromkeys(names)}
