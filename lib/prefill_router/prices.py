"""What targets cost: a dated, sourced list for published outcomes, a plain one for a table of one's
own.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from prefill_router.outcomes import OutcomesError


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


CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CNY", "JPY", "INR")
UNITS = {
    "million": 1.0,
    "thousand": 1e3,
    "token": 1e6,
}  # tokens that a price is for -> factor to a price per million
LEAST, APART = (
    0.001,
    10_000.0,
)  # per million tokens: below the first, or that far apart, prices have mixed or other units
_PLAIN = "write {currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}, per million tokens"
# Names that other lists use, which say per token themselves: LiteLLM's.
_PER_TOKEN = {"input_cost_per_token": "input", "output_cost_per_token": "output"}


@dataclass(frozen=True)
class OwnPrices:
    """A list of one's own, read: currency, prices by model of the table, what is wrong with it,
    what was assumed or ignored.
    """

    currency: str = "USD"
    prices: dict[str, Price] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load_prices(path: str | Path) -> dict[str, Price]:
    """Read ``{prices: {target: {input, output, date, source, note}}}``.

    Raises
    ------
    OutcomesError
        The file is missing or is not YAML; otherwise with all its problems at once: a price that is
        not a number or is negative, no date or source, an unknown key. ``input: null, output:
        null`` stands for "no public price" and needs a note that says why.
    """
    path = Path(path)
    found, problems = _entries(_content(path)["prices"], path, sourced=True)
    if problems:
        raise OutcomesError("\n".join(problems))
    return found


def load_own_prices(path: str | Path | None, models: Sequence[str]) -> OwnPrices:
    """Read ``{currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}``; date, source and note
    may be there, and ``unit: token``.

    YAML or JSON; LiteLLM's list of models is read too, as it says ``input_cost_per_token``. Numbers
    in quotes are numbers.

    Parameters
    ----------
    path : None for no prices.
    models : those of the table. Others in the list are ignored and counted, except where a model of
        the table has no price and
        another name is nearly its own.

    Returns
    -------
    OwnPrices
        Nothing is raised, so that its problems can be told with what is wrong elsewhere.
    """
    if path is None:
        return OwnPrices()
    path, notes = Path(path), []
    try:
        content = _content(path)
    except OutcomesError as error:
        return OwnPrices(problems=[f"{error}; {_PLAIN}"])
    # of a long list only what the table asks for is looked at
    listed = {str(name): entry for name, entry in content["prices"].items()}
    wanted = {name: entry for name, entry in listed.items() if name in models}
    found, problems = _entries(wanted, path, sourced=False)
    currency, unit = str(content.get("currency", "USD")), content.get("unit")
    if currency not in CURRENCIES:
        problems.append(
            f"{path}: unknown currency {currency!r}; use one of {', '.join(CURRENCIES)}"
        )
    if unit is not None and unit not in UNITS:
        problems.append(
            f"{path}: unknown unit {unit!r}; use one of {', '.join(UNITS)} (what a price is for),"
            " or drop it"
        )
    strangers = [name for name in listed if name not in models]
    for model in [m for m in models if m not in wanted]:
        if close := difflib.get_close_matches(model, strangers, n=1, cutoff=0.8):
            problems.append(
                f"{path}: {close[0]} is no model of the table; is it {model}? Rename it; if {model}"
                f" has no price, add {model}: {{input: null, output: null}}"
            )
    if not wanted and not problems:
        problems.append(
            f"{path}: no price is of a model of the table; it has {', '.join(models[:8])}, the list"
            f" {', '.join(strangers[:8])}"
        )
    if strangers:
        notes.append(
            f"{len(strangers)} entries of the price list are of models that the table does not"
            " have: ignored"
        )
    found = _in_millions(found, wanted, unit, path, problems, notes)
    return OwnPrices(currency, found, problems, notes)


def price_names(path: str | Path | None) -> list[str]:
    """Names in a price list; none where it cannot be read, which `load_own_prices` tells."""
    try:
        return [] if path is None else [str(name) for name in _content(Path(path))["prices"]]
    except OutcomesError:
        return []


def _in_millions(
    found: dict[str, Price],
    entries: dict[str, Any],
    unit: Any,
    path: Path,
    problems: list[str],
    notes: list[str],
) -> dict[str, Price]:
    """Prices per million tokens. Without a unit those that cannot be per million are a problem: a
    dear model would cost nothing.
    """
    if unit in UNITS:
        return {
            m: replace(p, input=p.input * UNITS[unit], output=p.output * UNITS[unit])
            for m, p in found.items()
        }
    explicit = {
        m
        for m, entry in entries.items()
        if isinstance(entry, dict) and set(_PER_TOKEN) & set(entry)
    }
    if explicit & set(found):
        notes.append(f"prices given per token: {_some(sorted(explicit & set(found)))}")
    priced = {
        m: [v for v in (p.input, p.output) if v > 0] for m, p in found.items() if m not in explicit
    }
    tiny = [m for m, values in priced.items() if values and min(values) < LEAST]
    quoted = [
        m for m in tiny if all(isinstance(entries[m].get(key), str) for key in ("input", "output"))
    ]
    if tiny and tiny == quoted and len(tiny) == sum(bool(values) for values in priced.values()):
        # as OpenRouter's programming interface gives them
        notes.append(
            f"prices are in quotes and below {LEAST} each: read as dollars per token, as OpenRouter"
            f" gives them ({_some(tiny)}); write unit: million if they are not"
        )
        return {
            m: replace(p, input=p.input * 1e6, output=p.output * 1e6) if m in tiny else p
            for m, p in found.items()
        }
    if tiny:
        problems.append(
            f"{path}: prices below {LEAST} per million tokens:"
            f" {_some([f'{m} ({min(priced[m]):g})' for m in tiny])}; are they per token? Multiply"
            " them by 1,000,000, or write unit: token beside prices: (unit: million if they are"
            " meant)"
        )
    else:
        values = {m: max(v) for m, v in priced.items() if v}
        low, high = (
            min(values, key=values.get, default=None),
            max(values, key=values.get, default=None),
        )
        if low is not None and values[high] > APART * values[low]:
            problems.append(
                f"{path}: {high} ({values[high]:g}) is priced more than {APART:,.0f} times {low}"
                f" ({values[low]:g}); are their units the same? Give all per million tokens, and"
                " write unit: million beside prices: to confirm"
            )
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class _OnceLoader(yaml.SafeLoader):
    """YAML in which no key stands twice: PyYAML takes the last one without a word."""


def _mapping_once(
    loader: _OnceLoader, node: yaml.MappingNode, deep: bool = False
) -> dict[Any, Any]:
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


_OnceLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_once)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _OnceLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OutcomesError(f"{path}: cannot be read as a price list ({error})") from error
    if (
        isinstance(content, dict)
        and "prices" not in content
        and any(isinstance(e, dict) and set(_PER_TOKEN) & set(e) for e in content.values())
    ):
        content = {"prices": content}  # LiteLLM's list has no head
    entries = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise OutcomesError(f"{path}: expected `prices:` with an entry for every target")
    return content


def _entries(
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
                *(factor * float(value) for value in values),
                *(str(entry.get(key, "")) for key in ("date", "source", "note")),
            )
    return found, problems


def _plain_entry(entry: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """An entry with `input` and `output` as numbers, and the factor to a price per million; texts
    that are numbers are read as such.
    """
    factor = 1.0
    if set(_PER_TOKEN) & set(entry):
        entry, factor = {to: entry[key] for key, to in _PER_TOKEN.items() if key in entry}, 1e6
    entry = dict(entry)
    for key in ("input", "output"):
        if isinstance(entry.get(key), str):
            # YAML 1.1 takes 1e-1 for a text, as it has no point
            with contextlib.suppress(ValueError):
                entry[key] = float(entry[key])
    return entry, factor
