"""Which tolerance the demonstration takes."""

import pandas as pd

from prefill_router.run.route_demo import best_single_accuracy, hindsight_tolerance

CURVE = pd.DataFrame(
    {"tolerance": [0.0, 0.1, 0.2], "cost": [3.0, 2.0, 1.0], "accuracy": [0.8, 0.7, 0.5]}
)


def test_the_cheapest_point_that_is_accurate_enough():
    assert hindsight_tolerance(CURVE, 0.7, None) == 0.1
    assert hindsight_tolerance(CURVE, 0.9, None) == 0.0
    assert hindsight_tolerance(CURVE, 0.7, 0.2) == 0.2


def test_the_best_single_target_of_the_pool():
    rows = [("a", "best_single", 0.6), ("b", "best_single", 0.7), ("a", "ours", 0.8)]
    metrics = pd.DataFrame(rows, columns=["pool", "method", "value"]).assign(metric="accuracy")
    assert best_single_accuracy(metrics, "b") == 0.7
