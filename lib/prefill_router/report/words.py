"""Numbers with their intervals as verdicts write them."""

from __future__ import annotations

ENOUGH = 0.01  # a gain of accuracy, or of AUC by twice the labels, that is worth a sentence

Interval = tuple[float, float, float]
"""A number, and the two ends of its 95 % interval."""


def points(v: Interval) -> str:
    v = (100 * v[0], 100 * v[1], 100 * v[2])
    d = _digits(v, 1)
    # z: what rounds to 0 has no minus before it
    return f"{v[0]:+z.{d}f} [{v[1]:+z.{d}f}, {v[2]:+z.{d}f}]"


def _digits(v: Interval, least: int) -> int:
    """So many digits that an end of an interval that leaves out 0 is not written as 0."""
    ends = [abs(end) for end in v[1:] if end]
    digits = least
    while v[1] * v[2] > 0 and digits < 6 and any(round(end, digits) == 0 for end in ends):
        digits += 1
    return digits


def clear(v: Interval, digits: int = 1) -> str:
    """A number and its interval without signs, for a sentence that names the direction; an interval
    that leaves out 0 is written so that it does.
    """
    d = _digits(v, digits)
    return f"{v[0]:z.{d}f} [{v[1]:z.{d}f}, {v[2]:z.{d}f}]"


def unsigned(v: Interval) -> str:
    """`points` without signs."""
    return clear((100 * v[0], 100 * v[1], 100 * v[2]))


def percent(v: Interval) -> str:
    v = (100 * v[0], 100 * v[1], 100 * v[2])
    d = _digits(v, 1)
    return f"{v[0]:z.{d}f} % [{v[1]:z.{d}f}, {v[2]:z.{d}f}]"


def signed(v: Interval) -> str:
    d = _digits(v, 3)
    return f"{v[0]:+z.{d}f} [{v[1]:+z.{d}f}, {v[2]:+z.{d}f}]"


def three_digits(v: Interval) -> str:
    return f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]"
