"""What tells methods apart: their name, and with several encoders the encoder."""

import pandas as pd
import pytest

from prefill_router.evaluate.keys import main_rows, with_keys
from prefill_router.files import project_root
from prefill_router.heads.names import OnEncoder, method_keys, name_of, together

ALONE = OnEncoder("ours", "a")


def test_a_method_on_one_encoder_has_a_key_of_its_own_only_beside_several():
    both = together(["a", "b"])
    pairs = [("ours", both), ("ours", "a"), ("paper", "a"), ("tfidf", "")]
    assert method_keys(pairs) == {
        ("ours", both): "ours",
        ("ours", "a"): ALONE,
        ("paper", "a"): "paper",
        ("tfidf", ""): "tfidf",
    }
    assert method_keys([("ours", "a")]) == {("ours", "a"): "ours"}
    assert (name_of(ALONE), name_of("ours"), str(ALONE)) == ("ours", "ours", "ours on a")


def test_two_methods_that_cannot_be_told_apart_are_named():
    with pytest.raises(ValueError, match="here are: ours on a; ours on b"):
        method_keys([("ours", "a"), ("ours", "b")])
    with pytest.raises(ValueError, match=r"ours on a \+ b; ours on b \+ c"):
        method_keys([("ours", "a + b"), ("ours", "b + c"), ("ours", "b")])


def test_main_rows_hold_every_method_once():
    table = pd.DataFrame(
        {"method": ["ours", "paper", "ours", "oracle"], "encoder": ["a", "a", "a + b", None]}
    )
    assert main_rows(table).index.tolist() == [1, 2, 3]
    assert main_rows(table[:2]).index.tolist() == [0, 1]
    assert main_rows(table[["method"]]).equals(table[["method"]])
    categories = table.astype("category")
    assert main_rows(categories).index.tolist() == [1, 2, 3]


def test_keys_stand_in_place_of_names():
    table = pd.DataFrame({"method": ["ours", "ours", "oracle"], "encoder": ["a", "a + b", None]})
    keyed = with_keys(table.astype("category"))
    assert keyed["method"].tolist() == [ALONE, "ours", "oracle"]
    assert with_keys(keyed)["method"].tolist() == [ALONE, "ours", "oracle"]
    assert table["method"].tolist() == ["ours", "ours", "oracle"]


def test_either_side_of_a_pair_tells_what_the_other_reads():
    # `ours` on both stands on the left alone, on one of them on the right alone
    paired = pd.DataFrame(
        {
            "method_a": ["ours", "paper"],
            "encoder_a": ["a + b", "a"],
            "method_b": ["ours", "best_single"],
            "encoder_b": ["a", None],
        }
    )
    keyed = with_keys(paired)
    assert keyed["method_a"].tolist() == ["ours", "paper"]
    assert keyed["method_b"].tolist() == [ALONE, "best_single"]
    names = paired[["method_a", "method_b"]]
    assert with_keys(names).equals(names)


@pytest.mark.parametrize("name", ["metrics", "paired", "curve"])
def test_no_committed_table_has_two_rows_of_one_key(name):
    of_row = ["pool", "operating_point", "target", "metric", "tolerance"]
    paths = sorted((project_root() / "results").glob(f"*/{name}.csv"))
    assert paths
    for path in paths:
        table = pd.read_csv(path)
        methods = [column for column in table if column.startswith(("method", "encoder"))]
        assert not table[methods].stack().str.contains("@").any(), path
        keys = [column for column in (*methods, *of_row) if column in table]
        assert not table.duplicated(keys).any(), path
        assert list(with_keys(table)) == list(table)


@pytest.mark.parametrize("name", ["metrics", "curve"])
def test_the_first_row_of_a_method_reads_all_its_encoders(name):
    for path in sorted((project_root() / "results").glob(f"*/{name}.csv")):
        table = pd.read_csv(path)
        of_row = ("pool", "method", "operating_point", "target", "metric", "tolerance")
        keys = [column for column in of_row if column in table]
        assert table.drop_duplicates(keys).equals(main_rows(table)), path
