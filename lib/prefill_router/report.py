"""Tables and sentences for people, made from ``metrics.csv`` and ``paired.csv`` alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prefill_router.plots import label

# z in a format: what rounds to 0 has no minus before it
HEADLINE = {
    "mean_auc": ("mean AUC", "{:z.3f}"),
    "disagreement_auc": ("disagreement AUC", "{:z.3f}"),
    "accuracy": ("accuracy", "{:z.1%}"),
    "gap_closed": ("gap closed", "{:z.1%}"),
    "cost_saving_vs_max": ("saving vs dearest", "{:z.1%}"),
    "cost_saving_at_best_single": ("saving at best-single accuracy", "{:z.1%}"),
    "p_auccc": ("P-AUCCC", "{:z.3f}"),
    "mdp_auccc": ("MDP-AUCCC", "{:+z.3f}"),
    "pdp_auccc": ("PDP-AUCCC", "{:+z.3f}"),
    "brier": ("Brier", "{:z.3f}"),
    "ece": ("ECE", "{:z.3f}"),
}
SUMMARY_ONLY = ("brier", "ece")
SEMANTIC = (  # stands in a list of methods for those of the pool at hand
    "the best three semantic baselines"
)
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
PROFILES = ("local", "zeroeval", "mmlu_pro")
BAR_NOTE = (
    "The best semantic baseline is the one with the highest mean AUC on these very test rows, so"
    " the choice favours it. Differences are paired on the same bootstrap resamples, with 95 %"
    " intervals; the best single target is the one chosen on training rows. The last column is the"
    " operating point to plan with: its tolerance was chosen on calibration rows."
)


def _of_pools(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole pools; those of a single target are left out."""
    return metrics[metrics["target"].fillna("") == ""]


def semantic_ranking(metrics: pd.DataFrame, pool: str) -> list[str]:
    """The methods of a pool that read a sentence embedding (column ``reads``), by falling mean AUC.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``.

    Raises
    ------
    ValueError
        Without the column ``reads``, in a table of an earlier version: no name of a method says
        what it reads.
    """
    if "reads" not in metrics:
        raise ValueError(
            "metrics.csv lacks the column reads, so an earlier version wrote it: run the profile"
            " again"
        )
    rows = _of_pools(metrics)
    rows = rows[
        (rows["pool"] == pool) & (rows["metric"] == "mean_auc") & (rows["reads"] == "sentence")
    ].dropna(subset=["value"])
    return list(rows.sort_values(["value", "method"], ascending=[False, True])["method"])


