"""The table of measured speed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefill_router.report.sizes_table import machine_words, table
from prefill_router.report.styles import label

Measured = Mapping[str, Any]  # a file of `results/benchmarks`


def _measured(folder: Path) -> dict[str, Measured]:
    """By the first word of their names; workers have a file of their own beside other scales."""
    return {
        "workers" if path.stem == "scale_workers" else path.stem.partition("_")[0]: json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.glob("*.json"))
    }


def ratios_table(folder: Path) -> str:
    """Markdown of `results/benchmarks`: how many times faster than the published recipe."""
    found = _measured(folder)
    return "\n".join(
        [
            "| what | recipe | ours | times faster (range) |",
            "|---|---|---|---|",
            *(_row(title, found[name]) for name, title in COMPARED.items() if name in found),
            "",
            f"Measured on {machine_words(next(iter(found.values())))}.",
        ]
    )


def speed_sentence(folder: Path) -> str:
    """What `ratios_table` says, in a sentence."""
    found = _measured(folder)
    said = [
        f"{title} {ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f}{_dtypes(of)})"
        for name, title in COMPARED.items()
        if (of := found.get(name)) and (ratio := of["ratio"])
    ]
    machine = machine_words(next(iter(found.values())))
    return f"Times faster, median and range: {', '.join(said)}, on {machine}."


def _dtypes(measured: Measured) -> str:
    """That ours and the recipe compute in different ones; "" where they do not, or none is kept."""
    ours, recipe = (measured[who].get("dtype") for who in ("ours", "recipe"))
    return "" if ours == recipe else f"; {ours} against {recipe}"


def benchmark_table(folder: Path) -> str:
    """`ratios_table`, the floor, what a query and many prompts cost."""
    found = _measured(folder)
    said = (sentence(found[name]) for name, sentence in SENTENCES.items() if name in found)
    return "\n".join([ratios_table(folder), *said])


def _row(title: str, measured: Measured) -> str:
    ratio = measured["ratio"]
    return (
        f"| {title}: {measured['what']} | {_cell(measured['recipe'])} | {_cell(measured['ours'])} |"
        f" **{ratio['median']:.1f}** ({ratio['min']:.1f} to {ratio['max']:.1f}) |"
    )


def _cell(of: Measured) -> str:
    rate = of.get("tokens_per_second")
    return (
        f"{rate['median']:,.0f} tokens/s in {of['dtype']}"
        if rate
        else f"{of['seconds']['median']:.3g} s"
    )


def _extraction(measured: Measured) -> str:
    floor = measured["floor"]
    return (
        f"The floor of extraction, 2 x {floor['multiplied_params'] / 1e6:.0f} M multiplied"
        f" parameters x tokens at the {floor['matmul_tflops']:.2f} TFLOP/s that products of"
        f" these shapes reach here, is {floor['tokens_per_second']:,.0f} tokens/s; ours is at"
        f" {floor['share_reached']:.0%} of it."
    )


def _sweep(c: Measured) -> str:
    return (
        f"The sweep looks at {c['ours']['combinations']:,} combinations where the recipe's"
        f" search looks at {c['recipe']['combinations']:,}; where both looked, AUCs differ by"
        f" at most {c['largest_auc_difference_where_both_looked']:.4f}, and the search missed"
        f" {c['auc_that_the_recipe_missed']['mean']:.4f} AUC on average."
    )


def _ensemble(c: Measured) -> str:
    return (
        f"In float32 the ensemble is {c['ratio_float32']['median']:.1f} times as fast;"
        f" validation losses {c['ours']['validation_loss']['mean']:.4f} against"
        f" {c['recipe']['validation_loss']['mean']:.4f} of the recipe (standard deviation of"
        f" members {c['recipe']['validation_loss']['std']:.4f}; Kolmogorov-Smirnov p ="
        f" {c['kolmogorov_smirnov_p_of_validation_losses']['ours']:.2f})."
    )


def _latency(c: Measured) -> str:
    of_methods = []
    for method, spread in c["ours"].items():
        p50 = spread["beyond_the_encoder_p50"]
        p95 = max(row["beyond_the_encoder"]["p95"] for row in c["milliseconds"][method].values())
        of_methods.append(
            f"{p50['min']:.1f} to {p50['max']:.1f} ms by length with the {label(method)} (95th"
            f" percentile at most {p95:.1f} ms)"
        )
    return (
        "One query through a loaded router takes, beyond the encoder's own prefill, at the"
        f" median {'; '.join(of_methods)}."
    )


def _scale(measured: Measured) -> str:
    rows = "; ".join(
        f"{r['prompts']:,} in {r['seconds']:.0f} s with a peak of {r['peak_mb'] / 1000:.2f} GB"
        for r in measured["rows"]
    )
    return f"Many prompts (two blocks of the encoder): {rows}."


def _workers(c: Measured) -> str:
    rates = {way: of["tokens_per_second"]["median"] for way, of in c["ways"].items()}
    many, two, ratio = c["extrapolated"], c["two_workers_to_one"], c["ratio"]
    ways = "; ".join(f"{way} {rate:,.0f}" for way, rate in rates.items() if way != "plain")
    return (
        f"Extraction in shards ({c['what']}, all in float32), tokens a second once all workers are"
        f" at work: {ways}; plain Ray Data code around the recipe {rates['plain']:,.0f}, so ours is"
        f" {ratio['median']:.1f} times as fast ({ratio['min']:.1f} to {ratio['max']:.1f}). Two"
        f" workers do {two['median']:.2f} times what one does ({two['min']:.2f} to"
        f" {two['max']:.2f}). The load average before each, left by what ran until then, was"
        f" {c['load_average']['median']:.0f}. {many['prompts']:,} such prompts of"
        f" {many['tokens_per_prompt']:.0f} tokens come to {many['days']['ray, 2 workers']:.1f} days"
        f" and {many['gigabytes']['ours']:,.0f} GB, with plain code to"
        f" {many['days']['plain']:.1f} days and {many['gigabytes']['plain']:,.0f} GB"
        f" ({many['formula']})."
    )


def _lengths(c: Measured) -> str:
    """A table by length: tokens a second, and how many times faster than the recipe."""
    ways, names = ("alone", "beside_a_busy_process"), ("ours", "recipe")
    head = ["tokens of a prompt"]
    head += [f"{n}, {w.replace('_', ' ')}" for w in ways for n in (*names, "times faster")]
    rows = [
        [f"{row['length']:,}"]
        + [
            cell
            for of in (row[way] for way in ways)
            for cell in (
                *(f"{of[name]['median']:,.0f}" for name in names),
                f"{of['ratio']['median']:.1f}",
            )
        ]
        for row in c["rows"]
    ]
    dtypes = f"ours in {c['dtype']['ours']}, the recipe in {c['dtype']['recipe']}"
    return f"\nTokens a second by length ({c['what']}; {dtypes}):\n\n{table(head, rows)}"


COMPARED = {"extract": "extraction", "sweep": "sweep", "ensemble": "ensemble"}
SENTENCES: dict[str, Callable[[Measured], str]] = {
    "extract": _extraction,
    "sweep": _sweep,
    "ensemble": _ensemble,
    "latency": _latency,
    "scale": _scale,
    "workers": _workers,
    "lengths": _lengths,
}
