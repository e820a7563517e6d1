"""Tables of one's own: both shapes, every kind of file, and each kind of problem with its place and
its fix.
"""

import json

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcome_files import load_outcomes
from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.own import own_outcomes_folder, read_own_table
from prefill_router.run.own_profile import write_own_profile
from prefill_router.run.workspace import open_workspace

N = 120


def rows(n=N):
    """Two models: `small` right at two of three questions, `big` at four of five."""
    made = []
    for i in range(n):
        for model, right, tokens in (("small", i % 3 > 0, 20), ("big", i % 5 > 0, 200)):
            made.append(
                {
                    "question": f"What is {i} + {i}?",
                    "model": model,
                    "isCorrect": int(right),
                    "output_tokens": tokens + i,
                    "input_tokens": 8,
                }
            )
    return pd.DataFrame(made)


PRICES = "currency: EUR\nprices:\n  small: {input: 1, output: 2}\n  big: {input: 10, output: 30}\n"


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


def write(tmp_path, table, name="t.csv", **options):
    path = tmp_path / name
    if name.endswith(".parquet"):
        table.to_parquet(path)
    elif name.endswith(("jsonl", "ndjson")):
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, **options)
    return path


def check(table):
    o = table.outcomes
    assert o.target_names == ["small", "big"] and o.n == N and o.cost_unit == "EUR"
    np.testing.assert_array_equal(o.correct[:6], [[0, 0], [1, 1], [1, 1], [0, 1], [1, 1], [1, 0]])
    # question 3: 8 tokens read and 23 written by small, at 1 and 2 per million
    assert o.cost[3, 0] == pytest.approx((8 * 1 + 23 * 2) * 1e-6) and o.output_tokens[3, 1] == 203
    assert o.queries["prompt"][3] == "What is 3 + 3?"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.ndjson", "t.parquet"])
def test_every_kind_of_file(tmp_path, prices, name):
    check(
        read_own_table(
            write(tmp_path, rows(), name, **({"sep": "\t"} if name.endswith("tsv") else {})), prices
        )
    )


def test_semicolons_a_byte_order_mark_and_other_names_of_columns_are_understood(tmp_path, prices):
    renamed = rows().rename(
        columns={
            "question": "Prompt",
            "model": "LLM",
            "isCorrect": "is_correct",
            "output_tokens": "completion_tokens",
        }
    )
    check(read_own_table(write(tmp_path, renamed, sep=";", encoding="utf-8-sig"), prices))


def test_commas_quotes_and_lines_inside_a_prompt_are_kept(tmp_path):
    table = rows()
    nasty = 'Say "a, b"\nand <script>; then ü'
    table.loc[table["question"] == "What is 7 + 7?", "question"] = nasty
    assert nasty in read_own_table(write(tmp_path, table)).outcomes.prompts


def test_the_order_of_rows_does_not_matter(tmp_path, prices):
    a = read_own_table(write(tmp_path, rows()), prices).outcomes
    b = read_own_table(
        write(tmp_path, rows().sample(frac=1, random_state=0), "u.csv"), prices
    ).outcomes
    b = b.pool(a.target_names)
    order = pd.Index(b.queries["query_id"]).get_indexer(a.queries["query_id"])
    np.testing.assert_array_equal(a.correct, b.correct[order])


def wide():
    """As RouterBench publishes it."""
    n = np.arange(N)
    return pd.DataFrame(
        {
            "sample_id": [f"grade-school-math.{i}" for i in n],
            "prompt": [f"['What is {i} + {i}?']" for i in n],
            "eval_name": "grade-school-math",
            "gpt-4": (n % 5 > 0).astype(float),
            "mixtral": np.where(n % 3 > 0, 0.75, 0.25),
            "gpt-4|model_response": "['...']",
            "mixtral|model_response": "['...']",
            "gpt-4|total_cost": 0.01 + n * 1e-5,
            "mixtral|total_cost": 0.001,
            "oracle_model_to_route_to": "mixtral",
        }
    )


