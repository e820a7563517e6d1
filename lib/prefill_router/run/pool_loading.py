"""What the notebooks of the evaluation read: every pool with its splits and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import Split
from prefill_router.encode.store import ActivationStore
from prefill_router.heads.stored_states import StoredStates, states_of
from prefill_router.run.handover import pools, read_note, read_predictions, read_splits
from prefill_router.run.workspace import Workspace

Loaded = dict[str, tuple[Outcomes, dict[int, Split], dict[str, dict[str, Any]]]]


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
    single = f"ours@{encoder}"
    return {
        pool: methods[single if single in methods else "ours"]["p"]
        for pool, (_, _, methods) in loaded.items()
    }


def states_of_encoder(
    workspace: Workspace, outcomes: Outcomes
) -> tuple[str, np.ndarray | StoredStates]:
    """Name of the profile's first encoder, and its states [n, d] that the kernel router reads."""
    note = read_note(workspace, "encoder")
    store = ActivationStore(workspace.build / note["folder"])
    return note["name"], states_of(store, outcomes.queries["query_id"].to_numpy())
