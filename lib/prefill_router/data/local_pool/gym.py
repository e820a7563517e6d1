"""Question families from reasoning-gym's procedural generators, at their easy ends."""

from __future__ import annotations

import re

import numpy as np
import reasoning_gym

from prefill_router.data.local_pool.family import Draft, Family, Generator

# dataset -> (kind, configuration of level 1, 2, 3); at the generators' defaults small targets get
# almost nothing right.
LEVELS: dict[str, tuple[str, dict, dict, dict]] = {
    "chain_sum": (
        "number",
        dict(min_terms=2, max_terms=2, min_digits=1, max_digits=2),
        dict(min_terms=3, max_terms=3, min_digits=2, max_digits=2),
        dict(min_terms=3, max_terms=4, min_digits=2, max_digits=3),
    ),
    "basic_arithmetic": (
        "number",
        dict(min_terms=2, max_terms=2, min_digits=1, max_digits=1),
        dict(min_terms=3, max_terms=3, min_digits=1, max_digits=1),
        dict(min_terms=3, max_terms=4, min_digits=1, max_digits=2),
    ),
    "products": (
        "number",
        dict(min_digits=1, max_digits=1),
        dict(min_digits=1, max_digits=2),
        dict(min_digits=2, max_digits=2),
    ),
    "decimal_chain_sum": (
        "number",
        dict(
            min_terms=2,
            max_terms=2,
            min_digits=1,
            max_digits=1,
            min_decimal_places=1,
            max_decimal_places=1,
        ),
        dict(
            min_terms=2,
            max_terms=2,
            min_digits=1,
            max_digits=2,
            min_decimal_places=1,
            max_decimal_places=2,
        ),
        dict(
            min_terms=3,
            max_terms=3,
            min_digits=1,
            max_digits=2,
            min_decimal_places=1,
            max_decimal_places=2,
        ),
    ),
    "simple_equations": (
        "number",
        dict(min_terms=2, max_terms=2, min_value=1, max_value=9),
        dict(min_terms=2, max_terms=3, min_value=1, max_value=12),
        dict(min_terms=2, max_terms=3, min_value=2, max_value=40),
    ),
    "gcd": (
        "number",
        dict(min_value=2, max_value=20),
        dict(min_value=6, max_value=60),
        dict(min_value=20, max_value=200),
    ),
    "lcm": (
        "number",
        dict(min_value=2, max_value=9),
        dict(min_value=3, max_value=15),
        dict(min_value=6, max_value=40),
    ),
    "fraction_simplification": (
        "raw",
        dict(min_value=1, max_value=5, min_factor=2, max_factor=4, styles=["plain"]),
        dict(min_value=2, max_value=12, min_factor=2, max_factor=6, styles=["plain"]),
        dict(min_value=5, max_value=30, min_factor=3, max_factor=12, styles=["plain"]),
    ),
    "leg_counting": (
        "number",
        dict(min_animals=1, max_animals=1, min_instances=1, max_instances=4),
        dict(min_animals=2, max_animals=2, min_instances=1, max_instances=4),
        dict(min_animals=2, max_animals=3, min_instances=2, max_instances=8),
    ),
    "letter_counting": (
        "number",
        dict(min_words=2, max_words=3),
        dict(min_words=4, max_words=6),
        dict(min_words=7, max_words=10),
    ),
    "spell_backward": (
        "text",
        dict(min_word_len=3, max_word_len=3),
        dict(min_word_len=3, max_word_len=4),
        dict(min_word_len=4, max_word_len=5),
    ),
    "word_sequence_reversal": (
        "raw",
        dict(min_words=3, max_words=3),
        dict(min_words=4, max_words=5),
        dict(min_words=6, max_words=7),
    ),
    "number_sequence": (
        "number",
        dict(min_terms=5, max_terms=5, min_value=0, max_value=12, max_complexity=1),
        dict(min_terms=5, max_terms=6, min_value=0, max_value=30, max_complexity=1),
        dict(min_terms=5, max_terms=7, min_value=-20, max_value=50, max_complexity=2),
    ),
    "calendar_arithmetic": (
        "raw",
        dict(tasks=["weekday_offset"], offset_upper_bound=7),
        dict(tasks=["is_leap_year", "weekday_offset"], offset_upper_bound=14),
        dict(tasks=["count_days", "weekday_of_date_from_first_date"], offset_upper_bound=30),
    ),
    "aiw": ("number", dict(max_entities=3), dict(max_entities=5), dict(max_entities=9)),
    "syllogism": (
        "yesno",
        dict(allow_some=False, allow_some_not=False),
        dict(allow_some_not=False),
        dict(),
    ),
    "gsm_symbolic": ("number", dict(difficulty=1.0), dict(difficulty=1.0), dict(difficulty=1.0)),
    "coin_flip": (
        "number",
        dict(min_trials=1, max_trials=2),
        dict(min_trials=2, max_trials=3),
        dict(min_trials=3, max_trials=4),
    ),
    "simple_geometry": (
        "number",
        dict(min_sides=3, max_sides=3),
        dict(min_sides=4, max_sides=4),
        dict(min_sides=5, max_sides=5),
    ),
    "count_bits": (
        "number",
        dict(min_n=1, max_n=15),
        dict(min_n=8, max_n=63),
        dict(min_n=32, max_n=255),
    ),
    "complex_arithmetic": (
        "raw",
        dict(
            min_real=0,
            max_real=5,
            min_imag=1,
            max_imag=5,
            operations=["+"],
            operations_weights=[1.0],
        ),
        dict(
            min_real=-9,
            max_real=9,
            min_imag=-9,
            max_imag=9,
            operations=["+", "-"],
            operations_weights=[0.5, 0.5],
        ),
        dict(
            min_real=-5,
            max_real=5,
            min_imag=-5,
            max_imag=5,
            operations=["*"],
            operations_weights=[1.0],
        ),
    ),
    "prime_factorization": (
        "raw",
        dict(min_value=4, max_value=20),
        dict(min_value=12, max_value=60),
        dict(min_value=40, max_value=150),
    ),
    "count_primes": (
        "number",
        dict(min_n=1, max_n=12),
        dict(min_n=1, max_n=25),
        dict(min_n=5, max_n=50),
    ),
    "number_format": (
        "number",
        dict(min_num_candidates=2, max_num_candidates=2, min_n=100, max_n=10_000, max_delta=50.0),
        dict(min_num_candidates=3, max_num_candidates=3, min_n=1000, max_n=100_000, max_delta=50.0),
        dict(
            min_num_candidates=4, max_num_candidates=4, min_n=1000, max_n=1_000_000, max_delta=10.0
        ),
    ),
}

