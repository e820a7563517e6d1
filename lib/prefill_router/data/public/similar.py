"""Groups of texts that share many runs of words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations

_RUN = 5  # words
_COMMON = 50  # a run in more texts than that is a phrase of the genre and says nothing


def similar_groups(names: Iterable[str], texts: Iterable[str], least: float) -> list[str]:
    """A group for every text; texts that are alike, or linked by texts that are, share it.

    Parameters
    ----------
    names : names of the texts; a group is called after its first text.
    texts : as many texts.
    least : from which share of runs of five words on, out of those in either (Jaccard), two texts
        are alike.
    """
    names = list(names)
    runs = [_runs(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, of in enumerate(runs):
        for run in of:
            holders[run].append(i)
    shared: Counter[tuple[int, int]] = Counter()
    for found in holders.values():
        if len(found) <= _COMMON:
            shared.update(combinations(found, 2))
    group = list(range(len(names)))
    for (i, j), count in sorted(shared.items()):
        if count >= least * len(runs[i] | runs[j]):
            first, other = sorted((group[i], group[j]))
            group = [first if g == other else g for g in group]
    return [names[g] for g in group]


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + _RUN]) for i in range(max(1, len(words) - _RUN + 1))}
