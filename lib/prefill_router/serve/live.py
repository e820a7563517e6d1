"""Asking a loaded router in a notebook: a table of routes, and a field to type prompts into."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd

from prefill_router.encode.sources import EncoderError
from prefill_router.serve.routed import Route
from prefill_router.serve.router import Router

BY_TOLERANCE = "tolerance"


def routes_table(
    router: Router, prompts: Sequence[str], tolerance: float | None = None
) -> pd.DataFrame:
    """Route prompts one by one, as a server would, by the router's plan or a tolerance; one that
    cannot be read goes to the router's fallback.

    Returns
    -------
    DataFrame[prompt, target, tokens, seconds, cost, P(t) for every target t]
        ``cost``: expected, of the chosen target, in the router's cost unit; ``seconds``: from text
        to route. A column ``reason`` is added if a prompt could not be read.
    """
    rows = []
    for prompt in prompts:
        started = time.perf_counter()
        found = router.route(prompt, tolerance=tolerance, on_error="fallback")
        seconds = time.perf_counter() - started
        rows.append(
            {
                "prompt": prompt,
                "target": found.target,
                "tokens": found.tokens,
                "seconds": seconds,
                "cost": found.cost[found.target],
                **{f"P({t})": p for t, p in found.p_correct.items()},
                "reason": found.reason,
            }
        )
    table = pd.DataFrame(rows)
    return table if table["reason"].notna().any() else table.drop(columns="reason")


def _name(target: str, chosen: str) -> str:
    name = html.escape(target)
    return f"<b>{name}</b>" if target == chosen else name


def _answer(found: Route, unit: str) -> str:
    """A route as an HTML table, the chosen target in bold."""
    rows = "".join(
        f"<tr><td>{_name(t, found.target)}</td><td>{p:.3f}</td><td>{found.cost[t]:.4g}</td></tr>"
        for t, p in found.p_correct.items()
    )
    return (
        f"<p>Send it to <b>{html.escape(found.target)}</b> ({found.tokens} tokens"
        " read).</p><table><tr><th>target</th><th>P(correct)</th><th>expected cost"
        f" ({html.escape(unit)})</th></tr>{rows}</table>"
    )


def ask(
    router: Router, tolerance: float | None = None, prompt: str = "What is 17 times 23?"
) -> None:
    """Show a text field, the router's plans, a tolerance and a button in JupyterLab; where nobody
    can press it, the route of ``prompt``.

    Without a ``tolerance`` the plan is followed that `Router.route` follows.
    """
    import ipywidgets as widgets
    from IPython.display import display

    text = widgets.Textarea(
        value=prompt, description="prompt", layout={"width": "50em", "height": "6em"}
    )
    plans = {f"plan {name}": name for name in router.plans}
    how = widgets.Dropdown(
        options=[*plans, BY_TOLERANCE],
        value=next(iter(plans)) if plans and tolerance is None else BY_TOLERANCE,
        description="decide by",
    )
    slider = widgets.FloatSlider(
        value=tolerance or 0.0,
        min=0,
        max=1,
        step=0.01,
        description="tolerance",
        continuous_update=False,
        layout={"width": "32em"},
    )
    button = widgets.Button(description="Route", button_style="primary")
    view = widgets.HTML()

    def update(*_: Any) -> None:
        slider.disabled = how.value in plans
        given = {"plan": plans[how.value]} if how.value in plans else {"tolerance": slider.value}
        try:
            view.value = _answer(router.route(text.value, **given), router.cost_unit)
        except EncoderError as error:  # an empty prompt, or one that is too long
            view.value = f"<p role='alert'>{html.escape(str(error))}</p>"

    button.on_click(update)
    for control in (how, slider):
        control.observe(update, "value")
    update()
    box = widgets.VBox([text, widgets.HBox([how, slider, button]), view])
    display(
        {**box._repr_mimebundle_(), "text/html": f"<p>{html.escape(prompt)}</p>{view.value}"},
        raw=True,
    )
