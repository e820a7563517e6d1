"""Where an encoder comes from, and its weights on this machine."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from prefill_router.encode.weights import WHEELS, fetch
from prefill_router.files import cache_root, exclusive, known_sha256, require_disk, say, usual_mode


class EncoderError(RuntimeError):
    """An encoder cannot be found, loaded or given a prompt; the message says what to do."""


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder comes from: `kind` wheel, folder, gguf or hub; `location` name, path or Hub
    id.
    """

    kind: str
    name: str
    location: str
    revision: str | None = None
    note: str = ""


def resolve(name: str) -> EncoderSource:
    """Say where an encoder comes from, without loading anything.

    A Hub id always means the Hub's own weights, even if embedded 4-bit weights were made from the
    same network: those are meant by the short name alone (upper or lower case).

    Raises
    ------
    EncoderError
        No such name, file or folder, or a folder without ``config.json``.
    """
    if name.lower() in WHEELS:
        return EncoderSource("wheel", name.lower(), name.lower(), note=WHEELS[name.lower()].note)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix.lower() == ".gguf":
        return EncoderSource("gguf", path.stem, str(path.resolve()))
    if path.is_dir() and (path / "config.json").is_file():
        return EncoderSource("folder", path.resolve().name, str(path.resolve()))
    if path.exists():
        raise EncoderError(
            f"{path} is no encoder: it must be a .gguf file, or a folder with config.json, "
            "the tokenizer's files and the weights as safetensors."
        )
    hub = re.fullmatch(r"(\w[\w.-]*/[\w.-]+)(?:@([\w./-]+))?", name)
    if hub is None or path.suffix.lower() == ".gguf":
        close = difflib.get_close_matches(name.lower(), WHEELS, n=1)
        raise EncoderError(
            f"Unknown encoder {name!r}{f': did you mean {close[0]}?' if close else '.'} Give an"
            f" embedded name ({', '.join(WHEELS)}), an existing folder or .gguf file, or a Hub id"
            " (org/name or org/name@revision)."
        )
    for wheel in WHEELS.values():
        if wheel.hub_id.lower() == hub[1].lower():
            note = (
                f"the Hub's own weights are read; the embedded 4-bit ones are called {wheel.name}"
            )
            return EncoderSource("hub", wheel.hub_id, wheel.hub_id, hub[2], note)
    return EncoderSource("hub", hub[1], hub[1], hub[2])


def weights_identity(name: str, cache_dir: str | os.PathLike | None = None) -> dict[str, str]:
    """What an encoder's fingerprint says of its weights (name; SHA-256 or revision), without
    loading them.
    """
    source = resolve(name)
    return {"name": source.name, **materialise(source, cache_root(cache_dir))[1]}


def dense_folder(gguf: Path, sha256: str, root: Path) -> Path:
    """Folder with the bfloat16 safetensors form of a GGUF file, made on first use and cached under
    `root`.

    It is named after the file's hash and the major version of transformers, whose reading of GGUF
    makes it.
    """
    folder = root / "dense" / f"{sha256[:16]}-transformers{transformers.__version__.split('.')[0]}"
    if folder.is_dir():
        return folder
    with exclusive(folder.with_name(folder.name + ".lock"), f"dequantising {gguf.name}"):
        if folder.is_dir():  # made by the process that we waited for
            return folder
        for stale in folder.parent.glob(
            f".{folder.name}-*"
        ):  # of a killed process: we hold the lock
            shutil.rmtree(stale)
        require_disk(folder.parent, 4 * gguf.stat().st_size, f"the dense form of {gguf.name}")
        say(f"dequantising {gguf.name} to {folder} (once, about a minute)")
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as partial:
            made = Path(partial) / "dense"
            try:
                with quiet():
                    options = {"gguf_file": gguf.name, "trust_remote_code": False}
                    tokenizer = transformers.AutoTokenizer.from_pretrained(
                        str(gguf.parent), **options
                    )
                    network = transformers.AutoModelForCausalLM.from_pretrained(
                        str(gguf.parent),
                        quantization_config=transformers.GgufConfig(dequantize=True),
                        dtype=torch.bfloat16,
                        **options,
                    )
                    network.save_pretrained(made)
                    tokenizer.save_pretrained(made)
            except Exception as error:  # the reader of GGUF raises whatever it stumbles over
                raise EncoderError(
                    f"{gguf} cannot be read as a GGUF network: {first_line(error)} It may be cut"
                    " short, or of an architecture unknown to transformers"
                    f" {transformers.__version__}."
                ) from error
            usual_mode(*made.iterdir())
            for path in made.iterdir():
                with path.open("rb+") as stream:
                    os.fsync(stream.fileno())
            made.rename(folder)
    return folder


def materialise(source: EncoderSource, root: Path) -> tuple[str, dict[str, str]]:
    """Folder or Hub id to load from, and what identifies the weights: their sha256, or the Hub's
    revision.
    """
    if source.kind == "hub":
        asked = source.revision or "main"
        say(f"asking the Hub for {source.location}" + (f" ({source.note})" if source.note else ""))
        try:
            with quiet():
                config = transformers.AutoConfig.from_pretrained(
                    source.location, revision=asked, trust_remote_code=False
                )
        except (OSError, ValueError) as error:
            raise EncoderError(
                f"{source.location} cannot be had from the Hub: {first_line(error)} If there is no"
                f" network or no such id, use an embedded name ({', '.join(WHEELS)}), a folder or a"
                " .gguf file, or set HF_HOME to a copy of the Hub's cache that has its files."
            ) from error
        return source.location, {"revision": getattr(config, "_commit_hash", None) or asked}
    path = fetch(source.location, root) if source.kind == "wheel" else Path(source.location)
    stamps = root / "stamps" / hashlib.sha256(str(path).encode()).hexdigest()[:16]
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(path.glob("*")):
            if file.suffix in (".safetensors", ".json", ".jinja", ".txt", ".model"):
                digest.update(f"{file.name} {known_sha256(file, stamps / file.name)}\n".encode())
        return str(path), {"sha256": digest.hexdigest()}
    pinned = WHEELS[source.location].files[0].sha256 if source.kind == "wheel" else None
    sha256 = pinned or known_sha256(path, stamps / path.name)
    return str(dense_folder(path, sha256, root)), {"sha256": sha256}


def first_line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith((".", "!", "?")) else line + "."


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and loading reports; what matters in them is checked and told by the
    caller.
    """
    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader's bar has no other switch
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
