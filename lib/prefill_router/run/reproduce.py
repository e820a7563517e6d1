"""Run the notebooks of a profile in order, and only those whose inputs changed.

    python -m prefill_router.run.reproduce --profile local

A notebook is skipped when nothing that shaped it changed: its cells, the library, the profile, the
outcomes, the versions of the libraries, what the notebooks before it wrote, and what it wrote
itself. This is kept as one JSON stamp per notebook in `build/<profile>/stamps`; hashes of contents
and no file times, which a clone scrambles.

A run computes into `build/<profile>`; its tables and figures are then compared with the published
ones of `results/` and `figures/`, and take their place where they do not agree (`run.publish`).
"""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.run.arguments import FOLDERS, OWN_TABLE, command_line, profile_of, wrong_options
from prefill_router.run.headline import TABLES, WIDTH, headline, headline_tables, largest_difference
from prefill_router.run.kernel import NotebookFailed
from prefill_router.run.notebooks import NotebookError, Ran, run
from prefill_router.run.profile import ProfileError
from prefill_router.run.progress import logged, say_at_once
from prefill_router.run.publish import differing_inputs, publish
from prefill_router.run.reproduced import details, outcome
from prefill_router.run.workspace import Workspace, open_workspace


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line(
        "reproduce",
        "Run the notebooks of a profile; unchanged ones are skipped.",
        *("profile", "encoder", *OWN_TABLE, "methods", "device", *FOLDERS),
    )
    parser.add_argument("--notebooks-dir", type=Path, help="another folder than notebooks/")
    parser.add_argument(
        "--notebooks",
        help="only these numbers, such as 12,13; what they read must be there, else it is named",
    )
    parser.add_argument("--force", action="store_true", help="run them even when nothing changed")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="publish everything that the run made, also what agrees with the published files",
    )
    arguments = parser.parse_args(argv)
    if wrong := wrong_options(arguments, arguments.outcomes):
        parser.error("; ".join(wrong))
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
    say = logged(workspace.build / "reproduce.log", say_at_once)
    say(f"Profile {workspace.profile.label}; log: {shown(workspace.build / 'reproduce.log')}")
    ran = run(
        workspace,
        parameters,
        arguments.notebooks_dir and arguments.notebooks_dir.resolve(),
        (
            [part.strip().zfill(2) for part in arguments.notebooks.split(",")]
            if arguments.notebooks
            else None
        ),
        arguments.force,
        say,
    )
    _publish_and_tell(workspace, ran, arguments.accept, say)


def _publish_and_tell(
    workspace: Workspace, ran: Ran, accept: bool, say: Callable[[str], None]
) -> None:
    """Publish what a run made, and say what it found and whether it came out again."""
    before, inputs = _published_tables(workspace), differing_inputs(workspace, ran)
    done = publish(workspace, ran, accept, say)
    say(f"\n{headline(workspace)}\n\n{len(ran.executed)} notebook(s) ran.")
    if done.comparison is not None:
        now = {
            name: pd.read_csv(workspace.results / f"{name}.csv")
            for name in before
            if (workspace.results / f"{name}.csv").is_file()
        }
        difference = largest_difference(before, headline_tables(now))
        told = f"{workspace.profile.label}: {outcome(done.comparison, difference)}."
        say(textwrap.fill(told, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    for line in details(done, inputs):
        say(line)
    if not done.new and not done.replaced:
        say("No published table or figure was touched.")
    say("To open next:")
    for what, path in (
        ("the verdict in words", workspace.published_results / "report.md"),
        ("all tables", workspace.published_results / "summary.md"),
        ("figures", workspace.published_figures),
        ("executed notebooks", workspace.build / "notebooks"),
    ):
        if path.exists():
            say(f"  {what:<22}{shown(path)}")


def _published_tables(workspace: Workspace) -> dict[str, pd.DataFrame]:
    """The published tables that hold headline numbers, read before they may be replaced."""
    paths = {name: workspace.published_results / f"{name}.csv" for name in TABLES}
    return {name: pd.read_csv(path) for name, path in paths.items() if path.is_file()}


def shown(path: Path) -> str:
    """A path as short as it goes from the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
