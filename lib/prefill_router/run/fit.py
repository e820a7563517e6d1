"""Train a router on a table of one's own and save it, without notebooks.

prefill-router fit my.csv --prices my_prices.yaml --out my-router
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefill_router.files import WeightsError, cache_root
from prefill_router.heads.names import METHODS
from prefill_router.run.arguments import OWN_TABLE, command_line, wrong_options
from prefill_router.run.plan import plan_lines
from prefill_router.run.profile import Profile
from prefill_router.run.subcommands import COMMAND
from prefill_router.run.workspace import Workspace

# `--help` and wrong options are answered before what takes seconds to import.
if TYPE_CHECKING:
    from prefill_router.serve.router import Router

ENCODER = "smollm2-135m-instruct"  # embedded: comes from the package index, runs on a CPU


def own_profile(arguments: argparse.Namespace) -> Profile:
    """The profile of a table, with the settings that `reproduce --outcomes` gives one."""
    prices = arguments.prices
    return Profile(
        name=arguments.table.stem,
        outcomes=str(arguments.table.resolve()),
        encoder=arguments.encoder,
        sentence_encoder="all-minilm-l6-v2",
        device=arguments.device or "auto",
        dtype=arguments.dtype,
        component_sizes=(10, 25, 50, 100, 150, 200, 300),  # the small ones for small tables
        methods=("paper", "ours"),
        prices=None if prices is None else str(prices.resolve()),
        right_from=0.5 if arguments.right_from is None else arguments.right_from,
        prompt=arguments.prompt,
        models=tuple(arguments.models or ()),
        label=arguments.table.stem,
    )


def fit_table(profile: Profile, build: Path, method: str = "ours") -> Router:
    """Read the table, read its prompts with the encoder, train on all of them, choose plans.

    Parameters
    ----------
    profile : as `own_profile` makes it
    build : folder
        Keeps the table as it was read and the states of its prompts: an interrupted reading goes
        on where it stopped.
    method : one of ``METHODS``

    Raises
    ------
    OutcomesError
        What cannot be used of the table and its prices, all of it at once and before the encoder
        reads anything; that fewer than two targets have a cost, too.
    """
    from prefill_router.data.outcome_files import load_outcomes
    from prefill_router.heads.fit import FitSettings
    from prefill_router.run.extraction import extract_with, load_by_name
    from prefill_router.serve.router import Router

    workspace = Workspace(profile, build, build, build)
    outcomes = load_outcomes(workspace.own_folder(routed=True))
    encoder = load_by_name(workspace, profile.encoder)
    store = extract_with(workspace, encoder, outcomes)
    # its protocol asks for fields that can be written, and a profile is frozen
    settings = FitSettings.of(profile)  # type: ignore[arg-type]
    return Router.fit(outcomes, store, method=method, settings=settings)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    own = [name for name in OWN_TABLE if name != "outcomes"]
    parser = command_line(
        "fit",
        "Train a router on a table of your own (question, model, isCorrect, and output_tokens or"
        " cost_usd) and write it into a folder, which `route` and `plan` read.",
        *(*own, "device"),
    )
    parser.add_argument(
        "--encoder",
        default=ENCODER,
        help="what reads the prompts: an embedded name, a Hub id, a folder or a .gguf file"
        f" (default: {ENCODER})",
    )
    parser.add_argument(
        "table", type=Path, metavar="TABLE", help=".csv, .tsv, .json, .jsonl or .parquet"
    )
    parser.add_argument(
        "--method", default="ours", choices=METHODS, help="what is trained (default: ours)"
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="of the encoder; other projects read in float32 (default: what suits the machine)",
    )
    parser.add_argument("--out", type=Path, help="the router's folder (default: TABLE-router)")
    parser.add_argument(
        "--build-dir",
        type=Path,
        help="where the states of the prompts are kept (default: in the cache, ~/.cache)",
    )
    arguments = parser.parse_args(argv)
    arguments.out = arguments.out or Path(f"{arguments.table.stem}-router")
    wrong = wrong_options(arguments, arguments.table)
    # training takes minutes to hours: a router that cannot be written is told before
    if in_the_way := [path for path in (arguments.out, *arguments.out.parents) if path.is_file()]:
        wrong.append(f"--out: {in_the_way[0]} is a file; give the router a folder of its own")
    if wrong:
        parser.error("; ".join(wrong))
    return arguments


def asking(out: Path, encoder: str) -> str:
    """The command that asks a router; a folder or file of an encoder must be named again, since a
    router keeps what identifies an encoder and not where it lies.
    """
    from prefill_router.encode.sources import resolve

    named = resolve(encoder).kind in ("folder", "gguf")
    where = f" --encoder {shlex.quote(encoder)}" if named else ""
    return f'{COMMAND} route {shlex.quote(str(out))}{where} "…"'


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 for what cannot be used."""
    arguments = _arguments(argv)
    from prefill_router.encode.pooling import ActivationError
    from prefill_router.encode.sources import EncoderError

    build = arguments.build_dir or cache_root() / "tables"
    out = arguments.out
    try:
        router = fit_table(own_profile(arguments), build, arguments.method)
        router.save(out)
    except (ValueError, ActivationError, EncoderError, WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{out}: {arguments.method}, trained on {router.trained_on} queries")
    print("\n".join(plan_lines(router)))
    print(f"\nTo ask it: {asking(out, arguments.encoder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
