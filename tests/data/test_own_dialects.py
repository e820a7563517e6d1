"""Tables as other programs write them: separators, line ends, encodings, words, missing values,
halves of signs, long prompts.
"""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from prefill_router.data import memory as sizes
from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.own import limits, own_outcomes_folder, read_own_table
from prefill_router.data.own.limits import Reads
from prefill_router.data.texts import whole
from prefill_router.encode import encoders

N = 120


def table(n=N):
    """`small` is right at two of three questions, `big` at four of five."""
    return pd.DataFrame(
        {
            "question": np.repeat([f"What is {i} + {i}?" for i in range(n)], 2),
            "model": ["small", "big"] * n,
            "isCorrect": (
                np.stack([np.arange(n) % 3 > 0, np.arange(n) % 5 > 0], 1).ravel().astype(int)
            ),
            "output_tokens": 30,
            "input_tokens": 8,
        }
    )


def check(read):
    assert read.outcomes.n == N and read.outcomes.target_names == ["small", "big"]
    np.testing.assert_allclose(read.outcomes.correct.mean(0), [2 / 3, 4 / 5])
    return read


def text(sep=","):
    return table().to_csv(index=False, sep=sep)


DIALECTS = {
    "pipe": text("|").encode(),
    "semicolon": text(";").encode(),
    "tab": text("\t").encode(),
    "excel": ("sep=;\n" + text(";")).encode(),
    "excel quoted": ('"sep=|"\r\n' + text("|")).encode(),
    "cr only": text().replace("\n", "\r").encode(),
    "crlf": text().replace("\n", "\r\n").encode(),
    "utf-16": text("\t").encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + text().encode("utf-16-be"),
    "german": (
        table()
        .assign(isCorrect=table()["isCorrect"].map({1: "WAHR", 0: "FALSCH"}))
        .to_csv(index=False, sep=";")
        .encode()
    ),
    "french": (
        table()
        .assign(isCorrect=table()["isCorrect"].map({1: "VRAI", 0: "FAUX"}))
        .to_csv(index=False, sep=";")
        .encode()
    ),
    "decimal comma": (
        table()
        .assign(isCorrect=table()["isCorrect"].map({1: "1,0", 0: "0,0"}))
        .to_csv(index=False, sep=";")
        .encode()
    ),
}


@pytest.mark.parametrize("kind", DIALECTS)
def test_dialects_of_csv(tmp_path, kind):
    (tmp_path / "t.csv").write_bytes(DIALECTS[kind])
    check(read_own_table(tmp_path / "t.csv"))


def test_pipes_in_names_of_columns_do_not_make_them_separators(tmp_path):
    wide = pd.DataFrame(
        {
            "prompt": [f"What is {i}?" for i in range(N)],
            "a": np.arange(N) % 2,
            "b": np.arange(N) % 3 > 0,
            "a|total_cost": 1.0,
            "b|total_cost": 2.0,
            "a|model_response": "",
            "b|model_response": "",
        }
    )
    wide.to_csv(tmp_path / "t.csv", index=False)
    assert read_own_table(tmp_path / "t.csv").outcomes.target_names == ["a", "b"]


