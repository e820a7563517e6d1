"""Long and wide tables become one row per question and model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.own.columns import (
    joined,
    shown_name,
    standard_columns,
    tell_columns,
    without_false_friends,
)
from prefill_router.data.own.files import fail
from prefill_router.data.own.names import NAMES, PROMPT_PARTS, key
from prefill_router.data.own.values import absent, as_name, number, parsed

COST_SUFFIX = "|total_cost"
_JOINED = "prompt joined by the template"
IGNORED_WIDE = ("|model_response", "oracle_model_to_route_to")
# Words in a column's name that tell that it is no model; whole words, as `realtime` and `lifetime`
# are parts of models' names.
TELLING = set(
    "difficulty is has confidence judge judged probability prob certainty agreement rating grade"
    " split fold human length token tokens cost costs price prices time latency seconds ms year"
    " date count flag label gold answer solved consensus majority average mean oracle"
    " reference".split()
)
_COUNTING = {
    "token",
    "tokens",
    "cost",
    "costs",
    "price",
    "prices",
    "time",
    "latency",
    "seconds",
    "ms",
}


def long_table(
    raw: pd.DataFrame,
    path: Path,
    notes: list[str],
    template: str | None = None,
    models: Sequence[str] = (),
    priced: Sequence[str] = (),
) -> tuple[pd.DataFrame, pd.Series]:
    """One row per question and model with the standard columns, and for each where it stands in the
    file.

    Parameters
    ----------
    template : joins columns to the prompt, see `columns.joined`.
    models : the models to keep; empty for all. In a wide table they say which columns are models.
    priced : names in the price list, which say the same where no `models` are given.
    """
    by_cost = [c for c in raw.columns if str(c).endswith(COST_SUFFIX)]
    questions = [c for c in raw.columns if key(c) in NAMES["question"][0]]
    standard = standard_columns(raw, path, by_cost + (questions if template is not None else []))
    used: list[Any] = []
    if template is not None:
        texts, used = joined(
            raw, template, standard | ({"question": questions[0]} if questions else {}), path, notes
        )
        raw = raw.assign(**{_JOINED: texts})
        standard["question"] = _JOINED
    long = "model" in standard and "isCorrect" in standard
    if "question" not in standard:
        close = difflib.get_close_matches("question", [key(c) for c in raw.columns], n=1)
        hint = f"; is {close[0]!r} it?" if close else ""
        raise fail(
            path,
            f"no column with the prompts{hint} (there are {', '.join(map(str, raw.columns[:12]))})",
            'call it question or prompt, or give PROMPT="{COLUMN}"',
        )
    standard = without_false_friends(standard, raw, notes, long)
    given = raw.drop(columns=_JOINED, errors="ignore")
    if long:
        table, where = _from_long(raw, standard, models, path, notes)
        tell_columns(given, {k: v for k, v in standard.items() if v != _JOINED}, used, notes)
        return table, where
    for name, exact in (
        ("isCorrect", ("iscorrect", "correct", "correctness")),
        ("model", ("model", "modelname", "llm")),
    ):
        if name in standard and not by_cost:
            if key(standard[name]) in exact:
                lacking = "isCorrect" if name == "model" else "model"
                raise fail(
                    path,
                    f"no column {lacking}",
                    "a long table has question, model and isCorrect; a wide one has a column per"
                    " model and neither of the two",
                )
            del standard[name]
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
    chosen = _wide_models(raw, candidates, by_cost, models, priced, path, notes)
    if not chosen:
        raise fail(
            path,
            "neither a long nor a wide table",
            "a long one has question, model and isCorrect; a wide one a column per model",
        )
    tell_columns(
        given,
        {k: v for k, v in standard.items() if v != _JOINED},
        [*used, *candidates, *by_cost],
        notes,
    )
    return _from_wide(raw, standard, chosen, by_cost, notes)


def _from_long(
    raw: pd.DataFrame, standard: dict[str, Any], models: Sequence[str], path: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.DataFrame({name: raw[column].to_numpy() for name, column in standard.items()})
    where = pd.DataFrame({"row": np.arange(1, len(raw) + 1)})
    if models:
        names = table["model"].map(as_name)
        _all_there(models, list(names.unique()), path)
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


def _all_there(models: Sequence[str], known: Sequence[Any], path: Path) -> None:
    if lacking := [model for model in models if model not in map(str, known)]:
        close = difflib.get_close_matches(lacking[0], list(map(str, known)), n=1)
        raise fail(
            path,
            f"no model {', '.join(lacking)} in the table"
            + (f"; is it {close[0]}?" if close else ""),
            f"there are {', '.join(map(str, known[:12]))}",
        )


def _wide_models(
    raw: pd.DataFrame,
    left: list[Any],
    by_cost: list[Any],
    models: Sequence[str],
    priced: Sequence[str],
    path: Path,
    notes: list[str],
) -> list[Any]:
    """Which columns of a wide table are models: those asked for, those with costs, those with
    prices, else those that hold outcomes and nothing else tells otherwise.
    """
    if models:
        _all_there(models, left, path)
        chosen, why = [c for c in left if str(c) in models], "they were not asked for"
    elif by_cost:
        lacking = [c for c in by_cost if c.removesuffix(COST_SUFFIX) not in raw.columns]
        if lacking:
            raise fail(
                path,
                f"columns {', '.join(lacking)} have no column of the model itself",
                f"add {lacking[0].removesuffix(COST_SUFFIX)}",
            )
        chosen, why = (
            [c for c in left if f"{c}{COST_SUFFIX}" in by_cost],
            "they have no |total_cost",
        )
    elif len(with_price := [c for c in left if str(c) in priced]) >= 2:
        chosen, why = with_price, "they have no price"
    else:
        chosen, why = (
            [c for c in left if like_outcomes(raw[c])],
            "they hold no outcomes between 0 and 1",
        )
        _ask_about_odd_ones(raw, chosen, path)
    if ignored := [shown_name(c, raw) for c in left if c not in chosen]:
        notes.append(f"columns not taken for models, as {why}: {', '.join(ignored)}")
    return chosen


def _ask_about_odd_ones(raw: pd.DataFrame, columns: list[Any], path: Path) -> None:
    """Refuse columns that hold outcomes by their values alone and are something else by their name,
    or of another kind than the rest.

    A wrong guess would be silent: a column of metadata as a model that routing then chooses.
    """
    odd: dict[Any, str] = {}
    for c in columns:
        words = _words(c)
        of = next(
            (
                m
                for m in columns
                if c != m and re.match(rf"{re.escape(str(m))}[\W_]", str(c)) and words & _COUNTING
            ),
            None,
        )
        if of is not None:
            odd[c] = f"{c} ({of}?)"
        elif telling := sorted(words & TELLING):
            odd[c] = f"{c} (by its name: {', '.join(telling)})"
    kinds = {c: _kind(raw[c]) for c in columns if c not in odd}
    if len(set(kinds.values())) > 1:
        counted = pd.Series(kinds).value_counts()
        usual = counted.index[0] if len(counted) == 1 or counted.iloc[0] > counted.iloc[1] else None
        for c, kind in kinds.items():
            if kind != usual:
                odd[c] = f"{c} (holds {kind}" + (f", the others {usual})" if usual else ")")
    if odd:
        sure = [str(c) for c in columns if c not in odd]
        example = ",".join(sure if len(sure) > 1 else map(str, columns[:2]))
        raise fail(
            path,
            f"columns that may not be models: {', '.join(odd[c] for c in columns if c in odd)}",
            f'drop them, or name the models: MODELS="{example}" (--models); a price list names them'
            f" too, and costs are called MODEL{COST_SUFFIX}",
        )


def _words(column: Any) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(column)).lower()))


def _kind(values: pd.Series) -> str:
    """What outcomes are written as: 0 and 1, words, or shares of more than five kinds."""
    there = [v for v in values if not absent(v) and str(v).strip()]
    words = sum(
        isinstance(v, bool | np.bool_) or (isinstance(v, str) and not re.search(r"\d", v))
        for v in there
    )
    if words > len(there) / 2:
        return "words for right and wrong"
    numbers, _ = parsed(values, number)
    between = numbers[(numbers > 0) & (numbers < 1)]
    return "shares" if between.nunique() > 5 else "0 and 1"


def like_outcomes(values: pd.Series) -> bool:
    """Whether nine in ten of the values that are there are outcomes: 0 to 1, words for them,
    percentages.
    """
    numbers, wrong = parsed(values, number)
    there = wrong | numbers.notna().to_numpy()
    return bool(there.any()) and bool((numbers[there].between(0, 1)).mean() > 0.9)
