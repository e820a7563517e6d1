"""Counting tokens with cl100k, and cutting prompts by them; the vocabulary is taken from a wheel
where its own address is out of reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prefill_router.downloads import download_wheel
from prefill_router.files import WeightsError, cache_root, exclusive, say

if TYPE_CHECKING:
    import tiktoken

# tiktoken's own name for the file in its cache, and the SHA-256 that tiktoken itself asks for
_NAME = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_WHEEL = "litellm==1.55.3"
_GAP = "\n[...]\n"  # for what is cut out


def count_tokens(texts: Iterable[str]) -> list[int]:
    """Number of cl100k tokens of every text; special tokens are read as ordinary text.

    Raises
    ------
    WeightsError
        The vocabulary can neither be found in the cache nor be downloaded.
    """
    return [
        len(tokens)
        for tokens in _encoding().encode_ordinary_batch(
            list(texts), num_threads=os.cpu_count() or 1
        )
    ]


def cut_texts(texts: Iterable[str], most: int) -> list[str]:
    """Texts of at most about `most` cl100k tokens: of a longer one the first and the last half of
    them, with ``[...]`` on a line of its own between.

    A question is asked at the beginning or at the end; what lies between is mostly code, logs and
    examples.

    Raises
    ------
    WeightsError
        As of `count_tokens`; the vocabulary is needed only where a text is long.
    """
    texts = list(texts)
    long = [i for i, text in enumerate(texts) if len(text.encode()) > most]  # a token has a byte
    if not long:
        return texts
    encoding = _encoding()
    for i in long:
        tokens = encoding.encode_ordinary(texts[i])
        if len(tokens) > most:
            tail = most // 2
            # a token may hold half a sign: what is left of that is dropped
            head, end = (
                encoding.decode(part, errors="ignore")
                for part in (tokens[: most - tail], tokens[len(tokens) - tail :])
            )
            texts[i] = head + _GAP + end
    return texts


def _encoding() -> tiktoken.Encoding:
    import tiktoken

    with _tiktoken_cache(_vocabulary()):
        return tiktoken.get_encoding("cl100k_base")


@contextlib.contextmanager
def _tiktoken_cache(folder: Path) -> Iterator[None]:
    """Let tiktoken look for its files in `folder`, and leave the environment as it was."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def _vocabulary() -> Path:
    """Folder with the vocabulary; read out of a wheel, which is neither installed nor imported."""
    folder = cache_root() / "tiktoken"
    file = folder / _NAME
    with exclusive(folder.with_name("tiktoken.lock"), "fetching cl100k"):
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == _SHA256:
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        say(f"cl100k: downloading {_WHEEL}")
        with tempfile.TemporaryDirectory() as temporary:
            said = download_wheel(_WHEEL, Path(temporary))
            wheels = list(Path(temporary).glob("*.whl"))
            if not wheels:
                raise WeightsError(
                    f"{_WHEEL}, which holds cl100k's vocabulary, could not be downloaded; put the"
                    f" file {_NAME} into {folder}. pip says:\n{said}"
                )
            with zipfile.ZipFile(wheels[0]) as archive:
                data = archive.read(f"litellm/litellm_core_utils/tokenizers/{_NAME}")
        if hashlib.sha256(data).hexdigest() != _SHA256:
            raise WeightsError(
                f"cl100k's vocabulary in {_WHEEL} has another SHA-256 than {_SHA256}; put the right"
                f" file {_NAME} into {folder}"
            )
        partial = file.with_name(f".{_NAME}.{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(file)
    return folder
