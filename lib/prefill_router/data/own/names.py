"""What the columns of a table may be called."""

from __future__ import annotations

import re
from typing import Any

# What columns may be called, compared without case, spaces and underscores, in tiers: a name of a
# later tier is taken only where none of an earlier one is there, as it often means something else
# (a `target` is the right answer, an `id` that of the row). A `label` is never taken: it is the
# right answer more often than whether a model gave it, and both are written as 0 and 1.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "question": (("question", "prompt", "query", "input", "instruction"),),
    "model": (("model", "modelname", "llm"), ("target",)),
    "isCorrect": (
        ("iscorrect", "correct", "correctness"),
        ("acc", "accuracy", "score", "performance", "passed"),
    ),
    "output_tokens": (("outputtokens", "completiontokens", "generatedtokens", "tokensout"),),
    "input_tokens": (("inputtokens", "prompttokens", "tokensin"),),
    "query_id": (("queryid", "sampleid", "questionid", "promptid"), ("id",)),
    "group": (("group", "groupid", "duplicategroup"),),
    "cost_usd": (("costusd",), ("cost", "totalcost")),
}
# The first that is there is the benchmark, the next one the category.
BENCHMARKS = (
    "benchmark",
    "evalname",
    "dataset",
    "datasetname",
    "task",
    "taskname",
    "subject",
    "domain",
    "category",
    "topic",
    "source",
)
# What the right answer may be called; asked about where no column says isCorrect, never taken.
GOLD = ("label", "labels", "goldlabel", "gold", "groundtruth", "answer", "reference")
# What outcomes may be called that are no yes or no; asked about, never taken.
GRADES = ("grade", "grades", "rating", "quality", "points", "mark", "stars", "judgement")
PROMPT_PARTS = (
    "context",
    "passage",
    "choices",
    "options",
    "system",
    "systemprompt",
    "systemmessage",
    "fewshot",
    "examples",
    "document",
    "background",
)


def key(column: Any) -> str:
    """A column's name without case, spaces and underscores."""
    return re.sub(r"[\s_\-]", "", str(column)).lower()


KNOWN = (
    {alias for tiers in NAMES.values() for tier in tiers for alias in tier}
    | set(BENCHMARKS)
    | set(PROMPT_PARTS)
)
