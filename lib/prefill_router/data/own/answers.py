"""The answers of a table as outcomes [questions, models], with their prices or costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes, OutcomesError, Target
from prefill_router.data.own.enough import FEW
from prefill_router.data.own.questions import queries_of_table, tell_difference
from prefill_router.data.price_entries import Price


def outcomes_of_table(
    long: pd.DataFrame,
    listed: Mapping[str, Price],
    currency: str,
    threshold: float,
    name: str,
    notes: list[str],
) -> Outcomes:
    first = long.drop_duplicates("query_id").set_index("query_id")
    models = list(long["model"].unique())
    row, column = (
        first.index.get_indexer(long["query_id"]),
        pd.Index(models).get_indexer(long["model"]),
    )

    def matrix(values: str) -> np.ndarray:
        table = np.full((len(first), len(models)), np.nan)
        if values in long:
            table[row, column] = long[values]
        return table

    correct = matrix("isCorrect")
    graded = ~np.isin(correct, [0.0, 1.0]) & ~np.isnan(correct)
    if graded.any():
        notes.append(f"{graded.sum():,} graded outcomes: right from {threshold:g} on")
        correct = np.where(np.isnan(correct), np.nan, (correct >= threshold).astype(float))
    if missing := int(np.isnan(correct).sum()):
        notes.append(
            f"{missing:,} of {correct.size:,} outcomes are missing: left out, never counted as"
            " wrong"
        )
    queries = queries_of_table(first, long, notes)
    inputs = matrix("input_tokens")
    if gaps := int(np.isnan(inputs).sum()):
        from prefill_router.data.public.tokens import count_tokens

        inputs = np.where(
            np.isnan(inputs),
            np.asarray(count_tokens(queries["prompt"].tolist()), float)[:, None],
            inputs,
        )
        notes.append(
            f"{gaps:,} of {inputs.size:,} input_tokens are not given: counted with cl100k, for"
            " every model alike"
        )
    outputs, realised = matrix("output_tokens"), matrix("cost_usd")
    targets = []
    basis: dict[str, list[str]] = {"price": [], "cost": [], "neither": []}
    for k, model in enumerate(models):
        price = listed.get(model, Price(np.nan, np.nan))
        if not np.isnan(realised[:, k]).all():  # what was paid goes before what a list would ask
            tell_difference(
                model, realised[:, k], inputs[:, k], outputs[:, k], price, currency, notes
            )
            # no price, but what the answers did cost: `routing.cost_lines` fits what a query is
            # expected to cost
            targets.append(Target(model, np.nan, np.nan))
            basis["cost"].append(model)
        elif not np.isnan([price.input, price.output]).any() and not np.isnan(outputs[:, k]).all():
            targets.append(Target(model, price.input * 1e-6, price.output * 1e-6))
            basis["price"].append(model)
        else:
            targets.append(Target(model, np.nan, np.nan))
            basis["neither"].append(model)
    if basis["cost"] and basis["price"] and currency != "USD":
        raise OutcomesError(
            f"{name}: {', '.join(basis['price'])} have prices in {currency},"
            f" {', '.join(basis['cost'])} costs in USD; give prices and output_tokens for all, or"
            " one currency"
        )
    if basis["cost"]:
        currency = "USD"
        notes.append(
            "cost_usd is what these cost; expected of a query is their mean over the training"
            f" answers, as a straight line over its input tokens: {', '.join(basis['cost'])}"
        )
    if unused := [m for m in listed if m in basis["cost"]]:
        notes.append(f"prices not used, as cost_usd says what was paid: {', '.join(unused)}")
    if unused := [m for m in listed if m in basis["neither"]]:
        notes.append(f"prices not used, as there are no output_tokens: {', '.join(unused)}")
    answered = ~np.isnan(correct)
    for model, kind in [(m, of_kind) for of_kind in ("price", "cost") for m in basis[of_kind]]:
        of, there = (
            answered[:, models.index(model)],
            ~np.isnan((realised if kind == "cost" else outputs)[:, models.index(model)]),
        )
        if lacking := int((of & ~there).sum()):
            notes.append(
                f"{'cost_usd' if kind == 'cost' else 'output_tokens'} of {model} is not given for"
                f" {lacking:,} of {of.sum():,} answers: its cost comes from the others"
            )
    if basis["neither"]:
        notes.append(
            "no cost is known (a price and output_tokens, or cost_usd):"
            f" {', '.join(basis['neither'])}; left out of what needs a cost, and of nothing else"
        )
    if not all(name.isascii() for name in models):
        from prefill_router.data.own.fonts import without_glyph

        if undrawn := without_glyph("".join(models)):
            notes.append(
                f"no font of this machine draws {undrawn}: figures show boxes in names of models;"
                " install one, such as Noto Sans CJK"
            )
    if len(first) < FEW:
        notes.append(f"{len(first)} questions are few: expect wide intervals")
    prices = np.array([(t.input_price, t.output_price) for t in targets])
    cost = np.where(
        [m in basis["cost"] for m in models],
        realised,
        inputs * prices[:, 0] + outputs * prices[:, 1],
    )
    return Outcomes(queries, tuple(targets), correct, inputs, outputs, cost, currency, name)
