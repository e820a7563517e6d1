"""What is kept of states: chosen layers, their principal components, a short number format.

The components are fitted on a sample before anything is written, from moments that are summed as
states come, so that memory depends on the width of the encoder and not on the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load, save

from prefill_router.features.reduction import ScaledPCA
from prefill_router.hardware import one_blas_thread
from prefill_router.scale.addresses import ScaleError
from prefill_router.scale.plan import Plan
from prefill_router.scale.sources import View

MOST_COMPONENTS = 256
DTYPES = ("float16", "float32")
PIECE = 256  # prompts of the sample that a worker reads at once


class Moments:
    """Number, mean and scatter of rows that come in blocks, in float64.

    The first row is subtracted from all: sums of squares around a far-off origin would cancel, and
    a constant column has a scatter of exactly zero.
    """

    def __init__(self) -> None:
        self.n = 0

    def add(self, x: np.ndarray) -> None:
        """Count rows [m, d]."""
        if not len(x):
            return
        x = np.asarray(x, np.float64)
        if not self.n:
            self._origin, d = x[0].copy(), x.shape[1]
            self._sum, self._squares = np.zeros(d), np.zeros((d, d))
        z = x - self._origin
        self.n += len(z)
        self._sum += z.sum(axis=0)
        self._squares += z.T @ z

    def reduction(self, n_components: int) -> ScaledPCA:
        """Standardisation and at most so many components of the rows that were counted.

        Raises
        ------
        ScaleError
            Fewer than two rows.
        """
        if self.n < 2:
            raise ScaleError(
                f"the sample has {self.n} prompts that can be read; components need two and more."
                " Mend the prompts, or keep whole states with --components 0"
            )
        mean = self._sum / self.n
        scatter = self._squares - self.n * np.outer(mean, mean)
        return ScaledPCA.from_scatter(self.n, self._origin + mean, scatter, n_components)


def sample_pieces(plan: Plan, rows: int, seed: int) -> list[list[list]]:
    """Rows of the sample, drawn from all rows with equal chance, in pieces of `PIECE`: of each a
    list of [file, row], in the order of the input.
    """
    starts = np.cumsum([0, *(shard.stop - shard.start for shard in plan.shards)])
    drawn = np.random.default_rng(seed).choice(plan.rows, min(rows, plan.rows), replace=False)
    drawn.sort()
    places = []
    for shard_of, position in zip(
        np.searchsorted(starts, drawn, side="right") - 1, drawn, strict=True
    ):
        shard = plan.shards[shard_of]
        row = shard.start + int(position - starts[shard_of])
        if row not in shard.repeated:
            places.append([shard.file, row])
    return [places[i : i + PIECE] for i in range(0, len(places), PIECE)]


@dataclass(frozen=True)
class Reduction:
    """Components of each view; none where whole states are kept."""

    of_views: Mapping[str, ScaledPCA]
    dtype: str = "float16"

    @one_blas_thread
    def __call__(self, states: np.ndarray, views: Sequence[View]) -> dict[str, np.ndarray]:
        """What is kept of states [V, n, d]: by view's name [n, k] in the number format."""
        kept = {}
        for view, x in zip(views, states, strict=True):
            pca = self.of_views.get(view.name)
            with np.errstate(over="ignore"):  # an overflow is found where bad rows are
                kept[view.name] = (x if pca is None else pca.transform(x)).astype(self.dtype)
        return kept

    def as_bytes(self) -> bytes:
        """As safetensors: ``<view>.mean``, ``.scale``, ``.components``, ``.variance``."""
        return save(
            {
                f"{view}.{name}": np.ascontiguousarray(getattr(pca, name))
                for view, pca in self.of_views.items()
                for name in ("mean", "scale", "components", "variance")
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, dtype: str) -> Reduction:
        """What `as_bytes` gave."""
        tensors = load(data)
        views = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
        names = ("mean", "scale", "components", "variance")
        return cls(
            {v: ScaledPCA(*(tensors[f"{v}.{name}"] for name in names)) for v in views}, dtype
        )


def bytes_of_states(prompts: int, views: int, values: int, dtype: str = "float16") -> int:
    """Bytes of what is kept of so many prompts: prompts x views x values a view x bytes a value.
    Ids and token counts, some 10 bytes a prompt, come on top; compression takes about a tenth off.
    """
    return prompts * views * values * np.dtype(dtype).itemsize
