"""Published outcomes: judging by hand-made answers, fetching from a local server, and the real
files where they are.
"""

import functools
import hashlib
import http.server
import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefill_router.data import public
from prefill_router.data.outcome_files import load_outcomes
from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.public import fetch, mmlu_pro, tokens
from prefill_router.data.public.mmlu_pro import extract_letter
from prefill_router.data.public.zeroeval import convert, extract_answer, is_correct
from prefill_router.files import WeightsError, project_root

DATA = Path(os.environ.get("PREFILL_ROUTER_DATA") or project_root().parent / "shared" / "data")
with_data = pytest.mark.skipif(
    not (DATA / "raw" / "zeroeval").is_dir(),
    reason="the published files of ZeroEval are not beside the project",
)


@pytest.mark.parametrize(
    "text, answer",
    [
        ('{"reasoning": "a {b} c", "answer": "42"}', "42"),
        ('Sure:\n```json\n{"reasoning": "x",\n "answer": 7}\n```', "7"),
        ('{"answer": "1"} {"answer": "2"}', "1"),  # the first complete object counts
        ('{"reasoning": "she said "six" twice", "answer": "6"}', "6"),  # broken JSON
        ('"answer": 12, and more', "12"),
        ("The answer: 9", "9"),
        ('{"reasoning": "none"}', None),
        ("", None),
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


def test_a_box_counts_for_the_targets_it_counted_for_upstream():
    assert extract_answer(r"so it is $\boxed{36}$", "Meta-Llama-3.1-8B-Instruct") == "36"
    assert extract_answer(r"so it is $\boxed{36}$", "gpt-4o") is None


@pytest.mark.parametrize(
    "task, answer, gold, right",
    [
        ("gsm", "$1,234", "# 1234", True),
        ("gsm", "18.0", "# 18", True),
        ("gsm", "18 eggs", "# 18", True),
        ("gsm", "-18", "# 18", False),
        ("gsm", None, "# 18", False),
        ("math-l5", "3/4", "0.75", True),
        ("math-l5", "1/0", "0.75", False),
        ("math-l5", "__import__('os').getcwd()", "5", False),
        ("crux", '"abc"', "'abc'", True),
        ("crux", "a\nb", "'a\\nb'", True),
        ("crux", '["a"]', "['a']", False),  # an exact text is wanted
        ("crux", "[1,2]", "[1, 2]", False),
    ],
)
def test_is_correct(task, answer, gold, right):
    assert is_correct(task, answer, gold) is right


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A published source of one file on a local server; the cache and the data folder are empty."""
    served = tmp_path / "served" / "result_dirs"
    served.mkdir(parents=True)
    body = b"[1, 2, 3]"
    (served / "a@b.json").write_bytes(body)
    files = {
        "result_dirs/a@b.json": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    }
    monkeypatch.setattr(
        fetch, "SOURCES", {"toy": {"address": "http://127.0.0.1:9", "files": files}}
    )
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PREFILL_ROUTER_DATA", raising=False)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    handler.log_message = lambda *a: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served / "a@b.json", f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()


def test_files_are_downloaded_once_and_checked(source):
    file, address, _ = source
    folder = fetch.published("toy", address)
    assert (folder / "result_dirs" / "a@b.json").read_bytes() == file.read_bytes()
    file.unlink()
    assert fetch.published("toy", address) == folder  # nothing is asked for again


def test_a_changed_download_is_refused_and_not_kept(source):
    file, address, _ = source
    file.write_bytes(b"[1, 2")
    with pytest.raises(OutcomesError, match="another SHA-256"):
        fetch.published("toy", address)
    file.write_bytes(b"[1, 2, 3]")
    assert (fetch.published("toy", address) / "result_dirs" / "a@b.json").is_file()


@pytest.mark.parametrize(
    "status, sent, message", [(200, b"[1, 2", "IncompleteRead"), (404, b"", "404")]
)
def test_an_answer_that_ends_early_is_refused_and_not_kept(source, status, sent, message):
    class Short(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", "9" if sent else "0")
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *a):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Short)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(
        OutcomesError, match=rf"cannot be downloaded \(.*{message}.*by hand to .*toy/result_dirs"
    ):
        fetch.published("toy", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    _, address, tmp_path = source
    assert not list((tmp_path / "cache").rglob("*a@b*"))
    fetch.published("toy", address)


def test_files_of_one_source_have_different_origins(source, monkeypatch):
    _, address, tmp_path = source
    body = b"text"
    expected = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    (tmp_path / "served" / "b").mkdir()
    (tmp_path / "served" / "b" / "c (1).txt").write_bytes(body)
    files = fetch.SOURCES["toy"]["files"] | {
        "c (1).txt": expected | {"address": f"{address}/b"},
        "pack/d.txt": expected | {"wheel": "some-pack==1.0"},
    }
    monkeypatch.setitem(fetch.SOURCES, "toy", {"address": address, "files": files})
    monkeypatch.setattr(fetch, "download_wheel", lambda requirement, folder: "ERROR: no index")
    with pytest.raises(
        OutcomesError,
        match=r"pack/d\.txt cannot be downloaded \(pip says: ERROR: no index\).*kept\. Download"
        r" pack/d\.txt of the wheel some-pack==1\.0 by hand to .*toy/pack/d\.txt",
    ):
        fetch.published("toy")

    def wheel(requirement, folder):
        with zipfile.ZipFile(folder / "some_pack-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("pack/d.txt", body)
        return ""

    monkeypatch.setattr(fetch, "download_wheel", wheel)
    folder = fetch.published("toy")
    assert (folder / "c (1).txt").read_bytes() == (folder / "pack" / "d.txt").read_bytes() == body
    assert (folder / "result_dirs" / "a@b.json").is_file()


def test_no_network_says_which_file_goes_where(source):
    _, _, tmp_path = source
    with pytest.raises(
        OutcomesError,
        match=r"result_dirs/a@b\.json cannot be downloaded.*by hand to .*toy/result_dirs",
    ):
        fetch.published("toy")
    given = tmp_path / "data" / "raw" / "toy" / "result_dirs"
    given.mkdir(parents=True)
    os.environ["PREFILL_ROUTER_DATA"] = str(tmp_path / "data")
    try:
        with pytest.raises(OutcomesError, match="lacks 1 of 1"):
            fetch.published("toy")
        (given / "a@b.json").write_bytes(b"[9]")
        with pytest.raises(OutcomesError, match="changed or cut short"):
            fetch.published("toy")
    finally:
        del os.environ["PREFILL_ROUTER_DATA"]


def test_unknown_public_outcomes():
    with pytest.raises(OutcomesError, match="known: livecodebench, mmlu_pro, swebench, zeroeval"):
        public.outcomes_folder("zeroeva", "prices.yaml")


@pytest.fixture
def converted(tmp_path, monkeypatch):
    """A source of two targets and two questions; its price list has one price. Tokens are counted
    as words.
    """
    answers = pd.DataFrame(
        [
            ("q/0", "a", 1.0, "one two"),
            ("q/1", "a", 0.0, "one"),
            ("q/0", "b", 0.0, "one two three"),
        ],
        columns=["query_id", "target", "correct", "text"],
    )
    queries = pd.DataFrame(
        {
            "query_id": ["q/0", "q/1"],
            "benchmark": "t",
            "category": "c",
            "prompt": ["x y", "z"],
            "group": ["0", "1"],
        }
    )
    reads = []
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(public, "SOURCES", {"toy": {"files": {}}})
    monkeypatch.setattr(public, "published", lambda name: reads.append(name))
    monkeypatch.setattr(
        public, "CONVERTERS", {"toy": lambda folder: (queries.copy(), answers.copy())}
    )
    monkeypatch.setattr(public, "count_tokens", lambda texts: [len(text.split()) for text in texts])
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "prices.yaml").write_text(
        "prices:\n  a: {input: 1, output: 10, date: d, source: s}\n  b: {input: null, output: null,"
        " date: d, source: s, note: no host}\n"
    )
    return tmp_path / "config" / "prices.yaml", reads


def test_a_target_without_a_public_price_has_no_cost(converted):
    prices, reads = converted
    outcomes = load_outcomes(public.outcomes_folder("toy", prices))
    nan = np.nan
    np.testing.assert_allclose(
        outcomes.cost, [[22e-6, nan], [11e-6, nan]]
    )  # 2 x 1 + 2 x 10; 1 x 1 + 1 x 10
    np.testing.assert_array_equal(outcomes.correct, [[1, 0], [0, nan]])
    assert outcomes.targets[0].input_price == 1e-6 and np.isnan(outcomes.targets[1].output_price)
    assert outcomes.targets[1].note == "no host" and outcomes.cost_unit == "USD"
    assert public.outcomes_folder("toy", prices).is_dir() and len(reads) == 1  # converted once
    prices.write_text("prices:\n  a: {input: 1, output: 10, date: d, source: s}\n")
    with pytest.raises(OutcomesError, match="toy: no price for b; add each"):
        public.outcomes_folder("toy", prices)


def test_a_conversion_that_was_killed_is_made_anew(converted):
    prices, reads = converted
    folder = public.outcomes_folder("toy", prices)
    (folder / "targets.json").unlink()
    (folder.with_name(f".{folder.name}.partial")).mkdir()
    assert load_outcomes(public.outcomes_folder("toy", prices)).n == 2 and len(reads) == 2
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_vocabulary_that_is_missing_or_wrong_is_refused_and_the_environment_left_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path))
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr(tokens, "download_wheel", lambda requirement, folder: "ERROR: no network")
    with pytest.raises(
        WeightsError, match=f"put the file {tokens._NAME} into .*tiktoken.*\n.*no network"
    ):
        tokens.count_tokens(["a"])

    def wrong(requirement, folder):
        with zipfile.ZipFile(folder / "litellm-0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"litellm/litellm_core_utils/tokenizers/{tokens._NAME}", b"YQ== 0")
        return ""

    monkeypatch.setattr(tokens, "download_wheel", wrong)
    with pytest.raises(WeightsError, match="another SHA-256"):
        tokens.count_tokens(["a"])
    assert (
        "TIKTOKEN_CACHE_DIR" not in os.environ
        and not (tmp_path / "tiktoken" / tokens._NAME).exists()
    )
    with tokens._tiktoken_cache(tmp_path):
        assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def test_files_that_disagree_on_the_questions(tmp_path):
    for task in ("gsm", "math-l5", "crux"):
        (tmp_path / "result_dirs" / task).mkdir(parents=True)
    for name, question in (("a", "1 + 1?"), ("b", "2 + 2?")):
        item = {"question": question, "answer": "# 2", "output": ['{"answer": 2}']}
        (tmp_path / "result_dirs" / "gsm" / f"{name}.json").write_text(json.dumps([item]))
    with pytest.raises(OutcomesError, match=r"b\.json holds other questions"):
        convert(tmp_path)


@pytest.mark.parametrize(
    "text, letter",
    [
        ("So the answer is (C).", "C"),
        ("The answer is B. Or rather, the answer is A.", "B"),
        ("Answer: D", "D"),
        ("It could be A or B. I take B", "B"),
        ("A bird in the hand", "A"),  # the last lone capital, also where it is an article
        ("no idea", None),
        ("", None),
    ],
)
def test_extract_letter(text, letter):
    assert extract_letter(text) == letter


def test_mmlu_pro_takes_the_text_that_most_targets_saw_and_keeps_gaps(tmp_path):
    (tmp_path / "eval_results").mkdir()
    item = {
        "question_id": 7,
        "question": "Which? ",
        "options": ["x ", "y"],
        "answer": "B",
        "category": "law",
        "generated_text": "the answer is (B)",
    }
    other = item | {
        "question_id": 3,
        "question": "which ",
        "options": ["z", "x"],
        "generated_text": None,
    }
    old = item | {"question": "Wich?"}
    for name, items in (("a", [old]), ("b", [item, other, []]), ("c", [item])):
        with zipfile.ZipFile(
            tmp_path / "eval_results" / f"model_outputs_{name}_5shots.zip", "w"
        ) as archive:
            archive.writestr("x.json", json.dumps(items))
    queries, answers = mmlu_pro.convert(tmp_path)
    assert queries["prompt"].tolist() == ["which\nA. z\nB. x", "Which?\nA. x \nB. y"]
    assert queries["group"].nunique() == 1  # the same stem
    assert answers.groupby("target")["correct"].agg(list).to_dict() == {
        "a": [1.0],
        "b": [1.0, 0.0],
        "c": [1.0],
    }


@with_data
def test_mmlu_pro_agrees_with_the_normalised_tables_cell_for_cell():
    queries, answers = mmlu_pro.convert(DATA / "raw" / "mmlu_pro")
    expected = (
        pd.read_parquet(DATA / "mmlu_pro" / "queries.parquet")
        .astype(str)
        .set_index("query_id")
        .loc[queries["query_id"]]
    )
    assert len(queries) == 12_032 and expected["prompt"].tolist() == queries["prompt"].tolist()
    table = pd.read_parquet(DATA / "mmlu_pro" / "outcomes.parquet").astype(
        {"query_id": str, "model": str}
    )
    both = answers.merge(
        table,
        left_on=["query_id", "target"],
        right_on=["query_id", "model"],
        how="left",
        suffixes=("", "_expected"),
    )
    assert both["target"].nunique() == 16 and (both["correct"] == both["correct_expected"]).all()
    group = queries.set_index("query_id")["group"]
    twins = expected["dup_of"][expected["dup_of"].isin(group.index)]
    assert len(twins) > 100 and (group[twins.index].to_numpy() == group[twins].to_numpy()).all()


@with_data
def test_verdicts_agree_with_all_published_summaries():
    _, answers = convert(DATA / "raw" / "zeroeval")
    task = answers["query_id"].str.split("/").str[1]
    found = answers.groupby([task, "target"])["correct"].mean() * 100
    assert len(found) == 75
    for name in ("gsm", "math-l5", "crux"):
        published = {
            row["Model"]: float(row["Acc"])
            for row in json.loads(
                (DATA / f"raw/zeroeval/result_dirs/{name}.summary.json").read_text()
            )
        }
        for target, accuracy in found[name].items():
            assert accuracy == pytest.approx(published[target], abs=0.01), (name, target)


# shape, cells that are missing, and queries whose stem an earlier one has
EXPECTED = {"zeroeval": ((2840, 25), 0, 0), "mmlu_pro": ((12_032, 16), 1713, 403)}


@with_data
@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("source", list(EXPECTED))
def test_outcomes_agree_cell_for_cell_with_the_normalised_tables(source, monkeypatch):
    monkeypatch.setenv("PREFILL_ROUTER_DATA", str(DATA))
    prices = project_root() / "config" / "prices.yaml"
    outcomes = load_outcomes(public.outcomes_folder(source, prices))
    queries = pd.read_parquet(DATA / source / "queries.parquet").astype(str).set_index("query_id")
    table = pd.read_parquet(DATA / source / "outcomes.parquet").astype(
        {"query_id": str, "model": str}
    )
    ids, (shape, missing, repeated) = outcomes.queries["query_id"], EXPECTED[source]
    assert outcomes.correct.shape == shape and np.isnan(outcomes.correct).sum() == missing
    assert outcomes.queries["group"].duplicated().sum() == repeated
    for column in ("prompt", "benchmark", "category"):
        assert queries.loc[ids, column].tolist() == outcomes.queries[column].tolist()
    for column in ("correct", "output_tokens"):
        expected = table.pivot(index="query_id", columns="model", values=column).loc[
            ids, outcomes.target_names
        ]
        np.testing.assert_array_equal(
            getattr(outcomes, column), expected.to_numpy(dtype=float, na_value=np.nan)
        )
