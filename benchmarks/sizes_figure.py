"""Cost against work, drawn: time and memory by the number of training rows and of prompts, and the
speed of extraction by the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from prefill_router.report.saving import save_figure
from prefill_router.report.styles import use_style


class Line(NamedTuple):
    """Work, seconds and gigabytes of one way of doing something, and how it is drawn."""

    name: str
    work: list[int]
    seconds: list[float]
    gigabytes: list[float]
    color: str
    marker: str


def lines(folder: Path) -> Iterator[Line]:
    """Of whatever results `folder` holds."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    for name, content in found.items():
        if name.startswith("rows"):
            for way, title, color, marker in (
                ("ours", "kernel router, fitted from the store", "#0072B2", "o"),
                ("sklearn", "scikit-learn, all rows in memory", "#E69F00", "s"),
            ):
                rows = [row for row in content["rows"] if way in row]
                of_way = [row[way] for row in rows]
                yield _line(title, [row["rows"] for row in rows], of_way, color, marker)
        if name.startswith("scale") and "rows" in content:
            rows = content["rows"]
            work = [row["prompts"] for row in rows]
            yield _line("extraction, two blocks of the encoder", work, rows, "#009E73", "^")


def _line(
    name: str, work: list[int], rows: list[Mapping[str, Any]], color: str, marker: str
) -> Line:
    seconds, gigabytes = ([row[key] for row in rows] for key in ("seconds", "peak_mb"))
    return Line(name, work, seconds, [mb / 1000 for mb in gigabytes], color, marker)


def draw(folder: Path, target: Path, plain_log: Callable[[Axis], None]) -> plt.Figure:
    """Written to `target` as sizes.svg and sizes.png."""
    use_style()
    fig, (time, memory, workers) = plt.subplots(1, 3, figsize=(13, 3.6))
    for line in lines(folder):
        how: dict[str, Any] = {"color": line.color, "marker": line.marker, "label": line.name}
        time.plot(line.work, line.seconds, **how)
        memory.plot(line.work, line.gigabytes, **how)
    for ax, title, what in ((time, "Time", "seconds"), (memory, "Peak memory", "gigabytes")):
        ax.set(title=title, xlabel="training rows, or prompts", ylabel=what, xscale="log")
        plain_log(ax.xaxis)
    time.set(yscale="log")
    plain_log(time.yaxis)
    memory.set(ylim=(0, None))
    _workers(workers, folder / "scale_workers.json")
    handles, names = time.get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8)
    target.mkdir(parents=True, exist_ok=True)
    save_figure(fig, target, "sizes")
    return fig


def _workers(ax: Axes, file: Path) -> None:
    """Tokens a second of every way of extracting in shards, median and range."""
    if file.is_file():
        ways = json.loads(file.read_text())["ways"]
        rates = pd.DataFrame({name: way["tokens_per_second"] for name, way in ways.items()}).T
        ax.barh(
            ["plain Ray Data code" if name == "plain" else name for name in ways],
            rates["median"],
            xerr=[rates["median"] - rates["min"], rates["max"] - rates["median"]],
            color=["#999999" if name == "plain" else "#009E73" for name in ways],
            error_kw={"capsize": 3},
        )
        ax.invert_yaxis()
    ax.set(title="Extraction in shards", xlabel="tokens a second", xlim=(0, None))
