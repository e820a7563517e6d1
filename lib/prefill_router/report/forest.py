"""The forest: paired differences of ours on every pool of every profile.

`python -m prefill_router.report.readme` draws it from the committed tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prefill_router.evaluate.decisions import CURVE
from prefill_router.evaluate.keys import with_keys
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.cells import verdict
from prefill_router.report.decision_sentences import GAIN, SAVING, difference, found
from prefill_router.report.rivals import best_text
from prefill_router.report.saving import save_figure
from prefill_router.report.styles import INK, QUIET, REFERENCE, VERDICTS, use_style
from prefill_router.report.words import Interval

# panel: title, factor, unit; a row's differences are always in this order
PANELS = {
    "auc": ("mean AUC", 1.0, "difference"),
    "gain": ("accuracy by the plan", 100.0, "difference, points"),
    "saving": ("cost by the plan", -100.0, "difference, % of best single's"),
}
# opponent: name, how far above the middle of a row, size of the marker
OPPONENTS = {
    "text": ("minus the best text router", 0.17, 5.0),
    "single": ("minus the best single target", -0.17, 3.6),
}
COLUMNS = ["profile", "pool", "panel", "against", "value", "ci_low", "ci_high"]
# the differences that sentences speak of, each under one name
SAID = {
    ("auc", "text"): "auc",
    ("saving", "single"): "own_saving",
    ("saving", "text"): "saving",
    ("gain", "single"): "gain",
    ("gain", "text"): "gain_over_text",
}


def forest_rows(results: Path, profiles: Sequence[str], method: str = "ours") -> pd.DataFrame:
    """Every pool of the profiles that have results.

    Returns
    -------
    DataFrame[COLUMNS]
        ``panel``: the keys of ``PANELS``; ``against``: the keys of ``OPPONENTS``. `saving` is the
        share of the best single target's cost, positive where ours is cheaper. A profile without
        plans has the AUC alone, against the text router with the highest AUC on test rows.
    """
    rows: list[tuple] = []
    for profile in profiles:
        folder = results / profile
        if all((folder / f"{n}.csv").is_file() for n in ("decisions", "decision_differences")):
            rows += [(profile, *row) for row in _planned(folder, method)]
        elif all((folder / f"{n}.csv").is_file() for n in ("metrics", "paired")):
            rows += [(profile, *row) for row in _unplanned(folder, method)]
    flat = [(*row[:-1], *row[-1]) for row in rows]
    return pd.DataFrame(flat, columns=COLUMNS).dropna(subset="value").reset_index(drop=True)


def pool_differences(results: Path, profiles: Sequence[str], method: str = "ours") -> pd.DataFrame:
    """What sentences say of every pool, from the rows of the forest.

    Returns
    -------
    DataFrame[profile, pool, panel, value, ci_low, ci_high]
        ``panel``: the values of ``SAID``: AUC above the best text router, planned saving, the same
        above the best text router's, accuracy of the plan above the best single target's and above
        the best text router's.
    """
    rows = forest_rows(results, profiles, method)
    pairs = zip(rows["panel"], rows["against"], strict=True)
    rows = rows.assign(panel=[SAID.get(pair) for pair in pairs]).dropna(subset="panel")
    return rows.drop(columns="against").reset_index(drop=True)


def _planned(folder: Path, method: str) -> list[tuple[str, str, str, Interval]]:
    decisions = pd.read_csv(folder / "decisions.csv")
    against = pd.read_csv(folder / "decision_differences.csv")
    rows = []
    for pool in decisions["pool"].unique():
        rows += [
            (pool, "auc", "text", difference(against, pool, method, CURVE, "mean_auc")[1]),
            (pool, "gain", "text", difference(against, pool, method, NO_LOSS, GAIN)[1]),
            (pool, "gain", "single", found(decisions, pool, method, NO_LOSS, GAIN)),
            (pool, "saving", "text", difference(against, pool, method, NO_LOSS, SAVING)[1]),
            (pool, "saving", "single", found(decisions, pool, method, NO_LOSS, SAVING)),
        ]
    return rows


def _unplanned(folder: Path, method: str) -> list[tuple[str, str, str, Interval]]:
    metrics = pd.read_csv(folder / "metrics.csv")
    paired, rows = with_keys(pd.read_csv(folder / "paired.csv")), []
    for pool in metrics["pool"].unique():
        same = (paired["pool"] == pool) & (paired["method_a"] == method)
        same &= (paired["metric"] == "mean_auc") & (paired["method_b"] == best_text(metrics, pool))
        for of in paired[same].itertuples():
            rows.append((pool, "auc", "text", (of.diff, of.ci_low, of.ci_high)))
    return rows


def message(rows: pd.DataFrame) -> str:
    """What the forest says, counted from its intervals."""

    def count(panel: str, against: str) -> tuple[int, int, int]:
        of = rows[(rows["panel"] == panel) & (rows["against"] == against)]
        return int((of["ci_low"] > 0).sum()), int((of["ci_high"] < 0).sum()), len(of)

    cheaper, _, planned = count("saving", "single")
    _, less_right, _ = count("gain", "single")
    higher, lower, pools = count("auc", "text")
    saves, pays, _ = count("saving", "text")
    _, less_than_text, _ = count("gain", "text")
    if not planned:
        return f"AUC: clearly above the best text router on {higher} of {pools} pools"
    return (
        f"Ours is clearly cheaper than the best single target on {cheaper} of {planned} pools,"
        f" clearly less accurate on {less_right}.\n"
        f"Beside the best text router: AUC clearly higher on {higher} of {pools}, lower on"
        f" {lower}; clearly cheaper on {saves} of {planned}, dearer on {pays}, less accurate on"
        f" {less_than_text}."
    )


def draw_forest(rows: pd.DataFrame) -> Figure:
    """A row for each pool, grouped by profile; a panel for each of ``PANELS``; in each two
    differences with their 95 % intervals, the upper against text, the lower against the best
    single target. Colour and filling are the verdict.
    """
    pools = rows[["profile", "pool"]].drop_duplicates().apply(tuple, axis=1).tolist()
    places, heads = _places(pools)
    height = 0.26 * (len(pools) + 0.8 * len(heads)) + 1.9
    fig, axes = plt.subplots(1, len(PANELS), figsize=(8.6, height), sharey=True)
    for ax, (panel, (title, factor, unit)) in zip(axes, PANELS.items(), strict=True):
        for row in rows[rows["panel"] == panel].itertuples():
            y = places[row.profile, row.pool] + OPPONENTS[row.against][1]
            _draw_interval(ax, row, factor, y)
        ax.axvline(0, color=REFERENCE, linewidth=1.0, zorder=1)
        better = "better →" if factor > 0 else "← cheaper"
        ax.set_xlabel(f"{unit}\n{better}")
        ax.set_title(title, fontweight="bold")
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        of = rows.loc[rows["panel"] == panel, ["profile", "pool"]]
        planned = set(of.itertuples(index=False, name=None))
        for pool in (pool for pool in places if pool not in planned):
            ax.text(
                0.5,
                places[pool],
                "no plan",
                color=QUIET,
                ha="center",
                va="center",
                fontsize=7.5,
                transform=ax.get_yaxis_transform(),
            )
        for y in list(places.values())[::2]:
            ax.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", zorder=0, linewidth=0)
    ticks = {**{y: pool for (_, pool), y in places.items()}, **{y: p for p, y in heads.items()}}
    axes[0].set_yticks(list(ticks), list(ticks.values()))
    for text, y in zip(axes[0].get_yticklabels(), ticks, strict=True):
        text.set_fontweight("bold" if y in heads.values() else "normal")
    axes[0].set_ylim(min(places.values()) - 0.6, max(heads.values()) + 0.6)
    _limits(axes, rows)
    _mark_cut_ends(axes, places, rows)
    fig.suptitle(message(rows), fontsize=9.5, ha="left", x=0.01)
    fig.legend(handles=_legend(), loc="outside lower center", ncols=5, columnspacing=1.2)
    return fig


def _places(pools: Sequence[tuple[str, str]]) -> tuple[dict[tuple[str, str], float], dict]:
    """Where every pool stands, and the heading of every profile above its pools."""
    places: dict[tuple[str, str], float] = {}
    heads: dict[str, float] = {}
    y = 0.0
    for profile, pool in pools:
        if profile not in heads:
            y -= 0.3
            heads[profile] = y
            y -= 0.8
        places[profile, pool] = y
        y -= 1.0
    return places, heads


def _draw_interval(ax: Axes, row: pd.Series, factor: float, y: float) -> None:
    color, mark, filled = VERDICTS[verdict(row.ci_low, row.ci_high)]
    size = OPPONENTS[row.against][2]
    width = 1.8 if row.against == "text" else 1.0
    ax.plot([factor * row.ci_low, factor * row.ci_high], [y, y], color=color, linewidth=width)
    face = color if filled else "white"
    ax.plot(factor * row.value, y, mark, color=color, markerfacecolor=face, markersize=size)


def _limits(axes: Sequence[Axes], rows: pd.DataFrame) -> None:
    """Axes that hold every point and most of every interval: one very wide interval would squeeze
    all others, so it runs out of the axis.
    """
    for ax, (panel, (_, factor, _)) in zip(axes, PANELS.items(), strict=True):
        of = factor * rows.loc[rows["panel"] == panel, ["value", "ci_low", "ci_high"]]
        if of.empty:
            continue
        ends = of[["ci_low", "ci_high"]].to_numpy()
        low, high = np.quantile(ends.min(axis=1), 0.04), np.quantile(ends.max(axis=1), 0.96)
        low, high = min(low, of["value"].min(), 0), max(high, of["value"].max(), 0)
        room = 0.05 * (high - low or 1)
        ax.set_xlim(low - room, high + room)


def _mark_cut_ends(
    axes: Sequence[Axes], places: Mapping[tuple[str, str], float], rows: pd.DataFrame
) -> None:
    """An arrow where an interval runs out of its axis: its end is not at the edge."""
    for row in rows.itertuples():
        ax = axes[list(PANELS).index(row.panel)]
        color = VERDICTS[verdict(row.ci_low, row.ci_high)][0]
        factor = PANELS[row.panel][1]
        low, high = sorted((factor * row.ci_low, factor * row.ci_high))
        left, right = ax.get_xlim()
        y = places[row.profile, row.pool] + OPPONENTS[row.against][1]
        for cut, x, mark in ((low < left, left, "<"), (high > right, right, ">")):
            if cut:
                ax.plot(x, y, mark, color=color, markersize=5, clip_on=False, zorder=5)


def _legend() -> list[Line2D]:
    handles = []
    for name, (color, mark, filled) in VERDICTS.items():
        face = color if filled else "white"
        word = {"better": "clearly better", "worse": "clearly worse"}.get(name, name)
        handles.append(
            Line2D([], [], color=color, marker=mark, markerfacecolor=face, markersize=5, label=word)
        )
    for name, _, size in OPPONENTS.values():
        width, place = (1.8, "upper") if size > 4 else (1.0, "lower")
        shown = f"{place}: {name.removeprefix('minus ')}"
        handles.append(Line2D([], [], color=INK, linewidth=width, label=f"{shown}"))
    return handles


def write_forest(root: Path, profiles: Sequence[str], figures: Path | None = None) -> Path | None:
    """Draw the committed results into ``forest.svg`` and ``.png`` of the folder of figures; the
    path of the former, None where no profile has results.
    """
    rows = forest_rows(root / "results", profiles)
    if rows.empty:
        return None
    use_style()
    fig = draw_forest(rows)
    path = save_figure(fig, figures or root / "figures", "forest")
    plt.close(fig)
    return path
