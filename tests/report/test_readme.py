"""README and docs: blocks are what the results give, numbers are not typed by hand, links lead
somewhere, the snippet gives the table.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prefill_router.files import project_root
from prefill_router.report.contents import notebook_list, page_list, title
from prefill_router.report.overview import (
    COLUMNS,
    overview,
    overview_table,
    query_counts,
    several_encoders,
)
from prefill_router.report.published import profiles
from prefill_router.report.readme import blocks, fill, main, marks, pages, without_blocks

ROOT = project_root()
README = ROOT / "README.md"
HAND = [README, *sorted((ROOT / "docs").glob("*.md"))]
# numbers that are no results: what they are
CONSTANTS = {
    "95 %": "the confidence of every interval and plan",
    "1 %": "the default share of false alarms of a router",
    "1 point": "the epsilon of the plan one_point",
    "0.5": "AUC of a coin toss; a grade that counts as right",
    "1.5": "the largest encoder, in billions of parameters",
    "0.1": "the smallest one",
    "5.2": "a section of a book",
}
TYPED = re.compile(r"(?<![\w./-])[+-]?\d+\.\d+(?![\w.]*/)|\d+ ?%|\d+(?:\.\d+)? points?\b")


def typed_numbers(text: str) -> list[str]:
    """Decimals, percentages and points in the prose of a page: generated blocks, code, links and
    names with versions are left out, and so are `CONSTANTS`.
    """
    text = re.sub(r"```.*?```|`[^`\n]*`", " ", without_blocks(text), flags=re.S)
    text = re.sub(r"\]\([^)]*\)|https?://\S+|arXiv[: ]\d+\.\d+", " ", text)
    # versions belong to a name before them: Python 3.11, Claude 3.5, Switchyard 0.3, Qwen2.5
    names = r"\b(?!AUC|MB|GB|P\b)[A-Z]\w*[ -]?\d+(?:\.\d+)+\b"
    text = re.sub(names, " ", text)
    found = [match.strip() for match in TYPED.findall(text)]
    return [number for number in found if number not in CONSTANTS]


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as a code host makes them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.fixture(scope="module")
def known():
    """Every block, made once."""
    return blocks(ROOT)


def test_every_block_and_page_is_what_the_results_give():
    found = pages(ROOT)
    assert README in found and len(found) > len(HAND)
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in found.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run python -m prefill_router.report.readme"


def test_every_mark_has_a_block(known):
    for path in HAND:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"<!-- (\w+): made by", text):
            start, end = marks(name)
            assert name in known and text.count(start) == text.count(end) == 1, (path, name)


def test_there_is_a_page_for_every_profile_and_no_other():
    there = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    assert there == set(profiles(ROOT))


@pytest.mark.parametrize("path", HAND, ids=lambda path: path.name)
def test_no_result_is_typed_by_hand(path):
    assert typed_numbers(path.read_text(encoding="utf-8")) == []


def test_typed_numbers_are_found():
    text = "AUC of 0.938, +1.4 points, 12 % and 40% `0.1` [0.2](a-0.3.md) Python 3.11, Claude 3.5"
    assert typed_numbers(text) == ["0.938", "+1.4", "12 %", "40%", "0.2"]
    assert typed_numbers("a mean AUC 0.938") == ["0.938"]
    start, end = marks("pools")
    assert typed_numbers(f"{start}\n0.7\n{end}\n0.8") == ["0.8"]


def broken_links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = path if not file else (path.parent / file)
        if not to.exists() or (anchor and anchor not in anchors(to.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize(
    "path",
    [*HAND, *sorted((ROOT / "docs" / "results").glob("*.md")), ROOT / "CONTRIBUTING.md"],
    ids=lambda path: path.name,
)
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("# A B\n[x](#a-b) [x](b.md) [x](#c) [x](https://x.org) `[x](c.md)`\n")
    assert broken_links(page) == ["b.md", "#c", "c.md"]


def test_the_readme_is_short_and_explains_its_words():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 170 and len(text.encode()) <= 16_000
    for word in (
        *("*AUC*", "*oracle*", "*zero router*", "kernel router", "AUCCC"),
        *("*profile*", "*recipe*", "*embedded*", "**encoder**", "**target**", "*plan*"),
    ):
        assert word in text, word


def test_text_comes_first(known):
    said = known["findings"]
    assert "text" in said.splitlines()[0]
    assert said in README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown():
    """The table of the README: cells of its rows, by (profile, pool)."""
    start, end = marks("pools")
    block = README.read_text(encoding="utf-8").split(start)[1].split(end)[0]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    name = re.compile(r"\[?(\w+)(?:\]\(.*\))?: (\w+)$")
    return {found.groups(): row[1:] for row in rows[1:] if (found := name.match(row[0]))}


def test_the_snippet_gives_the_table(shown, tmp_path):
    """As it stands in the README, run where only the published profiles are in results."""
    (snippet,) = re.findall(r"```python\n(import glob.*?)```", README.read_text("utf-8"), re.S)
    assert len(snippet.splitlines()) <= 8
    (tmp_path / "results").mkdir()
    for name in profiles(ROOT):
        (tmp_path / "results" / name).symlink_to(ROOT / "results" / name)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # as it is printed: the rows, columns and digits of the README, with a sign for per cent
    printed = [line.split() for line in done.stdout.splitlines()]
    words = [key[1] for key in COLUMNS]
    assert printed[1][-len(words) :] == words
    assert {tuple(row[:2]): [cell.rstrip("%") for cell in row[2:]] for row in printed[3:]} == shown
    assert [tuple(row[:2]) for row in printed[3:]] == list(shown)


def metrics_of(rows):
    return pd.DataFrame(
        [
            (pool, method, reads, point, target, metric, value, 10)
            for pool, method, reads, point, target, metric, value in rows
        ],
        columns=["pool", "method", "reads", "operating_point", "target", "metric", "value", "n"],
    )


def test_overview_by_hand():
    one = [
        ("a", "ours", "prefill", None, None, "mean_auc", 0.80),
        ("a", "ours", "prefill", "argmax", None, "accuracy", 0.70),
        ("a", "ours", "prefill", "calibrated", None, "accuracy", 0.99),  # another point
        ("a", "ours", "prefill", None, "t", "mean_auc", 0.99),  # of one target
        ("a", "knn_minilm", "sentence", None, None, "mean_auc", 0.75),
        ("a", "tfidf", None, None, None, "mean_auc", 0.78),
        ("a", "benchmark_mean", None, None, None, "mean_auc", 0.90),  # is told the category
        ("a", "oracle", None, "argmax", None, "accuracy", 0.9),
    ]
    other = [
        ("b", "ours", "prefill", None, None, "mean_auc", 0.60),
        ("b", "prompt_length", None, None, None, "mean_auc", 0.65),
    ]
    table = overview({"p": metrics_of(one), "q": metrics_of(other)})
    assert list(table.index) == [("q", "b"), ("p", "a")]  # where text does best is first
    row = table.loc[("p", "a")]
    assert row["mean_auc", "text"] == 0.78 and row["accuracy", "ours"] == 0.70
    shown = overview_table(table, query_counts({"p": metrics_of(one), "q": metrics_of(other)}))
    assert shown.splitlines()[3] == (
        "| [p](docs/results/p.md): a | 0.800 | – | 0.780 | 70.0 | – | – | – | 90.0 |"
    )
    assert "10 to 10 test queries" in shown


def test_a_choice_among_encoders_is_told_beside_one_encoder():
    columns = ["pool", "method", "encoder", "target", "metric", "value"]
    rows = [
        ("a", "ours", "x + y", None, "mean_auc", 0.86),  # of several, the best was chosen
        ("a", "ours", "x", None, "mean_auc", 0.85),
        ("a", "ours", "y", None, "mean_auc", 0.86),
        ("a", "paper", "x", None, "mean_auc", 0.80),
        ("b", "ours", "x + y", None, "mean_auc", 0.74),
        ("b", "ours", "x", None, "mean_auc", 0.71),
        ("b", "paper", "x", None, "mean_auc", 0.80),
        ("b", "paper", "x", "t", "mean_auc", 0.10),
    ]
    several = pd.DataFrame(rows, columns=columns)
    one = several[several["encoder"] == "x"]
    said = several_encoders({"p": several, "q": one})
    assert said.startswith(" In p ours chose") and said.endswith("is 0.010 to 0.030 lower.")
    assert several_encoders({"q": one}) == ""


def test_a_new_profile_is_picked_up_by_itself(tmp_path):
    for name in ("local", "new", "smoke", "mine"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "metrics.csv").touch()
    (tmp_path / "config").mkdir()
    for name in ("local", "new", "smoke", "other"):  # mine is a table of one's own
        (tmp_path / "config" / f"{name}.yaml").touch()
    assert profiles(tmp_path) == ["local", "new"]


def test_what_stands_around_the_marks_is_kept():
    start, end = marks("pools")
    text = f"before\n{start}\nold\n{end}\nafter"
    filled = fill(text, "pools", "| new |")
    assert filled == f"before\n{start}\n\n| new |\n\n{end}\nafter"
    assert fill(filled, "pools", "| new |") == filled
    assert without_blocks(filled) == "before\n\nafter"
    with pytest.raises(ValueError, match="needs the marks"):
        fill(text, "bar", "| new |")


def test_main_writes_once_what_differs(tmp_path, capsys):
    for folder in ("config", "docs", "notebooks", "results/local"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "config" / "local.yaml").write_text("encoder: e\ndescription: Own questions.\n")
    metrics = pd.read_csv(ROOT / "results" / "local" / "metrics.csv")
    metrics.to_csv(tmp_path / "results" / "local" / "metrics.csv", index=False)
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["# R", *marks("pools"), *marks("findings"), "end\n"]))
    assert main(tmp_path) == 0
    told = capsys.readouterr().out
    assert "README.md: written" in told and "docs/results/local.md: written" in told
    text = readme.read_text()
    assert "| [local](docs/results/local.md): all |" in text and text.endswith("end\n")
    page = (tmp_path / "docs" / "results" / "local.md").read_text()
    assert "# Results of local" in page and "Own questions." in page
    assert main(tmp_path) == 0 and "written" not in capsys.readouterr().out


def test_lists_of_notebooks_and_pages(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir()
    for number, name in (("01", "One"), ("02", "Two"), ("10", "Ten")):
        (tmp_path / "notebooks" / f"{number}_x.ipynb").write_text(
            f'{{"cells": [{{"source": ["# {number} · {name}\\n", "text"]}}]}}'
        )
    (tmp_path / "notebooks" / "index.ipynb").write_text("not read")
    (tmp_path / "docs" / "a.md").write_text("# Page A\n")
    (tmp_path / "notebooks" / "11_x.ipynb").write_text('{"cells": [{"source": "# 11 · E"}]}')
    assert notebook_list(tmp_path) == (
        "[01 · One](notebooks/01_x.ipynb), [02 · Two](notebooks/02_x.ipynb),"
        " [10 · Ten](notebooks/10_x.ipynb), [11 · E](notebooks/11_x.ipynb)"
    )
    assert page_list(tmp_path) == "Pages: [Page A](docs/a.md)."
    with pytest.raises(ValueError, match="needs a first line"):
        title("no heading")
