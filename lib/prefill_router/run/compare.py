"""Two folders of results, number by number and conclusion by conclusion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.evaluate.keys import with_keys
from prefill_router.run.conclusions import compare_conclusions
from prefill_router.run.matching import matched

# manifest.json says which library and machine a run used: two runs may differ in that.
NOT_COMPARED = ("manifest.json",)
TABLES = (".csv", ".parquet", ".json")

REPORT_COLUMNS = ["file", "column", "row", "committed", "new", "deviation", "allowed", "problem"]


def tolerance(
    rules: Mapping[str, Any], column: str, metric: str | None = None
) -> tuple[float, float]:
    """(rtol, atol) of a number: of its metric, else of its column, else the profile's, else 0.

    A number passes when |new - committed| <= atol + rtol * |committed|. What a rule for a metric or
    column leaves out is 0 and not the profile's, so that `{atol: 0.05}` is the whole tolerance.
    """
    for table, name in (("metrics", metric), ("columns", column)):
        if name is not None and name in rules.get(table, {}):
            rule = rules[table][name]
            return float(rule.get("rtol", 0)), float(rule.get("atol", 0))
    return float(rules.get("rtol", 0)), float(rules.get("atol", 0))


def read_result(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    leaves = list(_leaves(json.loads(path.read_text(encoding="utf-8"))))
    numbers = [float(value) if isinstance(value, (int, float)) else np.nan for _, value in leaves]
    texts = [value if isinstance(value, str) else "" for _, value in leaves]
    return pd.DataFrame({"key": [key for key, _ in leaves], "text": texts, "value": numbers})


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a JSON file with the keys that lead to it."""
    if isinstance(content, (dict, list)):
        for name, item in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, content


def _problem(file: str, problem: str, **found: Any) -> dict[str, Any]:
    """A row of the report; ``found``: what there is to say of its other columns."""
    row = {"file": file, "column": "", "row": "", "committed": None, "new": None}
    return row | {"deviation": np.inf, "allowed": 0.0} | found | {"problem": problem}


