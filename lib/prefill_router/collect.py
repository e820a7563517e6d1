"""Make the embedded pool: run open models on the questions, score them, write ``data/local``.

``python -m prefill_router.collect`` re-creates everything and goes on where a killed run stopped;
``python -m prefill_router.collect --audit`` re-runs random cells of the smallest target and
compares verdicts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefill_router.encoders import load_encoder
from prefill_router.local_pool import answers
from prefill_router.local_pool.decoding import greedy
from prefill_router.local_pool.questions import build_questions

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = {
    "direct": "Answer the question. Reply with the final answer only, without any explanation.",
    "steps": (
        "Think step by step in a few short sentences, then write the final answer on a last line"
        ' that begins with "Answer:".'
    ),
}
# Worked examples keep the thinking short; their tokens count as input tokens and are paid for on
# every query.
EXAMPLES = {
    "direct": (),
    "steps": (
        (
            "Tom has 3 boxes with 12 eggs each and eats 5 eggs. How many are left?",
            "3 boxes hold 3 * 12 = 36 eggs. 36 - 5 = 31.\nAnswer: 31",
        ),
        (
            "Which of these is the capital of France?\nA) Rome\nB) Paris\nC) Madrid\nD) Berlin",
            "The capital of France is Paris, which is option B.\nAnswer: B",
        ),
        (
            'How many times does the letter "e" appear in "seven trees"?',
            "s-e-v-e-n has 2, t-r-e-e-s has 2. 2 + 2 = 4.\nAnswer: 4",
        ),
    ),
}
MAX_NEW_TOKENS = {"direct": 32, "steps": 256}
CORRECT_FROM = 0.99
"""The score from which a response is correct: graded scorers give less to a nearly right one."""


@dataclass(frozen=True)
class TargetRecipe:
    """A target of the embedded pool: weights and the way it is asked.

    ``params`` are the active parameters per token: all weights that take part in one forward pass,
    the tied or untied output head once and the input embeddings (a lookup) not again.
    """

    name: str
    encoder: str
    style: str
    params: float
    batch: int


RECIPES = (
    TargetRecipe("smollm2-135m", "smollm2-135m-instruct", "direct", 134_515_008, 192),
    TargetRecipe("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct", "direct", 494_032_768, 192),
    TargetRecipe("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b-instruct", "direct", 1_543_714_304, 192),
    TargetRecipe(
        "qwen2.5-coder-1.5b-steps", "qwen2.5-coder-1.5b-instruct", "steps", 1_543_714_304, 192
    ),
)
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


class CollectError(RuntimeError):
    """Collection or audit cannot go on; the message says why and what to do."""


def prompt_ids(encoder, style: str, prompt: str) -> list[int]:
    """Token ids of the chat prompt of a target: the style's instruction as system message, the
    question as user message, with the style's worked examples between.
    """
    turns = [
        turn
        for question, reply in EXAMPLES[style]
        for turn in (("user", question), ("assistant", reply))
    ]
    messages = [
        {"role": role, "content": content}
        for role, content in (("system", INSTRUCTIONS[style]), *turns, ("user", prompt))
    ]
    text = encoder.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False
    )
    return encoder.tokenizer(text, add_special_tokens=False)["input_ids"]


def stop_tokens(tokenizer) -> set[int]:
    """End-of-turn and end-of-text tokens of the tokenizer's vocabulary."""
    vocabulary = tokenizer.get_vocab()
    return {tokenizer.eos_token_id} | {
        vocabulary[t] for t in ("<|im_end|>", "<|endoftext|>") if t in vocabulary
    }


def run_batch(encoder, recipe: TargetRecipe, questions: pd.DataFrame) -> pd.DataFrame:
    """Decode one batch: ``query_id, input_tokens, output_tokens, response``."""
    ids = [prompt_ids(encoder, recipe.style, prompt) for prompt in questions["prompt"]]
    stops = stop_tokens(encoder.tokenizer)
    new = greedy(encoder.network, ids, MAX_NEW_TOKENS[recipe.style], stops)
    return pd.DataFrame(
        {
            "query_id": questions["query_id"].to_numpy(),
            "input_tokens": [len(row) for row in ids],
            "output_tokens": [len(row) for row in new],
            "response": [
                encoder.tokenizer.decode([t for t in row if t not in stops]) for row in new
            ],
        }
    )


def batches(questions: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """Batches of like prompt length (in characters), so that little is padding; the same for every
    run.
    """
    order = np.argsort(questions["prompt"].str.len().to_numpy(), kind="stable")
    return [questions.iloc[order[start : start + size]] for start in range(0, len(order), size)]


def run_target(
    recipe: TargetRecipe, questions: pd.DataFrame, folder: Path, device: str = "auto"
) -> pd.DataFrame:
    """Run one target on all questions, one file a batch; batches that are already there are not run
    again.
    """
    key = hashlib.sha256(
        json.dumps(
            [
                asdict(recipe),
                INSTRUCTIONS[recipe.style],
                EXAMPLES[recipe.style],
                MAX_NEW_TOKENS[recipe.style],
                questions[["query_id", "prompt"]].to_dict("list"),
            ]
        ).encode()
    ).hexdigest()[:12]
    folder = folder / f"{recipe.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    plan = batches(questions, recipe.batch)
    encoder, started, done_here = None, time.monotonic(), 0
    for number, batch in enumerate(plan):
        path = folder / f"batch-{number:03d}.parquet"
        if path.exists():
            continue
        if encoder is None:
            encoder = load_encoder(recipe.encoder, device=device, causal_lm=True)
            started = time.monotonic()
        out = run_batch(encoder, recipe, batch)
        temporary = path.with_suffix(".tmp")
        out.to_parquet(temporary)
        os.replace(temporary, path)
        done_here += 1
        left = (
            (time.monotonic() - started)
            / done_here
            * sum(not (folder / f"batch-{n:03d}.parquet").exists() for n in range(len(plan)))
        )
        print(
            f"{recipe.name}: batch {number + 1}/{len(plan)}, {int(out['output_tokens'].sum())}"
            f" tokens written, about {left / 60:.0f} min left",
            flush=True,
        )
    return pd.concat(
        [pd.read_parquet(folder / f"batch-{n:03d}.parquet") for n in range(len(plan))],
        ignore_index=True,
    )


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


def cost_tflop(recipe: TargetRecipe, input_tokens, output_tokens):
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
    parser = argparse.ArgumentParser(prog="python -m prefill_router.collect", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "local")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "collect")
    parser.add_argument("--per-family", type=int, default=40)
    parser.add_argument("--device", default="auto")
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
