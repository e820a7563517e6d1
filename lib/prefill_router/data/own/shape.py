"""Long and wide tables become one row per question and model."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.own.columns import (
    joined,
    standard_columns,
    tell_columns,
    without_false_friends,
)
from prefill_router.data.own.files import fail
from prefill_router.data.own.names import GOLD, GRADES, NAMES, PROMPT_PARTS, key
from prefill_router.data.own.values import as_name
from prefill_router.data.own.wide import COST_SUFFIX, all_there, like_outcomes, wide_models
from prefill_router.files import option

_JOINED = "prompt joined by the template"
IGNORED_WIDE = ("|model_response", "oracle_model_to_route_to")


def long_table(
    raw: pd.DataFrame,
    path: Path,
    notes: list[str],
    template: str | None = None,
    models: Sequence[str] = (),
    priced: Sequence[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per question and model with the standard columns, and for each where it stands in the
    file.

    Parameters
    ----------
    template : joins columns to the prompt, see `columns.joined`.
    models : the models to keep; empty for all. In a wide table they say which columns are models.
    priced : names in the price list, which say the same where no `models` are given.
    """
    by_cost = [c for c in raw.columns if str(c).endswith(COST_SUFFIX)]
    given = raw
    raw, standard, used = _with_prompts(raw, path, by_cost, template, notes)
    long = "model" in standard and "isCorrect" in standard
    standard = without_false_friends(standard, raw, notes, long)
    if long:
        table, where = _from_long(raw, standard, models, path, notes)
        tell_columns(given, _of_file(standard), used, notes)
        return table, where
    if not by_cost:
        standard = _without_half(standard, raw, path)
    candidates = [
        c
        for c in raw.columns
        if c not in standard.values()
        and c not in by_cost
        and not any(str(c).endswith(end) for end in IGNORED_WIDE)
    ]
    candidates = [
        c for c in candidates if c not in used and (key(c) not in PROMPT_PARTS or str(c) in models)
    ]
    chosen = wide_models(raw, candidates, by_cost, models, priced, path, notes)
    if not chosen:
        raise fail(
            path,
            "neither a long nor a wide table",
            "a long one has question, model and isCorrect; a wide one a column per model",
        )
    shared = _without_shared(standard, notes)
    tell_columns(given, _of_file(standard), [*used, *candidates, *by_cost, *shared], notes)
    return _from_wide(raw, standard, chosen, by_cost, notes)


def _with_prompts(
    raw: pd.DataFrame, path: Path, by_cost: list[Any], template: str | None, notes: list[str]
) -> tuple[pd.DataFrame, dict[str, Any], list[Any]]:
    """The table with its prompts, where the standard columns stand in it, and which columns the
    template used.
    """
    questions = [c for c in raw.columns if key(c) in NAMES["question"][0]]
    standard = standard_columns(raw, path, by_cost + (questions if template is not None else []))
    used: list[Any] = []
    if template is not None:
        texts, used = joined(
            raw, template, standard | ({"question": questions[0]} if questions else {}), path, notes
        )
        raw = raw.assign(**{_JOINED: texts})
        standard["question"] = _JOINED
    if "question" not in standard:
        close = difflib.get_close_matches("question", [key(c) for c in raw.columns], n=1)
        hint = f"; is {close[0]!r} it?" if close else ""
        raise fail(
            path,
            f"no column with the prompts{hint} (there are {', '.join(map(str, raw.columns[:12]))})",
            f"call it question or prompt, or give {option('prompt', '{COLUMN}')}",
        )
    return raw, standard, used


def _of_file(standard: dict[str, Any]) -> dict[str, Any]:
    return {name: column for name, column in standard.items() if column != _JOINED}


def _without_half(standard: dict[str, Any], raw: pd.DataFrame, path: Path) -> dict[str, Any]:
    """Without the one column of a long table that a wide one has; refused if its name says that a
    long table was meant.
    """
    kept = dict(standard)
    for name, exact in (
        ("isCorrect", ("iscorrect", "correct", "correctness")),
        ("model", ("model", "modelname", "llm")),
    ):
        if name in kept:
            if key(kept[name]) in exact:
                lacking = "isCorrect" if name == "model" else "model"
                hint = _asked(raw) if lacking == "isCorrect" else ""
                raise fail(
                    path,
                    f"no column {lacking}",
                    "a long table has question, model and isCorrect; a wide one has a column per"
                    f" model and neither of the two{hint}",
                )
            del kept[name]
    return kept


def _without_shared(standard: dict[str, Any], notes: list[str]) -> list[Any]:
    """Take the columns of a wide table that would give every model the same costs or answers out of
    ``standard``, and tell them: a number per question says nothing of a model, and would go before
    its price.
    """
    shared = [standard.pop(name) for name in ("cost_usd", "output_tokens") if name in standard]
    if shared:
        notes.append(
            f"not used, as it is one column for all models: {', '.join(map(str, shared))}; what a"
            f" model costs is read from a column MODEL{COST_SUFFIX}, tokens from a long table"
        )
    return shared


def _asked(raw: pd.DataFrame) -> str:
    """Which column may hold the outcomes, where none is called so; a right answer is no outcome."""
    graded = [str(c) for c in raw.columns if key(c) in GRADES]
    gold = [str(c) for c in raw.columns if key(c) in GOLD and like_outcomes(raw[c])]
    asked = f"; is it {', '.join(graded)}? Call it isCorrect, from 0 to 1" if graded else ""
    if gold:
        asked += (
            f"; column {', '.join(gold)} may be the right answer, so it is not taken: call it"
            " isCorrect if 1 in it says that the model of the row was right, else add a column"
            " isCorrect that compares it with what the model answered"
        )
    return asked


def _from_long(
    raw: pd.DataFrame, standard: dict[str, Any], models: Sequence[str], path: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.DataFrame({name: raw[column].to_numpy() for name, column in standard.items()})
    where = pd.DataFrame({"row": np.arange(1, len(raw) + 1)})
    if models:
        names = table["model"].map(as_name)
        all_there(models, list(names.unique()), path)
        keep = names.isin(models).to_numpy()
        if not keep.all():
            notes.append(
                f"{(~keep).sum():,} rows of models that were not asked for: left out"
                f" ({', '.join(sorted(set(names[~keep]))[:8])})"
            )
        table, where = table[keep].reset_index(drop=True), where[keep].reset_index(drop=True)
    where.attrs["columns"] = {name: str(column) for name, column in standard.items()}
    return table, where


def _from_wide(
    raw: pd.DataFrame,
    standard: dict[str, Any],
    models: list[Any],
    by_cost: list[Any],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts, places = [], []
    for model in models:
        part = {
            name: raw[column].to_numpy() for name, column in standard.items() if name != "isCorrect"
        }
        part |= {"model": np.repeat(str(model), len(raw)), "isCorrect": raw[model].to_numpy()}
        if f"{model}{COST_SUFFIX}" in by_cost:
            part["cost_usd"] = raw[f"{model}{COST_SUFFIX}"].to_numpy()
        parts.append(pd.DataFrame(part))
        places.append(pd.DataFrame({"row": np.arange(1, len(raw) + 1), "model": str(model)}))
    notes.append(
        f"wide table: {len(models)} models"
        f" ({', '.join(map(str, models[:8]))}{' ...' if len(models) > 8 else ''})"
    )
    where = pd.concat(places, ignore_index=True)
    where.attrs["columns"] = {name: str(column) for name, column in standard.items()} | {
        "isCorrect": "",
        "cost_usd": COST_SUFFIX,
    }
    return pd.concat(parts, ignore_index=True), where
