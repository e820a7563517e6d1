"""A price list of one's own: read whole, its problems and notes listed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.price_entries import PER_TOKEN, Price, price_content, price_entries
from prefill_router.data.prices import APART, CURRENCIES, LEAST

UNITS = {
    "million": 1.0,
    "thousand": 1e3,
    "token": 1e6,
}  # tokens that a price is for -> factor to a price per million


_PLAIN = "write {currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}, per million tokens"


@dataclass(frozen=True)
class OwnPrices:
    """A list of one's own, read: currency, prices by model of the table, what is wrong with it,
    what was assumed or ignored.
    """

    currency: str = "USD"
    prices: dict[str, Price] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
        content = price_content(path)
    except OutcomesError as error:
        return OwnPrices(problems=[f"{error}; {_PLAIN}"])
    # of a long list only what the table asks for is looked at
    listed = {str(name): entry for name, entry in content["prices"].items()}
    wanted = {name: entry for name, entry in listed.items() if name in models}
    found, problems = price_entries(wanted, path, sourced=False)
    currency, unit = str(content.get("currency", "USD")), content.get("unit")
    problems += _wrong_head(content, path)
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


def _wrong_head(content: dict[str, Any], path: Path) -> list[str]:
    """What is wrong with the currency and the unit of a list."""
    problems = []
    currency, unit = str(content.get("currency", "USD")), content.get("unit")
    if currency not in CURRENCIES:
        problems.append(
            f"{path}: unknown currency {currency!r}; use one of {', '.join(CURRENCIES)}"
        )
    if unit is not None and not _known(unit):
        problems.append(
            f"{path}: unknown unit {unit!r}; use one of {', '.join(UNITS)} (what a price is for),"
            " or drop it"
        )
    return problems


def _known(unit: Any) -> bool:
    return isinstance(unit, str) and unit in UNITS  # a list or table is no key at all


def unreadable_prices(path: str | Path | None) -> list[str]:
    """What is wrong with a list whatever the table's models are called."""
    try:
        return [] if path is None else _wrong_head(price_content(Path(path)), Path(path))
    except OutcomesError as error:
        return [f"{error}; {_PLAIN}"]


def price_names(path: str | Path | None) -> list[str]:
    """Names in a price list; none where it cannot be read, which `load_own_prices` tells."""
    try:
        return [] if path is None else [str(name) for name in price_content(Path(path))["prices"]]
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
    # these keys say per token themselves, and are read so: no unit scales them again
    explicit = {
        m for m, entry in entries.items() if isinstance(entry, dict) and set(PER_TOKEN) & set(entry)
    }
    if explicit & set(found):
        notes.append(f"prices given per token: {_some(sorted(explicit & set(found)))}")
    if _known(unit):
        factors = {m: 1.0 if m in explicit else UNITS[unit] for m in found}
        return {
            m: replace(p, input=p.input * factors[m], output=p.output * factors[m])
            for m, p in found.items()
        }
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
        low, high = (best(values, key=values.__getitem__, default=None) for best in (min, max))
        if low is not None and high is not None and values[high] > APART * values[low]:
            problems.append(
                f"{path}: {high} ({values[high]:g}) is priced more than {APART:,.0f} times {low}"
                f" ({values[low]:g}); are their units the same? Give all per million tokens, and"
                " write unit: million beside prices: to confirm"
            )
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
