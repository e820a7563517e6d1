"""The kernel router: no layer is chosen, and what the targets have in common is learnt apart from
what sets them apart.

Kernel ridge regression (the mean of a Gaussian process) on the states of the upper two thirds of an
encoder's layers, both poolings side by side. Not every target's column of outcomes is fitted, but
the principal components of all of them: the first is the difficulty that targets share and is
learnt with little shrinkage, the later ones are the differences that routing lives on, scarce in
evidence and shrunk hard, each as far as cross-validation on training rows asks for; were all
differences shrunk to nothing, every query would go to the best single target. Shrinking the
components of a multiple response one by one is Breiman and Friedman's *curds and whey* (J. R. Stat.
Soc. B 59, 1997); with kernels it is a Gaussian process with coregionalised targets (Bonilla et al.,
NIPS 2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from prefill_router.data.labels import class_rows
from prefill_router.data.memory import ROUTER_BYTES, directions_within
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.familiarity import familiarity, nearness_in_training
from prefill_router.heads.gram import Block, ReadyBlock, fill_missing
from prefill_router.heads.kernel_regression import KernelRegression
from prefill_router.heads.landmarks import Rows
from prefill_router.heads.projected import Projected
from prefill_router.heads.ridge import mean_kernel

# Share of the spread of the training states that a shipped router may do without.
LEFT_OUT = 1e-5
LEAST_SLOPE = 1e-3  # of the map to P(correct) where the held-out values say nothing


class KernelRouter(KernelRegression):
    """Kernel ridge regression of outcomes, mapped to P(correct).

    Parameters and further attributes are those of :class:`KernelRegression`.

    Attributes
    ----------
    cv_rows_used : int ndarray [m]
        Training rows that the cross-validation looked at. Not kept by :meth:`state`.
    cv_proba : float64 ndarray [m, K]
        Their P(correct), each from the other folds. Ridges, encoders and the logistic map were
        chosen on the same rows.
    """

    @one_blas_thread
    def fit(
        self,
        X: Rows | Mapping[str, Rows],
        Y: np.ndarray,
        groups: Sequence | np.ndarray | None = None,
    ) -> KernelRouter:
        """Fit on training rows.

        Parameters
        ----------
        X : float ndarray [n, D], or a mapping of encoder name to one
            See :func:`read_states`. They are kept, not copied.
        Y : float ndarray [n, K]
            1 right, 0 wrong, between them a share of right answers; NaN missing.
            Further targets than those routed to may be given: they help to tell difficulty apart.
        groups : n labels that never straddle a fold; default: every row on its own.

        Raises
        ------
        ValueError
            Lengths that disagree, states that are not finite, other values in Y, a target without
            any outcome.
        """
        Y = np.asarray(Y, np.float64)
        self.cv_rows_used, held_out = self.fit_values(X, fill_missing(Y), groups)
        self._map = fit_map(held_out, Y[self.cv_rows_used])
        self.cv_proba = probabilities(held_out, self._map)
        return self

    def predict_proba(self, X: Rows | Mapping[str, Rows]) -> np.ndarray:
        """P(correct): float64 [n, K]; raises what :meth:`predict_values` does."""
        return probabilities(self.predict_values(X), self._map)

    def predict_with_familiarity(
        self, X: Rows | Mapping[str, Rows]
    ) -> tuple[np.ndarray, np.ndarray]:
        """P(correct) [n, K], and the familiarity [n] of each query, see `heads.familiarity`."""
        values, nearness = self._predicted(X)
        return probabilities(values, self._map), familiarity(nearness, self._nearness)

    @property
    def n_targets(self) -> int:
        """K."""
        return len(self._rates)

    def of_targets(self, columns: Sequence[int]) -> KernelRouter:
        """The fitted router for these targets alone, by position: their P(correct) stays the same,
        also what it learnt from the others.
        """
        router = copy(self)
        columns = list(columns)
        router._vectors, router._spread, router._rates = (
            array[columns] for array in (self._vectors, self._spread, self._rates)
        )
        if hasattr(self, "cv_proba"):  # a router that was loaded has none
            router.cv_proba = self.cv_proba[:, columns]
        return router

    @one_blas_thread
    def compact(self, most_bytes: float = ROUTER_BYTES) -> KernelRouter:
        """What is shipped of a router that was fitted just now.

        Where the training states take at most ``most_bytes`` it is itself. Else they are projected
        on as many directions as there is room for (`heads.projected`), no more than hold all but
        `LEFT_OUT` of their spread, and the same regressions are fitted on these: the fewer there
        are, the more P(correct) changes and the faster a query is answered. `docs/sizes.md` says
        what was measured.
        """
        used = [self._blocks[name] for name in self.encoders_used]
        blocks = [block for block in used if isinstance(block, Block)]
        if len(blocks) < len(used) or sum(4.0 * b.states.size for b in blocks) <= most_bytes:
            return self
        router, (components, groups) = copy(self), self._solved_for
        projected = []
        for block in blocks:
            rows, columns = block.states.shape
            room = most_bytes / len(blocks)
            most = directions_within(room, rows, columns, components.shape[1])
            projected.append(Projected.of(block.states, most, 1 - LEFT_OUT))
        router._blocks = dict(zip(self.encoders_used, projected, strict=True))
        kernel = mean_kernel(
            [p.kernel(b.states, self.width) for p, b in zip(projected, blocks, strict=True)]
        )
        router._solve(kernel, components)
        router._nearness = nearness_in_training(kernel, groups)
        return router

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Fitted arrays by name (for safetensors) and everything else (for JSON).

        The training states of every encoder that is used are among them, standardised: n x D values
        each, by far the largest part; or those of landmarks, projected.

        Raises
        ------
        ValueError
            If it was fitted on kernels.
        """
        if self.precomputed:
            raise ValueError("only a kernel router fitted on states can be kept, not on kernels")
        arrays: dict[str, np.ndarray] = {}
        for i, name in enumerate(self.encoders_used):
            block = self._blocks[name]
            ready = ReadyBlock.of(block) if isinstance(block, Block) else block
            kept = {f"encoder{i}.{part}": getattr(ready, part) for part in ready.KEPT}
            arrays |= {part: array for part, array in kept.items() if array is not None}
        arrays |= {
            "dual": self._dual,
            "offset": self._offset,
            "vectors": self._vectors,
            "spread": self._spread,
            "rates": self._rates,
        }
        arrays |= {"map": np.array(self._map), "nearness": self._nearness}
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {
            "width": self.width,
            "encoders": list(self.encoders_used),
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> KernelRouter:
        """Rebuild a fitted router from :meth:`state`; it answers single queries faster, since
        nothing is standardised again.
        """
        router = cls(width=meta["width"])
        router.encoders_used, router._blocks = tuple(meta["encoders"]), {}
        for i, name in enumerate(router.encoders_used):
            kind = Projected if f"encoder{i}.points" in tensors else ReadyBlock
            parts = [f"encoder{i}.{part}" for part in kind.KEPT]
            # files of earlier versions have no lengths
            parts = [p for p in parts if p in tensors or not p.endswith(".lengths")]
            router._blocks[name] = kind.kept(*(np.asarray(tensors[part]) for part in parts))
        router._columns = {name: len(block.mean) for name, block in router._blocks.items()}
        router._dual, router._offset, router._vectors, router._spread, router._rates = (
            np.asarray(tensors[name]) for name in ("dual", "offset", "vectors", "spread", "rates")
        )
        # files of earlier versions have none: then no prompt is unlike the training
        router._nearness = np.asarray(tensors.get("nearness", np.zeros(0, np.float32)))
        router._map = (float(tensors["map"][0]), float(tensors["map"][1]))
        return router


def fit_map(values: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic map from held-out values [n, K] to known outcomes.

    One increasing map for all targets: probabilities without ties, and the order of the targets
    stays. A grade between 0 and 1 is two weighted rows (`labels.class_rows`). Held out, values
    without signal fall where outcomes rise: the fewer of a fold are right, the higher the mean of
    the others, which predicts it. The slope is then `LEAST_SLOPE`, and P the mean grade but for the
    order.
    """
    rows, labels, weights = class_rows(Y.ravel())
    known = values.reshape(-1, 1)[rows]
    fitted = LogisticRegression(C=np.inf).fit(known, labels, weights)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope > 0:
        return slope, intercept
    # a fit without both classes is refused, so the mean grade lies between 0 and 1
    grade, value = np.average(labels, weights=weights), np.average(known[:, 0], weights=weights)
    return LEAST_SLOPE, float(logit(grade) - LEAST_SLOPE * value)


def probabilities(values: np.ndarray, of: tuple[float, float]) -> np.ndarray:
    """Values under the map that :func:`fit_map` gave."""
    slope, intercept = of
    return expit(slope * values + intercept)
