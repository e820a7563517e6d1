"""ZeroEval (github.com/WildEval/ZeroEval): gsm, math-l5 and crux, judged again from the published
answers.

The rules are those that reproduce the published summaries: the answer is the field `answer` of the
first complete JSON object, else what follows the word `answer`; gsm and math-l5 compare the first
numbers, crux compares texts without outer quotes. Nothing that a target wrote is ever executed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError

TASKS = {"gsm": "grade-school math", "math-l5": "competition math", "crux": "code execution"}
# one target has another file name in one task
FILE_NAMES = {"gemma-2-27b-it@together": "gemma-2-27b-it"}
_AFTER_KEY = (
    re.compile(r'"answer"\s*:\s*"([^"]*)"'),
    re.compile(r'"answer"\s*:\s*([^,\s]*)'),
    re.compile(r"answer\s*:\s*([^,\s]*)"),
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTES = "'\""


def extract_answer(text: str, target: str = "") -> str | None:
    r"""The answer in a target's output, as text; None if there is none.

    Parameters
    ----------
    text : the output.
    target : its name; of Llama-3.1 targets a closing ``\boxed{...}`` counts as well, as it did
        upstream.
    """
    found = _first_object(text)
    if isinstance(found, dict) and "answer" in found:
        return str(found["answer"])
    for pattern in _AFTER_KEY:
        if match := pattern.search(text):
            return match.group(1)
    if (
        "Llama-3.1" in target
        and "boxed" in text[-30:]
        and (match := re.search(r"\\boxed{(\w+)}", text))
    ):
        return match.group(1)
    return None


def is_correct(task: str, answer: str | None, gold: str) -> bool:
    """Whether an extracted answer is right; no answer is wrong."""
    if answer is None:
        return False
    if task == "crux":
        # a line break inside a JSON string stands for the two characters that Python's repr shows
        return answer.strip(_QUOTES).replace("\n", "\\n") == gold.strip(_QUOTES)
    left, right = _plain_number(answer), _plain_number(gold.replace("#", ""))
    if left == right:
        return True
    found, wanted = _NUMBER.search(left), _NUMBER.search(right)
    return bool(found and wanted and float(found.group()) == float(wanted.group()))


def convert(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and judged answers of every target with files for all three tasks.

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
        Two files of a task hold different questions.
    """
    queries, answers = [], []
    for task, category in TASKS.items():
        prompts: list[str] | None = None
        for file in sorted((folder / "result_dirs" / task).glob("*.json")):
            target = FILE_NAMES.get(file.stem, file.stem)
            items = json.loads(file.read_text(encoding="utf-8"))
            asked = [item["problem" if task == "math-l5" else "question"] for item in items]
            if prompts is None:
                prompts = asked
                queries += [
                    (f"zeroeval/{task}/{i}", task, category, prompt, _group(task, prompt))
                    for i, prompt in enumerate(asked)
                ]
            elif asked != prompts:
                raise OutcomesError(
                    f"{file} holds other questions than the files beside it; take all from one"
                    " commit"
                )
            for i, item in enumerate(items):
                text = item["output"][0]
                answers.append(
                    (
                        f"zeroeval/{task}/{i}",
                        target,
                        float(is_correct(task, extract_answer(text, file.stem), item["answer"])),
                        text,
                    )
                )
    table = pd.DataFrame(queries, columns=["query_id", "benchmark", "category", "prompt", "group"])
    return table, pd.DataFrame(answers, columns=["query_id", "target", "correct", "text"])


def _first_object(text: str) -> object:
    """The first span of balanced braces, read as JSON without its line breaks; None if it is not
    JSON.
    """
    depth, start = 0, 0
    for i, character in enumerate(text):
        if character == "{":
            if depth == 0:
                start = i
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                try:
                    return json.loads(text[start : i + 1].replace("\n", ""))
                except ValueError:
                    return None
    return None


def _plain_number(text: str) -> str:
    """Without dollar signs and thousands separators; a fraction of two numbers becomes a decimal
    number.
    """
    text = text.replace("$", "").strip().replace(",", "")
    top, slash, bottom = text.partition("/")
    if slash:
        try:
            return str(float(top) / float(bottom))
        except (ValueError, ZeroDivisionError):
            pass
    return text


def _group(task: str, prompt: str) -> str:
    """Near-duplicates share it: the same function with another input (crux), the same words and
    signs (all).
    """
    if task == "crux":
        prompt = prompt.rsplit("\nassert ", 1)[0]
    return f"{task}:{' '.join(prompt.casefold().split())}"
