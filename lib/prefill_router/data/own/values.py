"""Single values of a table: numbers and the words for them, ids, prompts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

WORDS = {
    **dict.fromkeys(("true", "yes", "right", "correct", "pass", "passed", "t", "y"), 1.0),
    **dict.fromkeys(("false", "no", "wrong", "incorrect", "fail", "failed", "f", "n"), 0.0),
    # what spreadsheets of other languages write for TRUE and FALSE
    **dict.fromkeys(
        ("wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar", "prawda", "истина"), 1.0
    ),
    **dict.fromkeys(("falsch", "faux", "falso", "onwaar", "fałsz", "ложь"), 0.0),
    **dict.fromkeys(("", "nan", "null", "none", "na", "n/a", "missing"), np.nan),
}


def number(value: Any) -> float:
    """A number, a word for one, a percentage; NaN for nothing. ValueError for anything else."""
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    if absent(value):
        return np.nan
    text = str(value).strip().lower()
    if text in WORDS:
        return WORDS[text]
    if re.fullmatch(r"0,\d+|1,0+", text):  # a share with a decimal comma; no thousands begin so
        text = text.replace(",", ".")
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def plain_number(value: Any) -> float:
    """As `number`, but words for right and wrong are no counts."""
    text = str(value).strip().lower()
    if (
        isinstance(value, bool | np.bool_)
        or text.endswith("%")
        or (text in WORDS and not np.isnan(WORDS[text]))
    ):
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
    return (
        pd.Series([np.nan if number is None else number for number in found], dtype=np.float64),
        wrong,
    )


def unclear_thousands(values: pd.Series, counts: bool) -> np.ndarray:
    """Which texts may be thousands or a small number, such as 1,000, and of counts 1.000 too: bool
    [n].

    None where the column shows what the sign means: a comma in 0,0012, a point where all counts end
    in .000.

    Parameters
    ----------
    counts : whether the column holds whole numbers; in others a point is that of decimals.
    """
    texts = [value.strip() if isinstance(value, str) else "" for value in values]
    there = {text for text in texts if text.lower() not in WORDS}
    signs = ""
    if counts or not any(re.fullmatch(r"0,\d+", text) for text in there):
        signs += ","
    if counts and (len(there) == 1 or not all(text.endswith(".000") for text in there)):
        signs += "."
    pattern = rf"[1-9]\d{{0,2}}([{signs}]\d{{3}})+" if signs else r"(?!)"
    unclear = {text for text in there if re.fullmatch(pattern, text)}
    return np.array([text in unclear for text in texts], bool)


def absent(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, NA."""
    return value is None or (
        not isinstance(value, str | list | dict | np.ndarray) and bool(pd.isna(value))
    )


def shown(value: Any) -> str:
    """A value as a message shows it: numbers plain, texts in quotes."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def as_name(value: Any) -> str:
    """A name as text, empty for nothing."""
    return "" if absent(value) else str(value).strip()


def as_id(value: Any) -> str:
    """An id as text; 1 and 1.0, which tools mix up, are one id."""
    text = as_name(value)
    return re.sub(r"\.0+$", "", text) if re.fullmatch(r"-?\d+\.0+", text) else text


def as_prompt(value: Any) -> str | None:
    """The text of a prompt. None: it is no single prompt.

    A list of one text, or of copies of it as RouterBench has them, is that text. Of chat messages
    the system text and the one user turn are joined by an empty line; several user turns, turns of
    the assistant and parts that are no text are no single prompt.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        found = listed(value)
        return (
            value
            if found is None
            or not all(
                isinstance(p, str) or (isinstance(p, dict) and "content" in p) for p in found
            )
            else as_prompt(found)
        )
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        if value and all(isinstance(part, str) for part in value):
            return value[0] if len(set(value)) == 1 else None
        return _one_turn(value)
    return (
        value
        if isinstance(value, str)
        else None
        if absent(value) or isinstance(value, dict)
        else str(value)
    )


def listed(text: str) -> list | None:
    """The list that a text writes out, as JSON or as Python does; None if it is none, or empty."""
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, list) and found else None
    return None


def _one_turn(messages: list) -> str | None:
    system: list[str] = []
    user: list[str] = []
    for message in messages:
        text = _content(message.get("content")) if isinstance(message, dict) else None
        role = message.get("role", "user") if isinstance(message, dict) else None
        if text is None or role not in ("system", "developer", "user"):
            return None
        (user if role == "user" else system).append(text)
    return (
        "\n\n".join(part for part in [*system, *user] if part.strip()) if len(user) == 1 else None
    )


def _content(content: Any) -> str | None:
    """Text of a message: a text, or parts that are all texts, a line each."""
    if isinstance(content, np.ndarray):
        content = content.tolist()
    if isinstance(content, list):
        parts = [
            (
                part.get("text")
                if isinstance(part, dict) and str(part.get("type", "text")).endswith("text")
                else None
            )
            for part in content
        ]
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts) if texts and len(texts) == len(parts) else None
    return content if isinstance(content, str) else None
