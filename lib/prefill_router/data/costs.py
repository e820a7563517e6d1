"""What a target costs on a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from prefill_router.data.outcomes import Outcomes, OutcomesError
from prefill_router.data.splits import Split

COST_MODELS = ("median_output", "input_only", "realised")


def without_cost(outcomes: Outcomes, cost_model: str = "median_output") -> list[str]:
    """Names of the targets to which a cost model can give no cost: they have no price (or no
    realised cost).
    """
    if cost_model == "realised":
        unknown = np.isnan(outcomes.cost).all(axis=0)
    else:
        unknown = np.isnan([t.input_price for t in outcomes.targets])
        if cost_model == "median_output":
            unknown |= np.isnan([t.output_price for t in outcomes.targets])
            unknown &= ~outcomes.realised_only()
    return [name for name, missing in zip(outcomes.target_names, unknown, strict=True) if missing]


def priced(outcomes: Outcomes, cost_model: str = "median_output") -> Outcomes | None:
    """The targets that a cost model can give a cost, all queries; None if they are fewer than two:
    no pool.

    ``outcomes`` itself if every target has a cost.
    """
    unknown = without_cost(outcomes, cost_model)
    known = [name for name in outcomes.target_names if name not in unknown]
    if len(known) < 2:
        return None
    return outcomes.pool(known) if unknown else outcomes


def expected_cost(
    outcomes: Outcomes, train_rows: Sequence[int] | np.ndarray, cost_model: str = "median_output"
) -> np.ndarray:
    """Cost of each target on each query, as charged to a router.

    Parameters
    ----------
    outcomes : Outcomes
    train_rows : int positions or boolean mask [n]
        The medians come from these rows alone.
    cost_model : {"median_output", "input_only", "realised"}
        ``median_output`` (LLM Router, arXiv 2603.20895): input tokens x input price + the target's
        median training output tokens x output price; where only realised costs are known, their
        line over the input tokens (see ``cost_lines``). ``input_only``: the first term alone, as
        that paper's published serving code does; it has no cost for a target without an input
        price. ``realised``: ``outcomes.cost``, what the answer did cost (known only afterwards).

    Returns
    -------
    ndarray [n, K]
        In ``outcomes.cost_unit``; NaN where the tokens (or the realised cost) are missing.

    Raises
    ------
    OutcomesError
        On an unknown cost model, a target without a price, or one without any output token count
        (or, where it has no price, without any realised cost) on the training rows.
    """
    if cost_model != "realised":
        per_query, per_token = cost_lines(outcomes, train_rows, cost_model)
        # what does not depend on the tokens is known without them
        return per_query + np.where(per_token > 0, outcomes.input_tokens * per_token, 0.0)
    check_known(outcomes, cost_model)
    return outcomes.cost.copy()


def cost_lines(
    outcomes: Outcomes, train_rows: Sequence[int] | np.ndarray, cost_model: str = "median_output"
) -> tuple[np.ndarray, np.ndarray]:
    """What ``expected_cost`` charges: a part per query and a part per input token of the target.

    A target with prices has the median training output tokens x output price per query and the
    input price per token. One with realised costs only has the straight line with the least squared
    error over its training answers, both parts >= 0: how long the answer will be is not known
    beforehand, how long the prompt is, is.

    Parameters
    ----------
    outcomes, train_rows
        As in ``expected_cost``.
    cost_model : {"median_output", "input_only"}

    Returns
    -------
    per_query, per_token : ndarray [K]
        In ``outcomes.cost_unit``.

    Raises
    ------
    OutcomesError
        See ``expected_cost``.
    """
    check_known(outcomes, cost_model)
    per_query, per_token = (
        np.zeros(len(outcomes.targets)),
        np.array([t.input_price for t in outcomes.targets]),
    )
    if cost_model == "input_only":
        return per_query, per_token
    rows, realised_only = np.asarray(train_rows), outcomes.realised_only()
    for k, target in enumerate(outcomes.targets):
        seen = (outcomes.cost if realised_only[k] else outcomes.output_tokens)[rows, k]
        if np.isnan(seen).all():
            what = "realised cost" if realised_only[k] else "output_tokens"
            raise OutcomesError(
                f"{outcomes.name}: target {target.name!r} has no {what} on the training rows, so"
                " its cost is unknown; fill them in, drop the target, or use"
                " cost_model='input_only'"
            )
        if realised_only[k]:
            per_query[k], per_token[k] = _cost_line(outcomes.input_tokens[rows, k], seen)
        else:
            per_query[k] = np.nanmedian(seen) * target.output_price
    return per_query, per_token


def _cost_line(tokens: np.ndarray, cost: np.ndarray) -> tuple[float, float]:
    """Least-squares line of the mean cost over input tokens: (constant, slope), both >= 0; the mean
    alone where no tokens are counted.
    """
    from scipy.optimize import nnls  # half a second to import, for tables with dollars alone

    both = ~np.isnan(tokens) & ~np.isnan(cost)
    mean = float(np.nanmean(cost))
    if mean == 0 or not tokens[both].any():
        return mean, 0.0
    # in units of their means: dollars are too small, and tokens too large, for the solver's
    # tolerance
    scale = tokens[both].mean()
    constant, slope = nnls(
        np.column_stack([np.ones(both.sum()), tokens[both] / scale]), cost[both] / mean
    )[0]
    return constant * mean, slope * mean / scale


def with_hidden_reasoning(outcomes: Outcomes, factors: Mapping[str, float]) -> Outcomes:
    """The outcomes as if a target's answers were so many times as long as what is visible of them.

    Published counts leave the reasoning tokens of some targets out, which are billed; a factor
    stands for them until somebody counts them. ``cost`` grows by the further output tokens at the
    target's output price.

    Parameters
    ----------
    factors : target to a factor from 1; targets of other pools are passed over.
    """
    names = outcomes.target_names
    factor = np.array([float(factors.get(name, 1.0)) for name in names])
    price = np.array([target.output_price for target in outcomes.targets])
    more = np.where(factor > 1, outcomes.output_tokens * (factor - 1) * price, 0.0)
    return replace(
        outcomes, output_tokens=outcomes.output_tokens * factor, cost=outcomes.cost + more
    )


def check_known(outcomes: Outcomes, cost_model: str) -> None:
    """Refuse an unknown cost model, and targets to which it can give no cost."""
    if cost_model not in COST_MODELS:
        raise OutcomesError(f"unknown cost model {cost_model!r}; known: {', '.join(COST_MODELS)}")
    if unknown := without_cost(outcomes, cost_model):
        raise OutcomesError(
            f"{outcomes.name}: no price is known for {', '.join(unknown)}, so no cost under cost"
            f" model {cost_model!r}; leave the target out with data.costs.priced, or add its price"
        )


def expected_costs(
    outcomes: Outcomes, splits: Mapping[int, Split], cost_model: str
) -> dict[int, np.ndarray]:
    """`expected_cost` [n, K] by split seed; NaN for targets without a price, for all if
    fewer than two have one.
    """
    found, pool = {}, priced(outcomes, cost_model)
    for seed, split in splits.items():
        found[seed] = np.full(outcomes.correct.shape, np.nan)
        if pool is not None:
            found[seed][:, [outcomes.target_names.index(name) for name in pool.target_names]] = (
                expected_cost(pool, split.train, cost_model)
            )
    return found
