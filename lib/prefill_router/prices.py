"""What targets cost: a dated, sourced list for published outcomes, a plain one for a table of one's own."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prefill_router.outcomes import OutcomesError


@dataclass(frozen=True)
class Price:
    """Price per million input and output tokens (US dollars unless the list says otherwise), with the day and the source; NaN where none is public."""

    input: float
    output: float
    date: str = ""
    source: str = ""
    note: str = ""


CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CNY", "JPY", "INR")
_PLAIN = "write {currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}, per million tokens"


def load_prices(path: str | Path) -> dict[str, Price]:
    """Read ``{prices: {target: {input, output, date, source, note}}}``.

    Raises
    ------
    OutcomesError
        The file is missing or is not YAML; otherwise with all its problems at once: a price that is not a number or is negative,
        no date or source, an unknown key. ``input: null, output: null`` stands for "no public price" and needs a note that says why.
    """
    path = Path(path)
    found, problems = _entries(_content(path), path, sourced=True)
    if problems:
        raise OutcomesError("\n".join(problems))
    return found


def load_own_prices(path: str | Path | None, models: Sequence[str]) -> tuple[str, dict[str, Price], list[str]]:
    """Read ``{currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}``; date, source and note may be there.

    Parameters
    ----------
    path : None for no prices.
    models : those of the table; prices of others are a problem, since they may be misspelt.

    Returns
    -------
    currency, prices by model, and what is wrong with the list (nothing is raised, so that it can be told with what is wrong elsewhere)
    """
    if path is None:
        return "USD", {}, []
    path = Path(path)
    try:
        content = _content(path)
        found, problems = _entries(content, path, sourced=False)
    except OutcomesError as error:
        return "USD", {}, [f"{error}; {_PLAIN}"]
    currency = str(content.get("currency", "USD"))
    if currency not in CURRENCIES:
        problems.append(f"{path}: unknown currency {currency!r}; use one of {', '.join(CURRENCIES)}")
    for model in [m for m in content["prices"] if str(m) not in models]:
        close = difflib.get_close_matches(str(model), models, n=1)
        problems.append(f"{path}: {model} is no model of the table{f'; is it {close[0]}?' if close else ''}; drop or rename it")
    return currency, found, problems


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OutcomesError(f"{path}: cannot be read as a price list ({error})") from error
    entries = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise OutcomesError(f"{path}: expected `prices:` with an entry for every target")
    return content


def _entries(content: dict[str, Any], path: Path, sourced: bool) -> tuple[dict[str, Price], list[str]]:
    """The good entries of a list and what is wrong with the others; only a sourced one needs date, source and a reason for no price."""
    problems, found = [], {}
    for name, entry in content["prices"].items():
        entry = entry if isinstance(entry, dict) else {}
        wrong = [f"unknown key {key!r}" for key in sorted(set(entry) - set(Price.__dataclass_fields__), key=str)]
        values = [entry.get(key, "missing") for key in ("input", "output")]
        if values == [None, None]:
            values = [float("nan")] * 2
            wrong += [] if entry.get("note") or not sourced else ["no price, and no note that says why"]
        else:
            wrong += [
                f"{key} is {value!r}, expected {'US dollars' if sourced else 'a number that is not negative,'} per million tokens (or null for both)"
                for key, value in zip(("input", "output"), values, strict=True)
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf")
            ]
        wrong += [f"{key} is missing" for key in ("date", "source") if sourced and not entry.get(key)]
        problems += [f"{path}: {name}: {problem}" for problem in wrong]
        if not wrong:
            found[str(name)] = Price(*map(float, values), *(str(entry.get(key, "")) for key in ("date", "source", "note")))
    return found, problems
