"""List the plans of a router with their evidence.

prefill-router plan my-router
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefill_router.evaluate.plans import Plan
from prefill_router.run.arguments import command_line
from prefill_router.serve.routed import RouterError

# `--help` and wrong options are answered before what takes seconds to import.
if TYPE_CHECKING:
    from prefill_router.serve.router import Router


def rule_in_words(plan: Plan, names: Sequence[str], unit: str) -> str:
    """How a plan decides."""
    if plan.rule is None:
        return f"always {names[plan.best]}"
    return f"the largest P(correct) - {plan.rule.value:.4g} x expected cost in {unit}"


def _evidence(plan: Plan, best: str) -> str:
    if plan.epsilon is None or plan.delta is None:
        return (
            f"the most accurate rule at the mean cost of always {best}; chosen without a test, it"
            " promises nothing"
        )
    sure, loss = f"{100 * (1 - plan.delta):g} %", f"{100 * plan.epsilon:g}"
    allowed = f"at most {loss} {'point' if loss == '1' else 'points'} of accuracy"
    if not plan.epsilon:
        allowed = "no accuracy"
    if plan.rule is None:
        return f"no cheaper rule was shown, with {sure} confidence, to lose {allowed}"
    return (
        f"with {sure} confidence it loses {allowed} against always {best} (lower bound of the"
        f" difference: {100 * plan.bound:+.1f} points)"
    )


def plan_lines(router: Router) -> list[str]:
    """Every plan in three lines; one line for a router without plans."""
    if not router.plans:
        return [
            "no plans: its labelled queries were too few, or an older version wrote it. It asks the"
            " target with the largest P(correct)."
        ]
    lines = []
    for name, plan in router.plans.items():
        best = router.target_names[plan.best]
        saved = 1 - plan.cost / plan.best_cost if plan.best_cost else 0.0
        lines += [
            f"\n{name}: {rule_in_words(plan, router.target_names, router.cost_unit)}",
            f"  {_evidence(plan, best)}",
            f"  {plan.accuracy:.1%} right at {plan.cost:.4g} {router.cost_unit} a query; always"
            f" {best}: {plan.best_accuracy:.1%} at {plan.best_cost:.4g} ({saved:.0%} saved)",
            f"  seen on {plan.queries} labelled queries in {plan.groups} groups, none of which"
            " taught the P it was judged with",
        ]
    return lines


def plans_as_json(router: Router) -> dict[str, Any]:
    """The plans with the names of their targets."""
    return {
        name: {**asdict(plan), "best": router.target_names[plan.best]}
        for name, plan in router.plans.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 where there is no router."""
    parser = command_line(
        "plan",
        "List the plans of a router: the operating points that were chosen when it was trained,"
        " what each promises, and on how many labelled queries that rests.",
    )
    parser.add_argument("router", type=Path, metavar="ROUTER", help="folder of a saved router")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    from prefill_router.serve.router import Router

    try:
        router = Router.load(arguments.router)
    except RouterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(plans_as_json(router), indent=1))
        return 0
    print(
        f"{arguments.router}: {router.method} for {', '.join(router.target_names)}, trained on"
        f" {router.trained_on} queries"
    )
    print("\n".join(plan_lines(router)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
