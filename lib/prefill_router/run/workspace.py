"""The folders of a profile: where a notebook reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes, no_longer_than
from prefill_router.data.splits import grouped_by_family, subset_rows
from prefill_router.files import project_root, replacing
from prefill_router.run.earlier import NotRunYet, make_command
from prefill_router.run.profile import DEFAULT, Profile
from prefill_router.run.profile_files import load_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOAT_FORMAT = "%.6g"


@dataclass(frozen=True)
class Workspace:
    """A profile and its folders: parents as arguments, the profile's own as properties.

    A run computes into the build folder. What is published in `results_dir` and `figures_dir`, and
    committed, is read where the run has no file of its own yet; `publish` alone writes there.
    """

    profile: Profile
    build_dir: Path
    results_dir: Path
    figures_dir: Path

    @property
    def build(self) -> Path:
        """Folder of everything that may be deleted: executed notebooks, activations, stamps."""
        return self.build_dir / self.profile.label

    @property
    def results(self) -> Path:
        """Folder of the run's tables."""
        return self.build / "results"

    @property
    def figures(self) -> Path:
        """Folder of the run's figures."""
        return self.build / "figures"

    @property
    def published_results(self) -> Path:
        """Folder of the profile's published tables."""
        return self.results_dir / self.profile.label

    @property
    def published_figures(self) -> Path:
        """Folder of the profile's published figures."""
        return self.figures_dir / self.profile.label

    @property
    def states_label(self) -> str:
        """Name of the folders of the profile whose states are read: its own, or that of
        `states_of`, with the same other encoder.
        """
        profile = self.profile
        return (profile.states_of or profile.name) + profile.label.removeprefix(profile.name)

    @property
    def states(self) -> Path:
        """Folder of what encoders read."""
        return self.build_dir / self.states_label

    @property
    def activations(self) -> Path:
        """Root folder of the activation stores."""
        return self.states / "activations"

    @property
    def outcomes_folder(self) -> Path:
        """Folder of the outcomes; published ones are fetched and converted first, once, and so is a
        table of one's own.
        """
        if self.profile.outcomes.startswith("public:"):
            from prefill_router.data.public import outcomes_folder

            return outcomes_folder(
                self.profile.outcomes.removeprefix("public:"),
                project_root() / (self.profile.prices or "config/prices.yaml"),
            )
        if self.profile.outcomes.startswith("reasoning_gym:"):
            from prefill_router.data.reasoning_gym.folder import outcomes_folder as generated

            return generated(
                self.profile.outcomes.removeprefix("reasoning_gym:"),
                project_root() / (self.profile.prices or "config/prices.yaml"),
                self.profile.longest_prompt,
            )
        path = project_root() / self.profile.outcomes
        if path.is_file():
            return self.own_folder()
        return path

    def own_folder(self, routed: bool = False) -> Path:
        """Folder of the outcomes of a table of one's own, which is read and checked first.

        Parameters
        ----------
        routed : whether a router alone is trained on it, which needs two models with a cost.
        """
        from prefill_router.data.own import own_outcomes_folder
        from prefill_router.data.own.limits import Reads
        from prefill_router.encode.encoders import load_reader
        from prefill_router.encode.sources import resolve

        own = self.profile
        return own_outcomes_folder(
            project_root() / own.outcomes,
            own.prices and project_root() / own.prices,
            self.build,
            own.right_from,
            prompt=own.prompt,
            models=own.models,
            encoders=[
                Reads(name, name in own.plain_prompt, load_reader, resolve)
                for name in (own.encoder, *own.more_encoders)
            ],
            routed=routed,
        )

    def load_outcomes(self) -> Outcomes:
        """The profile's outcomes as it asks for them: no prompt above `longest_prompt`, grouped by
        family, `subset` queries, prompts cut to `max_prompt_tokens`. Input tokens stay those of the
        whole prompts, which the targets read.
        """
        from prefill_router.data.outcome_files import load_outcomes
        from prefill_router.data.public.tokens import cut_texts

        outcomes = load_outcomes(self.outcomes_folder)
        profile = self.profile
        if profile.longest_prompt is not None:
            outcomes = no_longer_than(outcomes, profile.longest_prompt)
        if profile.split == "families":
            outcomes = grouped_by_family(outcomes)
        if profile.subset is not None and profile.subset < outcomes.n:
            outcomes = outcomes.subset(subset_rows(outcomes.queries, profile.subset))
        if profile.max_prompt_tokens is None:
            return outcomes
        cut = cut_texts(outcomes.prompts, profile.max_prompt_tokens)
        return replace(outcomes, queries=outcomes.queries.assign(prompt=cut))

    def load_answers(self, outcomes: Outcomes) -> np.ndarray | None:
        """Each single answer [A, n, K] to the queries of `outcomes`, where the profile's targets
        answered several times; else None (`samples.load_answers`).
        """
        from prefill_router.data.samples import load_answers

        return load_answers(self.outcomes_folder, outcomes)

    def write_table(self, table: pd.DataFrame, name: str) -> Path:
        """Write `name`.csv (six digits, empty = missing), or Parquet for a `.parquet` name."""
        path = self.results / _file_name(name)
        with replacing(path) as temporary:
            if path.suffix == ".parquet":
                table.to_parquet(temporary, index=False, compression="zstd")
            else:
                table.to_csv(temporary, index=False, float_format=FLOAT_FORMAT, lineterminator="\n")
        return path

    def read_table(self, name: str) -> pd.DataFrame:
        """Read what `write_table` wrote: the run's own table, else the published one.

        Raises
        ------
        FileNotFoundError
            The table is not there yet; says how to make it.
        """
        path = self.find_table(name)
        if path is None:
            raise NotRunYet(
                f"{self.results / _file_name(name)} is not there: run the earlier notebooks first:"
                f"\n  {make_command(self.profile)}"
            )
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)

    def find_table(self, name: str) -> Path | None:
        """Where `read_table` finds a table; None where there is none."""
        return _first_file(_file_name(name), self.results, self.published_results)

    def find_figure(self, name: str) -> Path | None:
        """The PNG of a figure, the run's own or else the published one; None without either."""
        return _first_file(f"{name}.png", self.figures, self.published_figures)

    def save_figure(self, fig: Figure, name: str) -> Path:
        """Write `name`.svg and `name`.png without dates or random ids: equal figures are equal byte
        for byte.

        Returns
        -------
        Path of the SVG file.
        """
        from prefill_router.report.saving import save_figure

        return save_figure(fig, self.figures, name)

    def show_figure(self, fig: Figure, name: str) -> None:
        """Save a figure, show the saved PNG with its caption as text for those who do not see it,
        and close the figure.
        """
        import matplotlib.pyplot as plt
        from IPython.display import Image, display

        from prefill_router.report.captions import caption
        from prefill_router.report.saving import DPI

        path = self.save_figure(fig, name).with_suffix(".png")
        plt.close(fig)
        width = int.from_bytes(path.read_bytes()[16:20], "big")  # of a PNG's header
        display(Image(filename=str(path), width=round(width * 96 / DPI), alt=caption(name)))


def _file_name(table: str) -> str:
    return table if table.endswith((".csv", ".parquet")) else f"{table}.csv"


def _first_file(name: str, *folders: Path) -> Path | None:
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def open_workspace(
    profile: str = DEFAULT,
    encoder: str | None = None,
    device: str | None = None,
    build_dir: str | Path | None = None,
    results_dir: str | Path | None = None,
    figures_dir: str | Path | None = None,
) -> Workspace:
    """First line of every notebook: load the profile and make its folders.

    Parameters
    ----------
    profile : profile name, or the path of a YAML file.
    encoder, device : replace those of the profile; None keeps them.
    build_dir, results_dir, figures_dir : parents of the profile's folders; None for `build/`,
        `results/` and `figures/` of the project. Notebooks write into the first alone.
    """
    root = project_root()
    workspace = Workspace(
        load_profile(profile, encoder=encoder, device=device),
        *(
            Path(given).resolve() if given else root / default
            for given, default in (
                (build_dir, "build"),
                (results_dir, "results"),
                (figures_dir, "figures"),
            )
        ),
    )
    for folder in (workspace.build, workspace.results, workspace.figures):
        folder.mkdir(parents=True, exist_ok=True)
    return workspace
