"""Question families of our own with computed answers: units, small sums, words and the output of
small programs.
"""

from __future__ import annotations

import itertools

from prefill_router.local_pool.facts import _pick, multiple_choice
from prefill_router.local_pool.family import Draft, Family, registry

FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)

WORDS = (
    "apple river stone window garden planet silver market winter castle bridge candle forest guitar"
    " rocket pepper orange basket mirror button ladder pencil saddle turtle violin walnut yellow"
    " zebra anchor blanket captain dolphin elephant festival hospital internet keyboard language"
    " mountain notebook umbrella vegetable waterfall telephone"
).split()
NAMES = "Ana Ben Carla David Emma Farid Grace Hugo Ines Jonas Kira Leo Mona Nils Olga Paul".split()
THINGS = "apples pens stickers coins marbles cards books cookies".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
UNITS = {  # question, factor as an exact integer ratio (multiply, divide)
    1: [
        ("minutes", "hours", 60, 1),
        ("days", "weeks", 7, 1),
        ("months", "years", 12, 1),
        ("centimetres", "metres", 100, 1),
        ("seconds", "minutes", 60, 1),
    ],
    2: [
        ("metres", "kilometres", 1000, 1),
        ("grams", "kilograms", 1000, 1),
        ("hours", "days", 24, 1),
        ("millilitres", "litres", 1000, 1),
        ("inches", "feet", 12, 1),
    ],
    3: [
        ("seconds", "hours", 3600, 1),
        ("minutes", "days", 1440, 1),
        ("feet", "yards", 3, 1),
        ("ounces", "pounds", 16, 1),
        ("square centimetres", "square metres", 10_000, 1),
    ],
}


@family("measures")
def unit_conversion(rng, level):
    small, large, factor, _ = _pick(rng, UNITS[level])
    n = int(rng.integers(2, (6, 12, 15)[level - 1]))
    return Draft(
        f"How many {small} are there in {n} {large}?",
        (str(n * factor),),
        "number",
        f"unit|{small}|{large}|{n}",
    )


