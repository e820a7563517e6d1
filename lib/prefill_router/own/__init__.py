"""A table of your own, turned into outcomes.

Long (a row per question and model: ``question, model, isCorrect, output_tokens``, and if there are any ``input_tokens, query_id, group,
benchmark, cost_usd``) or wide as RouterBench publishes it (a row per question: ``sample_id, prompt, eval_name, MODEL, MODEL|total_cost``);
CSV, JSON lines or Parquet. What is ambiguous is refused, all problems at once, each with file, row, column and what to do; what is
dropped or assumed is counted in the notes.
"""


from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from prefill_router.outcomes import Outcomes, OutcomesError, Target, write_outcomes
from prefill_router.own.checks import FEW, check
from prefill_router.own.files import read_file
from prefill_router.own.shape import long_table
from prefill_router.weights import say

FORMAT = 1  # raise it when the conversion changes what it writes
CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CNY", "JPY", "INR")


@dataclass(frozen=True)
class OwnTable:
    """What was read: the outcomes, and in words what was assumed, dropped or is missing."""

    outcomes: Outcomes
    notes: list[str]


def read_own_table(path: str | Path, prices: str | Path | None = None, threshold: float = 0.5, name: str | None = None) -> OwnTable:
    """Read, check and convert a table.

    Parameters
    ----------
    path : .csv, .tsv, .jsonl, .ndjson or .parquet
    prices : YAML file, optional
        ``{currency: USD, prices: {MODEL: {input: 2.5, output: 10}}}``, per million tokens.
    threshold : float
        A graded answer counts as right from here on.
    name : str, optional
        What the outcomes are called; default: the file's name.

    Raises
    ------
    OutcomesError
        With every problem of the table and of the price list.
    """
    path = Path(path)
    notes: list[str] = []
    raw = read_file(path)
    long, where = long_table(raw, path, notes)
    problems = check(long, where, path, threshold)
    currency, per_million, price_problems = read_prices(prices, [str(m) for m in long["model"].unique()])
    problems += price_problems
    if problems:
        raise OutcomesError(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}; nothing was read:\n  " + "\n  ".join(problems))
    long = _without_repeats(long, notes)
    outcomes = _outcomes(long, per_million, currency, threshold, name or path.stem, notes)
    return OwnTable(outcomes, notes)


def own_outcomes_folder(path: str | Path, prices: str | Path | None, root: str | Path) -> Path:
    """Folder below ``root`` with the outcomes of a table, as `outcomes.load_outcomes` reads them; made anew when table or prices changed.

    The notes of the conversion are printed, and kept in ``notes.json``.
    """
    for given in (path, prices):
        if given is not None and not Path(given).is_file():
            raise OutcomesError(f"{given}: no such file; check the path")
    parts = [str(FORMAT).encode(), Path(path).name.encode(), Path(path).read_bytes(), b"none" if prices is None else Path(prices).read_bytes()]
    folder = Path(root) / f"outcomes-{hashlib.sha256(b'|'.join(hashlib.sha256(p).digest() for p in parts)).hexdigest()[:16]}"
    if not (folder / "targets.json").is_file():
        table = read_own_table(path, prices)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.json").write_text(json.dumps(table.notes, indent=1) + "\n", encoding="utf-8")
        write_outcomes(table.outcomes, folder)
        say(f"{Path(path).name}: {table.outcomes.n:,} questions, {len(table.outcomes.targets)} models" + "".join(f"\n  {note}" for note in table.notes))
    return folder


def read_prices(path: str | Path | None, models: list[str]) -> tuple[str, dict[str, tuple[float, float]], list[str]]:
    """Currency, (input, output) price per million tokens of the models, and what is wrong with the list."""
    if path is None:
        return "USD", {}, []
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return "USD", {}, [f"{path.name}: cannot be read as a price list ({error}); write {{currency: USD, prices: {{MODEL: {{input: 2.5, output: 10}}}}}}"]
    entries = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        return "USD", {}, [f"{path.name}: no `prices:`; write {{currency: USD, prices: {{MODEL: {{input: 2.5, output: 10}}}}}}, per million tokens"]
    problems, found = [], {}
    currency = str(content.get("currency", "USD"))
    if currency not in CURRENCIES:
        problems.append(f"{path.name}: unknown currency {currency!r}; use one of {', '.join(CURRENCIES)}")
    for model, entry in entries.items():
        values = [entry.get(k) if isinstance(entry, dict) else None for k in ("input", "output")]
        if any(isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < float("inf") for v in values):
            problems.append(f"{path.name}: {model}: {entry!r}; write {{input: NUMBER, output: NUMBER}} per million tokens, none negative")
        else:
            found[str(model)] = (float(values[0]), float(values[1]))
    for model in [m for m in found if m not in models]:
        close = difflib.get_close_matches(model, models, n=1)
        problems.append(f"{path.name}: {model} is no model of the table{f'; is it {close[0]}?' if close else ''}; drop or rename it")
    return currency, found, problems


