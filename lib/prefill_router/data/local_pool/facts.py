"""Question families about elements, numbers and words, from well-kept data packages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import inflect
import numpy as np
import periodictable
from num2words import num2words

from prefill_router.data.local_pool.family import Draft, Family, registry

Item = TypeVar("Item")
FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)

ROMAN = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
NOUNS = {
    1: (
        "cat dog book car tree house table apple chair river flower window bottle garden teacher"
        " doctor road cloud bird stone".split()
    ),
    2: (
        "box bus city baby leaf knife wolf church potato tomato dish story glass brush lady wife"
        " shelf fox hero watch".split()
    ),
    3: (
        "child mouse goose ox tooth foot man woman person cactus analysis crisis criterion"
        " phenomenon sheep deer thesis axis nucleus bacterium".split()
    ),
}


@cache
def elements() -> list:
    """Elements 1 to 103 in the order of their atomic number."""
    return [e for e in periodictable.elements if 1 <= e.number <= 103]


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def multiple_choice(
    rng: np.random.Generator, question: str, right: str, wrong: list[str], content: str
) -> Draft:
    """A four-option question; `wrong` holds at least three other texts."""
    options = [right, *(wrong[i] for i in rng.permutation(len(wrong))[:3])]
    options = [options[i] for i in rng.permutation(4)]
    lines = "\n".join(f"{letter}) {text}" for letter, text in zip("ABCD", options, strict=True))
    return Draft(
        f"{question}\n{lines}", ("ABCD"[options.index(right)],), "choice", content, tuple(options)
    )


def _element(rng: np.random.Generator, level: int) -> Any:
    return elements()[int(rng.integers(*((0, 20), (18, 56), (50, 103))[level - 1]))]


@family("facts")
def element_symbol(rng: np.random.Generator, level: int) -> Draft:
    e = _element(rng, level)
    return Draft(
        f"What is the chemical symbol of {e.name}?", (e.symbol,), "text", f"symbol|{e.symbol}"
    )


@family("facts")
def element_name(rng: np.random.Generator, level: int) -> Draft:
    e = _element(rng, level)
    return Draft(
        f"Which chemical element has the symbol {e.symbol}?",
        (e.name,),
        "text",
        f"symbol|{e.symbol}",
    )


@family("facts")
def atomic_number(rng: np.random.Generator, level: int) -> Draft:
    e = _element(rng, level)
    return Draft(
        f"What is the atomic number of {e.name}?", (str(e.number),), "number", f"atomic|{e.symbol}"
    )


@family("facts")
def element_choice(rng: np.random.Generator, level: int) -> Draft:
    e = _element(rng, level)
    near = [o.name for o in elements() if 0 < abs(o.number - e.number) <= 6]
    return multiple_choice(
        rng,
        f"Which of these elements has the atomic number {e.number}?",
        e.name,
        near,
        f"atomic|{e.symbol}",
    )


@family("language")
def plural(rng: np.random.Generator, level: int) -> Draft:
    noun = pick(rng, NOUNS[level])
    return Draft(
        f'What is the plural of "{noun}"?',
        (inflect.engine().plural_noun(noun),),
        "text",
        f"plural|{noun}",
    )


def _integer(rng: np.random.Generator, level: int) -> int:
    return int(rng.integers(*((11, 100), (100, 1000), (1000, 10_000))[level - 1]))


@family("language")
def number_from_words(rng: np.random.Generator, level: int) -> Draft:
    n = _integer(rng, level)
    return Draft(f'Write "{num2words(n)}" in digits.', (str(n),), "number", f"words|{n}")


@family("language")
def number_to_words(rng: np.random.Generator, level: int) -> Draft:
    n = _integer(rng, level)
    words = num2words(n)
    return Draft(
        f"Write the number {n} in English words.",
        (
            words,
            words.replace(" and ", " "),
            words.replace(",", ""),
            words.replace("-", " "),
            words.replace(",", "").replace(" and ", " "),
        ),
        "text",
        f"words|{n}",
    )


@family("language", levels=(1, 2))
def ordinal(rng: np.random.Generator, level: int) -> Draft:
    n = int(rng.integers(*((1, 40), (40, 400))[level - 1]))
    return Draft(
        f"Write {n} as an ordinal number in figures, like 1st or 2nd.",
        (num2words(n, to="ordinal_num"),),
        "raw",
        f"ordinal|{n}",
    )


def roman(n: int) -> str:
    """Roman numeral of 1 <= n < 4000."""
    out = ""
    for value, letters in ROMAN:
        out += letters * (n // value)
        n %= value
    return out


@family("language")
def roman_to_number(rng: np.random.Generator, level: int) -> Draft:
    n = int(rng.integers(*((1, 20), (20, 100), (100, 2000))[level - 1]))
    return Draft(
        f"Which number is the Roman numeral {roman(n)}?", (str(n),), "number", f"roman|{n}"
    )


@family("language")
def number_to_roman(rng: np.random.Generator, level: int) -> Draft:
    n = int(rng.integers(*((1, 20), (20, 100), (100, 2000))[level - 1]))
    return Draft(f"Write {n} as a Roman numeral.", (roman(n),), "text", f"roman|{n}")
