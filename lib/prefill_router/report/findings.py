"""What came out, in sentences that follow the numbers: their words turn where the numbers turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prefill_router.report.forest import pool_differences
from prefill_router.report.plan_evidence import Evidence
from prefill_router.report.published import config, holds_families_out, profiles

MOST = 0.5  # from which share of the pools on a thing holds "in most"


def findings(root: Path) -> str:
    """Markdown bullets from the tables of all profiles that have plans; "" where none has."""
    names = profiles(root)
    rows = pool_differences(root / "results", names)
    if rows.empty:
        return ""
    unseen = [name for name in names if holds_families_out(root, name)]
    held_out = rows["profile"].isin(unseen)
    known = rows[~held_out]
    alarms = [
        pd.read_csv(path)
        for name in unseen
        if (path := root / "results" / name / "unlike_alarms.csv").is_file()
    ]
    luck = {
        name: pd.read_csv(path)
        for name in names
        if (path := root / "results" / name / "luck.csv").is_file()
    }
    seen = [name for name in names if name not in unseen]
    parts = [
        text_is_the_rival(known),
        plans_save(
            known,
            Evidence.of(root / "results", seen),
            [name for name in seen if costs_computation(root, name)],
        ),
        prefill_against_text(known),
        unseen_kinds(rows[held_out], alarms[0] if alarms else None),
        luck_in_the_gap(luck),
    ]
    bullets = "\n".join(f"- {part}" for part in parts if part)
    return f"{bullets}\n\n{counts(rows, held_out)} {collections(root, names)}"


def collections(root: Path, names: Sequence[str]) -> str:
    """From how many collections of questions the profiles come."""
    of = {config(root, name)["outcomes"] for name in names}
    return (
        f"They come from {len(of)} collections of questions; pools of one collection share"
        " questions, and often targets."
    )


def costs_computation(root: Path, profile: str) -> bool:
    """Whether the cost of a profile is computation, in TFLOP, and no money."""
    path = root / config(root, profile)["outcomes"] / "targets.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["cost_unit"] == "TFLOP"


def counts(rows: pd.DataFrame, held_out: pd.Series) -> str:
    """How many pools the forest shows, and which of them a finding counts."""
    auc = (rows["panel"] == "auc").to_numpy()
    priced = (rows["panel"] == "own_saving").to_numpy()
    unseen = held_out.to_numpy()
    text = (
        f"The figure above and the table below show {auc.sum()} pools: {(auc & ~unseen).sum()} on"
        " kinds of questions that were seen in training,"
        f" {(priced & ~unseen).sum()} of them with plans"
    )
    if unseen.any():
        text += f", and {(auc & unseen).sum()} whose kinds were held out"
    return text + "."


def panel(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one panel of the forest, with the columns above, below and level (booleans)."""
    of = rows[rows["panel"] == name].dropna(subset="value")
    above, below = of["ci_low"] > 0, of["ci_high"] < 0
    return of.assign(above=above, below=below, level=~above & ~below)


def counted(number: int, all_of: int) -> str:
    """``all 8``, ``none of 8``, ``3 of 8``: how many pools."""
    if number == all_of:
        return f"all {all_of}"
    return f"{number or 'none'} of {all_of}"


