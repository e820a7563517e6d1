"""What the costs of a table's models are known from, what lacks, and what to write where."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.data.own.wide import COST_SUFFIX
from prefill_router.data.own_prices import OwnPrices
from prefill_router.data.price_entries import Price
from prefill_router.files import option

Basis = Mapping[str, list[str]]
"""Models by what their cost is known from: ``cost`` (what was paid), ``price`` or ``neither``."""


def cost_basis(long: pd.DataFrame, listed: Mapping[str, Price]) -> Basis:
    """What the cost of every model is known from: what was paid goes before what a list would ask.

    Parameters
    ----------
    long : as of `shape.long_table`, after `checks.check`.
    """
    basis: dict[str, list[str]] = {"price": [], "cost": [], "neither": []}
    for model, rows in long.groupby("model", sort=False):
        price = listed.get(str(model), Price(np.nan, np.nan))
        if _any(rows, "cost_usd"):
            basis["cost"].append(str(model))
        elif _any(rows, "output_tokens") and is_price(price):
            basis["price"].append(str(model))
        elif model:
            basis["neither"].append(str(model))
    return basis


def _any(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().any())


def check_costs(
    basis: Basis, listed: OwnPrices, prices: str | Path | None, path: Path, routed: bool
) -> list[str]:
    """What is wrong with the costs: two currencies; and, where a router is trained, which weighs
    P(correct) against cost, fewer than two models with one.
    """
    problems = []
    if basis["cost"] and basis["price"] and listed.currency != "USD":
        problems.append(
            f"{path.name}: {', '.join(basis['price'])} have prices in {listed.currency},"
            f" {', '.join(basis['cost'])} costs in USD; give prices and output_tokens for all, or"
            " one currency"
        )
    known = basis["cost"] + basis["price"]
    if routed and len(known) < 2 and basis["neither"] and not listed.problems:
        problems.append(
            "a router weighs P(correct) against cost, and fewer than two models have one"
            f" ({', '.join(known) or 'none'}): {lacking(basis, listed, prices)}"
        )
    return problems


def lacking(basis: Basis, listed: OwnPrices, prices: str | Path | None) -> str:
    """Which models have no cost, why, and what to write into which file."""
    priced = [m for m in basis["neither"] if m in listed.prices and is_price(listed.prices[m])]
    bare = [m for m in basis["neither"] if m not in priced]
    parts = []
    if bare:
        entry = f"{_yaml_name(bare[0])}: {{input: 0.15, output: 0.60}}"
        each = f"a line for each in {listed.currency} per million tokens, such as"
        if prices is None:
            what = (
                "no price list was given. Write my_prices.yaml, with"
                f" `prices: {{{entry}, …}}` in USD per million tokens, and give it with"
                f" {option('prices')}; or add a column cost_usd to the table (to a wide"
                f" one MODEL{COST_SUFFIX} for each)"
            )
        else:
            file = Path(prices).name
            what = f"{file} has no price. Under `prices:` of {file} write {each} `{entry}`"
        parts.append(f"no cost is known for {', '.join(bare)}: {what}")
    if priced:
        parts.append(
            f"prices not used, as there are no output_tokens: {', '.join(priced)}. Add that column"
            f" to a long table, or cost_usd; to a wide one add MODEL{COST_SUFFIX} for each"
        )
    return "; ".join(parts)


def is_price(price: Price) -> bool:
    """Whether both prices are known."""
    return not np.isnan([price.input, price.output]).any()


def _yaml_name(model: str) -> str:
    """A model's name as a key in YAML."""
    return model if re.fullmatch(r"[A-Za-z][\w./-]*", model) else json.dumps(model)
