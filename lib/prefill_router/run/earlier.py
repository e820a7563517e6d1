"""What a notebook says where an earlier one has not run: which, and the command that runs them."""

from __future__ import annotations

from pathlib import Path

from prefill_router.files import project_root
from prefill_router.run.profile import Profile

# Notebooks that have to run, in this order, before something that is handed on is there.
NEEDED = {
    "splits": ("01",),
    "states": ("01", "02"),
    "layers": ("01", "02", "03"),
    "predictions": ("01", "02", "03", "04", "05"),
    "out-of-fold predictions": ("01", "02", "03", "04", "12"),
}


class NotRunYet(FileNotFoundError):
    """What an earlier notebook writes is not there; the message says which to run, and how."""


def not_run_yet(profile: Profile, missing: Path, what: str) -> NotRunYet:
    """That something of `NEEDED` is missing."""
    numbers = NEEDED[what]
    before = f", after {', '.join(numbers[:-1])}" if len(numbers) > 1 else ""
    return NotRunYet(
        f"{missing} is not there ({what}): run notebook {numbers[-1]} first{before}:\n"
        f"  {make_command(profile)} NOTEBOOKS={','.join(numbers)}\n"
        "What did not change is skipped. Without NOTEBOOKS= all of the profile runs."
    )


def make_command(profile: Profile) -> str:
    """The call of make that runs a profile, also one of a table of one's own."""
    table = project_root() / profile.outcomes
    if table.is_file():
        given = {
            "OUTCOMES": table,
            "PRICES": profile.prices,
            "RIGHT_FROM": profile.right_from if profile.right_from != 0.5 else None,
            "PROMPT": profile.prompt,
            "MODELS": ",".join(profile.models),
        }
        options = [f"{name}='{value}'" for name, value in given.items() if value]
    else:
        options = [f"PROFILE={profile.name}"]
    if "--" in profile.label:
        options.append(f"ENCODER={profile.encoder}")
    return " ".join(["make reproduce", *options])
