"""What targets cost: a dated, sourced list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from prefill_router.outcomes import OutcomesError


@dataclass(frozen=True)
class Price:
    """US dollars per million input and output tokens, with the day and the source."""

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
        no date or source, an unknown key.
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
        for key in ("input", "output"):
            value = entry.get(key)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                wrong.append(f"{key} is {value!r}, expected US dollars per million tokens")
        wrong += [f"{key} is missing" for key in ("date", "source") if not entry.get(key)]
        problems += [f"{path}: {name}: {problem}" for problem in wrong]
        if not wrong:
            found[str(name)] = Price(float(entry["input"]), float(entry["output"]), str(entry["date"]), str(entry["source"]), str(entry.get("note", "")))
    if problems:
        raise OutcomesError("\n".join(problems))
    return found
