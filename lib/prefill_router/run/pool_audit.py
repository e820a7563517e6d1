"""The embedded pool as it is committed: what it holds, and every verdict judged again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prefill_router.run.collect import CORRECT_FROM, judge
from prefill_router.run.collect_targets import (
    EXAMPLES,
    INSTRUCTIONS,
    MAX_NEW_TOKENS,
    RECIPES,
    CollectError,
)

NAMES = [recipe.name for recipe in RECIPES]


@dataclass(frozen=True)
class EmbeddedPool:
    """Questions, outcomes and responses of `data/local`."""

    questions: pd.DataFrame
    outcomes: pd.DataFrame
    responses: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> EmbeddedPool:
        """The three tables of the folder."""
        names = ("queries", "outcomes", "responses")
        return cls(*(pd.read_parquet(folder / f"{name}.parquet") for name in names))

    def by_benchmark(self) -> pd.DataFrame:
        """Families, questions and groups of every benchmark."""
        return self.questions.groupby("benchmark").agg(
            families=("category", "nunique"),
            questions=("query_id", "size"),
            groups=("group", "nunique"),
        )

    def by_level(self) -> pd.DataFrame:
        """Accuracy [difficulty level, target]."""
        levels = self.questions[["query_id", "difficulty"]]
        wide = self.outcomes.merge(levels, on="query_id")
        table = wide.pivot_table(index="difficulty", columns="target", values="correct")[NAMES]
        return table.set_axis([f"level {level}" for level in table.index])

    def families(self) -> pd.DataFrame:
        """[category, target, n, accuracy, output_tokens]."""
        wide = self.outcomes.merge(self.questions[["query_id", "category"]], on="query_id")
        return wide.groupby(["category", "target"], as_index=False).agg(
            n=("correct", "size"),
            accuracy=("correct", "mean"),
            output_tokens=("output_tokens", "mean"),
        )


def recipes() -> pd.DataFrame:
    """How each target was run."""
    return pd.DataFrame(
        [
            {
                "target": r.name,
                "weights": r.encoder,
                "style": r.style,
                "active parameters": f"{r.params:,}",
                "at most new tokens": MAX_NEW_TOKENS[r.style],
            }
            for r in RECIPES
        ]
    )


def instructions() -> str:
    """The instruction of every style, and from which score an answer is right, as Markdown."""
    lines = [
        f"**{style}**: {text} ({len(EXAMPLES[style])} worked examples)"
        for style, text in INSTRUCTIONS.items()
    ]
    return "\n\n".join([*lines, f"An answer is right from a score of {CORRECT_FROM}."])


def judged_again(pool: EmbeddedPool) -> pd.DataFrame:
    """Every committed response scored once more, a row for each target.

    Raises
    ------
    CollectError
        A verdict differs from the committed one.
    """
    rows, changed = [], 0
    for recipe in RECIPES:
        run = pool.responses[pool.responses["target"] == recipe.name].merge(
            pool.outcomes[pool.outcomes["target"] == recipe.name], on=["query_id", "target"]
        )
        responses, steps = run[["query_id", "response"]], recipe.style == "steps"
        again, raised = judge(pool.questions, responses, steps)
        changed += int((again["correct"].to_numpy() != run["correct"].to_numpy()).sum())
        rows.append(
            {
                "target": recipe.name,
                "accuracy": run["correct"].mean(),
                "no answer found": (again["answer"] == "").mean(),
                "scorer raised": raised,
                "output tokens": run["output_tokens"].mean(),
                "input tokens": run["input_tokens"].mean(),
                "TFLOP per query": run["cost"].mean(),
            }
        )
    if changed:
        raise CollectError(
            f"{changed} verdicts differ from the committed ones: answers.py changed since the"
            " collection; run `make collect` (responses are kept)"
        )
    print(f"{len(pool.responses):,} responses judged again, no verdict changed")
    return pd.DataFrame(rows)


def audit_sentence(judged: pd.DataFrame, by_level: pd.DataFrame) -> str:
    """What the pool spans, and whether difficulty works as meant."""
    steps = (by_level.loc["level 1"] - by_level.loc["level 3"]).mean()
    return (
        f"The pool spans {judged['accuracy'].min():.0%} to {judged['accuracy'].max():.0%}."
        " Difficulty works as meant: accuracy at level 1 and level 3 differs by"
        f" {steps:.0%} on average over targets."
    )
