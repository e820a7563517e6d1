"""Questions with a verifiable answer: the record, and how a set of them is drawn without near-duplicates."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

KINDS = ("number", "choice", "yesno", "text", "raw")
"""Answer kinds; `prefill_router.local_pool.answers.extract` says how each is read from a response."""


DIFFICULTIES = (1, 2, 1, 3)
"""Levels of a family's questions, in turn: every second one is easy, since small targets get little else right."""


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
        What the question is about, without its wording: two drafts with the same content are near-identical
        and share a group ("capital|France" for the open and the multiple-choice form).
    options : tuple of str
        Option texts of a multiple-choice question in the order A, B, C, D.
    gym : dict, optional
        For questions of reasoning-gym: ``dataset``, ``config``, ``index``, from which the scorer is rebuilt.
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


FAMILIES: dict[str, Family] = {}


def family(benchmark: str, levels: tuple[int, ...] = DIFFICULTIES) -> Callable[[Generator], Generator]:
    """Register a generator as the family that bears its function name."""

    def register(generator: Generator) -> Generator:
        name = generator.__name__
        if name in FAMILIES:
            raise ValueError(f"family {name!r} is defined twice")
        FAMILIES[name] = Family(name, benchmark, generator, levels)
        return generator

    return register


def normalise(prompt: str) -> str:
    """Casefold and keep letters, digits and operators only: the form in which prompts are compared."""
    return re.sub(r"[^\w+\-*/%<>=\[\]().,:']+", " ", prompt.casefold()).strip()


def draw_family(fam: Family, count: int, seed: int) -> Iterator[dict]:
    """Yield `count` distinct questions of one family, levels in turn.

    A draw whose normalised prompt or whose (content, kind) already came is thrown away, so a family that runs out of
    distinct content ends early; `build_questions` counts that aloud. The stream of a family depends on its own name
    and `seed` alone, so adding a family changes no other.
    """
    rng = np.random.default_rng([seed, zlib.crc32(fam.name.encode())])
    seen: set[str] = set()
    made = misses = 0
    while made < count and misses < 300:
        level = fam.levels[made % len(fam.levels)]
        draft = fam.generator(rng, level)
        keys = {"p:" + normalise(draft.prompt), "c:" + draft.content}
        if keys & seen:
            misses += 1
            continue
        misses = 0
        seen |= keys
        made += 1
        yield {
            "query_id": f"{fam.name}-{made:03d}",
            "benchmark": fam.benchmark,
            "category": fam.name,
            "prompt": draft.prompt,
            "group": hashlib.sha256(draft.content.encode()).hexdigest()[:12],
            "difficulty": level,
            "kind": draft.kind,
            "answer": draft.accept[0],
            "accept": json.dumps(list(draft.accept), ensure_ascii=False),
            "options": json.dumps(list(draft.options), ensure_ascii=False),
            "gym": json.dumps(draft.gym, sort_keys=True) if draft.gym else "",
        }


def build_questions(per_family: int = 40, seed: int = 2026, only: list[str] | None = None) -> pd.DataFrame:
    """Draw the whole question set.

    Parameters
    ----------
    per_family : int
        Questions per family; families with less distinct content give fewer.
    seed : int
        Seed of every family's stream.
    only : list of str, optional
        Names of families; all by default.

    Returns
    -------
    DataFrame
        ``query_id, benchmark, category, prompt, group, difficulty, kind, answer, accept, options, gym``, one row a
        question, no two with the same normalised prompt.
    """
    from prefill_router.local_pool import facts, gym, programs  # noqa: F401  (they register their families)

    rows = [row for name in sorted(only or FAMILIES) for row in draw_family(FAMILIES[name], per_family, seed)]
    questions = pd.DataFrame(rows)
    repeated = questions["prompt"].map(normalise).duplicated()
    if repeated.any():
        print(f"{int(repeated.sum())} questions of different families read the same and were left out")
        questions = questions[~repeated]
    short = questions.groupby("category").size()
    for name, size in short[short < per_family].items():
        print(f"family {name}: only {size} distinct questions of {per_family} asked for")
    return questions.reset_index(drop=True)
