"""Reading profiles from `config/`, all problems of a file told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from prefill_router.files import project_root
from prefill_router.run.profile import Profile, ProfileError, plain, suggest
from prefill_router.run.profile_types import Ensemble


def profile_names(config_dir: str | Path | None = None) -> list[str]:
    """Names of the profiles in `config/`; other YAML files there (no `encoder` key) are not
    profiles.
    """
    folder = Path(config_dir) if config_dir else project_root() / "config"
    found = []
    for path in sorted(folder.glob("*.yaml")):
        if re.search(r"^encoder:", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(path.stem)
    return found


def load_profile(name: str, config_dir: str | Path | None = None, **overrides: Any) -> Profile:
    """Read and check one profile.

    Parameters
    ----------
    name : a profile of `config/`, or the path of a `.yaml` file of your own.
    config_dir : folder of the profiles; None for the project's.
    overrides : keys that replace those of the file; None means "as in the file".

    Raises
    ------
    ProfileError
        Unknown profile or key (with the nearest known one), missing key, or a value that cannot be
        used; all problems of a file at once.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = profile_names(config_dir)
        if name not in known:
            raise ProfileError(f"there is no profile '{name}'{suggest(name, known)}")
        path = (Path(config_dir) if config_dir else project_root() / "config") / f"{name}.yaml"
    elif not path.is_file():
        raise ProfileError(f"there is no profile file {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: expected `key: value` lines.")
    own_encoder = content.get("encoder")
    content = content | {key: plain(value) for key, value in overrides.items() if value is not None}
    label = str(content.get("name"))
    if content.get("encoder") != own_encoder:
        name = str(content.get("encoder")).rstrip("/").split("/")[-1].lower()
        label += "--" + re.sub(r"[^a-z0-9.]+", "-", name).strip("-")
    problems = [f"unknown key 'label'{suggest('label', [])}"] if "label" in content else []
    if "name" in content and content["name"] != path.stem:
        problems.append(
            f"'name' is {content['name']!r} but the file is called {path.name}; make them agree."
        )
    try:
        profile = TypeAdapter(Profile).validate_python({**content, "label": label})
    except ValidationError as error:
        problems = _problems(error, content) + problems
    if problems:
        raise ProfileError("\n".join(f"{path}: {problem}" for problem in problems))
    return profile


def _problems(error: ValidationError, content: Mapping[str, Any]) -> list[str]:
    """What pydantic found, in the words of the profile: one line per key."""
    known = {f.name: f for f in fields(Profile) if f.name != "label"}
    words = TypeAdapter(Profile).json_schema()["properties"]
    found: dict[str, str] = {}
    for problem in error.errors():
        key, *inner = (str(part) for part in problem["loc"])
        if problem["type"] == "missing":
            text = f"the key '{key}' is missing; it must be {words[key]['description']}."
        elif key not in known:
            text = f"unknown key '{key}'{suggest(key, list(known))}"
        elif problem["type"] == "extra_forbidden" and key == "ensemble":
            hint = suggest(inner[0], list(Ensemble.__annotations__))
            text = f"ensemble: unknown key '{inner[0]}'{hint}"
        elif key == "ensemble":
            at = f"'{inner[0]}': " if inner else ""
            text = f"ensemble: {at}{problem['msg']}; got {problem['input']!r}."
        else:
            text = f"'{key}' must be {words[key]['description']}; got {content[key]!r}."
        found.setdefault(text, key)
    return list(found)
