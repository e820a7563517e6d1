"""The price list: what it must say, and that the committed one says it."""

import math
import re

import pytest

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.own_prices import load_own_prices
from prefill_router.data.price_entries import Price
from prefill_router.data.prices import load_prices
from prefill_router.files import project_root
from prefill_router.run.profile_files import load_profile


def write(path, text):
    path.write_text(text)
    return path


def test_a_good_list(tmp_path):
    path = write(
        tmp_path / "p.yaml", 'prices:\n  a: {input: 1, output: 2.5, date: "2024-12", source: s}\n'
    )
    assert load_prices(path) == {"a": Price(1.0, 2.5, "2024-12", "s")}


def test_all_problems_at_once(tmp_path):
    path = write(
        tmp_path / "p.yaml",
        "prices:\n  a: {input: -1, output: 2, date: d, source: s}\n  b: {input: 1, output: null,"
        " source: s, unit: EUR}\n  c: 3\n",
    )
    with pytest.raises(OutcomesError) as error:
        load_prices(path)
    for part in (
        "a: input is -1",
        "b: output is None",
        "b: date is missing",
        "b: unknown key 'unit'",
        "c: input is 'missing'",
    ):
        assert part in str(error.value)


def test_null_stands_for_no_public_price_and_needs_a_reason(tmp_path):
    text = "prices:\n  a: {{input: null, output: null, date: d, source: s{}}}\n"
    price = load_prices(write(tmp_path / "p.yaml", text.format(', note: "no host"')))["a"]
    assert math.isnan(price.input) and math.isnan(price.output) and price.note == "no host"
    with pytest.raises(OutcomesError, match="a: no price, and no note that says why"):
        load_prices(write(tmp_path / "p.yaml", text.format("")))


@pytest.mark.parametrize("text", ["", "a: 1", "prices: []", "prices: {"])
def test_what_is_no_list_is_refused(tmp_path, text):
    with pytest.raises(OutcomesError, match="p.yaml"):
        load_prices(write(tmp_path / "p.yaml", text))
    with pytest.raises(OutcomesError, match="cannot be read"):
        load_prices(tmp_path / "none.yaml")


def test_every_target_of_the_public_pools_has_a_sourced_price():
    listed = load_prices(project_root() / "config" / "prices.yaml")
    for profile in ("zeroeval", "mmlu_pro"):
        for names in load_profile(profile).pools.values():
            assert set(names) <= set(listed)
            assert (
                sum(not math.isnan(listed[name].input) for name in names) >= 2
            )  # a pool that routing can weigh
    assert all(
        price.note.startswith("no public price: ")
        for price in listed.values()
        if math.isnan(price.input)
    )


