"""What the index notebook shows: which profiles have results, and what came out on their pools."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

from prefill_router.evaluate.plans import NO_LOSS
from prefill_router.report.decision_sentences import GAIN, SAVING, found
from prefill_router.report.words import percent, points

NO_PLAN = "–"
NO_RESULT = "smoke"  # only shows that the path works


def profiles_in_words(root: Path) -> str:
    """Every profile of ``config/`` as a line of a Markdown list: what it is, and its report; those
    without results stand at the end, with the command that makes them.
    """
    with_results, without = [], []
    for path in sorted((root / "config").glob("*.yaml")):
        says = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "outcomes" not in says or path.stem == NO_RESULT:  # the first is the price list
            continue
        report = root / "results" / path.stem / "report.md"
        if report.is_file():
            link = f"[report](../results/{path.stem}/report.md)"
            with_results.append(f"- `{path.stem}`: {says['description']} {link}")
        else:
            without.append(f"`{path.stem}`")
    missing = (
        f"- without results here: {', '.join(without)}; `make reproduce PROFILE=name` makes them"
    )
    return "\n".join([*with_results, *([missing] if without else [])])


def pools_table(results: Path, method: str = "ours") -> pd.DataFrame:
    """What came out on every pool of every profile with results.

    Returns
    -------
    DataFrame, index (profile, pool)
        Columns of text, for people: the number of queries and targets, the best single target and
        its accuracy, the oracle's; what the plan without a loss saves of the best single target's
        cost and its accuracy minus that target's, in points, with 95 % intervals on test rows. A
        dash where there is no plan.
    """
    rows = []
    for path in sorted(results.glob("*/pools.csv")):
        if path.parent.name == NO_RESULT:
            continue
        decided = path.with_name("decisions.csv")
        decisions = pd.read_csv(decided) if decided.is_file() else None
        for pool in pd.read_csv(path).to_dict("records"):
            saving, gain = NO_PLAN, NO_PLAN
            if decisions is not None and (decisions["pool"] == pool["pool"]).any():
                at = (decisions, pool["pool"], method, NO_LOSS)
                saving, gain = percent(found(*at, SAVING)), points(found(*at, GAIN))
            rows.append(
                {
                    "profile": path.parent.name,
                    "pool": pool["pool"],
                    "queries": f"{pool['queries']:,}",
                    "targets": str(pool["targets"]),
                    "best single target": pool["best_single"],
                    "right": f"{pool['best_single_accuracy']:.1%}",
                    "oracle": f"{pool['oracle_accuracy']:.1%}",
                    "planned saving": saving,
                    "accuracy minus best single, points": gain,
                }
            )
    names = ["profile", "pool"]
    return pd.DataFrame(rows).set_index(names) if rows else pd.DataFrame(columns=names)
