"""What the plan without a loss saves, by the encoder that reads the prompt."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from prefill_router.evaluate.cross_fitted import CrossFitted, Pool
from prefill_router.evaluate.decisions import CURVE, decide, decisions_table
from prefill_router.evaluate.keys import AtPoint
from prefill_router.evaluate.plans import NO_LOSS, ONE_POINT

POINTS = (NO_LOSS, ONE_POINT)
SHOWN = {
    "saving_over_best_single": POINTS,
    "accuracy_over_best_single": POINTS,
    "p_auccc_utility": (CURVE,),
}
COLUMNS = ["pool", "encoder", "operating_point", "metric", "value", "ci_low", "ci_high", "n"]


def encoder_plans(
    pools: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]], n_boot: int, reference: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plans of the kernel router on each encoder, chosen and tested as those of any method.

    Parameters
    ----------
    pools : dict of pool to (Pool, dict of encoder to CrossFitted)
    n_boot : int
        Resamples of the groups.
    reference : str
        The encoder that the others are compared with.

    Returns
    -------
    plans : DataFrame of ``COLUMNS``
        The metrics of ``SHOWN``, with 95 % intervals.
    gains : DataFrame[pool, encoder, reference, operating_point, metric, diff, ci_low, ci_high, n]
        Paired differences of each other encoder from ``reference``.
    """
    tables, gains = [], []
    for pool, (of_pool, methods) in pools.items():
        averages, _ = decide(of_pool, methods, n_boot)
        table = decisions_table(averages, methods)
        table = table.assign(pool=pool, encoder=table["method"])
        tables.append(_shown(table)[COLUMNS])
        for encoder in methods:
            if encoder == reference:
                continue
            for point in (CURVE, *POINTS):
                diff = averages.paired(AtPoint(encoder, point), AtPoint(reference, point))
                gains.append(
                    _shown(diff.assign(operating_point=point, encoder=encoder, pool=pool)).assign(
                        reference=reference
                    )
                )
    columns = ["pool", "encoder", "reference", "operating_point", "metric"]
    found = pd.concat(gains, ignore_index=True) if gains else pd.DataFrame(columns=columns)
    return pd.concat(tables, ignore_index=True), found[
        [*columns, *(name for name in ("diff", "ci_low", "ci_high", "n") if name in found)]
    ]


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    asked = [
        point in SHOWN.get(metric, ())
        for metric, point in zip(table["metric"], table["operating_point"], strict=True)
    ]
    return table[asked].reset_index(drop=True)
