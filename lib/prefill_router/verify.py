"""Re-compute a profile from a clean build and compare every number with the committed results.

python -m prefill_router.verify --profile local
python -m prefill_router.verify --profile local --against other/results/local --bytes
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router import reproduce
from prefill_router.profiles import Profile, ProfileError, load_profile, project_root

# Columns that name a row although they hold numbers; text columns always name a row.
KEY_COLUMNS = ("seed", "layer")
# manifest.json holds times, which never repeat.
NOT_COMPARED = ("manifest.json",)
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


def _read(path: Path) -> pd.DataFrame:
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


def _problem(
    file: str,
    problem: str,
    column: str = "",
    row: str = "",
    committed: Any = None,
    new: Any = None,
    deviation: float = np.inf,
    allowed: float = 0.0,
) -> dict[str, Any]:
    return dict(
        zip(
            REPORT_COLUMNS,
            (file, column, row, committed, new, deviation, allowed, problem),
            strict=True,
        )
    )


def _keyed(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows named by their key columns; rows with an equal name are told apart by their order."""
    names = (
        table[keys].astype("string").fillna("").agg(", ".join, axis=1)
        if keys
        else pd.Series("", index=table.index, dtype="string")
    )
    return table.set_index([names, names.groupby(names).cumcount()])


def compare_tables(
    committed: pd.DataFrame, new: pd.DataFrame, file: str, rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Compare two tables number by number.

    Rows are matched by their text columns (and `seed`, `layer`), rows with equal names by order;
    columns by name.     Missing equals missing; missing against a number is out of tolerance.

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
        _problem(file, "missing column", column)
        for column in committed.columns.difference(new.columns)
    ]
    report += [
        _problem(file, "extra column", column)
        for column in new.columns.difference(committed.columns)
    ]
    shared = [column for column in committed.columns if column in new.columns]
    numeric = [
        column
        for column in shared
        if column not in KEY_COLUMNS
        and all(
            pd.api.types.is_numeric_dtype(table[column]) or table[column].isna().all()
            for table in (committed, new)
        )
    ]
    # A column that is all missing on both sides holds no number to compare and names no row.
    keys = [column for column in shared if column not in numeric]
    old, now = _keyed(committed, keys), _keyed(new, keys)
    for label, rows in (
        ("missing row", old.index.difference(now.index)),
        ("extra row", now.index.difference(old.index)),
    ):
        if len(rows):
            report.append(
                _problem(file, f"{len(rows)} {label}{'s' if len(rows) > 1 else ''}", row=rows[0][0])
            )
    common = old.index.intersection(now.index, sort=False)
    if not len(common):
        return report
    metrics = (
        old.loc[common, "metric"].astype(str).to_numpy()
        if "metric" in old
        else np.full(len(common), None)
    )
    for column in numeric:
        a, b = (
            table.loc[common, column].to_numpy(dtype=float, na_value=np.nan) for table in (old, now)
        )
        limits = {metric: tolerance(rules, column, metric) for metric in set(metrics)}
        rtol, atol = np.array([limits[metric] for metric in metrics]).T
        allowed = atol + rtol * np.abs(np.where(np.isfinite(a), a, 0))
        with np.errstate(invalid="ignore"):
            deviation = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        deviation = np.where(np.isnan(deviation), np.inf, deviation)
        excess = deviation - allowed
        worst = int(np.argmax(excess))
        beyond = int((excess > 0).sum())
        report.append(
            _problem(
                file,
                f"{beyond} of {len(a)} out of tolerance" if beyond else "",
                column,
                str(common[worst][0]),
                a[worst],
                b[worst],
                deviation[worst],
                allowed[worst],
            )
        )
    return report


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED and not path.name.startswith(".")
    }


