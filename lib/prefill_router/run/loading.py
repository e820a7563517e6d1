"""What a notebook loads first, in one line: outcomes, pools, splits, encoders and their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.files import project_root
from prefill_router.heads.names import MethodKey, OnEncoder, together
from prefill_router.run.earlier import not_run_yet
from prefill_router.run.handover import (
    pools,
    read_note,
    read_predictions,
    read_splits,
    save_predictions,
)
from prefill_router.run.workspace import Workspace

# Most notebooks read tables alone, and what reads states imports torch, which takes seconds.
if TYPE_CHECKING:
    from prefill_router.encode.store import ActivationStore
    from prefill_router.heads.stored_states import StoredStates

Loaded = dict[str, tuple[Outcomes, dict[int, Split], dict[MethodKey, dict[str, Any]]]]
"""Outcomes, splits and methods by pool."""


@dataclass(frozen=True)
class Run:
    """What the notebooks of a profile share; what costs time is read when it is asked for.

    Attributes
    ----------
    ws : Workspace
    outcomes : Outcomes
        n queries, all targets.
    pools : dict of pool name to Outcomes
        The same queries, the targets of each pool.
    """

    ws: Workspace
    outcomes: Outcomes
    pools: dict[str, Outcomes]

    @property
    def outcomes_of_pools(self) -> Outcomes:
        """The targets that are in any pool."""
        return self.outcomes.pool(
            list(dict.fromkeys(t for pool in self.pools.values() for t in pool.target_names))
        )

    @cached_property
    def splits(self) -> dict[int, Split]:
        """Rows of training, calibration and test, by split seed; notebook 01 draws them."""
        return read_splits(self.ws, self.outcomes)

    @cached_property
    def notes(self) -> dict[str, dict[str, Any]]:
        """What notebook 02 noted of every encoder, by name."""
        return read_note(self.ws, "encoders")

    @cached_property
    def encoder(self) -> str:
        """Name of the profile's encoder, which the networks read."""
        return read_note(self.ws, "encoder")["name"]

    @cached_property
    def stores(self) -> dict[str, ActivationStore]:
        """States of every encoder, by name."""
        from prefill_router.encode.store import ActivationStore

        return {
            name: ActivationStore(self.ws.build / note["folder"])
            for name, note in self.notes.items()
        }

    @property
    def first_store(self) -> dict[str, ActivationStore]:
        """States of the profile's encoder alone, by its name."""
        return {self.encoder: self.stores[self.encoder]}

    def overhead(self, encoders: Sequence[str]) -> np.ndarray:
        """What reading each query costs [n], in the outcomes' unit; 0 where that is no TFLOP."""
        tflop = sum(
            2 * self.notes[name]["params"] * self.stores[name].tokens * 1e-12 for name in encoders
        )
        return tflop * (self.outcomes.cost_unit == "TFLOP")

    def save_predictions(
        self, pool: str, method: MethodKey, p: Mapping[int, np.ndarray], encoders: Sequence[str]
    ) -> None:
        """Keep P(correct) [n, K] by split seed of a method that reads the prefill of encoders."""
        save_predictions(
            self.ws,
            pool,
            method,
            together(encoders),
            self.pools[pool],
            self.splits,
            p,
            self.overhead(encoders),
        )

    def save_baselines(
        self, fits: Mapping[int, Mapping[str, Any]], overheads: Mapping[str, np.ndarray]
    ) -> None:
        """Keep what baselines, fitted on all targets (`heads.fit_baselines`), predict on each pool.

        ``overheads`` is the cost of reading a query [n] by the sentence encoder.
        """
        names = self.outcomes.target_names
        for pool, outcomes in self.pools.items():
            columns = [names.index(target) for target in outcomes.target_names]
            for method, first in next(iter(fits.values())).items():
                save_predictions(
                    self.ws,
                    pool,
                    method,
                    first.read,
                    outcomes,
                    self.splits,
                    {seed: by_method[method].p[:, columns] for seed, by_method in fits.items()},
                    overheads.get(first.read),
                    reads="sentence" if first.read else "",
                )

    def predictions(self, pool: str) -> dict[MethodKey, dict]:
        """Predictions of all methods on a pool, as `handover.read_predictions` gives them."""
        return read_predictions(self.ws, pool, self.pools[pool])


