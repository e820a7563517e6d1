"""How well familiarity tells prompts unlike the training, and what P(correct) is worth on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from prefill_router.data.memory import LANDMARKS
from prefill_router.data.splits import Split
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, labelled
from prefill_router.heads.familiarity import familiarity, nearness_in_training
from prefill_router.heads.gram import Block, gaussian_gram
from prefill_router.heads.stored_states import StoredStates, row_blocks

ALARMS = (0.01, 0.05, 0.1, 0.2)
# ends of the bins of familiarity: from here on, up to the next one
BINS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75)


def familiarity_of_tests(
    states: np.ndarray | StoredStates, groups: np.ndarray, splits: Mapping[int, Split]
) -> dict[int, np.ndarray]:
    """Familiarity of the test rows of every split, compared with its labelled rows; where these are
    left in the store, with ``LANDMARKS`` of them, drawn at random.

    Parameters
    ----------
    states : float32 ndarray [n, D]
        What the kernel router reads of one encoder, `heads.gram.read_states`.
    groups : ndarray [n]
    splits : by seed
    """
    found = {}
    for seed, split in splits.items():
        rows = labelled(split)
        if isinstance(states, StoredStates):
            found[seed] = _of_sample(states, groups, rows, split.test, seed)
            continue
        kernel = gaussian_gram(states, rows)
        in_training = nearness_in_training(kernel[rows], groups[rows])
        found[seed] = familiarity(kernel[split.test].max(axis=1), in_training)
    return found


def _of_sample(
    states: StoredStates, groups: np.ndarray, rows: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Familiarity of test rows, compared with a sample of the labelled rows."""
    drawn = np.random.default_rng(seed).choice(rows, min(len(rows), LANDMARKS), replace=False)
    sample, asked = states[np.sort(drawn)], states.rows(test)
    block, nearness = Block.of(sample), np.empty(len(test), np.float32)
    for at in row_blocks(asked):
        nearness[at] = block.kernel(asked[at], width=1.0).max(axis=1)
    kernel = block.kernel(sample, width=1.0)
    return familiarity(nearness, nearness_in_training(kernel, groups[np.sort(drawn)]))


def alarms(found: Mapping[int, np.ndarray]) -> pd.DataFrame:
    """Share of test rows below a familiarity: false alarms where they are like the training.

    Returns
    -------
    DataFrame[false_alarms, flagged, least, most]
        Mean, least and most over splits.
    """
    rows = []
    for share in ALARMS:
        flagged = [float((of < share).mean()) for of in found.values()]
        rows.append((share, np.mean(flagged), min(flagged), max(flagged)))
    return pd.DataFrame(rows, columns=["false_alarms", "flagged", "least", "most"])


def by_familiarity(
    pool: Pool, method: CrossFitted, found: Mapping[int, np.ndarray]
) -> pd.DataFrame:
    """A method on test rows in bins of familiarity, all splits together.

    Parameters
    ----------
    found : by seed, of the test rows of the uncut splits
        As many as `Pool.splits` has test rows: pools with missing outcomes are not asked here.

    Returns
    -------
    DataFrame[familiarity, n, brier, accuracy, best_single]
        Bins without a row are left out; ``familiarity`` is where a bin begins, ``accuracy`` that of
        the largest P.
    """
    parts = []
    for seed, split in pool.splits.items():
        p = method.p[seed][split.test][:, pool.columns]
        y = pool.outcomes.correct[split.test]
        best = pool.best_single(seed)
        parts.append(
            pd.DataFrame(
                {
                    "familiarity": found[seed],
                    "brier": ((p - y) ** 2).mean(axis=1),
                    "accuracy": y[np.arange(len(y)), p.argmax(axis=1)],
                    "best_single": y[:, best],
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    table["familiarity"] = np.array(BINS)[np.searchsorted(BINS, table["familiarity"], "right") - 1]
    grouped = table.groupby("familiarity", as_index=False)
    return grouped.mean().merge(grouped.size().rename(columns={"size": "n"}))[
        ["familiarity", "n", "brier", "accuracy", "best_single"]
    ]


def unlike_tables(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    states: np.ndarray | StoredStates,
    groups: np.ndarray,
    splits: Mapping[int, Split],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`alarms` of all test rows, and :func:`by_familiarity` of ours on every pool."""
    found = familiarity_of_tests(states, groups, splits)
    bins = []
    for name, (pool, methods) in loaded.items():
        complete = {
            seed: of[np.isin(splits[seed].test, pool.splits[seed].test)]
            for seed, of in found.items()
            if seed in pool.splits
        }
        table = by_familiarity(pool, methods["ours"], complete)
        table.insert(0, "pool", name)
        bins.append(table)
    return alarms(found), pd.concat(bins, ignore_index=True) if bins else pd.DataFrame()
