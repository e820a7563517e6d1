"""A table of your own, turned into outcomes.

Long (a row per question and model: ``question, model, isCorrect, output_tokens``, and if there are any ``input_tokens, query_id, group,
benchmark, cost_usd``) or wide as RouterBench publishes it (a row per question: ``sample_id, prompt, eval_name, MODEL, MODEL|total_cost``);
CSV, JSON lines or Parquet. What is ambiguous is refused, all problems at once, each with file, row, column and what to do; what is
dropped or assumed is counted in the notes.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import yaml

from .outcomes import Outcomes, OutcomesError, Target, write_outcomes
from .weights import say

# What the columns may be called, compared without case, spaces and underscores.
ALIASES = {
    "question": ("question", "prompt", "query", "input", "instruction"),
    "model": ("model", "target", "modelname", "llm"),
    "isCorrect": ("iscorrect", "correct", "correctness", "score", "label", "performance"),
    "output_tokens": ("outputtokens", "completiontokens", "generatedtokens", "tokensout"),
    "input_tokens": ("inputtokens", "prompttokens", "tokensin"),
    "query_id": ("queryid", "sampleid", "questionid", "id"),
    "group": ("group", "groupid", "duplicategroup"),
    "benchmark": ("benchmark", "evalname", "dataset", "task", "source"),
    "cost_usd": ("costusd", "cost", "totalcost"),
}
REQUIRED = ("question", "model", "isCorrect")
FORMAT = 1  # raise it when the conversion changes what it writes
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
COST_SUFFIX = "|total_cost"
IGNORED_WIDE = ("|model_response", "oracle_model_to_route_to")
WORDS = {
    **dict.fromkeys(("true", "yes", "right", "correct", "pass", "passed", "t", "y"), 1.0),
    **dict.fromkeys(("false", "no", "wrong", "incorrect", "fail", "failed", "f", "n"), 0.0),
    **dict.fromkeys(("", "nan", "null", "none", "na", "n/a", "missing"), np.nan),
}
CURRENCIES = ("USD", "EUR", "GBP", "CHF", "CNY", "JPY", "INR")
FEWEST, FEW = 60, 300  # queries: below the first no split can be made, below the second no claim
_SHOWN = 5


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
    raw = _read(path)
    long, where = _long(raw, path, notes)
    problems = _check(long, where, path)
    currency, per_million, price_problems = _prices(prices, [str(m) for m in long["model"].unique()], notes)
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
    parts = [str(FORMAT).encode()] + [Path(p).read_bytes() if p and Path(p).is_file() else b"" for p in (path, prices)]
    folder = Path(root) / f"outcomes-{hashlib.sha256(b'|'.join(hashlib.sha256(p).digest() for p in parts)).hexdigest()[:16]}"
    if not (folder / "targets.json").is_file():
        table = read_own_table(path, prices)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.json").write_text(json.dumps(table.notes, indent=1) + "\n", encoding="utf-8")
        write_outcomes(table.outcomes, folder)
        say(f"{Path(path).name}: {table.outcomes.n:,} questions, {len(table.outcomes.targets)} models" + "".join(f"\n  {note}" for note in table.notes))
    return folder


def _fail(path: Path, what: str, fix: str) -> OutcomesError:
    return OutcomesError(f"{path}: {what}; {fix}")


def _read(path: Path) -> pd.DataFrame:
    """The table as it stands in the file, texts for CSV; what cannot be opened is refused here."""
    if not path.is_file():
        raise _fail(path, "no such file", "check the path")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise _fail(path, f"unknown kind of file {kind!r}", f"use {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise _fail(path, "the file is empty", "export the table again")
    if kind == ".parquet":
        try:
            table = pd.read_parquet(path)
        except Exception as error:  # pyarrow raises many kinds for what is no Parquet
            raise _fail(path, f"not readable as Parquet ({error})", "export it again, or name it after what it is") from error
    else:
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")  # a byte order mark at the beginning is no part of the first column's name
        except UnicodeDecodeError as error:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise _fail(path, "the text is UTF-16", "save it as UTF-8") from error
            line = data[: error.start].count(b"\n") + 1
            raise _fail(path, f"line {line}: byte {data[error.start]:#04x} is not UTF-8", "save it as UTF-8") from error
        if "\x00" in text:
            raise _fail(path, f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte in the text", "export the table again")
        table = _read_lines(path, text) if kind in (".jsonl", ".ndjson") else _read_csv(path, text, kind)
    if not len(table):
        raise _fail(path, "the table has columns and no rows", "export it again")
    return table


def _read_csv(path: Path, text: str, kind: str) -> pd.DataFrame:
    header = text.split("\n", 1)[0]
    separator = "\t" if kind == ".tsv" else max(",;\t", key=header.count)
    if text.count('"') % 2:
        raise _fail(path, "an odd number of quotation marks: one is not closed", 'write a quotation mark inside a text twice ("")')
    names = pd.read_csv(io.StringIO(header), sep=separator, header=None, dtype=str).iloc[0].tolist() if header.strip() else []
    repeated = sorted({str(n) for n in names if names.count(n) > 1})
    if repeated:
        raise _fail(path, f"columns {', '.join(repeated)} are there twice", "rename or drop one of each")
    try:
        return pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except pd.errors.ParserError as error:
        raise _fail(path, f"not readable as a table ({str(error).strip()})", "every row needs as many fields as the header; put texts with commas into quotation marks") from error


def _read_lines(path: Path, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise _fail(path, f"line {number} is not JSON ({error})", "write one object per line") from error
            if not isinstance(rows[-1], dict):
                raise _fail(path, f"line {number} is a {type(rows[-1]).__name__}, not an object", 'write {"question": ..., "model": ..., "isCorrect": ...}')
    return pd.DataFrame(rows, dtype=object)


def _key(column: Any) -> str:
    return re.sub(r"[\s_\-]", "", str(column)).lower()


def _long(raw: pd.DataFrame, path: Path, notes: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """One row per question and model with the standard columns, and for each where it stands in the file."""
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    by_cost = [c for c in raw.columns if str(c).endswith(COST_SUFFIX)]
    standard: dict[str, Any] = {}
    for column in raw.columns:
        name = known.get(_key(column))
        if name and column not in by_cost:
            if name in standard:
                raise _fail(path, f"columns {standard[name]!r} and {column!r} both say {name}", "drop or rename one")
            standard[name] = column
    if "question" not in standard:
        close = difflib.get_close_matches("question", [_key(c) for c in raw.columns], n=1)
        hint = f"; is {close[0]!r} it?" if close else ""
        raise _fail(path, f"no column with the prompts{hint} (there are {', '.join(map(str, raw.columns[:12]))})", "call it question or prompt")
    rows = pd.Series(np.arange(1, len(raw) + 1))
    if "model" in standard and "isCorrect" in standard:
        long = pd.DataFrame({name: raw[column].to_numpy() for name, column in standard.items()})
        columns = {name: str(column) for name, column in standard.items()}
        where = pd.DataFrame({"row": rows})
        where.attrs["columns"] = columns
        return long, where
    if "model" in standard or ("isCorrect" in standard and not by_cost):
        lacking = "isCorrect" if "model" in standard else "model"
        raise _fail(path, f"no column {lacking}", "a long table has question, model and isCorrect; a wide one has a column per model and neither of the two")
    used = set(standard.values())
    models = [c for c in raw.columns if c not in used and c not in by_cost and not any(str(c).endswith(s) for s in IGNORED_WIDE)]
    if by_cost:
        lacking = [c for c in by_cost if c.removesuffix(COST_SUFFIX) not in raw.columns]
        if lacking:
            raise _fail(path, f"columns {', '.join(lacking)} have no column of the model itself", f"add {lacking[0].removesuffix(COST_SUFFIX)}")
        models = [c for c in models if f"{c}{COST_SUFFIX}" in by_cost]
    if not models:
        raise _fail(path, "neither a long nor a wide table", "a long one has question, model and isCorrect; a wide one a column per model")
    parts, places = [], []
    for model in models:
        part = {name: raw[column].to_numpy() for name, column in standard.items() if name != "isCorrect"}
        part |= {"model": np.repeat(str(model), len(raw)), "isCorrect": raw[model].to_numpy()}
        if f"{model}{COST_SUFFIX}" in by_cost:
            part["cost_usd"] = raw[f"{model}{COST_SUFFIX}"].to_numpy()
        parts.append(pd.DataFrame(part))
        places.append(pd.DataFrame({"row": rows, "model": str(model)}))
    notes.append(f"wide table: {len(models)} models ({', '.join(map(str, models[:8]))}{' ...' if len(models) > 8 else ''})")
    where = pd.concat(places, ignore_index=True)
    where.attrs["columns"] = {name: str(column) for name, column in standard.items()} | {"isCorrect": "", "cost_usd": COST_SUFFIX}
    return pd.concat(parts, ignore_index=True), where


def _number(value: Any) -> float:
    """A number, a word for one, a percentage; NaN for nothing. ValueError for anything else."""
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    if value is None or value is pd.NA:
        return np.nan
    text = str(value).strip().lower()
    if text in WORDS:
        return WORDS[text]
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _plain_number(value: Any) -> float:
    """As `_number`, but words for right and wrong are no counts."""
    text = str(value).strip().lower()
    if isinstance(value, bool | np.bool_) or (text in WORDS and not np.isnan(WORDS[text])):
        raise ValueError(value)
    return _number(value)


def _parsed(values: pd.Series, parse: Callable[[Any], float]) -> tuple[pd.Series, np.ndarray]:
    """Numbers, and which rows hold none. Every distinct value is parsed once."""
    bad = set()

    def safe(value: Any) -> float:
        try:
            return parse(value)
        except (ValueError, TypeError):
            bad.add(value if isinstance(value, str) else repr(value))
            return np.nan

    try:
        distinct = {value: safe(value) for value in values.unique()}
        numbers = values.map(distinct).astype(np.float64)
    except TypeError:  # values that cannot be hashed, such as lists
        numbers = pd.Series([safe(value) for value in values], dtype=np.float64)
    wrong = values.map(lambda v: (v if isinstance(v, str) else repr(v)) in bad).to_numpy(bool) if bad else np.zeros(len(values), bool)
    return numbers, wrong


def _prompt(value: Any) -> str | None:
    """The text of a prompt; of a list of one text, or of chat messages with the user's alone. None: it is no single prompt."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        for parse in (json.loads, ast.literal_eval):
            try:
                parsed = parse(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(parsed, list) and parsed and all(isinstance(p, str) or (isinstance(p, dict) and "content" in p) for p in parsed):
                return _prompt(parsed)
            break
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
        if len(value) == 1 and isinstance(value[0], dict) and value[0].get("role", "user") == "user" and isinstance(value[0].get("content"), str):
            return value[0]["content"]
        return None
    return value if isinstance(value, str) else None if value is None or isinstance(value, dict) or pd.isna(value) else str(value)


def _check(long: pd.DataFrame, where: pd.DataFrame, path: Path) -> list[str]:
    """Parse the columns in place; what is wrong, one line per kind and column."""
    columns: Mapping[str, str] = where.attrs["columns"]
    problems: list[str] = []

    def say(column: str, what: str, fix: str, bad: np.ndarray, values: pd.Series | None = None) -> None:
        at = np.flatnonzero(bad)
        if len(at):
            shown = []
            for i in at[:_SHOWN]:
                model = f" ({where['model'][i]})" if "model" in where else ""
                value = f" {values.iloc[i]!r}"[:60] if values is not None else ""
                shown.append(f"row {where['row'][i]}{model}{value}")
            more = f" and {len(at) - _SHOWN} more" if len(at) > _SHOWN else ""
            problems.append(f"{path.name}, column {columns.get(column) or column}: {what}: {', '.join(shown)}{more}; {fix}")

    prompts = long["question"].map(_prompt) if long["question"].map(type).isin([str]).all() else pd.Series([_prompt(v) for v in long["question"]], dtype=object)
    say("question", "not a single prompt", "write each prompt as one text; join the turns of a conversation yourself", prompts.isna().to_numpy() & long["question"].map(lambda v: isinstance(v, list | dict | np.ndarray) or (isinstance(v, str) and bool(v.strip()))).to_numpy(bool), long["question"])
    long["question"] = prompts.fillna("")
    models = long["model"].map(lambda v: "" if v is None or (not isinstance(v, str) and pd.isna(v)) else str(v).strip())
    long["model"] = models
    parsed: dict[str, tuple[pd.Series, np.ndarray, pd.Series]] = {}
    for column, parse in (("isCorrect", _number), ("output_tokens", _plain_number), ("input_tokens", _plain_number), ("cost_usd", _plain_number)):
        if column in long:
            raw = long[column]
            numbers, wrong = _parsed(raw, parse)
            parsed[column] = (numbers, wrong, raw)
            long[column] = numbers
            say(column, "not a number", "write 0 or 1, true or false, or a share; leave a missing one empty" if column == "isCorrect" else "write a plain number, without unit or thousands separators", wrong, raw)
    # pandera looks at every check of every column before it complains
    counts = {"output_tokens", "input_tokens"} & set(long)
    schema = pa.DataFrameSchema(
        {
            "question": pa.Column(str, pa.Check(lambda s: s.str.strip() != "", name="empty")),
            "model": pa.Column(str, pa.Check(lambda s: s != "", name="empty")),
            "isCorrect": pa.Column(float, [pa.Check(lambda s: ~(s > 1), name="percent"), pa.Check(lambda s: ~(s < 0), name="negative")], nullable=True),
            **{c: pa.Column(float, [pa.Check(lambda s: ~(s < 0), name="negative"), pa.Check(lambda s: ~np.isinf(s), name="infinite"), pa.Check(lambda s: ~(s % 1 > 0), name="fraction")], nullable=True) for c in counts},
            **({"cost_usd": pa.Column(float, [pa.Check(lambda s: ~(s < 0), name="negative"), pa.Check(lambda s: ~np.isinf(s), name="infinite")], nullable=True)} if "cost_usd" in long else {}),
        }
    )
    fixes = {
        ("question", "empty"): "give the prompt, or drop the row", ("model", "empty"): "name the model, or drop the row",
        ("isCorrect", "percent"): "a share lies between 0 and 1: divide percentages by 100 or write 85%", ("isCorrect", "negative"): "a share lies between 0 and 1",
    }
    try:
        schema.validate(long, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (column, check), cases in errors.failure_cases.groupby(["column", "check"], sort=False):
            bad = np.zeros(len(long), bool)
            bad[cases["index"].dropna().astype(int)] = True
            what = {"empty": "empty", "percent": "above 1", "negative": "below 0", "infinite": "infinite", "fraction": "not a whole number"}[check]
            say(column, what, fixes.get((column, check), "correct or empty it"), bad, parsed[column][2] if column in parsed else None)
    problems += _check_together(long, where, say)
    return problems


def _check_together(long: pd.DataFrame, where: pd.DataFrame, say: Callable[..., None]) -> list[str]:
    """What no single row shows: identity, conflicts, numbers of models and questions."""
    problems: list[str] = []
    text = long["question"].str.strip()
    if "query_id" in long:
        ids = long["query_id"].map(lambda v: "" if v is None or (isinstance(v, float) and np.isnan(v)) else str(v).strip())
        say("query_id", "empty", "give every question an id, or drop the column", (ids == "").to_numpy())
        several = text.groupby(ids).transform("nunique") > 1
        say("query_id", "one id for different prompts", "give each prompt its own id", (several & (ids != "")).to_numpy(), ids)
    else:
        ids = text.map({t: hashlib.sha256(t.encode()).hexdigest()[:12] for t in text.unique()})
    long["query_id"] = ids
    if "group" in long:
        long["group"] = long["group"].map(lambda v: "" if v is None or (isinstance(v, float) and np.isnan(v)) else str(v).strip())
        say("group", "several groups for one question", "one question has one group", (long["group"].groupby(ids).transform("nunique") > 1).to_numpy(), long["group"])
    pair = ids.astype(str) + "\0" + long["model"]
    known = long["isCorrect"].notna()
    different = long["isCorrect"].where(known).groupby(pair).transform("nunique") > 1
    say("isCorrect", "different outcomes for the same question and model", "keep one, or their mean as a share", different.to_numpy(), long["isCorrect"])
    names = [m for m in long["model"].unique() if m]
    if len(names) < 2:
        problems.append(f"only one model ({names[0] if names else 'none'}); routing needs two or more")
    for model, values in long[known].groupby("model")["isCorrect"]:
        if model and (values == values.iloc[0]).all() and values.iloc[0] in (0.0, 1.0) and len(names) > 1:
            problems.append(f"model {model} is always {'right' if values.iloc[0] else 'wrong'} ({len(values)} questions): there is nothing to learn; drop it from the table")
    silent = [m for m in names if not known[long["model"] == m].any()]
    problems += [f"model {m} has no outcome at all; fill them in or drop it" for m in silent]
    n = ids[ids != ""].nunique()
    if n < FEWEST:
        problems.append(f"{n} questions are too few: {FEWEST} are needed to train, calibrate and test at all, some {FEW} for an answer that means something")
    return problems


def _prices(path: str | Path | None, models: list[str], notes: list[str]) -> tuple[str, dict[str, tuple[float, float]], list[str]]:
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
    if lacking := [m for m in models if m and m not in entries]:
        notes.append(f"no price for {', '.join(lacking)}: left out of what needs a cost, and of nothing else")
    return currency, found, problems


def _without_repeats(long: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Drop what is there twice and rows without an outcome that others have."""
    ordered = long.assign(_missing=long["isCorrect"].isna()).sort_values("_missing", kind="stable")
    kept = ordered.drop_duplicates(["query_id", "model"]).sort_index().drop(columns="_missing")
    if len(kept) < len(long):
        notes.append(f"{len(long) - len(kept):,} rows repeat a question and model with the same outcome: dropped")
    return kept


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
    if "input_tokens" in long:
        inputs = matrix(long["input_tokens"])
    else:
        from .public.tokens import count_tokens

        inputs = np.tile(np.asarray(count_tokens(texts.tolist()), float)[:, None], len(models))
        notes.append("no input_tokens: counted with cl100k, for every model alike")
    outputs = matrix(long["output_tokens"]) if "output_tokens" in long else np.full(correct.shape, np.nan)
    targets, cost = [], np.full(correct.shape, np.nan)
    realised = matrix(long["cost_usd"]) if "cost_usd" in long else None
    for k, model in enumerate(models):
        if model in per_million and not np.isnan(outputs[:, k]).all():
            price = tuple(p * 1e-6 for p in per_million[model])
            cost[:, k] = inputs[:, k] * price[0] + outputs[:, k] * price[1]
        elif realised is not None and not np.isnan(realised[:, k]).all():
            # the median cost of an answer takes the place of median output tokens x price
            price, outputs[:, k], cost[:, k] = (0.0, 1.0), realised[:, k], realised[:, k]
        else:
            price = (np.nan, np.nan)
        targets.append(Target(model, *price))
    if realised is not None and not per_million:
        notes.append("costs are those of the table: a target's cost is the median cost of its training answers")
    if unpriced := [t.name for t in targets if np.isnan(t.input_price)]:
        notes.append(f"no cost is known for {', '.join(unpriced)} (a price and output_tokens, or cost_usd): accuracy alone is compared for them")
    if len(ids) < FEW:
        notes.append(f"{len(ids)} questions are few: expect wide intervals")
    # equal but for case, spaces and marks at the ends; signs inside stay, they tell 2 + 3 from 2 * 3
    same = texts.str.casefold().str.replace(r"\s+", " ", regex=True).str.replace(r"^\W+|\W+$", "", regex=True)
    groups = first["group"].where(first["group"] != "", same) if "group" in first else same
    hashes = {g: hashlib.sha256(str(g).encode()).hexdigest()[:12] for g in groups.unique()}
    benchmark = first["benchmark"].map(str) if "benchmark" in first else pd.Series("all", index=first.index)
    queries = pd.DataFrame({"query_id": ids, "benchmark": benchmark.to_numpy(), "category": benchmark.to_numpy(), "prompt": texts.to_numpy(), "group": groups.map(hashes).to_numpy()})
    return Outcomes(queries, tuple(targets), correct, inputs, outputs, cost, currency, name)
