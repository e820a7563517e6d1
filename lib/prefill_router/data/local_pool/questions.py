"""Questions with a verifiable answer: the record, and how a set of them is drawn without
near-duplicates.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from prefill_router.data.local_pool import facts, gym, places, problems, programs, words
from prefill_router.data.local_pool.family import Family

FAMILIES: dict[str, Family] = {
    **facts.FAMILIES,
    **gym.FAMILIES,
    **places.FAMILIES,
    **problems.FAMILIES,
    **programs.FAMILIES,
    **words.FAMILIES,
}
"""All families by name."""


def normalise(prompt: str) -> str:
    """Casefold and keep letters, digits and operators: the form in which prompts are compared."""
    return re.sub(r"[^\w+\-*/%<>=\[\]().,:']+", " ", prompt.casefold()).strip()


def draw_family(fam: Family, count: int, seed: int) -> Iterator[dict]:
    """Yield `count` distinct questions of one family, levels in turn.

    A draw whose normalised prompt or whose (content, kind) already came is thrown away, so a family
    that runs out of distinct content ends early; `build_questions` counts that aloud. The stream of
    a family depends on its own name and `seed` alone, so adding a family changes no other.
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


def build_questions(
    per_family: int = 40, seed: int = 2026, only: list[str] | None = None
) -> pd.DataFrame:
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
        ``query_id, benchmark, category, prompt, group, difficulty, kind, answer, accept, options,
        gym``, one row a question, no two with the same normalised prompt.
    """
    rows = [
        row
        for name in sorted(only or FAMILIES)
        for row in draw_family(FAMILIES[name], per_family, seed)
    ]
    questions = pd.DataFrame(rows)
    repeated = questions["prompt"].map(normalise).duplicated()
    if repeated.any():
        print(
            f"{int(repeated.sum())} questions of different families read the same and were left out"
        )
        questions = questions[~repeated]
    short = questions.groupby("category").size()
    for name, size in short[short < per_family].items():
        print(f"family {name}: only {size} distinct questions of {per_family} asked for")
    return questions.reset_index(drop=True)
