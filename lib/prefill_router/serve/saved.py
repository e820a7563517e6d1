"""A router as two files: `router.json` and `router.safetensors`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from prefill_router import __version__
from prefill_router.files import replacing
from prefill_router.heads.fit import FEATURES, HEADS, METHODS, Fitted
from prefill_router.serve.routed import RoutedTarget, RouterError

FORMAT = 4
_OF_FEATURES = "features."
_OF_ENCODER = ("fingerprint", "name", "n_layers", "hidden_size", "plain_prompt")


@dataclass(frozen=True)
class RouterParts:
    """What a router is made of; ``encoders`` has a note for each that it reads, ``plans`` is what
    `serve.planned.Plans.as_json` gives, ``tidy_prompts`` says whether all prompts of the training
    were as `data.texts.tidy` has them.
    """

    fitted: Fitted
    targets: Sequence[RoutedTarget]
    cost_unit: str
    trained_on: int
    encoders: Sequence[Mapping[str, Any]]
    plans: Mapping[str, Any] | None = None
    tidy_prompts: bool = False


def write_router(parts: RouterParts, folder: str | Path) -> Path:
    """Write both files, `router.json` last, with the other's SHA-256; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fitted = parts.fitted
    tensors, head = fitted.head.state()
    meta = {
        "format": FORMAT,
        "library": __version__,
        "method": fitted.method,
        "encoders": list(parts.encoders),
        "cost_unit": parts.cost_unit,
        "trained_on": parts.trained_on,
        "tidy_prompts": parts.tidy_prompts,
        "targets": [asdict(target) for target in parts.targets],
        "head": head,
        "plans": parts.plans,
    }
    if fitted.features is not None:
        of_features, meta["features"] = fitted.features.state()
        tensors = tensors | {_OF_FEATURES + name: array for name, array in of_features.items()}
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    with replacing(folder / "router.safetensors") as temporary:
        temporary.write_bytes(data)
    meta["sha256"] = hashlib.sha256(data).hexdigest()
    with replacing(folder / "router.json") as temporary:
        temporary.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    return folder


def read_router(folder: str | Path) -> RouterParts:
    """Read what `write_router` wrote.

    Raises
    ------
    RouterError
        No router there, another format, damaged or incomplete files.
    """
    folder = Path(folder)
    meta, tensors = _read_files(folder)
    try:
        return _parts(folder, meta, tensors)
    except RouterError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _incomplete(folder, error) from error


def _incomplete(folder: Path, error: Exception) -> RouterError:
    return RouterError(
        f"{folder} is incomplete ({type(error).__name__}: {error}); save the router again"
    )


def _read_files(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        meta = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        data = (folder / "router.safetensors").read_bytes()
    except FileNotFoundError as error:
        raise RouterError(
            f"{error.filename} does not exist; a router is a folder with router.json and"
            " router.safetensors"
        ) from None
    except ValueError as error:
        raise RouterError(
            f"{folder / 'router.json'} is damaged ({error}); save the router again"
        ) from None
    found = meta.get("format") if isinstance(meta, dict) else meta
    if not isinstance(meta, dict) or found != FORMAT:
        written = found if isinstance(meta, dict) else repr(found)
        raise RouterError(
            f"{folder / 'router.json'} has format {written}, this library reads {FORMAT}; train the"
            " router again"
        )
    if hashlib.sha256(data).hexdigest() != meta.get("sha256"):
        raise RouterError(
            f"{folder / 'router.safetensors'} is not the file that router.json was written for;"
            " copy both again"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise _incomplete(folder, error) from error
    if broken := [name for name, array in tensors.items() if np.isnan(array).any()]:
        raise RouterError(
            f"{folder / 'router.safetensors'} holds NaN in {', '.join(broken)}; train the router"
            " again"
        )
    return meta, tensors


def _parts(folder: Path, meta: dict[str, Any], tensors: dict[str, np.ndarray]) -> RouterParts:
    targets = [RoutedTarget(**target) for target in meta["targets"]]
    method = meta["method"]
    if method not in METHODS:
        raise RouterError(
            f"{folder / 'router.json'} has method {method!r}; known: {', '.join(METHODS)}"
        )
    head, features = HEADS[method].from_state(tensors, meta["head"]), FEATURES[method]
    if features is not None:
        of_features = {
            name.removeprefix(_OF_FEATURES): array
            for name, array in tensors.items()
            if name.startswith(_OF_FEATURES)
        }
        features = features.from_state(of_features, meta["features"])
    lacking = {key for note in meta["encoders"] for key in _OF_ENCODER if key not in note}
    if lacking:
        raise RouterError(
            f"{folder / 'router.json'}: an encoder lacks {', '.join(sorted(lacking))}"
        )
    if len(targets) != head.n_targets:
        raise RouterError(
            f"{folder / 'router.json'} names {len(targets)} targets, the head has {head.n_targets}"
        )
    # the kernel router knows its encoders by the names of the training
    encoders = tuple(meta["head"].get("encoders", (note["name"] for note in meta["encoders"])))
    names = tuple(target.name for target in targets)
    fitted = Fitted(method, encoders, names, features, head)
    known = (meta["cost_unit"], meta["trained_on"], meta["encoders"], meta.get("plans"))
    # files of before have no such note, and their prompts are read as they come
    return RouterParts(fitted, targets, *known, tidy_prompts=meta.get("tidy_prompts") is True)
