"""A router of a profile's first pool, trained on all its queries, saved, loaded and asked live."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prefill_router.evaluate.plans import NO_LOSS
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


def plans_table(router: Router) -> pd.DataFrame:
    """What a router promises, from its labelled queries.

    Returns
    -------
    DataFrame[plan, asks, price, accuracy, best_single, lower_bound, cost, best_single_cost,
        queries]
        ``price``: of a unit of cost, in probability; NaN where the plan is to always ask the best
        single target, which is then in ``asks``. ``lower_bound``: of the accuracy minus the best
        single target's, with 95 % confidence. Costs are in the router's unit, a query.
    """
    rows = [
        {
            "plan": name,
            "asks": "by utility" if plan.rule else router.target_names[plan.best],
            "price": plan.rule.value if plan.rule else np.nan,
            "accuracy": plan.accuracy,
            "best_single": plan.best_accuracy,
            "lower_bound": plan.bound,
            "cost": plan.cost,
            "best_single_cost": plan.best_cost,
            "queries": plan.queries,
        }
        for name, plan in router.plans.items()
    ]
    return pd.DataFrame(rows)


def plan_sentence(router: Router) -> str:
    """What the plan that is followed by default promises."""
    plan = router.plans[NO_LOSS]
    if plan.rule is None:
        return (
            f"No cheaper point is as accurate as {router.target_names[plan.best]} with 95 %"
            " confidence, so the plan is to ask that target."
        )
    saved = 1 - plan.cost / plan.best_cost if plan.best_cost else 0.0
    return (
        f"Planned: {saved:.0%} less cost than {router.target_names[plan.best]}, at"
        f" {plan.accuracy:.1%} right against {plan.best_accuracy:.1%} on {plan.queries} labelled"
        " queries out of fold; with 95 % confidence no accuracy is lost."
    )