OWN = "prices:\n  small: {input: 0.15, output: 0.60}\n  large: {input: 2.5, output: 10}\n"
MODELS = ["small", "large"]
RIGHT = {"small": (0.15, 0.6), "large": (2.5, 10)}
SAME = {
    "plain": OWN,
    "exponent": (
        "prices:\n  small: {input: 1.5e-1, output: 6e-1}\n  large: {input: 25e-1, output: 1e1}\n"
    ),
    "in quotes": OWN.replace("0.15", '"0.15"').replace("10", '"10"'),
    "as OpenRouter gives them": (
        'prices:\n  small: {input: "0.00000015", output: "0.0000006"}\n  large: {input:'
        ' "0.0000025", output: "0.00001"}\n'
    ),
    "per token, said": (
        "unit: token\nprices:\n  small: {input: 1.5e-07, output: 6e-07}\n  large: {input: 2.5e-06,"
        " output: 1e-05}\n"
    ),
    "as LiteLLM lists them": (
        '{"small": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "mode":'
        ' "chat"}, "large": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}}'
    ),
    "as LiteLLM lists them, unit said too": (
        "unit: token\nprices:\n  small: {input_cost_per_token: 1.5e-07, output_cost_per_token:"
        " 6.0e-07}\n  large: {input_cost_per_token: 2.5e-06, output_cost_per_token: 1.0e-05}\n"
    ),
    "in two ways, unit said too": (
        "unit: token\nprices:\n  small: {input: 1.5e-07, output: 6.0e-07}\n"
        "  large: {input_cost_per_token: 2.5e-06, output_cost_per_token: 1.0e-05}\n"
    ),
    "in two ways, per thousand": (
        "unit: thousand\nprices:\n  small: {input: 0.00015, output: 0.0006}\n"
        "  large: {input_cost_per_token: 2.5e-06, output_cost_per_token: 1.0e-05}\n"
    ),
    "with thirty others": (
        OWN + "".join(f"  other-{i}: {{input: 1, output: 2}}\n" for i in range(30))
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_own_prices_that_are_the_same(tmp_path, kind):
    read = load_own_prices(write(tmp_path / "p.yaml", SAME[kind]), MODELS)
    assert (
        read.problems == []
        and {m: pytest.approx((p.input, p.output)) for m, p in read.prices.items()} == RIGHT
    )
    notes = " ".join(read.notes)
    assert ("30 entries of the price list are of models that the table does not have" in notes) == (
        kind == "with thirty others"
    )
    said = kind.startswith(("as OpenRouter", "as LiteLLM", "in two ways"))
    assert ("per token" in notes) == said


REFUSED = {
    "twice": (
        OWN + "  small: {input: 15, output: 60}\n",
        "small stands twice, in line 2 and line 4",
    ),
    "per token": (
        SAME["per token, said"].replace("unit: token\n", ""),
        (
            r"prices below 0.001 per million tokens: small \(1.5e-07\), large \(2.5e-06\); are they"
            r" per token\?"
        ),
    ),
    "mixed": (
        OWN.replace("2.5", "2.5e-06").replace("10", "1.0e-05"),
        r"prices below 0.001 per million tokens: large",
    ),
    "mixed, in quotes": (
        OWN.replace("2.5", '"0.0000025"').replace("10", '"0.00001"'),
        r"prices below 0.001 per million tokens: large",
    ),
    "far apart": (
        OWN.replace("10}", "9000}"),
        r"large \(9000\) is priced more than 10,000 times small \(0.6\); are their units the same",
    ),
    "unit": ("unit: word\n" + OWN, "unknown unit 'word'; use one of million, thousand, token"),
    "unit in a list": ("unit: [token]\n" + OWN, r"unknown unit \['token'\]; use one of million"),
    "misspelt": (OWN.replace("small", "smal"), "smal is no model of the table; is it small"),
    "of others": (
        "prices: {other: {input: 1, output: 2}}",
        "no price is of a model of the table; it has small, large, the list other",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_own_prices_that_are_refused_or_asked_about(tmp_path, kind):
    text, message = REFUSED[kind]
    assert re.search(
        message, "\n".join(load_own_prices(write(tmp_path / "p.yaml", text), MODELS).problems)
    )


def test_a_unit_confirms_what_is_implausible_and_nothing_is_free_of_charge(tmp_path):
    read = load_own_prices(
        write(
            tmp_path / "p.yaml",
            "unit: million\nprices:\n  small: {input: 0.0001, output: 0.0001}\n  large: {input: 0,"
            " output: 90}\n",
        ),
        MODELS,
    )
    assert not read.problems and read.prices["small"].input == 0.0001
    free = load_own_prices(
        write(
            tmp_path / "p.yaml",
            "prices:\n  small: {input: 0, output: 0}\n  large: {input: 2.5, output: 10}\n",
        ),
        MODELS,
    )
    assert not free.problems and free.prices["small"].output == 0


def test_a_committed_list_may_not_say_a_target_twice(tmp_path):
    with pytest.raises(OutcomesError, match="a stands twice, in line 2 and line 3"):
        load_prices(
            write(
                tmp_path / "p.yaml",
                "prices:\n  a: {input: 1, output: 2, date: d, source: s}\n  a: {input: 3, output:"
                " 4, date: d, source: s}\n",
            )
        )