def compare_folders(
    committed: str | Path, new: str | Path, rules: Mapping[str, Any], by_bytes: bool = False
) -> pd.DataFrame:
    """Compare two results folders file by file; `manifest.json` is left out, because it holds
    times.

    Parameters
    ----------
    rules : the profile's `verify`; not used with `by_bytes`.
    by_bytes : equal bytes instead of numbers within tolerances.

    Returns
    -------
    DataFrame with `REPORT_COLUMNS`; a row whose `problem` is not empty is a failure. Of files that
    are no table (CSV, Parquet, JSON) only the presence is compared, unless `by_bytes`.
    """
    old, now = _files(Path(committed)), _files(Path(new))
    report = [_problem(name, "missing file") for name in old if name not in now]
    report += [_problem(name, "extra file") for name in now if name not in old]
    for name in (name for name in old if name in now):
        if by_bytes:
            same = old[name].read_bytes() == now[name].read_bytes()
            report.append(
                _problem(name, "" if same else "bytes differ", deviation=0.0 if same else np.inf)
            )
        elif old[name].suffix in (".csv", ".parquet", ".json"):
            try:
                tables = _read(old[name]), _read(now[name])
            except (ValueError, OSError) as error:
                report.append(_problem(name, f"unreadable: {error}"))
                continue
            report += compare_tables(*tables, name, rules)
        else:
            report.append(_problem(name, "", deviation=0.0))
    return pd.DataFrame(report, columns=REPORT_COLUMNS)


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


def recompute(
    profile: Profile, folder: Path, device: str | None = None, source: str | None = None
) -> int:
    """Run all notebooks of a profile into an empty `folder`; weights already downloaded are used
    again.

    Returns
    -------
    Exit status of `reproduce.main`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ["--profile", source or profile.name]
    for name in ("build", "results", "figures"):
        arguments += [f"--{name}-dir", str(folder / name)]
    return reproduce.main(arguments + (["--device", device] if device else []))


def _compare_and_print(
    pairs: Sequence[tuple[Path, Path]], rules: Mapping[str, Any], by_bytes: bool
) -> bool:
    good = True
    for committed, new in pairs:
        report = compare_folders(committed, new, rules, by_bytes)
        failures = int((report["problem"] != "").sum())
        good &= not failures and not report.empty
        print(f"\n{committed} against {new}")
        if report.empty:
            print("Nothing to compare: both folders are empty.")
            continue
        print(worst_per_file(report))
        print(
            f"{failures} problem(s)."
            if failures
            else f"{report['file'].nunique()} file(s) agree "
            + ("byte for byte." if by_bytes else "within the tolerances.")
        )
    return good


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, 1 (out of tolerance, missing, extra), 2 (wrong arguments), else the
    run's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m prefill_router.verify",
        allow_abbrev=False,
        description="Re-compute a profile and compare it with the committed results.",
    )
    parser.add_argument(
        "--profile", default="local", help="profile of config/, or a YAML file (default: local)"
    )
    parser.add_argument("--device", help="auto, cpu, mps, cuda or cuda:N")
    parser.add_argument("--results", type=Path, help="committed side (default: results/<profile>)")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with this folder; nothing is run"
    )
    parser.add_argument(
        "--bytes", action="store_true", help="equal bytes instead of tolerances; figures too"
    )
    arguments = parser.parse_args(argv)
    try:
        profile = load_profile(arguments.profile, device=arguments.device)
    except ProfileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    root = project_root()
    committed = arguments.results or root / "results" / profile.label
    for folder in filter(None, (committed, arguments.against)):
        if not folder.is_dir():
            print(
                f"error: {folder} does not exist, so there is nothing to compare; "
                f"`make reproduce PROFILE={profile.name}` makes results.",
                file=sys.stderr,
            )
            return 2
    if arguments.against:
        pairs = [(committed, arguments.against)]
    else:
        fresh = root / "build" / "verify"
        source = (
            str(Path(arguments.profile).resolve()) if arguments.profile != profile.name else None
        )
        status = recompute(profile, fresh, arguments.device, source)
        if status:
            return status
        pairs = [(committed, fresh / "results" / profile.label)]
        figures = root / "figures" / profile.label
        if figures.is_dir() and not arguments.results:
            pairs.append((figures, fresh / "figures" / profile.label))
    return 0 if _compare_and_print(pairs, profile.verify, arguments.bytes) else 1


if __name__ == "__main__":
    sys.exit(main())
