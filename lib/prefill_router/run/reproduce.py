"""Run the notebooks of a profile in order, and only those whose inputs changed.

    python -m prefill_router.run.reproduce --profile local

A notebook is skipped when nothing that shaped it changed: its cells, the library, the profile, the
outcomes, the versions of the libraries, what the notebooks before it wrote, and what it wrote
itself. This is kept as one JSON stamp per notebook in `build/<profile>/stamps`; hashes of contents
and no file times, which a clone scrambles.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefill_router.data.outcomes import OutcomesError
from prefill_router.run.arguments import FOLDERS, OWN_TABLE, command_line, profile_of
from prefill_router.run.headline import headline
from prefill_router.run.kernel import NotebookFailed
from prefill_router.run.notebooks import NotebookError, run
from prefill_router.run.profile import ProfileError
from prefill_router.run.workspace import Workspace, open_workspace


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line(
        "reproduce",
        "Run the notebooks of a profile; unchanged ones are skipped.",
        *("profile", "encoder", *OWN_TABLE, "methods", "device", *FOLDERS),
    )
    parser.add_argument("--notebooks-dir", type=Path, help="another folder than notebooks/")
    parser.add_argument("--notebooks", help="only these numbers, for example 01,03")
    parser.add_argument("--force", action="store_true", help="run them even when nothing changed")
    arguments = parser.parse_args(argv)
    if arguments.prices and not arguments.outcomes:
        parser.error("--prices goes with --outcomes (a profile names its own price list)")
    if arguments.right_from is not None and not (
        arguments.outcomes and 0 < arguments.right_from <= 1
    ):
        parser.error("--right-from is a grade above 0, at most 1, and goes with --outcomes")
    for name in ("prompt", "models"):
        if getattr(arguments, name) is not None and not arguments.outcomes:
            parser.error(f"--{name} goes with --outcomes")
    for given in (arguments.outcomes, arguments.prices):
        if given is not None and not given.is_file():
            parser.error(f"{given}: no such file")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, 1 (a notebook failed), 2 (wrong arguments or files) or 130
    (interrupted).
    """
    arguments = _arguments(argv)

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    previous = (
        signal.signal(signal.SIGTERM, interrupt)
        if threading.current_thread() is threading.main_thread()
        else None
    )
    try:
        parameters = _parameters(arguments)
        _reproduce(arguments, parameters)
        return 0
    except (ProfileError, NotebookError, OutcomesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Finished notebooks are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _parameters(arguments: argparse.Namespace) -> dict[str, str]:
    """What is given to every notebook. Kernels work in the notebooks' folder, so that paths must
    not be relative.
    """
    profile = profile_of(arguments)
    if Path(profile).suffix in (".yaml", ".yml"):
        profile = str(Path(profile).resolve())
    chosen = {
        "profile": profile,
        "encoder": arguments.encoder,
        "device": arguments.device,
        "build_dir": arguments.build_dir,
        "results_dir": arguments.results_dir,
        "figures_dir": arguments.figures_dir,
    }
    return {
        key: str(value.resolve()) if isinstance(value, Path) else value
        for key, value in chosen.items()
        if value is not None
    }


def _reproduce(arguments: argparse.Namespace, parameters: dict[str, str]) -> None:
    workspace = open_workspace(**parameters)
    _run_profile(workspace, arguments, parameters)
    if following := workspace.profile.then:
        print(f"\n{following}:")
        _reproduce(arguments, parameters | {"profile": following})


def _run_profile(
    workspace: Workspace, arguments: argparse.Namespace, parameters: dict[str, str]
) -> None:
    if not workspace.outcomes_folder.is_dir():
        raise ProfileError(
            f"profile {workspace.profile.name}: its outcomes folder {workspace.outcomes_folder}"
            " does not exist."
        )
    executed = run(
        workspace,
        parameters,
        arguments.notebooks_dir and arguments.notebooks_dir.resolve(),
        (
            [part.strip().zfill(2) for part in arguments.notebooks.split(",")]
            if arguments.notebooks
            else None
        ),
        arguments.force,
    )
    print(
        f"\n{headline(workspace)}\n\n{len(executed)} notebook(s) ran. Tables:"
        f" {workspace.results}\nFigures: {workspace.figures}\nExecuted notebooks:"
        f" {workspace.build / 'notebooks'}"
    )


if __name__ == "__main__":
    sys.exit(main())
