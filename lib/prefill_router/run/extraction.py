"""Activations of a profile: every encoder reads every prompt, and is noted for later notebooks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from prefill_router.data.outcomes import Outcomes
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.store import ActivationStore, store_folder
from prefill_router.run.handover import write_note
from prefill_router.run.workspace import Workspace


def load_by_name(ws: Workspace, name: str) -> Encoder:
    """An encoder of the profile, on its device and in its dtype."""
    profile = ws.profile
    plain = name in profile.plain_prompt
    return load_encoder(name, device=profile.device, dtype=profile.dtype, plain_prompt=plain)


def extract_with(ws: Workspace, encoder: Encoder, outcomes: Outcomes) -> ActivationStore:
    """States of all prompts; a finished store is read, an interrupted one goes on."""
    query_ids, prompts = list(outcomes.queries["query_id"]), outcomes.prompts
    folder = store_folder(ws.activations, encoder, query_ids, prompts)
    started = time.perf_counter()
    batch_tokens = ws.profile.batch_tokens
    store = extract(encoder, query_ids, prompts, folder, batch_tokens=batch_tokens)
    seconds, tokens = time.perf_counter() - started, int(store.tokens.sum())
    print(
        f"{encoder.name}: {encoder.n_layers} layers, d = {encoder.hidden_size}; {tokens:,} tokens"
        f" of {outcomes.n:,} prompts in {seconds:.0f} s ({tokens / seconds:,.0f} tokens/s; near"
        " zero seconds means that the store was already there)"
    )
    return store


def extract_profile(ws: Workspace, first: Encoder, outcomes: Outcomes) -> ActivationStore:
    """States by the profile's encoder, which are returned, and by its further ones; noted."""
    store = extract_with(ws, first, outcomes)
    notes = {first.name: _note(ws, first, store, ws.profile.encoder)}
    write_note(ws, "encoder", notes[first.name])
    for name in ws.profile.more_encoders:
        other = load_by_name(ws, name)
        notes[other.name] = _note(ws, other, extract_with(ws, other, outcomes), name)
        del other
    write_note(ws, "encoders", notes)
    return store


def _note(ws: Workspace, encoder: Encoder, store: ActivationStore, given: str) -> dict[str, Any]:
    return {
        "name": encoder.name,
        "given": given,  # the name by which the profile loads it
        "folder": Path(os.path.relpath(store.folder, ws.build)).as_posix(),
        "params": int(encoder.params),
        "tokens": int(store.tokens.sum()),
    }
