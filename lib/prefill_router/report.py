"""Tables and sentences for people, made from ``metrics.csv`` and ``paired.csv`` alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prefill_router.plots import label

HEADLINE = {
    "mean_auc": ("mean AUC", "{:.3f}"), "accuracy": ("accuracy", "{:.1%}"), "gap_closed": ("gap closed", "{:.1%}"),
    "cost_saving_vs_max": ("saving vs dearest", "{:.1%}"), "cost_saving_at_best_single": ("saving at best-single accuracy", "{:.1%}"),
    "p_auccc": ("P-AUCCC", "{:.3f}"), "mdp_auccc": ("MDP-AUCCC", "{:+.3f}"), "pdp_auccc": ("PDP-AUCCC", "{:+.3f}"), "brier": ("Brier", "{:.3f}"), "ece": ("ECE", "{:.3f}"),
}
FIRST = ["ours", "paper", "paper_auc", "shared_block", "mlp_minilm", "logistic_minilm", "knn_minilm", "tfidf", "benchmark_mean", "prompt_length", "random", "best_single", "zero_router", "oracle"]


def _cell(row: pd.Series | None, form: str) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    return f"{form.format(row['value'])} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]"


def headline_table(metrics: pd.DataFrame, methods: Sequence[str] | None = None) -> str:
    """Markdown table of the pool metrics of every method, with 95 % intervals.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``; rows with a target and the calibrated operating points are left out.
    methods : which methods to show; all by default.
    """
    whole = metrics[metrics["target"].fillna("") == ""]
    blocks = []
    for pool, rows in whole.groupby("pool", sort=False):
        indexed = {(r["method"], r["metric"]): r for _, r in rows.iterrows()}
        first = rows.iloc[0]
        best, oracle = indexed[("paper", "best_single_accuracy")], indexed[("paper", "oracle_accuracy")]
        known = [m for m in rows["method"].unique() if not m.endswith(" calibrated")]
        order = [m for m in [*FIRST, *sorted(set(known) - set(FIRST))] if m in known and (methods is None or m in methods)]
        blocks.append(
            f"Pool `{pool}`: best single target {_cell(best, '{:.1%}')}, oracle {_cell(oracle, '{:.1%}')}; n = {first['n']} test queries in each of {first['seeds']} "
            "splits, 95 % intervals by bootstrap over groups.\n\n"
            + "| method | " + " | ".join(name for name, _ in HEADLINE.values()) + " |\n|---|" + "---|" * len(HEADLINE) + "\n"
            + "\n".join(f"| {label(m)} | " + " | ".join(_cell(indexed.get((m, metric)), form) for metric, (_, form) in HEADLINE.items()) + " |" for m in order)
        )
    return "\n\n".join(blocks)


def paired_sentences(paired: pd.DataFrame, metrics: tuple[str, ...] = ("mean_auc", "accuracy", "p_auccc")) -> str:
    """One Markdown line for every method the trunk is compared with: the paired differences and what they say."""
    lines = []
    for (pool, _, other), rows in paired[paired["metric"].isin(metrics)].groupby(["pool", "method_a", "method_b"], sort=False):
        parts = []
        for metric in metrics:
            for row in rows[rows["metric"] == metric].dropna(subset=["diff"]).itertuples():
                verdict = "better" if row.ci_low > 0 else "worse" if row.ci_high < 0 else "no clear difference"
                parts.append(f"{HEADLINE[metric][0]} {row.diff:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}] ({verdict})")
        if parts:
            lines.append(f"- pool `{pool}`, {label(rows['method_a'].iloc[0])} against {label(other)}: " + "; ".join(parts))
    return "\n".join(lines)


# what README.md shows of a profile; results/<profile>/summary.md shows all
SHORT = ("ours", "paper", "paper_auc", "shared_block", "mlp_minilm", "logistic_minilm", "knn_minilm", "tfidf", "benchmark_mean", "prompt_length", "random", "best_single", "zero_router", "oracle")


def marks(profile: str) -> tuple[str, str]:
    """The lines of README.md between which a profile's table stands."""
    return f"<!-- {profile}: made by `python -m prefill_router.report` from results/{profile} -->", f"<!-- {profile} ends -->"


def fill_readme(text: str, profile: str, table: str) -> str:
    """Put a profile's table between its two marks of a README.

    Raises
    ------
    ValueError
        A mark is missing.
    """
    start, end = marks(profile)
    if start not in text or end not in text:
        raise ValueError(f"README.md needs the marks {start!r} and {end!r}")
    return text[: text.index(start) + len(start)] + f"\n\n{table.strip()}\n\n" + text[text.index(end) :]


def main() -> int:
    """Write the tables of the committed profiles into README.md."""
    from prefill_router.profiles import project_root

    root = project_root()
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    for profile in ("local",):
        text = fill_readme(text, profile, headline_table(pd.read_csv(root / "results" / profile / "metrics.csv"), SHORT))
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
