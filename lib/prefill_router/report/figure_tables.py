"""The tables of a results folder as figures read them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from prefill_router.evaluate import published
from prefill_router.evaluate.keys import CALIBRATED, main_rows
from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.decision_figure import Decision
from prefill_router.report.decision_sentences import GAIN, SAVING, found
from prefill_router.report.rivals import best_semantic, of_pools


class FigureTables:
    """Tables of ``results/<profile>`` by name, read once; those of an earlier version that lack a
    table are completed from the files beside it (`evaluate.published`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, pd.DataFrame | None] = {}

    def get(self, name: str) -> pd.DataFrame | None:
        """A table, None where it is not there."""
        if name not in self._read:
            path = self.folder / f"{name}.csv"
            computed = {
                "targets": lambda: published.target_points(self.folder),
                "calibration": lambda: published.calibration(self.folder, self.shown),
                "routed": lambda: published.routed(self.folder, self.planned),
            }
            if path.is_file() and path.stat().st_size > 1:
                self._read[name] = pd.read_csv(path)
            else:
                self._read[name] = computed[name]() if name in computed else None
        return self._read[name]

    def has(self, *names: str) -> bool:
        """Whether all these tables are there, with rows."""
        return all((table := self.get(name)) is not None and len(table) > 0 for name in names)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """A table.

        Raises
        ------
        FileNotFoundError
            It is not there, and cannot be computed.
        """
        table = self.get(name)
        if table is None:
            raise FileNotFoundError(
                f"{self.folder / name}.csv is not there: run the earlier notebooks first, or `make"
                f" reproduce PROFILE={self.folder.name}`."
            )
        return table

    @cached_property
    def pools(self) -> list[str]:
        """The pools, in the order of the profile."""
        return list(self["pools"]["pool"])

    @cached_property
    def texts(self) -> dict[str, str]:
        """The best text router of each pool: by its plan where there are plans, chosen without the
        test rows; else the one with the highest AUC on test rows.
        """
        of = {}
        for pool in self.pools:
            best = None
            if self.has("decision_differences"):
                rows = self["decision_differences"]
                rows = rows[(rows["pool"] == pool) & rows["best_text_by_plan"]]
                best = next(iter(rows["method_b"]), None)
            best = best or (best_semantic(self["metrics"], pool) if self.has("metrics") else None)
            of[pool] = best or "tfidf"
        return of

    @cached_property
    def shown(self) -> dict[str, list[str]]:
        """The few methods of each pool that a figure tells apart: ours, the paper's, best text."""
        metrics, few = of_pools(self["metrics"]), {}
        for pool in self.pools:
            known = set(metrics.loc[metrics["pool"] == pool, "method"])
            best = best_semantic(self["metrics"], pool) or "tfidf"
            few[pool] = [name for name in ("ours", "paper", best) if name in known]
        return few

    @cached_property
    def planned(self) -> dict[str, list[str]]:
        """Ours and the best text router of the pools with plans."""
        pools = self["plans"]["pool"].unique() if self.has("plans") else []
        return {pool: ["ours", self.texts[pool]] for pool in pools}

    def decision(self, pool: str) -> Decision | None:
        """What the figure of a decision needs; None where nothing can be saved."""
        if not self.has("targets", "curve"):
            return None
        points, curves = (
            table[table["pool"] == pool] for table in (self["targets"], main_rows(self["curve"]))
        )
        points, text = points.dropna(subset="cost"), self.texts[pool]
        if len(points) < 2 or curves.empty:
            return None
        name, unit, accuracy = self._best_single(pool, points)
        if not unit > 0:
            return None
        points, curves = (table.assign(cost=table["cost"] / unit) for table in (points, curves))
        plan, of_text = (self._plan(pool, method, points, unit) for method in ("ours", text))
        routed = self.get("routed") if self.has("plans") else None
        if routed is not None:
            routed = routed[routed["pool"] == pool]
        shown = routed if routed is not None and len(routed) else None
        certified = self.has("decisions") and pool in set(self["decisions"]["pool"])
        intervals = {}
        if certified:
            of = self["decisions"], pool, "ours", NO_LOSS
            intervals = {"saving": found(*of, SAVING), "gain": found(*of, GAIN)}
        return Decision(
            pool,
            points,
            curves,
            name,
            accuracy,
            text,
            plan,
            of_text,
            shown,
            certified=certified,
            **intervals,
        )

    def _best_single(self, pool: str, points: pd.DataFrame) -> tuple[str, float, float]:
        """Name, mean cost and accuracy of the best single target on test rows: the one that plans
        are held against, chosen on labelled queries of each split; without plans the most accurate.
        """
        if self.has("decisions", "plans") and pool in set(self["decisions"]["pool"]):
            of = self["decisions"], pool, "ours", NO_LOSS
            accuracy, gain, cost, saved = (
                found(*of, m)[0] for m in ("accuracy", GAIN, "cost", SAVING)
            )
            names = self["plans"].loc[self["plans"]["pool"] == pool, "best"].unique()
            name = str(names[0]) if len(names) == 1 else "the best single target"
            return name, cost / (1 - saved), accuracy - gain
        best = points.loc[points["accuracy"].idxmax()]
        return str(best["target"]), float(best["cost"]), float(best["accuracy"])

    def _plan(
        self, pool: str, method: str, points: pd.DataFrame, unit: float
    ) -> tuple[float, float] | None:
        """Share of the best single target's cost, and accuracy, of a method as it was planned: by
        the plan without a loss, or by the tolerance chosen on calibration rows.
        """
        if self.has("decisions") and pool in set(self["decisions"]["pool"]):
            of = self["decisions"], pool, method, NO_LOSS
            cost, accuracy = (found(*of, metric)[0] for metric in ("cost", "accuracy"))
            return None if pd.isna(cost) else (cost / unit, accuracy)
        rows = of_pools(self["metrics"], CALIBRATED)
        rows = rows[(rows["pool"] == pool) & (rows["method"] == method)]
        value = rows.drop_duplicates("metric").set_index("metric")["value"]
        saved = value.get("cost_saving_vs_max", float("nan"))
        if pd.isna(saved):
            return None
        return (1 - saved) * points["cost"].max(), float(value["accuracy"])
