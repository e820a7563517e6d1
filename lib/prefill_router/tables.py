"""A table of your own, turned into outcomes.

Long (a row per question and model: ``question, model, isCorrect, output_tokens``, and if there are any ``input_tokens, query_id, group,
benchmark, cost_usd``) or wide as RouterBench publishes it (a row per question: ``sample_id, prompt, eval_name, MODEL, MODEL|total_cost``);
CSV, JSON lines or Parquet. What is ambiguous is refused, all problems at once, each with file, row, column and what to do; what is
dropped or assumed is counted in the notes.
"""

from __future__ import annotations

import ast
import csv
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
FEWEST, FEW = 100, 300  # queries: below the first no split can be made, below the second no claim
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
    problems = _check(long, where, path, threshold)
    currency, per_million, price_problems = _prices(prices, [str(m) for m in long["model"].unique()])
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
    """Texts, every row with exactly as many fields as the header: pandas would shift or pad the others in silence."""
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter="\t" if kind == ".tsv" else max(",;\t", key=header.count), strict=True)
    limit = csv.field_size_limit(2**31 - 1)
    rows: list[list[str]] = []
    try:
        for fields in reader:
            if not fields:
                continue  # an empty line
            if rows and len(fields) != len(rows[0]):
                raise _fail(
                    path, f"row {len(rows)} (line {reader.line_num}) has {len(fields)} fields, the header {len(rows[0])}",
                    "every row needs as many fields as the header; put texts with commas into quotation marks",
                )
            rows.append(fields)
    except csv.Error as error:
        raise _fail(path, f"line {reader.line_num}: quotation marks that do not match ({error})", 'write a quotation mark inside a text twice ("")') from error
    finally:
        csv.field_size_limit(limit)
    names = [name.strip() for name in rows[0]] if rows else []
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise _fail(path, f"columns {', '.join(repeated)} are there twice", "rename or drop one of each")
    return pd.DataFrame(rows[1:], columns=names, dtype=object)


def _read_lines(path: Path, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
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
    left = [c for c in raw.columns if c not in used and c not in by_cost and not any(str(c).endswith(end) for end in IGNORED_WIDE)]
    if by_cost:
        lacking = [c for c in by_cost if c.removesuffix(COST_SUFFIX) not in raw.columns]
        if lacking:
            raise _fail(path, f"columns {', '.join(lacking)} have no column of the model itself", f"add {lacking[0].removesuffix(COST_SUFFIX)}")
        models = [c for c in left if f"{c}{COST_SUFFIX}" in by_cost]
    else:
        # without costs nothing tells a model from another column but what it holds: a model's outcomes lie between 0 and 1
        models = [c for c in left if _like_outcomes(raw[c])]
        odd = [f"{c} ({m}?)" for c in models for m in models if c != m and re.match(rf"{re.escape(str(m))}[\W_]", str(c)) and re.search(r"cost|token|price|time|latency", str(c), re.I)]
        if odd:
            raise _fail(path, f"columns that may not be models: {', '.join(odd)}", "drop them, or name costs MODEL|total_cost")
    if ignored := [str(c) for c in left if c not in models]:
        why = "they have no |total_cost" if by_cost else "they hold no outcomes between 0 and 1"
        notes.append(f"columns not taken for models, as {why}: {', '.join(ignored)}")
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


def _like_outcomes(values: pd.Series) -> bool:
    """Whether nine in ten of the values that are there are outcomes: 0 to 1, words for them, percentages."""
    numbers, wrong = _parsed(values, _number)
    there = wrong | numbers.notna().to_numpy()
    return bool(there.any()) and bool((numbers[there].between(0, 1)).mean() > 0.9)


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
    if isinstance(value, bool | np.bool_) or text.endswith("%") or (text in WORDS and not np.isnan(WORDS[text])):
        raise ValueError(value)
    return _number(value)


def _parsed(values: pd.Series, parse: Callable[[Any], float]) -> tuple[pd.Series, np.ndarray]:
    """Numbers, and which rows hold none. Every distinct value is parsed once."""
    seen: dict[Any, float | None] = {}  # by type too: True and 1 are equal, but only one is a count

    def safe(value: Any) -> float | None:
        key = (type(value), value) if isinstance(value, str | int | float | bool) else repr(value)
        if key not in seen:
            try:
                seen[key] = parse(value)
            except (ValueError, TypeError):
                seen[key] = None
        return seen[key]

    found = [safe(value) for value in values]
    wrong = np.array([number is None for number in found], bool)
    return pd.Series([np.nan if number is None else number for number in found], dtype=np.float64), wrong


def _id(value: Any) -> str:
    """An id as text; 1 and 1.0, which tools mix up, are one id."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


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


def _check(long: pd.DataFrame, where: pd.DataFrame, path: Path, threshold: float) -> list[str]:
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
    problems += _check_together(long, say, threshold)
    return problems


def _check_together(long: pd.DataFrame, say: Callable[..., None], threshold: float) -> list[str]:
    """What no single row shows: identity, conflicts, numbers of models and questions."""
    problems: list[str] = []
    text = long["question"].str.strip()
    if "query_id" in long:
        ids = long["query_id"].map(_id)
        say("query_id", "empty", "give every question an id, or drop the column", (ids == "").to_numpy())
        several = text.groupby(ids).transform("nunique") > 1
        say("query_id", "one id for different prompts", "give each prompt its own id", (several & (ids != "")).to_numpy(), ids)
    else:
        ids = text.map({t: hashlib.sha256(t.encode()).hexdigest()[:12] for t in text.unique()})
    long["query_id"] = ids
    if "group" in long:
        long["group"] = long["group"].map(_id)
        say("group", "several groups for one question", "one question has one group", (long["group"].groupby(ids).transform("nunique") > 1).to_numpy(), long["group"])
    pair = ids.astype(str) + "\0" + long["model"]
    known = long["isCorrect"].notna()
    different = long["isCorrect"].where(known).groupby(pair).transform("nunique") > 1
    say("isCorrect", "different outcomes for the same question and model", "keep one, or their mean as a share", different.to_numpy(), long["isCorrect"])
    names = [m for m in long["model"].unique() if m]
    if len(names) < 2:
        problems.append(f"only one model ({names[0] if names else 'none'}); routing needs two or more")
    for model, values in long[known].groupby("model")["isCorrect"]:
        right = values >= threshold
        if model and (right == right.iloc[0]).all() and len(names) > 1:
            problems.append(f"model {model} is always {'right' if right.iloc[0] else 'wrong'} ({len(values)} questions): there is nothing to learn; drop it from the table")
    silent = [m for m in names if not known[long["model"] == m].any()]
    problems += [f"model {m} has no outcome at all; fill them in or drop it" for m in silent]
    n = ids[ids != ""].nunique()
    if n < FEWEST:
        problems.append(f"{n} questions are too few: {FEWEST} are needed to train, calibrate and test at all, some {FEW} for an answer that means something")
    elif len(names) >= 2:
        answered = long[known].groupby(ids[known])["model"].nunique()
        complete = int((answered == len(names)).sum())
        if complete < FEWEST:
            counts = long[known].groupby("model")["isCorrect"].size().sort_values()
            problems.append(
                f"only {complete} of {n} questions were answered by every model; {FEWEST} are needed, since models are compared on the same questions. "
                f"Fill in or drop the models with the fewest outcomes: {', '.join(f'{m} ({c})' for m, c in counts.head(3).items())}"
            )
    return problems


def _prices(path: str | Path | None, models: list[str]) -> tuple[str, dict[str, tuple[float, float]], list[str]]:
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
        from .public.tokens import count_tokens

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
