"""What ships of the published answers: facts, no texts.

`families.json` (what the questions are generated from), `questions.parquet` (the beginning of each
question's SHA-256, its length), `answers.parquet` (score, length of the visible answer) and
`agreement.parquet` (which answers to a question say the same) in ``data/reasoning_gym``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.reasoning_gym.generate import generate
from prefill_router.data.reasoning_gym.published import Published, sha256
from prefill_router.files import replacing

RIGHT_FROM = 0.99  # a score from which on an answer counts as right, as in our own pool
HASH_DIGITS = 16  # of a SHA-256 in hex: enough to tell 10,000 texts apart
SHARE_ALIKE = 0.8  # of a family's questions that must come out again, or the family is left out
QUESTION = ["level", "family", "index"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # what an answer says, in a pattern of agreement
SILENT = "-"  # there: no answer


class Facts(NamedTuple):
    """The files as tables: `families`, `questions` and `answers` of `published.Published`, with
    ``sha256`` cut to `HASH_DIGITS`. ``said`` has a file of its own, where a target answered a
    question several times; elsewhere it is missing in what is read.
    """

    families: pd.DataFrame
    questions: pd.DataFrame
    answers: pd.DataFrame


def select(published: Published) -> tuple[Facts, pd.DataFrame]:
    """What can be used, and what is left out and why.

    Left out are questions that reasoning-gym does not make again as they were asked, families of
    which fewer than `SHARE_ALIKE` come out again, and families that no target ever got right.

    Returns
    -------
    facts : Facts
    left_out : DataFrame[level, family, questions, why]
    """
    made = generate(published.families)
    asked = published.questions.merge(made, on=QUESTION, how="left")
    texts = asked["prompt"].fillna("")
    same = texts.map(sha256) == asked["sha256"]
    share = same.groupby([asked["level"], asked["family"]]).transform("mean")
    best = published.answers.groupby(["level", "family"])["score"].max().rename("best")
    best_of = asked.merge(best.reset_index(), on=["level", "family"], how="left")["best"]
    why = pd.Series("", index=asked.index)
    why[best_of < RIGHT_FROM] = "no target was ever right"
    why[~same] = "the question does not come out again"
    why[share < SHARE_ALIKE] = "too few of the family's questions come out again"
    keep = why == ""
    left_out = (
        asked.assign(why=why)[~keep]
        .groupby(["level", "family", "why"])
        .size()
        .rename("questions")
        .reset_index()
    )
    questions = asked.loc[keep, [*QUESTION, "sha256", "input_tokens"]]
    questions = questions.assign(sha256=questions["sha256"].str[:HASH_DIGITS])
    kept = questions[["level", "family"]].drop_duplicates()
    facts = Facts(
        published.families.merge(kept, on=["level", "family"]),
        questions.reset_index(drop=True),
        published.answers.merge(questions[QUESTION], on=QUESTION),
    )
    return facts, left_out[["level", "family", "questions", "why"]]


def write_facts(facts: Facts, folder: str | Path) -> None:
    """Write the three files, as small as they get."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    families: dict[str, dict] = {}
    for row in facts.families.sort_values(["level", "family"]).itertuples():
        entry = {"category": row.category, "config": json.loads(row.config)}
        families.setdefault(row.level, {})[row.family] = entry
    with replacing(folder / "families.json") as temporary:
        lines = ",\n".join(
            f' "{level}": {{\n'
            + ",\n".join(f'  "{name}": {json.dumps(entry)}' for name, entry in of.items())
            + "\n }"
            for level, of in families.items()
        )
        temporary.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    questions = facts.questions.sort_values(QUESTION)
    agreement = agreement_patterns(facts.answers)
    order = ["level", "target", "sample", "family", "index"]  # like values side by side pack best
    answers = facts.answers.sort_values(order)[[*order, "score", "output_tokens", "answered"]]
    small = {"index": "int16", "sample": "int8", "score": "float32"}
    small |= {"input_tokens": "int32", "output_tokens": "int32"}
    texts = dict.fromkeys(("level", "family", "target", "pattern"), "category")
    tables = {"questions": questions, "answers": answers, "agreement": agreement}
    for name, table in tables.items():
        types = {c: t for c, t in (small | texts).items() if c in table}
        with replacing(folder / f"{name}.parquet") as temporary:
            table.astype(types).to_parquet(
                temporary, index=False, compression="zstd", compression_level=19
            )


def read_facts(folder: str | Path) -> Facts:
    """Read what `write_facts` wrote; OutcomesError names a file that is missing or damaged."""
    folder = Path(folder)
    try:
        listed = json.loads((folder / "families.json").read_text(encoding="utf-8"))
        questions = pd.read_parquet(folder / "questions.parquet")
        answers = pd.read_parquet(folder / "answers.parquet")
        agreement = pd.read_parquet(folder / "agreement.parquet")
    except (OSError, ValueError) as error:
        raise OutcomesError(f"{folder}: cannot be read ({error}); restore its files") from error
    families = [
        {
            "level": level,
            "family": name,
            "category": e["category"],
            "config": json.dumps(e["config"]),
        }
        for level, of in listed.items()
        for name, e in of.items()
    ]
    plain = dict.fromkeys(("level", "family"), str)
    answers = answers.astype(plain | {"target": str})
    said = said_by_patterns(agreement.astype(plain | {"target": str, "pattern": str}))
    return Facts(
        pd.DataFrame(families),
        questions.astype(plain),
        answers.merge(said, on=[*QUESTION, "target", "sample"], how="left"),
    )


def agreement_patterns(answers: pd.DataFrame) -> pd.DataFrame:
    """Which of a target's answers to a question say the same.

    Parameters
    ----------
    answers : DataFrame[level, family, index, target, sample, said]

    Returns
    -------
    DataFrame[level, target, family, index, pattern]
        A letter for each answer in the order of ``sample``, `SILENT` where there is none: "aab" is
        two times the same, then something else. Only targets with several answers to a question.
    """
    pair = ["level", "target", "family", "index"]
    letter = answers["said"].map(lambda said: SILENT if said < 0 else LETTERS[int(said)])
    ordered = answers.assign(pattern=letter).sort_values([*pair, "sample"])
    found = ordered.groupby(pair, sort=True)["pattern"].agg("".join).reset_index()
    return found[found["pattern"].str.len() > 1].reset_index(drop=True)


def said_by_patterns(agreement: pd.DataFrame) -> pd.DataFrame:
    """The way back: DataFrame[level, target, family, index, sample, said], a row an answer."""
    letters = agreement.assign(said=agreement["pattern"].map(list)).explode("said")
    sample = letters.groupby(level=0).cumcount()
    said = letters["said"].map({SILENT: -1} | {letter: i for i, letter in enumerate(LETTERS)})
    return letters.drop(columns="pattern").assign(sample=sample, said=said.astype(int))
