"""Which profiles have published results, and in which order they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FIRST = ("reasoning_gym", "reasoning_gym_families", "reasoning_gym_easy", "local", "zeroeval")
NO_RESULT = ("smoke",)  # it only shows that the path works


def profiles(root: Path) -> list[str]:
    """Profiles of `config/` that have a ``metrics.csv`` in `results/`: `FIRST`, then the others by
    name. Tables of one's own and trials with other encoders have no file in `config/`.
    """
    found = sorted(
        folder.name
        for folder in (root / "results").glob("*")
        if (folder / "metrics.csv").is_file()
        and (root / "config" / f"{folder.name}.yaml").is_file()
        and folder.name not in NO_RESULT
    )
    first = [name for name in FIRST if name in found]
    return [*first, *(name for name in found if name not in first)]


def config(root: Path, profile: str) -> dict[str, Any]:
    """The file of a profile as it stands."""
    path = root / "config" / f"{profile}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def holds_families_out(root: Path, profile: str) -> bool:
    return config(root, profile).get("split") == "families"
