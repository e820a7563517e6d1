"""What an encoder reads for a prompt: its chat template, with the date pinned."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefill_router.data.texts import whole
from prefill_router.encode.network import Encoder
from prefill_router.encode.sources import EncoderError

# What a chat template that writes today's date is told instead: the same prompt gives the same
# states on every day.
PINNED_DATE = datetime(2026, 1, 1)


_PROBE = "  What is 2 + 3?\n"  # with space around it, which templates treat differently


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


def template_identity(tokenizer: Any, plain_prompt: bool) -> dict[str, str | None]:
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


def render_prompts(encoder: Encoder, prompts: Sequence[str]) -> list[list[int] | EncoderError]:
    """As `render_prompt` for many prompts, which the tokenizer takes together, on all cores; in
    place of a prompt that cannot be read stands the error.
    """
    found: list[Any] = []
    for prompt in prompts:
        try:
            found.append(render_text(encoder, prompt))
        except EncoderError as error:
            found.append(error)
    at = [i for i, text in enumerate(found) if isinstance(text, str)]
    if at:
        texts = [found[i] for i in at]
        tokens = encoder.tokenizer(texts, add_special_tokens=encoder.plain_prompt)["input_ids"]
        for i, ids in zip(at, tokens, strict=True):
            try:
                check_prompt_length(encoder, ids)
                found[i] = ids
            except EncoderError as error:
                found[i] = error
    return found


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
