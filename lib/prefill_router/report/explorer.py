"""The interactive explorer of notebook 08: a tolerance and a price change, the point on the curve,
the traffic of every target.

What it shows is computed by :func:`operating_point`; the widgets only ask it again. Where nobody
can move a slider (a rendered page, a log) the figure of the first state stands in their place.
"""

from __future__ import annotations

import base64
import functools
import html
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prefill_router.data.costs import expected_cost, priced
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split, complete_splits
from prefill_router.evaluate.curves import curve_steps
from prefill_router.evaluate.evaluation import cut
from prefill_router.evaluate.rules import route
from prefill_router.evaluate.settings import EvaluationSettings
from prefill_router.report.captions import caption
from prefill_router.report.curve_plots import plot_operating_point
from prefill_router.report.saving import DPI
from prefill_router.report.styles import label

GRID = np.round(np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.35, 1, 14)]), 4)


@dataclass(frozen=True)
class OperatingPoint:
    """A router at one tolerance and one set of prices, averaged over the test rows of every split.

    Attributes
    ----------
    cost, accuracy : float
        Mean per query; the cost is the expected one, in the outcomes' unit, the router's own
        included.
    share : Series
        Of the queries, by target; sums to 1.
    curve : DataFrame[tolerance, cost, accuracy]
        The same router at the tolerances of ``GRID``.
    points : DataFrame[target, cost, accuracy]
        Every single target at these prices.
    """

    cost: float
    accuracy: float
    share: pd.Series
    curve: pd.DataFrame
    points: pd.DataFrame

    def sentence(self) -> str:
        """What the point means, in words, against the most accurate single target."""
        best = self.points.loc[self.points["accuracy"].idxmax()]
        if best["cost"] > 0:
            saving = 1 - self.cost / best["cost"]
            spent = (
                f"at {abs(saving):.0%} {'less' if saving >= 0 else 'more'} cost than always asking"
            )
        else:
            spent = f"at a mean cost of {self.cost:.4g}, where it costs nothing to always ask"
        parts = ", ".join(
            f"{target} {share:.0%}"
            for target, share in self.share.sort_values(ascending=False).items()
            if share >= 0.005
        )
        return (
            f"Right on {self.accuracy:.1%} of the test queries {spent} {best['target']}"
            f" ({best['accuracy']:.1%}). Traffic: {parts}."
        )


def operating_point(
    settings: EvaluationSettings,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    method: Mapping[str, Any],
    tolerance: float,
    prices: Mapping[str, float] | None = None,
) -> OperatingPoint | None:
    """Where a router stands at a tolerance when prices change.

    Parameters
    ----------
    outcomes : Outcomes
        Of the pool; targets without a price take no part.
    method : a value of `run.handover.read_predictions`
    tolerance : float >= 0
    prices : mapping of target to float, optional
        Factors on its price of today; 1 where it is not named.

    Returns
    -------
    OperatingPoint, or None if fewer than two targets have a price.

    Raises
    ------
    ValueError
        A factor that is negative or of no priced target.
    """
    pool = priced(outcomes, settings.cost_model)
    if pool is None:
        return None
    factors = pd.Series(1.0, index=pool.target_names)
    for target, factor in (prices or {}).items():
        if target not in factors.index or not factor >= 0:
            raise ValueError(
                f"prices: {target!r}: {factor!r}; name a priced target"
                f" ({', '.join(pool.target_names)}) and a factor >= 0"
            )
        factors[target] = factor
    p: Mapping[Any, np.ndarray] = cut(method["p"], outcomes, pool)
    costs, rights, shares, curves, singles = [], [], [], [], []
    for seed, split in complete_splits(outcomes, splits).items():
        test = split.test
        cost = (
            expected_cost(pool, splits[seed].train, settings.cost_model)[test] * factors.to_numpy()
        )
        right, overhead, at = pool.correct[test], method["overhead"][test], np.arange(len(test))
        chosen = route(p[seed][test], cost, tolerance)
        costs.append((cost[at, chosen] + overhead).mean())
        rights.append(right[at, chosen].mean())
        shares.append(np.bincount(chosen, minlength=len(factors)) / len(test))
        mean_cost, accuracy = curve_steps(p[seed][test], cost, right, overhead).evaluate(
            np.ones((1, len(test))), GRID
        )
        curves.append(np.column_stack([mean_cost[0], accuracy[0]]))
        singles.append((cost.mean(axis=0), right.mean(axis=0)))
    curve, single = np.mean(curves, axis=0), np.mean(singles, axis=0)
    return OperatingPoint(
        float(np.mean(costs)),
        float(np.mean(rights)),
        pd.Series(np.mean(shares, axis=0), index=pool.target_names),
        pd.DataFrame({"tolerance": GRID, "cost": curve[:, 0], "accuracy": curve[:, 1]}),
        pd.DataFrame({"target": pool.target_names, "cost": single[0], "accuracy": single[1]}),
    )


