"""The forest: paired differences of ours on every pool of every profile with plans.

`python -m prefill_router.report.readme` draws it from the committed tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.cells import verdict
from prefill_router.report.decision_sentences import GAIN, SAVING, difference, found
from prefill_router.report.saving import save_figure
from prefill_router.report.styles import use_style

PANELS = {
    "auc": ("mean AUC minus the best text router's", 1.0),
    "own_saving": ("planned saving, % of the best single target's cost", 100.0),
    "saving": ("planned saving minus the best text router's, points", 100.0),
    "gain": ("accuracy by the plan minus the best single target's, points", 100.0),
}
COLORS = {"better": "#0072B2", "no clear difference": "0.45", "worse": "#D55E00"}


def forest_rows(results: Path, profiles: Sequence[str], method: str = "ours") -> pd.DataFrame:
    """Every pool of the profiles that have plans.

    Returns
    -------
    DataFrame[profile, pool, panel, value, ci_low, ci_high]
        ``panel``: the keys of ``PANELS``.
    """
    rows = []
    for profile in profiles:
        paths = [results / profile / f"{n}.csv" for n in ("decisions", "decision_differences")]
        if not all(path.is_file() for path in paths):
            continue
        decisions, against = (pd.read_csv(path) for path in paths)
        for pool in decisions["pool"].unique():
            values = {
                "auc": difference(against, pool, method, CURVE, "mean_auc")[1],
                "saving": difference(against, pool, method, NO_LOSS, SAVING)[1],
                "own_saving": found(decisions, pool, method, NO_LOSS, SAVING),
                "gain": found(decisions, pool, method, NO_LOSS, GAIN),
            }
            rows += [(profile, pool, panel, *interval) for panel, interval in values.items()]
    return pd.DataFrame(rows, columns=["profile", "pool", "panel", "value", "ci_low", "ci_high"])


def draw_forest(rows: pd.DataFrame) -> Figure:
    """A row for each pool, a panel for each of ``PANELS``; a line is a 95 % interval, blue where it
    lies above 0, red where below.
    """
    pools = rows[["profile", "pool"]].drop_duplicates().apply(tuple, axis=1).tolist()
    height = 0.27 * len(pools) + 1.1
    fig, axes = plt.subplots(1, len(PANELS), figsize=(15, height), sharey=True)
    for ax, (panel, (title, scale)) in zip(axes, PANELS.items(), strict=True):
        of_panel = rows[rows["panel"] == panel].set_index(["profile", "pool"])
        for y, pool in enumerate(reversed(pools)):
            value, low, high = of_panel.loc[pool, ["value", "ci_low", "ci_high"]].astype(float)
            color = COLORS[verdict(low, high)]
            ax.plot([scale * low, scale * high], [y, y], color=color, linewidth=1.6)
            ax.plot(scale * value, y, "o", color=color, markersize=4)
        ax.axvline(0, color="0.3", linewidth=0.8)
        _wrapped(ax, title)
    names = [f"{profile}: {pool}" for profile, pool in reversed(pools)]
    axes[0].set(yticks=np.arange(len(pools)), yticklabels=names, ylim=(-0.6, len(pools) - 0.4))
    return fig


def _wrapped(ax: Axes, title: str) -> None:
    words, half = title.split(), len(title) / 2
    first = ""
    while len(first) + len(words[0]) <= half + 2:
        first = f"{first} {words.pop(0)}".strip()
    ax.set_xlabel(f"{first}\n{' '.join(words)}")


def write_forest(root: Path, profiles: Sequence[str]) -> Path | None:
    """Draw the committed results into ``figures/forest.svg`` and ``.png``; the path of the former,
    None where no profile has plans.
    """
    rows = forest_rows(root / "results", profiles)
    if rows.empty:
        return None
    use_style()
    fig = draw_forest(rows)
    path = save_figure(fig, root / "figures", "forest")
    plt.close(fig)
    return path
