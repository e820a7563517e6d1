"""The sentences of the article, each with its numbers from the tables of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prefill_router.report import pool_sentences
from prefill_router.report.cells import verdict
from prefill_router.report.site.titles import pool_title, profile_title
from prefill_router.report.words import percent, points, signed

PANELS = {
    "auc": "mean AUC minus the best text router's",
    "own_saving": "planned saving",
    "saving": "saving minus the best text router's, points",
    "gain": "accuracy of the plan minus the best single target's, points",
}
BETTER, UNCLEAR, WORSE = "better", "no clear difference", "worse"
VALUES = ["value", "ci_low", "ci_high"]


def judged(rows: pd.DataFrame, panel: str) -> pd.DataFrame:
    """The pools of one panel of `pool_differences`, each with what its interval says.

    Returns
    -------
    DataFrame[profile, pool, panel, value, ci_low, ci_high, name, said]
    """
    of = rows[rows["panel"] == panel].dropna(subset="value").reset_index(drop=True)
    said = [verdict(low, high) for low, high in zip(of["ci_low"], of["ci_high"], strict=True)]
    names = [
        f"{profile_title(profile)} ({pool_title(pool)})"
        for profile, pool in zip(of["profile"], of["pool"], strict=True)
    ]
    return of.assign(name=names, said=said)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def claim(rows: pd.DataFrame) -> str:
    """What the article claims, in two sentences."""
    auc, own, more = (judged(rows, panel) for panel in ("auc", "own_saving", "saving"))
    clear = own[own["said"] == BETTER]
    text = (
        "Reading the prefill predicts which target will be right better than the best router that"
        f" reads the text alone in **{_count(auc, BETTER)} of {len(auc)}** pools"
    )
    text += f", and worse in {_count(auc, WORSE)}." if _count(auc, WORSE) else "."
    if own.empty:
        return text
    if clear.empty:
        return f"{text} By a plan chosen beforehand it saves money in none of {len(own)}."
    most = tuple(clear.loc[clear["value"].idxmax(), VALUES])
    return (
        f"{text} By a plan chosen beforehand, meant to lose no accuracy against the best single"
        f" target, it saves money in **{len(clear)} of {len(own)}**, up to {percent(most)} of the"
        f" cost; that is more than the best text router's plan saves in"
        f" **{_count(more, BETTER)} of {len(more)}**, and less in"
        f" {_count(more, WORSE) or 'none'}."
    )


def _count(table: pd.DataFrame, said: str) -> int:
    return int((table["said"] == said).sum())


def text_does_as_well(rows: pd.DataFrame) -> list[str]:
    """Where a router that reads the text alone is as good or better."""
    more, own, auc = (judged(rows, panel) for panel in ("saving", "own_saving", "auc"))
    sentences = []
    for r in more[more["said"] == WORSE].itertuples():
        lead = points((-r.value, -r.ci_high, -r.ci_low))
        sentences.append(f"**{r.name}**: text saves more, by {lead} points of the cost.")
    saves_nothing = set(own.loc[own["value"] == 0, "name"])
    idle = more[(more["value"] == 0) & more["name"].isin(saves_nothing)]
    level = more[(more["said"] == UNCLEAR) & ~more["name"].isin(idle["name"])]
    for r in level.itertuples():
        lead = points((r.value, r.ci_low, r.ci_high))
        sentences.append(
            f"**{r.name}**: text saves as much; the difference is {lead} points of the cost."
        )
    if len(idle):
        sentences.append(
            "Neither reader has a plan that saves anything, so both ask the best single target:"
            f" {listed(list(idle['name']))}."
        )
    if len(level_auc := auc[auc["said"] != BETTER]):
        sentences.append(
            "The prefill's mean AUC is not clearly above the best text router's:"
            f" {listed(list(level_auc['name']))}."
        )
    return sentences


def signal(rows: pd.DataFrame) -> str:
    """Whether the prefill carries signal that the text lacks."""
    auc = judged(rows, "auc")
    clear = auc[auc["said"] == BETTER].sort_values("value")
    if clear.empty:
        return f"In none of {len(auc)} pools is the mean AUC clearly above the best text router's."
    low, high = clear.iloc[0], clear.iloc[-1]
    return (
        f"In {len(clear)} of {len(auc)} pools the mean AUC is clearly above that of the best text"
        f" router: by {signed(tuple(low[VALUES]))} on {low['name']}, the least, to"
        f" {signed(tuple(high[VALUES]))} on {high['name']}, the most."
    )


def decides(rows: pd.DataFrame) -> list[str]:
    """Whether routing by a plan saves money, keeps its accuracy, and saves more than text."""
    own, more, gain = (judged(rows, panel) for panel in ("own_saving", "saving", "gain"))
    sentences = [
        f"The plan saves money in {_count(own, BETTER)} of {len(own)} pools."
        if len(own)
        else "No pool has prices."
    ]
    if len(lost := gain[gain["said"] == WORSE]):
        sentences.append(
            f"Its accuracy is clearly below the best single target's in {len(lost)} of"
            f" {len(gain)}: {_by_how_much(lost)} points."
        )
    else:
        sentences.append(
            f"Its accuracy is clearly below the best single target's in none of {len(gain)}."
        )
    if len(won := more[more["said"] == BETTER]):
        sentences.append(
            f"It saves clearly more than the best text router's plan in {len(won)} of {len(more)}:"
            f" {_by_how_much(won)} points of the best single target's cost."
        )
    return sentences


def _by_how_much(rows: pd.DataFrame) -> str:
    """Every pool with its value, in points."""
    return listed([f"{row['name']} by {points(tuple(row[VALUES]))}" for _, row in rows.iterrows()])


def luck_sentences(folder: Path) -> list[str]:
    """What of the gap to the oracle is luck, pool by pool: measured where targets answered several
    times, else by the informed reader; none without either.
    """

    def table(name: str) -> pd.DataFrame | None:
        path = folder / f"{name}.csv"
        return pd.read_csv(path) if path.is_file() else None

    measured, pools = table("luck"), table("pools")
    if pools is None:
        return []
    said: list[str] = []
    if measured is not None:
        said = [pool_sentences.measured_luck(measured, pool) for pool in pools["pool"]]
    else:
        of = [table(name) for name in ("learning_curve", "informed_reader", "headroom")]
        curve, informed, headroom = of
        if curve is not None and informed is not None and headroom is not None:
            said = [pool_sentences.luck(curve, informed, headroom, p) for p in pools["pool"]]
    return [sentence for sentence in said if sentence]