@pytest.mark.parametrize("name", ["rb.csv", "rb.parquet"])
def test_a_wide_table_of_routerbench(tmp_path, name):
    table = read_own_table(write(tmp_path, wide(), name))
    o = table.outcomes
    assert (
        o.target_names == ["gpt-4", "mixtral"] and o.queries["query_id"][2] == "grade-school-math.2"
    )
    assert o.prompts[2] == "What is 2 + 2?" and o.queries["benchmark"][0] == "grade-school-math"
    np.testing.assert_array_equal(o.correct[:6, 1], [0, 1, 1, 0, 1, 1])
    assert o.cost[5, 0] == pytest.approx(0.01005)
    # no price, no tokens: what the answers did cost
    assert (
        o.realised_only().all()
        and np.isnan(o.output_tokens).all()
        and all(np.isnan([t.input_price, t.output_price]).all() for t in o.targets)
    )
    assert any("120 graded outcomes: right from 0.5 on" in note for note in table.notes)


def test_what_an_answer_is_expected_to_cost_depends_on_the_length_of_the_prompt(tmp_path):
    """gpt-4 costs $0.0035 on a benchmark of short prompts and $0.0094 on one of long ones; through
    the folder that the notebooks read.
    """
    from prefill_router.data.costs import expected_cost

    table = wide()
    long = np.arange(N) % 2 == 1
    table["prompt"] = [
        f"What is {i} + {i}?" + " Think of it for a while." * (20 * far)
        for i, far in enumerate(long)
    ]
    table["eval_name"] = np.where(long, "long", "short")
    table["gpt-4|total_cost"] = np.where(long, 0.0094, 0.0035)
    o = load_outcomes(own_outcomes_folder(write(tmp_path, table, "rb.csv"), None, tmp_path))
    assert o.realised_only().all() and o.cost_unit == "USD"
    cost = (
        pd.DataFrame(expected_cost(o, np.arange(N // 2)), columns=o.target_names)
        .groupby(o.queries["benchmark"].to_numpy())
        .mean()
    )
    assert cost["gpt-4"].round(4).to_dict() == {"long": 0.0094, "short": 0.0035}


def test_a_wide_table_without_costs(tmp_path):
    o = read_own_table(write(tmp_path, wide()[["prompt", "gpt-4", "mixtral"]])).outcomes
    assert o.target_names == ["gpt-4", "mixtral"] and np.isnan(o.cost).all()


def test_words_percentages_and_gaps(tmp_path):
    table = rows().astype({"isCorrect": object})
    table.loc[0:5, "isCorrect"] = ["true", "No", "85%", "", "NaN", "FAIL"]
    read = read_own_table(write(tmp_path, table))
    np.testing.assert_array_equal(read.outcomes.correct[:3].ravel(), [1, 0, 1, np.nan, np.nan, 0])
    assert "2 of 240 outcomes are missing: left out, never counted as wrong" in read.notes


def test_numbers_whose_column_shows_what_their_signs_mean(tmp_path):
    table = rows().astype({"output_tokens": object})
    table["output_tokens"] = [f"{253 + i}.000" for i in range(2 * N)]  # as %.3f writes counts
    table["cost_usd"] = ["0,0012", "1,000"] * N
    table["isCorrect"] = [f"{right},000" for right in table["isCorrect"]]
    read = read_own_table(write(tmp_path, table)).outcomes
    assert read.output_tokens[:2].tolist() == [[253, 254], [255, 256]]
    assert read.cost[5].tolist() == [0.0012, 1.0]
    np.testing.assert_array_equal(read.correct[:4], [[0, 0], [1, 1], [1, 1], [0, 1]])


def test_columns_of_a_wide_table_that_are_no_models(tmp_path):
    table = wide()[["prompt", "gpt-4", "mixtral"]].assign(
        category="sums", difficulty=np.arange(N) % 7
    )
    read = read_own_table(write(tmp_path, table))
    assert read.outcomes.target_names == ["gpt-4", "mixtral"]
    assert any("not taken for models" in note and "difficulty" in note for note in read.notes)
    assert set(read.outcomes.queries["benchmark"]) == {"sums"} and any(
        "benchmark = category" in note for note in read.notes
    )
    with pytest.raises(OutcomesError, match=r"may not be models: gpt-4_cost \(gpt-4\?\)"):
        read_own_table(write(tmp_path, table.assign(**{"gpt-4_cost": 0.01}), "u.csv"))
    costless = wide().assign(llama=(np.arange(N) % 4 > 0).astype(float))
    assert any(
        "no |total_cost: llama" in note
        for note in read_own_table(write(tmp_path, costless, "v.csv")).notes
    )


def test_a_number_per_question_says_nothing_of_a_model(tmp_path):
    """One cost for both would go before the price list, and make them equally dear."""
    table = wide().rename(columns={"gpt-4": "big", "mixtral": "small"})
    table = table[["prompt", "big", "small"]].assign(cost=0.005, output_tokens=300, prompt_tokens=9)
    (tmp_path / "p.yaml").write_text(PRICES)
    read = read_own_table(write(tmp_path, table), tmp_path / "p.yaml")
    o = read.outcomes
    assert o.target_names == ["big", "small"] and (o.input_tokens == 9).all()
    assert np.isnan(o.cost).all() and np.isnan(o.output_tokens).all()
    notes = "\n".join(read.notes)
    assert "one column for all models: cost, output_tokens; what a model costs is read from a" in (
        notes
    )
    assert "cost_usd = cost" not in notes and "columns not used" not in notes
    assert "prices not used, as there are no output_tokens: big, small." in notes
    assert "to a wide one add MODEL|total_cost for each" in notes
    with pytest.raises(OutcomesError, match="fewer than two models have one"):
        read_own_table(tmp_path / "t.csv", tmp_path / "p.yaml", routed=True)
    paid = table.assign(**{"big|total_cost": 0.01, "small|total_cost": 0.001})
    o = read_own_table(write(tmp_path, paid, "u.csv")).outcomes
    assert o.cost[7].tolist() == [0.01, 0.001] and np.isnan(o.output_tokens).all()


def test_currencies_are_not_mixed_and_unused_prices_are_told(tmp_path):
    (tmp_path / "p.yaml").write_text("currency: EUR\nprices:\n  small: {input: 1, output: 2}\n")
    with pytest.raises(OutcomesError, match="small have prices in EUR, big costs in USD"):
        read_own_table(
            write(tmp_path, rows().assign(cost_usd=[None, 0.5] * N)), tmp_path / "p.yaml"
        )
    read = read_own_table(
        write(tmp_path, rows().assign(cost_usd=0.5).drop(columns="output_tokens")),
        tmp_path / "p.yaml",
    )
    assert read.outcomes.cost_unit == "USD" and (read.outcomes.cost == 0.5).all()
    assert any(
        "prices not used, as cost_usd says what was paid: small" in note for note in read.notes
    )
    bare = read_own_table(
        write(tmp_path, rows().drop(columns="output_tokens"), "u.csv"), tmp_path / "p.yaml"
    )
    assert any(
        "prices not used, as there are no output_tokens: small" in note for note in bare.notes
    )


def test_gaps_in_input_tokens_are_counted_out(tmp_path, prices):
    read = read_own_table(write(tmp_path, change(4, "input_tokens", "")(rows())), prices)
    assert not np.isnan(read.outcomes.input_tokens).any() and any(
        "1 of 240 input_tokens are not given" in note for note in read.notes
    )


def test_line_separators_inside_json_texts_and_ids_that_are_numbers(tmp_path):
    table = rows()
    lines = [
        json.dumps(
            {
                **r,
                "query_id": float(i // 2) if i % 2 else i // 2,
                "question": r["question"] + " \u2028ok",
            },
            ensure_ascii=False,
        )
        for i, r in enumerate(table.to_dict("records"))
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    read = read_own_table(tmp_path / "t.jsonl").outcomes
    assert read.n == N and read.queries["query_id"][7] == "7" and "\u2028ok" in read.prompts[7]


def test_a_booleans_count_is_no_number_though_it_equals_one(tmp_path):
    table = [
        r | {"output_tokens": True if i == 5 else 1}
        for i, r in enumerate(rows().to_dict("records"))
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in table))
    with pytest.raises(OutcomesError, match="output_tokens: not a number: row 6 True"):
        read_own_table(tmp_path / "t.jsonl")


def test_a_price_list_that_is_not_there_is_an_error_also_the_second_time(tmp_path):
    path = write(tmp_path, rows())
    own_outcomes_folder(path, None, tmp_path / "build")
    with pytest.raises(OutcomesError, match="typo.yaml: no such file"):
        own_outcomes_folder(path, tmp_path / "typo.yaml", tmp_path / "build")


def test_the_threshold_of_graded_outcomes(tmp_path):
    table = rows().astype({"isCorrect": float})
    table.loc[0, "isCorrect"] = 0.6
    assert read_own_table(write(tmp_path, table)).outcomes.correct[0, 0] == 1
    assert (
        read_own_table(write(tmp_path, table), threshold=0.6).outcomes.correct[0, 0] == 1
    )  # from here on, not above
    assert read_own_table(write(tmp_path, table), threshold=0.7).outcomes.correct[0, 0] == 0


def test_the_threshold_of_a_profile_reaches_the_outcomes(tmp_path):
    table = rows().astype({"isCorrect": float})
    table.loc[0, "isCorrect"] = 0.6
    path, found = write(tmp_path, table), {}
    for right_from in (None, 0.7):
        profile = write_own_profile(path, None, tmp_path / "own", right_from)
        workspace = open_workspace(
            str(profile),
            build_dir=tmp_path / "b",
            results_dir=tmp_path / "r",
            figures_dir=tmp_path / "f",
        )
        found[right_from] = workspace.load_outcomes().correct[0, 0]
        folders = {f.name for f in workspace.build.glob("outcomes-*")}
    assert (
        found == {None: 1, 0.7: 0} and len(folders) == 2
    )  # outcomes of another threshold are others


def test_template_and_models_of_a_profile_reach_the_outcomes(tmp_path):
    path = write(tmp_path, wide()[["prompt", "gpt-4", "mixtral"]].assign(context="Add.", judge=0.5))
    profile = write_own_profile(
        path, None, tmp_path / "own", prompt=r"{context}\n{prompt}", models=["gpt-4", "mixtral"]
    )
    outcomes = open_workspace(
        str(profile),
        build_dir=tmp_path / "b",
        results_dir=tmp_path / "r",
        figures_dir=tmp_path / "f",
    ).load_outcomes()
    assert outcomes.prompts[2] == "Add.\nWhat is 2 + 2?" and outcomes.target_names == [
        "gpt-4",
        "mixtral",
    ]


def test_repeated_rows_are_dropped_and_counted(tmp_path):
    read = read_own_table(write(tmp_path, pd.concat([rows(), rows().head(4)])))
    assert read.outcomes.n == N and "4 rows repeat a question and model: dropped" in read.notes
    other = read_own_table(
        write(tmp_path, pd.concat([rows(), rows().head(4).assign(output_tokens=9999)]), "u.csv")
    )
    assert (
        any("4 times their tokens or costs differ" in note for note in other.notes)
        and other.outcomes.output_tokens.max() < 9999
    )


def test_tokens_and_costs_of_a_repeated_row_are_kept(tmp_path):
    """Of question 3 the first row of big knows nothing but the outcome, the second the tokens, the
    third other tokens and the cost; of question 4 a row without outcome comes first.
    """
    first = rows().astype({"isCorrect": object, "output_tokens": object}).assign(cost_usd=0.5)
    first.loc[7, ["output_tokens", "cost_usd"]] = None
    first.loc[9, "isCorrect"] = None
    again = first.loc[[7, 7, 9]].assign(output_tokens=[77, 78, 99], cost_usd=[None, 0.25, 0.75])
    again["isCorrect"] = [1, 1, 1]
    read = read_own_table(write(tmp_path, pd.concat([first, again])))
    assert read.outcomes.output_tokens[3:5, 1].tolist() == [77, 99]
    assert read.outcomes.cost[3:5, 1].tolist() == [0.25, 0.75]
    assert read.outcomes.correct[3:5, 1].tolist() == [1, 1]
    assert (
        "3 rows repeat a question and model: dropped; 2 times their tokens or costs differ, and the"
        " first were kept"
    ) in read.notes
    assert not any("of big is not given" in note for note in read.notes)


def test_prompts_that_differ_in_case_and_punctuation_share_a_group(tmp_path):
    table = rows()
    table.loc[table["question"] == "What is 1 + 1?", "question"] = "what is  0 + 0"
    groups = read_own_table(write(tmp_path, table)).outcomes.queries["group"]
    assert groups[0] == groups[1] != groups[2]


def test_chat_messages_of_one_turn_are_prompts(tmp_path):
    table = rows().astype({"question": object})
    table["question"] = [[{"role": "user", "content": q}] for q in table["question"]]
    assert read_own_table(write(tmp_path, table, "t.jsonl")).outcomes.prompts[3] == "What is 3 + 3?"


def test_a_list_in_a_prompt_that_is_meant_as_text_stays_text(tmp_path):
    table = rows()
    table.loc[table["question"] == "What is 1 + 1?", "question"] = (
        "[1, 2, 3] is a list. What is its sum?"
    )
    table.loc[table["question"] == "What is 2 + 2?", "question"] = "[1, 2, 3]"
    prompts = read_own_table(write(tmp_path, table)).outcomes.prompts
    assert prompts[1].startswith("[1, 2, 3] is") and prompts[2] == "[1, 2, 3]"


def bytes_file(data):
    return lambda path: path.with_suffix(".csv").write_bytes(data) and path.with_suffix(".csv")


FILES = {
    "missing": ("nothing.csv", None, "no such file"),
    "kind": ("t.xlsx", b"x", "unknown kind of file '.xlsx'.*use .csv"),
    "empty": ("t.csv", b"", "the file is empty"),
    "header only": ("t.csv", b"question,model,isCorrect\n", "no rows"),
    "latin-1": (
        "t.csv",
        b"question,model,isCorrect\nok,a,1\nf\xfcr,b,1\n",
        "line 3: byte 0xfc is not UTF-8.*save it as UTF-8",
    ),
    "utf-16 cut short": ("t.csv", "question".encode("utf-16")[:-1], "begins as UTF-16 and is not"),
    "pickle": ("t.pkl", b"x", "pickles are never read"),
    "zero byte": ("t.csv", b"question,model,isCorrect\na\x00,b,1\n", "line 2: a zero byte"),
    "open quote": ("t.csv", b'question,model,isCorrect\n"a,b,1\n', "quotation marks"),
    "long row": (
        "t.csv",
        b"question,model,isCorrect\na,b,1\na,b,1,7,8\n",
        (
            r"row 2 \(line 3\) has 5 fields, the header 3; every row needs as many fields as the"
            r" header"
        ),
    ),
    "short row": (
        "t.csv",
        b"question,model,isCorrect\na,b\n",
        r"row 1 \(line 2\) has 2 fields, the header 3",
    ),
    "commas in every prompt": (
        "t.csv",
        b"question,model,isCorrect\nHello, you,b,1\nHello, me,b,1\n",
        "row 1 .*has 4 fields, the header 3",
    ),
    "columns twice": (
        "t.csv",
        b"question,model,model,isCorrect\na,b,c,1\n",
        "columns model are there twice",
    ),
    "broken json": ("t.jsonl", b'{"question": 1}\n{"question"\n', "line 2 is not JSON"),
    "json list": ("t.jsonl", b"[1, 2]\n", "line 1 is a list, not an object"),
    "no parquet": ("t.parquet", b"question,model", "not readable as Parquet"),
    "no prompts": (
        "t.csv",
        b"questions,model,isCorrect\na,b,1\n",
        "no column with the prompts; is 'questions' it",
    ),
    "no model": ("t.csv", b"question,isCorrect\na,1\n", "no column model"),
    "no outcome": ("t.csv", b"question,model\na,b\n", "no column isCorrect"),
    "a grade": (
        "t.csv",
        b"question,model,Grade\na,b,4\n",
        "no column isCorrect.*; is it Grade\\? Call it isCorrect, from 0 to 1",
    ),
    "neither": ("t.csv", b"question\na\n", "neither a long nor a wide table"),
    "two of a kind": (
        "t.csv",
        b"question,prompt,model,isCorrect\na,a,b,1\n",
        "'question' and 'prompt' both say question",
    ),
    "cost without model": (
        "t.csv",
        b"prompt,a,b,c|total_cost\nx,1,0,2\n",
        "columns c|total_cost have no column of the model itself".replace("|", r"\|"),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_cannot_be_read_are_refused(tmp_path, kind):
    name, data, message = FILES[kind]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(OutcomesError, match=message) as caught:
        read_own_table(tmp_path / name)
    assert name in str(caught.value)


def change(row, column, value):
    def apply(table):
        table = (
            table.astype({column: object}) if column in table else table.assign(**{column: None})
        )
        table.loc[row, column] = value
        return table

    return apply


VALUES = {
    "word": (
        change(4, "isCorrect", "maybe"),
        "column isCorrect: not a number: row 5 'maybe'; write 0 or 1",
    ),
    "percent": (
        change(4, "isCorrect", "85"),
        "column isCorrect: above 1: row 5 '85'; .*divide percentages by 100",
    ),
    "grades": (
        lambda table: table.assign(isCorrect=[1 + i % 5 for i in range(len(table))]),
        "column isCorrect: above 1: .*bring grades such as 1 to 5 to 0 to 1(?!.*always right)",
    ),
    "below": (change(4, "isCorrect", "-1"), "column isCorrect: below 0: row 5"),
    "empty prompt": (
        change([2, 3], "question", "  "),
        "column question: empty: row 3, row 4; give the prompt",
    ),
    "empty model": (change(4, "model", ""), "column model: empty: row 5"),
    "negative tokens": (
        change(4, "output_tokens", "-5"),
        "column output_tokens: below 0: row 5 '-5'",
    ),
    "half a token": (
        change(4, "output_tokens", "5.5"),
        "column output_tokens: not a whole number: row 5",
    ),
    "infinite tokens": (change(4, "input_tokens", "inf"), "column input_tokens: infinite: row 5"),
    "tokens with a unit": (
        change(4, "output_tokens", "1,200 tokens"),
        "column output_tokens: not a number: row 5 '1,200 tokens'; write a plain number",
    ),
    "tokens in thousands": (
        change([4, 7], "output_tokens", "1,000"),
        r"column output_tokens: thousands or decimals, which cannot be told apart: row 5 '1,000',"
        " row 8 '1,000'; write whole numbers without any separator, such as 1000$",
    ),
    "tokens in thousands, with points": (
        change(4, "input_tokens", "1.000"),
        "column input_tokens: thousands or decimals, which cannot be told apart: row 5 '1.000'",
    ),
    "tokens in millions": (
        change(4, "output_tokens", "1.234.000"),
        "column output_tokens: thousands or decimals.*row 5 '1.234.000'",
    ),
    "a cost in thousands": (
        change(4, "cost_usd", "1,000"),
        "column cost_usd: thousands or decimals.*row 5 '1,000'; write a point before decimals",
    ),
    "tokens as a share": (
        change(4, "output_tokens", "5%"),
        "column output_tokens: not a number: row 5",
    ),
    "always above the threshold": (
        lambda t: t.assign(
            isCorrect=np.where(t["model"] == "big", 0.6 + 0.001 * np.arange(len(t)), t["isCorrect"])
        ),
        "model big is always right",
    ),
    "always at the threshold": (
        lambda t: t.assign(isCorrect=np.where(t["model"] == "big", 0.5, t["isCorrect"])),
        "model big is always right",
    ),
    "no common questions": (
        lambda t: t.iloc[[i for i in range(len(t)) if (i // 2) % 2 == i % 2]],
        "only 0 of 120 questions were answered by every model.*the fewest outcomes",
    ),
    "tokens as booleans": (
        change(4, "output_tokens", "true"),
        "column output_tokens: not a number: row 5",
    ),
    "negative cost": (change(4, "cost_usd", "-0.1"), "column cost_usd: below 0: row 5"),
    "conflict": (
        lambda t: pd.concat([t, t.head(1).assign(isCorrect=1)], ignore_index=True),
        "different outcomes for the same question and model: row 1 .*row 241",
    ),
    "one model": (lambda t: t[t["model"] == "big"], r"only one model \(big\); routing needs two"),
    "constant": (
        lambda t: t.assign(isCorrect=np.where(t["model"] == "big", 1, t["isCorrect"])),
        r"model big is always right \(120 questions\).*drop it",
    ),
    "silent": (
        lambda t: t.astype({"isCorrect": object}).assign(
            isCorrect=np.where(t["model"] == "big", "", t["isCorrect"].astype(str))
        ),
        "model big has no outcome at all",
    ),
    "ten rows": (lambda t: t.head(20), "10 questions are too few: 100 are needed"),
    "id of two prompts": (
        lambda t: t.assign(query_id="same"),
        "column query_id: one id for different prompts: row 1 'same'",
    ),
    "empty id": (
        lambda t: t.assign(query_id=["", *list(t["question"])[1:]]),
        "column query_id: empty: row 1",
    ),
    "groups": (
        lambda t: t.assign(group=np.arange(len(t)).astype(str)),
        "column group: several groups for one question",
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_cannot_be_used_are_named_with_row_and_fix(tmp_path, kind):
    apply, message = VALUES[kind]
    with pytest.raises(OutcomesError, match=message):
        read_own_table(write(tmp_path, apply(rows())))


def test_conversations_are_refused(tmp_path):
    table = rows().astype({"question": object})
    talk = [{"role": role, "content": "What is 0 + 0?"} for role in ("user", "assistant", "user")]
    table["question"] = [talk if i < 2 else q for i, q in enumerate(table["question"])]
    with pytest.raises(
        OutcomesError, match="column question: not a single prompt: row 1 .*join the turns"
    ):
        read_own_table(write(tmp_path, table, "t.jsonl"))


LISTS = {
    "missing": (None, "cannot be read as a price list"),
    "yaml": ("a: [", "cannot be read as a price list"),
    "shape": (
        "small: 1",
        "expected `prices:` with an entry for every target; write .currency: USD",
    ),
    "currency": (
        PRICES.replace("EUR", "doubloons"),
        "unknown currency 'doubloons'; use one of USD",
    ),
    "negative": (
        PRICES.replace("input: 10", "input: -10"),
        "big: input is -10, expected a number that is not negative, per million tokens",
    ),
    "text": (
        PRICES.replace("input: 10", "input: ten"),
        "big: input is 'ten', expected a number that is not negative, per million tokens",
    ),
    "stranger": (PRICES.replace("small", "smal"), "smal is no model of the table; is it small"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_price_lists_that_cannot_be_used_are_refused(tmp_path, kind):
    content, message = LISTS[kind]
    if content is not None:
        (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(OutcomesError, match=message):
        read_own_table(write(tmp_path, rows()), tmp_path / "p.yaml")


def test_all_problems_come_at_once(tmp_path):
    table = change(7, "output_tokens", "-5")(change(4, "isCorrect", "maybe")(rows()))
    (tmp_path / "p.yaml").write_text(PRICES.replace("EUR", "X"))
    with pytest.raises(OutcomesError, match="3 problems; nothing was read") as caught:
        read_own_table(write(tmp_path, table), tmp_path / "p.yaml")
    assert all(
        part in str(caught.value) for part in ("row 5 'maybe'", "row 8 '-5'", "unknown currency")
    )


def test_what_lacks_a_price_or_is_small_is_told(tmp_path):
    (tmp_path / "p.yaml").write_text("prices:\n  small: {input: 1, output: 2}\n")
    notes = read_own_table(write(tmp_path, rows()), tmp_path / "p.yaml").notes
    assert any("no cost is known" in note and "big" in note for note in notes) and any(
        "120 questions are few" in note for note in notes
    )


def test_the_folder_is_that_of_the_outcomes_and_made_once(tmp_path, prices, capsys):
    path = write(tmp_path, rows())
    folder = own_outcomes_folder(path, prices, tmp_path / "build")
    direct, loaded = read_own_table(path, prices).outcomes, load_outcomes(folder)
    assert (
        loaded.content_hash() == direct.content_hash()
        if callable(direct.content_hash)
        else loaded.content_hash == direct.content_hash
    )
    assert "120 questions, 2 models" in capsys.readouterr().err
    stamp = (folder / "targets.json").stat().st_mtime_ns
    assert (
        own_outcomes_folder(path, prices, tmp_path / "build") == folder
        and (folder / "targets.json").stat().st_mtime_ns == stamp
    )
    prices.write_text(PRICES.replace("30", "40"))
    assert own_outcomes_folder(path, prices, tmp_path / "build") != folder
    assert json.loads((folder / "notes.json").read_text())


@pytest.mark.slow
def test_a_million_rows(tmp_path):
    n = 250_000
    questions = np.repeat([f"Question number {i}?" for i in range(n)], 4)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "question": questions,
            "model": np.tile(["a", "b", "c", "d"], n),
            "isCorrect": rng.integers(0, 2, 4 * n),
            "output_tokens": 7,
            "input_tokens": 5,
        }
    )
    assert read_own_table(write(tmp_path, table, "t.parquet")).outcomes.correct.shape == (n, 4)