@family("measures")
def percent_of(rng, level):
    percent = _pick(rng, ([10, 50], [20, 25, 75], [5, 15, 30, 45])[level - 1])
    n = int(rng.integers(1, 30)) * 20
    return Draft(
        f"What is {percent}% of {n}?",
        (str(percent * n // 100),),
        "number",
        f"percent|{percent}|{n}",
    )


@family("measures")
def clock_later(rng, level):
    hour, minute = int(rng.integers(1, 13)), int(rng.integers(0, 12)) * 5
    later = (
        int(rng.integers(1, 5)) * 60,
        int(rng.integers(2, 11)) * 5,
        int(rng.integers(13, 60)) * 5,
    )[level - 1]
    total = hour % 12 * 60 + minute + later
    answer = f"{total // 60 % 12 or 12}:{total % 60:02d}"
    wait = f"{later // 60} hours" if later % 60 == 0 and later > 60 else f"{later} minutes"
    return Draft(
        f"A clock shows {hour}:{minute:02d}. What does it show {wait} later, on a 12-hour face?",
        (answer, "0" + answer),
        "raw",
        f"clock|{hour}|{minute}|{later}",
    )


@family("measures")
def compare_decimals(rng, level):
    whole = int(rng.integers(1, 20))
    a, b = {
        1: (f"{whole}.{rng.integers(1, 9)}", f"{whole + 1}.{rng.integers(1, 9)}"),
        2: (f"{whole}.{rng.integers(2, 6)}", f"{whole}.{rng.integers(6, 10)}"),
        3: (f"{whole}.{rng.integers(11, 60)}", f"{whole}.{rng.integers(7, 10)}"),
    }[level]
    first, second = (a, b) if rng.random() < 0.5 else (b, a)
    return Draft(
        f"Which number is larger, {first} or {second}?",
        (max(a, b, key=float),),
        "number",
        f"decimals|{a}|{b}",
    )


@family("measures")
def number_after(rng, level):
    n, back = int(rng.integers(*((2, 30), (30, 300), (900, 9000))[level - 1])), rng.random() < 0.3
    return Draft(
        f"Which whole number comes right {'before' if back else 'after'} {n}?",
        (str(n - 1 if back else n + 1),),
        "number",
        f"after|{n}|{back}",
    )


@family("measures")
def check_sum(rng, level):
    low, high = ((1, 10), (10, 50), (50, 500))[level - 1]
    a, b = int(rng.integers(low, high)), int(rng.integers(low, high))
    shown = a + b + (0 if rng.random() < 0.5 else int(_pick(rng, [-10, -2, -1, 1, 2, 10])))
    return Draft(
        f"Is it true that {a} + {b} = {shown}? Yes or no?",
        ("yes" if shown == a + b else "no",),
        "yesno",
        f"sum|{a}|{b}",
    )


@family("measures")
def average(rng, level):
    size = level + 1
    numbers = [int(v) for v in rng.integers(1, (10, 20, 40)[level - 1], size)]
    numbers[-1] += -sum(numbers) % size
    return Draft(
        f"What is the average of {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}?",
        (str(sum(numbers) // size),),
        "number",
        f"average|{sorted(numbers)}",
    )


@family("word problems")
def shopping(rng, level):
    price, count, paid = (
        int(rng.integers(2, 9)),
        int(rng.integers(2, 7)),
        int(rng.integers(1, 5)) * 20,
    )
    name, thing = _pick(rng, NAMES), _pick(rng, THINGS)
    if level == 1:
        return Draft(
            f"{name} buys {count} {thing} at {price} dollars each. How many dollars is that?",
            (str(price * count),),
            "number",
            f"shopping|{price}|{count}",
        )
    paid += price * count // 20 * 20
    if level == 2:
        return Draft(
            f"{name} buys {count} {thing} at {price} dollars each and pays with {paid} dollars. How"
            " many dollars come back?",
            (str(paid - price * count),),
            "number",
            f"change|{price}|{count}|{paid}",
        )
    extra = int(rng.integers(1, 6))
    return Draft(
        f"{name} buys {count} {thing} at {price} dollars each and a bag for {extra} dollars, and"
        f" pays with {paid + 20} dollars. How many dollars come back?",
        (str(paid + 20 - price * count - extra),),
        "number",
        f"change|{price}|{count}|{paid}|{extra}",
    )


@family("word problems")
def sharing(rng, level):
    name, thing = _pick(rng, NAMES), _pick(rng, THINGS)
    if level == 1:
        a, b = int(rng.integers(3, 20)), int(rng.integers(2, 12))
        return Draft(
            f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
            (str(a + b),),
            "number",
            f"more|{a}|{b}|{thing}",
        )
    people, each, left = int(rng.integers(2, 7)), int(rng.integers(2, 12)), int(rng.integers(0, 2))
    if level == 2:
        return Draft(
            f"{name} shares {people * each} {thing} equally among {people} friends. How many does"
            " each friend get?",
            (str(each),),
            "number",
            f"share|{people}|{each}|{thing}",
        )
    given = int(rng.integers(1, each))
    return Draft(
        f"{name} shares {people * each + left} {thing} equally among {people} friends and keeps the"
        f" rest. One friend then gives {given} away. How many {thing} does that friend have?",
        (str(each - given),),
        "number",
        f"share|{people}|{each}|{given}|{thing}",
    )


@family("word problems")
def ages(rng, level):
    a, b = (_pick(rng, NAMES[:8]), _pick(rng, NAMES[8:]))
    age, older, years = int(rng.integers(4, 30)), int(rng.integers(2, 15)), int(rng.integers(2, 12))
    if level == 1:
        return Draft(
            f"{a} is {age} years old. How old will {a} be in {years} years?",
            (str(age + years),),
            "number",
            f"age|{age}|{years}",
        )
    if level == 2:
        return Draft(
            f"{a} is {age} years old. {b} is {older} years older than {a}. How old is {b}?",
            (str(age + older),),
            "number",
            f"older|{age}|{older}",
        )
    return Draft(
        f"{a} is {age} years old and {b} is {older} years older. How old will {b} be in {years}"
        " years?",
        (str(age + older + years),),
        "number",
        f"older|{age}|{older}|{years}",
    )


@family("words", levels=(1, 2))
def uppercase(rng, level):
    words = " ".join(_pick(rng, WORDS) for _ in range(level))
    return Draft(f'Write "{words}" in capital letters.', (words.upper(),), "raw", f"upper|{words}")


@family("words")
def contains_letter(rng, level):
    word, letter = _pick(rng, WORDS), "etaoinsrhldcum"[int(rng.integers(4 * level))]
    return Draft(
        f'Does the word "{word}" contain the letter "{letter}"? Yes or no?',
        ("yes" if letter in word else "no",),
        "yesno",
        f"contains|{word}|{letter}",
    )


@family("words", levels=(1, 2))
def weekday_after(rng, level):
    start, days = int(rng.integers(7)), (1, int(rng.integers(2, 6)))[level - 1]
    back = rng.random() < 0.5
    when = (
        ("the day before" if back else "the day after")
        if days == 1
        else f"{days} days {'before' if back else 'after'}"
    )
    return Draft(
        f"Which weekday is {when} {WEEKDAYS[start]}?",
        (WEEKDAYS[(start + (-days if back else days)) % 7],),
        "text",
        f"weekday|{start}|{-days if back else days}",
    )


@family("words")
def letter_at(rng, level):
    word = _pick(rng, WORDS)
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
def count_vowels(rng, level):
    words = [_pick(rng, WORDS) for _ in range(level)]
    return Draft(
        f'How many vowels (a, e, i, o, u) are in "{" ".join(words)}"?',
        (str(sum(c in "aeiou" for c in "".join(words))),),
        "number",
        f"vowels|{words}",
    )


@family("words")
def alphabetical_first(rng, level):
    words = [WORDS[i] for i in rng.permutation(len(WORDS))[: level + 1]]
    return Draft(
        f"Which of these words comes first in alphabetical order: {', '.join(words)}?",
        (min(words),),
        "text",
        f"alphabet|{sorted(words)}",
    )


@family("words")
def acronym(rng, level):
    words = [WORDS[i] for i in rng.permutation(len(WORDS))[: level + 2]]
    return Draft(
        f'Which letters do you get from the first letters of "{" ".join(words)}"? Write them'
        " together in capitals.",
        ("".join(w[0] for w in words).upper(),),
        "text",
        f"acronym|{words}",
    )


@family("words")
def letter_after(rng, level):
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


@family("logic")
def parity_or_prime(rng, level):
    n = int(rng.integers(*((2, 100), (2, 50), (50, 200))[level - 1]))
    if level == 1:
        return Draft(
            f"Is {n} an even number? Yes or no?",
            ("yes" if n % 2 == 0 else "no",),
            "yesno",
            f"even|{n}",
        )
    prime = all(n % k for k in range(2, int(n**0.5) + 1))
    return Draft(
        f"Is {n} a prime number? Yes or no?", ("yes" if prime else "no",), "yesno", f"prime|{n}"
    )


@family("logic")
def taller(rng, level):
    people = [NAMES[i] for i in rng.permutation(len(NAMES))[: level + 2]]
    facts = [f"{a} is taller than {b}." for a, b in itertools.pairwise(people)]
    facts = [facts[i] for i in rng.permutation(len(facts))]
    end, answer = _pick(rng, [("tallest", people[0]), ("shortest", people[-1])])
    return Draft(
        f"{' '.join(facts)} Who is the {end}?", (answer,), "text", f"taller|{people}|{end}"
    )


def _program(code: str, answer: str, content: str) -> Draft:
    return Draft(f"What does this Python code print?\n{code}", (answer,), "raw", content)


@family("programs")
def code_expression(rng, level):
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
def code_string(rng, level):
    word, i = _pick(rng, WORDS), int(rng.integers(1, 4))
    code, value = {
        1: _pick(
            rng,
            [
                (f'print(len("{word}"))', str(len(word))),
                (f'print("{word}".upper())', word.upper()),
                (f'print("{word}"[0])', word[0]),
            ],
        ),
        2: _pick(
            rng,
            [
                (f'print("{word}"[:{i + 1}])', word[: i + 1]),
                (f'print("{word}"[-1] * {i + 1})', word[-1] * (i + 1)),
                (f'print("{word}".count("e"))', str(word.count("e"))),
            ],
        ),
        3: _pick(
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
def code_list(rng, level):
    v = [int(n) for n in rng.integers(1, 20, level + 2)]
    i = int(rng.integers(0, len(v)))
    code, value = {
        1: _pick(
            rng,
            [
                (f"v = {v}\nprint(v[{i}])", v[i]),
                (f"print(sum({v}))", sum(v)),
                (f"print(max({v}))", max(v)),
            ],
        ),
        2: _pick(
            rng,
            [
                (f"print(sorted({v}))", sorted(v)),
                (f"v = {v}\nprint(v[1:])", v[1:]),
                (f"print([n * 2 for n in {v}])", [n * 2 for n in v]),
            ],
        ),
        3: _pick(
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
def code_loop(rng, level):
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
def code_choice(rng, level):
    a, b = int(rng.integers(2, 30)), int(rng.integers(2, 9))
    expression, right = _pick(
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
