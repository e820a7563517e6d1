"""Answers of ten models to reasoning-gym's questions (github.com/open-thought/reasoning-gym-eval).

The published tree is ``LEVEL/MODEL_DATE/CATEGORY/FAMILY.json``; each file holds the configuration
from which reasoning-gym generates its questions, and for every question the completions with their
scores.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from prefill_router.data.outcomes import OutcomesError

COMMIT = "5f09fec"
LEVELS = ("hard", "easy")
# the files around the questions: totals of a run
_TOTALS = ("summary.json", "results.json")


class Published(NamedTuple):
    """The published tree as tables.

    Attributes
    ----------
    families : DataFrame[level, family, category, config]
        ``config`` is the JSON text of what reasoning-gym generates the questions from.
    questions : DataFrame[level, family, index, sha256, input_tokens]
    answers : DataFrame[level, family, index, target, sample, score, output_tokens, answered, said]
        ``output_tokens`` are those of the visible answer; ``answered`` is False where it is empty.
        ``said`` numbers what a target's answers to a question say, see `same_answers`.
    changed : int
        Rows left out since a model was asked another text than the first model.
    """

    families: pd.DataFrame
    questions: pd.DataFrame
    answers: pd.DataFrame
    changed: int


def sha256(text: str) -> str:
    """SHA-256 (hex) of a question's UTF-8 text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def target_name(folder: str) -> str:
    """The model of a folder such as ``openai_o3-mini_20250315_181742``, without its developer."""
    return folder.rsplit("_", 2)[0].split("_", 1)[-1]


def read_published(
    folder: str | Path, count_tokens: Callable[[Iterable[str]], Sequence[int]]
) -> Published:
    """Read every ``LEVEL/MODEL_DATE/CATEGORY/FAMILY.json`` below a folder.

    Parameters
    ----------
    folder : holds ``easy`` and ``hard``, or one of them.
    count_tokens : texts to their numbers of tokens, such as `data.public.tokens.count_tokens`.

    Raises
    ------
    OutcomesError
        No such file, one that cannot be read, or a family whose models were given different
        configurations: the message names the file.
    """
    folder = Path(folder)
    paths = sorted(p for p in folder.glob("*/*/*/*.json") if p.name not in _TOTALS)
    if not paths:
        raise OutcomesError(
            f"{folder}: no LEVEL/MODEL_DATE/CATEGORY/FAMILY.json; give the folder zero-shot of"
            f" reasoning-gym-eval at commit {COMMIT}"
        )
    families: dict[tuple[str, str], dict] = {}
    texts: dict[tuple[str, str, int], str] = {}
    answers: list[dict[str, Any]] = []
    visible: list[str] = []
    changed = 0
    for path in paths:
        level, model = path.parts[-4], path.parts[-3]
        content = _content(path)
        key = (level, content["name"])
        family = {"category": content["category"], "config": _text(content["config"])}
        if families.setdefault(key, family) != family:
            raise OutcomesError(
                f"{path}: the configuration of {key[1]} differs from that of the models before;"
                " use the files of one commit"
            )
        for index, result in enumerate(content["results"]):
            question = (*key, index)
            if texts.setdefault(question, result["question"]) != result["question"]:
                changed += len(result["completions"])
                continue
            said = same_answers([c.get("model_answer") for c in result["completions"]])
            for sample, completion in enumerate(result["completions"]):
                text = completion["full_model_response"] or ""
                visible.append(text)
                answers.append(
                    dict(zip(("level", "family", "index"), question, strict=True))
                    | {"target": target_name(model), "sample": sample}
                    | {"score": float(completion["score"] or 0), "answered": bool(text.strip())}
                    | {"said": said[sample]}
                )
    questions = pd.DataFrame(list(texts), columns=["level", "family", "index"])
    questions["sha256"] = [sha256(text) for text in texts.values()]
    questions["input_tokens"] = count_tokens(texts.values())
    return Published(
        pd.DataFrame([{"level": level, "family": f, **of} for (level, f), of in families.items()]),
        questions,
        pd.DataFrame(answers).assign(output_tokens=count_tokens(visible)),
        changed,
    )


def same_answers(texts: Sequence[str | None]) -> list[int]:
    """Which answers say the same: a number for each, from 0 in the order in which they first occur;
    -1 where there is no answer.

    Equal are texts that differ by case, by space or by Unicode's compatible forms (NFKC) alone.

    >>> same_answers(["4", " 4\n", None, "Red", "red", "5"])
    [0, 0, -1, 1, 1, 2]
    """
    numbers: dict[str, int] = {}
    plain = [" ".join(unicodedata.normalize("NFKC", t or "").split()).casefold() for t in texts]
    return [numbers.setdefault(text, len(numbers)) if text else -1 for text in plain]


def _text(config: dict) -> str:
    return json.dumps(config, sort_keys=True)


def _content(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [k for k in ("name", "category", "config", "results") if k not in content]
    except (ValueError, TypeError) as error:
        raise OutcomesError(f"{path}: not the JSON of a family ({error}); restore it") from error
    if missing:
        raise OutcomesError(f"{path}: lacks {', '.join(missing)}; restore the published file")
    return content
