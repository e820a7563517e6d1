"""Executed notebooks as the article shows them: code folded, nothing that runs, every image with a
text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import bleach
import nbformat
from nbconvert.filters import markdown2html

FOLDED = "hide-input"  # the tag by which MyST-NB folds a cell's code
TAGS = (
    "p br hr div span pre h1 h2 h3 h4 h5 h6 img del sup sub table thead tbody tr th td caption"
).split()
# What a table of pandas brings along; its text would remain where only the tag is taken away.
_PANDAS_STYLE = re.compile(r"<style scoped>.*?</style>", re.DOTALL)
_NO_IMAGE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")  # its source was not allowed
_IMAGES = ("image/png", "image/jpeg")


def _allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays: nothing that runs, and no image that would be fetched."""
    if tag == "img":
        inlined = name == "src" and value.startswith("data:image/")
        return name in ("alt", "width", "height", "class") or inlined
    if tag == "a":
        to_data = value.strip().lower().startswith("data:")
        return name in ("href", "title", "class", "id") and not to_data
    return name in ("class", "id") or (tag in ("th", "td") and name in ("colspan", "rowspan"))


def clean(text: Any) -> str:
    """HTML with the tags of prose, tables and images; everything else (scripts, frames, handlers)
    becomes text.
    """
    left = bleach.clean(
        _PANDAS_STYLE.sub("", str(text)),
        tags={*bleach.ALLOWED_TAGS, *TAGS},
        attributes=_allowed,
        protocols={*bleach.ALLOWED_PROTOCOLS, "data"},
    )
    return _NO_IMAGE.sub("", left)


def title_and_question(notebook: nbformat.NotebookNode, name: str) -> tuple[str, str]:
    """The heading of a notebook, else its name, and the question that it answers, else ""."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    title = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    question = re.search(r"\*\*Question\.\*\*\s*(.+)", text)
    return title.group(1) if title else name, question.group(1) if question else ""


def shown(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A copy whose code is folded and whose outputs are plain text or clean HTML.

    Widgets need a live kernel: their still image is shown. Of a line that was written over and over
    (a progress bar) its last state is.
    """
    copy = nbformat.from_dict(notebook)
    copy.metadata.pop("widgets", None)
    for number, cell in enumerate(copy.cells):
        if cell.cell_type != "code":
            continue
        cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), FOLDED})
        outputs: list[nbformat.NotebookNode] = []
        for output in cell.outputs:
            merged = outputs and output.output_type == "stream" == outputs[-1].output_type
            if merged and outputs[-1].name == output.name:
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        what = f"Figure of cell {number} of {name}; the text around it says what it shows."
        cell.outputs = [_plain(output, what) for output in outputs]
    return copy


def _plain(output: nbformat.NotebookNode, alt: str) -> nbformat.NotebookNode:
    if output.output_type == "stream":
        # a carriage return goes back to the beginning of the line, which is then written over
        output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
    elif "data" in output:
        html = _html(output.data, output.get("metadata", {}), alt)
        text = {"text/plain": output.data.get("text/plain", "")}
        output.data = nbformat.from_dict({"text/html": html} if html else text)
        output.metadata = nbformat.from_dict({})
    return output


def _html(data: Mapping[str, Any], metadata: Mapping[str, Any], alt: str) -> str:
    """The output as HTML that runs nothing; "" where plain text is all there is."""
    if "text/html" in data:
        return f'<div class="scrolls" tabindex="0">{clean(data["text/html"])}</div>'
    if "text/markdown" in data:
        return f"<div>{clean(markdown2html(str(data['text/markdown'])))}</div>"
    for kind in _IMAGES:
        if kind in data:
            of = metadata.get(kind, {})
            width = f' width="{int(of["width"])}"' if "width" in of else ""
            source = f"data:{kind};base64,{''.join(str(data[kind]).split())}"
            return f'<img alt="{escape(of.get("alt") or alt)}"{width} src="{source}">'
    return ""
