"""The price list: what it must say, and that the committed one says it."""

import math

import pytest

from prefill_router.outcomes import OutcomesError
from prefill_router.prices import Price, load_prices
from prefill_router.profiles import load_profile, project_root


def write(path, text):
    path.write_text(text)
    return path


def test_a_good_list(tmp_path):
    path = write(tmp_path / "p.yaml", 'prices:\n  a: {input: 1, output: 2.5, date: "2024-12", source: s}\n')
    assert load_prices(path) == {"a": Price(1.0, 2.5, "2024-12", "s")}


def test_all_problems_at_once(tmp_path):
    path = write(
        tmp_path / "p.yaml",
        "prices:\n  a: {input: -1, output: 2, date: d, source: s}\n  b: {input: 1, output: null, source: s, unit: EUR}\n  c: 3\n",
    )
    with pytest.raises(OutcomesError) as error:
        load_prices(path)
    for part in ("a: input is -1", "b: output is None", "b: date is missing", "b: unknown key 'unit'", "c: input is 'missing'"):
        assert part in str(error.value)


def test_null_stands_for_no_public_price_and_needs_a_reason(tmp_path):
    text = 'prices:\n  a: {{input: null, output: null, date: d, source: s{}}}\n'
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
            assert sum(not math.isnan(listed[name].input) for name in names) >= 2  # a pool that routing can weigh
    assert all(price.note.startswith("no public price: ") for price in listed.values() if math.isnan(price.input))
