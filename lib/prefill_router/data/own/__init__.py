"""A table of your own, turned into outcomes.

Long (a row per question and model: ``question, model, isCorrect, output_tokens``, and if there are
any ``input_tokens, query_id, group, benchmark, cost_usd``) or wide as RouterBench publishes it (a
row per question: ``sample_id, prompt, eval_name, MODEL, MODEL|total_cost``); CSV, JSON or Parquet.
What is ambiguous is refused, all problems at once, each with file, row, column and what to do; what
is dropped or assumed, every column that is read under another name and every one that is not used,
is told in the notes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefill_router.data.outcome_files import write_outcomes
from prefill_router.data.outcomes import Outcomes, OutcomesError
from prefill_router.data.own.answers import outcomes_of_table
from prefill_router.data.own.checks import check
from prefill_router.data.own.costs import check_costs, cost_basis
from prefill_router.data.own.enough import FEWEST, few_rows
from prefill_router.data.own.files import read_file
from prefill_router.data.own.limits import (
    Reads,
    check_memory,
    unknown_encoders,
    without_long_prompts,
)
from prefill_router.data.own.questions import without_repeats
from prefill_router.data.own.shape import long_table
from prefill_router.data.own_prices import load_own_prices, price_names, unreadable_prices
from prefill_router.files import say

FORMAT = 4  # raise it when the conversion changes what it writes


@dataclass(frozen=True)
class OwnTable:
    """What was read: the outcomes, and in words what was assumed, dropped or is missing."""

    outcomes: Outcomes
    notes: list[str]


def read_own_table(
    path: str | Path,
    prices: str | Path | None = None,
    threshold: float = 0.5,
    name: str | None = None,
    *,
    prompt: str | None = None,
    models: Sequence[str] = (),
    encoders: Sequence[Reads] = (),
    routed: bool = False,
) -> OwnTable:
    """Read, check and convert a table.

    Parameters
    ----------
    path : .csv, .tsv, .json, .jsonl, .ndjson or .parquet
    prices : YAML file, optional
        ``{currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}``, per million tokens. What a
        table says it cost goes first.
    threshold : float
        A graded answer counts as right from here on.
    name : str, optional
        What the outcomes are called; default: the file's name.
    prompt : str, optional
        Template that joins columns to the prompt, such as ``{context}\\n\\n{question}``.
    models : the models to keep; default all. In a wide table they say which columns are models.
    encoders : those that will read the prompts; questions longer than one of them reads are left
        out and counted.
    routed : whether a router alone is trained on it, which needs two models with a cost.

    Raises
    ------
    OutcomesError
        With every problem of the table, of the price list and of the encoders' names.

    Notes
    -----
    Its eight parameters are the options of a command line; all but the first have defaults.
    """
    path = Path(path)
    notes: list[str] = []
    raw = read_file(path, notes)
    problems = unknown_encoders(encoders)
    try:
        long, where = long_table(raw, path, notes, prompt, models, price_names(prices))
    except OutcomesError as error:
        # which rows are questions and models is not known; what can be is told with it
        problems = [str(error), *few_rows(raw), *unreadable_prices(prices), *problems]
        raise _refused(problems) from error
    problems = check(long, where, path, threshold, notes) + problems
    listed = load_own_prices(prices, [m for m in long["model"].unique() if m])
    problems += listed.problems
    problems += check_costs(cost_basis(long, listed.prices), listed, prices, path, routed)
    notes += listed.notes
    if not problems:
        long = without_long_prompts(long, where, encoders, notes)
        if (left := long["query_id"].nunique()) < FEWEST:
            problems.append(f"{notes[-1]}; {left} questions remain, {FEWEST} are needed")
    if problems:
        raise _refused(problems)
    long = without_repeats(long, notes)
    outcomes = outcomes_of_table(long, listed, prices, threshold, name or path.stem, notes)
    return OwnTable(outcomes, notes)


def _refused(problems: Sequence[str]) -> OutcomesError:
    number = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return OutcomesError(f"{number}; nothing was read:\n  " + "\n  ".join(problems))


def own_outcomes_folder(
    path: str | Path,
    prices: str | Path | None,
    root: str | Path,
    threshold: float = 0.5,
    *,
    prompt: str | None = None,
    models: Sequence[str] = (),
    encoders: Sequence[Reads] = (),
    routed: bool = False,
) -> Path:
    """Folder below ``root`` with the outcomes of a table, as `outcomes.load_outcomes` reads them;
    made anew when the table, its prices or an option changed.

    The notes of the conversion are printed, and kept in ``notes.json``.

    Notes
    -----
    The eight parameters are those of `read_own_table`, and where the folder lies.
    """
    for given in (path, prices):
        if given is not None and not Path(given).is_file():
            raise OutcomesError(f"{given}: no such file; check the path")
    options = json.dumps(
        [prompt, list(models), [(e.name, e.plain_prompt) for e in encoders], routed]
    ).encode()
    parts = [
        str(FORMAT).encode(),
        Path(path).name.encode(),
        Path(path).read_bytes(),
        str(threshold).encode(),
        b"none" if prices is None else Path(prices).read_bytes(),
        options,
    ]
    key = hashlib.sha256(b"|".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    folder = Path(root) / f"outcomes-{key[:16]}"
    if not (folder / "targets.json").is_file():
        table = read_own_table(
            path, prices, threshold, prompt=prompt, models=models, encoders=encoders, routed=routed
        )
        if warning := check_memory(table.outcomes.n):
            say(f"warning: {warning}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.json").write_text(
            json.dumps(table.notes, indent=1) + "\n", encoding="utf-8"
        )
        write_outcomes(table.outcomes, folder)
        say(
            f"{Path(path).name}: {table.outcomes.n:,} questions, {len(table.outcomes.targets)}"
            " models" + "".join(f"\n  {note}" for note in table.notes)
        )
    return folder
