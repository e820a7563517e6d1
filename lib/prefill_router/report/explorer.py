"""The interactive explorer of the notebook on decisions: a rule, its value and a price change, the
point on the curve, the traffic of every target.

What it shows is computed by `evaluate.explored`; the widgets only ask it again. Where nobody can
move a slider (a rendered page, a log) the figure of the first state stands in their place.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL, CrossFitted, Pool
from prefill_router.evaluate.decisions import RULES
from prefill_router.evaluate.decisions_of_pools import DecisionTables
from prefill_router.evaluate.explored import (
    Explored,
    explored,
    planned_price,
    singles,
    slider_stops,
    usual_best,
)
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.evaluate.rules import RuleKind
from prefill_router.report.captions import caption
from prefill_router.report.explorer_figure import PLAN_NAMES, View, as_png, as_svg, draw, sentence
from prefill_router.report.styles import label

Loaded = Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]]
HIDDEN = (
    "The plans are hidden: they were chosen, and their promise holds, at today's prices. With other"
    " prices a router has to be planned again."
)
TODAY = 1.0
UTILITY: RuleKind = "utility"


@dataclass(frozen=True)
class Setting:
    """Where the controls stand: pool, method, rule, and a target with the factor on its price."""

    pool: str
    method: str
    rule: RuleKind
    target: str
    factor: float

    @property
    def factors(self) -> dict[str, float]:
        """On prices; empty at today's."""
        return {} if self.factor == TODAY else {self.target: self.factor}


class Explorer:
    """What is shown for a setting and a position of the slider; the last ones are kept.

    Parameters
    ----------
    loaded : dict of pool to (Pool, methods)
        As `run.cross_fits.load_cross_fits` gives it.
    tables : DecisionTables
        Of the same pools; plans, their outcome on test rows and the best text router are theirs.
    n_boot : int
        Replicates of the intervals.
    """

    def __init__(self, loaded: Loaded, tables: DecisionTables, n_boot: int) -> None:
        self.loaded, self.tables, self.n_boot = loaded, tables, n_boot
        self._curves = functools.lru_cache(maxsize=32)(self._computed)

    def curves(self, at: Setting) -> tuple[Explored, Explored, pd.DataFrame, int]:
        """The router's curve and the best text router's at the positions of the slider, the single
        targets, and the position at which the slider starts.
        """
        # one entry for all targets at today's prices
        key = at if at.factors else Setting(at.pool, at.method, at.rule, "", TODAY)
        return self._curves(key)

    def _computed(self, at: Setting) -> tuple[Explored, Explored, pd.DataFrame, int]:
        pool, methods = self.loaded[at.pool]
        price = planned_price(self.tables.plans, at.pool, at.method, NO_LOSS)
        found = []
        for name in (at.method, self.text(at.pool)):
            known = price if name == at.method else None
            values, start = slider_stops(pool, methods[name], at.rule, at.factors, known)
            curve = explored(pool, methods[name], at.rule, values, at.factors, self.n_boot)
            found.append((curve, start))
        (ours, start), (text, _) = found
        return ours, text, singles(pool, at.factors, self.n_boot), start

    def text(self, pool: str) -> str:
        """The best router on text, by its plan on labelled queries."""
        rows = self.tables.differences
        return str(rows.loc[(rows["pool"] == pool) & rows["best_text_by_plan"], "method_b"].iloc[0])

    def plans(self, at: Setting) -> pd.DataFrame:
        """[plan, cost, accuracy, ci_low, ci_high] on test rows; no rows at changed prices."""
        rows, columns = self.tables.decisions, ["cost", "accuracy", "ci_low", "ci_high"]
        rows = rows[(rows["pool"] == at.pool) & (rows["method"] == at.method)]
        found = []
        for plan in PLAN_NAMES if not at.factors else ():
            of_plan = rows[rows["operating_point"] == plan].set_index("metric")
            accuracy = of_plan.loc["accuracy"]
            numbers = (of_plan.loc["cost", "value"], *accuracy[["value", "ci_low", "ci_high"]])
            found.append((plan, *map(float, numbers)))
        return pd.DataFrame(found, columns=["plan", *columns])

    def view(self, at: Setting, here: int) -> View:
        """What is drawn with the slider at a position."""
        ours, text, points, _ = self.curves(at)
        pool = self.loaded[at.pool][0]
        here = min(here, len(ours.curve) - 1)
        stop = stop_label(ours.curve, at.rule, here)
        changed = f", {at.target} at {at.factor:.3g} times its price" if at.factors else ""
        return View(
            at.method,
            self.text(at.pool),
            ours.curve,
            text.curve,
            here,
            ours.share.iloc[here],
            points,
            pool.outcomes.target_names[usual_best(pool)],
            self.plans(at),
            pool.outcomes.cost_unit,
            f"Pool {at.pool}, {label(at.method)}, {at.rule} rule, {stop}{changed}",
        )

    def planned(self, at: Setting) -> str:
        """What is said of the plans of a setting."""
        if at.factors:
            return HIDDEN
        price = planned_price(self.tables.plans, at.pool, at.method, NO_LOSS)
        if price is None:
            pool = self.loaded[at.pool][0]
            best = pool.outcomes.target_names[usual_best(pool)]
            return f"The plan without a loss is to ask {best}; the slider starts at the highest P."
        return "The slider starts at the plan without a loss, which was chosen on labelled queries."


