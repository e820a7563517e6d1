"""The explorer's figure: a router's curve with its plans, the best text router and the targets, and
the traffic beside it; as an SVG, whose points tell their numbers under the pointer.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from prefill_router.evaluate.curves import convex_hull
from prefill_router.report.curve_plots import cost_axis
from prefill_router.report.saving import DPI
from prefill_router.report.styles import label, style

HERE, PLANNED = "#D55E00", "#0072B2"
PLAN_NAMES = {"no_loss": "plan: no loss", "one_point": "plan: at most 1 point below"}


@dataclass(frozen=True)
class View:
    """What is drawn.

    Attributes
    ----------
    method, text : str
        The router, and the best router on text.
    curve, text_curve : DataFrame[cost, accuracy, ci_low, ci_high]
        Of both, by the same rule.
    here : int
        Row of ``curve`` at which the slider stands.
    share : Series
        Of the queries there, by target.
    points : DataFrame[target, cost, accuracy, ci_low, ci_high]
        Single targets.
    best : str
        The best single target on labelled queries.
    plans : DataFrame[plan, cost, accuracy, ci_low, ci_high]
        Without rows where none holds.
    unit, title : str
    """

    method: str
    text: str
    curve: pd.DataFrame
    text_curve: pd.DataFrame
    here: int
    share: pd.Series
    points: pd.DataFrame
    best: str
    plans: pd.DataFrame
    unit: str
    title: str

    @property
    def stop(self) -> pd.Series:
        """The row of the curve where the slider stands."""
        return self.curve.iloc[self.here]

    @property
    def best_point(self) -> pd.Series:
        """Of the best single target."""
        return self.points.set_index("target").loc[self.best]


def interval(row: pd.Series) -> str:
    """Accuracy with its 95 % interval."""
    return f"{row['accuracy']:.1%} [{row['ci_low']:.1%}, {row['ci_high']:.1%}]"


def price_of(cost: float, unit: str) -> str:
    """A mean cost in words."""
    factor, words = cost_axis(unit)
    return f"{factor * cost:.3g} ({words})"


def sentence(view: View) -> str:
    """What the point means, in words, against the best single target and the best text router."""
    here, best, text = view.stop, view.best_point, _nearest(view.text_curve, view.stop["cost"])
    if best["cost"] > 0:
        saving = 1 - here["cost"] / best["cost"]
        spent = f"at {abs(saving):.0%} {'less' if saving >= 0 else 'more'} cost than always asking"
    else:
        spent = f"at a mean cost of {here['cost']:.4g}, where it costs nothing to always ask"
    parts = ", ".join(
        f"{target} {share:.0%}"
        for target, share in view.share.sort_values(ascending=False).items()
        if share >= 0.005
    )
    return (
        f"Right on {interval(here)} of the test queries {spent} {view.best}"
        f" ({best['accuracy']:.1%}). {label(view.text)} at about the same cost:"
        f" {interval(text)}. Traffic: {parts}."
    )


def _nearest(curve: pd.DataFrame, cost: float) -> pd.Series:
    return curve.iloc[int((curve["cost"] - cost).abs().argmin())]


def draw(view: View) -> tuple[Figure, list[str]]:
    """The figure, and what its points say under the pointer: the text of the artist with the id
    ``tip-0`` and so on.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), width_ratios=[2, 1])
    factor, words = cost_axis(view.unit)
    tips = _Tips(left, factor, view.unit)
    _curves(view, left, factor, tips)
    _targets(view, left, factor, tips)
    for name, rows in view.plans.groupby("plan", sort=False):
        row, title = rows.iloc[0], PLAN_NAMES.get(str(name), str(name))
        marker, size = ("*", 13) if name == "no_loss" else ("P", 9)
        left.plot(
            factor * row["cost"],
            row["accuracy"],
            marker,
            color=PLANNED,
            ms=size,
            zorder=8,
            label=title,
        )
        tips.add(row, title)
    here = view.stop
    left.plot(
        factor * here["cost"], here["accuracy"], "o", color=HERE, ms=9, zorder=7, label="here"
    )
    tips.add(here, "here")
    left.set(xlabel=words, ylabel="accuracy")
    left.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=3, fontsize=7)
    order = view.points.sort_values("accuracy")["target"]
    right.barh(order, [100 * view.share[target] for target in order], color=HERE)
    right.set(xlabel="share of the queries (%)", xlim=(0, 100))
    right.grid(axis="y", visible=False)
    fig.suptitle(view.title, fontsize=9)
    return fig, tips.texts


