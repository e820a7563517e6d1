"""The options that several command lines have, each said once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from prefill_router.files import option, project_root
from prefill_router.run.own_profile import write_own_profile, write_profile_of_methods
from prefill_router.run.profile import DEFAULT, METHODS
from prefill_router.run.subcommands import COMMAND, SUBCOMMANDS

OWN_TABLE = ("outcomes", "prices", "right-from", "prompt", "models")
FOLDERS = ("build-dir", "results-dir", "figures-dir")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


OPTIONS: dict[str, dict[str, Any]] = {
    "profile": {
        "default": DEFAULT,
        "help": f"profile of config/, or a YAML file (default: {DEFAULT})",
    },
    "outcomes": {
        "type": Path,
        "help": "a table of your own instead of a profile: .csv, .tsv, .json, .jsonl or .parquet",
    },
    "prices": {"type": Path, "help": "prices of its models per million tokens, a YAML file"},
    "right-from": {
        "type": float,
        "help": "from which grade on an answer of that table is right (default: 0.5)",
    },
    "prompt": {
        "help": "template that joins columns of that table to the prompt, such as"
        ' "{context}\\n\\n{question}"'
    },
    "models": {
        "type": _names,
        "help": "the models of that table to keep, with commas between; says which columns of a"
        " wide one are models",
    },
    "methods": {
        "type": _names,
        "help": f"the methods to train, with commas between: paper, and any of {', '.join(METHODS)}"
        " (the kernel router `ours` is always trained); the results get folders of their own",
    },
    "encoder": {"help": "another encoder than the profile's; its results get folders of their own"},
    "device": {"help": "auto, cpu, mps, cuda or cuda:N"},
    "build-dir": {"type": Path, "help": "another folder than build/"},
    "results-dir": {"type": Path, "help": "another folder than results/"},
    "figures-dir": {"type": Path, "help": "another folder than figures/"},
}


def command_line(module: str, description: str, *options: str) -> argparse.ArgumentParser:
    """The parser of a module's command line, with some of `OPTIONS`; what is not given is None,
    or the default of the option.
    """
    known = module in SUBCOMMANDS
    parser = argparse.ArgumentParser(
        prog=f"{COMMAND} {module}" if known else f"python -m prefill_router.run.{module}",
        allow_abbrev=False,
        description=description,
    )
    for name in options:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    return parser


def wrong_options(arguments: argparse.Namespace, table: Path | None) -> list[str]:
    """What is wrong with the options of a table of one's own, all of it; None for no table."""
    given = {
        name: value
        for name in OWN_TABLE[1:]
        if (value := getattr(arguments, name.replace("-", "_"))) is not None
    }
    wrong = []
    if table is None:
        wrong += [
            f"--{name} goes with --outcomes (with make: {name.upper().replace('-', '_')}= with"
            " OUTCOMES=); a profile names its own"
            for name in given
        ]
    if "right-from" in given and not 0 < given["right-from"] <= 1:
        wrong.append(f"{option('right-from')} is a grade above 0, at most 1")
    wrong += [
        f"{path}: no such file"
        for path in (table, given.get("prices"))
        if path is not None and not path.is_file()
    ]
    return wrong


def profile_of(arguments: argparse.Namespace) -> str:
    """The profile that was asked for: its name, or the file that is written here for a table of
    one's own (`OWN_TABLE`) or for chosen methods.

    Raises
    ------
    ProfileError
        An unknown profile or method.
    """
    folder = (arguments.build_dir or project_root() / "build") / "own"
    methods, profile = getattr(arguments, "methods", None), arguments.profile
    if arguments.outcomes:
        own = write_own_profile(
            arguments.outcomes,
            arguments.prices,
            folder,
            arguments.right_from,
            arguments.prompt,
            arguments.models or (),
        )
        profile = str(own)
    return profile if methods is None else str(write_profile_of_methods(profile, methods, folder))
