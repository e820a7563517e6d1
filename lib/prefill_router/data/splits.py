"""Splits of all kinds; groups never straddle one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.outcomes import Outcomes, OutcomesError
from prefill_router.files import say_once


def validation_rows(groups: Sequence | np.ndarray | int, fraction: float, seed: int) -> np.ndarray:
    """Mask [n] of the rows held out for validation: whole groups, drawn up to ``fraction`` of the
    rows.

    Parameters
    ----------
    groups : n labels, or n itself if every row stands alone
    fraction : float
    seed : int

    Raises
    ------
    ValueError
        With fewer than two groups.
    """
    labels = np.arange(groups) if isinstance(groups, int) else np.asarray(groups).astype(str)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise ValueError(
            "all training rows are in one group; a validation split needs at least two"
        )
    order = np.random.default_rng(seed).permutation(len(counts))
    wanted = max(1, round(fraction * len(labels)))
    held_out: list[int] = []
    size = 0
    for group in order:
        # a group that would overshoot is passed over for a smaller one
        if size + counts[group] <= wanted:
            held_out.append(group)
            size += counts[group]
    if not held_out:
        held_out = [order[np.argmin(counts[order])]]
    return np.isin(inverse, held_out)


def group_folds(groups: Sequence | np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Assign whole groups to folds of nearly equal size.

    Groups are shuffled, then taken from the largest to the smallest, each into the fold with the
    fewest rows so far.

    Parameters
    ----------
    groups : n labels
        Rows of one group always share a fold.
    folds : int
        At least 2.
    seed : int

    Returns
    -------
    int ndarray [n]
        Fold number of each row; it depends on the labels, not on the order of the rows.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    labels, inverse, counts = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    if folds < 2 or len(labels) < folds:
        raise ValueError(
            f"{len(labels)} groups cannot fill {folds} folds; need 2 or more folds and a group for"
            " each"
        )
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    fold_of_group = np.empty(len(labels), np.int64)
    rows = np.zeros(folds, np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        fold_of_group[group] = rows.argmin()
        rows[fold_of_group[group]] += counts[group]
    return fold_of_group[inverse]


_OVERALL_WEIGHT = 10.0  # in grouped_split: size of a whole part against size within one category


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of the queries: sorted integer row positions."""

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def grouped_split(
    outcomes: Outcomes, seed: int, fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
) -> Split:
    """Split queries into train, calibration and test; groups never straddle, categories are
    balanced as groups allow.

    Groups come in an order shuffled by ``seed``; each goes where the parts' sizes, over all queries
    and within its categories, are furthest below ``fractions``. The result depends on the query
    ids, groups and categories and on the seed, not on the order of the rows.

    Parameters
    ----------
    outcomes : Outcomes
    seed : int
    fractions : three floats
        Shares of train, calibration and test; positive, with sum 1.

    Raises
    ------
    OutcomesError
        On bad fractions, or if a part would stay empty (too few groups).
    """
    share = np.asarray(fractions, dtype=np.float64)
    if share.shape != (3,) or (share <= 0).any() or not np.isclose(share.sum(), 1.0):
        raise OutcomesError(
            f"fractions must be three positive numbers with sum 1, not {tuple(fractions)}"
        )
    counts = pd.crosstab(
        outcomes.queries["group"].astype(str), outcomes.queries["category"].astype(str)
    )
    sizes = (
        counts.sort_index(axis=0).sort_index(axis=1).to_numpy(dtype=np.float64)
    )  # [groups, categories]
    goal = share[:, None] * sizes.sum(axis=0)  # [parts, categories]
    goal_all = share * sizes.sum()
    filled = np.zeros_like(goal)
    part_of_group = np.empty(len(sizes), dtype=np.intp)
    for g in np.random.default_rng(seed).permutation(len(sizes)):
        size = sizes[g]
        inside = size > 0
        # Growth of sum((filled - goal)^2 / goal) if the group went to each part. The overall term
        # is weighted
        # up: categories of a single group would otherwise all go to the largest part and leave the
        # test part
        # empty.
        within = ((2 * size * (filled - goal) + size**2)[:, inside] / goal[:, inside]).sum(axis=1)
        overall = (2 * size.sum() * (filled.sum(axis=1) - goal_all) + size.sum() ** 2) / goal_all
        part = int(np.argmin(within + _OVERALL_WEIGHT * overall))
        filled[part] += size
        part_of_group[g] = part
    part_of_query = part_of_group[
        counts.sort_index().index.get_indexer(outcomes.queries["group"].astype(str))
    ]
    parts = [np.flatnonzero(part_of_query == part) for part in range(3)]
    if any(rows.size == 0 for rows in parts):
        raise OutcomesError(
            f"{outcomes.name}: {len(sizes)} groups of up to {int(sizes.sum(axis=1).max())} queries"
            f" cannot fill a split of {tuple(fractions)}; use more queries or smaller groups"
        )
    return Split(*parts)


