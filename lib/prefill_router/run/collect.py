"""Make the embedded pool: run open models on the questions, score them, write ``data/local``.

``python -m prefill_router.run.collect`` makes everything and goes on where a killed run stopped;
``python -m prefill_router.run.collect --audit`` re-runs random cells of the smallest target and
compares verdicts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from prefill_router.data.local_pool import answers
from prefill_router.data.local_pool.questions import build_questions
from prefill_router.encode.encoders import load_encoder
from prefill_router.files import project_root
from prefill_router.run.arguments import command_line
from prefill_router.run.collect_targets import (
    RECIPES,
    CollectError,
    TargetRecipe,
    run_batch,
    run_target,
)

ROOT = project_root()
Tokens = TypeVar("Tokens", float, pd.Series)
CORRECT_FROM = 0.99
"""The score from which a response is correct: graded scorers give less to a nearly right one."""


QUESTION_COLUMNS = [
    "query_id",
    "benchmark",
    "category",
    "prompt",
    "group",
    "difficulty",
    "kind",
    "answer",
    "accept",
    "options",
    "gym",
]


def judge(
    questions: pd.DataFrame, run: pd.DataFrame, step_by_step: bool
) -> tuple[pd.DataFrame, int]:
    """Extract and score every response.

    Returns
    -------
    (DataFrame, int)
        `run` with columns ``answer`` and ``correct`` (0 or 1), and how many times a scorer raised:
        such an answer is wrong, and the number is reported.
    """
    rows = questions.set_index("query_id").loc[run["query_id"]].reset_index().to_dict("records")
    extracted, correct, raised = [], [], 0
    for row, response in zip(rows, run["response"], strict=True):
        answer = answers.extract(response, row["kind"], json.loads(row["options"]), step_by_step)
        try:
            verdict = answers.score(row, answer) >= CORRECT_FROM
        except (
            Exception
        ):  # a scorer of reasoning-gym may raise anything on an answer it cannot parse
            verdict, raised = False, raised + 1
        extracted.append(answer)
        correct.append(int(verdict))
    return run.assign(answer=extracted, correct=correct), raised


def cost_tflop(recipe: TargetRecipe, input_tokens: Tokens, output_tokens: Tokens) -> Tokens:
    """Cost of a target on a query: 2 x active parameters x (input + output tokens), in TFLOP."""
    return 2 * recipe.params * (input_tokens + output_tokens) * 1e-12


def write_pool(questions: pd.DataFrame, judged: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write ``queries, outcomes, responses`` (Parquet) and ``targets.json`` in one go: temporary
    names, then renames.
    """
    outcomes, responses = [], []
    for recipe in RECIPES:
        run = judged[recipe.name].set_index("query_id").loc[questions["query_id"]].reset_index()
        run.insert(1, "target", recipe.name)
        run["cost"] = cost_tflop(recipe, run["input_tokens"], run["output_tokens"])
        outcomes.append(
            run[["query_id", "target", "correct", "input_tokens", "output_tokens", "cost"]]
        )
        responses.append(run[["query_id", "target", "response", "answer"]])
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "queries": questions[QUESTION_COLUMNS],
        "outcomes": pd.concat(outcomes, ignore_index=True),
        "responses": pd.concat(responses, ignore_index=True),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet.tmp", compression="zstd", index=False)
    price = {recipe.name: 2 * recipe.params * 1e-12 for recipe in RECIPES}
    targets = [
        {
            "name": r.name,
            "input_price": price[r.name],
            "output_price": price[r.name],
            "params": r.params,
            "encoder": r.encoder,
            "note": r.style,
        }
        for r in RECIPES
    ]
    (folder / "targets.json.tmp").write_text(
        json.dumps({"name": "local", "cost_unit": "TFLOP", "targets": targets}, indent=1) + "\n"
    )
    for name in [*(f"{t}.parquet" for t in tables), "targets.json"]:
        os.replace(folder / f"{name}.tmp", folder / name)


