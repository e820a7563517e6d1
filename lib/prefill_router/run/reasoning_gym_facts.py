"""Make ``data/reasoning_gym`` again from the published files.

    python -m prefill_router.run.reasoning_gym_facts PATH/zero-shot

``PATH/zero-shot`` is the folder ``reasoninggym-paper-experiments/zero-shot`` of
github.com/open-thought/reasoning-gym-eval (`data.reasoning_gym.published.COMMIT`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.public.tokens import count_tokens
from prefill_router.data.reasoning_gym.facts import select, write_facts
from prefill_router.data.reasoning_gym.folder import FACTS
from prefill_router.data.reasoning_gym.published import read_published
from prefill_router.files import project_root


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 where the files cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m prefill_router.run.reasoning_gym_facts",
        allow_abbrev=False,
        description="Write what ships of the published answers; some minutes.",
    )
    parser.add_argument("folder", type=Path, help="the folder zero-shot of the published files")
    parser.add_argument("--out", type=Path, default=project_root() / FACTS, help="where to write")
    arguments = parser.parse_args(argv)
    try:
        published = read_published(arguments.folder, count_tokens)
        facts, left_out = select(published)
    except OutcomesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_facts(facts, arguments.out)
    print(left_out.to_string(index=False))
    print(
        f"\n{len(facts.questions)} of {len(published.questions)} questions and"
        f" {len(facts.answers)} of {len(published.answers)} answers are kept;"
        f" {published.changed} answers to a changed question were not read"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
