"""The command `prefill-router`: finds a subcommand and hands it the rest of the line.

prefill-router route my-router "What is 17 times 23?"
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from prefill_router import __version__
from prefill_router.files import project_root
from prefill_router.run.subcommands import COMMAND, SUBCOMMANDS, Subcommand
from prefill_router.run.warned import plain_warnings


def _parser(known: dict[str, Subcommand]) -> argparse.ArgumentParser:
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {of.does}" for name, of in known.items()]
    shown = "\n".join(
        ["subcommands:", *lines, "", "example:", f"  {COMMAND} {known['route'].example}"]
    )
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Route prompts between language models by the hidden states of a prefill.",
        epilog=f"{shown}\n\n`{COMMAND} SUBCOMMAND --help` says more and shows an example.",
    )
    parser.add_argument("--version", action="version", version=f"{COMMAND} {__version__}")
    parser.add_argument("subcommand", metavar="SUBCOMMAND", choices=list(known))
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns what the subcommand returns, or 2 for what cannot run here."""
    known = {name: of for name, of in SUBCOMMANDS.items() if of.is_there}
    arguments = _parser(known).parse_args(argv)
    chosen = known[arguments.subcommand]
    asks_for_help = {"-h", "--help"} & set(arguments.rest)
    if chosen.in_clone and not asks_for_help and not (project_root() / "config").is_dir():
        print(
            f"error: {arguments.subcommand} needs the folders config/ and notebooks/ of the"
            f" repository: clone it, and run `make env` or `pip install -e '.[{chosen.extra}]'`"
            " there",
            file=sys.stderr,
        )
        return 2
    try:
        module = import_module(chosen.module)
    except ModuleNotFoundError as error:
        if not chosen.extra or str(error.name).startswith("prefill_router"):
            raise
        print(
            f"error: {arguments.subcommand} needs {error.name}, which is not installed:"
            f" in a clone of the repository, pip install '.[{chosen.extra}]'",
            file=sys.stderr,
        )
        return 2
    if asks_for_help:
        print(f"example: {COMMAND} {chosen.example}\n")
    try:
        with plain_warnings():
            status = int(getattr(module, chosen.where.partition(":")[2])(arguments.rest))
        sys.stdout.flush()
    except BrokenPipeError:  # `prefill-router … | head`: whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
