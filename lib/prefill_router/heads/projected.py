"""Rows of an encoder's states on some hundred directions instead of in some ten thousand columns:
what a router keeps of them, and what its kernel is computed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from scipy.linalg import eigh

from prefill_router.heads.gram import Block

# Eigenvalues below this share of the largest are rounding of float32.
FLOOR = 1e-6
# Rows at most whose principal directions are looked for.
SAMPLE = 4000


@dataclass(frozen=True)
class Projected:
    """One encoder's landmarks, standardised and projected on their leading principal directions.

    The kernel of two rows follows from their lengths and their inner product. Lengths are those in
    all columns, so that rows which differ in small things do not look alike; of the inner product
    what lies outside of the directions is left out, which hardly is alike in different rows.

    Attributes
    ----------
    mean, scale : float32 ndarray [D]
    directions : float16 ndarray [r, D]
        Orthonormal rows by falling spread.
    points : float16 ndarray [m, r]
        Rounded before the regression is fitted, so that no rounding is added when it is kept.
    lengths : float32 ndarray [m], or None
        Squared lengths of the landmarks in all columns. None in files of earlier versions: half of
        their directions were random ones, and lengths are those along the directions.
    """

    KEPT: ClassVar = ("mean", "scale", "directions", "points", "lengths")

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    points: np.ndarray
    lengths: np.ndarray | None = None
    # what every query is multiplied with, once in the form that is multiplied fastest
    _directions: torch.Tensor = field(init=False, repr=False, compare=False)
    _points: torch.Tensor = field(init=False, repr=False, compare=False)
    _own: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("directions", "points"):
            ready = np.ascontiguousarray(getattr(self, name), np.float32)
            object.__setattr__(self, "_" + name, torch.from_numpy(ready))
        along = self._points.square().sum(dim=1).numpy()
        object.__setattr__(self, "_own", along if self.lengths is None else self.lengths)

    @classmethod
    def kept(cls, *arrays: np.ndarray) -> Projected:
        """From what is kept of it."""
        return cls(*arrays)

    @classmethod
    def of(cls, states: np.ndarray, most: int, share: float = 1.0) -> Projected:
        """Landmarks [m, D] with their standardisation, and the fewest directions that hold so large
        a share of their spread, at most ``most``.
        """
        block = Block.of(states)
        z = (block.states - block.mean) / block.scale
        lengths = np.einsum("nd,nd->n", z, z, dtype=np.float64).astype(np.float32)
        directions = principal_directions(z, most, share).astype(np.float16)
        points = (z @ directions.T.astype(np.float32)).astype(np.float16)
        return cls(block.mean, block.scale, directions, points, lengths)

    def kernel(self, states: np.ndarray, width: float) -> np.ndarray:
        """Kernel of rows [n, D] with the landmarks, as `gram.Block.kernel`: float32 [n, m]."""
        # by torch: see `gram.ReadyBlock.kernel`
        z = torch.from_numpy((np.asarray(states, np.float32) - self.mean) / self.scale)
        along = z @ self._directions.T
        squared = (along @ self._points.T).numpy()
        squared *= -2
        of_rows = along if self.lengths is None else z
        squared += of_rows.square().sum(dim=1, keepdim=True).numpy()
        squared += self._own
        np.maximum(squared, 0, out=squared)
        squared *= -width / z.shape[1]
        return np.exp(squared, out=squared)


def principal_directions(z: np.ndarray, most: int, share: float = 1.0) -> np.ndarray:
    """Leading principal directions of rows around the origin: orthonormal float32 [r, D].

    Parameters
    ----------
    z : float32 ndarray [n, D]
        Of more than ``SAMPLE`` rows every second, third, … is looked at.
    most : int
        Largest r.
    share : float
        Of the sum of squares: r is the smallest that holds as much, if ``most`` allows it.
    """
    z = z[:: -(-len(z) // SAMPLE)]
    wide = len(z) < z.shape[1]
    moments = (z @ z.T if wide else z.T @ z).astype(np.float64)
    last, whole = len(moments) - 1, np.trace(moments)
    values, vectors = eigh(
        moments, subset_by_index=[max(0, last + 1 - most), last], check_finite=False
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    # what is left to find is rounding, or the share is reached
    enough = np.append(False, np.cumsum(values)[:-1] >= share * whole)
    kept = (values > FLOOR * values[0]) & ~enough
    vectors = vectors[:, kept].astype(np.float32)
    return (z.T @ vectors / np.sqrt(values[kept])).T.astype(np.float32) if wide else vectors.T
