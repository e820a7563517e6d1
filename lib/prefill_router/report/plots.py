"""Heat maps: a labelled table on given axes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from prefill_router.report.curve_plots import axes_or_new
from prefill_router.report.styles import DIVERGING, HEAT, ink_on


def plot_matrix(
    matrix: pd.DataFrame,
    title: str,
    fmt: str = ".0%",
    center: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A labelled heat map; rows and columns as in `matrix`, NaN left blank. With a ``center`` the
    colours diverge from it.
    """
    ax = axes_or_new(ax)
    values = matrix.to_numpy(dtype=float)
    found = values[~np.isnan(values)]
    low, high = (found.min(), found.max()) if len(found) else (0.0, 1.0)
    if center is not None:
        most = max(high - center, center - low, 1e-9)
        low, high = center - most, center + most
    heat(ax, matrix, f"{{:{fmt}}}", HEAT if center is None else DIVERGING, (low, high))
    ax.set(title=title, xlabel="", ylabel="")
    return ax


def heat(
    ax: Axes, matrix: pd.DataFrame, form: str, colors: str, limits: tuple[float, float]
) -> QuadMesh:
    """Cells with their numbers, black or white by what is easier to read on the cell; the first
    row is at the top. NaN is left blank.
    """
    values = matrix.to_numpy(dtype=float)
    low, high = limits if limits[1] > limits[0] else (limits[0], limits[0] + 1)
    masked = np.ma.masked_invalid(values)
    mesh = ax.pcolormesh(
        masked, cmap=colors, vmin=low, vmax=high, edgecolors="white", linewidth=0.5
    )
    for (y, x), value in np.ndenumerate(values):
        if not np.isnan(value):
            red, green, blue, _ = mesh.cmap(mesh.norm(value))
            ax.text(
                x + 0.5, y + 0.5, form.format(value), ha="center", va="center", fontsize=7.5,
                color=ink_on((red, green, blue)),
            )  # fmt: skip
    ax.set(xticks=np.arange(values.shape[1]) + 0.5, yticks=np.arange(values.shape[0]) + 0.5)
    ax.set_xticklabels(list(matrix.columns), rotation=30, ha="right", fontsize=7)
    ax.set_yticklabels(list(matrix.index), fontsize=7)
    ax.set_ylim(values.shape[0], 0)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    plt.setp(list(ax.spines.values()), visible=False)
    return mesh
