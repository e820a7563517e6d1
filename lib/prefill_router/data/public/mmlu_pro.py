"""MMLU-Pro (github.com/TIGER-AI-Lab/MMLU-Pro): the published chain-of-thought outputs, judged by
one rule for all targets.

The published verdicts come from three different rules (some guess a random letter where no answer
is found), so the letter is read again: after "answer is", else after "answer:", else the last
capital A to J that stands alone. No letter is wrong.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError

_RULES = (re.compile(r"answer is \(?([A-J])\)?"), re.compile(r"[aA]nswer:\s*([A-J])"))
_LONE = re.compile(r"\b[A-J]\b")


def extract_letter(text: str) -> str | None:
    """The letter that a target chose, "A" to "J"; None if it named none."""
    for rule in _RULES:
        if match := rule.search(text):
            return match.group(1)
    found = _LONE.findall(text)
    return found[-1] if found else None


def convert(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and judged outputs of every target; items that a target lacks are left out, hence
    missing.

    Parameters
    ----------
    folder : the published files, with upstream's paths.

    Returns
    -------
    queries : DataFrame[query_id, benchmark, category, prompt, group]
    answers : DataFrame[query_id, target, correct, text]

    Raises
    ------
    OutcomesError
        A file is no zip with one JSON list.
    """
    asked: dict[int, Counter] = {}
    categories: dict[int, str] = {}
    answers = []
    for file in sorted((folder / "eval_results").glob("model_outputs_*_5shots.zip")):
        target = file.stem.removeprefix("model_outputs_").removesuffix("_5shots")
        for item in _items(file):
            number = int(item["question_id"])
            options = "\n".join(
                f"{'ABCDEFGHIJ'[i]}. {option}" for i, option in enumerate(item["options"])
            )
            asked.setdefault(number, Counter())[item["question"].strip(), options] += 1
            categories[number] = item["category"]
            text = item.get("generated_text", item.get("model_outputs")) or ""
            answers.append(
                (
                    f"mmlu_pro/mmlu_pro/{number}",
                    target,
                    float(extract_letter(text) == item["answer"]),
                    text,
                )
            )
    queries = []
    for number in sorted(asked):
        # a few questions were mended between the runs: the text that most targets saw
        (question, options), _ = asked[number].most_common(1)[0]
        # a stem that is asked with other options is a near-duplicate: one group
        stem = " ".join(re.sub(r"\W+", " ", question.casefold()).split())
        queries.append(
            (
                f"mmlu_pro/mmlu_pro/{number}",
                "mmlu_pro",
                categories[number],
                f"{question}\n{options}",
                f"mmlu_pro:{stem}",
            )
        )
    table = pd.DataFrame(queries, columns=["query_id", "benchmark", "category", "prompt", "group"])
    return table, pd.DataFrame(answers, columns=["query_id", "target", "correct", "text"])


def _items(file: Path) -> list[dict]:
    """The items of one target; rows that are no items (a few published ones are empty lists) are
    left out.
    """
    with zipfile.ZipFile(file) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.endswith(".json") and not name.startswith("__MACOSX")
        ]
        if len(names) != 1:
            raise OutcomesError(
                f"{file} holds {len(names)} JSON files, expected one; take it from the pinned"
                " commit"
            )
        return [item for item in json.loads(archive.read(names[0])) if isinstance(item, dict)]
