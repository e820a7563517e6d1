"""A table of your own, turned into outcomes.

Long (a row per question and model: ``question, model, isCorrect, output_tokens``, and if there are
any ``input_tokens, query_id, group, benchmark, cost_usd``) or wide as RouterBench publishes it (a
row per question: ``sample_id, prompt, eval_name, MODEL, MODEL|total_cost``); CSV, JSON or Parquet.
What is ambiguous is refused, all problems at once, each with file, row, column and what to do; what
is dropped or assumed, every column that is read under another name and every one that is not used,
is told in the notes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.outcomes import Outcomes, OutcomesError, Target, write_outcomes
from prefill_router.own.checks import FEW, FEWEST, check
from prefill_router.own.files import read_file
from prefill_router.own.limits import Reads, check_memory, without_long_prompts
from prefill_router.own.shape import long_table
from prefill_router.prices import Price, load_own_prices, price_names
from prefill_router.weights import say

FORMAT = 2  # raise it when the conversion changes what it writes
NONE = "not given"  # the benchmark of a question that has none


@dataclass(frozen=True)
class OwnTable:
    """What was read: the outcomes, and in words what was assumed, dropped or is missing."""

    outcomes: Outcomes
    notes: list[str]


def read_own_table(
    path: str | Path,
    prices: str | Path | None = None,
    threshold: float = 0.5,
    name: str | None = None,
    *,
    prompt: str | None = None,
    models: Sequence[str] = (),
    encoders: Sequence[Reads] = (),
) -> OwnTable:
    """Read, check and convert a table.

    Parameters
    ----------
    path : .csv, .tsv, .json, .jsonl, .ndjson or .parquet
    prices : YAML file, optional
        ``{currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}``, per million tokens. What a
        table says it cost goes first.
    threshold : float
        A graded answer counts as right from here on.
    name : str, optional
        What the outcomes are called; default: the file's name.
    prompt : str, optional
        Template that joins columns to the prompt, such as ``{context}\\n\\n{question}``.
    models : the models to keep; default all. In a wide table they say which columns are models.
    encoders : those that will read the prompts; questions longer than one of them reads are left
        out and counted.

    Raises
    ------
    OutcomesError
        With every problem of the table and of the price list.
    """
    path = Path(path)
    notes: list[str] = []
    raw = read_file(path, notes)
    long, where = long_table(raw, path, notes, prompt, models, price_names(prices))
    problems = check(long, where, path, threshold, notes)
    listed = load_own_prices(prices, [m for m in long["model"].unique() if m])
    problems += listed.problems
    notes += listed.notes
    if not problems:
        long = without_long_prompts(long, where, encoders, notes)
        if (left := long["query_id"].nunique()) < FEWEST:
            problems.append(f"{notes[-1]}; {left} questions remain, {FEWEST} are needed")
    if problems:
        raise OutcomesError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''}; nothing was read:\n  "
            + "\n  ".join(problems)
        )
    long = _without_repeats(long, notes)
    outcomes = _outcomes(long, listed.prices, listed.currency, threshold, name or path.stem, notes)
    return OwnTable(outcomes, notes)


def own_outcomes_folder(
    path: str | Path,
    prices: str | Path | None,
    root: str | Path,
    threshold: float = 0.5,
    *,
    prompt: str | None = None,
    models: Sequence[str] = (),
    encoders: Sequence[Reads] = (),
) -> Path:
    """Folder below ``root`` with the outcomes of a table, as `outcomes.load_outcomes` reads them;
    made anew when the table, its prices or an option changed.

    The notes of the conversion are printed, and kept in ``notes.json``.
    """
    for given in (path, prices):
        if given is not None and not Path(given).is_file():
            raise OutcomesError(f"{given}: no such file; check the path")
    options = json.dumps(
        [prompt, list(models), [(e.name, e.plain_prompt) for e in encoders]]
    ).encode()
    parts = [
        str(FORMAT).encode(),
        Path(path).name.encode(),
        Path(path).read_bytes(),
        str(threshold).encode(),
        b"none" if prices is None else Path(prices).read_bytes(),
        options,
    ]
    key = hashlib.sha256(b"|".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    folder = Path(root) / f"outcomes-{key[:16]}"
    if not (folder / "targets.json").is_file():
        table = read_own_table(
            path, prices, threshold, prompt=prompt, models=models, encoders=encoders
        )
        if warning := check_memory(table.outcomes.n):
            say(f"warning: {warning}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.json").write_text(
            json.dumps(table.notes, indent=1) + "\n", encoding="utf-8"
        )
        write_outcomes(table.outcomes, folder)
        say(
            f"{Path(path).name}: {table.outcomes.n:,} questions, {len(table.outcomes.targets)}"
            " models" + "".join(f"\n  {note}" for note in table.notes)
        )
    return folder


def _without_repeats(long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per question and model: the first with an outcome. Outcomes agree where several are
    there: that was checked.
    """
    ordered = long.assign(_missing=long["isCorrect"].isna()).sort_values("_missing", kind="stable")
    again = ordered.duplicated(["query_id", "model"])
    if again.any():
        counted = [c for c in ("output_tokens", "input_tokens", "cost_usd") if c in long]
        other = (
            ordered.groupby(["query_id", "model"])[counted].nunique().gt(1).any(axis=1).sum()
            if counted
            else 0
        )
        notes.append(
            f"{again.sum():,} rows repeat a question and model: dropped"
            + (
                f"; {other:,} times their tokens or costs differ, and the first row's were kept"
                if other
                else ""
            )
        )
    return ordered[~again].sort_index().drop(columns="_missing")


