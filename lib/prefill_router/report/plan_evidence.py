"""What stands behind plans: on how many splits one was found, and how many promises were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prefill_router.evaluate.plans import NO_LOSS


@dataclass(frozen=True)
class Evidence:
    """What `plans.csv` and `promises.csv` hold of plans of ours that lose no accuracy.

    Attributes
    ----------
    splits : {(profile, pool): (splits whose plan is not to ask the best single target, splits)}
    draws, broken, routed : plans tried on samples; those that were less accurate than promised;
        those that do not ask the best single target alone
    delta : the share that may break
    """

    splits: dict[tuple[str, str], tuple[int, int]]
    draws: int = 0
    broken: int = 0
    routed: int = 0
    delta: float = 0.0

    @classmethod
    def of(cls, results: Path, names: Sequence[str]) -> Evidence:
        """From the tables of the profiles that have them."""
        splits: dict[tuple[str, str], tuple[int, int]] = {}
        tables = []
        for name in names:
            if (path := results / name / "plans.csv").is_file():
                made = pd.read_csv(path)
                made = made[(made["method"] == "ours") & (made["plan"] == NO_LOSS)]
                for pool, rows in made.groupby("pool"):
                    splits[name, str(pool)] = (int(rows["routes"].sum()), len(rows))
            if (path := results / name / "promises.csv").is_file():
                tables.append(pd.read_csv(path))
        if not tables:
            return cls(splits)
        table = pd.concat(tables)
        table = table[(table["method"] == "ours") & (table["epsilon"] == 0)]
        routed = table["draws"] * (1 - table["fallback"])
        return cls(
            splits,
            int(table["draws"].sum()),
            int(table["broken"].sum()),
            round(routed.sum()),
            float(table["delta"].max()),
        )

    @property
    def sentence(self) -> str:
        """How many promises were kept; "" where none was tried."""
        if not self.draws:
            return ""
        share = self.broken / self.draws
        return (
            f" Of {self.draws:,} such plans, chosen on samples, {100 * share:.1f} % were in truth"
            f" less accurate than that target ({100 * self.delta:.0f} % may be"
            f"{'' if share <= self.delta else ', fewer than that'}); of the {self.routed:,} that"
            f" route at all it is {100 * self.broken / max(self.routed, 1):.1f} %."
        )
