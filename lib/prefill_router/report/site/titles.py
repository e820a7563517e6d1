"""Titles of profiles and pools as readers see them, and the order of the profiles."""

from __future__ import annotations

from collections.abc import Iterable

TITLES = {  # in the order of the article
    "reasoning_gym": "Reasoning Gym",
    "reasoning_gym_families": "Reasoning Gym, families held out",
    "reasoning_gym_easy": "Reasoning Gym, easy questions",
    "local": "Four small open models",
    "local_encoders": "Encoders that are targets",
    "zeroeval": "ZeroEval",
    "mmlu_pro": "MMLU-Pro",
    "livecodebench": "LiveCodeBench",
    "swebench": "SWE-bench",
    "benchmarks": "Speed",
}


def profile_title(label: str) -> str:
    """The title of a profile; its own name, without underscores, where it has none.

    >>> profile_title("my_pool--gemma-3-270m")
    'My pool, encoder gemma-3-270m'
    """
    name, _, encoder = label.partition("--")
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    return title + (f", encoder {encoder}" if encoder else "")


def pool_title(pool: str) -> str:
    """The name of a pool in words.

    >>> pool_title("frontier_with_reasoner")
    'frontier with reasoner'
    """
    return pool.replace("_", " ")


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels of profiles: those of the article in its order, then the others by name."""
    place = {name: at for at, name in enumerate(TITLES)}
    return sorted(labels, key=lambda label: (place.get(label, len(place)), label))
