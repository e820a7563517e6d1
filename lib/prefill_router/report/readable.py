"""Tables as notebooks show them: names in words, a number with its interval in one cell, a dash
where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import pandas as pd

from prefill_router.heads.names import OnEncoder
from prefill_router.report.cells import HEADLINE
from prefill_router.report.styles import label

MISSING = "–"
METHODS = ("method", "method_a", "method_b")
WORDS = {
    "auc": "AUC",
    "cv_error": "cross-validated error",
    "fisher_j": "Fisher's J",
    "mean_fisher_j": "mean Fisher's J",
    "d_eff": "effective dimensionality",
    "method_a": "method",
    "method_b": "minus",
    "n": "queries",
    "n_components": "principal components",
    "n_incomplete": "incomplete",
    "parameters_M": "parameters, millions",
    "test_auc": "test AUC",
}
ENDS = ("ci_low", "ci_high")


def readable(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A table as text for people.

    Parameters
    ----------
    table : DataFrame
        Its columns and index levels named as in ``METHODS`` hold names or keys of methods. A column
        ``value`` or ``diff`` beside ``ci_low`` and ``ci_high`` becomes one with all three.
    digits : int
        After the point.

    Returns
    -------
    DataFrame of str
    """
    table = table.copy()
    for value in ("value", "diff"):
        if {value, *ENDS} <= set(table.columns):
            table[value] = with_interval(table, value, digits)
            table = table.drop(columns=list(ENDS))
    for name in [n for n in METHODS if n in table.columns]:
        table[name] = [_method(method) for method in table[name]]
    if "metric" in table.columns:
        table["metric"] = [_word(metric) for metric in table["metric"]]
    shown = table.map(lambda cell: _cell(cell, digits))
    if any(table.index.names) or not isinstance(table.index, pd.RangeIndex):
        shown.index = _axis(table.index)
    shown.columns = _axis(table.columns)
    return shown


def intervals(
    table: pd.DataFrame, rows: Sequence[str], columns: str = "metric", digits: int = 3
) -> pd.DataFrame:
    """A long table with a column for each entry of ``columns``, numbers with their intervals, in
    the order in which they come; readable.
    """
    value = "value" if "value" in table else "diff"
    keyed = table.assign(cell=with_interval(table, value, digits))
    keyed = keyed.drop_duplicates([*rows, columns])
    wide = keyed.set_index([*rows, columns])["cell"].unstack(sort=False)
    return readable(wide)


def with_interval(table: pd.DataFrame, value: str, digits: int = 3) -> list[str]:
    """Each number of the column ``value`` with its 95 % interval; a dash where there is none."""
    signed = "+" if value == "diff" else ""
    return [
        MISSING
        if pd.isna(v)
        else f"{v:{signed}z.{digits}f} [{low:{signed}z.{digits}f}, {high:{signed}z.{digits}f}]"
        for v, low, high in table[[value, *ENDS]].itertuples(index=False)
    ]


def _cell(cell: Any, digits: int) -> str:
    if cell is None or (not isinstance(cell, str) and pd.isna(cell)):
        return MISSING
    if isinstance(cell, bool | str) or not isinstance(cell, Real):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, Integral) else f"{cell:z,.{digits}f}"


def _axis(axis: pd.Index) -> pd.Index:
    """Names of columns or rows in words, level by level."""
    if isinstance(axis, pd.MultiIndex):
        tuples = [
            tuple(_name(part, level) for part, level in zip(key, axis.names, strict=True))
            for key in axis
        ]
        return pd.MultiIndex.from_tuples(tuples, names=[_word(name) for name in axis.names])
    return pd.Index([_name(key, axis.name) for key in axis], name=_word(axis.name))


def _name(key: Any, level: Any) -> Any:
    if level in METHODS:
        return _method(key)
    return _word(key) if level in (None, "metric") else key


def _method(method: Any) -> str:
    return label(method) if isinstance(method, str | OnEncoder) and method else MISSING


def _word(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    return WORDS.get(name) or (HEADLINE[name][0] if name in HEADLINE else name.replace("_", " "))
