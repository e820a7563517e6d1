"""The profile of a table of one's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from prefill_router.files import project_root, replacing
from prefill_router.run.profile import METHODS, ProfileError, suggest
from prefill_router.run.profile_files import load_profile, profile_names


def write_own_profile(
    outcomes: Path,
    prices: Path | None,
    folder: Path,
    right_from: float | None = None,
    prompt: str | None = None,
    models: Sequence[str] = (),
) -> Path:
    """Write the profile of a table of one's own, named after the file: the settings of `local` with
    `paper` and `ours`.

    Returns
    -------
    Path of the YAML file, which `load_profile` reads.
    """
    name = re.sub(r"[^a-z0-9_]+", "_", outcomes.stem.lower()).strip("_") or "own"
    if name in profile_names():
        name = f"own_{name}"
    # another table of the same name gets results of its own
    taken = folder / f"{name}.yaml"
    if taken.is_file() and yaml.safe_load(taken.read_text(encoding="utf-8"))["outcomes"] != str(
        outcomes.resolve()
    ):
        name += "_" + hashlib.sha256(str(outcomes.resolve()).encode()).hexdigest()[:6]
    content = yaml.safe_load((project_root() / "config" / "local.yaml").read_text(encoding="utf-8"))
    content |= {
        "name": name,
        "description": f"The outcomes of {outcomes.name}.",
        "outcomes": str(outcomes.resolve()),
        "methods": ["paper", "ours"],
    }
    content["component_sizes"] = [10, 25, *content["component_sizes"]]  # for small tables
    content.pop("verify", None)
    if right_from is not None:
        content["right_from"] = right_from
    if prompt is not None:
        content["prompt"] = prompt
    if models:
        content["models"] = list(models)
    if prices is not None:
        content["prices"] = str(prices.resolve())
    with replacing(folder / f"{name}.yaml") as temporary:
        temporary.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return folder / f"{name}.yaml"


def write_profile_of_methods(profile: str, methods: Sequence[str], folder: Path) -> Path:
    """Write a profile that trains these methods and is otherwise as another: that of a name, or of
    a file. Its name, and that of its folders, has the methods in it.

    Returns
    -------
    Path of the YAML file.

    Raises
    ------
    ProfileError
        An unknown profile or method, or a choice that a profile cannot have.
    """
    for method in methods:
        if method not in METHODS:
            raise ProfileError(f"there is no method '{method}'{suggest(method, METHODS)}")
    base = load_profile(profile)
    content = {k: v for k, v in base.as_dict().items() if k != "label"}
    content |= {"name": "_".join([base.name, *methods]), "methods": list(methods)}
    path = folder / f"{content['name']}.yaml"
    with replacing(path) as temporary:
        temporary.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    load_profile(str(path))
    return path
