"""A family of questions: one kind of task, its generator and its levels of difficulty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

KINDS = ("number", "choice", "yesno", "text", "raw")
"""Answer kinds; `local_pool.answers.extract` says how each is read from a response."""


DIFFICULTIES = (1, 2, 1, 3)
"""Levels of a family's questions, in turn: half are easy, small targets get little else right."""


@dataclass(frozen=True)
class Draft:
    """What a generator returns for one draw.

    Parameters
    ----------
    prompt : str
        The question as a person would ask it, options included for multiple choice.
    accept : tuple of str
        Accepted answers; the first is the canonical one.
    kind : {"number", "choice", "yesno", "text", "raw"}
        How the answer is read from a response.
    content : str
        What the question is about, without its wording: two drafts with the same content are
        near-identical and share a group ("capital|France" for the open and the multiple-choice
        form).
    options : tuple of str
        Option texts of a multiple-choice question in the order A, B, C, D.
    gym : dict, optional
        For questions of reasoning-gym: ``dataset``, ``config``, ``index``, from which the scorer is
        rebuilt.
    """

    prompt: str
    accept: tuple[str, ...]
    kind: str
    content: str
    options: tuple[str, ...] = ()
    gym: dict | None = None


Generator = Callable[[np.random.Generator, int], Draft]
"""``generator(rng, difficulty) -> Draft``; difficulty is 1 (easy), 2 or 3 (hard)."""


@dataclass(frozen=True)
class Family:
    """A question family: one kind of task with its generator and difficulty levels."""

    name: str
    benchmark: str
    generator: Generator = field(repr=False)
    levels: tuple[int, ...] = DIFFICULTIES


def registry(families: dict[str, Family]) -> Callable[..., Callable[[Generator], Generator]]:
    """A decorator that puts generators into ``families``, under the names of their functions."""

    def family(
        benchmark: str, levels: tuple[int, ...] = DIFFICULTIES
    ) -> Callable[[Generator], Generator]:
        def register(generator: Generator) -> Generator:
            name = generator.__name__
            if name in families:
                raise ValueError(f"family {name!r} is defined twice")
            families[name] = Family(name, benchmark, generator, levels)
            return generator

        return register

    return family
