"""L2 logistic regressions of many targets on many numbers of leading components, solved at once.

The regressions of a fold share their features and differ only in labels and in how many leading
columns they may use. Newton's method with conjugate gradients (Nocedal and Wright, Numerical
Optimization, algorithm 7.1) needs no Hessian, only products of the features with one vector per
regression, and these are one matrix product for all. Principal components are uncorrelated, so the
Hessian is nearly diagonal and its diagonal a good preconditioner: a handful of products per Newton
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from prefill_router.data.labels import has_both_classes

_TOLERANCE = 1e-6  # of the gradient's length relative to where the search begins
_STEPS = 50


@dataclass(frozen=True)
class _Problem:
    """What all regressions share: features with the ones z [n, d + 1], C, penalty [d + 1, 1]."""

    z: np.ndarray
    C: float
    penalty: np.ndarray


def fit_logistic(
    x: np.ndarray, Y: np.ndarray, sizes: Sequence[int], C: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ||w||^2 / 2 + C * (sum of log losses) for every target and number of leading
    columns.

    The objective of scikit-learn's ``LogisticRegression(C=C)``, whose intercept is not shrunk
    either.

    Parameters
    ----------
    x : float64 ndarray [n, d]
        Columns in their order of importance, best uncorrelated (principal components): then few
        steps are needed.
    Y : float ndarray [n, K]
        From 1 (right) to 0 (wrong), NaN (left out). No column may be all 1 or all 0.
    sizes : S ints, 1 to d
    C : float
        Inverse strength of the penalty.

    Returns
    -------
    coefficients : float64 ndarray [S, K, d]
        Zero from column ``size`` on.
    intercepts : float64 ndarray [S, K]

    Raises
    ------
    ValueError
        A size beyond the columns, or a column of Y that is all 1 or all 0.
    RuntimeError
        If it does not converge.
    """
    n, d = x.shape
    if min(sizes) < 1 or max(sizes) > d:
        raise ValueError(f"sizes {list(sizes)} must lie between 1 and the {d} columns")
    single = np.flatnonzero(~has_both_classes(Y)).tolist()
    if single:
        raise ValueError(f"columns {single} of Y hold one class only; leave them out")
    # a column of ones carries the intercept, with penalty 0
    problem = _Problem(np.column_stack([x, np.ones(n)]), C, np.append(np.ones(d), 0.0)[:, None])
    z, penalty, squares = problem.z, problem.penalty, problem.z**2
    labels = np.tile(Y, len(sizes))
    known = ~np.isnan(labels)
    labels = np.where(known, labels, 0.0)
    leading = np.arange(d)[:, None] < np.asarray(sizes)
    used = np.repeat(np.vstack([leading, np.ones(len(sizes), bool)]), Y.shape[1], axis=1)
    w: np.ndarray = np.zeros(used.shape)
    first: np.ndarray | None = None
    active = np.arange(w.shape[1])  # regressions that have not converged
    for _ in range(_STEPS):
        v, y, k, u = w[:, active], labels[:, active], known[:, active], used[:, active]
        eta = z @ v
        p = expit(eta)
        gradient = (C * (z.T @ ((p - y) * k)) + penalty * v) * u
        length = np.linalg.norm(gradient, axis=0)
        first = length.copy() if first is None else first
        going = length > _TOLERANCE * np.maximum(first[active], 1e-12)
        if not going.any():
            break
        active, length = active[going], length[going]
        v, y, k, u, eta, p, gradient = (array[:, going] for array in (v, y, k, u, eta, p, gradient))
        curvature = C * p * (1 - p) * k
        # solve the Newton equations only as well as the distance to the optimum deserves
        step = _conjugate_gradients(
            z,
            curvature,
            penalty,
            u,
            -gradient,
            squares.T @ curvature + penalty,
            np.minimum(0.1, np.sqrt(length / first[active])),
        )
        slope = (gradient * step).sum(axis=0)
        w[:, active] = v + step * _step_lengths(problem, step, v, eta, y, k, slope)
    else:
        raise RuntimeError(
            f"{len(active)} logistic regressions did not converge in {_STEPS} Newton steps; scale"
            " the features"
        )
    w = w.T.reshape(len(sizes), Y.shape[1], d + 1)
    return w[:, :, :d], w[:, :, d]


def _conjugate_gradients(
    z: np.ndarray,
    curvature: np.ndarray,
    penalty: np.ndarray,
    used: np.ndarray,
    right: np.ndarray,
    diagonal: np.ndarray,
    tolerance: np.ndarray,
) -> np.ndarray:
    """Solve (z' diag(curvature) z + penalty) s = right for every column, to a relative residual;
    columns that are there stand still.
    """
    step, residual = np.zeros_like(right), right.copy()
    scaled = residual / diagonal * used
    direction, product = scaled.copy(), (residual * scaled).sum(axis=0)
    goal = tolerance * np.linalg.norm(right, axis=0)
    for _ in range(len(right)):
        going = np.linalg.norm(residual, axis=0) > goal
        if not going.any():
            break
        bent = (z.T @ (curvature * (z @ direction)) + penalty * direction) * used
        alpha = np.where(going, product / np.maximum((direction * bent).sum(axis=0), 1e-300), 0.0)
        step += alpha * direction
        residual -= alpha * bent
        scaled = residual / diagonal * used
        following = (residual * scaled).sum(axis=0)
        direction = (
            scaled + np.where(going, following / np.maximum(product, 1e-300), 0.0) * direction
        )
        product = following
    return step


def _step_lengths(
    problem: _Problem,
    step: np.ndarray,
    w: np.ndarray,
    eta: np.ndarray,
    y: np.ndarray,
    known: np.ndarray,
    slope: np.ndarray,
) -> np.ndarray:
    """Per column the largest of 1, 1/2, 1/4, ... that lowers the objective enough (Armijo)."""
    along = problem.z @ step

    def objective(length: np.ndarray) -> np.ndarray:
        at = eta + length * along
        losses = (np.logaddexp(0, at) - y * at) * known
        penalties = problem.penalty * (w + length * step) ** 2
        return problem.C * losses.sum(axis=0) + 0.5 * penalties.sum(axis=0)

    lengths, before = np.ones(step.shape[1]), objective(np.zeros(step.shape[1]))
    for _ in range(30):
        # at the optimum the gain drowns in rounding: that is no reason to shorten a step
        short = objective(lengths) > before + 1e-4 * lengths * slope + 1e-12 * np.abs(before)
        if not short.any():
            break
        lengths[short] /= 2
    return lengths


def rank_auc(scores: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every column, ties counted half: float64 [m].

    The Mann-Whitney statistic. A row graded y counts as y of a right row and 1 - y of a wrong one,
    and so as tied with itself. NaN where a column of Y lacks a class.

    Parameters
    ----------
    scores : float ndarray [n, m]
    Y : float ndarray [n, m]
        From 1 to 0, NaN (left out).
    """
    aucs = np.full(Y.shape[1], np.nan)
    for k in np.flatnonzero(has_both_classes(Y)):
        known = ~np.isnan(Y[:, k])
        value = np.unique(scores[known, k], return_inverse=True)[1]
        right, wrong = (np.bincount(value, of) for of in (Y[known, k], 1 - Y[known, k]))
        aucs[k] = right @ (np.cumsum(wrong) - wrong / 2) / (right.sum() * wrong.sum())
    return aucs
