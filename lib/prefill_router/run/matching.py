"""Which rows of two tables are the same row."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

# Columns that name a row although they hold numbers; text columns always name a row.
KEY_COLUMNS = ("seed", "layer")


@dataclass(frozen=True)
class Matched:
    """Two tables whose rows of one label are the same row.

    Attributes
    ----------
    numeric : the columns of numbers that both have.
    keys : the other columns of both, which name a row.
    committed, new : the tables.
    """

    numeric: list[str]
    keys: list[str]
    committed: pd.DataFrame
    new: pd.DataFrame

    def name(self, label: tuple | int) -> str:
        """What a report calls a row: the values of its keys."""
        if isinstance(label, tuple):
            parts = str(label[0]).split(", ")
        else:
            values = self.committed.loc[label, self.keys]
            parts = ["" if pd.isna(value) else str(value) for value in values]
        return ", ".join(part for part in parts if part)


def matched(committed: pd.DataFrame, new: pd.DataFrame) -> Matched:
    """Match the rows of two tables by their text columns (and `seed`, `layer`)."""
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
    old, now = (table.reset_index(drop=True) for table in (committed, new))
    if old[keys].equals(now[keys]):  # no need for half a million names
        return Matched(numeric, keys, old, now)
    return Matched(numeric, keys, _named(old, keys), _named(now, keys))


def _named(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows named by their key columns; rows with an equal name are told apart by their order."""
    names = pd.Series("", index=table.index, dtype="string")
    for place, key in enumerate(keys):
        names += (", " if place else "") + table[key].astype("string").fillna("")
    return table.set_index([names, names.groupby(names).cumcount()])
