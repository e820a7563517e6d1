"""Re-compute a profile from a clean build and compare every number with the committed results.

python -m prefill_router.run.verify --profile local
python -m prefill_router.run.verify --profile local --against other/results/local --bytes
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefill_router.files import project_root
from prefill_router.run import reproduce
from prefill_router.run.arguments import command_line
from prefill_router.run.compare import compare_folders, worst_per_file
from prefill_router.run.profile import Profile, ProfileError
from prefill_router.run.profile_files import load_profile


def recompute(
    profile: Profile, folder: Path, device: str | None = None, source: str | None = None
) -> int:
    """Run all notebooks of a profile into an empty `folder`; weights already downloaded are used
    again.

    Returns
    -------
    Exit status of `reproduce.main`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    arguments = ["--profile", source or profile.name]
    for name in ("build", "results", "figures"):
        arguments += [f"--{name}-dir", str(folder / name)]
    return reproduce.main(arguments + (["--device", device] if device else []))


def _compare_and_print(
    pairs: Sequence[tuple[Path, Path]], rules: Mapping[str, Any], by_bytes: bool
) -> bool:
    good = True
    for committed, new in pairs:
        report = compare_folders(committed, new, rules, by_bytes)
        failures = int((report["problem"] != "").sum())
        good &= not failures and not report.empty
        print(f"\n{committed} against {new}")
        if report.empty:
            print("Nothing to compare: both folders are empty.")
            continue
        print(worst_per_file(report))
        print(
            f"{failures} problem(s)."
            if failures
            else f"{report['file'].nunique()} file(s) agree "
            + ("byte for byte." if by_bytes else "within the tolerances.")
        )
    return good


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, 1 (out of tolerance, missing, extra), 2 (wrong arguments), else the
    run's.
    """
    parser = command_line(
        "verify",
        "Re-compute a profile and compare it with the committed results.",
        *("profile", "device"),
    )
    parser.add_argument("--results", type=Path, help="committed side (default: results/<profile>)")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with this folder; nothing is run"
    )
    parser.add_argument(
        "--bytes", action="store_true", help="equal bytes instead of tolerances; figures too"
    )
    arguments = parser.parse_args(argv)
    try:
        profile = load_profile(arguments.profile, device=arguments.device)
    except ProfileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    root = project_root()
    committed = arguments.results or root / "results" / profile.label
    for folder in filter(None, (committed, arguments.against)):
        if not folder.is_dir():
            print(
                f"error: {folder} does not exist, so there is nothing to compare; "
                f"`make reproduce PROFILE={profile.name}` makes results.",
                file=sys.stderr,
            )
            return 2
    if arguments.against:
        pairs = [(committed, arguments.against)]
    else:
        fresh = root / "build" / "verify"
        source = (
            str(Path(arguments.profile).resolve()) if arguments.profile != profile.name else None
        )
        status = recompute(profile, fresh, arguments.device, source)
        if status:
            return status
        pairs = [(committed, fresh / "results" / profile.label)]
        figures = root / "figures" / profile.label
        if figures.is_dir() and not arguments.results:
            pairs.append((figures, fresh / "figures" / profile.label))
    return 0 if _compare_and_print(pairs, profile.verify, arguments.bytes) else 1


if __name__ == "__main__":
    sys.exit(main())