def grouped_by_family(outcomes: Outcomes) -> Outcomes:
    """The outcomes with ``category``, the family of a question, as ``group``.

    Everything that keeps groups together then keeps families together: splits, folds of every
    cross-validation, validation rows, the bootstrap.
    """
    return replace(outcomes, queries=outcomes.queries.assign(group=outcomes.queries["category"]))


def family_folds(
    outcomes: Outcomes, seeds: Sequence[int], fractions: tuple[float, float, float]
) -> dict[int, Split]:
    """A split for each seed; their test parts are folds of the groups, so that each query is tested
    exactly once.

    Calibration rows are whole groups too, drawn by the seed; their share of the other rows is that
    of ``fractions``.

    Raises
    ------
    OutcomesError
        With fewer than two seeds, or fewer groups than three for each.
    """
    groups = outcomes.queries["group"].astype(str).to_numpy()
    if len(seeds) < 2 or len(np.unique(groups)) < 3 * len(seeds):
        raise OutcomesError(
            f"{outcomes.name}: {len(np.unique(groups))} families and {len(seeds)} split seeds;"
            " holding families out needs two seeds or more and three families for each"
        )
    fold = group_folds(groups, len(seeds), seed=0)
    train_share, calibration_share, _ = fractions
    found = {}
    for number, seed in enumerate(seeds):
        rest = np.flatnonzero(fold != number)
        share = calibration_share / (train_share + calibration_share)
        calibration = validation_rows(groups[rest], share, seed)
        found[seed] = Split(rest[~calibration], rest[calibration], np.flatnonzero(fold == number))
    return found


PARTS = ("train", "calibration", "test")


def complete_splits(outcomes: Outcomes, splits: Mapping[int, Split]) -> dict[int, Split]:
    """The splits cut to the queries on which every target has an outcome.

    A split without such a training or test query is left out, and named aloud, once.

    Raises
    ------
    OutcomesError
        If no split is left.
    """
    complete = outcomes.complete_rows()
    found = {
        seed: Split(
            *(rows[complete[rows]] for rows in (split.train, split.calibration, split.test))
        )
        for seed, split in splits.items()
    }
    empty = [seed for seed, split in found.items() if not len(split.train) or not len(split.test)]
    if len(empty) == len(found):
        raise OutcomesError(
            f"{outcomes.name}: in no split do both training and test rows hold a query with an"
            " outcome of every target; fill outcomes in or drop a target"
        )
    if empty:
        say_once(
            f"{outcomes.name}: split seed {', '.join(map(str, empty))} has no training or no test"
            " query with an outcome of every target and is left out of the evaluation"
        )
    return {seed: split for seed, split in found.items() if seed not in empty}


def subset_rows(queries: pd.DataFrame, size: int, seed: int = 0) -> np.ndarray:
    """Rows of a draw of whole groups that takes turns over the categories.

    Parameters
    ----------
    queries : n rows with `query_id`, `category` and `group`.
    size : number of queries wanted; a group that would exceed it is passed over, so fewer may come
        back.

    Returns
    -------
    int array, sorted. The same queries whatever the order of the rows.
    """
    rng = np.random.default_rng(seed)
    ordered = queries.reset_index(drop=True).sort_values("query_id")
    rows_of = {group: rows.index.to_numpy() for group, rows in ordered.groupby("group", sort=True)}
    category_of = ordered.drop_duplicates("group").set_index("group")["category"]
    waiting: dict[Any, list[Any]] = {}
    for group in rng.permutation(np.array(sorted(rows_of), dtype=object)):
        waiting.setdefault(category_of[group], []).append(group)
    chosen: list[int] = []
    while any(waiting.values()):
        for category in sorted(waiting):
            if waiting[category]:
                rows = rows_of[waiting[category].pop()]
                if len(chosen) + len(rows) <= size:
                    chosen.extend(rows)
    if not chosen:
        raise OutcomesError(
            f"subset {size} is smaller than the smallest group of queries "
            f"({min(map(len, rows_of.values()), default=0)}); raise it."
        )
    return np.sort(np.array(chosen))
