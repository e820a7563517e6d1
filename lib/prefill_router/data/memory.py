"""How large the kernel router may grow, what it takes of memory, and whether that is free: asked
before the work begins.
"""

from __future__ import annotations

import numpy as np
import psutil

# At most so many rows are fitted with the exact kernel of all of them, beyond it with landmarks.
EXACT_ROWS = 12_500
LANDMARKS, DIRECTIONS = 2000, 512
# What a router keeps of its training at most; with its plans and notes it stays below 50 MB.
ROUTER_BYTES = 49e6
# The exact kernel router, the largest thing in memory: 2.2 GB at 9,000 questions and 5.7 GB at
# 18,000, some copies of a kernel [n, n] and the states.
MEMORY_BASE, MEMORY_PER_PAIR = 1e9, 11.0  # bytes
BLOCK_ROWS = 2048  # read at a time
# Columns of the states that are read of an encoder of usual size, where it is not known yet.
USUAL_COLUMNS = 13_000


def drawn_rows(n: int, most: int = EXACT_ROWS) -> np.ndarray:
    """Positions of all n rows, or of ``most`` of them where there are more: drawn at random, always
    the same, ascending.
    """
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def memory_of_exact(n: int, columns: int = USUAL_COLUMNS) -> float:
    """Bytes of a regression on the kernel of n rows with so many columns of states, beyond what the
    process holds already.
    """
    return MEMORY_PER_PAIR * n * n + 4.0 * n * columns


def exact_rows_within(most_bytes: float) -> int:
    """Rows of the largest run with an exact kernel that takes no more memory: the root of
    `memory_needed`.
    """
    linear, room = 4.0 * USUAL_COLUMNS, max(most_bytes - MEMORY_BASE, 0.0)
    root = (linear**2 + 4 * MEMORY_PER_PAIR * room) ** 0.5
    return min(int((root - linear) / (2 * MEMORY_PER_PAIR)), EXACT_ROWS)


def memory_of_bounded(
    n: int, columns: int = USUAL_COLUMNS, values: int = 12, landmarks: int = LANDMARKS
) -> float:
    """Bytes of a regression on landmarks, at its peak, beyond what the process holds already.

    Parameters
    ----------
    n, columns, values : rows, columns of all encoders together, regressed values of a row
    landmarks : int
    """
    sample = 5.0 * 4 * landmarks * columns  # states, standardised, and of the decomposition
    products = 8.0 * 10 * landmarks**2  # of three folds, their sums, a factor, the features' map
    # on both sides of a queue: states, standardised, kernels and features of a block
    blocks = 4.0 * 6 * BLOCK_ROWS * (columns + landmarks)
    held_out = 4.0 * 3 * 4000 * landmarks
    return sample + products + blocks + held_out + 8.0 * 8 * n * values


def directions_within(most_bytes: float, rows: int, columns: int, values: int) -> int:
    """Principal directions that a router of so many bytes has room for; at least one.

    Parameters
    ----------
    most_bytes : float
        Of one encoder's part.
    rows, columns, values : rows and columns of its states, regressed values of a row
    """
    others = 8.0 * columns + 8.0 * rows * (1 + values)  # standardisation; lengths, nearness, dual
    return max(int((most_bytes - others) / (2 * (rows + columns))), 1)


def memory_needed(n: int) -> float:
    """Bytes that a run takes at its peak for n questions, roughly."""
    return MEMORY_BASE + (memory_of_exact(n) if n <= EXACT_ROWS else memory_of_bounded(n))


def check_free(needed: float, what: str) -> None:
    """MemoryError if more bytes are needed than are free now."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free:"
            " close other programs, take fewer rows or a larger machine"
        )
