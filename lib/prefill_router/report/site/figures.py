"""Which figures there are, each with the words for those who see it and those who do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefill_router.report.captions import caption

KINDS = (".svg", ".png")


@dataclass(frozen=True)
class Drawn:
    """A figure: where it lies under the folder of all figures, and its caption."""

    path: str
    caption: str

    @property
    def alt(self) -> str:
        """The caption in one line, without marks."""
        return self.caption.replace("*", "").replace("`", "").replace("\n", " ")


def figures_in(figures: Path, label: str = "") -> list[Drawn]:
    """The figures of a profile by their names, one of each name: vectors where there are, else
    points. Those of the whole project lie in no profile.

    A figure whose kind has no caption has its name in words instead.
    """
    found: dict[str, Path] = {}
    for kind in KINDS:
        for path in sorted((figures / label).glob(f"*{kind}")):
            found.setdefault(path.stem, path)
    return [Drawn(f"{label}/{found[n].name}".lstrip("/"), in_words(n)) for n in sorted(found)]


def in_words(name: str) -> str:
    """The caption of a figure."""
    text = caption(name)
    if text == name:
        text = f"{name.lstrip('0123456789_').replace('_', ' ').capitalize()}."
    return text.replace("<", "&lt;")


def first_of(drawn: Sequence[Drawn], *starts: str) -> Drawn | None:
    """The first figure whose file begins with one of some names, the earlier name first."""
    for start in starts:
        for figure in drawn:
            if figure.path.rpartition("/")[2].startswith(start):
                return figure
    return None
