"""Single values of a table: numbers and the words for them, ids, prompts."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

WORDS = {
    **dict.fromkeys(("true", "yes", "right", "correct", "pass", "passed", "t", "y"), 1.0),
    **dict.fromkeys(("false", "no", "wrong", "incorrect", "fail", "failed", "f", "n"), 0.0),
    **dict.fromkeys(("", "nan", "null", "none", "na", "n/a", "missing"), np.nan),
}


def number(value: Any) -> float:
    """A number, a word for one, a percentage; NaN for nothing. ValueError for anything else."""
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    if value is None or value is pd.NA:
        return np.nan
    text = str(value).strip().lower()
    if text in WORDS:
        return WORDS[text]
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def plain_number(value: Any) -> float:
    """As `number`, but words for right and wrong are no counts."""
    text = str(value).strip().lower()
    if isinstance(value, bool | np.bool_) or text.endswith("%") or (text in WORDS and not np.isnan(WORDS[text])):
        raise ValueError(value)
    return number(value)


def parsed(values: pd.Series, parse: Callable[[Any], float]) -> tuple[pd.Series, np.ndarray]:
    """Numbers, and which rows hold none. Every distinct value is parsed once."""
    seen: dict[Any, float | None] = {}  # by type too: True and 1 are equal, but only one is a count

    def safe(value: Any) -> float | None:
        key = (type(value), value) if isinstance(value, str | int | float | bool) else repr(value)
        if key not in seen:
            try:
                seen[key] = parse(value)
            except (ValueError, TypeError):
                seen[key] = None
        return seen[key]

    found = [safe(value) for value in values]
    wrong = np.array([number is None for number in found], bool)
    return pd.Series([np.nan if number is None else number for number in found], dtype=np.float64), wrong


def as_id(value: Any) -> str:
    """An id as text; 1 and 1.0, which tools mix up, are one id."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def as_prompt(value: Any) -> str | None:
    """The text of a prompt; of a list of one text, or of chat messages with the user's alone. None: it is no single prompt."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        for parse in (json.loads, ast.literal_eval):
            try:
                parsed = parse(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(parsed, list) and parsed and all(isinstance(p, str) or (isinstance(p, dict) and "content" in p) for p in parsed):
                return as_prompt(parsed)
            break
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
        if len(value) == 1 and isinstance(value[0], dict) and value[0].get("role", "user") == "user" and isinstance(value[0].get("content"), str):
            return value[0]["content"]
        return None
    return value if isinstance(value, str) else None if value is None or isinstance(value, dict) or pd.isna(value) else str(value)
