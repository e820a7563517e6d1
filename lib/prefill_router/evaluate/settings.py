"""What the evaluation needs to know of a profile."""

from __future__ import annotations

from typing import Protocol


class EvaluationSettings(Protocol):
    """Resamples of the bootstrap, and the cost model (`data.costs.COST_MODELS`).

    `run.profile.Profile` is one.
    """

    bootstrap: int
    cost_model: str