def _outcomes(
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
    queries = _queries(first, long, notes)
    inputs = matrix("input_tokens")
    if gaps := int(np.isnan(inputs).sum()):
        from prefill_router.public.tokens import count_tokens

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
            _tell_difference(
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
        from prefill_router.plots import without_glyph

        if lacking := without_glyph("".join(models)):
            notes.append(
                f"no font of this machine draws {lacking}: figures show boxes in names of models;"
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


def _tell_difference(
    model: str,
    paid: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    price: Price,
    currency: str,
    notes: list[str],
) -> None:
    """Say so where what was paid and what the price list makes of the tokens differ by more than
    twofold; arrays [n], NaN for nothing.
    """
    by_list = (inputs * price.input + outputs * price.output) * 1e-6
    if currency != "USD" or np.isnan(by_list).all():
        return
    both = ~np.isnan(paid) & ~np.isnan(by_list)
    a, b = (
        (paid[both].mean(), by_list[both].mean())
        if both.any()
        else (np.nanmean(paid), np.nanmean(by_list))
    )
    if max(a, b) > 2 * min(a, b):
        notes.append(
            f"{model}: cost_usd is ${a:.3g} an answer, its price and tokens make ${b:.3g}"
            f" ({both.sum():,} answers): cost_usd is used; check which is right"
        )


def _of_question(
    long: pd.DataFrame, first: pd.DataFrame, column: str, notes: list[str]
) -> pd.Series:
    """Benchmark or category of every question, by query_id: the first that one of its rows gives;
    what lacks is told and named as lacking.
    """
    given = long[long[column] != ""]
    if several := int((given.groupby("query_id")[column].nunique() > 1).sum()):
        notes.append(f"{several:,} questions have several values of {column}: the first is kept")
    values = given.drop_duplicates("query_id").set_index("query_id")[column].reindex(first.index)
    if lacking := int(values.isna().sum()):
        notes.append(f"{lacking:,} questions have no {column}: called {NONE!r}")
    return values.fillna(NONE)


def _queries(first: pd.DataFrame, long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per question, in the columns of `Outcomes.queries`; prompts that are nearly equal
    share a group where none is given.
    """
    texts = first["question"].str.strip()
    # equal but for case, spaces and marks at the ends; signs inside stay, they tell 2 + 3 from 2 *
    # 3
    same = (
        texts.str.casefold()
        .str.replace(r"\s+", " ", regex=True)
        .str.replace(r"^\W+|\W+$", "", regex=True)
    )
    groups = first["group"].where(first["group"] != "", same) if "group" in first else same
    hashes = {g: hashlib.sha256(str(g).encode()).hexdigest()[:12] for g in groups.unique()}
    benchmark = _of_question(long, first, "benchmark", notes) if "benchmark" in first else "all"
    category = _of_question(long, first, "category", notes) if "category" in first else benchmark
    return pd.DataFrame(
        {
            "query_id": first.index,
            "benchmark": benchmark,
            "category": category,
            "prompt": texts,
            "group": groups.map(hashes),
        }
    ).reset_index(drop=True)
