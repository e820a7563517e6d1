"""Lists of what lies in the repository: notebooks and pages, by their own titles."""

from __future__ import annotations

import json
from pathlib import Path


def title(text: str) -> str:
    """The first heading of a Markdown text.

    Raises
    ------
    ValueError
        There is none.
    """
    for line in text.splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    raise ValueError("a page or notebook needs a first line '# title'")


def notebook_title(path: Path) -> str:
    """The heading of a notebook's first cell, such as ``01 · Pools and outcomes``."""
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
    return title(first if isinstance(first, str) else "".join(first))


def notebook_list(root: Path) -> str:
    """Markdown: links to all numbered notebooks, in one line."""
    return ", ".join(
        f"[{notebook_title(path)}](notebooks/{path.name})"
        for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    )


def page_list(root: Path) -> str:
    """Markdown: links to the pages of `docs/`, in one line."""
    links = [
        f"[{title(path.read_text(encoding='utf-8'))}](docs/{path.name})"
        for path in sorted((root / "docs").glob("*.md"))
    ]
    return f"Pages: {' · '.join(links)}."
