"""Names of methods and baselines; a module without torch, which command lines read as well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# what a router can be trained with
METHODS = ("ours", "paper", "paper_auc", "shared_block", "adapter_trunk")
CONTROLS = ("random", "prompt_length", "benchmark_mean", "tfidf", "random_features")
# trained where a profile names none
DEFAULT_BASELINES = (
    *("knn", "logistic", "mlp", "boosting", "factorisation", "clusters", "irt", "kernel"),
    *CONTROLS,
)
# all that a profile may name
BASELINES = (*DEFAULT_BASELINES, "avengers_pro", "predicted_category", "category_residual")

_TOGETHER = " + "


@dataclass(frozen=True)
class OnEncoder:
    """A method on one encoder alone, where the same method also reads several encoders together.

    In a table the two are the columns ``method`` and ``encoder``.
    """

    method: str
    encoder: str

    def __str__(self) -> str:
        return f"{self.method} on {self.encoder}"


MethodKey = str | OnEncoder
"""What tells a trained method from all others of a pool: its name, which of a method on several
encoders means the one that reads them all."""


def name_of(key: MethodKey) -> str:
    """What the column ``method`` of a table says."""
    return key.method if isinstance(key, OnEncoder) else key


def together(encoders: Iterable[str]) -> str:
    """What the column ``encoder`` of a table says of a method that reads all these."""
    return _TOGETHER.join(encoders)


def reads_several(encoder: str) -> bool:
    """Whether `together` made this of more than one encoder."""
    return _TOGETHER in encoder


def method_keys(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], MethodKey]:
    """The key of every (method, encoder) of a pool or table.

    Raises
    ------
    ValueError
        Two of them cannot be told apart.
    """
    pairs = list(dict.fromkeys(pairs))
    several = {method for method, encoder in pairs if reads_several(encoder)}
    keys: dict[tuple[str, str], MethodKey] = {}
    for method, encoder in pairs:
        alone = method in several and not reads_several(encoder)
        keys[method, encoder] = OnEncoder(method, encoder) if alone else method
    if len(set(keys.values())) < len(keys):
        names = "; ".join(f"{method} on {encoder or 'no encoder'}" for method, encoder in pairs)
        raise ValueError(
            "a method may stand once with all encoders that it reads together, and once with each"
            f" of them alone; here are: {names}"
        )
    return keys
