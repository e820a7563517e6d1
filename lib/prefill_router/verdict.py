"""Does routing pay for this pool? The answer in plain words, from the tables of a profile alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.own.checks import FEW
from prefill_router.pages import page_templates
from prefill_router.plots import label
from prefill_router.profiles import Workspace, replacing
from prefill_router.report import rivals_in_words, saving_against

ROUTERS = ("ours", "paper")
_ENOUGH = 0.01  # a gain of accuracy, or of AUC by twice the labels, that is worth a sentence


@dataclass(frozen=True)
class Verdict:
    """What is said about one pool."""

    pool: str
    headline: str
    sentences: list[str]
    advice: list[str]
    targets: list[dict[str, str]] = field(default_factory=list)


def verdicts(tables: dict[str, pd.DataFrame]) -> list[Verdict]:
    """A verdict per pool.

    Parameters
    ----------
    tables : ``metrics``, ``paired``, ``pools`` and, where there is one, ``learning_curve``, as in
        ``results/<profile>/``
    """
    return [_verdict(pool, tables) for pool in tables["pools"]["pool"]]


def _verdict(pool: str, tables: dict[str, pd.DataFrame]) -> Verdict:
    metrics, paired = (t[t["pool"] == pool] for t in (tables["metrics"], tables["paired"]))
    router = next(r for r in ROUTERS if (metrics["method"] == r).any())
    of_pool = metrics[metrics["target"].fillna("") == ""]
    found = of_pool[of_pool["method"] == router].set_index("metric")
    of_outcomes = tables["pools"].set_index("pool").loc[pool]
    single = of_outcomes["best_single"]

    def value(metric: str) -> tuple[float, float, float] | None:
        return of(router, metric)

    def of(method: str, metric: str) -> tuple[float, float, float] | None:
        rows = of_pool[(of_pool["method"] == method) & (of_pool["metric"] == metric)].dropna(
            subset="value"
        )
        return None if rows.empty else tuple(rows.iloc[0][["value", "ci_low", "ci_high"]])

    def against(other: str, metric: str) -> tuple[float, float, float] | None:
        rows = paired[
            (paired["method_a"] == router)
            & (paired["method_b"] == other)
            & (paired["metric"] == metric)
        ]
        return (
            None
            if rows.empty or rows["diff"].isna().all()
            else tuple(rows.iloc[0][["diff", "ci_low", "ci_high"]])
        )

    accuracy, gain, n, oracle = (
        value("accuracy"),
        against("best_single", "accuracy"),
        int(found["n"].max()),
        value("oracle_accuracy"),
    )
    # the one chosen on training rows, as in the differences; best_single_accuracy is chosen in
    # hindsight
    best = of("best_single", "accuracy")
    sentences, advice = [], []
    said = f"{_points(gain)} points of accuracy"
    incomplete = of_outcomes.get("n_incomplete", 0)
    on = "the queries that every target answered" if incomplete else "all queries"
    rival = f"the best single target (on {on} {single})"
    if gain[1] > 0:
        headline = f"Routing pays in accuracy: {said} over always asking {rival}."
    elif gain[2] < 0:
        headline = f"Routing does not pay in accuracy: {said} against always asking {rival}."
    else:
        headline = (
            "Routing is neither clearly better nor clearly worse in accuracy than always asking"
            f" {rival}: {said}."
        )
    if (questions := int(of_outcomes["queries"])) < FEW:
        headline = f"Too few questions ({questions}) for more than a hint. " + headline
    sentences.append(
        f"The router ({label(router)}) is right on {_percent(accuracy)} of {n} test queries a"
        f" split, the best single target on {_percent(best)}; a choice that is always the luckiest"
        f" would be on {_percent(oracle)}."
    )
    cost = _cost(of_pool, router, single if of_outcomes.get("cheapest") == single else None)
    headline += cost.headline
    sentences += cost.sentences
    advice += cost.advice
    zero = against("zero_router", "p_auccc")
    if zero is not None:
        sentences.append(
            "Against the zero router, which mixes single targets at random and reads nothing, the"
            f" area under the cost-accuracy curve is {_signed(zero)}: "
            + (
                "the prompts tell something that prices alone do not."
                if zero[1] > 0
                else (
                    "worse than no router at all."
                    if zero[2] < 0
                    else "no clear difference, so reading the prompts has not been shown to help."
                )
            )
        )
    sentences.append(rivals_in_words(paired, pool, router))
    auc, differences = value("mean_auc"), value("disagreement_auc")
    if auc is not None:
        sentences.append(
            f"It ranks prompts that a target gets right above others with an AUC of {_three(auc)}"
            " (0.5 is chance)"
            + (
                ", and tells which of two targets is right, where only one is, with"
                f" {_three(differences)}; routing lives on the second."
                if differences is not None
                else "."
            )
        )
    labels = tables.get("learning_curve")
    labels = (
        None
        if labels is None
        else labels[(labels["pool"] == pool) & (labels["metric"] == "mean_auc")].sort_values(
            "share"
        )
    )
    if labels is not None and len(labels) >= 2:
        half, full = labels.iloc[-2], labels.iloc[-1]
        step = full["value"] - half["value"]
        clear = half["ci_high"] < full["ci_low"]
        sentences.append(
            f"From {half['training_queries']:.0f} to {full['training_queries']:.0f} labelled"
            " queries the AUC of the kernel router on one encoder went from"
            f" {_three(tuple(half[['value', 'ci_low', 'ci_high']]))} to"
            f" {_three(tuple(full[['value', 'ci_low', 'ci_high']]))}"
            + ("." if clear else "; the intervals overlap.")
        )
        advice.append(
            f"More labels {'help' if clear else 'seem to help'}: another doubling may bring about"
            f" as much again ({step:+.3f} AUC) or somewhat less."
            if step > _ENOUGH
            else f"More labels help little: the last doubling brought {step:+z.3f} AUC."
        )
    if oracle is not None and oracle[0] - best[0] < 0.03:
        advice.append(
            "There is little to gain: even a perfect choice is only"
            f" {100 * (oracle[0] - best[0]):.1f} points above the best single target. Add a target"
            f" that is right where {single} is wrong."
        )
    if gain[1] > 0 or (cost.pays and gain[2] >= 0):
        begin = (
            "ask it with tolerance 0, as there is nothing to save"
            if cost.nothing_to_save
            else "begin with a tolerance from the curve"
        )
        advice.append(
            f"Train the router on all your queries (`Router.fit`), save it, and {begin}; watch its"
            " accuracy on fresh labels."
        )
    elif gain[1] <= 0 <= gain[2] and gain[2] - gain[1] > 2 * _ENOUGH:
        advice.append(
            f"The interval is {100 * (gain[2] - gain[1]):.1f} points wide: four times as many test"
            " queries would halve it."
        )
    else:
        advice.append(f"Keep {single}, and look again with other targets or a larger encoder.")
    per_target = metrics[metrics["target"].fillna("") != ""]
    rows = []
    for target, table in per_target[per_target["method"] == router].groupby("target", sort=False):
        numbers = table.set_index("metric")["value"]
        rows.append(
            {
                "target": str(target),
                **{
                    name: f"{numbers[key]:.3f}" if pd.notna(numbers.get(key)) else "–"
                    for name, key in (("AUC", "auc"), ("Brier", "brier"))
                },
            }
        )
    return Verdict(pool, headline, sentences, advice, rows)


@dataclass(frozen=True)
class _Cost:
    """What is said about the cost; ``pays``: routing as accurate as the best single target is
    clearly cheaper.
    """

    headline: str = ""
    sentences: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    pays: bool = False
    nothing_to_save: bool = False


def _cost(of_pool: pd.DataFrame, router: str, cheapest_and_best: str | None) -> _Cost:
    """The part of a verdict that is about cost.

    Parameters
    ----------
    of_pool : DataFrame
        The pool's rows of ``metrics.csv``, without those of single targets.
    router : str
    cheapest_and_best : str, optional
        The target that is both the cheapest and the best single one, if one is.
    """
    values = of_pool.set_index(["method", "metric"])
    # what can be planned with: a tolerance chosen on calibration rows, its cost against the best
    # single target's
    calibrated = f"{router} calibrated"
    wanted = [
        (calibrated, "cost_saving_vs_max"),
        (calibrated, "accuracy"),
        ("best_single", "cost_saving_vs_max"),
        ("best_single", "accuracy"),
    ]
    if any(key not in values.index for key in wanted):
        return _Cost(
            sentences=["What it saves is not known: fewer than two targets have a cost."],
            advice=[
                "Give prices and output_tokens (or cost_usd) for every model; then the report says"
                " what routing saves."
            ],
        )
    planned, planned_accuracy, dearness, best = (values.loc[key, "value"] for key in wanted)
    if pd.isna(dearness):
        return _Cost(
            headline=(
                " All targets cost nothing, so there is nothing to save: only accuracy decides."
            ),
            nothing_to_save=True,
        )
    if (router, "p_auccc") in values.index and pd.isna(values.loc[(router, "p_auccc"), "value"]):
        return _Cost(
            headline=(
                " All targets cost the same, so there is nothing to save: only accuracy decides."
            ),
            nothing_to_save=True,
        )
    cheaper = saving_against(planned, dearness)
    costs = (
        "costs, where that one costs nothing, something"
        if pd.isna(cheaper)
        else (
            "costs the same"
            if abs(cheaper) < 0.005
            else f"costs {abs(cheaper):.0%} {'less' if cheaper > 0 else 'more'}"
        )
    )
    point = (
        f" With a tolerance chosen beforehand it {costs} and is right on"
        f" {100 * planned_accuracy:.1f} % against {100 * best:.1f} %."
    )
    if cheapest_and_best is not None:
        return _Cost(
            headline=(
                f" {cheapest_and_best} is also the cheapest target, so there is nothing to save:"
                f" routing can only win accuracy, and pay for it.{point}"
            ),
            nothing_to_save=True,
        )
    hindsight = (
        values.loc[(router, "cost_saving_at_best_single")]
        if (router, "cost_saving_at_best_single") in values.index
        else None
    )
    if hindsight is None or pd.isna(hindsight["value"]):
        told = (
            "No point of its curve on the test queries reaches the accuracy of the best single"
            " target."
        )
    else:
        splits = int(of_pool.loc[of_pool["method"] == router, "seeds"].max())
        reached = (
            f"on {hindsight['seeds']:.0f} of {splits} splits, the others never reach it"
            if hindsight["seeds"] < splits
            else "on every split"
        )
        told = (
            "The cheapest point of its curve as accurate as the best single target, chosen in"
            f" hindsight ({reached}), saves"
            f" {_percent(tuple(hindsight[['value', 'ci_low', 'ci_high']]))} of its cost: what a"
            " perfect choice of the tolerance would save."
        )
    return _Cost(
        headline=point,
        sentences=[told],
        pays=bool(cheaper > 0.05 and planned_accuracy >= best - _ENOUGH / 2),
    )


def write_report(workspace: Workspace) -> Path:
    """Write ``report.md`` and ``report.html`` (one file, opens without network) into the results;
    the path of the latter.
    """
    tables = {name: workspace.read_table(name) for name in ("metrics", "paired", "pools")}
    if (workspace.results / "learning_curve.csv").is_file():
        tables["learning_curve"] = workspace.read_table("learning_curve")
    found = verdicts(tables)
    note_file = workspace.outcomes_folder / "notes.json"
    content: dict[str, Any] = {
        "name": workspace.profile.label,
        "encoder": workspace.profile.encoder,
        "seeds": len(workspace.profile.seeds),
        "verdicts": found,
        "notes": pd.read_json(note_file, typ="series").tolist() if note_file.is_file() else [],
    }
    lines = list(_markdown(content))
    with replacing(workspace.results / "report.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures = {
        v.pool: [
            (
                title,
                base64.b64encode(
                    (workspace.figures / f"{name}_{v.pool}.png").read_bytes()
                ).decode(),
            )
            for name, title in (
                (
                    "06_curves",
                    "Cost against accuracy of the router, of single targets and of the oracle",
                ),
                ("06_methods", "All methods with 95 % intervals"),
            )
            if (workspace.figures / f"{name}_{v.pool}.png").is_file()
        ]
        for v in found
    }
    page = page_templates().get_template("report.html.j2")
    path = workspace.results / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(
            page.render(**content, figures=figures, method=_METHOD), encoding="utf-8"
        )
    return path


def _markdown(content: dict[str, Any]) -> Iterator[str]:
    yield f"# Does routing pay for {content['name']}?"
    for v in content["verdicts"]:
        yield from ("", f"## Pool {v.pool}", "", f"**{v.headline}**", "")
        yield from (f"- {s}" for s in v.sentences)
        if v.targets:
            yield from ("", "| target | AUC | Brier |", "|---|---|---|")
            yield from (
                f"| {t['target'].replace('|', chr(92) + '|')} | {t['AUC']} | {t['Brier']} |"
                for t in v.targets
            )
        yield from ("", "What to do next:", "")
        yield from (f"- {a}" for a in v.advice)
    if content["notes"]:
        yield from ("", "## What was assumed about the table", "")
        yield from (f"- {n}" for n in content["notes"])
    yield from ("", "## How this was found", "", _METHOD.format(**content))


_METHOD = (
    "Averages over {seeds} random splits that keep near-duplicates together; the encoder is"
    " {encoder}. Intervals are 95 % (bootstrap over groups of queries); the best single target is"
    " chosen on training rows. All numbers are in metrics.csv and paired.csv beside this file."
)


def _points(v: tuple[float, float, float]) -> str:
    # z: what rounds to 0 has no minus before it
    return f"{100 * v[0]:+z.1f} [{100 * v[1]:+z.1f}, {100 * v[2]:+z.1f}]"


def _percent(v: tuple[float, float, float]) -> str:
    return f"{100 * v[0]:z.1f} % [{100 * v[1]:z.1f}, {100 * v[2]:z.1f}]"


def _signed(v: tuple[float, float, float]) -> str:
    return f"{v[0]:+z.3f} [{v[1]:+z.3f}, {v[2]:+z.3f}]"


def _three(v: tuple[float, float, float]) -> str:
    return f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]"
