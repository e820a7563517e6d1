"""What a router knows of its targets, and what it answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from prefill_router.data.costs import cost_lines, priced, without_cost
from prefill_router.data.outcomes import Outcomes

if TYPE_CHECKING:
    from prefill_router.encode.store import ActivationStore

UNLIKE = "it is unlike the training"
LENGTH = 1000  # tokens of the prompt by which the dearest target is told


class RouterError(ValueError):
    """A router cannot be trained, saved, loaded or asked; says why and what to do."""


@dataclass(frozen=True)
class RoutedTarget:
    """What a router knows of a target.

    Attributes
    ----------
    cost_per_query, cost_per_input_token : float
        Expected cost in the cost unit, as `data.costs.cost_lines` has them: what a query costs
        whatever its length, and each token that the target reads.
    tokens_per_encoder_token : float
        How many tokens the target counts for one of the encoder's.
    input_price, output_price : float or None
        Per token; None where only what its answers did cost is known.
    median_output_tokens, mean_output_tokens, p25_output_tokens, p75_output_tokens : float or None
        Of its training answers; None where they are not counted.
    """

    name: str
    cost_per_query: float
    cost_per_input_token: float
    tokens_per_encoder_token: float
    input_price: float | None
    output_price: float | None
    median_output_tokens: float | None
    mean_output_tokens: float | None
    p25_output_tokens: float | None
    p75_output_tokens: float | None


@dataclass(frozen=True)
class Route:
    """Where a query goes: the target, P(correct) and expected cost of every target, the encoder's
    tokens.

    ``reason`` is None, or says why the fallback is the target: the prompt could not be read (then P
    and cost are NaN and the tokens 0), or it is unlike the training. ``plan`` is the plan that was
    followed, if one was; ``familiarity`` is that of `heads.familiarity`, None if unknown.
    """

    target: str
    p_correct: dict[str, float]
    cost: dict[str, float]
    tokens: int
    reason: str | None = None
    plan: str | None = None
    familiarity: float | None = None


class Chooses(Protocol):
    """Decides a request; `planned.Decision` is one."""

    @property
    def plan(self) -> str | None:
        """Name of the plan that is followed, if one is."""

    @property
    def false_alarms(self) -> float:
        """Familiarity below which a prompt goes to the fallback."""

    def choose(self, names: Sequence[str], p: np.ndarray, cost: np.ndarray) -> str:
        """The target among these, from their P(correct) and expected cost [K]."""


def routed_targets(pool: Outcomes, rows: np.ndarray, of_encoder: np.ndarray) -> list[RoutedTarget]:
    """What training rows tell of each target; ``of_encoder`` [n] are their encoder tokens."""
    targets = []
    for k, (target, per_query, per_token) in enumerate(
        zip(pool.targets, *cost_lines(pool, rows), strict=True)
    ):
        output, ratio = pool.output_tokens[rows, k], pool.input_tokens[rows, k] / of_encoder
        # a target whose tokens were not counted is taken to count as the encoder does
        ratio = 1.0 if np.isnan(ratio).all() else float(np.nanmedian(ratio))
        prices = [
            None if np.isnan(price) else price
            for price in (target.input_price, target.output_price)
        ]
        spread = (
            (None,) * 4
            if np.isnan(output).all()
            else (
                float(np.nanmedian(output)),
                float(np.nanmean(output)),
                *(float(q) for q in np.nanpercentile(output, (25, 75))),
            )
        )
        targets.append(
            RoutedTarget(target.name, float(per_query), float(per_token), ratio, *prices, *spread)
        )
    return targets


def tokens_of(store: ActivationStore, query_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Encoder tokens [n] of these queries."""
    of = dict(zip(store.query_ids, store.tokens.tolist(), strict=True))
    return np.array([of[str(q)] for q in query_ids], np.float64)


def routable(outcomes: Outcomes) -> Outcomes:
    """The targets that have a price or a cost; RouterError if fewer than two have."""
    unknown, pool = without_cost(outcomes), priced(outcomes)
    if not unknown:
        return outcomes
    lacking = f"no price is known for {', '.join(unknown)}"
    add = (
        "write a line for each into the price list, per million tokens, such as"
        f" `{unknown[0]}: {{input: 0.15, output: 0.60}}`"
    )
    if pool is None:
        raise RouterError(
            f"{outcomes.name}: a router weighs P(correct) against cost, and fewer than two targets"
            f" have a price; {lacking}: {add}"
        )
    warnings.warn(
        f"{outcomes.name}: {lacking}, so the router leaves them out; to have them, {add}",
        stacklevel=5,
    )
    return pool


def asked_targets(outcomes: Outcomes, rows: np.ndarray) -> list[str]:
    """Names of the targets that have an outcome on any of these rows."""
    asked = ~np.isnan(outcomes.correct[rows]).all(axis=0)
    return [name for name, yes in zip(outcomes.target_names, asked, strict=True) if yes]


def expected_cost(targets: Sequence[RoutedTarget], tokens: np.ndarray) -> np.ndarray:
    """Cost [n, K] of queries of so many encoder tokens [n]: input tokens x cost per input token +
    cost per query.
    """
    per_token = [t.tokens_per_encoder_token * t.cost_per_input_token for t in targets]
    return np.outer(tokens, per_token) + [t.cost_per_query for t in targets]


def routes(
    targets: Sequence[RoutedTarget],
    p: Mapping[str, np.ndarray],
    tokens: Mapping[str, int],
    reasons: Mapping[str, str],
    decision: Chooses,
    fallback: str,
) -> dict[str, Route]:
    """Routes by the names of the prompts: of those with P(correct) and familiarity [K + 1], and of
    those that could not be read, for these reasons.
    """
    names = [target.name for target in targets]
    costs = expected_cost(targets, np.array([tokens[name] for name in p], np.float64))
    found = {}
    for (name, values), cost in zip(p.items(), costs, strict=True):
        of_targets, familiar = values[:-1], None if np.isnan(values[-1]) else float(values[-1])
        p_correct = dict(zip(names, of_targets.tolist(), strict=True))
        costs_of = dict(zip(names, cost.tolist(), strict=True))
        rest: dict[str, Any] = {"plan": decision.plan, "familiarity": familiar}
        if familiar is not None and familiar < decision.false_alarms:
            chosen, rest["reason"] = fallback, f"{UNLIKE}: familiarity {familiar:.4f}"
        else:
            chosen = decision.choose(names, of_targets, cost)
        found[name] = Route(chosen, p_correct, costs_of, tokens[name], **rest)
    for name, reason in reasons.items():
        nothing = dict.fromkeys(names, float("nan"))
        found[name] = Route(fallback, nothing, dict(nothing), 0, reason)
    return found


def checked_fallback(
    targets: Sequence[RoutedTarget], on_error: str, fallback: str | None, best: str = ""
) -> str:
    """The fallback, by default the best single target of the plans; where there are none the
    target that is dearest on a prompt of ``LENGTH`` tokens.

    Raises
    ------
    RouterError
        ``on_error`` or ``fallback`` makes no sense.
    """
    if on_error not in ("raise", "fallback"):
        raise RouterError(f"on_error must be 'raise' or 'fallback', not {on_error!r}")
    names = [target.name for target in targets]
    if fallback is None and best:
        return best
    if fallback is None:
        return names[int(expected_cost(targets, np.array([LENGTH]))[0].argmax())]
    if fallback not in names:
        raise RouterError(
            f"the fallback {fallback!r} is no target of the router; it has {', '.join(names)}"
        )
    return fallback
