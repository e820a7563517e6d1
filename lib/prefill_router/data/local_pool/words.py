"""Question families about the letters of words."""

from __future__ import annotations

import numpy as np

from prefill_router.data.local_pool.facts import pick
from prefill_router.data.local_pool.family import Draft, Family, registry

FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)

WORDS = (
    "apple river stone window garden planet silver market winter castle bridge candle forest guitar"
    " rocket pepper orange basket mirror button ladder pencil saddle turtle violin walnut yellow"
    " zebra anchor blanket captain dolphin elephant festival hospital internet keyboard language"
    " mountain notebook umbrella vegetable waterfall telephone"
).split()


@family("words", levels=(1, 2))
def uppercase(rng: np.random.Generator, level: int) -> Draft:
    words = " ".join(pick(rng, WORDS) for _ in range(level))
    return Draft(f'Write "{words}" in capital letters.', (words.upper(),), "raw", f"upper|{words}")


@family("words")
def contains_letter(rng: np.random.Generator, level: int) -> Draft:
    word, letter = pick(rng, WORDS), "etaoinsrhldcum"[int(rng.integers(4 * level))]
    return Draft(
        f'Does the word "{word}" contain the letter "{letter}"? Yes or no?',
        ("yes" if letter in word else "no",),
        "yesno",
        f"contains|{word}|{letter}",
    )


@family("words")
def letter_at(rng: np.random.Generator, level: int) -> Draft:
    word = pick(rng, WORDS)
    place = {1: 0, 2: len(word) - 1, 3: int(rng.integers(1, len(word) - 1))}[level]
    name = {
        1: "first",
        2: "last",
        3: ([*"second third fourth fifth sixth seventh eighth ninth".split(), ""])[place - 1],
    }[level]
    return Draft(
        f'What is the {name} letter of the word "{word}"?',
        (word[place],),
        "text",
        f"letter|{word}|{place}",
    )


@family("words")
def count_vowels(rng: np.random.Generator, level: int) -> Draft:
    words = [pick(rng, WORDS) for _ in range(level)]
    return Draft(
        f'How many vowels (a, e, i, o, u) are in "{" ".join(words)}"?',
        (str(sum(c in "aeiou" for c in "".join(words))),),
        "number",
        f"vowels|{words}",
    )


@family("words")
def alphabetical_first(rng: np.random.Generator, level: int) -> Draft:
    words = [WORDS[i] for i in rng.permutation(len(WORDS))[: level + 1]]
    return Draft(
        f"Which of these words comes first in alphabetical order: {', '.join(words)}?",
        (min(words),),
        "text",
        f"alphabet|{sorted(words)}",
    )


@family("words")
def acronym(rng: np.random.Generator, level: int) -> Draft:
    words = [WORDS[i] for i in rng.permutation(len(WORDS))[: level + 2]]
    return Draft(
        f'Which letters do you get from the first letters of "{" ".join(words)}"? Write them'
        " together in capitals.",
        ("".join(w[0] for w in words).upper(),),
        "text",
        f"acronym|{words}",
    )


@family("words")
def letter_after(rng: np.random.Generator, level: int) -> Draft:
    step = level
    i = int(rng.integers(0, 26 - step))
    back = rng.random() < 0.5
    start, answer = (i + step, i) if back else (i, i + step)
    where = ("just", "two places", "three places")[level - 1]
    return Draft(
        f"Which letter of the alphabet comes {where} {'before' if back else 'after'}"
        f" {chr(65 + start)}?",
        (chr(65 + answer),),
        "text",
        f"alphabet|{start}|{answer}",
    )
