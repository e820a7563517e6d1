"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from prefill_router.files import replacing

DPI = 150  # of saved figures


def save_figure(fig: Figure, folder: Path, name: str) -> Path:
    """Write `name`.svg and `name`.png without dates or random ids: equal figures are equal byte for
    byte.

    Returns
    -------
    Path of the SVG file.
    """
    empty = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    for kind, metadata in empty.items():
        with (
            replacing(folder / f"{name}.{kind}") as temporary,
            matplotlib.rc_context({"svg.hashsalt": "prefill-router"}),
        ):
            fig.savefig(temporary, format=kind, metadata=metadata, bbox_inches="tight", dpi=DPI)
    return folder / f"{name}.svg"
