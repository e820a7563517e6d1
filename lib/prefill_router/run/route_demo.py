"""A router of a profile's first pool, trained on all its queries, saved, loaded and asked live."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.run.export import router_for
from prefill_router.run.loading import Run
from prefill_router.serve.router import Router


def trained_and_loaded(run: Run, method: str) -> tuple[Router, Router]:
    """The router as it was trained, and as it is loaded again with its encoders."""
    trained = router_for(run.ws, "own", method)
    folder = trained.save(run.ws.build / "router")
    given = {name: run.notes[name]["given"] for name in trained.fitted.encoders}
    router = Router.load(folder, given, run.ws.profile.device)
    megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(
        f"{method}, trained on {router.trained_on} queries for {', '.join(router.target_names)};"
        f" reads {', '.join(given)}; {megabytes:.1f} MB in {folder.name}/"
    )
    return trained, router


def live_difference(run: Run, trained: Router, router: Router, count: int = 20) -> float:
    """Largest difference in P(correct) on some queries between the trained router on stored states
    and the loaded one, which reads the prompts.
    """
    some = run.outcomes.queries.sample(min(count, run.outcomes.n), random_state=0)
    stored = trained.predict_proba(run.stores, some["query_id"].tolist())
    routes = router.route(some["prompt"].tolist())
    live = np.array([list(route.p_correct.values()) for route in routes])
    return float(np.abs(stored - live).max())


def best_single_accuracy(metrics: pd.DataFrame, pool: str) -> float:
    """Test accuracy of the target that was the best on training rows; of ``metrics.csv``."""
    rows = metrics[(metrics["pool"] == pool) & (metrics["method"] == "best_single")]
    return float(rows.set_index("metric").loc["accuracy", "value"])


def hindsight_tolerance(curve: pd.DataFrame, best_single: float, given: float | None) -> float:
    """The given tolerance, or that of the cheapest point on the test curve among those that are
    as accurate as the best single target; 0 if none is. For a demonstration: it is chosen in
    hindsight, `evaluate.operating_point` is the planned one.

    `curve`: tolerance, cost, accuracy of one router.
    """
    good = curve[curve["accuracy"] >= best_single]
    if given is not None:
        return given
    return float(good.loc[good["cost"].idxmin(), "tolerance"]) if len(good) else 0.0
