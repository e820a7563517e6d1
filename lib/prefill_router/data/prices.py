"""What targets cost: a dated, sourced list for published outcomes, a plain one for a table of one's
own.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.price_entries import (
    OnceLoader,
    Price,
    mapping_once,
    price_content,
    price_entries,
)

CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CNY", "JPY", "INR")
LEAST, APART = (
    0.001,
    10_000.0,
)  # per million tokens: below the first, or that far apart, prices have mixed or other units


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
    found, problems = price_entries(price_content(path)["prices"], path, sourced=True)
    if problems:
        raise OutcomesError("\n".join(problems))
    return found


OnceLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping_once)