def load_run(ws: Workspace) -> Run:
    """Outcomes and pools of a profile; the rest when it is asked for."""
    outcomes = ws.load_outcomes()
    return Run(ws, outcomes, dict(pools(ws, outcomes)))


def load_pools(workspace: Workspace) -> Loaded:
    """Outcomes, splits and methods (`handover.read_predictions`) of every pool of the profile.

    Raises
    ------
    FileNotFoundError
        An earlier notebook has not run; says which.
    """
    return {
        pool: (
            outcomes,
            read_splits(workspace, outcomes),
            read_predictions(workspace, pool, outcomes),
        )
        for pool, outcomes in pools(workspace, workspace.load_outcomes())
    }


def outcomes_of(loaded: Loaded) -> dict[str, Outcomes]:
    """The outcomes of every pool."""
    return {pool: outcomes for pool, (outcomes, _, _) in loaded.items()}


def ours_on(loaded: Loaded, encoder: str) -> dict[str, Mapping[int, np.ndarray]]:
    """P(correct) of ours on one encoder, by pool and split seed.

    A profile with several encoders has it beside the joint one; with one encoder it is ours itself.
    """
    single = OnEncoder("ours", encoder)
    return {
        pool: methods[single if single in methods else "ours"]["p"]
        for pool, (_, _, methods) in loaded.items()
    }


def states_of_encoder(
    workspace: Workspace, outcomes: Outcomes
) -> tuple[str, np.ndarray | StoredStates]:
    """Name of the profile's first encoder, and its states [n, d] that the kernel router reads."""
    from prefill_router.encode.store import ActivationStore
    from prefill_router.heads.stored_states import states_of

    note = read_note(workspace, "encoder")
    store = ActivationStore(workspace.build / note["folder"])
    return note["name"], states_of(store, outcomes.queries["query_id"].to_numpy())


def tables_of_both_splits(ws: Workspace, name: str) -> dict[str, pd.DataFrame]:
    """A table of a profile that holds families out, and of the one whose states it reads, by split.
    Where only the former is run again, the other's are the published ones.

    Raises
    ------
    FileNotFoundError
        There is no table of the other profile; says how to make it.
    """
    published = (ws.results_dir, project_root() / "results")
    folders = [ws.states / "results", *(root / ws.states_label for root in published)]
    paths = [folder / f"{name}.csv" for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{paths[0]} is not there: run `make reproduce PROFILE={ws.profile.states_of}` first"
        )
    return {"random": pd.read_csv(path), "families": ws.read_table(name)}


def read_layers(ws: Workspace) -> pd.DataFrame:
    """The layer table of every split seed, which notebook 03 keeps."""
    path = ws.build / "layers_by_seed.parquet"
    if not path.is_file():
        raise not_run_yet(ws.profile, path, "layers")
    return pd.read_parquet(path)


def read_sentences(run: Run) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Embeddings [n, d] of the prompts by every sentence encoder of the profile, and what reading a
    query costs [n], in the outcomes' unit; 0 where that is no TFLOP.
    """
    # here: most notebooks read no sentences, and transformers takes seconds to import
    from prefill_router.encode.sentences import cached_sentences

    profile, embeddings, overheads = run.ws.profile, {}, {}
    for name in (profile.sentence_encoder, *profile.more_sentence_encoders):
        embeddings[name], tflop = cached_sentences(
            name,
            run.outcomes.prompts,
            run.ws.states / "sentences",
            device=profile.device,
            dtype=profile.dtype,
        )
        overheads[name] = tflop * (run.outcomes.cost_unit == "TFLOP")
        print("sentence embeddings", embeddings[name].shape, "from", name)
    return embeddings, overheads
