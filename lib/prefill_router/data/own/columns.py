"""Which column is which: names that mean the same, what is said aloud of them, and the template
that joins several to a prompt.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.own.files import fail
from prefill_router.data.own.names import BENCHMARKS, NAMES, PROMPT_PARTS, key
from prefill_router.data.own.values import absent, as_prompt, listed
from prefill_router.files import option

EXAMPLE = r"{context}\n\n{question}"


def shown_name(column: Any, raw: pd.DataFrame) -> str:
    """A column's name in messages; one without a name by its place."""
    return (
        str(column)
        if str(column).strip()
        else f"(column {list(raw.columns).index(column) + 1}, without a name)"
    )


def standard_columns(raw: pd.DataFrame, path: Path, skip: Sequence[Any]) -> dict[str, Any]:
    """Standard name -> column of the file.

    Parameters
    ----------
    skip : columns that are none of these (costs of a model; all that a template joins).

    Raises
    ------
    OutcomesError
        Two columns say the same and neither name is the better one.
    """
    by_key: dict[str, list[Any]] = {}
    for column in raw.columns:
        if column not in skip:
            by_key.setdefault(key(column), []).append(column)
    found: dict[str, Any] = {}
    for name, tiers in NAMES.items():
        for tier in tiers:
            columns = [column for alias in tier for column in by_key.get(alias, [])]
            if len(columns) > 1:
                columns.sort(key=list(raw.columns).index)
                fix = "drop or rename one"
                if name == "question":
                    template = "\\n\\n".join(f"{{{column}}}" for column in columns)
                    fix += f", or join them: {option('prompt', template)}"
                raise fail(path, f"columns {columns[0]!r} and {columns[1]!r} both say {name}", fix)
            if columns:
                found[name] = columns[0]
                break
    places = [column for alias in BENCHMARKS for column in by_key.get(alias, [])]
    return found | dict(zip(("benchmark", "category"), places, strict=False))


def without_false_friends(
    standard: dict[str, Any], raw: pd.DataFrame, notes: list[str], long: bool
) -> dict[str, Any]:
    """The columns without those whose values show that they are something else; each is told."""
    standard = dict(standard)
    for name in ("benchmark", "category"):
        if name in standard:
            values = raw[standard[name]].map(str)
            texts = (
                raw[standard["question"]].map(str).nunique() if "question" in standard else len(raw)
            )
            if values.nunique() > max(20, texts / 2):
                notes.append(
                    f"column {standard[name]} has {values.nunique():,} values for {texts:,}"
                    f" questions: not taken for a {name}"
                )
                del standard[name]
    if "category" in standard and "benchmark" not in standard:
        standard["benchmark"] = standard.pop("category")
    if long and key(standard.get("query_id", "")) == "id" and "question" in standard:
        column = standard["query_id"]
        if raw[column].map(str).is_unique and raw[standard["question"]].map(str).duplicated().any():
            notes.append(
                f"column {column} numbers the rows, not the questions: not used; a question is"
                " known by its text"
            )
            del standard["query_id"]
    return standard


def tell_columns(
    raw: pd.DataFrame, standard: dict[str, Any], used: Sequence[Any], notes: list[str]
) -> None:
    """Say which column was read as what under another name, and which were not used."""
    renamed = [f"{name} = {column}" for name, column in standard.items() if str(column) != name]
    if renamed:
        notes.append(f"columns read under another name: {', '.join(renamed)}")
    left = [
        column for column in raw.columns if column not in used and column not in standard.values()
    ]
    parts = [column for column in left if key(column) in PROMPT_PARTS]
    if parts:
        question = "{" + str(standard.get("question", "question")) + "}"
        before = sorted(
            (c for c in parts if key(c) not in ("choices", "options")),
            key=lambda c: not key(c).startswith("system"),
        )
        first = "\\n\\n".join([*("{" + str(c) + "}" for c in before), question])
        last = "".join("\\n{" + str(c) + "}" for c in parts if key(c) in ("choices", "options"))
        one = len(parts) == 1
        notes.append(
            f"column{'' if one else 's'} {', '.join(map(str, parts))} {'is' if one else 'are'} NOT"
            " part of the prompt that the router reads; "
            f"to include {'it' if one else 'them'}: {option('prompt', first + last)}"
        )
    if rest := [shown_name(column, raw) for column in left if column not in parts]:
        notes.append(f"columns not used: {', '.join(rest)}")


def joined(
    raw: pd.DataFrame, template: str, standard: dict[str, Any], path: Path, notes: list[str]
) -> tuple[pd.Series, list[Any]]:
    """Prompts by a template over columns, such as ``{context}\\n\\n{question}``, and the columns
    that it names.

    Names are compared as those of columns are; a written ``\\n`` is a new line. A list in a cell is
    written a line each.

    Raises
    ------
    OutcomesError
        A template that cannot be read, or names no column or one that is not there.
    """
    template = template.replace("\\n", "\n").replace("\\t", "\t")
    try:
        parts = [(before, name) for before, name, _, _ in Formatter().parse(template)]
    except ValueError as error:
        raise fail(
            path,
            f"the template of the prompt cannot be read ({error})",
            "write columns in braces, a brace itself twice",
        ) from error
    names = [name for _, name in parts if name is not None]
    by_name = {str(column): column for column in raw.columns}
    by_key = {key(column): column for column in reversed(raw.columns)} | {
        key(name): column for name, column in standard.items()
    }
    columns: dict[str, Any] = {}
    for name in names:
        columns[name] = by_name.get(name, by_key.get(key(name)))
        if columns[name] is None:
            close = difflib.get_close_matches(name, list(by_name), n=1)
            hint = f"; is it {close[0]}?" if close else ""
            raise fail(
                path,
                f"the template of the prompt names {{{name}}}, which is no column{hint}",
                f"there are {', '.join(list(by_name)[:20])}",
            )
    if not names:
        raise fail(
            path,
            "the template of the prompt names no column",
            f"write one in braces, such as {option('prompt', EXAMPLE)}",
        )
    cells = {
        name: [cell_text(value) for value in raw[columns[name]]] for name in dict.fromkeys(names)
    }
    texts = [
        "".join(before + ("" if name is None else cells[name][i]) for before, name in parts).strip()
        for i in range(len(raw))
    ]
    notes.append(f"prompts are joined by the template {template!r}")
    for name, values in cells.items():
        if gaps := sum(not value for value in values):
            notes.append(f"{{{name}}} of the template is empty in {gaps:,} of {len(raw):,} rows")
    # without any of its columns a prompt is missing, not the words between them
    empty = np.array([not any(cells[name][i] for name in names) for i in range(len(raw))])
    return pd.Series(texts, dtype=object).mask(empty, ""), list(columns.values())


def cell_text(value: Any) -> str:
    """A cell as part of a prompt: a list a line each, options as ``A. text`` where they are
    labelled.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        found = listed(value)
        value = (
            found
            if found is not None and all(isinstance(part, str | int | float) for part in found)
            else value
        )
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict) and {"text", "label"} <= set(value):
        return "\n".join(
            f"{label}. {text}" for label, text in zip(value["label"], value["text"], strict=False)
        )
    if (
        isinstance(value, list)
        and value
        and all(isinstance(part, str | int | float) for part in value)
    ):
        return (
            "\n".join(map(str, dict.fromkeys(value)))
            if len(set(value)) == 1
            else "\n".join(map(str, value))
        )
    if isinstance(value, dict):
        return "\n".join(f"{name}. {part}" for name, part in value.items())
    return "" if absent(value) else (as_prompt(value) or "").strip()
