"""Which column of a table is which: what is silently wrong if it is guessed, and what must be said
aloud.
"""

import json

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.own import read_own_table

N = 120
SMALL, LARGE = (np.arange(N) % 3 > 0).astype(int), (np.arange(N) % 5 > 0).astype(int)
RNG = np.random.default_rng(0)


def long(**more):
    table = pd.DataFrame(
        {
            "question": np.repeat([f"What is {i} + {i}?" for i in range(N)], 2),
            "model": ["small", "large"] * N,
            "isCorrect": np.stack([SMALL, LARGE], 1).ravel(),
        }
    )
    return table.assign(**more)


def wide(**more):
    return pd.DataFrame(
        {"prompt": [f"What is {i} + {i}?" for i in range(N)], "small": SMALL, "large": LARGE}
    ).assign(**more)


def read(tmp_path, table, name="t.csv", prices=None, **options):
    path = tmp_path / name
    if name.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")))
    else:
        table.to_csv(path, index=False)
    if prices is not None:
        (tmp_path / "p.yaml").write_text(prices)
        options["prices"] = tmp_path / "p.yaml"
    return read_own_table(path, **options)


def noted(table, *parts):
    return any(all(part in note for part in parts) for note in table.notes)


METADATA = {
    "difficulty": RNG.random(N).round(2),  # told by its name
    "is_code": RNG.random(N) < 0.3,
    "judge_confidence": RNG.random(N).round(2),
    "novelty": RNG.random(N).round(2),  # told by its kind alone: shares beside 0 and 1
    "code": RNG.random(N) < 0.3,  # words beside 0 and 1
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_beside_the_models_of_a_wide_table_is_asked_about(tmp_path, name):
    table = wide(**{name: METADATA[name]})
    with pytest.raises(OutcomesError, match=rf'may not be models: {name} \(.*MODELS="small,large"'):
        read(tmp_path, table)
    confirmed = read(tmp_path, table, models=["small", "large"])
    assert confirmed.outcomes.target_names == ["small", "large"]
    np.testing.assert_allclose(confirmed.outcomes.correct.mean(0), [SMALL.mean(), LARGE.mean()])
    assert noted(confirmed, "columns not taken for models, as they were not asked for", name)


def test_a_price_list_says_which_columns_are_models(tmp_path):
    priced = read(
        tmp_path,
        wide(**METADATA),
        prices="prices: {small: {input: 1, output: 2}, large: {input: 3, output: 4}}",
    )
    assert priced.outcomes.target_names == ["small", "large"]
    assert noted(
        priced,
        "not taken for models, as they have no price: difficulty, is_code, judge_confidence,"
        " novelty, code",
    )


def test_models_that_were_asked_for_may_bear_any_name(tmp_path):
    asked = read(
        tmp_path, wide(judge_confidence=METADATA["is_code"]), models=["small", "judge_confidence"]
    )
    assert asked.outcomes.target_names == ["small", "judge_confidence"]
    with pytest.raises(OutcomesError, match="no model smal in the table; is it small"):
        read(tmp_path, wide(), models=["smal", "large"])
    with pytest.raises(OutcomesError, match="no model tiny in the table; there are small, large"):
        read(tmp_path, long(), models=["small", "tiny"])


def test_models_of_a_long_table_are_chosen(tmp_path):
    table = pd.concat(
        [long(), long().query("model == 'small'").assign(model="third", isCorrect=1 - SMALL)]
    )
    chosen = read(tmp_path, table, models=["small", "third"])
    assert chosen.outcomes.target_names == ["small", "third"] and noted(
        chosen, "120 rows of models that were not asked for", "large"
    )


@pytest.mark.parametrize("name", ["small-realtime-preview", "small_lifetime", "timellm"])
def test_a_word_inside_a_models_name_does_not_make_it_a_measurement(tmp_path, name):
    assert read(tmp_path, wide(**{name: 1 - SMALL})).outcomes.target_names == [
        "small",
        "large",
        name,
    ]


@pytest.mark.parametrize("name", ["small_cost", "small time", "small|latency_ms"])
def test_a_measurement_of_a_model_is_no_model(tmp_path, name):
    with pytest.raises(OutcomesError, match=r"may not be models: .*\(small\?\)"):
        read(tmp_path, wide(**{name: 0.01}))


def test_a_gold_label_is_not_correctness(tmp_path):
    gold = np.repeat(RNG.integers(0, 2, N), 2)
    table = long().rename(columns={"isCorrect": "acc"}).assign(label=gold, prediction=1 - gold)
    found = read(tmp_path, table)
    np.testing.assert_allclose(found.outcomes.correct.mean(0), [SMALL.mean(), LARGE.mean()])
    assert noted(found, "read under another name", "isCorrect = acc") and noted(
        found, "columns not used: label, prediction"
    )


@pytest.mark.parametrize("name", ["label", "gold_label", "Answer"])
def test_a_label_alone_is_asked_about_whatever_it_holds(tmp_path, name):
    gold = np.repeat(RNG.integers(0, 2, N), 2)
    for values in (gold, long()["isCorrect"]):
        table = long().drop(columns="isCorrect").assign(**{name: values})
        with pytest.raises(
            OutcomesError, match=f"no column isCorrect.*column {name} may be the right answer.*call"
        ):
            read(tmp_path, table)
    # renamed as the message says, it is read
    assert read(tmp_path, long()).outcomes.target_names == ["small", "large"]


def test_an_outcome_that_is_the_same_for_every_model_is_a_right_answer(tmp_path):
    gold = np.repeat(RNG.integers(0, 2, N), 2)
    with pytest.raises(
        OutcomesError,
        match="column score: it is the same for every model of a question.*call the column with the"
        " outcomes isCorrect",
    ):
        read(tmp_path, long().drop(columns="isCorrect").assign(score=gold))


def test_two_columns_of_outcomes_are_not_chosen_between(tmp_path):
    with pytest.raises(OutcomesError, match="'acc' and 'score' both say isCorrect"):
        read(tmp_path, long().rename(columns={"isCorrect": "acc"}).assign(score=0.5))
    assert noted(read(tmp_path, long(score=0.5)), "columns not used: score")


@pytest.mark.parametrize("name", ["task_name", "subject", "domain", "category", "Dataset"])
def test_names_of_benchmarks(tmp_path, name):
    found = read(tmp_path, long(**{name: ["sums", "sums", "words", "words"] * (N // 2)}))
    assert found.outcomes.queries["benchmark"][:3].tolist() == ["sums", "words", "sums"] and noted(
        found, f"benchmark = {name}"
    )


def test_of_several_benchmarks_the_next_is_the_category_and_the_third_is_told(tmp_path):
    found = read(tmp_path, long(subject="b", benchmark="a", domain="c"))
    assert set(found.outcomes.queries["benchmark"]) == {"a"} and set(
        found.outcomes.queries["category"]
    ) == {"b"}
    assert noted(found, "category = subject") and noted(found, "columns not used: domain")


def test_a_column_with_a_value_for_every_question_is_no_benchmark(tmp_path):
    found = read(
        tmp_path, long(source=np.repeat([f"https://example.org/{i}" for i in range(N)], 2))
    )
    assert set(found.outcomes.queries["benchmark"]) == {"all"} and noted(
        found, "source has 120 values for 120 questions"
    )


def test_an_id_of_the_row_is_not_that_of_the_question(tmp_path):
    found = read(tmp_path, long(id=np.arange(2 * N)))
    assert found.outcomes.n == N and noted(found, "id numbers the rows")
    assert (
        read(tmp_path, long(id=np.repeat(np.arange(N), 2))).outcomes.queries["query_id"][7] == "7"
    )


def test_what_belongs_to_the_prompt_is_told_and_joined_when_asked(tmp_path):
    table = long(
        context=np.repeat([f"Text {i}." for i in range(N)], 2), choices="['yes', 'no']", system=""
    )
    left = read(tmp_path, table)
    assert left.outcomes.prompts[3] == "What is 3 + 3?"
    assert noted(
        left,
        "context, choices, system are NOT part of the prompt",
        r'PROMPT="{system}\n\n{context}\n\n{question}\n{choices}"',
    )
    for template in (r"{context}\n\n{question}\n{choices}", "{Context}\n\n{question}\n{choices}"):
        joined = read(tmp_path, table, prompt=template)
        assert joined.outcomes.prompts[3] == "Text 3.\n\nWhat is 3 + 3?\nyes\nno"
    assert noted(joined, "joined by the template") and not noted(joined, "context", "NOT part")
    assert noted(
        read(tmp_path, table, prompt="{system}{question}"),
        "{system} of the template is empty in 240 of 240 rows",
    )


def test_a_template_may_join_two_columns_that_both_say_question(tmp_path):
    table = long().rename(columns={"question": "instruction"}).assign(input="now")
    with pytest.raises(OutcomesError, match=r"both say question; .*PROMPT="):
        read(tmp_path, table)
    assert (
        read(tmp_path, table, prompt="{instruction} ({input})").outcomes.prompts[0]
        == "What is 0 + 0? (now)"
    )
    assert (
        read(tmp_path, wide(context="Add."), prompt="{context} {question}").outcomes.prompts[0]
        == "Add. What is 0 + 0?"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{contex} {question}", "names {contex}, which is no column; is it context"),
        ("no braces", "names no column"),
        ("{question", "cannot be read"),
    ],
)
def test_templates_that_cannot_be_used(tmp_path, template, message):
    with pytest.raises(OutcomesError, match=message):
        read(tmp_path, long(context="c"), prompt=template)


def test_rows_without_any_part_of_the_prompt_are_empty_prompts(tmp_path):
    table = long(context="")
    table.loc[0, "question"] = ""
    with pytest.raises(OutcomesError, match="empty: row 1;"):
        read(tmp_path, table, prompt="Q: {context}{question}")


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([SYSTEM, {"role": "user", "content": "Q{}"}], "Be brief.\n\nQ{}"),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Q{}"},
                        {"type": "input_text", "text": "now"},
                    ],
                }
            ],
            "Q{}\nnow",
        ),
        (["Q{}", "Q{}"], "Q{}"),  # RouterBench's copies
        (["Q{}"], "Q{}"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_prompts_that_are_lists(tmp_path, messages, text, as_text):
    cells = [json.loads(json.dumps(messages).replace("{}", str(i))) for i in range(N)]
    table = long().astype({"question": object})
    table["question"] = [str(cells[i // 2]) if as_text else cells[i // 2] for i in range(2 * N)]
    found = read(tmp_path, table, "t.jsonl")
    assert found.outcomes.prompts[3] == text.replace("{}", "3")
    assert noted(found, "240 prompts are chat messages") == (SYSTEM in messages)


@pytest.mark.parametrize(
    "cell",
    [
        ["one", "another"],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [SYSTEM],
    ],
)
def test_lists_that_are_no_single_prompt(tmp_path, cell):
    table = long().astype({"question": object})
    table["question"] = [cell if i < 2 else q for i, q in enumerate(table["question"])]
    with pytest.raises(OutcomesError, match="not a single prompt: row 1 .*join the turns"):
        read(tmp_path, table, "t.jsonl")


def test_what_was_paid_goes_before_the_price_list(tmp_path):
    table = long(output_tokens=[40, 100] * N, input_tokens=25, cost_usd=[0.02, 0.001] * N)
    prices = "prices: {small: {input: 0.15, output: 0.6}, large: {input: 2.5, output: 10}}"
    found = read(tmp_path, table, prices=prices)
    np.testing.assert_allclose(
        found.outcomes.cost.mean(0), [0.02, 0.001]
    )  # by the list large would be the dear one
    assert noted(
        found,
        "small: cost_usd is $0.02 an answer, its price and tokens make $2.78e-05 (120 answers)",
    )
    assert not noted(found, "large: cost_usd")  # 0.00106 against 0.001
    gaps = read(
        tmp_path, table.assign(output_tokens=[40, 100] + [None] * (2 * N - 2)), prices=prices
    )
    np.testing.assert_allclose(gaps.outcomes.cost.mean(0), [0.02, 0.001])


def test_costs_of_some_answers_only_are_counted(tmp_path):
    assert noted(
        read(tmp_path, long(cost_usd=[0.02, 0.001] + [None, 0.001] * (N - 1))),
        "cost_usd of small is not given for 119 of 120 answers",
    )


def test_too_few_groups_are_told_by_their_column(tmp_path):
    with pytest.raises(OutcomesError, match="column Group: 3 different groups are too few"):
        read(tmp_path, long(Group=np.repeat(np.arange(N) % 3, 2)))
    with pytest.raises(
        OutcomesError, match=r"column group: one group \(0\) holds 100 of 120 questions"
    ):
        read(tmp_path, long(group=np.repeat(np.maximum(np.arange(N) - 99, 0), 2)))
    assert (
        read(tmp_path, long(group=np.repeat(np.arange(N) % 12, 2)))
        .outcomes.queries["group"]
        .nunique()
        == 12
    )
