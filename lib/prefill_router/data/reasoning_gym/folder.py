"""The folder of outcomes of one level: committed facts, and questions that are generated again."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.prices import load_prices
from prefill_router.data.reasoning_gym.facts import QUESTION, RIGHT_FROM, Facts, read_facts
from prefill_router.data.reasoning_gym.generate import check_same, generate
from prefill_router.data.reasoning_gym.published import LEVELS
from prefill_router.data.source_folder import cost_of, listed_prices, write_source
from prefill_router.files import cache_root, exclusive, project_root, say

VERSION = 3  # raise it when the folder's content changes
FACTS = "data/reasoning_gym"
SEVERAL = ("easy",)  # levels with several answers to a question


def outcomes_folder(level: str, prices: str | Path, longest: int | None = None) -> Path:
    """Folder that `outcome_files.load_outcomes` reads; made if need be, a minute or two, once.

    A query's ``category`` is its family, its ``benchmark`` the family's category; queries with the
    same text share a group.

    Parameters
    ----------
    level : "hard" (one answer to each question) or "easy" (up to three: each counts as right or
        wrong, as on hard, and ``correct`` is their mean; ``answers.parquet`` has each).
    prices : path of the price list.
    longest : input tokens of the longest questions that are taken; None for all.

    Raises
    ------
    OutcomesError
        Unknown level, a target without an entry in the price list, or questions that come out
        otherwise than they were asked.
    """
    if level not in LEVELS:
        raise OutcomesError(f"reasoning_gym has no level {level!r}; known: {', '.join(LEVELS)}")
    source, listed = project_root() / FACTS, load_prices(prices)
    files = [path.read_bytes() for path in sorted(source.iterdir()) if path.suffix != ".md"]
    key = hashlib.sha256(
        json.dumps(
            [VERSION, level, longest, version("reasoning-gym")]
            + [hashlib.sha256(content).hexdigest() for content in files]
            + [{name: vars(price) for name, price in listed.items()}],
            sort_keys=True,
        ).encode()
    ).hexdigest()[:16]
    root = cache_root() / "reasoning_gym"
    folder = root / f"{level}-{key}"
    if not (folder / "targets.json").is_file():
        with exclusive(root / f"{level}.lock", f"generating reasoning_gym {level}"):
            if not (folder / "targets.json").is_file():
                facts = of_level(read_facts(source), level, longest)
                say(f"generating {len(facts.questions)} questions of reasoning-gym (once)")
                queries, answers = tables(facts)
                single = single_answers(facts) if level in SEVERAL else None
                targets = sorted(answers["target"].unique())
                paid = listed_prices("reasoning_gym", targets, listed)
                answers["cost"] = cost_of(answers, paid)
                write_source(folder, f"reasoning_gym {level}", queries, answers, paid, single)
    return folder


def of_level(facts: Facts, level: str, longest: int | None = None) -> Facts:
    """The facts of one level, without questions of more than ``longest`` input tokens."""
    questions = facts.questions[facts.questions["level"] == level]
    if longest is not None:
        questions = questions[questions["input_tokens"] <= longest]
    if questions.empty:
        raise OutcomesError(f"no question of reasoning_gym {level} has at most {longest} tokens")
    kept = questions[["level", "family"]].drop_duplicates()
    return Facts(
        facts.families.merge(kept, on=["level", "family"]),
        questions.reset_index(drop=True),
        facts.answers.merge(questions[[*QUESTION, "input_tokens"]], on=QUESTION),
    )


def tables(facts: Facts) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and outcomes of the facts, questions generated and checked.

    Returns
    -------
    queries : DataFrame[outcomes.QUERY_COLUMNS]
    answers : DataFrame[query_id, target, correct, input_tokens, output_tokens]
        Means over the answers to a question; each answer is right or wrong first (`RIGHT_FROM`).
    """
    asked = facts.questions.merge(generate(facts.families), on=QUESTION, how="left")
    check_same(asked, asked["sha256"], "reasoning_gym")
    category = facts.families.set_index("family")["category"]
    queries = pd.DataFrame(
        {
            "query_id": _ids(asked),
            "benchmark": asked["family"].map(category),
            "category": asked["family"],
            "prompt": asked["prompt"],
            "group": "text-" + asked["sha256"],
        }
    )
    of_pair = single_answers(facts).groupby(["query_id", "target"], sort=True)
    return queries, of_pair[["correct", "input_tokens", "output_tokens"]].mean().reset_index()


def single_answers(facts: Facts) -> pd.DataFrame:
    """Each answer: DataFrame[query_id, target, answer, correct, input_tokens, output_tokens,
    said].
    """
    answers = facts.answers.assign(
        query_id=_ids(facts.answers), correct=(facts.answers["score"] >= RIGHT_FROM).astype(float)
    ).rename(columns={"sample": "answer"})
    columns = ["query_id", "target", "answer", "correct", "input_tokens", "output_tokens", "said"]
    return answers[columns]


def _ids(table: pd.DataFrame) -> pd.Series:
    return table["level"] + "-" + table["family"] + "-" + table["index"].astype(str).str.zfill(2)
