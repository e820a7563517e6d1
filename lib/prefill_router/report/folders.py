"""The folders of a profile, as reports see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pandas as pd


class ProfileFolders(Protocol):
    """What `run.workspace.Workspace` offers to whoever writes a report."""

    profile: Any
    results: Path

    @property
    def outcomes_folder(self) -> Path:
        """Where the outcomes lie."""

    def read_table(self, name: str) -> pd.DataFrame:
        """A table of the results."""

    def find_table(self, name: str) -> Path | None:
        """Where it lies; None where there is none."""

    def find_figure(self, name: str) -> Path | None:
        """The PNG of a figure; None where there is none."""
