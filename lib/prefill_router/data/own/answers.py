"""The answers of a table as outcomes [questions, models], with their prices or costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.own.costs import Basis, cost_basis, lacking
from prefill_router.data.own.enough import FEW
from prefill_router.data.own.questions import queries_of_table, tell_difference
from prefill_router.data.own_prices import OwnPrices
from prefill_router.data.price_entries import Price


def outcomes_of_table(
    long: pd.DataFrame,
    listed: OwnPrices,
    prices: str | Path | None,
    threshold: float,
    name: str,
    notes: list[str],
) -> Outcomes:
    """Outcomes of a checked table; ``prices`` is the file of the price list, for the notes."""
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
    basis = cost_basis(long, listed.prices)
    for k, model in enumerate(models):
        price = listed.prices.get(model, Price(np.nan, np.nan))
        if model in basis["cost"]:
            tell_difference(
                model, realised[:, k], inputs[:, k], outputs[:, k], price, listed.currency, notes
            )
        # no price where the answers did cost something: `data.costs` fits what a query is expected
        # to cost
        known = model in basis["price"]
        targets.append(
            Target(
                model,
                price.input * 1e-6 if known else np.nan,
                price.output * 1e-6 if known else np.nan,
            )
        )
    _tell_basis(basis, listed, prices, notes)
    currency = "USD" if basis["cost"] else listed.currency
    answered = ~np.isnan(correct)
    for kind, cost_of in (("price", outputs), ("cost", realised)):
        for model in basis[kind]:
            k = models.index(model)
            _tell_gaps(model, kind, answered[:, k], ~np.isnan(cost_of[:, k]), notes)
    _tell_limits(models, len(first), notes)
    rates = np.array([(t.input_price, t.output_price) for t in targets])
    cost = np.where(
        [m in basis["cost"] for m in models], realised, inputs * rates[:, 0] + outputs * rates[:, 1]
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


def _tell_basis(
    basis: Basis, listed: OwnPrices, prices: str | Path | None, notes: list[str]
) -> None:
    """Say what costs come from, which prices are not used, and which models have no cost."""
    if basis["cost"]:
        notes.append(
            "cost_usd is what these cost; expected of a query is their mean over the training"
            f" answers, as a straight line over its input tokens: {', '.join(basis['cost'])}"
        )
    if unused := [m for m in listed.prices if m in basis["cost"]]:
        notes.append(f"prices not used, as cost_usd says what was paid: {', '.join(unused)}")
    if basis["neither"]:
        notes.append(
            f"{lacking(basis, listed, prices)}. Without a cost these are left out of what needs"
            " one, a router among it, and of nothing else"
        )


def _tell_gaps(
    model: str, kind: str, answered: np.ndarray, there: np.ndarray, notes: list[str]
) -> None:
    """Say of how many answers [questions] of a model the cost is not known."""
    if lacking := int((answered & ~there).sum()):
        notes.append(
            f"{'cost_usd' if kind == 'cost' else 'output_tokens'} of {model} is not given for"
            f" {lacking:,} of {answered.sum():,} answers: its cost comes from the others"
        )


def _tell_limits(models: list[str], questions: int, notes: list[str]) -> None:
    """Say what cannot be drawn or claimed."""
    if not all(name.isascii() for name in models):
        from prefill_router.data.own.fonts import without_glyph

        if undrawn := without_glyph("".join(models)):
            notes.append(
                f"no font of this machine draws {undrawn}: figures show boxes in names of models;"
                " install one, such as Noto Sans CJK"
            )
    if questions < FEW:
        notes.append(f"{questions} questions are few: expect wide intervals")
