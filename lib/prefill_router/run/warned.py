"""How a command shows the warnings of the library."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as lines for a person: what they say, without the place in the code."""
    before = warnings.formatwarning

    def line(message: Any, category: type[Warning], *place: Any) -> str:
        return (
            f"warning: {message}\n"
            if category is UserWarning
            else before(message, category, *place)
        )

    warnings.formatwarning = line  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before