def draw(point: OperatingPoint, unit: str, title: str) -> Figure:
    """The curve with the point on it, and the traffic beside it."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), width_ratios=[1.6, 1])
    plot_operating_point(
        point.curve, point.points, point.share, (point.cost, point.accuracy), unit, axes
    )
    fig.suptitle(title, fontsize=9)
    return fig


def _png(fig: Figure) -> str:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()


Loaded = Mapping[str, tuple[Outcomes, Mapping[int, Split], Mapping[str, Mapping[str, Any]]]]
Shown = tuple[str, str, str]  # PNG, its description, the sentence below it


def explore(settings: EvaluationSettings, loaded: Loaded, tolerance: float = 0.05) -> None:
    """Show the explorer: sliders in JupyterLab, a figure everywhere else.

    Parameters
    ----------
    loaded : mapping of pool to (outcomes, splits, methods)
        As `run.pool_loading.load_pools` gives it; the routers offered are ``ours`` and
        ``paper``, whichever are there.
    """
    import ipywidgets as widgets
    from IPython.display import display

    targets = {
        pool: with_price.target_names
        for pool, (outcomes, _, _) in loaded.items()
        if (with_price := priced(outcomes, settings.cost_model)) is not None
    }
    if not targets:
        print("fewer than two targets have a price, so there is no cost to explore")
        return
    state = _states(settings, loaded)
    controls = _controls(loaded, targets, tolerance)
    view = widgets.HTML()

    def shown() -> Shown:
        return state(*(control.value for control in controls.values()))

    def update(*_: Any) -> None:
        # in between a new pool and its targets the old target may still stand there
        if controls["target"].value not in targets[controls["pool"].value]:
            return
        image, alt, sentence = shown()
        view.value = (
            f'<img alt="{html.escape(alt)}" style="max-width: 100%; width: 60em"'
            f' src="data:image/png;base64,{image}"><p>{html.escape(sentence)}</p>'
        )

    def new_pool(change: Mapping[str, Any]) -> None:
        controls["target"].options = targets[change["new"]]

    controls["pool"].observe(new_pool, "value")
    for control in controls.values():
        control.observe(update, "value")
    update()
    box = widgets.VBox(
        [
            widgets.HBox([controls["pool"], controls["method"]]),
            controls["tolerance"],
            widgets.HBox([controls["target"], controls["factor"]]),
            view,
        ]
    )
    image, alt, sentence = shown()
    display(
        {**box._repr_mimebundle_(), "image/png": image, "text/plain": sentence},
        raw=True,
        metadata={"image/png": {"alt": f"{caption('08_explorer')} {alt}", "width": 900}},
    )


def _states(
    settings: EvaluationSettings, loaded: Loaded
) -> Callable[[str, str, float, str, float], Shown]:
    """What is shown at a pool, method, tolerance, and a target with the factor on its price; the
    last ones are kept.
    """

    @functools.lru_cache(maxsize=256)
    def state(pool: str, method: str, tolerance: float, target: str, factor: float) -> Shown:
        outcomes, splits, methods = loaded[pool]
        point = operating_point(
            settings, outcomes, splits, methods[method], tolerance, {target: factor}
        )
        if point is None:
            raise ValueError(f"pool {pool}: fewer than two targets have a price")
        title = f"Pool {pool}, {label(method)}, tolerance {tolerance:g}" + (
            f", {target} at {factor:g} times its price" if factor != 1 else ""
        )
        return (
            _png(draw(point, outcomes.cost_unit, title)),
            f"{title}. {point.sentence()}",
            point.sentence(),
        )

    return state


def _controls(loaded: Loaded, targets: Mapping[str, list[str]], tolerance: float) -> dict[str, Any]:
    """The widgets, in the order of the arguments of what :func:`_states` returns; ``targets``: with
    a price, of every pool that is offered.
    """
    import ipywidgets as widgets

    first = next(iter(targets))
    routers = [m for m in ("ours", "paper") if m in loaded[first][2]]
    style = {"description_width": "7em"}
    # every step draws a figure, so a slider tells its value when it is let go
    slider = {"continuous_update": False, "style": style, "layout": {"width": "32em"}}
    return {
        "pool": widgets.Dropdown(
            options=list(targets), value=first, description="pool", style=style
        ),
        "method": widgets.Dropdown(
            options=[(label(m), m) for m in routers],
            value=routers[0],
            description="router",
            style=style,
        ),
        "tolerance": widgets.FloatSlider(
            value=tolerance, min=0, max=1, step=0.01, description="tolerance", **slider
        ),
        "target": widgets.Dropdown(options=targets[first], description="price of", style=style),
        "factor": widgets.FloatLogSlider(
            value=1,
            base=10,
            min=-2,
            max=2,
            step=0.1,
            description="times",
            readout_format=".2f",
            **slider,
        ),
    }
