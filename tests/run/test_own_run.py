"""A table that was not made for this project, from file to report: the whole path on a small
RouterBench-shaped file.
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prefill_router.data.outcome_files import load_outcomes
from prefill_router.files import project_root

pytestmark = [pytest.mark.slow, pytest.mark.weights]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    o = load_outcomes(project_root() / "data" / "local")
    o = o.subset(
        o.queries.groupby("category").head(2).sample(n=130, random_state=0).index.to_numpy()
    )
    wide = pd.DataFrame(
        {
            "sample_id": o.queries["query_id"],
            "prompt": [str([p]) for p in o.prompts],
            "eval_name": o.queries["benchmark"],
        }
    )
    for k, name in enumerate(o.target_names):
        wide[name], wide[f"{name}|total_cost"] = o.correct[:, k], o.cost[:, k]
    path = tmp_path_factory.mktemp("own") / "Router Bench.csv"
    wide.to_csv(path, index=False)
    return path


def reproduce(table: Path, *more: str) -> subprocess.CompletedProcess[str]:
    folders = [f"--{name}-dir={table.parent / name}" for name in ("build", "results", "figures")]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "prefill_router.run.reproduce",
            "--outcomes",
            str(table),
            *folders,
            *more,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def test_from_a_file_to_a_verdict(table):
    done = reproduce(table)
    assert done.returncode == 0, done.stdout + done.stderr
    results = table.parent / "results" / "router_bench"
    report = (results / "report.md").read_text()
    assert "Too few questions (130) for more than a hint." in report and "What to do next" in report
    assert "wide table: 4 models" in report and "cost_usd is what these cost" in report
    metrics = pd.read_csv(results / "metrics.csv")
    assert {"ours", "paper", "kernel_minilm", "tfidf"} <= set(metrics["method"])
    again = reproduce(table)
    assert again.returncode == 0 and "0 notebook(s) ran" in again.stdout


def test_what_cannot_be_used_is_told_on_the_command_line(table, tmp_path):
    bad = tmp_path / "bad.csv"
    text = table.read_text().replace(",1.0,", ",perhaps,", 1)
    bad.write_text(text)
    done = reproduce(bad)
    assert (
        done.returncode == 2 and "not a number: row" in done.stderr and "'perhaps'" in done.stderr
    )
    lost = subprocess.run(
        [sys.executable, "-m", "prefill_router.run.reproduce", "--prices", str(bad)],
        capture_output=True,
        text=True,
    )
    assert lost.returncode == 2 and "--prices goes with --outcomes" in lost.stderr