ROWS = table().to_dict("records")
SHAPES = {
    "list": ROWS,
    "under a name": {"version": 1, "data": ROWS},
    "a list per column": table().to_dict("list"),
    "pandas, by columns": json.loads(table().to_json()),
    "pandas, by rows": json.loads(table().to_json(orient="index")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_json_arrays(tmp_path, shape):
    (tmp_path / "t.json").write_text(json.dumps(SHAPES[shape], indent=1))
    check(read_own_table(tmp_path / "t.json"))


def test_json_that_is_lines_or_nothing(tmp_path):
    (tmp_path / "t.json").write_text("\n".join(map(json.dumps, ROWS)))
    check(read_own_table(tmp_path / "t.json"))
    for content, message in (
        ("[1, 2]", "entry 1 is a int, not an object"),
        ("[{", "not readable as JSON"),
        (
            '{"question": {"0": "a", "1": "b"}, "model": {"0": "x"}}',
            "column 'model' has other rows than 'question'; write a list of objects",
        ),
    ):
        (tmp_path / "t.json").write_text(content)
        with pytest.raises(OutcomesError, match=message):
            read_own_table(tmp_path / "t.json")


def test_backslashes_before_quotation_marks_are_explained(tmp_path):
    (tmp_path / "t.csv").write_text('question,model,isCorrect\n"Say \\"one\\", or two",small,0\n')
    with pytest.raises(
        OutcomesError,
        match=(
            r'line 2: quotation marks inside a text are written with a backslash \(\\"\); write'
            r" them twice"
        ),
    ):
        read_own_table(tmp_path / "t.csv")


CAUSES = {
    "ids": (
        lambda t: t.assign(query_id=np.arange(2 * N)),
        r"column query_id: 120 prompts stand under several ids each \(such as 0 and 1\)",
    ),
    "case of names": (
        lambda t: t.assign(
            model=[m.upper() if i // 2 % 2 else m for i, m in enumerate(t["model"])]
        ),
        r"differ in case or spaces alone \(small and SMALL, big and BIG\)",
    ),
    "forms of accents": (
        lambda t: t.assign(
            question=[
                ("Caf\u00e9: " if i % 2 else "Cafe\u0301: ") + q
                for i, q in enumerate(t["question"])
            ]
        ),
        r"240 prompts differ only in how accents are written \(Unicode NFC and NFD",
    ),
    "case of prompts": (
        lambda t: t.assign(
            question=[q.upper() if i % 2 else q for i, q in enumerate(t["question"])]
        ),
        "240 prompts differ in case or spaces alone",
    ),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_why_no_question_seems_to_be_answered_by_every_model(tmp_path, kind):
    change, message = CAUSES[kind]
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(OutcomesError, match=f"only 0 of .*{message}"):
        read_own_table(tmp_path / "t.csv")


def test_one_question_written_in_two_ways_is_one(tmp_path):
    ids = [f"{i // 2}" + (".0" if i % 2 else "") for i in range(2 * N)]
    table().assign(query_id=ids).to_csv(tmp_path / "t.csv", index=False)
    assert check(read_own_table(tmp_path / "t.csv")).outcomes.queries["query_id"][7] == "7"
    lines = table()
    lines["question"] = [
        "Question:" + ("\r\n" if i % 2 else "\n") + q for i, q in enumerate(lines["question"])
    ]
    lines.to_csv(tmp_path / "u.csv", index=False)
    read = check(read_own_table(tmp_path / "u.csv"))
    assert (
        "120 prompts end their lines in CR LF: read as LF" in read.notes
        and read.outcomes.prompts[0] == "Question:\nWhat is 0 + 0?"
    )


def test_space_around_prompts_is_not_read_and_told(tmp_path):
    spaced = table()
    spaced["question"] = [q + ("\n" if i % 2 else "") for i, q in enumerate(spaced["question"])]
    spaced.to_csv(tmp_path / "t.csv", index=False)
    read = check(read_own_table(tmp_path / "t.csv"))
    assert read.outcomes.prompts[3] == "What is 3 + 3?"
    assert (
        "120 prompts have spaces or empty lines around them: read without, as when serving"
        in read.notes
    )
    assert not any("CR LF" in note for note in read.notes)


@pytest.mark.parametrize("cells", [{"score": 1.0}, "perhaps"])
def test_a_column_that_cannot_be_read_says_nothing_of_models(tmp_path, cells):
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps(row | {"isCorrect": cells}) for row in ROWS)
    )
    with pytest.raises(OutcomesError, match="^1 problem; nothing was read:\n.*not a number: row 1"):
        read_own_table(tmp_path / "t.jsonl")


def test_missing_values_of_parquet_are_missing(tmp_path):
    def gaps(kind):
        return pd.array(
            [None if i < 4 else kind(i // 2) for i in range(2 * N)],
            dtype="Int64" if kind is int else "string",
        )

    table().assign(
        benchmark=gaps(lambda i: str(i // 10 * 2 or 2)),
        group=pd.array([None if i < 100 else str(i // 2) for i in range(2 * N)], dtype="string"),
    ).to_parquet(tmp_path / "t.parquet")
    read = check(read_own_table(tmp_path / "t.parquet"))
    assert read.outcomes.queries["benchmark"][:3].tolist() == ["not given", "not given", "2"]
    assert "2 questions have no benchmark: called 'not given'" in read.notes
    assert (
        read.outcomes.queries["group"].nunique() == N
    )  # those without a group are no group of their own
    table().assign(query_id=gaps(int)).to_parquet(tmp_path / "u.parquet")
    with pytest.raises(OutcomesError, match="column query_id: empty: row 1") as caught:
        read_own_table(tmp_path / "u.parquet")
    assert "different outcomes" not in str(caught.value)  # rows without an id are not one question
    table().assign(query_id="same").to_parquet(tmp_path / "v.parquet")
    with pytest.raises(OutcomesError, match="one id for different prompts") as caught:
        read_own_table(tmp_path / "v.parquet")
    assert "different outcomes" not in str(caught.value)


def test_the_benchmark_of_one_row_is_that_of_the_question(tmp_path):
    table().assign(benchmark=["", "sums"] * N).to_csv(tmp_path / "t.csv", index=False)
    assert set(read_own_table(tmp_path / "t.csv").outcomes.queries["benchmark"]) == {"sums"}


def test_an_index_of_parquet_is_a_column(tmp_path):
    table().set_index("question").to_parquet(tmp_path / "t.parquet")
    check(read_own_table(tmp_path / "t.parquet"))


def test_messages_show_plain_numbers(tmp_path):
    pd.concat([table(), table().head(1).assign(isCorrect=1)]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(OutcomesError, match=r"different outcomes .*row 1 0\.0") as caught:
        read_own_table(tmp_path / "t.parquet")
    assert "np." not in str(caught.value)


def test_halves_of_signs_are_replaced_and_counted_in_every_column(tmp_path):
    rows = [
        row
        | {
            "benchmark": "a\ud83d",
            "question": row["question"] + ("\ud83d" if i in (10, 11) else "\ud83d\ude00"),
        }
        for i, row in enumerate(ROWS)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read = check(read_own_table(tmp_path / "t.jsonl"))
    assert (
        read.outcomes.prompts[5] == "What is 5 + 5?\ufffd"
        and read.outcomes.prompts[6] == "What is 6 + 6?\U0001f600"
    )
    assert set(read.outcomes.queries["benchmark"]) == {"a\ufffd"}
    assert any(
        "column question: half a sign" in note and "2 cells (row 11, row 12)" in note
        for note in read.notes
    )
    own_outcomes_folder(tmp_path / "t.jsonl", None, tmp_path / "b")  # can be written


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a\ud83d", "a\ufffd"),
        ("\udc00b", "\ufffdb"),
        ("\ud83dx\ud83d", "\ufffdx\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("f\u00fcr \U0001f600", "f\u00fcr \U0001f600"),
    ],
)
def test_whole(text, mended):
    assert whole(text) == mended and whole(mended) == mended


class Words:
    """A tokenizer of words, as `encoders.Reader` needs it."""

    chat_template = None

    def __call__(self, text, add_special_tokens):
        return {"input_ids": text.split()}


def test_prompts_longer_than_an_encoder_reads_are_left_out_by_row(tmp_path):
    loaded = []

    def load_reader(name, plain_prompt=False):
        loaded.append(name)
        return encoders.Reader(name, Words(), {"short": 100, "long": 1000}[name], True)

    t = table(N + 1)
    t.loc[[6, 7], "question"] = "word " * 150
    t.to_csv(tmp_path / "t.csv", index=False)
    read = read_own_table(
        tmp_path / "t.csv",
        encoders=[Reads("long", False, load_reader), Reads("short", False, load_reader)],
    )
    assert (
        read.outcomes.n == N
        and not any("word" in p for p in read.outcomes.prompts)
        and loaded == ["long", "short"]
    )
    assert any(
        "1 questions are longer than short reads (100 tokens): left out (row 7 (150 tokens))"
        in note
        for note in read.notes
    )
    assert (
        read_own_table(tmp_path / "t.csv", encoders=[Reads("long", False, load_reader)]).outcomes.n
        == N + 1
    )
    t.loc[:59, "question"] = [f"{i // 2} " + "word " * 150 for i in range(60)]
    t.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        OutcomesError,
        match="questions are longer than short reads.*91 questions remain, 100 are needed",
    ):
        read_own_table(tmp_path / "t.csv", encoders=[Reads("short", False, load_reader)])


def test_no_tokenizer_is_loaded_for_short_prompts(tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    check(
        read_own_table(
            tmp_path / "t.csv",
            encoders=[Reads("any", False, lambda *a, **k: pytest.fail("loaded"))],
        )
    )
    assert limits.SURE < 512


def test_memory_is_asked_for_before_the_work_begins(tmp_path, monkeypatch, capsys):
    # as measured: 2.2 GB at 9,000 questions, 5.7 GB at 18,000 before kernels were bounded
    assert sizes.memory_needed(9_000) == pytest.approx(2.2e9, rel=0.1)
    exact = sizes.MEMORY_BASE + sizes.memory_of_exact(18_000)
    assert exact == pytest.approx(5.7e9, rel=0.1) and sizes.memory_needed(18_000) < exact
    assert sizes.memory_needed(sizes.exact_rows_within(2e9)) == pytest.approx(2e9, rel=1e-3)
    memory = SimpleNamespace(total=16e9, available=1.1e9)
    monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: memory)
    assert limits.check_memory(1_000) == "" and "only 1.1 GB are free" in limits.check_memory(9_000)
    assert "GB of memory" in limits.check_memory(1_000_000)  # fits, with landmarks
    memory.total = 1.6e9
    with pytest.raises(
        OutcomesError,
        match=r"40,000 questions need about 2.* GB.*has 1.6 GB: keep at most some 5,390 questions",
    ):
        limits.check_memory(40_000)
    memory.available = 0.5e9
    table().to_csv(tmp_path / "t.csv", index=False)
    folder = own_outcomes_folder(tmp_path / "t.csv", None, tmp_path / "b")
    assert "warning: 120 questions need about 1.0 GB" in capsys.readouterr().err
    assert "GB" not in (folder / "notes.json").read_text()  # of this machine, not of the table
