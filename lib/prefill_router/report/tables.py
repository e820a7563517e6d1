"""The tables of README and summary."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prefill_router.evaluate.keys import CALIBRATED, with_keys
from prefill_router.report.cells import HEADLINE, difference_cell, interval_cell
from prefill_router.report.rivals import (
    SEMANTIC,
    best_text,
    method_value,
    of_pools,
    of_pools_and_encoders,
    rivals_in_words,
    saving_against,
    semantic_ranking,
)
from prefill_router.report.styles import label

SUMMARY_ONLY = ("brier", "ece")


FIRST = ("ours", "paper", "paper_auc", "shared_block", "adapter_trunk")


LAST = (
    "tfidf",
    "benchmark_mean",
    "prompt_length",
    "shuffled_labels",
    "random_features",
    "random",
    "best_single",
    "zero_router",
    "oracle",
)


# what README.md shows of a profile; results/<profile>/summary.md shows all
SHORT = (
    *FIRST,
    SEMANTIC,
    "tfidf",
    "benchmark_mean",
    "prompt_length",
    "random",
    "best_single",
    "zero_router",
    "oracle",
)


PAPERS_OWN = {
    "frontier": "mean AUC 0.856, P-AUCCC 0.4377, oracle 89.3 %",
    "small": "mean AUC 0.826, P-AUCCC 0.5472, oracle 92 %",
    "mixed": "mean AUC 0.8817, P-AUCCC 0.2323, oracle not reported",
}


BAR_NOTE = (
    "The best router on text is the one with the highest mean AUC on these very test rows, so the"
    " choice favours it. Differences are paired on the same bootstrap resamples, with 95 %"
    " intervals; the best single target is the one chosen on training rows. The tolerance of the"
    " last column was chosen on calibration rows. It promises nothing; plans do."
)


def headline_table(metrics: pd.DataFrame, methods: Sequence[str] | None = None) -> str:
    """Markdown table of the pool metrics of every method, with 95 % intervals.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``; rows with a target and other operating points are left
        out.
    methods : which methods to show, and in which order; ``SEMANTIC`` stands for three of them.
        All by default, and then with Brier score and ECE.
    """
    columns = {
        metric: names
        for metric, names in HEADLINE.items()
        if methods is None or metric not in SUMMARY_ONLY
    }
    blocks = []
    for pool, rows in of_pools_and_encoders(metrics).groupby("pool", sort=False):
        indexed = {(r["method"], r["metric"]): r for _, r in rows.iterrows()}
        known = list(rows["method"].unique())
        semantic = semantic_ranking(metrics, pool)
        if methods is None:
            others = sorted(set(known) - {*FIRST, *semantic, *LAST}, key=str)
            wanted = [*FIRST, *semantic, *others, *LAST]
        else:
            wanted = [m for name in methods for m in (semantic[:3] if name == SEMANTIC else [name])]
        order = [m for m in dict.fromkeys(wanted) if m in known]
        # the same for all methods of a pool
        best, oracle = (
            next((indexed[m, metric] for m in ("paper", *known) if (m, metric) in indexed), None)
            for metric in ("best_single_accuracy", "oracle_accuracy")
        )
        block = (
            f"Pool `{pool}`: best single target {interval_cell(best, '{:z.1%}')}, oracle"
            f" {interval_cell(oracle, '{:z.1%}')}; n = {rows['n'].iloc[0]} test queries in each of"
            f" {rows['seeds'].max()} splits, 95 % intervals by bootstrap over groups.\n\n"
            + "| method | "
            + " | ".join(name for name, _ in columns.values())
            + " |\n|---|"
            + "---|" * len(columns)
            + "\n"
            + "\n".join(
                f"| {label(m)} | "
                + " | ".join(
                    interval_cell(indexed.get((m, metric)), form)
                    for metric, (_, form) in columns.items()
                )
                + " |"
                for m in order
            )
        )
        if pool in PAPERS_OWN:
            block += (
                f"\n\nFor comparison only: the paper's own `{pool}` pool (other data, other"
                f" targets) has {PAPERS_OWN[pool]}."
            )
        blocks.append(block)
    return "\n\n".join(blocks)


def _main_method(metrics: pd.DataFrame, pool: str) -> str:
    return "ours" if ((metrics["pool"] == pool) & (metrics["method"] == "ours")).any() else "paper"


def _planned(metrics: pd.DataFrame, pool: str, method: str) -> str:
    """Cost and accuracy of the point chosen on calibration rows, beside those of the best single
    target.
    """
    rows = of_pools(metrics, CALIBRATED)
    value = (
        rows[rows["pool"] == pool]
        .dropna(subset=["value"])
        .drop_duplicates(["method", "metric"])
        .set_index(["method", "metric"])["value"]
    )
    wanted = [
        (m, metric)
        for m in (method, "best_single")
        for metric in ("cost_saving_vs_max", "accuracy")
    ]
    if any(key not in value.index for key in wanted) or value[wanted[2]] == 1:
        return "–"
    saved, accuracy, dearness, best = (value[key] for key in wanted)
    cheaper = saving_against(saved, dearness)
    return (
        f"{abs(cheaper):.0%} {'less' if cheaper > -0.005 else 'more'} cost, {accuracy:.1%} right"
        f" against {best:.1%}"
    )


def bar_table(metrics: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Markdown table, a row per pool: does ours (else the paper's network) beat the best router on
    text and the best single target?

    ``BAR_NOTE`` says how to read it.

    Parameters
    ----------
    metrics, paired : DataFrame
        As ``results/<profile>/metrics.csv`` and ``paired.csv``.
    """
    lines = [
        (
            "| pool | router | its mean AUC | best router on text | its mean AUC | mean AUC,"
            " difference | accuracy minus best single | with a tolerance chosen beforehand, against"
            " best single |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for pool in metrics["pool"].unique():
        router, other = _main_method(metrics, pool), best_text(metrics, pool)
        cells = [
            f"`{pool}`",
            label(router),
            method_value(metrics, pool, router, "mean_auc"),
            label(other) if other else "–",
            method_value(metrics, pool, other, "mean_auc"),
            difference_cell(paired, pool, router, other, "mean_auc"),
            difference_cell(paired, pool, router, "best_single", "accuracy", "{:+z.1%}"),
            _planned(metrics, pool, router),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bar_sentences(metrics: pd.DataFrame, paired: pd.DataFrame) -> str:
    """One Markdown line per pool: what ``bar_table`` says, and how much of the gap to the oracle is
    closed.
    """
    lines = []
    for pool in metrics["pool"].unique():
        router, other = _main_method(metrics, pool), best_text(metrics, pool)
        against = (
            f"mean AUC minus that of the best router on text, {label(other)}:"
            f" {difference_cell(paired, pool, router, other, 'mean_auc')}"
            if other
            else "there is no router on text"
        )
        lines.append(
            f"- pool **{pool}**, {label(router)}: {against}; gap closed"
            f" {method_value(metrics, pool, router, 'gap_closed')}; accuracy minus that of the best"
            " single target:"
            f" {difference_cell(paired, pool, router, 'best_single', 'accuracy', '{:+z.1%}')}."
            f" {rivals_in_words(paired, pool, router)}"
        )
    return "\n".join(lines)


def paired_sentences(
    paired: pd.DataFrame, metrics: tuple[str, ...] = ("mean_auc", "accuracy", "p_auccc")
) -> str:
    """One Markdown line for every pair of methods: the paired differences and what they say."""
    lines, paired = [], with_keys(paired)
    for (pool, method, other), rows in paired[paired["metric"].isin(metrics)].groupby(
        ["pool", "method_a", "method_b"], sort=False
    ):
        differences = {
            HEADLINE[metric][0]: difference_cell(rows, pool, method, other, metric)
            for metric in metrics
        }
        parts = [f"{name} {text}" for name, text in differences.items() if text != "–"]
        if parts:
            lines.append(
                f"- pool `{pool}`, {label(method)} against {label(other)}: " + "; ".join(parts)
            )
    return "\n".join(lines)
