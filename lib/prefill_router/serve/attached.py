"""The encoders of a router: what is noted of them in training, and loading the same ones again."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.prefill import Prefill
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.sources import EncoderError
from prefill_router.encode.store import ActivationStore
from prefill_router.serve.routed import RouterError

# What must agree between the encoder of the training and the one at hand. The dtype should: an
# encoder that is loaded by name gets that of the training, with one that is given in another dtype
# P(correct) differs by some hundredths, and a warning says so.
_IDENTITY = ("sha256", "revision", "template_sha256", "template_date")


@dataclass(frozen=True)
class Attached:
    """A loaded encoder, and its prefill with the hooks in place."""

    encoder: Encoder
    prefill: Prefill


def note_of(store: ActivationStore) -> dict[str, Any]:
    """What a router keeps of the encoder that a store was made with."""
    revision = store.fingerprint.get("revision")
    return {
        "fingerprint": store.fingerprint,
        # a Hub id alone stands for whatever is newest
        "name": f"{store.encoder_name}@{revision}" if revision else store.encoder_name,
        "n_layers": store.n_layers,
        "hidden_size": store.hidden_size,
        # an encoder without a template read plain prompts
        "plain_prompt": store.fingerprint.get("template_sha256", "") is None,
    }


def attach(
    owner: Any,
    names: Sequence[str],
    notes: Sequence[Mapping[str, Any]],
    given: Encoder | str | Mapping[str, Encoder | str] | None,
    device: str,
) -> dict[str, Attached]:
    """The encoders of these notes, given or loaded by name; their hooks stay as long as ``owner``,
    a router, and pool what its method reads.

    Raises
    ------
    RouterError
        An encoder that cannot be loaded or is another one; one encoder given for several.
    """
    if given is not None and not isinstance(given, Mapping):
        if len(names) > 1:
            raise RouterError(
                f"the router reads {len(names)} encoders; give them by name: {', '.join(names)}"
            )
        given = {names[0]: given}
    if unknown := sorted(set(given or {}) - set(names)):
        raise RouterError(
            f"the router does not read {', '.join(unknown)}; its encoders are {', '.join(names)}"
        )
    found = {}
    for name, note in zip(names, notes, strict=True):
        encoder = _checked((given or {}).get(name), note, device)
        prefill = Prefill(encoder).__enter__()
        weakref.finalize(owner, prefill.__exit__)
        prefill.agree_on(render_prompt(encoder, "x"))
        prefill.reads = frozenset(owner.fitted.reads(encoder.n_layers))
        found[name] = Attached(encoder, prefill)
    return found


def _checked(encoder: Encoder | str | None, note: Mapping[str, Any], device: str) -> Encoder:
    """The encoder of a note: loaded where it is none or a name, refused where it is another one."""
    dtype = note["fingerprint"].get("dtype", "auto")
    if encoder is None or isinstance(encoder, str):
        name = encoder or note["name"]
        try:
            encoder = load_encoder(
                name, device=device, dtype=dtype, plain_prompt=note["plain_prompt"]
            )
        except EncoderError as error:
            raise RouterError(
                f"the encoder {name} cannot be loaded ({error}); pass encoder= (on the command line"
                " --encoder), the folder, file or name that it has here"
            ) from error
    differs = [k for k in _IDENTITY if encoder.fingerprint.get(k) != note["fingerprint"].get(k)]
    if differs:
        raise RouterError(
            f"the encoder {encoder.name} is not the one that this router was trained with"
            f" ({note['name']}): {', '.join(differs)} differ. Give it that encoder, or train a"
            " router for this one"
        )
    if (found := str(encoder.dtype).removeprefix("torch.")) != dtype != "auto":
        warnings.warn(
            f"the router was trained on {dtype} states and the encoder computes in {found}:"
            " P(correct) may differ by some hundredths",
            stacklevel=4,
        )
    return encoder