def stop_label(curve: pd.DataFrame, rule: RuleKind, at: int) -> str:
    """A position of the slider in words: the tolerance, or λ as what an answer of the best single
    target costs in points of P.
    """
    weight = curve["weight"].iloc[at]
    return f"λ: {100 * weight:.3g} points an answer" if rule == UTILITY else f"{weight:.3g}"


def explore(loaded: Loaded, tables: DecisionTables, n_boot: int) -> None:
    """Show the explorer: controls in JupyterLab, a figure everywhere else. Parameters: those of
    `Explorer`.
    """
    import ipywidgets as widgets
    from IPython.display import display

    explorer = Explorer(loaded, tables, n_boot)
    controls, view, note = _controls(loaded), widgets.HTML(), widgets.HTML()
    busy = {"now": False}

    def setting() -> Setting:
        return Setting(*(controls[name].value for name in _SETTING))

    def to_start() -> None:
        at = setting()
        ours, _, _, start = explorer.curves(at)
        stops = range(len(ours.curve))
        options = [(stop_label(ours.curve, at.rule, i), i) for i in stops]
        controls["value"].options, controls["value"].value = options, start

    def update(change: Mapping[str, Any] | None = None) -> None:
        if busy["now"]:  # controls that are set here are not moved by hand
            return
        busy["now"] = True
        try:
            moved = change["owner"] if change else None
            if moved is controls["pool"]:
                _offer(controls, loaded)
            if moved is not controls["value"]:
                to_start()
            at = setting()
            seen = explorer.view(at, controls["value"].value)
            said = sentence(seen)
            view.value = (
                as_svg(*draw(seen), f"{seen.title}. {said}") + f"<p>{html.escape(said)}</p>"
            )
            note.value = f"<p role='status'>{html.escape(explorer.planned(at))}</p>"
        finally:
            busy["now"] = False

    for control in controls.values():
        control.observe(update, "value")
    update()
    rows = [("pool", "method", "rule"), ("value",), ("target", "factor")]
    boxes = [widgets.HBox([controls[name] for name in row]) for row in rows]
    seen = explorer.view(setting(), controls["value"].value)
    said = sentence(seen)
    display(
        {
            **widgets.VBox([*boxes, note, view])._repr_mimebundle_(),
            "image/png": as_png(draw(seen)[0]),
            "text/plain": said,
        },
        raw=True,
        metadata={
            "image/png": {"alt": f"{caption('13_explorer')} {seen.title}. {said}", "width": 900}
        },
    )


_SETTING = ("pool", "method", "rule", "target", "factor")


def _offer(controls: Mapping[str, Any], loaded: Loaded) -> None:
    """The targets and methods of a pool."""
    pool, methods = loaded[controls["pool"].value]
    known = [(label(m), m) for m in PREFILL if m in methods]
    controls["target"].options, controls["method"].options = pool.outcomes.target_names, known
    controls["target"].index = controls["method"].index = 0  # of none before, none is chosen
    controls["factor"].value = TODAY


def _controls(loaded: Loaded) -> dict[str, Any]:
    """The widgets by name."""
    import ipywidgets as widgets

    style = {"description_width": "6em"}
    # every step draws a figure, so a slider tells its value when it is let go
    slider = {"continuous_update": False, "style": style, "layout": {"width": "40em"}}
    found = {
        name: widgets.Dropdown(options=options, description=words, style=style)
        for name, words, options in (
            ("pool", "pool", list(loaded)),
            ("method", "router", []),
            ("rule", "rule", sorted(RULES, reverse=True)),
            ("target", "price of", []),
        )
    }
    found["value"] = widgets.SelectionSlider(options=[("", 0)], description="value", **slider)
    found["factor"] = widgets.FloatLogSlider(
        value=TODAY,
        base=10,
        min=-1,
        max=1,
        step=0.05,
        description="times",
        readout_format=".2f",
        **slider,
    )
    _offer(found, loaded)
    return found
