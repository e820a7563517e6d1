"""The kinds of values that a profile holds, as pydantic checks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints
from typing_extensions import TypedDict

from prefill_router.heads.names import BASELINES


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, (tuple, list)) else value


def _all_different(values: Sequence) -> Sequence:
    if len(set(values)) < len(values):
        raise ValueError("twice the same")
    return values


def add_up_to_one(shares: Sequence[float]) -> Sequence[float]:
    if abs(sum(shares) - 1) > 1e-9:
        raise ValueError("the shares must add up to 1")
    return shares


def not_just_one(names: Sequence) -> Sequence:
    if len(names) == 1:
        raise ValueError("one is no choice")
    return names


def with_paper(methods: Sequence[str]) -> Sequence[str]:
    if "paper" not in methods:
        raise ValueError("paper must be among them")
    return methods


def keeps_no_more_than_members(ensemble: Ensemble) -> Ensemble:
    if ensemble.get("keep", 0) > ensemble.get("members", float("inf")):
        raise ValueError(f"keep ({ensemble['keep']}) is larger than members")
    return ensemble


Text = Annotated[str, StringConstraints(pattern=r"\S")]
Count = Annotated[int, Strict(), Field(ge=1)]
NotNegative = Annotated[float, Strict(), Field(ge=0)]
Share = Annotated[float, Strict(), Field(gt=0, le=1)]
Drop = Annotated[float, Strict(), Field(ge=0, lt=1)]
Different = AfterValidator(_all_different)
Frozen = AfterValidator(_frozen)
Texts = Annotated[tuple[Text, ...], Different]
Counts = Annotated[tuple[Count, ...], Field(min_length=1), Different]
Targets = Annotated[tuple[Text, ...], Field(min_length=2), Different]
Baselines = Annotated[
    tuple[Literal[BASELINES], ...],  # type: ignore[valid-type]
    Different,
    Field(min_length=1, description=f"a list of one or more of {', '.join(BASELINES)}"),
]
DType = Literal["auto", "float32", "float16", "bfloat16"]


class Ensemble(TypedDict, total=False):
    """Fields of `heads.network.TrunkConfig` that a profile sets."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as pydantic asks
    members: Count
    keep: Count
    max_epochs: Count
    patience: Count
    batch_size: Count
    learning_rate: NotNegative
    weight_decay: NotNegative
    min_improvement: NotNegative
    validation_fraction: Share
    hidden: Counts
    dropout: Drop | Annotated[tuple[Drop, ...], Field(min_length=1)]
    dtype: Text


class Tolerance(TypedDict, total=False):
    """By how much a number may differ: relatively, absolutely."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as pydantic asks
    rtol: NotNegative
    atol: NotNegative


class ColumnTolerance(Tolerance, total=False):
    """Of a column; `mean` is for the mean absolute difference of each method's numbers."""

    mean: NotNegative


class Tolerances(Tolerance, total=False):
    """Of all numbers, and of single columns and metrics."""

    columns: dict[str, ColumnTolerance]
    metrics: dict[str, Tolerance]
