"""Running the targets of the embedded pool on its questions."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefill_router.data.local_pool.decoding import greedy
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder

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


class CollectError(RuntimeError):
    """Collection or audit cannot go on; the message says why and what to do."""


def prompt_ids(encoder: Encoder, style: str, prompt: str) -> list[int]:
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


def stop_tokens(tokenizer: Any) -> set[int]:
    """End-of-turn and end-of-text tokens of the tokenizer's vocabulary."""
    vocabulary = tokenizer.get_vocab()
    return {tokenizer.eos_token_id} | {
        vocabulary[t] for t in ("<|im_end|>", "<|endoftext|>") if t in vocabulary
    }


def run_batch(encoder: Encoder, recipe: TargetRecipe, questions: pd.DataFrame) -> pd.DataFrame:
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
