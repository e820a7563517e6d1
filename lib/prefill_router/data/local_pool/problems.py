"""Question families about measures, word problems and logic."""

from __future__ import annotations

import itertools

import numpy as np

from prefill_router.data.local_pool.facts import pick
from prefill_router.data.local_pool.family import Draft, Family, registry

FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)

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
def unit_conversion(rng: np.random.Generator, level: int) -> Draft:
    small, large, factor, _ = pick(rng, UNITS[level])
    n = int(rng.integers(2, (6, 12, 15)[level - 1]))
    return Draft(
        f"How many {small} are there in {n} {large}?",
        (str(n * factor),),
        "number",
        f"unit|{small}|{large}|{n}",
    )


@family("measures")
def percent_of(rng: np.random.Generator, level: int) -> Draft:
    percent = pick(rng, ([10, 50], [20, 25, 75], [5, 15, 30, 45])[level - 1])
    n = int(rng.integers(1, 30)) * 20
    return Draft(
        f"What is {percent}% of {n}?",
        (str(percent * n // 100),),
        "number",
        f"percent|{percent}|{n}",
    )


@family("measures")
def clock_later(rng: np.random.Generator, level: int) -> Draft:
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
def compare_decimals(rng: np.random.Generator, level: int) -> Draft:
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
def number_after(rng: np.random.Generator, level: int) -> Draft:
    n, back = int(rng.integers(*((2, 30), (30, 300), (900, 9000))[level - 1])), rng.random() < 0.3
    return Draft(
        f"Which whole number comes right {'before' if back else 'after'} {n}?",
        (str(n - 1 if back else n + 1),),
        "number",
        f"after|{n}|{back}",
    )


@family("measures")
def check_sum(rng: np.random.Generator, level: int) -> Draft:
    low, high = ((1, 10), (10, 50), (50, 500))[level - 1]
    a, b = int(rng.integers(low, high)), int(rng.integers(low, high))
    shown = a + b + (0 if rng.random() < 0.5 else int(pick(rng, [-10, -2, -1, 1, 2, 10])))
    return Draft(
        f"Is it true that {a} + {b} = {shown}? Yes or no?",
        ("yes" if shown == a + b else "no",),
        "yesno",
        f"sum|{a}|{b}",
    )


@family("measures")
def average(rng: np.random.Generator, level: int) -> Draft:
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
def shopping(rng: np.random.Generator, level: int) -> Draft:
    price, count, paid = (
        int(rng.integers(2, 9)),
        int(rng.integers(2, 7)),
        int(rng.integers(1, 5)) * 20,
    )
    name, thing = pick(rng, NAMES), pick(rng, THINGS)
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
def sharing(rng: np.random.Generator, level: int) -> Draft:
    name, thing = pick(rng, NAMES), pick(rng, THINGS)
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
def ages(rng: np.random.Generator, level: int) -> Draft:
    a, b = (pick(rng, NAMES[:8]), pick(rng, NAMES[8:]))
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
def weekday_after(rng: np.random.Generator, level: int) -> Draft:
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


@family("logic")
def parity_or_prime(rng: np.random.Generator, level: int) -> Draft:
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
def taller(rng: np.random.Generator, level: int) -> Draft:
    people = [NAMES[i] for i in rng.permutation(len(NAMES))[: level + 2]]
    facts = [f"{a} is taller than {b}." for a, b in itertools.pairwise(people)]
    facts = [facts[i] for i in rng.permutation(len(facts))]
    end, answer = pick(rng, [("tallest", people[0]), ("shortest", people[-1])])
    return Draft(
        f"{' '.join(facts)} Who is the {end}?", (answer,), "text", f"taller|{people}|{end}"
    )