def compare_tables(
    committed: pd.DataFrame, new: pd.DataFrame, file: str, rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Compare two tables number by number.

    Rows are matched by their text columns (and `seed`, `layer`), rows with equal names by order;
    columns by name. Missing equals missing; missing against a number is out of tolerance. A column
    whose rule is a `mean` is judged method by method (on each encoder), see `_worst_mean`.

    Parameters
    ----------
    committed, new : the tables.
    file : name for the report.
    rules : the profile's `verify`.

    Returns
    -------
    One row of `REPORT_COLUMNS` per column with its largest deviation (relative to what is allowed),
    and one per missing or extra column or row; `problem` is empty where all is well.
    """
    report = [
        _problem(file, "missing column", column=column)
        for column in committed.columns.difference(new.columns)
    ]
    report += [
        _problem(file, "extra column", column=column)
        for column in new.columns.difference(committed.columns)
    ]
    pair = matched(committed, new)
    old, now = pair.committed, pair.new
    for label, rows in (
        ("missing row", old.index.difference(now.index)),
        ("extra row", now.index.difference(old.index)),
    ):
        if len(rows):
            report.append(
                _problem(
                    file,
                    f"{len(rows)} {label}{'s' if len(rows) > 1 else ''}",
                    row=pair.name(rows[0]),
                )
            )
    common = old.index.intersection(now.index, sort=False)
    if not len(common):
        return report
    metrics = (
        old.loc[common, "metric"].astype(str).to_numpy()
        if "metric" in old
        else np.full(len(common), None)
    )
    for column in pair.numeric:
        a, b = (
            table.loc[common, column].to_numpy(dtype=float, na_value=np.nan) for table in (old, now)
        )
        if (mean := rules.get("columns", {}).get(column, {}).get("mean")) is not None:
            report.append(
                _worst_mean(a, b, _methods(old.loc[common]), mean)
                | {"file": file, "column": column}
            )
            continue
        limits = {metric: tolerance(rules, column, metric) for metric in set(metrics)}
        at, beyond, found = _worst(a, b, np.array([limits[metric] for metric in metrics]))
        report.append(
            _problem(
                file,
                f"{beyond} of {len(a)} out of tolerance" if beyond else "",
                column=column,
                row=pair.name(common[at]),
                **found,
            )
        )
    return report


def _methods(table: pd.DataFrame) -> np.ndarray:
    """What tells the method of every row [n] from others; nothing in a table without methods."""
    if "method" not in table:
        return np.full(len(table), "")
    return with_keys(table)["method"].astype(str).to_numpy()


def _worst_mean(a: np.ndarray, b: np.ndarray, methods: np.ndarray, allowed: float) -> dict:
    """The method whose numbers [n] differ most in the mean of their absolute differences.

    For P(correct) of networks that are trained by small steps in float32: another processor rounds
    otherwise, a member stops an epoch sooner, and a few single numbers move a long way while
    their mean, and every metric, hardly moves. Missing against a number is out of tolerance.
    """
    gaps = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    means = pd.Series(np.where(np.isnan(gaps), np.inf, gaps)).groupby(methods).mean()
    at, beyond = means.idxmax(), int((means > allowed).sum())
    return _problem(
        "",
        f"mean difference of {beyond} of {len(means)} methods out of tolerance" if beyond else "",
        row=f"mean of {at}".removesuffix(" of "),
        committed=float(np.nanmean(a[methods == at])),
        new=float(np.nanmean(b[methods == at])),
        deviation=float(means[at]),
        allowed=allowed,
    )


def _worst(a: np.ndarray, b: np.ndarray, limits: np.ndarray) -> tuple[int, int, dict[str, float]]:
    """Where two columns [n] differ most beyond their limits [n, (rtol, atol)], how many numbers do,
    and what the report says of the worst.
    """
    rtol, atol = limits.T
    allowed = atol + rtol * np.abs(np.where(np.isfinite(a), a, 0))
    with np.errstate(invalid="ignore"):
        deviation = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    deviation = np.where(np.isnan(deviation), np.inf, deviation)
    excess = deviation - allowed
    at = int(np.argmax(excess))
    found = {"committed": a[at], "new": b[at], "deviation": deviation[at], "allowed": allowed[at]}
    return at, int((excess > 0).sum()), found


def result_files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED and not path.name.startswith(".")
    }


def compare_folders(
    committed: str | Path, new: str | Path, rules: Mapping[str, Any], by_bytes: bool = False
) -> pd.DataFrame:
    """Compare two results folders file by file; `manifest.json` is left out, because it says which
    library and machine a run used.

    Parameters
    ----------
    rules : the profile's `verify`; not used with `by_bytes`.
    by_bytes : equal bytes instead of numbers within tolerances.

    Returns
    -------
    DataFrame with `REPORT_COLUMNS`; a row whose `problem` is not empty is a failure. Of files that
    are no table (CSV, Parquet, JSON) only the presence is compared, unless `by_bytes`.
    """
    old, now = result_files(Path(committed)), result_files(Path(new))
    report = [_problem(name, "missing file") for name in old if name not in now]
    report += [_problem(name, "extra file") for name in now if name not in old]
    for name in (name for name in old if name in now):
        report += (same_bytes if by_bytes else compare_files)(old[name], now[name], name, rules)
    return pd.DataFrame(report, columns=REPORT_COLUMNS)


def same_bytes(committed: Path, new: Path, name: str, rules: Mapping[str, Any]) -> list[dict]:
    """A row of the report: whether two files are equal byte for byte."""
    same = committed.read_bytes() == new.read_bytes()
    return [_problem(name, "" if same else "bytes differ", deviation=0.0 if same else np.inf)]


def compare_files(committed: Path, new: Path, name: str, rules: Mapping[str, Any]) -> list[dict]:
    """Rows of the report for one file: its numbers, and one row if conclusions changed."""
    if committed.suffix not in TABLES or committed.read_bytes() == new.read_bytes():
        return [_problem(name, "", deviation=0.0)]
    try:
        tables = read_result(committed), read_result(new)
    except (ValueError, OSError) as error:
        return [_problem(name, f"unreadable: {error}")]
    said = compare_conclusions(*tables)
    changed = said[said["committed"] != said["new"]]
    report = compare_tables(*tables, name, rules)
    if len(changed):
        first = changed.iloc[0]
        report.append(
            _problem(
                name,
                f"{len(changed)} of {len(said)} conclusions changed, the first from"
                f" {first['committed']} to {first['new']}",
                column=first["column"],
                row=first["row"],
            )
        )
    return report


def worst_per_file(report: pd.DataFrame) -> str:
    """The report as text: per file its worst row, and every row with a problem."""
    order = report.assign(excess=report["deviation"] - report["allowed"]).sort_values(
        "excess", ascending=False
    )
    shown = pd.concat(
        [order.groupby("file", sort=True).head(1), order[order["problem"] != ""]]
    ).drop(columns="excess")
    shown = shown[~shown.index.duplicated()].sort_values(["file", "column"])
    shown["row"] = shown["row"].str.slice(0, 48)
    return shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}")
