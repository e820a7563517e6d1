"""One sentence for each figure or table of a pool, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from prefill_router.evaluate.keys import with_keys
from prefill_router.report.rivals import method_value
from prefill_router.report.shown import compared
from prefill_router.report.styles import label


def methods(metrics: pd.DataFrame, pool: str, method: str) -> str:
    """Which method has the highest mean AUC of a pool, and where ``method`` stands."""
    rows = compared(metrics, pool)
    rows = rows[rows["metric"] == "mean_auc"].sort_values("value", ascending=False)
    if rows.empty:
        return f"Pool **{pool}**: no method has a mean AUC."
    best = rows["method"].iloc[0]
    text = (
        f"Pool **{pool}**: {label(best)} has the highest mean AUC of {len(rows)} methods,"
        f" {method_value(metrics, pool, best, 'mean_auc')}"
    )
    closed = method_value(metrics, pool, method, "gap_closed")
    if method == best:
        return f"{text}; it closes {closed} of the gap to the oracle."
    return (
        f"{text}; {label(method)} has {method_value(metrics, pool, method, 'mean_auc')} and closes"
        f" {closed} of the gap to the oracle."
    )


def calibration(metrics: pd.DataFrame, pool: str, names: Sequence[str]) -> str:
    """The calibration error of every method of a reliability diagram."""
    errors = [f"{label(m)} {method_value(metrics, pool, m, 'ece')}" for m in names]
    return f"Pool **{pool}**: expected calibration error, mean over targets: {'; '.join(errors)}."


def curves(metrics: pd.DataFrame, pool: str, method: str) -> str:
    """What a method saves where it is as accurate as the best single target."""
    saved = method_value(metrics, pool, method, "cost_saving_at_best_single")
    if saved == "–":
        return f"Pool **{pool}**: no tolerance of {label(method)} reaches the best single target."
    return (
        f"Pool **{pool}**: where {label(method)} is as accurate as the best single target, it saves"
        f" {saved} of that target's cost."
    )


def disagreement(pairs: pd.DataFrame, pool: str) -> str:
    """The pairs of targets that the first method of a table tells apart worst and best.

    Parameters
    ----------
    pairs : DataFrame
        As ``results/<profile>/disagreement.csv``.
    """
    rows = pairs[pairs["pool"] == pool]
    # of a pair without a number only one target is ever right where the two differ
    rows = rows[rows["method"] == rows["method"].iloc[0]].dropna(subset="auc")
    if rows.empty:
        return (
            f"Pool **{pool}**: no two targets of which now the one, now the other alone is right on"
            " test rows."
        )
    low, high = (
        f"{row['target_a']} and {row['target_b']} ({row['auc']:.2f}, n = {row['n']:.0f})"
        for row in (rows.loc[rows["auc"].idxmin()], rows.loc[rows["auc"].idxmax()])
    )
    return f"Pool **{pool}**: hardest to tell apart are {low}, easiest {high}."


def within(inside: pd.DataFrame, pool: str) -> str:
    """In how many benchmarks the first method of a table has an AUC clearly above one half.

    Parameters
    ----------
    inside : DataFrame
        As ``results/<profile>/within_benchmarks.csv``.
    """
    rows = inside[inside["pool"] == pool]
    method = rows["method"].iloc[0]
    rows = rows[rows["method"] == method].dropna(subset="value")
    clear = int((rows["ci_low"] > 0.5).sum())
    text = (
        f"Pool **{pool}**: {label(method)} has an AUC clearly above 0.5 inside {clear} of"
        f" {len(rows)} benchmarks"
    )
    if rows.empty:
        return f"{text}."
    best = rows.loc[rows["value"].idxmax()]
    return f"{text}, the highest in {best['benchmark']} ({best['value']:.2f}, n = {best['n']})."


def encoders_read(encoder: str, of_ours: pd.DataFrame | None) -> str:
    """Which encoder methods read, and which ours chose where it had several.

    Parameters
    ----------
    encoder : the first of the profile
    of_ours : ``ours_encoders.csv``; None where there is none
    """
    if of_ours is None:
        return encoder
    of_ours = of_ours[of_ours["method"] == "ours"]
    single = sorted({name for names in of_ours["encoders"] for name in names.split(" + ")})
    if len(single) < 2:
        return encoder
    splits = of_ours["seed"].nunique()
    used = of_ours[of_ours["used"]].groupby("encoders").size()
    chosen = " and ".join(f"{name} on {n} of {splits} splits" for name, n in used.items())
    return f"{encoder}; ours chose among {', '.join(single)} by cross-validation, {chosen}"


def worse(paired: pd.DataFrame) -> str:
    """Which routers are clearly less accurate than the best single target.

    Parameters
    ----------
    paired : DataFrame
        As ``results/<profile>/paired.csv``.
    """
    rows = with_keys(paired)
    rows = rows[(rows["method_b"] == "best_single") & (rows["metric"] == "accuracy")]
    worse = rows[rows["ci_high"] < 0].groupby("pool", sort=False)
    told = [f"{pool}: {', '.join(label(m) for m in found['method_a'])}" for pool, found in worse]
    tried = rows.groupby("pool").size()
    each = f"{tried.min()}" if tried.nunique() <= 1 else f"{tried.min()} to {tried.max()}"
    return (
        f"Of {each} routers, these are clearly less accurate than the best single target:"
        f" {'; '.join(told)}."
        if told
        else f"None of {each} routers is clearly less accurate than the best single target."
    )


def learning(curve: pd.DataFrame, pool: str) -> str:
    """What the last doubling of the training queries brought (`headroom.learning_curve`)."""
    now, half = (_auc(curve[curve["share"] == share], pool) for share in (1.0, 0.5))
    return (
        f"Pool **{pool}**: doubling the training queries from half to all of them moved the mean"
        f" AUC by {now['mean_auc'] - half['mean_auc']:+z.3f} and the AUC of differences by"
        f" {now['disagreement_auc'] - half['disagreement_auc']:+z.3f}."
    )


def luck(curve: pd.DataFrame, informed: pd.DataFrame, headroom: pd.DataFrame, pool: str) -> str:
    """What the informed reader knows, and what even it leaves to luck (`headroom.informed_reader`);
    "" where a pool has none.
    """
    rows = headroom[headroom["pool"] == pool]
    if rows.empty:
        return ""
    row, reader = rows.iloc[0], _auc(informed, pool)
    prefill = _auc(curve[curve["share"] == 1.0], pool)
    knows = (
        f"Pool **{pool}**: the informed reader has a mean AUC of {reader['mean_auc']:.3f} (the"
        f" prefill {prefill['mean_auc']:.3f}) and {reader['disagreement_auc']:.3f} on differences"
        f" (the prefill {prefill['disagreement_auc']:.3f})"
    )
    if pool not in informed_pools(curve, informed):
        return f"{knows}. It does not beat the prefill in both, so nothing follows here about luck."
    return (
        f"{knows}; it closes"
        f" {row['informed_gap_closed']:z.0%} of the gap to the oracle. With independent draws at"
        " its P one target of the pool would be right on"
        f" {row['oracle_if_independent']:.1%} of the queries, but the one with the largest P on"
        f" {row['expected_of_best_p']:.1%}: the"
        f" {100 * (row['oracle_if_independent'] - row['expected_of_best_p']):.1f} points between"
        " them are luck, or what the reader does not know."
    )


def informed_pools(curve: pd.DataFrame, informed: pd.DataFrame) -> list[str]:
    """Pools whose informed reader knows more than the prefill, of single targets and of what sets
    them apart: both its AUCs are higher. Another one tells nothing of luck, since what it cannot
    predict a router can.
    """
    full = curve[curve["share"] == 1.0]
    both = ["mean_auc", "disagreement_auc"]
    return [
        pool
        for pool in informed["pool"].unique()
        if (_auc(informed, pool)[both] > _auc(full, pool)[both]).all()
    ]


def measured_luck(table: pd.DataFrame, pool: str) -> str:
    """Three sentences on what several answers tell of luck (`luck.measured_luck`); "" where a pool
    has none.
    """
    rows = table[table["pool"] == pool]
    if rows.empty:
        return ""
    of = rows[rows["target"].fillna("") == ""].set_index("metric")
    share = {name: f"{of['value'][name]:z.0%}" for name in of.index}
    ends = {
        name: f"{share[name]} [{of['ci_low'][name]:z.0%}, {of['ci_high'][name]:z.0%}]"
        for name in of.index
    }
    single = rows.loc[(rows["metric"] == "between") & (rows["target"].fillna("") != ""), "value"]
    return (
        f"Pool **{pool}**: of the {100 * (of['value']['oracle'] - of['value']['best_single']):.1f}"
        " points between the best single target and an oracle that sees one answer of each, at"
        f" least {ends['luck_least']} and at most {ends['luck_most']} are luck, which no knowledge"
        " of the chances can win."
        f" The router closes {ends['router_closes']} of that gap, and {ends['knows_closes']} where"
        " it is told the other answers of every target to the question."
        f" Of the variance of one answer {single.min():.0%} to {single.max():.0%}, depending on"
        " the target, lies between questions; of the difference between two targets it is"
        f" {ends['between']}, and the rest changes from one answer to the next."
    )


def _auc(table: pd.DataFrame, pool: str) -> pd.Series:
    return table[table["pool"] == pool].set_index("metric")["value"]


def hidden_reasoning(factors: Mapping[str, float]) -> str:
    """What costs do not hold where some targets' reasoning is in no count; "" where all are."""
    if not factors:
        return ""
    return (
        f"Costs count visible answers alone. The hidden reasoning of {', '.join(factors)} is billed"
        " as output and is in no published count, so that these targets look cheaper than they are."
        " `metrics_hidden_reasoning.csv` has the metrics of cost with their answers taken to be"
        f" {max(factors.values()):g} times as long, a stated factor and no measurement."
    )
