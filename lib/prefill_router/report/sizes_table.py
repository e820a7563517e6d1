"""What fits where: tables of measured time and memory by the number of rows and prompts, and of
what a shipped router keeps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Measured = Mapping[str, Any]  # a file of `results/benchmarks`

# what a number of prompts is reckoned for, beyond the largest that was measured
RECKONED_PROMPTS = 50_000_000


def sizes_table(folder: Path) -> str:
    """Markdown of those of `results/benchmarks` that say how cost grows; empty without any."""
    found = {
        name: content
        for name in TABLES
        for path in sorted(folder.glob(f"{name}_*.json"))
        if "rows" in (content := json.loads(path.read_text(encoding="utf-8")))
    }
    return "\n\n".join(TABLES[name](of) for name, of in found.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def duration(seconds: float) -> str:
    """In the unit that suits."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"


def gigabytes(megabytes: float) -> str:
    """Of megabytes."""
    return f"{megabytes / 1000:.1f} GB"


def machine_words(of: Measured) -> str:
    """What a benchmark ran on."""
    machine = of["machine"]
    return f"{machine['cores']} cores of an {machine['cpu']}, GPU: {machine['gpu']}"


def _training(of: Measured) -> str:
    measured = {str(row["rows"]): row for row in of["rows"]}
    rows = [
        [f"{int(n):,}", *_measured(measured.get(n), gigabytes(asked))]
        for n, asked in of["asked_beforehand_mb"].items()
    ]
    head = ["training rows", "form", "fit", "processor time", "peak memory", "asked beforehand"]
    head += ["router", "loaded in", "AUC", "scikit-learn: fit, peak memory, AUC"]
    return f"**Training**: {of['what']}. {machine_words(of)}.\n\n{table(head, rows)}"


def _measured(row: Measured | None, asked: str) -> list[str]:
    if row is None:
        return ["not run", *["–"] * 3, asked, *["–"] * 4]
    mine = row["ours"]
    return [
        mine["form"],
        duration(mine["seconds"]),
        duration(mine["cpu_seconds"]),
        gigabytes(mine["peak_mb"]),
        asked,
        f"{mine['router_mb']:.0f} MB",
        f"{mine['load_seconds']:.2g} s",
        f"{mine['auc']:.3f}",
        _in_memory(row["sklearn"]) if "sklearn" in row else "–",
    ]


def _in_memory(row: Measured) -> str:
    return f"{duration(row['seconds'])}, {gigabytes(row['peak_mb'])}, {row['auc']:.3f}"


def _prompts(of: Measured) -> str:
    rows = [
        [
            f"{row['prompts']:,}",
            f"{row['tokens']:,}",
            duration(row["seconds"]),
            gigabytes(row["peak_mb"]),
        ]
        for row in of["rows"]
    ]
    fewer, most = of["rows"][-2:]
    # one more prompt costs what it did between the two largest counts
    each = (most["seconds"] - fewer["seconds"]) / (most["prompts"] - fewer["prompts"])
    seconds = most["seconds"] + each * (RECKONED_PROMPTS - most["prompts"])
    tokens = most["tokens"] * RECKONED_PROMPTS // most["prompts"]
    reckoned = [f"{RECKONED_PROMPTS:,} (reckoned)", f"{tokens:,}", duration(seconds), "–"]
    said = (
        f"**Prompts**: {of['what']}. {machine_words(of)}. The last row is reckoned: each further"
        f" prompt at the {1000 * each:.2f} ms that one took between the two counts before it."
    )
    return f"{said}\n\n{table(['prompts', 'tokens', 'time', 'peak memory'], [*rows, reckoned])}"


def _shipped(of: Measured) -> str:
    rows = [
        [
            f"{row['router_mb']:.1f} MB",
            f"{row['directions']:,}" if row["directions"] else "all states, exact",
            f"{row['p_moves_mean']:.4f}",
            f"{row['p_moves_most']:.4f}",
            f"{row['auc']:.4f}",
            f"{row['load_seconds']:.2g} s",
            f"{row['milliseconds']:.1f} ms",
        ]
        for row in of["rows"]
    ]
    head = [
        "router",
        "directions",
        "P moves by, mean",
        "at most",
        "AUC",
        "loaded in",
        "one question",
    ]
    return f"**Shipped**: {of['what']}. {machine_words(of)}.\n\n{table(head, rows)}"


TABLES: dict[str, Callable[[Measured], str]] = {
    "rows": _training,
    "scale": _prompts,
    "shipped": _shipped,
}