@dataclass
class _Tips:
    """Points that can be pointed at."""

    ax: Axes
    factor: float
    unit: str

    def __post_init__(self) -> None:
        self.texts: list[str] = []

    def add(self, row: pd.Series, name: str) -> None:
        x, y = self.factor * row["cost"], row["accuracy"]
        gid = f"tip-{len(self.texts)}"
        self.ax.plot([x], [y], "o", ms=10, alpha=0.0, zorder=10, gid=gid, label="_")
        self.texts.append(
            f"{name}\naccuracy {interval(row)}\ncost {price_of(row['cost'], self.unit)}"
        )


def _curves(view: View, ax: Axes, factor: float, tips: _Tips) -> None:
    for method, curve, width in ((view.text, view.text_curve, 1.2), (view.method, view.curve, 2.0)):
        color, line = style(method)
        x = factor * curve["cost"]
        ax.plot(x, curve["accuracy"], color=color, ls=line, lw=width, label=label(method))
        if method == view.method:
            ax.fill_between(
                x,
                curve["ci_low"],
                curve["ci_high"],
                color=color,
                alpha=0.12,
                lw=0,
                label="its 95 % interval",
            )
        for row in curve.iloc[:: max(1, len(curve) // 30)].to_dict("records"):
            tips.add(pd.Series(row), label(method))
    at = view.points.iloc[convex_hull(view.points["cost"], view.points["accuracy"])]
    ax.plot(
        factor * at["cost"], at["accuracy"], color="0.35", lw=1, ls="--", label="mix of targets"
    )


def _targets(view: View, ax: Axes, factor: float, tips: _Tips) -> None:
    """Single targets with their names; those far dearer than everything else are named at the edge,
    so that the curves have room.
    """
    best = view.best_point
    curves = pd.concat([view.curve, view.text_curve, view.plans])
    edge = 1.15 * max(curves["cost"].max(), best["cost"])
    ax.axhline(best["accuracy"], color="0.5", lw=0.8, ls=(0, (1, 1)), label="best single target")
    inside = view.points["cost"] <= edge
    for row in view.points[inside].to_dict("records"):
        is_best = row["target"] == view.best
        ax.plot(factor * row["cost"], row["accuracy"], "o", color="black", ms=5, zorder=6)
        left = row["cost"] > 0.6 * edge  # there a name would leave the axes
        ax.annotate(
            row["target"],
            (factor * row["cost"], row["accuracy"]),
            xytext=(-5 if left else 5, -10),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=7,
            fontweight="bold" if is_best else "normal",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=9,
        )
        tips.add(pd.Series(row), row["target"])
    ax.set_xlim(0, factor * edge)
    low = min(curves["accuracy"].min(), best["accuracy"])
    ax.set_ylim(bottom=max(ax.get_ylim()[0], low - 0.1))
    if beyond := list(view.points.loc[~inside, "target"]):
        ax.annotate(
            f"dearer: {', '.join(beyond)} →",
            (0.995, 0.02),
            xycoords="axes fraction",
            ha="right",
            fontsize=7,
            color="0.3",
        )


def as_svg(fig: Figure, tips: Sequence[str], alt: str) -> str:
    """A figure as an SVG element as wide as the page allows; points say their numbers as titles."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "prefill-router"}):
        fig.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight"
        )
    plt.close(fig)
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    for number, tip in enumerate(tips):
        mark = f'<g id="tip-{number}">'
        rest = rest.replace(mark, f"{mark}<title>{html.escape(tip)}</title>", 1)
    return (
        f'{head} role="img" aria-label="{html.escape(alt)}"'
        f' style="max-width: 70em; width: 100%; height: auto">{rest}'
    )


def as_png(fig: Figure) -> str:
    """A figure as a PNG in base64, closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches="tight")
    plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()