def extent(values: Sequence[float], form: str, unit: str = "") -> str:
    """``0.02 to 0.04``, or the one number where both ends are written alike."""
    low, high = form.format(min(values)), form.format(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def text_is_the_rival(rows: pd.DataFrame) -> str:
    """Where text saves as much or more, before anything else is claimed."""
    saving = panel(rows, "saving")
    n, more, less = len(saving), int(saving["above"].sum()), int(saving["below"].sum())
    # neither has a plan cheaper than the best single target
    neither = int((saving[["value", "ci_low", "ci_high"]] == 0).all(axis=1).sum())
    right = panel(rows, "gain_over_text")
    lost, saves = right[right["below"]], saving[saving["above"]]
    gained = int(right["above"].sum())
    if more <= n - more:
        head = "*In money saved, routers that read the text alone do as well in most pools.*"
    elif more < n:
        head = "*Routers that read the text alone are the rival to beat.*"
    else:
        head = "*Reading the prefill saves more than reading the text, in every pool.*"
    parts = [
        f"{head} Of {n} pools with plans, whose kinds of questions were seen in training, ours"
        f" saves clearly more of the cost than the best text router in {more or 'none'}, clearly"
        f" less in {less or 'none'}, and about as much in {n - more - less - neither or 'none'}"
    ]
    parts.append(f"; in {neither} neither saves anything." if neither else ".")
    if len(lost):
        parts.append(
            f" Its plan is clearly less accurate than that router's in {len(lost)}:"
            f" {_names(lost)}; clearly more in {gained or 'none'}."
        )
    dearly = saves.merge(lost[["profile", "pool"]], on=["profile", "pool"])
    if len(dearly):
        parts.append(f" In {_names(dearly)} it saves more and is less accurate.")
    return "".join(parts)


def _names(rows: pd.DataFrame) -> str:
    """``one (a, b), other (c)``: the pools of every profile."""
    pools = rows.groupby("profile", sort=False)["pool"].agg(", ".join)
    return ", ".join(f"{profile} ({names})" for profile, names in pools.items())


def plans_save(rows: pd.DataFrame, evidence: Evidence, computation: Sequence[str] = ()) -> str:
    """What plans without a loss save, and whether accuracy is lost by them; ``computation``: the
    profiles whose cost is no money.
    """
    own, gain = panel(rows, "own_saving"), panel(rows, "gain")
    n, saves = len(own), own[own["above"]]
    if saves.empty:
        return (
            "*No plan saves money.* In no pool is a cheaper rule surely as accurate as always"
            " asking the best single target."
        )
    lost = int(gain["below"].sum())
    some = "" if len(saves) > MOST * n else "In some pools "
    head = f"{some}routing saves money" + ("" if lost else " and need not lose accuracy")
    parts = [f"*{head[0].upper()}{head[1:]}.* A plan chosen beforehand to lose none saves"]
    no_money = saves["profile"].isin(computation)
    if not no_money.all():
        priced = int((~own["profile"].isin(computation)).sum())
        parts.append(
            f" {extent(100 * saves['value'][~no_money], '{:.0f}', ' %')} of the best single"
            f" target's cost in {counted(int((~no_money).sum()), priced)} pools"
        )
    if no_money.any():
        parts.append("" if no_money.all() else ", and")
        parts.append(
            f" {extent(100 * saves['value'][no_money], '{:.0f}', ' %')} of its computation in"
            f" {_names(saves[no_money])}"
        )
    if len(saves) < n:
        parts.append("; in the others it asks that target")
    parts.append(
        f". It is clearly less accurate than that target in"
        f" {f'{lost} of {n} pools' if lost else 'no pool'}."
    )
    partly = [
        f"{row.profile} ({row.pool}) on {found} of {splits}"
        for row in saves.itertuples()
        for found, splits in [evidence.splits.get((row.profile, row.pool), (1, 1))]
        if found < splits
    ]
    if partly:
        parts.append(f" Such a plan was not found on every split: {', '.join(partly)}.")
    return "".join([*parts, evidence.sentence])


def prefill_against_text(rows: pd.DataFrame) -> str:
    """Mean AUC of ours against the best text router."""
    auc = panel(rows, "auc")
    n, better, worse = len(auc), int(auc["above"].sum()), int(auc["below"].sum())
    if not better:
        return (
            "*The prefill predicts correctness no better than the text*: the mean AUC of ours is"
            f" clearly above that of the best text router in none of {n} pools, clearly below in"
            f" {worse or 'none'}."
        )
    head = "In ranking, the prefill predicts correctness better than the text" + (
        "" if better == n else " in most pools" if better > MOST * n else " in some pools"
    )
    clear = auc[auc["above"]]["value"]
    return (
        f"*{head}*: the mean AUC of ours is clearly above that of the best text router in"
        f" {counted(better, n)} pools, by {extent(clear, '{:.3f}')}, and clearly below in"
        f" {worse or 'none'}."
    )


def unseen_kinds(held_out: pd.DataFrame, alarms: pd.DataFrame | None) -> str:
    """What is left where whole families of questions are held out; "" where none are."""
    if held_out.empty:
        return ""
    own, auc = panel(held_out, "own_saving"), panel(held_out, "auc")
    n, saves, better = len(own), int(own["above"].sum()), int(auc["above"].sum())
    if saves:
        head = f"*On kinds of questions never seen in training it still saves in {saves} of {n}.*"
    else:
        head = "*On kinds of questions never seen in training routing buys nothing.*"
    text = (
        f"{head} With whole families held out ours is clearly above the best text router in"
        f" {counted(better, n)} pools (mean AUC)"
    )
    text += "." if saves else ", and every plan is to ask the best single target."
    if alarms is None:
        return text
    flagged = alarms.set_index("false_alarms")["flagged"]
    share = float(flagged.index.min())
    notices = "But the router notices" if flagged[share] > MOST else "Nor does the router notice"
    return (
        f"{text} {notices}: set to take {100 * share:g} % of known prompts for unknown, it"
        f" recognises {100 * flagged[share]:.0f} % of the unknown ones."
    )


def luck_in_the_gap(luck: dict[str, pd.DataFrame]) -> str:
    """How much of the gap to the oracle is luck, where targets answered several times."""
    of = [
        table[table["target"].fillna("") == ""].pivot(
            index="pool", columns="metric", values="value"
        )
        for table in luck.values()
    ]
    if not of:
        return ""
    table = pd.concat(of)
    least, most = table["luck_least"], table["luck_most"]
    head = "Most" if least.min() > MOST else "A part"
    return (
        f"*{head} of the gap to the oracle is luck*: where targets answered every question three"
        f" times ({', '.join(luck)}), at least {extent(100 * least, '{:.0f}', ' %')} and at most"
        f" {extent(100 * most, '{:.0f}', ' %')} of it, by pool."
    )
