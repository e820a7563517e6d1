"""LiveCodeBench (livecodebench.github.io): published pass@1 of code generation, with the texts of
the problems from its published submissions.

Pass@1 is the share of samples that pass all tests: of ten samples for targets that do not reason;
those that do have 0 or 1. Routers learn from right and wrong, so a target is right on a problem
from `RIGHT_FROM` on.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.public.similar import similar_groups

NOTE = "no token counts were published, so no cost is known"
RIGHT_FROM = 0.5
_OUTCOMES = "src/mocks/performances_generation.json"
# the submissions that hold the texts; the leaderboard of that commit lacks their outcomes
_WITH_TEXTS = {"O1-Mini-2024-09-12 (N=1)": "O1-Mini", "O1-Preview-2024-09-12 (N=1)": "O1-Preview"}
_SIMILAR = 0.2  # problems of one contest that share their setting; unrelated ones are below


def convert(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and outcomes; problems whose texts were not published are left out.

    Parameters
    ----------
    folder : the published files, with upstream's paths.

    Returns
    -------
    queries : DataFrame[query_id, benchmark, category, prompt, group]
        `benchmark` is the difficulty, `category` the platform.
    answers : DataFrame[query_id, target, correct]

    Raises
    ------
    OutcomesError
        Two submissions hold different problems.
    """
    problems: dict[str, tuple] = {}
    rows = []
    for directory, target in _WITH_TEXTS.items():
        items = json.loads(
            (folder / directory / "Scenario.codegeneration_1_0.2_eval_all.json").read_text("utf-8")
        )
        found = {
            item["question_id"]: (item["difficulty"], item["platform"], _prompt(item))
            for item in items
        }
        if problems and found != problems:
            raise OutcomesError(
                f"{folder / directory} holds other problems than the submission beside it; take"
                " both from one commit"
            )
        problems = found
        rows += [(item["question_id"], target, item["pass@1"]) for item in items]
    for item in json.loads((folder / _OUTCOMES).read_text("utf-8"))["performances"]:
        if item["question_id"] in problems:
            rows.append((item["question_id"], item["model"], item["pass@1"] / 100))
    return from_tables(
        pd.DataFrame(
            [(query_id, *of) for query_id, of in problems.items()],
            columns=["query_id", "difficulty", "category", "prompt"],
        ),
        pd.DataFrame(rows, columns=["query_id", "model", "pass_at_1"]),
    )


def from_tables(queries: pd.DataFrame, outcomes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `convert` returns, from DataFrame[query_id, difficulty, category, prompt] and
    DataFrame[query_id, model, pass_at_1].
    """
    queries = queries.astype(str).sort_values("query_id", ignore_index=True)
    queries = queries.assign(
        benchmark=queries["difficulty"],
        group=similar_groups(queries["query_id"], queries["prompt"], _SIMILAR),
    )
    answers = pd.DataFrame(
        {
            "query_id": outcomes["query_id"].astype(str),
            "target": outcomes["model"].astype(str),
            "correct": (outcomes["pass_at_1"] >= RIGHT_FROM).astype(float),
        }
    ).sort_values(["query_id", "target"], ignore_index=True)
    return queries[["query_id", "benchmark", "category", "prompt", "group"]], answers


def _prompt(item: dict) -> str:
    """Title, statement and, on platforms that have it, the code to begin with."""
    parts = (item["question_title"], item["question_content"], item["starter_code"])
    return "\n\n".join(part for part in parts if part)
