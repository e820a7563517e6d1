"""The article: what its pages say and show, made from the tables of the results alone."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2


def site_templates() -> jinja2.Environment:
    """The pages' templates by file name; they write Markdown, so that nothing is escaped: what
    comes from outside passes `notebooks.clean` before.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["title_of"] = _title_of
    templates.filters["in_toctree"] = lambda title: re.sub(r"[<>`*]", "", title)
    return templates


def _title_of(table: str) -> str:
    """The title of a table that `tables.table_html` wrote."""
    return re.search(r'class="[^"]*gt_title[^"]*"[^>]*>([^<]*)<', table)[1]  # type: ignore[index]
