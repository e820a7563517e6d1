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
    row = first.index.get_indexer(long["query_id"])
    column = pd.Index(models).get_indexer(long["model"])

    def matrix(values: str) -> np.ndarray:
        table = np.full((len(first), len(models)), np.nan)
        if values in long:
            table[row, column] = long[values]
        return table

    correct = _right(matrix("isCorrect"), threshold, notes)
    queries = queries_of_table(first, long, notes)
    inputs = _all_counted(matrix("input_tokens"), queries["prompt"], notes)
    outputs, realised = matrix("output_tokens"), matrix("cost_usd")
    targets: list[Target] = []
    basis: dict[str, list[str]] = {"price": [], "cost": [], "neither": []}
    for k, model in enumerate(models):
        price = listed.get(model, Price(np.nan, np.nan))
        kind = _basis(realised[:, k], outputs[:, k], price)
        basis[kind].append(model)
        if kind == "cost":
            tell_difference(
                model, realised[:, k], inputs[:, k], outputs[:, k], price, currency, notes
            )
        # no price where the answers did cost something: `data.costs` fits what a query is expected
        # to cost
        known = kind == "price"
        targets.append(
            Target(
                model,
                price.input * 1e-6 if known else np.nan,
                price.output * 1e-6 if known else np.nan,
            )
        )
    currency = _tell_basis(basis, listed, currency, name, notes)
    answered = ~np.isnan(correct)
    for kind, cost_of in (("price", outputs), ("cost", realised)):
        for model in basis[kind]:
            k = models.index(model)
            _tell_gaps(model, kind, answered[:, k], ~np.isnan(cost_of[:, k]), notes)
    _tell_limits(models, basis["neither"], len(first), notes)
    prices = np.array([(t.input_price, t.output_price) for t in targets])
    cost = np.where(
        [m in basis["cost"] for m in models],
        realised,
        inputs * prices[:, 0] + outputs * prices[:, 1],
    )
    return Outcomes(queries, tuple(targets), correct, inputs, outputs, cost, currency, name)


def _right(grades: np.ndarray, threshold: float, notes: list[str]) -> np.ndarray:
    """Grades [questions, models] as 0 and 1; NaN stays."""
    missing = np.isnan(grades)
    graded = ~np.isin(grades, [0.0, 1.0]) & ~missing
    if graded.any():
        notes.append(f"{graded.sum():,} graded outcomes: right from {threshold:g} on")
        grades = np.where(missing, np.nan, (grades >= threshold).astype(float))
    if missing.any():
        notes.append(
            f"{missing.sum():,} of {grades.size:,} outcomes are missing: left out, never counted as"
            " wrong"
        )
    return grades


def _all_counted(inputs: np.ndarray, prompts: pd.Series, notes: list[str]) -> np.ndarray:
    """Input tokens [questions, models], counted where they are not given."""
    gaps = np.isnan(inputs)
    if not gaps.any():
        return inputs
    from prefill_router.data.public.tokens import count_tokens

    notes.append(
        f"{gaps.sum():,} of {inputs.size:,} input_tokens are not given: counted with cl100k, for"
        " every model alike"
    )
    counted = np.asarray(count_tokens(prompts.tolist()), float)
    return np.where(gaps, counted[:, None], inputs)


def _basis(paid: np.ndarray, outputs: np.ndarray, price: Price) -> str:
    """What the cost of a model is known from: what was paid goes before what a list would ask."""
    if not np.isnan(paid).all():
        return "cost"
    if not np.isnan([price.input, price.output]).any() and not np.isnan(outputs).all():
        return "price"
    return "neither"


def _tell_basis(
    basis: Mapping[str, list[str]],
    listed: Mapping[str, Price],
    currency: str,
    name: str,
    notes: list[str],
) -> str:
    """Say what costs come from and which prices are not used; the currency of the costs."""
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
    return currency


def _tell_gaps(
    model: str, kind: str, answered: np.ndarray, there: np.ndarray, notes: list[str]
) -> None:
    """Say of how many answers [questions] of a model the cost is not known."""
    if lacking := int((answered & ~there).sum()):
        notes.append(
            f"{'cost_usd' if kind == 'cost' else 'output_tokens'} of {model} is not given for"
            f" {lacking:,} of {answered.sum():,} answers: its cost comes from the others"
        )


def _tell_limits(
    models: list[str], without_cost: list[str], questions: int, notes: list[str]
) -> None:
    """Say what cannot be computed, drawn or claimed."""
    if without_cost:
        notes.append(
            "no cost is known (a price and output_tokens, or cost_usd):"
            f" {', '.join(without_cost)}; left out of what needs a cost, and of nothing else"
        )
    if not all(name.isascii() for name in models):
        from prefill_router.data.own.fonts import without_glyph

        if undrawn := without_glyph("".join(models)):
            notes.append(
                f"no font of this machine draws {undrawn}: figures show boxes in names of models;"
                " install one, such as Noto Sans CJK"
            )
    if questions < FEW:
        notes.append(f"{questions} questions are few: expect wide intervals")