def best_semantic(metrics: pd.DataFrame, pool: str) -> str | None:
    """The first of ``semantic_ranking``; None where the pool has no semantic baseline."""
    return next(iter(semantic_ranking(metrics, pool)), None)


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says."""
    return "better" if low > 0 else "worse" if high < 0 else "no clear difference"


def _cell(row: pd.Series | None, form: str) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    return (
        f"{form.format(row['value'])} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]"
    )


def _difference(
    paired: pd.DataFrame,
    pool: str,
    method_a: str,
    method_b: str | None,
    metric: str,
    form: str = "{:+z.3f}",
) -> str:
    """A difference of ``paired.csv`` with interval and verdict; a dash where there is none."""
    keys = {"pool": pool, "method_a": method_a, "method_b": method_b, "metric": metric}
    rows = paired[(paired[list(keys)] == pd.Series(keys)).all(axis=1)].dropna(subset=["diff"])
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    return (
        f"{form.format(row['diff'])} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]"
        f" ({verdict(row['ci_low'], row['ci_high'])})"
    )


def headline_table(metrics: pd.DataFrame, methods: Sequence[str] | None = None) -> str:
    """Markdown table of the pool metrics of every method, with 95 % intervals.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``; rows with a target and the calibrated operating points
        are left out.
    methods : which methods to show, and in which order; ``SEMANTIC`` stands for three of them.
        All by default, and then with Brier score and ECE.
    """
    columns = {
        metric: names
        for metric, names in HEADLINE.items()
        if methods is None or metric not in SUMMARY_ONLY
    }
    blocks = []
    for pool, rows in _of_pools(metrics).groupby("pool", sort=False):
        indexed = {(r["method"], r["metric"]): r for _, r in rows.iterrows()}
        known = [m for m in rows["method"].unique() if not m.endswith(" calibrated")]
        semantic = semantic_ranking(metrics, pool)
        if methods is None:
            wanted = [*FIRST, *semantic, *sorted(set(known) - {*FIRST, *semantic, *LAST}), *LAST]
        else:
            wanted = [m for name in methods for m in (semantic[:3] if name == SEMANTIC else [name])]
        order = [m for m in dict.fromkeys(wanted) if m in known]
        # the same for all methods of a pool
        best, oracle = (
            next((indexed[m, metric] for m in ("paper", *known) if (m, metric) in indexed), None)
            for metric in ("best_single_accuracy", "oracle_accuracy")
        )
        block = (
            f"Pool `{pool}`: best single target {_cell(best, '{:z.1%}')}, oracle"
            f" {_cell(oracle, '{:z.1%}')}; n = {rows['n'].iloc[0]} test queries in each of"
            f" {rows['seeds'].max()} splits, 95 % intervals by bootstrap over groups.\n\n"
            + "| method | "
            + " | ".join(name for name, _ in columns.values())
            + " |\n|---|"
            + "---|" * len(columns)
            + "\n"
            + "\n".join(
                f"| {label(m)} | "
                + " | ".join(
                    _cell(indexed.get((m, metric)), form) for metric, (_, form) in columns.items()
                )
                + " |"
                for m in order
            )
        )
        if pool in PAPERS_OWN:
            block += (
                f"\n\nBeside it, no row of this table: the paper's own `{pool}` pool (other data,"
                f" other targets) has {PAPERS_OWN[pool]}."
            )
        blocks.append(block)
    return "\n\n".join(blocks)


def _main_method(metrics: pd.DataFrame, pool: str) -> str:
    return "ours" if ((metrics["pool"] == pool) & (metrics["method"] == "ours")).any() else "paper"


def _value(metrics: pd.DataFrame, pool: str, method: str | None, metric: str) -> str:
    rows = _of_pools(metrics)
    rows = rows[(rows["pool"] == pool) & (rows["method"] == method) & (rows["metric"] == metric)]
    return _cell(rows.iloc[0] if len(rows) else None, HEADLINE[metric][1])


def saving_against(saving: float, other: float) -> float:
    """Share of another method's cost that a method saves, from what both save against the dearest
    target; NaN where the other costs nothing.
    """
    return 1 - (1 - saving) / (1 - other) if other != 1 else float("nan")


RIVALRY = {
    "accuracy": (100, "{:.1f}", " points"),
    "mean_auc": (1, "{:.3f}", ""),
    "p_auccc": (1, "{:.3f}", ""),
}


def rivals(paired: pd.DataFrame, pool: str, router: str) -> pd.DataFrame:
    """The other routers that are clearly better than one, in accuracy, mean AUC or P-AUCCC: the 95
    % interval of the paired difference leaves out 0.

    Parameters
    ----------
    paired : DataFrame
        As ``results/<profile>/paired.csv``.

    Returns
    -------
    DataFrame[metric, method, lead, ci_low, ci_high]
        The largest lead of each metric first; without rows if there is none.
    """
    rows = _against_routers(paired, pool, router)
    rows = rows[rows["ci_high"] < 0]
    found = pd.DataFrame(
        {
            "metric": rows["metric"],
            "method": rows["method_b"],
            "lead": -rows["diff"],
            "ci_low": -rows["ci_high"],
            "ci_high": -rows["ci_low"],
        }
    )
    return found.sort_values("lead", ascending=False, kind="stable").reset_index(drop=True)


def rivals_in_words(paired: pd.DataFrame, pool: str, router: str) -> str:
    """One sentence: which other routers are clearly better than one, and by how much; or that none
    is.
    """
    found, compared = rivals(paired, pool, router), _against_routers(paired, pool, router)
    if compared.empty:
        return "It was compared with no other router."
    led, none = [], []
    for metric, (factor, form, unit) in RIVALRY.items():
        rows = found[found["metric"] == metric]
        names = [
            f"{label(r.method)} by {form.format(factor * r.lead)}{unit}"
            f" [{form.format(factor * r.ci_low)}, {form.format(factor * r.ci_high)}]"
            for r in rows.itertuples()
        ]
        if names:
            led.append(f"in {HEADLINE[metric][0]} {', '.join(names)}")
        elif (compared["metric"] == metric).any():
            none.append(HEADLINE[metric][0])
    others = f"none of the {compared['method_b'].nunique()} other routers is clearly better"
    metrics = " or ".join([", ".join(none[:-1]), none[-1]] if none[:-1] else none)
    if not led:
        return f"N{others[1:]} in {metrics}."
    return f"Clearly better than it are {'; '.join(led)}" + (
        f"; in {metrics} {others}." if none else "."
    )


def _against_routers(paired: pd.DataFrame, pool: str, router: str) -> pd.DataFrame:
    """Differences between a router and every other that reads the prompt, in the metrics of
    ``RIVALRY``.
    """
    references = paired["method_b"].isin(["best_single", "zero_router", "oracle"])
    return paired[
        (paired["pool"] == pool)
        & (paired["method_a"] == router)
        & ~references
        & paired["metric"].isin(list(RIVALRY))
    ].dropna(subset=["diff"])


def _planned(metrics: pd.DataFrame, pool: str, method: str) -> str:
    """Cost and accuracy of the point chosen on calibration rows, beside those of the best single
    target.
    """
    rows = _of_pools(metrics)
    value = (
        rows[rows["pool"] == pool]
        .dropna(subset=["value"])
        .drop_duplicates(["method", "metric"])
        .set_index(["method", "metric"])["value"]
    )
    wanted = [
        (m, metric)
        for m in (f"{method} calibrated", "best_single")
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
    """Markdown table, a row per pool: does ours (else the paper's network) beat the best semantic
    baseline and the best single target?

    ``BAR_NOTE`` says how to read it.

    Parameters
    ----------
    metrics, paired : DataFrame
        As ``results/<profile>/metrics.csv`` and ``paired.csv``.
    """
    lines = [
        (
            "| pool | router | its mean AUC | best semantic baseline | its mean AUC | mean AUC,"
            " difference | accuracy minus best single | with a planned tolerance, against best"
            " single |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for pool in metrics["pool"].unique():
        router, other = _main_method(metrics, pool), best_semantic(metrics, pool)
        cells = [
            f"`{pool}`",
            label(router),
            _value(metrics, pool, router, "mean_auc"),
            label(other) if other else "–",
            _value(metrics, pool, other, "mean_auc"),
            _difference(paired, pool, router, other, "mean_auc"),
            _difference(paired, pool, router, "best_single", "accuracy", "{:+z.1%}"),
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
        router, other = _main_method(metrics, pool), best_semantic(metrics, pool)
        against = (
            f"mean AUC minus that of the best semantic baseline, {label(other)}:"
            f" {_difference(paired, pool, router, other, 'mean_auc')}"
            if other
            else "there is no semantic baseline"
        )
        lines.append(
            f"- pool **{pool}**, {label(router)}: {against}; gap closed"
            f" {_value(metrics, pool, router, 'gap_closed')}; accuracy minus that of the best"
            " single target:"
            f" {_difference(paired, pool, router, 'best_single', 'accuracy', '{:+z.1%}')}."
            f" {rivals_in_words(paired, pool, router)}"
        )
    return "\n".join(lines)


def paired_sentences(
    paired: pd.DataFrame, metrics: tuple[str, ...] = ("mean_auc", "accuracy", "p_auccc")
) -> str:
    """One Markdown line for every pair of methods: the paired differences and what they say."""
    lines = []
    for (pool, method, other), rows in paired[paired["metric"].isin(metrics)].groupby(
        ["pool", "method_a", "method_b"], sort=False
    ):
        differences = {
            HEADLINE[metric][0]: _difference(rows, pool, method, other, metric)
            for metric in metrics
        }
        parts = [f"{name} {text}" for name, text in differences.items() if text != "–"]
        if parts:
            lines.append(
                f"- pool `{pool}`, {label(method)} against {label(other)}: " + "; ".join(parts)
            )
    return "\n".join(lines)


def benchmark_table(folder: Path) -> str:
    """Markdown of `results/benchmarks`: how many times faster than the published recipe, the floor,
    what a query and many prompts cost.
    """
    found = {
        path.stem.partition("_")[0]: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    lines = ["| what | recipe | ours | times faster (range) |", "|---|---|---|---|"]

    def cell(of: dict) -> str:
        rate = of.get("tokens_per_second")
        return (
            f"{rate['median']:,.0f} tokens/s in {of['dtype']}"
            if rate
            else f"{of['seconds']['median']:.3g} s"
        )

    for name, title in (("extract", "extraction"), ("sweep", "sweep"), ("ensemble", "ensemble")):
        if name in found:
            c = found[name]
            lines.append(
                f"| {title}: {c['what']} | {cell(c['recipe'])} | {cell(c['ours'])} |"
                f" **{c['ratio']['median']:.1f}** ({c['ratio']['min']:.1f} to"
                f" {c['ratio']['max']:.1f}) |"
            )
    machine = next(iter(found.values()))["machine"]
    lines += [
        "",
        f"Measured on {machine['cores']} cores of an {machine['cpu']}, GPU: {machine['gpu']}.",
    ]
    if "extract" in found:
        floor = found["extract"]["floor"]
        lines.append(
            f"The floor of extraction, 2 x {floor['multiplied_params'] / 1e6:.0f} M multiplied"
            f" parameters x tokens at the {floor['matmul_tflops']:.2f} TFLOP/s that products of"
            f" these shapes reach here, is {floor['tokens_per_second']:,.0f} tokens/s; ours is at"
            f" {floor['share_reached']:.0%} of it."
        )
    if "sweep" in found:
        c = found["sweep"]
        lines.append(
            f"The sweep looks at {c['ours']['combinations']:,} combinations where the recipe's"
            f" search looks at {c['recipe']['combinations']:,}; where both looked, AUCs differ by"
            f" at most {c['largest_auc_difference_where_both_looked']:.4f}, and the search missed"
            f" {c['auc_that_the_recipe_missed']['mean']:.4f} AUC on average."
        )
    if "ensemble" in found:
        c = found["ensemble"]
        lines.append(
            f"In float32 the ensemble is {c['ratio_float32']['median']:.1f} times as fast;"
            f" validation losses {c['ours']['validation_loss']['mean']:.4f} against"
            f" {c['recipe']['validation_loss']['mean']:.4f} of the recipe (standard deviation of"
            f" members {c['recipe']['validation_loss']['std']:.4f}; Kolmogorov-Smirnov p ="
            f" {c['kolmogorov_smirnov_p_of_validation_losses']['ours']:.2f})."
        )
    if "latency" in found:
        c = found["latency"]
        rows = {
            label(method): (
                spread["beyond_the_encoder_p50"],
                max(row["beyond_the_encoder"]["p95"] for row in c["milliseconds"][method].values()),
            )
            for method, spread in c["ours"].items()
        }
        lines.append(
            "One query through a loaded router takes, beyond the encoder's own prefill, at the"
            " median "
            + "; ".join(
                f"{spread['min']:.1f} to {spread['max']:.1f} ms by length with the {name} (95th"
                f" percentile at most {p95:.1f} ms)"
                for name, (spread, p95) in rows.items()
            )
            + "."
        )
    if "scale" in found:
        rows = found["scale"]["rows"]
        lines.append(
            "Many prompts (two blocks of the encoder): "
            + "; ".join(
                f"{r['prompts']:,} in {r['seconds']:.0f} s with a peak of"
                f" {r['peak_mb'] / 1000:.2f} GB"
                for r in rows
            )
            + "."
        )
    return "\n".join(lines)


def marks(name: str) -> tuple[str, str]:
    """The lines of README.md between which the table of a profile, or of ``bar``, stands."""
    source = " and ".join(
        f"results/{profile}" for profile in (PROFILES if name == "bar" else (name,))
    )
    return (
        f"<!-- {name}: made by `python -m prefill_router.report` from {source} -->",
        f"<!-- {name} ends -->",
    )


def fill_readme(text: str, name: str, table: str) -> str:
    """Put the table of a profile (or of ``bar``) between its two marks of a README.

    Raises
    ------
    ValueError
        A mark is missing.
    """
    start, end = marks(name)
    if start not in text or end not in text:
        raise ValueError(f"README.md needs the marks {start!r} and {end!r}")
    return (
        text[: text.index(start) + len(start)]
        + f"\n\n{table.strip()}\n\n"
        + text[text.index(end) :]
    )


def tables(results: Path) -> dict[str, str]:
    """What stands between the marks of README.md: name of the marks -> Markdown, for the profiles
    that have results.
    """
    found, bars = {}, []
    for profile in PROFILES:
        if not (results / profile / "metrics.csv").is_file():
            continue
        metrics = pd.read_csv(results / profile / "metrics.csv")
        found[profile] = headline_table(metrics, SHORT)
        if (results / profile / "paired.csv").is_file():
            bars.append(
                f"Profile `{profile}`:\n\n"
                + bar_table(metrics, pd.read_csv(results / profile / "paired.csv"))
            )
    if any((results / "benchmarks").glob("*.json")):
        found["benchmarks"] = benchmark_table(results / "benchmarks")
    if bars:
        found["bar"] = "\n\n".join([*bars, BAR_NOTE])
    return found


def main(root: Path | None = None) -> int:
    """Write the tables of the committed results into README.md; a table without marks there is
    said, and left out.
    """
    from prefill_router.profiles import project_root

    root = root or project_root()
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, table in tables(root / "results").items():
        try:
            text = fill_readme(text, name, table)
            print(f"{name}: written")
        except ValueError as error:
            print(f"{name}: left out, {error}")
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
