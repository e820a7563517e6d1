"""Templates of the HTML pages; they lie beside this file."""

from __future__ import annotations

from pathlib import Path

import jinja2


def page_templates() -> jinja2.Environment:
    """The templates by file name; what they print is escaped unless marked as safe."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
