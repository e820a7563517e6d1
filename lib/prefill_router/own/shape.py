"""Which columns are which: long and wide tables become one row per question and model."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .files import fail
from .values import number, parsed

# What the columns may be called, compared without case, spaces and underscores.
ALIASES = {
    "question": ("question", "prompt", "query", "input", "instruction"),
    "model": ("model", "target", "modelname", "llm"),
    "isCorrect": ("iscorrect", "correct", "correctness", "score", "label", "performance"),
    "output_tokens": ("outputtokens", "completiontokens", "generatedtokens", "tokensout"),
    "input_tokens": ("inputtokens", "prompttokens", "tokensin"),
    "query_id": ("queryid", "sampleid", "questionid", "id"),
    "group": ("group", "groupid", "duplicategroup"),
    "benchmark": ("benchmark", "evalname", "dataset", "task", "source"),
    "cost_usd": ("costusd", "cost", "totalcost"),
}
COST_SUFFIX = "|total_cost"
IGNORED_WIDE = ("|model_response", "oracle_model_to_route_to")


def long_table(raw: pd.DataFrame, path: Path, notes: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """One row per question and model with the standard columns, and for each where it stands in the file."""
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    by_cost = [c for c in raw.columns if str(c).endswith(COST_SUFFIX)]
    standard: dict[str, Any] = {}
    for column in raw.columns:
        name = known.get(_key(column))
        if name and column not in by_cost:
            if name in standard:
                raise fail(path, f"columns {standard[name]!r} and {column!r} both say {name}", "drop or rename one")
            standard[name] = column
    if "question" not in standard:
        close = difflib.get_close_matches("question", [_key(c) for c in raw.columns], n=1)
        hint = f"; is {close[0]!r} it?" if close else ""
        raise fail(path, f"no column with the prompts{hint} (there are {', '.join(map(str, raw.columns[:12]))})", "call it question or prompt")
    rows = pd.Series(np.arange(1, len(raw) + 1))
    if "model" in standard and "isCorrect" in standard:
        long = pd.DataFrame({name: raw[column].to_numpy() for name, column in standard.items()})
        columns = {name: str(column) for name, column in standard.items()}
        where = pd.DataFrame({"row": rows})
        where.attrs["columns"] = columns
        return long, where
    if "model" in standard or ("isCorrect" in standard and not by_cost):
        lacking = "isCorrect" if "model" in standard else "model"
        raise fail(path, f"no column {lacking}", "a long table has question, model and isCorrect; a wide one has a column per model and neither of the two")
    used = set(standard.values())
    left = [c for c in raw.columns if c not in used and c not in by_cost and not any(str(c).endswith(end) for end in IGNORED_WIDE)]
    if by_cost:
        lacking = [c for c in by_cost if c.removesuffix(COST_SUFFIX) not in raw.columns]
        if lacking:
            raise fail(path, f"columns {', '.join(lacking)} have no column of the model itself", f"add {lacking[0].removesuffix(COST_SUFFIX)}")
        models = [c for c in left if f"{c}{COST_SUFFIX}" in by_cost]
    else:
        # without costs nothing tells a model from another column but what it holds: a model's outcomes lie between 0 and 1
        models = [c for c in left if like_outcomes(raw[c])]
        odd = [f"{c} ({m}?)" for c in models for m in models if c != m and re.match(rf"{re.escape(str(m))}[\W_]", str(c)) and re.search(r"cost|token|price|time|latency", str(c), re.I)]
        if odd:
            raise fail(path, f"columns that may not be models: {', '.join(odd)}", "drop them, or name costs MODEL|total_cost")
    if ignored := [str(c) for c in left if c not in models]:
        why = "they have no |total_cost" if by_cost else "they hold no outcomes between 0 and 1"
        notes.append(f"columns not taken for models, as {why}: {', '.join(ignored)}")
    if not models:
        raise fail(path, "neither a long nor a wide table", "a long one has question, model and isCorrect; a wide one a column per model")
    parts, places = [], []
    for model in models:
        part = {name: raw[column].to_numpy() for name, column in standard.items() if name != "isCorrect"}
        part |= {"model": np.repeat(str(model), len(raw)), "isCorrect": raw[model].to_numpy()}
        if f"{model}{COST_SUFFIX}" in by_cost:
            part["cost_usd"] = raw[f"{model}{COST_SUFFIX}"].to_numpy()
        parts.append(pd.DataFrame(part))
        places.append(pd.DataFrame({"row": rows, "model": str(model)}))
    notes.append(f"wide table: {len(models)} models ({', '.join(map(str, models[:8]))}{' ...' if len(models) > 8 else ''})")
    where = pd.concat(places, ignore_index=True)
    where.attrs["columns"] = {name: str(column) for name, column in standard.items()} | {"isCorrect": "", "cost_usd": COST_SUFFIX}
    return pd.concat(parts, ignore_index=True), where


def _key(column: Any) -> str:
    return re.sub(r"[\s_\-]", "", str(column)).lower()


def like_outcomes(values: pd.Series) -> bool:
    """Whether nine in ten of the values that are there are outcomes: 0 to 1, words for them, percentages."""
    numbers, wrong = parsed(values, number)
    there = wrong | numbers.notna().to_numpy()
    return bool(there.any()) and bool((numbers[there].between(0, 1)).mean() > 0.9)
