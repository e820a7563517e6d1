"""What all exports share: names of targets, the dtype, errors."""

from __future__ import annotations

from prefill_router.serve.router import Router


class ExportError(ValueError):
    """A router that a format cannot hold; the message says why and what to do."""


def dtype_of(router: Router) -> str:
    """The dtype of the states that the router was trained on."""
    return router.encoder_note["fingerprint"].get("dtype", "unknown")


def parse_names(text: str) -> dict[str, str]:
    """The mapping that ``"ours=theirs,ours=theirs"`` writes out: target name to the name that
    another project gives it.

    Raises
    ------
    ExportError
        A part without ``=``, an empty name, a target that is named twice.
    """
    names: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (piece.strip() for piece in part.rpartition("="))
        if not (ours and equals and theirs):
            raise ExportError(f"NAMES: {part.strip()!r} is not of the form ours=theirs")
        if ours in names:
            raise ExportError(f"NAMES: the target {ours!r} is named twice")
        names[ours] = theirs
    return names
