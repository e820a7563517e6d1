"""What paired differences say: clearly above 0, clearly below, or neither."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.run.matching import matched

# Columns of a paired difference and of the two ends of its interval.
DIFFERENCES = (
    ("diff", "ci_low", "ci_high"),
    ("over_median", "median_low", "median_high"),
    ("over_mean", "mean_low", "mean_high"),
)
ZERO = 1e-9  # an end of an interval this near to 0 is 0, whatever sign rounding left it


def compare_conclusions(committed: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """What the interval of every paired difference says, in two tables.

    Returns
    -------
    DataFrame[row, column, committed, new]
        ``above`` or ``below`` where the interval leaves out 0, else ``neither``; ``missing`` where
        a table has no such row. A row for each interval of the committed table; none if it holds
        no paired differences.
    """
    pair = matched(committed, new)
    old, now = pair.committed, pair.new
    found = []
    for columns in DIFFERENCES:
        if not set(columns) <= set(old.columns):
            continue
        said = _says(old, columns).dropna()
        again = _says(now, columns) if set(columns) <= set(now.columns) else pd.Series(dtype=object)
        again = again.reindex(said.index).fillna("missing")
        rows = [pair.name(label) for label in said.index]
        found.append(
            pd.DataFrame(
                {
                    "row": rows,
                    "column": columns[0],
                    "committed": said.to_numpy(),
                    "new": again.to_numpy(),
                }
            )
        )
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["row", "column", "committed", "new"])
    )


def _says(table: pd.DataFrame, columns: tuple[str, str, str]) -> pd.Series:
    """Missing where there is no interval."""
    low, high = table[columns[1]].astype(float), table[columns[2]].astype(float)
    said = np.select([low > ZERO, high < -ZERO], ["above", "below"], "neither")
    return pd.Series(said, index=table.index, dtype=object).where(low.notna() & high.notna())