def _without_repeats(long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per question and model: the first with an outcome. Outcomes agree where several are there: that was checked."""
    ordered = long.assign(_missing=long["isCorrect"].isna()).sort_values("_missing", kind="stable")
    again = ordered.duplicated(["query_id", "model"])
    if again.any():
        counted = [c for c in ("output_tokens", "input_tokens", "cost_usd") if c in long]
        other = ordered.groupby(["query_id", "model"])[counted].nunique().gt(1).any(axis=1).sum() if counted else 0
        notes.append(f"{again.sum():,} rows repeat a question and model: dropped" + (f"; {other:,} times their tokens or costs differ, and the first row's were kept" if other else ""))
    return ordered[~again].sort_index().drop(columns="_missing")


def _outcomes(long: pd.DataFrame, per_million: Mapping[str, tuple[float, float]], currency: str, threshold: float, name: str, notes: list[str]) -> Outcomes:
    first = long.drop_duplicates("query_id").set_index("query_id")
    ids, models = list(first.index), list(long["model"].unique())
    row, column = pd.Index(ids).get_indexer(long["query_id"]), pd.Index(models).get_indexer(long["model"])

    def matrix(values: pd.Series) -> np.ndarray:
        table = np.full((len(ids), len(models)), np.nan)
        table[row, column] = values
        return table

    correct = matrix(long["isCorrect"])
    graded = ~np.isin(correct, [0.0, 1.0]) & ~np.isnan(correct)
    if graded.any():
        notes.append(f"{graded.sum():,} graded outcomes: right from {threshold:g} on")
        correct = np.where(np.isnan(correct), np.nan, (correct >= threshold).astype(float))
    if missing := int(np.isnan(correct).sum()):
        notes.append(f"{missing:,} of {correct.size:,} outcomes are missing: left out, never counted as wrong")
    texts = first["question"].str.strip()
    inputs = matrix(long["input_tokens"]) if "input_tokens" in long else np.full(correct.shape, np.nan)
    if gaps := int(np.isnan(inputs).sum()):
        from prefill_router.public.tokens import count_tokens

        inputs = np.where(np.isnan(inputs), np.asarray(count_tokens(texts.tolist()), float)[:, None], inputs)
        notes.append(f"{gaps:,} of {inputs.size:,} input_tokens are not given: counted with cl100k, for every model alike")
    outputs = matrix(long["output_tokens"]) if "output_tokens" in long else np.full(correct.shape, np.nan)
    targets, cost = [], np.full(correct.shape, np.nan)
    realised = matrix(long["cost_usd"]) if "cost_usd" in long else None
    basis: dict[str, list[str]] = {"price": [], "cost": [], "none": [], "price without tokens": []}
    for k, model in enumerate(models):
        priced = model in per_million
        if priced and not np.isnan(outputs[:, k]).all():
            price = tuple(p * 1e-6 for p in per_million[model])
            cost[:, k] = inputs[:, k] * price[0] + outputs[:, k] * price[1]
            basis["price"].append(model)
        elif realised is not None and not np.isnan(realised[:, k]).all():
            # the median cost of an answer takes the place of median output tokens x price
            price, outputs[:, k], cost[:, k] = (0.0, 1.0), realised[:, k], realised[:, k]
            basis["cost"].append(model)
        else:
            price = (np.nan, np.nan)
            basis["price without tokens" if priced else "none"].append(model)
        targets.append(Target(model, *price))
    if basis["cost"] and basis["price"] and currency != "USD":
        raise OutcomesError(f"{name}: {', '.join(basis['price'])} have prices in {currency}, {', '.join(basis['cost'])} costs in USD; give prices and output_tokens for all, or one currency")
    if basis["cost"]:
        currency = "USD"
        notes.append(f"cost_usd is what these cost, in the median of the training answers: {', '.join(basis['cost'])}")
    if ignored := [m for m in basis["cost"] if m in per_million]:
        notes.append(f"prices not used, as there are no output_tokens: {', '.join(ignored)}")
    if basis["price without tokens"]:
        notes.append(f"no output_tokens, so no cost in spite of a price: {', '.join(basis['price without tokens'])}; accuracy alone is compared")
    if basis["none"]:
        notes.append(f"no cost is known (a price and output_tokens, or cost_usd): {', '.join(basis['none'])}; left out of what needs a cost, and of nothing else")
    if len(ids) < FEW:
        notes.append(f"{len(ids)} questions are few: expect wide intervals")
    # equal but for case, spaces and marks at the ends; signs inside stay, they tell 2 + 3 from 2 * 3
    same = texts.str.casefold().str.replace(r"\s+", " ", regex=True).str.replace(r"^\W+|\W+$", "", regex=True)
    groups = first["group"].where(first["group"] != "", same) if "group" in first else same
    hashes = {g: hashlib.sha256(str(g).encode()).hexdigest()[:12] for g in groups.unique()}
    benchmark = first["benchmark"].map(str) if "benchmark" in first else pd.Series("all", index=first.index)
    queries = pd.DataFrame({"query_id": ids, "benchmark": benchmark.to_numpy(), "category": benchmark.to_numpy(), "prompt": texts.to_numpy(), "group": groups.map(hashes).to_numpy()})
    return Outcomes(queries, tuple(targets), correct, inputs, outputs, cost, currency, name)
