"""What targets cost: a dated, sourced list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from prefill_router.outcomes import OutcomesError


@dataclass(frozen=True)
class Price:
    """US dollars per million input and output tokens, with the day and the source; NaN where none is public."""

    input: float
    output: float
    date: str
    source: str
    note: str = ""


def load_prices(path: str | Path) -> dict[str, Price]:
    """Read ``{prices: {target: {input, output, date, source, note}}}``.

    Raises
    ------
    OutcomesError
        The file is missing or is not YAML; otherwise with all its problems at once: a price that is not a number or is negative,
        no date or source, an unknown key. ``input: null, output: null`` stands for "no public price" and needs a note that says why.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise OutcomesError(f"{path}: cannot be read as a price list ({error})") from error
    entries = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise OutcomesError(f"{path}: expected `prices:` with an entry for every target")
    problems, found = [], {}
    for name, entry in entries.items():
        entry = entry if isinstance(entry, dict) else {}
        wrong = [f"unknown key {key!r}" for key in sorted(set(entry) - set(Price.__dataclass_fields__), key=str)]
        values = [entry.get(key, "missing") for key in ("input", "output")]
        if values == [None, None]:
            values = [float("nan")] * 2
            wrong += [] if entry.get("note") else ["no price, and no note that says why"]
        else:
            wrong += [
                f"{key} is {value!r}, expected US dollars per million tokens (or null for both)"
                for key, value in zip(("input", "output"), values, strict=True)
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf")
            ]
        wrong += [f"{key} is missing" for key in ("date", "source") if not entry.get(key)]
        problems += [f"{path}: {name}: {problem}" for problem in wrong]
        if not wrong:
            found[str(name)] = Price(*map(float, values), str(entry["date"]), str(entry["source"]), str(entry.get("note", "")))
    if problems:
        raise OutcomesError("\n".join(problems))
    return found
