"""Sentences of the notebooks that train: SharedTrunkNet and the kernel router."""

from __future__ import annotations

import pandas as pd


def ensemble_sentence(pool: str, auc: pd.DataFrame, members: pd.DataFrame) -> str:
    """What the ensemble reaches, and what it gains over the average single network."""
    single = members.groupby(["seed", "target"])["value"].mean().groupby("target").mean()
    gain = (auc.set_index("target")["value"] - single).mean()
    return (
        f"Pool **{pool}**: mean test AUC {auc['value'].mean():.3f} ({auc['value'].min():.3f} to"
        f" {auc['value'].max():.3f} by target); the ensemble gains {gain:+z.3f} AUC over the"
        " average single network."
    )


def epochs_sentence(history: pd.DataFrame) -> str:
    """When members stop; `history`: `TrunkEnsemble.history` with pool and seed."""
    ends = history.groupby(["pool", "seed", "member"])["epoch"].max()
    return (
        f"Members stop after {ends.median():.0f} epochs in the median (at most {ends.max()}): the"
        " network overfits quickly, early stopping does the work."
    )


def components_sentence(components: pd.DataFrame) -> str:
    """How much of the shared difficulty, and of the differences, the states tell."""
    r2 = components.groupby("component")["r2"].mean()
    text = f"The states explain {r2.iloc[0]:.0%} of the difficulty that all targets share"
    if len(r2) == 1:
        return f"{text}."
    best = r2.iloc[1:]
    return (
        f"{text}; of what sets targets apart at most {max(best.max(), 0):.0%} (component"
        f" {best.idxmax()})."
    )