_BOILERPLATE = (
    (re.compile(r"^Your task is to (?:count how many legs|compute an|pick the)[^\n]*\n+"), ""),
    (re.compile(r"^Your output should be only the number of interest\.\n+"), ""),
    (re.compile(r"^Now, "), ""),
    (
        re.compile(
            r"^Solve the following problem\.\n+Provide you answer as a comma-separated list of"
            r" words with a space after the comma\.\n+"
        ),
        "Answer with a comma-separated list. ",
    ),
)


def tidy(question: str) -> str:
    """Drop the instruction boilerplate that reasoning-gym puts around some questions; what is asked
    stays word for word.
    """
    for pattern, replacement in _BOILERPLATE:
        question = pattern.sub(replacement, question.strip())
    question = re.sub(r"^(\w)", lambda m: m[1].upper(), question)
    return re.sub(r"\n{2,}", "\n", question).strip()


def _generator(dataset: str) -> Generator:
    kind, *levels = LEVELS[dataset]

    def generate(rng: np.random.Generator, level: int) -> Draft:
        config = {**levels[level - 1], "seed": int(rng.integers(2**31)), "size": 1}
        entry = reasoning_gym.create_dataset(dataset, **config)[0]
        return Draft(
            tidy(entry["question"]),
            (str(entry["answer"]),),
            kind,
            f"{dataset}|{entry['question']}",
            gym={"dataset": dataset, "config": config, "index": 0},
        )

    return generate


FAMILIES = {
    f"gym_{name}": Family(f"gym_{name}", "reasoning-gym", _generator(name)) for name in LEVELS
}
