"""Run the benchmarks, or those that are named, and draw the figures: python -m benchmarks [extract
lengths sweep ensemble latency scale rows shipped cluster]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter

from prefill_router.files import project_root
from prefill_router.report.saving import save_figure
from prefill_router.report.styles import label, style, use_style

from . import (
    cluster,
    ensemble,
    extract,
    latency,
    lengths,
    rows,
    scale,
    shipped,
    sizes_figure,
    sweep,
)
from .common import ENCODER

BENCHMARKS = {
    "extract": extract.run,
    "lengths": lengths.run,
    "sweep": sweep.run,
    "ensemble": ensemble.run,
    "latency": latency.run,
    "scale": scale.run,
    "rows": rows.run,
    "shipped": shipped.run,
    "cluster": cluster.run,
}


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers: matplotlib's own powers of ten are mathematics,
    which the style draws as it is written.
    """
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def main() -> None:
    """Run in order; each writes its file when it is done."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all if none is given"
    )
    parser.add_argument("--encoder", help="the encoder that `extract` measures", default=ENCODER)
    arguments = parser.parse_args()
    names = arguments.names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        started = time.perf_counter()
        print(f"{name} ...", flush=True)
        if name == "extract":
            extract.run(arguments.encoder)
        else:
            BENCHMARKS[name]()
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    folders = (project_root() / "results" / "benchmarks", project_root() / "figures" / "benchmarks")
    draw(*folders)
    sizes_figure.draw(*folders, plain_log)


def draw(folder: Path, target: Path) -> plt.Figure:
    """One figure of whatever results `folder` holds: how many times faster, what a query takes, how
    time and memory grow.

    Written to `target` as speed.svg and speed.png.
    """
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    use_style()
    plt.rcParams["text.parse_math"] = True  # powers of ten on logarithmic axes
    fig, (ratios, query, growth) = plt.subplots(1, 3, figsize=(13, 3.4))
    faster = pd.DataFrame(
        {
            name.replace("_zeroeval_frontier", "").replace("_", " "): content["ratio"]
            for name, content in found.items()
            if "ratio" in content
        }
    ).T
    if len(faster):
        ratios.barh(
            faster.index,
            faster["median"],
            color="#0072B2",
            xerr=[faster["median"] - faster["min"], faster["max"] - faster["median"]],
            error_kw={"capsize": 3},
        )
        for y, (value, most) in enumerate(zip(faster["median"], faster["max"], strict=True)):
            inside = value > 2.5  # a shorter bar has no room for its number
            ratios.text(
                0.9 * value if inside else most + 0.2,
                y,
                f"{value:.1f}x",
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else "black",
                fontweight="bold",
            )
        ratios.axvline(1, color="black", linewidth=0.8)  # as fast as the recipe
        ratios.invert_yaxis()
    ratios.set(
        title="Against the published recipe", xlabel="times faster (median, range)", xlim=(0, None)
    )
    if table := next(
        (c["milliseconds"] for n, c in found.items() if n.startswith("latency")), None
    ):
        for method, rows in table.items():
            color, line = style(method)
            query.plot(
                [int(n) for n in rows],
                [row["beyond_the_encoder"]["p50"] for row in rows.values()],
                marker="o",
                color=color,
                linestyle=line,
                label=f"beyond the encoder, {label(method)}",
            )
        query.plot(
            [int(n) for n in rows],
            [row["encoder_alone"]["p50"] for row in rows.values()],
            marker="s",
            color="#999999",
            linestyle="--",
            label="the encoder's prefill alone",
        )
        query.axhline(3, color="#D55E00", linewidth=0.8, linestyle=":", label="3 ms")
        query.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=7)
        query.set(yscale="log")
        plain_log(query.yaxis)
    query.set(
        title="One query, median", xlabel="tokens of the rendered prompt", ylabel="milliseconds"
    )
    if rows := found.get("scale_extraction", {}).get("rows"):
        t = pd.DataFrame(rows)
        growth.plot(t["prompts"], t["seconds"], marker="o", color="#0072B2")
        growth.set(xscale="log", yscale="log", ylabel="seconds")
        plain_log(growth.xaxis)
        plain_log(growth.yaxis)
        memory = growth.twinx()
        memory.plot(t["prompts"], t["peak_mb"] / 1000, marker="s", color="#D55E00", linestyle="--")
        memory.set(ylabel="peak memory, GB", ylim=(0, None))
        memory.yaxis.label.set_color("#D55E00")
        growth.yaxis.label.set_color("#0072B2")
    growth.set(title="Extraction of many prompts", xlabel="prompts")
    target.mkdir(parents=True, exist_ok=True)
    save_figure(fig, target, "speed")
    return fig


if __name__ == "__main__":
    main()
