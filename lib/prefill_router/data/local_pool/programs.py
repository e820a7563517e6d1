"""Question families about what a small Python program prints."""

from __future__ import annotations

import numpy as np

from prefill_router.data.local_pool.facts import multiple_choice, pick
from prefill_router.data.local_pool.family import Draft, Family, registry
from prefill_router.data.local_pool.words import WORDS

FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)


def _program(code: str, answer: str, content: str) -> Draft:
    return Draft(f"What does this Python code print?\n{code}", (answer,), "raw", content)


@family("programs")
def code_expression(rng: np.random.Generator, level: int) -> Draft:
    a, b, c = (int(v) for v in rng.integers(2, 12, 3))
    code, value = {
        1: (f"print({a} + {b} * {c})", a + b * c),
        2: (
            f"print({a * b + c} // {b}, {a * b + c} % {b})",
            f"{(a * b + c) // b} {(a * b + c) % b}",
        ),
        3: (f"x = {a}\ny = x * {b} - {c}\nx, y = y, x\nprint(x - y)", a * b - c - a),
    }[level]
    return _program(code, str(value), f"expression|{level}|{a}|{b}|{c}")


@family("programs")
def code_string(rng: np.random.Generator, level: int) -> Draft:
    word, i = pick(rng, WORDS), int(rng.integers(1, 4))
    code, value = {
        1: pick(
            rng,
            [
                (f'print(len("{word}"))', str(len(word))),
                (f'print("{word}".upper())', word.upper()),
                (f'print("{word}"[0])', word[0]),
            ],
        ),
        2: pick(
            rng,
            [
                (f'print("{word}"[:{i + 1}])', word[: i + 1]),
                (f'print("{word}"[-1] * {i + 1})', word[-1] * (i + 1)),
                (f'print("{word}".count("e"))', str(word.count("e"))),
            ],
        ),
        3: pick(
            rng,
            [
                (f'print("{word}"[::-1])', word[::-1]),
                (f'print("{word}"[{i}:-1])', word[i:-1]),
                (f'print("{word}".replace("e", "")[{i}])', word.replace("e", "")[i]),
            ],
        ),
    }[level]
    return _program(code, value, f"string|{code}")


@family("programs")
def code_list(rng: np.random.Generator, level: int) -> Draft:
    v = [int(n) for n in rng.integers(1, 20, level + 2)]
    i = int(rng.integers(0, len(v)))
    code, value = {
        1: pick(
            rng,
            [
                (f"v = {v}\nprint(v[{i}])", v[i]),
                (f"print(sum({v}))", sum(v)),
                (f"print(max({v}))", max(v)),
            ],
        ),
        2: pick(
            rng,
            [
                (f"print(sorted({v}))", sorted(v)),
                (f"v = {v}\nprint(v[1:])", v[1:]),
                (f"print([n * 2 for n in {v}])", [n * 2 for n in v]),
            ],
        ),
        3: pick(
            rng,
            [
                (f"print([n for n in {v} if n % 2])", [n for n in v if n % 2]),
                (f"v = {v}\nprint(v[::-1][{i}])", v[::-1][i]),
                (f"v = {v}\nprint(sum(n > 8 for n in v))", sum(n > 8 for n in v)),
            ],
        ),
    }[level]
    return _program(code, str(value), f"list|{code}")


@family("programs")
def code_loop(rng: np.random.Generator, level: int) -> Draft:
    n, k = int(rng.integers(3, 7)), int(rng.integers(1, 5))
    code, value = {
        1: (f"t = 0\nfor i in range({n}):\n    t += {k}\nprint(t)", n * k),
        2: (f"t = {k}\nfor i in range(1, {n}):\n    t += i\nprint(t)", k + sum(range(1, n))),
        3: (
            f"t = 1\nfor i in range({n}):\n    if i % 2:\n        t = t * 2 + {k}\nprint(t)",
            _doubling(n, k),
        ),
    }[level]
    return _program(code, str(value), f"loop|{level}|{n}|{k}")


def _doubling(n: int, k: int) -> int:
    t = 1
    for i in range(n):
        if i % 2:
            t = t * 2 + k
    return t


@family("programs")
def code_choice(rng: np.random.Generator, level: int) -> Draft:
    a, b = int(rng.integers(2, 30)), int(rng.integers(2, 9))
    expression, right = pick(
        rng,
        [
            (f"{a} // {b}", a // b),
            (f"{a} % {b}", a % b),
            (f"{b} ** 2 - {a}", b**2 - a),
            (f"abs({b} - {a})", abs(b - a)),
            (f"max({a}, {b} * {level})", max(a, b * level)),
        ],
    )
    wrong = [str(right + d) for d in (-2, -1, 1, 2, 3)]
    return multiple_choice(
        rng,
        f"What is the value of the Python expression {expression}?",
        str(right),
        wrong,
        f"value|{expression}",
    )
