"""The planned operating point of a router: its tolerance, chosen on calibration rows.

It is the point called ``calibrated`` in tables, and the one to plan with. A point that is read off
the test curve, such as the saving at the best single target's accuracy, is chosen in hindsight.
"""

from __future__ import annotations

import numpy as np

from prefill_router.data.splits import Split
from prefill_router.evaluate.curves import router_curve
from prefill_router.evaluate.rules import route

# Cost and correctness [n] of one answer to every test query.
Answers = tuple[np.ndarray, np.ndarray]


def calibrated_tolerance(
    p: np.ndarray, cost: np.ndarray, correct: np.ndarray, overhead: float | np.ndarray
) -> float:
    """The tolerance whose router was cheapest on the calibration rows among those at least as
    accurate as the best single target there.

    0 if no tolerance reaches it. `p, cost, correct` are [n, K] on calibration rows.
    """
    curve = router_curve(p, cost, correct, overhead)
    good = curve[curve["accuracy"] >= correct.mean(axis=0).max() - 1e-12]
    return float(good.loc[good["cost"].idxmin(), "tolerance"]) if len(good) else 0.0


def planned_answers(
    p: np.ndarray, cost: np.ndarray, correct: np.ndarray, overhead: np.ndarray, split: Split
) -> Answers:
    """The answers on the test rows at the tolerance chosen on the calibration rows."""
    calibration, test = split.calibration, split.test
    tolerance = calibrated_tolerance(
        p[calibration], cost[calibration], correct[calibration], overhead[calibration]
    )
    chosen = route(p[test], cost[test], tolerance)
    return cost[test, chosen] + overhead[test], correct[test, chosen]
