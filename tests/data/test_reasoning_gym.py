"""The embedded frontier pools: published answers to facts, facts to questions and outcomes."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefill_router.data.outcome_files import load_outcomes
from prefill_router.data.outcomes import QUERY_COLUMNS, Outcomes, OutcomesError, Target
from prefill_router.data.price_entries import Price
from prefill_router.data.reasoning_gym import facts as facts_of
from prefill_router.data.reasoning_gym import folder
from prefill_router.data.reasoning_gym.generate import check_same, generate, generate_family
from prefill_router.data.reasoning_gym.published import (
    read_published,
    same_answers,
    sha256,
    target_name,
)
from prefill_router.data.samples import load_answers
from prefill_router.data.source_folder import write_source
from prefill_router.data.splits import family_folds, grouped_by_family
from prefill_router.files import project_root
from prefill_router.run.profile_files import load_profile

CONFIG = {"seed": 45, "size": 5}


def words(texts):
    return [len(text.split()) for text in texts]


def published_file(root, level, model, family, questions, completions, config=CONFIG):
    """A file in the published shape: ``completions`` has the (text, score) pairs of a question."""
    path = root / level / model / "arithmetic" / f"{family}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    results = [
        {
            "question": question,
            "expected_answer": "1",
            "completions": [
                {"model_answer": text, "full_model_response": text, "score": score}
                for text, score in of
            ],
        }
        for question, of in zip(questions, completions, strict=True)
    ]
    content = {"name": family, "category": "arithmetic", "config": config, "system_prompt": ""}
    path.write_text(json.dumps(content | {"completions_per_prompt": 1, "results": results}))
    return path


@pytest.fixture(scope="module")
def asked():
    return generate_family("chain_sum", CONFIG)


@pytest.fixture
def tree(tmp_path, asked):
    """Two models, two families: of the second, a question is not what reasoning-gym makes."""
    for model, scores in (("a_one_20250101_000000", (1, 0)), ("b_two_20250102_000000", (0.5, 1))):
        of = [[("so 3", scores[0])]] * 4 + [[("", None)]]
        published_file(tmp_path, "hard", model, "chain_sum", asked, of)
        of = [[("five words are said here", scores[1])]] * 5
        other = [*generate_family("gcd", CONFIG)[:4], "not this one"]
        published_file(tmp_path, "hard", model, "gcd", other, of)
        never = [[("no", 0.2)]] * 5
        published_file(tmp_path, "hard", model, "lcm", generate_family("lcm", CONFIG), never)
    (tmp_path / "hard" / "a_one_20250101_000000" / "summary.json").write_text("{}")
    return tmp_path


def test_reading_the_published_shape(tree, asked):
    found = read_published(tree, words)
    assert found.families["family"].tolist() == ["chain_sum", "gcd", "lcm"]
    assert json.loads(found.families["config"][0]) == CONFIG
    assert found.questions["sha256"][:5].tolist() == [sha256(text) for text in asked]
    assert found.questions["input_tokens"][0] == len(asked[0].split())
    one = found.answers[(found.answers["target"] == "one") & (found.answers["family"] == "gcd")]
    assert one["score"].tolist() == [0] * 5 and one["output_tokens"].tolist() == [5] * 5
    empty = found.answers[found.answers["index"].eq(4) & found.answers["family"].eq("chain_sum")]
    assert empty["score"].tolist() == [0, 0] and not empty["answered"].any()
    assert (len(found.answers), found.changed) == (30, 0)


def test_a_question_that_was_changed_for_a_model_is_left_out_and_counted(tree):
    path = published_file(
        tree, "hard", "c_three_20250103_000000", "gcd", ["another text"], [[("x", 1), ("y", 0)]]
    )
    found = read_published(tree, words)
    assert found.changed == 2 and "three" not in set(found.answers["target"])
    path.write_text("{}")
    with pytest.raises(OutcomesError, match=r"gcd\.json: lacks name, category, config, results"):
        read_published(tree, words)
    path.write_text("{")
    with pytest.raises(OutcomesError, match=r"gcd\.json: not the JSON of a family"):
        read_published(tree, words)


def test_one_configuration_for_a_family(tree):
    other = {"seed": 46, "size": 5}
    published_file(tree, "hard", "c_three_20250103_000000", "gcd", [], [], other)
    with pytest.raises(OutcomesError, match="configuration of gcd differs"):
        read_published(tree, words)


def test_nothing_published(tmp_path):
    with pytest.raises(OutcomesError, match="give the folder zero-shot"):
        read_published(tmp_path, words)


@pytest.mark.parametrize(
    ("folder_name", "name"),
    [
        ("openai_o3-mini_20250315_181742", "o3-mini"),
        ("meta-llama_llama-3.3-70b-instruct_20250413_001539", "llama-3.3-70b-instruct"),
    ],
)
def test_names_of_targets(folder_name, name):
    assert target_name(folder_name) == name


def test_what_is_kept_and_why_not(tree):
    kept, left_out = facts_of.select(read_published(tree, words))
    assert kept.questions.groupby("family").size().to_dict() == {"chain_sum": 5, "gcd": 4}
    assert len(kept.answers) == 18 and set(kept.families["family"]) == {"chain_sum", "gcd"}
    assert left_out[["family", "questions", "why"]].to_numpy().tolist() == [
        ["gcd", 1, "the question does not come out again"],
        ["lcm", 5, "no target was ever right"],
    ]


def test_facts_survive_writing(tree, tmp_path):
    kept, _ = facts_of.select(read_published(tree, words))
    facts_of.write_facts(kept, tmp_path / "facts")
    again = facts_of.read_facts(tmp_path / "facts")
    order = ["level", "family", "index", "target", "sample"]
    pd.testing.assert_frame_equal(
        kept.answers[[*order, "score", "output_tokens", "answered"]]
        .sort_values(order)
        .reset_index(drop=True),
        again.answers[[*order, "score", "output_tokens", "answered"]]
        .sort_values(order)
        .reset_index(drop=True),
        check_dtype=False,
    )
    assert again.families["config"].map(json.loads).tolist() == [CONFIG, CONFIG]
    (tmp_path / "facts" / "answers.parquet").unlink()
    with pytest.raises(OutcomesError, match="restore its files"):
        facts_of.read_facts(tmp_path / "facts")


def test_which_answers_say_the_same():
    assert same_answers(["4", " 4\n", None, "Red", "red", "5", ""]) == [0, 0, -1, 1, 1, 2, -1]
    assert same_answers(["\u2460 x", "1  X"]) == [0, 0]  # NFKC: a circled digit is that digit
    assert same_answers([None, None]) == [-1, -1] and same_answers([]) == []


def test_agreement_is_a_pattern_without_texts(tmp_path, asked):
    """Five questions: all the same, the last differs, all differ, one is silent, none answers."""
    said = [("7", "7 ", "7"), ("7", "7", "8"), ("1", "2", "3"), ("", "x", "X"), ("", "", "")]
    of_two = [("1",)] * 5
    for model, of in {"a_one_20250101_000000": said, "b_two_20250101_000000": of_two}.items():
        answers = [[(text, 1) for text in texts] for texts in of]
        published_file(tmp_path, "easy", model, "chain_sum", asked, answers)
    published_file(tmp_path, "hard", "a_one_20250101_000000", "chain_sum", asked, [[("9", 1)]] * 5)
    kept, _ = facts_of.select(read_published(tmp_path, words))
    facts_of.write_facts(kept, tmp_path / "facts")
    agreement = pd.read_parquet(tmp_path / "facts" / "agreement.parquet")
    assert list(agreement) == ["level", "target", "family", "index", "pattern"]
    # the target that answered once, and the level of one answer, have no pattern
    assert set(agreement["target"]) == {"one"} and set(agreement["level"]) == {"easy"}
    assert agreement["pattern"].astype(str).tolist() == ["aaa", "aab", "abc", "-aa", "---"]
    again = facts_of.read_facts(tmp_path / "facts")
    single = folder.single_answers(folder.of_level(again, "easy"))
    of_one = single[single["target"] == "one"].sort_values(["query_id", "answer"])
    numbers = [0, 0, 0, 0, 0, 1, 0, 1, 2, -1, 0, 0, -1, -1, -1]
    assert of_one["said"].astype(int).tolist() == numbers
    assert single.loc[single["target"] == "two", "said"].isna().all()


def test_tables_of_facts_are_means_over_samples(tmp_path, asked):
    for model, of in {
        "a_one_20250101_000000": [1, 0, 0.995],
        "b_two_20250101_000000": [0.5],
    }.items():
        answers = [[("a b", score) for score in of]] * 5
        published_file(tmp_path, "easy", model, "chain_sum", asked, answers)
    kept, _ = facts_of.select(read_published(tmp_path, words))
    easy = folder.of_level(kept, "easy")
    queries, answers = folder.tables(easy)
    assert queries["prompt"].tolist() == asked
    assert queries["query_id"].tolist()[:2] == ["easy-chain_sum-00", "easy-chain_sum-01"]
    assert answers.groupby("target")["correct"].first().round(4).to_dict() == {
        "one": 0.6667,
        "two": 0,
    }
    with pytest.raises(OutcomesError, match="at most 1 tokens"):
        folder.of_level(kept, "easy", 1)
    paid = {name: Price(1.0, 2.0) for name in ("one", "two")}
    written = tmp_path / "folder"
    answers = answers.assign(cost=1.0)
    write_source(written, "easy", queries, answers, paid, folder.single_answers(easy))
    outcomes = load_outcomes(written)
    single = load_answers(written, outcomes)
    assert single.shape == (3, 5, 2) and single[:, 2, 0].tolist() == [1, 0, 1]
    assert single[0, 0, 1] == 0 and np.isnan(single[1:, :, 1]).all()
    assert np.allclose(np.nanmean(single, axis=0), outcomes.correct)
    # of some queries and targets, in their order
    some = outcomes.subset([3, 1]).pool(["two", "one"])
    assert np.array_equal(
        load_answers(written, some), single[:, [3, 1]][:, :, [1, 0]], equal_nan=True
    )
    write_source(written, "hard", queries, answers, paid)
    assert load_answers(written, outcomes) is None


def test_a_question_that_comes_out_otherwise_is_refused(asked):
    table = pd.DataFrame({"family": "chain_sum", "prompt": [asked[0], "other", np.nan]})
    with pytest.raises(OutcomesError, match=r"2 questions come out otherwise .* in chain_sum"):
        check_same(
            table, [sha256(asked[0])[:16], sha256(asked[1])[:16], sha256(asked[2])[:16]], "x"
        )
    check_same(table[:1], [sha256(asked[0])[:16]], "x")


def test_unknown_level():
    with pytest.raises(OutcomesError, match="no level 'medium'; known: hard, easy"):
        folder.outcomes_folder("medium", project_root() / "config" / "prices.yaml")


def test_the_committed_facts():
    found = facts_of.read_facts(project_root() / folder.FACTS)
    counts = found.questions.groupby("level").agg({"family": "nunique", "index": "size"})
    assert counts.loc["hard"].tolist() == [86, 4296] and counts.loc["easy"].tolist() == [89, 4446]
    per_question = found.answers.groupby(["level", "target"])["sample"].nunique().unstack("level")
    assert per_question["hard"].dropna().eq(1).all() and len(per_question["hard"].dropna()) == 10
    assert per_question["easy"].drop("llama-4-scout").dropna().eq(3).all()
    easy = found.answers[found.answers["level"].eq("easy")]
    assert easy.loc[easy["target"].ne("llama-4-scout"), "said"].notna().all()
    silent = ~easy["answered"] & easy["said"].notna()
    assert (easy.loc[silent, "said"] == -1).all()  # nothing visible: nothing said
    assert (easy.loc[easy["said"].eq(-1), "score"] < facts_of.RIGHT_FROM).all()
    columns = [c for table in (found.questions, found.answers) for c in table]
    assert not {"question", "prompt", "text"} & set(columns)
    fast = ["chain_sum", "gcd", "letter_counting", "simple_equations"]
    some = found.families[found.families["family"].isin(fast)]
    asked = found.questions.merge(generate(some, processes=1), on=facts_of.QUESTION)
    assert len(asked) == 50 * len(some)
    check_same(asked, asked["sha256"], "committed")


def test_the_easy_profile_is_the_hard_one_with_three_answers():
    hard, easy = (load_profile(name).as_dict() for name in ("reasoning_gym", "reasoning_gym_easy"))
    differ = {key for key in hard if hard[key] != easy[key]}
    assert differ == {"name", "label", "description", "outcomes", "pools", "subset"} | {
        "hidden_reasoning",
        "then",
    }
    assert easy["outcomes"] == "reasoning_gym:easy" and set(easy["pools"]) == set(hard["pools"])
    found = folder.of_level(
        facts_of.read_facts(project_root() / folder.FACTS), "easy", easy["longest_prompt"]
    )
    assert easy["subset"] == 3000 < len(found.questions)
    most = found.answers.groupby("target")["sample"].nunique()
    in_pools = {target for names in easy["pools"].values() for target in names}
    assert most[sorted(in_pools)].eq(3).all() and most["llama-4-scout"] == 1
    # reasoning that no count holds: the same targets but the one that did not answer
    assert set(hard["hidden_reasoning"]) - set(easy["hidden_reasoning"]) == {"grok-3-mini-beta"}


def test_agreement_with_the_normalised_table():
    data = Path(os.environ.get("PREFILL_ROUTER_DATA", project_root().parent / "shared" / "data"))
    if not (data / "reasoning_gym" / "outcomes.parquet").is_file():
        pytest.skip(f"no normalised table in {data}: set PREFILL_ROUTER_DATA")
    found = facts_of.read_facts(project_root() / folder.FACTS)
    other = pd.read_parquet(data / "reasoning_gym" / "outcomes.parquet").astype(
        {"level": str, "family": str}
    )
    other["target"] = other["model"].astype(str).str.split("_", n=1).str[1]
    keys = ["level", "family", "index", "target", "sample"]
    both = found.answers.merge(other, on=keys, suffixes=("", "_other"))
    assert len(both) == len(found.answers)
    assert np.allclose(both["score"], both["score_other"], atol=1e-6)
    assert (both["output_tokens"] == both["output_tokens_other"]).all()


@settings(deadline=None)
@given(st.integers(6, 40), st.integers(2, 5), st.integers(0, 99))
def test_each_family_is_tested_once(families, folds, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, size=families)
    outcomes = tiny_outcomes(np.repeat(np.arange(families), sizes))
    if families < 3 * folds:
        with pytest.raises(OutcomesError, match="three families for each"):
            family_folds(outcomes, range(folds), (0.6, 0.2, 0.2))
        return
    splits = family_folds(outcomes, range(folds), (0.6, 0.2, 0.2))
    tested = np.concatenate([split.test for split in splits.values()])
    assert np.array_equal(np.sort(tested), np.arange(outcomes.n))
    group = outcomes.queries["group"].to_numpy()
    for split in splits.values():
        parts = [set(group[rows]) for rows in (split.train, split.calibration, split.test)]
        assert all(parts) and sum(map(len, parts)) == families
        assert len(split.train) + len(split.calibration) + len(split.test) == outcomes.n


def tiny_outcomes(family):
    n = len(family)
    queries = pd.DataFrame({name: [f"{name} {i}" for i in range(n)] for name in QUERY_COLUMNS})
    queries = queries.assign(category=[f"family {number}" for number in family], benchmark="all")
    values = np.zeros((n, 2))
    targets = (Target("a", 1, 1), Target("b", 1, 1))
    made = Outcomes(queries, targets, values, values, values, values, "USD", "tiny")
    return grouped_by_family(made)
