"""What an encoder can read and this machine can hold: found by the table's checks, not after
minutes or hours of work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psutil

from prefill_router.data.memory import exact_rows_within, memory_needed
from prefill_router.data.outcomes import OutcomesError

# bytes of a prompt that every encoder reads: a token holds a byte or more, and no context is below
# 512
SURE = 400
_SHOWN = 5


@dataclass(frozen=True)
class Reads:
    """An encoder by its name, whether it reads raw prompts, what loads its tokenizer, and what
    finds it without loading.

    ``load(name, plain_prompt=...)`` is `encode.encoders.load_reader`, or what offers the same;
    ``find(name)`` is `encode.sources.resolve`.
    """

    name: str
    plain_prompt: bool
    load: Callable[..., Any]
    find: Callable[[str], Any] | None = None


def unknown_encoders(encoders: Sequence[Reads]) -> list[str]:
    """What is wrong with the encoders' names; nothing is loaded."""
    problems = []
    for of in encoders:
        try:
            if of.find is not None:
                of.find(of.name)
        except RuntimeError as error:
            problems.append(str(error))
    return problems


def without_long_prompts(
    long: pd.DataFrame, where: pd.DataFrame, encoders: Sequence[Reads], notes: list[str]
) -> pd.DataFrame:
    """The rows whose prompts every encoder reads whole; the others are left out and counted, as a
    prompt is never cut.

    Tokenizers are loaded only where a prompt is long enough to ask.

    Parameters
    ----------
    long, where : as of `shape.long_table`, after `checks.check`.

    Raises
    ------
    OutcomesError
        The tokenizer of an encoder cannot be loaded.
    """
    first = long.drop_duplicates("question")["question"]
    asked = first[[len(text.encode()) > SURE for text in first]]
    if not len(asked) or not encoders:
        return long
    gone: set[str] = set()
    for of in encoders:
        try:
            reader = of.load(of.name, plain_prompt=of.plain_prompt)
        except RuntimeError as error:
            raise OutcomesError(
                "some prompts are long, and the encoder that should say whether it reads them"
                f" cannot be had: {error}"
            ) from error
        lengths = {
            text: reader.tokens(text)
            for text in asked
            if len(text.encode()) > min(SURE, reader.max_length) and text not in gone
        }
        beyond = {text: n for text, n in lengths.items() if n > reader.max_length}
        if beyond:
            rows = [
                f"row {where['row'][i]} ({beyond[text]:,} tokens)"
                for i, text in asked.items()
                if text in beyond
            ]
            shown = ", ".join(rows[:_SHOWN])
            more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
            notes.append(
                f"{len(beyond):,} questions are longer than {of.name} reads ({reader.max_length:,}"
                f" tokens): left out ({shown}{more})"
            )
            gone |= set(beyond)
    # a question is its id: all its rows go
    ids = set(long.loc[long["question"].isin(gone), "query_id"])
    return long[~long["query_id"].isin(ids)].reset_index(drop=True) if ids else long


def check_memory(n: int) -> str:
    """A warning where n questions need more memory than is free now; empty if they do not.

    Raises
    ------
    OutcomesError
        They need more than this machine has.
    """
    memory = psutil.virtual_memory()
    needed = memory_needed(n)
    told = f"{n:,} questions need about {needed / 1e9:.1f} GB of memory"
    if needed > memory.total:
        raise OutcomesError(
            f"{told}; this machine has {memory.total / 1e9:.1f} GB: keep at most some"
            f" {exact_rows_within(memory.total):,} questions, drawn at random, or use a larger"
            " machine"
        )
    return (
        f"{told}; only {memory.available / 1e9:.1f} GB are free now: close other programs if the"
        " run ends for want of memory"
        if needed > memory.available
        else ""
    )
