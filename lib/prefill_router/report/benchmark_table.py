"""The table of measured speed."""

from __future__ import annotations

import json
from pathlib import Path

from prefill_router.report.styles import label


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
