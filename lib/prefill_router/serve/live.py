"""Asking a loaded router in a notebook: a table of routes, and a field to type prompts into."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from prefill_router.encode.sources import EncoderError
from prefill_router.serve.routed import UNLIKE, Route, RouterError
from prefill_router.serve.router import Router

BY_TOLERANCE = "tolerance"
SHOWN = 200  # characters of a prompt beside its answer
BUSY = "<p role='status'>Reading the prompt …</p>"
HINT = "<p role='status'>Press Enter at the end of the text, or Route.</p>"


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


def _answer(found: Route, unit: str, prompt: str) -> str:
    """A route as HTML: whose prompt it is for, a warning where the fallback answers, and a table
    with the chosen target in bold.
    """
    rows = "".join(
        f"<tr><td>{_name(t, found.target)}</td><td>{p:.3f}</td><td>{found.cost[t]:.4g}</td></tr>"
        for t, p in found.p_correct.items()
    )
    shortened = prompt if len(prompt) <= SHOWN else f"{prompt[:SHOWN]}…"
    return (
        f"<p>{html.escape(shortened)}</p>{_warning(found)}"
        f"<p>Send it to <b>{html.escape(found.target)}</b> ({found.tokens} tokens"
        " read).</p><table><tr><th>target</th><th>P(correct)</th><th>expected cost"
        f" ({html.escape(unit)})</th></tr>{rows}</table>"
    )


def _warning(found: Route) -> str:
    """Why the fallback answers, or "" where the router chose."""
    if found.reason is None:
        return ""
    why = f"It was not chosen by P: {found.reason}."
    if found.reason.startswith(UNLIKE):
        why = (
            f"This prompt is unlike all that the router was trained on (familiarity"
            f" {found.familiarity:.4f}), so P below says little. The router does not follow it, and"
            f" sends the prompt to its fallback, {found.target}."
        )
    return _note(why, "alert", "#D55E00")


def _note(text: str, role: str, color: str = "#0072B2") -> str:
    """A line with a coloured edge, readable on light and dark pages."""
    return (
        f"<p role='{role}' style='border-left: 4px solid {color}; padding-left: 0.6em'>"
        f"{html.escape(text)}</p>"
    )


def _asked(router: Router, prompt: str, how: Mapping[str, Any]) -> str:
    """The answer to a prompt as HTML; whatever goes wrong is told there."""
    try:
        return _answer(router.route(prompt, **how), router.cost_unit, prompt)
    except (EncoderError, RouterError) as error:  # an empty prompt, or one that is too long
        return _note(str(error), "alert", "#D55E00")
    except Exception as error:  # a traceback would go to a log that nobody has open
        return _note(f"The router failed ({type(error).__name__}: {error}).", "alert", "#D55E00")


def ask(
    router: Router, tolerance: float | None = None, prompt: str = "What is 17 times 23?"
) -> None:
    """Show a text field, the router's plans, a tolerance and a button in JupyterLab; where nobody
    can press it, the route of ``prompt``.

    Enter at the end of the text asks as the button does; elsewhere it breaks the line. Without a
    ``tolerance`` the plan is followed that `Router.route` follows.
    """
    import ipywidgets as widgets
    from IPython.display import display

    plans = {f"plan {name}": name for name in router.plans}
    text, how, slider, button = _controls(list(plans), tolerance, prompt)
    view = widgets.HTML()

    def update(*_: Any) -> None:
        slider.disabled = how.value in plans
        given = {"plan": plans[how.value]} if how.value in plans else {"tolerance": slider.value}
        # the page shows this while the router reads: the kernel sends each value as it is set
        view.value, button.disabled = BUSY, True
        try:
            view.value = _asked(router, text.value, given)
        finally:
            button.disabled = False

    def typed(change: Mapping[str, Any]) -> None:
        if change["new"] == f"{change['old']}\n" and change["old"].strip():
            text.unobserve(typed, "value")  # taking the line end away is no typing
            text.value = change["old"]
            text.observe(typed, "value")
            update()
        else:
            view.value = HINT  # the answer was one to another prompt

    button.on_click(update)
    text.observe(typed, "value")
    for control in (how, slider):
        control.observe(update, "value")
    update()
    box = widgets.VBox([text, widgets.HBox([how, slider, button]), view])
    display({**box._repr_mimebundle_(), "text/html": view.value}, raw=True)


def _controls(plans: Sequence[str], tolerance: float | None, prompt: str) -> tuple[Any, ...]:
    """The text, how to decide, the tolerance and the button."""
    import ipywidgets as widgets

    text = widgets.Textarea(
        value=prompt, description="prompt", layout={"width": "50em", "height": "6em"}
    )
    how = widgets.Dropdown(
        options=[*plans, BY_TOLERANCE],
        value=plans[0] if plans and tolerance is None else BY_TOLERANCE,
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
    return text, how, slider, widgets.Button(description="Route", button_style="primary")
