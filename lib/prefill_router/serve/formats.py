"""What writes a router in the formats of serving projects; `docs/formats.md` has every field.
`export` asks these writers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from prefill_router.serve.router import Router
from prefill_router.serve.switchyard import write_switchyard, write_switchyard_json
from prefill_router.serve.toolkit import write_toolkit


def _own(router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None) -> list[str]:
    router.save(folder)
    return ["router.json", "router.safetensors"]


# Format: what writes it, and the methods whose routers it can hold.
FORMATS: dict[
    str, tuple[Callable[[Router, Path, str, Mapping[str, str] | None], list[str]], tuple[str, ...]]
] = {
    "own": (_own, ("ours", "paper", "shared_block", "adapter_trunk")),
    "toolkit": (write_toolkit, ("paper", "shared_block")),
    "switchyard": (write_switchyard, ("adapter_trunk",)),
    "switchyard_json": (write_switchyard_json, ("shared_block",)),
}
