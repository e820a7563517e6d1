"""The questions, generated again by reasoning-gym from their configurations.

No text of a question is shipped: the package makes it from a seed, and a hash tells whether it is
the text that the models were asked.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.reasoning_gym.published import sha256


def generate_family(family: str, config: Mapping) -> list[str]:
    """The questions of one family, as far as reasoning-gym makes them.

    A generator that gives up on a question ends the family there; the texts before it stay.
    """
    import reasoning_gym

    texts: list[str] = []
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of generators that run older numpy idioms
        data = reasoning_gym.create_dataset(family, **config)
        with contextlib.suppress(ValueError):
            for index in range(len(data)):
                texts.append(data[index]["question"])
    return texts


def generate(families: pd.DataFrame, processes: int | None = None) -> pd.DataFrame:
    """The questions of every family, families side by side.

    Parameters
    ----------
    families : DataFrame[level, family, config]
        As in `published.Published`.
    processes : int, optional
        By default as many as there are cores.

    Returns
    -------
    DataFrame[level, family, index, prompt]
    """
    jobs = [(row.family, json.loads(row.config)) for row in families.itertuples()]
    # the slowest families take half a minute: with a process each, the others do not wait
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        found = list(pool.map(generate_family, *zip(*jobs, strict=True)))
    rows = [
        (row.level, row.family, index, text)
        for row, texts in zip(families.itertuples(), found, strict=True)
        for index, text in enumerate(texts)
    ]
    return pd.DataFrame(rows, columns=["level", "family", "index", "prompt"])


def check_same(questions: pd.DataFrame, hashes: Iterable[str], where: str) -> None:
    """Refuse generated questions that are not those that were asked.

    Parameters
    ----------
    questions : DataFrame[family, index, prompt]
        A missing prompt is NaN.
    hashes : SHA-256 (hex) of each, or its beginning.

    Raises
    ------
    OutcomesError
        Names the families, and the version of reasoning-gym that makes them.
    """
    differs = [
        not isinstance(text, str) or not sha256(text).startswith(start)
        for text, start in zip(questions["prompt"], hashes, strict=True)
    ]
    if any(differs):
        families = ", ".join(sorted(questions.loc[differs, "family"].unique()))
        raise OutcomesError(
            f"{where}: {sum(differs)} questions come out otherwise than they were asked, in"
            f" {families}; install the version of reasoning-gym that requirements.lock names"
        )
