"""What the demonstration of a router says of its plan."""

from types import SimpleNamespace

from prefill_router.evaluate.plans import NO_LOSS, Plan
from prefill_router.evaluate.rules import Rule
from prefill_router.run.route_demo import plan_sentence


def sentence(cost, best_cost):
    numbers = (0.0, 0.05, 0.002, 0.8, 0.79, cost, best_cost, 500, 480)
    plan = Plan(NO_LOSS, Rule("utility", 0.0), 1, *numbers)
    return plan_sentence(SimpleNamespace(plans={NO_LOSS: plan}, target_names=["small", "large"]))


def test_the_sentence_says_what_is_saved_and_nothing_where_all_are_free():
    assert sentence(2.0, 10.0).startswith("Planned: 80% less cost than large, at 80.0% right")
    assert sentence(0.0, 0.0).startswith("Planned: 0% less cost than large, at 80.0% right")
