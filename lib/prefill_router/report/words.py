"""Numbers with their intervals as verdicts write them."""

from __future__ import annotations

ENOUGH = 0.01  # a gain of accuracy, or of AUC by twice the labels, that is worth a sentence

Interval = tuple[float, float, float]
"""A number, and the two ends of its 95 % interval."""


def points(v: Interval) -> str:
    # z: what rounds to 0 has no minus before it
    return f"{100 * v[0]:+z.1f} [{100 * v[1]:+z.1f}, {100 * v[2]:+z.1f}]"


def percent(v: Interval) -> str:
    return f"{100 * v[0]:z.1f} % [{100 * v[1]:z.1f}, {100 * v[2]:z.1f}]"


def signed(v: Interval) -> str:
    return f"{v[0]:+z.3f} [{v[1]:+z.3f}, {v[2]:+z.3f}]"


def three_digits(v: Interval) -> str:
    return f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]"
