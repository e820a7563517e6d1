"""What an encoder can read: questions that are too long are found by the table's checks, not after minutes of extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

SURE = 400  # bytes of a prompt that every encoder reads: a token holds a byte or more, and no context is below 512
_SHOWN = 5


@dataclass(frozen=True)
class Reads:
    """An encoder by its name, and whether it reads raw prompts (see `encoders.load_encoder`)."""

    name: str
    plain_prompt: bool = False


def without_long_prompts(long: pd.DataFrame, where: pd.DataFrame, encoders: Sequence[Reads], notes: list[str]) -> pd.DataFrame:
    """The rows whose prompts every encoder reads whole; the others are left out and counted, as a prompt is never cut.

    Tokenizers are loaded only where a prompt is long enough to ask.

    Parameters
    ----------
    long, where : as of `shape.long_table`, after `checks.check`.
    """
    first = long.drop_duplicates("question")["question"]
    asked = first[[len(text.encode()) > SURE for text in first]]
    if not len(asked) or not encoders:
        return long
    from prefill_router.encoders import load_reader

    gone: set[str] = set()
    for of in encoders:
        reader = load_reader(of.name, plain_prompt=of.plain_prompt)
        lengths = {text: reader.tokens(text) for text in asked if len(text.encode()) > min(SURE, reader.max_length) and text not in gone}
        beyond = {text: n for text, n in lengths.items() if n > reader.max_length}
        if beyond:
            rows = [f"row {where['row'][i]} ({beyond[text]:,} tokens)" for i, text in asked.items() if text in beyond]
            notes.append(
                f"{len(beyond):,} questions are longer than {of.name} reads ({reader.max_length:,} tokens): left out "
                f"({', '.join(rows[:_SHOWN])}{f' and {len(rows) - _SHOWN} more' if len(rows) > _SHOWN else ''})"
            )
            gone |= set(beyond)
    # a question is its id: all its rows go
    ids = set(long.loc[long["question"].isin(gone), "query_id"])
    return long[~long["query_id"].isin(ids)].reset_index(drop=True) if ids else long
