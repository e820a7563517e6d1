"""The smoke profile as tests run it."""

from pathlib import Path

from prefill_router.run import reproduce


def reproduce_smoke(folder: Path, *more: str) -> int:
    """Run it with all its folders below `folder`; the status of the run."""
    return reproduce.main(
        [
            "--profile",
            "smoke",
            *(f"--{name}-dir={folder / name}" for name in ("build", "results", "figures")),
            *more,
        ]
    )
