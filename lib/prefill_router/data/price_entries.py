"""Price files as written: entries per million tokens, none twice."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prefill_router.data.outcomes import OutcomesError


@dataclass(frozen=True)
class Price:
    """Price per million input and output tokens (US dollars unless the list says otherwise), with
    the day and the source; NaN where none is public.
    """

    input: float
    output: float
    date: str = ""
    source: str = ""
    note: str = ""


# Names that other lists use, which say per token themselves: LiteLLM's.
PER_TOKEN = {"input_cost_per_token": "input", "output_cost_per_token": "output"}


class OnceLoader(yaml.SafeLoader):
    """YAML in which no key stands twice: PyYAML takes the last one without a word."""


def mapping_once(loader: OnceLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    lines: dict[Any, int] = {}
    for key_node, _ in node.value:
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            raise yaml.YAMLError(f"line {line}: a list or table where a name belongs")
        if key in lines:
            raise yaml.YAMLError(
                f"{key} stands twice, in line {lines[key]} and line {line}: drop one"
            )
        lines[key] = line
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
        for key, value in node.value
    }


def price_content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), OnceLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OutcomesError(f"{path}: cannot be read as a price list ({error})") from error
    if (
        isinstance(content, dict)
        and "prices" not in content
        and any(isinstance(e, dict) and set(PER_TOKEN) & set(e) for e in content.values())
    ):
        content = {"prices": content}  # LiteLLM's list has no head
    entries = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise OutcomesError(f"{path}: expected `prices:` with an entry for every target")
    return content


def price_entries(
    entries: dict[Any, Any], path: Path, sourced: bool
) -> tuple[dict[str, Price], list[str]]:
    """The good entries of a list and what is wrong with the others; only a sourced one needs date,
    source and a reason for no price.
    """
    problems, found = [], {}
    for name, entry in entries.items():
        entry = entry if isinstance(entry, dict) else {}
        factor = 1.0
        if not sourced:
            entry, factor = _plain_entry(entry)
        wrong = [
            f"unknown key {key!r}"
            for key in sorted(set(entry) - set(Price.__dataclass_fields__), key=str)
        ]
        values = [entry.get(key, "missing") for key in ("input", "output")]
        if values == [None, None]:
            values = [float("nan")] * 2
            wrong += (
                [] if entry.get("note") or not sourced else ["no price, and no note that says why"]
            )
        else:
            wrong += [
                f"{key} is {value!r}, expected"
                f" {'US dollars' if sourced else 'a number that is not negative,'} per million"
                " tokens (or null for both)"
                for key, value in zip(("input", "output"), values, strict=True)
                if isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value < float("inf")
            ]
        wrong += [
            f"{key} is missing" for key in ("date", "source") if sourced and not entry.get(key)
        ]
        problems += [f"{path}: {name}: {problem}" for problem in wrong]
        if not wrong:
            found[str(name)] = Price(
                factor * float(values[0]),
                factor * float(values[1]),
                *(str(entry.get(key, "")) for key in ("date", "source", "note")),
            )
    return found, problems


def _plain_entry(entry: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """An entry with `input` and `output` as numbers, and the factor to a price per million; texts
    that are numbers are read as such.
    """
    factor = 1.0
    if set(PER_TOKEN) & set(entry):
        entry, factor = {to: entry[key] for key, to in PER_TOKEN.items() if key in entry}, 1e6
    entry = dict(entry)
    for key in ("input", "output"):
        if isinstance(entry.get(key), str):
            # YAML 1.1 takes 1e-1 for a text, as it has no point
            with contextlib.suppress(ValueError):
                entry[key] = float(entry[key])
    return entry, factor
