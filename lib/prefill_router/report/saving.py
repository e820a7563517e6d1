"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from prefill_router.files import replacing

DPI = 150  # of saved figures
FONTS = "'DejaVu Sans', Verdana, Geneva, sans-serif"


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
            if kind == "svg":
                _name_fallbacks(temporary)
    return folder / f"{name}.svg"


def _name_fallbacks(svg: Path) -> None:
    """Name fonts to fall back to: where DejaVu Sans is not installed a browser takes its serif."""
    text = svg.read_text(encoding="utf-8")
    svg.write_text(text.replace("'DejaVu Sans'", FONTS), encoding="utf-8")
