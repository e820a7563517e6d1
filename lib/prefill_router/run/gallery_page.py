"""The looks of the gallery: templates, styles, and what of an executed notebook is shown."""

from __future__ import annotations

import functools
import re
from typing import Any

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer

from prefill_router.report.pages import page_templates

GENERATOR = '<meta name="generator" content="prefill_router gallery">'


_TAGS = {
    *bleach.ALLOWED_TAGS,
    "p",
    "br",
    "hr",
    "div",
    "span",
    "pre",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "img",
    "del",
    "sup",
    "sub",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "caption",
}


# What a table of pandas brings along; its text would remain where only the tag is taken away.
_PANDAS_STYLE = re.compile(r"<style scoped>.*?</style>", re.DOTALL)


def _allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays: nothing that runs, and no image that would be fetched."""
    if tag == "img":
        return name in ("alt", "width", "height", "class") or (
            name == "src" and value.startswith("data:image/")
        )
    if tag == "a":
        return name in ("href", "title", "class", "id") and not value.strip().lower().startswith(
            "data:"
        )
    return name in ("class", "id") or (tag in ("th", "td") and name in ("colspan", "rowspan"))


def clean(text: Any) -> str:
    """HTML with the tags of prose, tables and images; everything else (scripts, frames, handlers)
    becomes text.
    """
    return bleach.clean(
        _PANDAS_STYLE.sub("", str(text)),
        tags=_TAGS,
        attributes=_allowed,
        protocols={*bleach.ALLOWED_PROTOCOLS, "data"},
        css_sanitizer=CSSSanitizer(),
    )


@functools.cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    # widgets need a live kernel and scripts from the network: their still image is shown
    priority = [
        "text/html",
        "text/markdown",
        "image/svg+xml",
        "image/png",
        "image/jpeg",
        "text/plain",
    ]
    exporter = HTMLExporter(
        template_name="basic",
        template_file="folded.html.j2",
        sanitize_html=True,
        exclude_anchor_links=True,
        extra_loaders=[page_templates().loader],
        config=Config({"NbConvertBase": {"display_data_priority": priority}}),
    )
    exporter.register_filter("clean_html", clean)
    return exporter


def render(notebook: nbformat.NotebookNode, name: str) -> str:
    """The body of an executed notebook: code folded, every image with a text, no script."""
    notebook = nbformat.from_dict(notebook)  # a copy
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}) and not output.metadata.get(kind, {}).get("alt"):
                    output.metadata.setdefault(kind, {})["alt"] = (
                        f"Figure of cell {number} of {name}; the text around it says what it shows."
                    )
    body, _ = _exporter().from_notebook_node(notebook)
    return body


@functools.cache
def page_style() -> str:
    from pygments.formatters import HtmlFormatter

    css = page_templates().get_template("gallery.css").render()
    return css + HtmlFormatter(style="default").get_style_defs(".highlight")
