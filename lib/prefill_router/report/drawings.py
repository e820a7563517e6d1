"""All figures of a profile, by name: what each reads, and the function that draws it.

Notebooks and ``python -m prefill_router.report.redraw`` draw by the same entry from the same tables
of ``results/<profile>``, so that both give the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from prefill_router.report.cascade_figures import draw_agreement, draw_cascades
from prefill_router.report.decision_figure import draw_decision
from prefill_router.report.decision_figures import draw_plans
from prefill_router.report.encoder_figures import draw_encoders
from prefill_router.report.figure_tables import FigureTables
from prefill_router.report.headroom_figure import draw_headroom, luck_in_columns
from prefill_router.report.held_out import draw_families
from prefill_router.report.layer_figures import draw_layers
from prefill_router.report.method_plots import draw_calibration, draw_disagreement, draw_methods
from prefill_router.report.pool_overview import draw_pools
from prefill_router.report.pool_sentences import informed_pools
from prefill_router.report.unlike_figures import draw_unlike


@dataclass(frozen=True)
class Drawing:
    """A kind of figure.

    Attributes
    ----------
    needs : tuple of str
        Tables without which there is nothing to draw.
    draw : callable (tables, pool) -> Figure or None
        ``pool`` is empty for a figure of all pools; None where the tables leave nothing to show.
    per_pool : bool
        Whether each pool has a file of its own.
    """

    needs: tuple[str, ...]
    draw: Callable[[FigureTables, str], Figure | None]
    per_pool: bool = False


def _decision(tables: FigureTables, pool: str) -> Figure | None:
    found = tables.decision(pool)
    return None if found is None else draw_decision(found)


def _encoders(tables: FigureTables, _: str) -> Figure | None:
    if len(tables["encoders"]) < 2:
        return None
    plans = tables["encoder_plans"] if tables.has("encoder_plans") else None
    return draw_encoders(
        tables["encoder_auc"], tables["encoder_target_auc"], tables["encoders"], plans
    )


def _families(tables: FigureTables, _: str) -> Figure | None:
    if "split" not in tables["families"]:  # of the embedded pool: its families of questions
        return None
    return draw_families(tables["families"])


def _headroom(tables: FigureTables, _: str) -> Figure:
    luck: pd.DataFrame | None = None
    if tables.has("headroom", "informed_reader"):
        pools = informed_pools(tables["learning_curve"], tables["informed_reader"])
        luck = tables["headroom"][tables["headroom"]["pool"].isin(pools)]
    if measured := tables.has("luck"):
        luck = luck_in_columns(tables["luck"])
    return draw_headroom(tables["learning_curve"], luck, measured)


DRAWINGS: dict[str, Drawing] = {
    "01_pool": Drawing(("pools", "targets"), lambda t, _: draw_pools(t["pools"], t["targets"])),
    "03_layers": Drawing(
        ("layers", "layer_choice"), lambda t, _: draw_layers(t["layers"], t["layer_choice"])
    ),
    "07_methods": Drawing(("metrics",), lambda t, _: draw_methods(t["metrics"], t.pools)),
    "07_calibration": Drawing(
        ("metrics", "calibration"),
        lambda t, _: draw_calibration(t["calibration"], t["metrics"], t.pools),
    ),
    "09_disagreement": Drawing(
        ("disagreement",), lambda t, _: draw_disagreement(t["disagreement"], t.pools)
    ),
    "10_encoders": Drawing(("encoder_auc", "encoder_target_auc", "encoders"), _encoders),
    "11_headroom": Drawing(("learning_curve",), _headroom),
    "13_decision": Drawing(("metrics", "curve", "targets"), _decision, per_pool=True),
    "13_plans": Drawing(
        ("decisions", "promises"), lambda t, _: draw_plans(t["decisions"], t["promises"])
    ),
    "14_unlike": Drawing(
        ("unlike_alarms", "unlike_bins"),
        lambda t, _: draw_unlike(t["unlike_alarms"], t["unlike_bins"]),
    ),
    "16_families": Drawing(("families",), _families),
    "19_agreement": Drawing(("agreement",), lambda t, _: draw_agreement(t["agreement"])),
    "19_cascades": Drawing(("cascades",), lambda t, _: draw_cascades(t["cascades"])),
}


def draw(folder: Path, kind: str, pool: str = "") -> Figure | None:
    """One figure of a results folder; None where its tables leave nothing to show.

    Raises
    ------
    KeyError
        There is no such kind.
    FileNotFoundError
        A table that it needs is not there; says how to make it.
    """
    tables = FigureTables(folder)
    for name in DRAWINGS[kind].needs:
        tables[name]
    return DRAWINGS[kind].draw(tables, pool)


def all_figures(folder: Path) -> Iterator[tuple[str, Figure | None]]:
    """Every figure of a results folder by its name; None where a table is not there, or has
    nothing to show.
    """
    tables = FigureTables(folder)
    for kind, drawing in DRAWINGS.items():
        there = tables.has("pools") and tables.has(*drawing.needs)
        for pool in tables.pools if drawing.per_pool and there else [""]:
            name = f"{kind}_{pool}" if pool else kind
            yield name, drawing.draw(tables, pool) if there else None
