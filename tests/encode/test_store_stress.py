"""The activation store under stress: kills, a full disk, two processes, files of another store."""

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest

from prefill_router.encode import activations
from prefill_router.encode.activations import extract
from prefill_router.encode.pooling import ActivationError
from prefill_router.encode.store import ActivationStore
from tiny import tiny_encoder, tiny_llama, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = {"batch_tokens": 60, "shard_size": 5, "progress": False}


@pytest.fixture(scope="module")
def queries():
    return tiny_queries(40)


@pytest.fixture(scope="module")
def processes():
    """A server that has the libraries loaded and forks from a process without threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "transformers.models.llama.modeling_llama",
            "prefill_router.encode.activations",
            "prefill_router.encode.encoders",
            "tqdm",
        ]
    )
    return context


def slow_extract(folder, seconds):
    """In another process: the same store, slowly, on two cores however many there are."""
    os.cpu_count = lambda: 2
    encoder = tiny_encoder(tiny_llama())
    encoder.network.seconds = seconds
    extract(encoder, *tiny_queries(40), folder, **OPTIONS)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def started(processes, folder):
    """A process that has begun the store in this folder."""
    child = processes.Process(target=slow_extract, args=(folder, 0.06))
    child.start()
    while not (folder / "request.json").exists():
        assert child.is_alive()
        time.sleep(0.001)
    return child


@pytest.mark.slow
def test_killed_at_twenty_moments_and_resumed_the_bytes_are_those_of_an_uninterrupted_run(
    encoder, queries, processes, tmp_path
):
    extract(encoder, *queries, tmp_path / "whole", **OPTIONS)
    expected, rng = contents(tmp_path / "whole"), np.random.default_rng(0)
    # kills are spread over the time that a run takes on this machine, from its first file to its
    # last
    child, began = started(processes, tmp_path / "timed"), time.monotonic()
    while not (tmp_path / "timed" / "manifest.json").exists():
        assert child.is_alive()
        time.sleep(0.001)
    whole = time.monotonic() - began
    child.join()
    states = set()
    for kill in range(20):
        folder = tmp_path / f"killed-{kill}"
        child = started(processes, folder)
        time.sleep(float(rng.uniform(0, whole)))
        child.kill()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)  # 0: this one was at its end already
        states.add(len(list(folder.glob("*.safetensors"))))
        if not (folder / "manifest.json").exists():
            with pytest.raises(ActivationError, match="unfinished"):
                ActivationStore(folder)
        extract(encoder, *queries, folder, **OPTIONS)
        found = {name: data for name, data in contents(folder).items() if not name.endswith(".tmp")}
        assert found == expected
    assert len(states) > 3  # the kills came at different times


def test_a_full_disk_is_said_and_the_store_goes_on_from_there(
    encoder, queries, tmp_path, monkeypatch
):
    extract(encoder, *queries, tmp_path / "whole", **OPTIONS)
    fsync, written = os.fsync, []

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 6:  # request, two shards with their sidecars, and then
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        ActivationError, match="disk is full.*shard-00002.*Finished shards are kept"
    ):
        extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "store").glob("shard*.safetensors")) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    assert not list((tmp_path / "store").glob("*.tmp"))
    stamp = (tmp_path / "store" / "shard-00001.safetensors").stat().st_mtime_ns
    extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    assert (tmp_path / "store" / "shard-00001.safetensors").stat().st_mtime_ns == stamp
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_another_error_of_the_disk_is_not_called_a_full_one(
    encoder, queries, tmp_path, monkeypatch
):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        extract(encoder, *queries, tmp_path / "store", **OPTIONS)


def test_a_second_process_waits_for_the_first_and_computes_nothing(
    encoder, queries, processes, tmp_path, capfd
):
    folder = tmp_path / "store"
    child = processes.Process(target=slow_extract, args=(folder, 0.05))
    child.start()
    while not (folder / "request.json").exists():
        assert child.is_alive()
        time.sleep(0.001)
    store = extract(encoder, *queries, folder, **OPTIONS)
    child.join()
    assert child.exitcode == 0 and encoder.network.calls == 0 and store.verify() == []
    assert "another process is extracting activations into" in capfd.readouterr().err


@pytest.mark.parametrize(
    "change", [{"sha256": "1" * 64}, {"template_sha256": "2" * 64}, {"dtype": "float16"}]
)
def test_a_manifest_of_another_encoder_or_template_is_refused_and_written_anew_without_computing(
    encoder, queries, tmp_path, change
):
    extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    other = dataclasses.replace(encoder, fingerprint=encoder.fingerprint | change)
    extract(other, *queries, tmp_path / "other", **OPTIONS)
    expected = contents(tmp_path / "store")
    shutil.copy(tmp_path / "other" / "manifest.json", tmp_path / "store" / "manifest.json")
    with pytest.raises(ActivationError, match=r"of another store.*fingerprint"):
        ActivationStore(tmp_path / "store")
    encoder.network.calls = 0
    extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    assert encoder.network.calls == 0 and contents(tmp_path / "store") == expected


def test_a_manifest_of_another_version_is_refused(encoder, queries, tmp_path):
    extract(encoder, *queries, tmp_path, **OPTIONS)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ActivationError, match="format 99"):
        ActivationStore(tmp_path)


def test_shards_of_another_store_are_computed_again_and_only_they(encoder, queries, tmp_path):
    extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    other = dataclasses.replace(encoder, fingerprint=encoder.fingerprint | {"sha256": "1" * 64})
    extract(other, *queries, tmp_path / "other", **OPTIONS)
    expected = contents(tmp_path / "store")
    for suffix in ("safetensors", "json"):
        shutil.copy(
            tmp_path / "other" / f"shard-00001.{suffix}",
            tmp_path / "store" / f"shard-00001.{suffix}",
        )
    stamp = (tmp_path / "store" / "shard-00002.safetensors").stat().st_mtime_ns
    extract(encoder, *queries, tmp_path / "store", **OPTIONS)
    assert contents(tmp_path / "store") == expected
    assert (tmp_path / "store" / "shard-00002.safetensors").stat().st_mtime_ns == stamp


def test_values_beyond_half_precision_are_stored_as_they_are(
    encoder, queries, tmp_path, monkeypatch
):
    vectors = {
        name: np.full(
            (encoder.n_layers + 1, 1, encoder.hidden_size),
            3e38 if name == "last" else 1e-38,
            np.float32,
        )
        for name in ("last", "mean")
    }
    monkeypatch.setattr(
        activations.Prefill,
        "__call__",
        lambda self, ids, names: {k: np.repeat(v, len(ids), axis=1) for k, v in vectors.items()},
    )
    store = extract(encoder, *queries, tmp_path, **OPTIONS)
    assert (store.read(3, "last") == np.float32(3e38)).all() and (
        store.read(0, "mean") == np.float32(1e-38)
    ).all()
