"""Which columns of a wide table are models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.own.columns import shown_name
from prefill_router.data.own.files import fail
from prefill_router.data.own.values import absent, number, parsed
from prefill_router.files import option

COST_SUFFIX = "|total_cost"
# Words in a column's name that tell that it is no model; whole words, as `realtime` and `lifetime`
# are parts of models' names.
TELLING = set(
    "difficulty is has confidence judge judged probability prob certainty agreement rating grade"
    " split fold human length token tokens cost costs price prices time latency seconds ms year"
    " date count flag label gold answer solved consensus majority average mean oracle"
    " reference".split()
)
_COUNTING = {
    "token",
    "tokens",
    "cost",
    "costs",
    "price",
    "prices",
    "time",
    "latency",
    "seconds",
    "ms",
}


def all_there(models: Sequence[str], known: Sequence[Any], path: Path) -> None:
    """Refuse models that are asked for and are not known."""
    if lacking := [model for model in models if model not in map(str, known)]:
        close = difflib.get_close_matches(lacking[0], list(map(str, known)), n=1)
        raise fail(
            path,
            f"no model {', '.join(lacking)} in the table"
            + (f"; is it {close[0]}?" if close else ""),
            f"there are {', '.join(map(str, known[:12]))}",
        )


def wide_models(
    raw: pd.DataFrame,
    left: list[Any],
    by_cost: list[Any],
    models: Sequence[str],
    priced: Sequence[str],
    path: Path,
    notes: list[str],
) -> list[Any]:
    """Which columns of a wide table are models: those asked for, those with costs, those with
    prices, else those that hold outcomes and nothing else tells otherwise.
    """
    if models:
        all_there(models, left, path)
        chosen, why = [c for c in left if str(c) in models], "they were not asked for"
    elif by_cost:
        lacking = [c for c in by_cost if c.removesuffix(COST_SUFFIX) not in raw.columns]
        if lacking:
            raise fail(
                path,
                f"columns {', '.join(lacking)} have no column of the model itself",
                f"add {lacking[0].removesuffix(COST_SUFFIX)}",
            )
        chosen, why = (
            [c for c in left if f"{c}{COST_SUFFIX}" in by_cost],
            "they have no |total_cost",
        )
    elif len(with_price := [c for c in left if str(c) in priced]) >= 2:
        chosen, why = with_price, "they have no price"
    else:
        chosen, why = (
            [c for c in left if like_outcomes(raw[c])],
            "they hold no outcomes between 0 and 1",
        )
        _ask_about_odd_ones(raw, chosen, path)
    if ignored := [shown_name(c, raw) for c in left if c not in chosen]:
        notes.append(f"columns not taken for models, as {why}: {', '.join(ignored)}")
    return chosen


def _ask_about_odd_ones(raw: pd.DataFrame, columns: list[Any], path: Path) -> None:
    """Refuse columns that hold outcomes by their values alone and are something else by their name,
    or of another kind than the rest.

    A wrong guess would be silent: a column of metadata as a model that routing then chooses.
    """
    odd: dict[Any, str] = {}
    for c in columns:
        words = _words(c)
        of = next(
            (
                m
                for m in columns
                if c != m and re.match(rf"{re.escape(str(m))}[\W_]", str(c)) and words & _COUNTING
            ),
            None,
        )
        if of is not None:
            odd[c] = f"{c} ({of}?)"
        elif telling := sorted(words & TELLING):
            odd[c] = f"{c} (by its name: {', '.join(telling)})"
    kinds = {c: _kind(raw[c]) for c in columns if c not in odd}
    if len(set(kinds.values())) > 1:
        counted = pd.Series(kinds).value_counts()
        usual = counted.index[0] if len(counted) == 1 or counted.iloc[0] > counted.iloc[1] else None
        for c, kind in kinds.items():
            if kind != usual:
                odd[c] = f"{c} (holds {kind}" + (f", the others {usual})" if usual else ")")
    if odd:
        sure = [str(c) for c in columns if c not in odd]
        example = ",".join(sure if len(sure) > 1 else map(str, columns[:2]))
        raise fail(
            path,
            f"columns that may not be models: {', '.join(odd[c] for c in columns if c in odd)}",
            f"drop them, or name the models: {option('models', example)}; a price list names them"
            f" too, and costs are called MODEL{COST_SUFFIX}",
        )


def _words(column: Any) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(column)).lower()))


def _kind(values: pd.Series) -> str:
    """What outcomes are written as: 0 and 1, words, or shares of more than five kinds."""
    there = [v for v in values if not absent(v) and str(v).strip()]
    words = sum(
        isinstance(v, bool | np.bool_) or (isinstance(v, str) and not re.search(r"\d", v))
        for v in there
    )
    if words > len(there) / 2:
        return "words for right and wrong"
    numbers, _ = parsed(values, number)
    between = numbers[(numbers > 0) & (numbers < 1)]
    return "shares" if between.nunique() > 5 else "0 and 1"


def like_outcomes(values: pd.Series) -> bool:
    """Whether nine in ten of the values that are there are outcomes: 0 to 1, words for them,
    percentages.
    """
    numbers, wrong = parsed(values, number)
    there = wrong | numbers.notna().to_numpy()
    return bool(there.any()) and bool((numbers[there].between(0, 1)).mean() > 0.9)