def collect(out: Path, work: Path, per_family: int = 40, device: str = "auto") -> None:
    """Build the questions, run every target, judge, write the pool and print what came out."""
    questions = build_questions(per_family)
    judged = {}
    for recipe in RECIPES:
        run, raised = judge(
            questions, run_target(recipe, questions, work, device), recipe.style == "steps"
        )
        judged[recipe.name] = run
        print(
            f"{recipe.name}: {run['correct'].mean():.1%} of {len(run)} right,"
            f" {run['output_tokens'].mean():.1f} tokens a response,"
            f" {(run['answer'] == '').mean():.1%} without an answer, scorer raised {raised} times",
            flush=True,
        )
    write_pool(questions, judged, out)
    print(f"written to {out}")


def audit(
    folder: Path, cells: int = 30, seed: int | None = None, device: str = "auto", tolerance: int = 2
) -> int:
    """Re-run random cells of the smallest target and compare with the committed verdicts.

    Low-precision arithmetic differs between machines and batch shapes, so greedy decoding may part
    ways on a near tie; up to `tolerance` verdicts may differ.

    Returns
    -------
    int
        Number of cells whose verdict differs.

    Raises
    ------
    CollectError
        More than `tolerance` verdicts differ, or the pool does not belong to these recipes.
    """
    questions = pd.read_parquet(folder / "queries.parquet")
    recipe = min(RECIPES, key=lambda r: r.params)
    outcomes = (
        pd.read_parquet(folder / "outcomes.parquet")
        .query("target == @recipe.name")
        .set_index("query_id")
    )
    responses = (
        pd.read_parquet(folder / "responses.parquet")
        .query("target == @recipe.name")
        .set_index("query_id")
    )
    if outcomes.empty:
        raise CollectError(
            f"{folder}: no outcomes of target {recipe.name!r}; run `make collect` first"
        )
    seed = int(time.time()) if seed is None else seed
    chosen = questions.iloc[
        np.sort(np.random.default_rng(seed).permutation(len(questions))[:cells])
    ]
    run, _ = judge(
        chosen,
        run_batch(load_encoder(recipe.encoder, device=device, causal_lm=True), recipe, chosen),
        recipe.style == "steps",
    )
    run = run.set_index("query_id")
    committed = outcomes.loc[run.index, "correct"]
    different = run.index[run["correct"] != committed]
    same_text = int((run["response"] == responses.loc[run.index, "response"]).sum())
    print(
        f"audit of {recipe.name}, seed {seed}: {len(run) - len(different)} of {len(run)} verdicts"
        f" agree, {same_text} responses are word for word the same"
    )
    for query_id in different:
        print(
            f"  {query_id}: committed {committed[query_id]:.0f} from"
            f" {responses.loc[query_id, 'response']!r}, now {run.loc[query_id, 'correct']} from"
            f" {run.loc[query_id, 'response']!r}"
        )
    if len(different) > tolerance:
        raise CollectError(
            f"{len(different)} of {len(run)} verdicts differ, more than the {tolerance} that"
            " rounding explains; see the list above"
        )
    return len(different)


def main(argv: list[str] | None = None) -> int:
    """Command line of ``make collect`` and ``make audit``."""
    parser = command_line("collect", str(__doc__), "device")
    parser.set_defaults(device="auto")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "local")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "collect")
    parser.add_argument("--per-family", type=int, default=40)
    parser.add_argument("--audit", action="store_true")
    parser.add_argument("--cells", type=int, default=30)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args(argv)
    try:
        if args.audit:
            audit(args.out, args.cells, args.seed, args.device)
        else:
            collect(args.out, args.work, args.per_family, args.device)
    except KeyboardInterrupt:
        print(
            "interrupted; finished batches are kept, run the same command to go on", file=sys.stderr
        )
        return 130
    except Exception as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
