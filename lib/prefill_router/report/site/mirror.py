"""Markdown pages of the project as pages of the article: where their links and images lead."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_FENCED = re.compile(r"(^```.*?^```[ \t]*$)", re.MULTILINE | re.DOTALL)  # is left as it is
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"^(?:[a-z]+:|#|//)")
FILES = "files"  # folder of the pages that holds files which are no pages


@dataclass(frozen=True)
class Mirrored:
    """A page, and the files that go with it, all paths from the project's root."""

    text: str
    pages: list[str]
    images: list[str]
    files: list[str]


def mirrored(root: Path, page: str, instead: Mapping[str, str] | None = None) -> Mirrored:
    """A Markdown file with its links turned to what the article holds.

    A link to another Markdown file leads to its page, an image to its copy, another file is linked
    under ``files/``; of a link to a folder, or to nothing, the words remain.

    Parameters
    ----------
    root : the project's folder
    page : path of the Markdown file from there, such as ``docs/results.md``
    instead : files in whose place another page of the article stands, with its path
    """
    source = (root / page).read_text(encoding="utf-8")
    lists: dict[str, list[str]] = {"pages": [], "images": [], "files": []}
    up = "../" * (len(PurePosixPath(page).parts) - 1)

    def turned(match: re.Match[str]) -> str:
        image, words, address = match.groups()
        if _ELSEWHERE.match(address):
            return match[0]
        target, _, anchor = address.partition("#")
        found = os.path.normpath((PurePosixPath(page).parent / target).as_posix())
        if instead and found in instead:
            return f"[{words}]({up}{instead[found]})"
        if found.startswith("..") or not (root / found).is_file():
            return words
        kind = "images" if image else "pages" if found.endswith(".md") else "files"
        lists[kind].append(found)
        if kind != "files":
            return f"{image}[{words}]({up}{found}{'#' + anchor if anchor else ''})"
        return f'<a href="{up}{FILES}/{found}">{words.replace("`", "")}</a>'

    parts = _FENCED.split(source)
    text = "".join(p if p.startswith("```") else _LINK.sub(turned, p) for p in parts)
    return Mirrored(text, *(list(dict.fromkeys(lists[k])) for k in ("pages", "images", "files")))


def all_pages(
    root: Path, first: Sequence[str], instead: Mapping[str, str] | None = None
) -> dict[str, Mirrored]:
    """Pages with all those that they lead to, by path; ``instead`` as in `mirrored`."""
    found: dict[str, Mirrored] = {}
    waiting = list(first)
    while waiting:
        page = waiting.pop(0)
        if page not in found:
            found[page] = mirrored(root, page, instead)
            waiting += found[page].pages
    return found
