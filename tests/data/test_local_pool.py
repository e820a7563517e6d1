"""How the embedded pool is made: questions, answer extraction, decoding, judging."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from prefill_router.data.local_pool import answers, facts, programs
from prefill_router.data.local_pool.decoding import common_prefix, greedy
from prefill_router.data.local_pool.questions import FAMILIES, build_questions, normalise
from prefill_router.run import collect, collect_targets

OPTIONS = ("Rome", "Paris", "Madrid", "Berlin")


@pytest.fixture(scope="module")
def questions():
    return build_questions(6, seed=5)


@pytest.mark.parametrize(
    ("kind", "response", "steps", "expected"),
    [
        ("number", "17", False, "17"),
        ("number", "12 + 5 = 17", False, "17"),
        ("number", "David will be 17 years old in 4 years.", False, "17"),
        ("number", "19.1 is larger than 18.4.", False, "19.1"),
        ("number", "The LCM of 6 and 3 is 18.", False, "18"),
        ("number", "7 hours is equal to 25,200 seconds.", False, "25200"),
        ("number", "The probability is \\(\\frac{1}{4}\\).", False, "1/4"),
        ("number", "-19", False, "-19"),
        ("number", "8.83e+03", False, "8.83e+03"),
        ("number", "no idea", False, ""),
        ("number", "3 boxes hold 36 eggs. 36 - 5 = 31.\nAnswer: 31", True, "31"),
        ("number", "Answer: 5\nWait, I forgot one.\n**Answer:** 6", True, "6"),
        ("number", "So it is\n\\boxed{42}", True, "42"),
        ("number", "The answer is 12 dollars.", False, "12"),
        ("choice", "B", False, "B"),
        ("choice", "(C) Madrid", False, "C"),
        ("choice", "B) Paris", False, "B"),
        ("choice", "The capital of France is Paris.", False, "B"),
        ("choice", "The capital is Paris, so it is option B.\nAnswer: B", True, "B"),
        ("choice", "Paris or Rome", False, ""),
        ("yesno", "Yes, it is.", False, "yes"),
        ("yesno", "Answer: False", True, "no"),
        ("yesno", "Perhaps", False, ""),
        ("text", '"Jakarta".', False, "Jakarta"),
        ("text", "The capital of Italy is Rome.", False, "Rome"),
        ("text", "Rome is the capital of Italy, of course.", False, "Rome"),
        ("text", "Fluorine is represented by the symbol F.", False, "F"),
        ("text", "him -> mih", True, "mih"),
        ("raw", "```python\n[1, 2]\n```", False, "[1, 2]"),
        ("raw", "2/10 = 1/5", False, "1/5"),
        ("raw", "", False, ""),
    ],
)
def test_extract(kind, response, steps, expected):
    assert answers.extract(response, kind, OPTIONS, steps) == expected


def test_extract_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="unknown answer kind 'essay'"):
        answers.extract("x", "essay")


@settings(max_examples=50, deadline=None)
@given(
    st.text(max_size=80),
    st.sampled_from(["number", "choice", "yesno", "text", "raw"]),
    st.booleans(),
)
def test_extract_never_raises_on_any_response(response, kind, steps):
    assert isinstance(answers.extract(response, kind, OPTIONS, steps), str)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**6), 10**6))
def test_a_stated_integer_is_read_back(n):
    for response in (f"{n}", f"The result is {n}.", f"{n:,}", f"Answer: {n}"):
        assert int(answers.extract(response, "number")) == n


@pytest.mark.parametrize(
    ("answer", "accept", "kind", "score"),
    [
        ("2.50", ["2.5"], "number", 1.0),
        ("2.51", ["2.5"], "number", 0.0),
        ("1/2", ["0.5"], "number", 0.0),
        ("the Gambia", ["Gambia"], "text", 1.0),
        ("Bogota", ["Bogotá"], "text", 1.0),
        ("Bogota city", ["Bogotá"], "text", 0.0),
        ("[1,2]", ["[1, 2]"], "raw", 1.0),
        ("", [""], "text", 0.0),
    ],
)
def test_score_own(answer, accept, kind, score):
    assert answers.score_own(answer, accept, kind) == score


def test_question_set_has_the_breadth_it_claims(questions):
    assert questions["category"].nunique() >= 30
    assert set(questions["difficulty"]) == {1, 2, 3}
    assert questions["query_id"].is_unique
    assert questions["prompt"].map(normalise).is_unique
    assert (questions["prompt"].str.strip() != "").all()


def test_questions_do_not_depend_on_which_families_are_drawn(questions):
    alone = build_questions(6, seed=5, only=["ages"])
    together = questions[questions["category"] == "ages"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together)


def test_open_and_choice_form_of_one_fact_share_a_group():
    both = build_questions(60, seed=1, only=["capital_open", "capital_choice"])
    shared = both.groupby("group")["category"].nunique()
    assert (shared == 2).sum() > 10


def test_the_right_answer_scores_in_every_family(questions):
    """Extraction and scorer together: the canonical answer, written the way a good target writes
    it, is correct.
    """
    wrong = []
    for row in questions.to_dict("records"):
        for response, steps in (
            (row["answer"], False),
            (f"Let me think.\nAnswer: {row['answer']}", True),
        ):
            answer = answers.extract(response, row["kind"], json.loads(row["options"]), steps)
            if answers.score(row, answer) < collect.CORRECT_FROM:
                wrong.append((row["query_id"], response, answer))
    assert not wrong


def test_a_wrong_answer_does_not_score(questions):
    for row in questions.to_dict("records"):
        try:
            assert answers.score(row, "zzz") < collect.CORRECT_FROM, row["query_id"]
        except (ValueError, AttributeError, IndexError, KeyError, TypeError, ArithmeticError):
            pass  # a scorer of reasoning-gym that cannot parse: `judge` counts it as wrong


def test_roman_numerals():
    assert [facts.roman(n) for n in (1, 4, 9, 14, 40, 90, 400, 1994, 3999)] == [
        "I",
        "IV",
        "IX",
        "XIV",
        "XL",
        "XC",
        "CD",
        "MCMXCIV",
        "MMMCMXCIX",
    ]


def test_program_answers_are_what_python_prints(capsys):
    """The answers are computed beside the code text; running the code (our own) must print them."""
    rng = np.random.default_rng(0)
    for name in ("code_expression", "code_string", "code_list", "code_loop"):
        for level in (1, 2, 3):
            for _ in range(15):
                draft = FAMILIES[name].generator(rng, level)
                exec(draft.prompt.split("\n", 1)[1], {})
                assert capsys.readouterr().out.strip() == draft.accept[0]
    assert sorted(set(programs.WORDS), key=programs.WORDS.index) == programs.WORDS


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    return LlamaForCausalLM(config).eval()


def naive(network, ids, max_new, stops):
    out = []
    with torch.no_grad():
        while len(out) < max_new:
            out.append(int(network(torch.tensor([ids + out])).logits[0, -1].argmax()))
            if out[-1] in stops:
                break
    return out


@pytest.mark.parametrize("compact_below", [0.0, 0.85, 1.01])
def test_greedy_equals_one_prompt_at_a_time(tiny, compact_below):
    rng = np.random.default_rng(1)
    prefix = [3, 5, 7]
    ids = [prefix + rng.integers(1, 40, n).tolist() for n in (1, 2, 6, 9, 4)]
    stops = set(range(0, 40, 5))
    expected = [naive(tiny, row, 20, stops) for row in ids]
    assert greedy(tiny, ids, 20, stops, compact_below) == expected
    assert len({len(row) for row in expected}) > 1, (
        "the rows should end at different steps for this to test anything"
    )


def test_greedy_without_a_common_prefix_and_with_a_budget(tiny):
    ids = [[1, 2, 3], [4, 5]]
    assert greedy(tiny, ids, 3, set()) == [naive(tiny, row, 3, set()) for row in ids]
    with pytest.raises(ValueError, match="at least one token"):
        greedy(tiny, [[1], []], 3, set())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_common_prefix(ids):
    n = common_prefix(ids)
    assert all(row[:n] == ids[0][:n] for row in ids) and all(len(row) > n for row in ids)


def test_judge_counts_a_scorer_that_raises(monkeypatch):
    questions = build_questions(2, seed=5, only=["ages"])
    run = pd.DataFrame({"query_id": questions["query_id"], "response": questions["answer"]})
    judged, raised = collect.judge(questions, run, False)
    assert judged["correct"].tolist() == [1, 1] and raised == 0

    def broken(question, answer):
        raise ArithmeticError("no")

    monkeypatch.setattr(answers, "score", broken)
    judged, raised = collect.judge(questions, run, False)
    assert judged["correct"].tolist() == [0, 0] and raised == 2


def test_cost_in_tflop():
    recipe = collect.TargetRecipe("t", "e", "direct", 1e9, 1)
    assert collect.cost_tflop(recipe, 50, 10) == pytest.approx(2 * 1e9 * 60 * 1e-12)  # 0.12 TFLOP


def test_a_killed_collection_goes_on_where_it_stopped(tmp_path, monkeypatch):
    questions = build_questions(4, seed=5, only=["ages", "plural"])
    recipe = collect.TargetRecipe("t", "e", "direct", 1e9, 3)
    calls = []

    def fake(encoder, recipe, batch):
        if len(calls) == 1:
            calls.append("killed")
            raise KeyboardInterrupt
        calls.append(len(batch))
        return pd.DataFrame(
            {
                "query_id": batch["query_id"].to_numpy(),
                "input_tokens": 1,
                "output_tokens": 1,
                "response": batch["answer"].to_numpy(),
            }
        )

    monkeypatch.setattr(collect_targets, "load_encoder", lambda *a, **k: None)
    monkeypatch.setattr(collect_targets, "run_batch", fake)
    with pytest.raises(KeyboardInterrupt):
        collect_targets.run_target(recipe, questions, tmp_path)
    out = collect_targets.run_target(recipe, questions, tmp_path)
    assert calls == [3, "killed", 3, 2]
    assert sorted(out["query_id"]) == sorted(questions["query_id"])
    collect_targets.run_target(recipe, questions, tmp_path)
    assert calls == [3, "killed", 3, 2]
