"""Asking a router in a notebook: the table, the field, prompts that cannot be read."""

import IPython.display
import ipywidgets
import numpy as np
import pytest

from prefill_router.encode.sources import EncoderError
from prefill_router.serve import live
from prefill_router.serve.routed import UNLIKE, Route


class FakeRouter:
    """Long prompts to the dear target, as a trained router might; an empty one is refused as the
    encoder refuses it.
    """

    cost_unit, plans = "US<D>", {"no_loss": "evidence"}

    def route(self, prompt, tolerance=None, on_error="raise", plan="no_loss"):
        tolerance = 0.0 if tolerance is None else tolerance
        if not prompt and on_error == "fallback":
            return Route(
                "de&ar",
                {"cheap": np.nan, "de&ar": np.nan},
                {"cheap": np.nan, "de&ar": np.nan},
                0,
                "it is empty",
            )
        if not prompt:
            raise EncoderError("the prompt is <empty>")
        p = {"cheap": 0.9 - 0.1 * len(prompt.split()), "de&ar": 0.7}
        chosen = "cheap" if p["cheap"] >= max(p.values()) - tolerance else "de&ar"
        return Route(chosen, p, {"cheap": 1.5, "de&ar": 20.0}, len(prompt.split()))


def test_a_row_per_prompt():
    table = live.routes_table(FakeRouter(), ["a", "a b c d"])
    assert (
        table["target"].tolist() == ["cheap", "de&ar"]
        and table["cost"].tolist() == [1.5, 20.0]
        and table["tokens"].tolist() == [1, 4]
    )
    np.testing.assert_allclose(table["P(cheap)"], [0.8, 0.5])
    assert (table["seconds"] >= 0).all() and list(table.columns) == [
        "prompt",
        "target",
        "tokens",
        "seconds",
        "cost",
        "P(cheap)",
        "P(de&ar)",
    ]
    assert live.routes_table(FakeRouter(), ["a b c d"], tolerance=0.2)["target"].tolist() == [
        "cheap"
    ]


def test_a_prompt_that_cannot_be_read_has_a_row_with_its_reason():
    table = live.routes_table(FakeRouter(), ["a", "", "b"])
    assert table["target"].tolist() == ["cheap", "de&ar", "cheap"] and table["reason"].fillna(
        ""
    ).tolist() == ["", "it is empty", ""]
    assert table["P(cheap)"].isna().tolist() == [False, True, False] and table[
        "cost"
    ].isna().tolist() == [False, True, False]


@pytest.fixture
def asked(monkeypatch):
    boxes, shown, VBox = [], [], ipywidgets.VBox
    monkeypatch.setattr(
        ipywidgets, "VBox", lambda children: boxes.append(VBox(children)) or boxes[-1]
    )
    monkeypatch.setattr(IPython.display, "display", lambda data, **more: shown.append(data))
    live.ask(FakeRouter(), prompt="a <b> c d")
    text, controls, view = boxes[0].children
    how, slider, button = controls.children
    return text, how, slider, button, view, shown[0]


def test_where_nobody_presses_the_answer_stands_there(asked):
    *_, page = asked
    assert "application/vnd.jupyter.widget-view+json" in page
    assert (
        page["text/html"].startswith(
            "<p>a &lt;b&gt; c d</p><p>Send it to <b>de&amp;ar</b> (4 tokens read)"
        )
        and "US&lt;D&gt;" in page["text/html"]
    )
    assert (
        "de&ar" not in page["text/html"] and page["text/html"].count("de&amp;ar") == 2
    )  # in the sentence and in the table


def values_of(view):
    """What the page shows one after the other: each value is sent as it is set."""
    seen = []
    view.observe(lambda change: seen.append(change["new"]), "value")
    return seen


def test_a_press_and_a_tolerance(asked):
    text, how, slider, button, view, _ = asked
    assert how.options == ("plan no_loss", "tolerance") and slider.disabled
    text.value = "a"
    assert view.value == live.HINT  # only the button asks, and no old answer stays
    seen = values_of(view)
    button.click()
    assert seen[0] == live.BUSY and len(seen) == 2 and not button.disabled
    assert (
        "Send it to <b>cheap</b> (1 tokens read)" in view.value and "<td>0.800</td>" in view.value
    )
    text.value = "a b c d"
    slider.value = 0.2
    assert "Send it to <b>de&amp;ar" in view.value  # the plan decides
    how.value = "tolerance"
    assert not slider.disabled
    assert "Send it to <b>cheap" in view.value


def from_page(widget, value):
    """As the page's message sets it."""
    widget.set_state({"value": value})


def test_enter_at_the_end_asks_and_elsewhere_breaks_the_line(asked):
    text, *_, view, _ = asked
    from_page(text, "a")
    seen = values_of(view)
    from_page(text, "a\n")
    assert seen[0] == live.BUSY and "<p>a</p><p>Send it to <b>cheap</b>" in view.value
    assert text.value == "a"
    for prompt in ("a\nb", "a\nb c\nd\n", "\n", ""):  # in the middle; pasted; nothing to ask
        from_page(text, prompt)
        assert view.value == live.HINT and text.value == prompt


def test_a_prompt_that_cannot_be_read_is_told(asked):
    text, _, _, button, view, _ = asked
    text.value = ""
    button.click()
    assert "role='alert'" in view.value and ">the prompt is &lt;empty&gt;</p>" in view.value


def test_whatever_fails_is_told_in_the_field(asked, monkeypatch):
    _, _, _, button, view, _ = asked

    def fails(*_, **__):
        raise MemoryError("no <room>")

    monkeypatch.setattr(FakeRouter, "route", fails)
    button.click()
    assert "role='alert'" in view.value and "MemoryError: no &lt;room&gt;" in view.value
    assert not button.disabled


def test_a_prompt_unlike_the_training_has_a_warning_and_what_is_done(asked, monkeypatch):
    _, _, _, button, view, _ = asked
    p, cost = {"cheap": 0.9, "de&ar": 0.2}, {"cheap": 1.5, "de&ar": 20.0}
    unlike = Route("de&ar", p, cost, 3, f"{UNLIKE}: familiarity 0.0010", "no_loss", 0.001)
    monkeypatch.setattr(FakeRouter, "route", lambda *_, **__: unlike)
    button.click()
    assert "role='alert'" in view.value and "familiarity 0.0010" in view.value
    assert "sends the prompt to its fallback, de&amp;ar" in view.value
    assert "Send it to <b>de&amp;ar</b>" in view.value
