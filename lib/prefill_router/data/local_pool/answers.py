"""From a response to an answer, and from an answer to a verdict. Nothing a target wrote is ever
executed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

_MARKER = re.compile(
    r"(?:final\s+)?answer\s*(?:\*\*)?\s*(?:is\b\s*:?|:|=)\s*(?:\*\*)?", re.IGNORECASE
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_DIGITS = r"[-−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+|\s*/\s*\d+)?"
_NUMBER = re.compile(_DIGITS)
_VERB = r"(?:is|are|was|be|equals|becomes|prints|outputs|has)"
_AFTER_VERB = re.compile(
    rf"(?:=|:|\b{_VERB}(?:\s+(?:equal to|approximately|about|worth))?)\s*\$?({_DIGITS})(?!\w)"
)
_LEAD_IN = re.compile(
    r"^(.*?)\b(?:is|are|was|be|equals|becomes|prints|outputs)\s*:?\s+(?:(?:represented"
    r" by|called|known as|located in|situated in|found in|written as|equal to|in|on)\s+)?"
    r"(?:the\s+)?(?:(?:symbol|continent of|country of|city of|word|letter|number)\s+)?(?=\S)",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"^\(?([A-D])\)?(?:[).:,\s]|$)(?!\s*[a-z]+\s+(?:is|of|was)\b)|(?:\bis|\boption|\bchoice)\s*:?\s*\(?([A-D])\b(?![A-Za-z'])"
)


def candidate(response: str, step_by_step: bool) -> str:
    """The part of a response that holds the answer: one line of text.

    Step by step: what follows the *last* "Answer:" (or "the answer is"), else the last
    ``\\boxed{}``, else the last line that is not empty. Direct: what follows the first such marker
    if there is one, else the first line that is not empty. Code fences, backticks, ``**`` and
    surrounding quotes are markup, not content.
    """
    text = re.sub(r"```\w*", "", response)
    text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    markers = [m for m in _MARKER.finditer(text) if text[m.end() :].strip()]
    boxed = _BOXED.findall(text)
    if markers:
        text = text[(markers[-1] if step_by_step else markers[0]).end() :]
        boxed = _BOXED.findall(text.strip().splitlines()[0]) if text.strip() else []
        lines = text.strip().splitlines()
        line = boxed[0] if boxed else lines[0]
    elif boxed:
        line = boxed[-1]
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        line = (lines[-1] if step_by_step else lines[0]) if lines else ""
    return clean(line)


def clean(line: str) -> str:
    """Strip markup, surrounding quotes and the final full stop of one line."""
    line = (
        line.replace("**", "")
        .replace("`", "")
        .replace("\\(", "")
        .replace("\\)", "")
        .strip()
        .strip("$")
        .strip()
    )
    line = re.sub(r"[.。]+$", "", line).strip()
    if len(line) > 1 and line[0] == line[-1] and line[0] in "\"'":
        line = line[1:-1].strip()
    return line.strip("“”").strip()


def extract(
    response: str, kind: str, options: list[str] | tuple[str, ...] = (), step_by_step: bool = False
) -> str:
    """Read the answer of a given kind from a response; "" if there is none.

    - ``number``: the last number that follows "=", ":" or a verb ("the sum of 3 and 4 is 7" gives
      7), else the first number of the line ("19.1 is larger than 18.4" gives 19.1); thousands
      commas go, fractions stay.
    - ``choice``: a leading or announced A-D ("B", "(B) Paris", "the answer is B"), else the one
      option whose text the line names.
    - ``yesno``: the first of yes/no/true/false in the line.
    - ``text``: the line; of a sentence the part after its verb if that has at most four words ("The
      capital is Rome"), else the part before it ("Rome is the capital of Italy, of course").
    - ``raw``: the line as it stands (lists, program output, expressions), after " = " if there is
      one.

    Raises
    ------
    ValueError
        Unknown `kind`.
    """
    line = candidate(response, step_by_step)
    if kind == "raw":
        return line.split(" = ")[-1].strip() if " = " in line else line
    if kind == "text":
        return _short_text(line)
    if kind == "number":
        numbers = _AFTER_VERB.findall(line)[-1:] or _NUMBER.findall(line)[:1]
        return numbers[0].replace(",", "").replace("−", "-").replace(" ", "") if numbers else ""
    if kind == "yesno":
        found = re.search(r"\b(yes|no|true|false)\b", line, re.IGNORECASE)
        return (
            {"true": "yes", "false": "no"}.get(found[1].lower(), found[1].lower()) if found else ""
        )
    if kind == "choice":
        found = _CHOICE.search(line)
        if found:
            return found[1] or found[2]
        for text in (_short_text(line), line):
            named = [
                i
                for i, option in enumerate(options)
                if fold(option)
                and re.search(rf"(?<!\w){re.escape(fold(option))}(?!\w)", fold(text))
            ]
            if len(named) == 1:
                return "ABCD"[named[0]]
        return ""
    raise ValueError(f"unknown answer kind {kind!r}; known: number, choice, yesno, text, raw")


def _short_text(line: str) -> str:
    line = re.split(r"\s*(?:->|→)\s*", line)[-1]
    found = _LEAD_IN.match(line)
    if not found:
        return line
    tail = clean(line[found.end() :])
    return tail if len(tail.split()) <= 4 or not found[1].strip() else clean(found[1])


def fold(text: str) -> str:
    """Casefold, strip accents, outer articles and punctuation, squeeze spaces."""
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"[^\w\s\-+*/.,:'\[\]]", "", text).strip(" .,:'")
    return re.sub(r"\s+", " ", re.sub(r"^(?:the|a|an)\s+", "", text))


def same_number(a: str, b: str) -> bool:
    """Equality of two decimal numbers or fractions written as text (2.50 equals 2.5, 1/2 does not
    equal 0.5).
    """
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return a.replace(" ", "") == b.replace(" ", "")


def score_own(answer: str, accept: list[str], kind: str) -> float:
    """1.0 if `answer` is one of the accepted answers for its kind, else 0.0."""
    if not answer:
        return 0.0
    if kind == "number":
        return float(any(same_number(answer, a) for a in accept))
    if kind == "raw":
        squeezed = [re.sub(r"\s+", "", a).strip("'\"") for a in (answer, *accept)]
        return float(squeezed[0] in squeezed[1:])
    return float(fold(answer) in {fold(a) for a in accept})


@lru_cache(maxsize=256)
def _gym_dataset(dataset: str, config: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(dataset, **json.loads(config))


def score(question: Mapping[Any, Any], answer: str) -> float:
    """Score an extracted answer by the task's own scorer: reasoning-gym's for its questions,
    `score_own` otherwise.

    Parameters
    ----------
    question : mapping
        A row of the question table (``kind``, ``accept``, ``gym``).
    answer : str
        What `extract` returned.

    Returns
    -------
    float
        In [0, 1]; the caller counts >= 0.99 as correct. Whatever the scorer raises is the caller's
        to count.
    """
    if not question["gym"]:
        return score_own(answer, json.loads(question["accept"]), question["kind"])
    recipe = json.loads(question["gym"])
    data = _gym_dataset(recipe["dataset"], json.dumps(recipe["config"], sort_keys=True))
    entry = data[recipe["index"]]
    if question["kind"] == "yesno":
        answer = (
            answer.capitalize()
            if entry["answer"] in ("Yes", "No")
            else {"yes": "True", "no": "False"}.get(answer, "")
        )
    return float(data.score_answer(answer, entry)) if answer else 0.0
