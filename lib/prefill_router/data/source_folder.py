"""A folder of outcomes made from published answers: prices, costs, and three files at once."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.price_entries import Price


def listed_prices(
    name: str, targets: Sequence[str], listed: Mapping[str, Price]
) -> dict[str, Price]:
    """The prices of the targets; OutcomesError names those that the list does not hold."""
    if unpriced := [t for t in targets if t not in listed]:
        raise OutcomesError(
            f"{name}: no price for {', '.join(unpriced)}; add each to the price list, with its"
            " source"
        )
    return {t: listed[t] for t in targets}


def cost_of(answers: pd.DataFrame, prices: Mapping[str, Price]) -> list[float]:
    """What prompt and answer cost, row by row, from input_tokens and output_tokens."""
    price = {t: (of.input * 1e-6, of.output * 1e-6) for t, of in prices.items()}
    return [
        i * price[t][0] + o * price[t][1]
        for t, i, o in zip(
            answers["target"], answers["input_tokens"], answers["output_tokens"], strict=True
        )
    ]


def write_source(
    folder: Path,
    name: str,
    queries: pd.DataFrame,
    answers: pd.DataFrame,
    prices: Mapping[str, Price],
    single: pd.DataFrame | None = None,
) -> None:
    """Write the files of an outcomes folder, all or none of them; the caller holds its lock.

    Parameters
    ----------
    answers : DataFrame[outcomes.OUTCOME_COLUMNS]
    prices : target to its price, in the order of the targets
    single : DataFrame, each answer where there are several, with the columns of ``answers.parquet``
        (`data.outcomes`)
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # under the lock, so that of a killed process
    partial.mkdir(parents=True)
    queries.to_parquet(partial / "queries.parquet", index=False)
    answers.to_parquet(partial / "outcomes.parquet", index=False)
    if single is not None:
        single.to_parquet(partial / "answers.parquet", index=False)
    targets = [
        {
            "name": target,
            "input_price": _per_token(price.input),
            "output_price": _per_token(price.output),
            "note": price.note,
        }
        for target, price in prices.items()
    ]
    header = {"name": name, "cost_unit": "USD", "targets": targets}
    (partial / "targets.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)  # an incomplete one
    partial.replace(folder)


def _per_token(price: float) -> float | None:
    # JSON has no NaN: null, as in any targets.json without a price
    return None if math.isnan(price) else price * 1e-6
