"""Extraction and scoring on a real cluster of two nodes: whatever is killed, nothing is lost,
nothing is there twice, and the bytes are those of one machine.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading

import pandas as pd
import pyarrow.parquet as pq
import pytest

from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.engines import RayEngine
from prefill_router.scale.extract import Kept, extract_shards
from prefill_router.scale.score import Choice
from prefill_router.scale.sources import NamedEncoder
from scale.cluster import HERE, two_nodes, wait_for, workers_of
from scale.inputs import SlowEncoder, bad_inputs, everything
from scale.test_score import saved, score  # noqa: F401
from tiny import save_tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    # without importing it, which takes long
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed: pip install -e '.[cluster]'",
    ),
]
KEPT, SECONDS = Kept(components=8, sample=50, max_tokens=40), 0.3


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Folder with inputs, 60 good rows and bad ones of every kind, an encoder, and what one
    machine makes of them in shards of 4.
    """
    folder = tmp_path_factory.mktemp("job")
    save_tiny(folder / "tiny")
    bad_inputs(folder / "in")
    extract(folder, folder / "local", None)
    return folder


@pytest.fixture(scope="module")
def cluster(job):
    with two_nodes() as running:
        yield running


def source(folder, seconds=0.0):
    return SlowEncoder(NamedEncoder(str(folder / "tiny"), "cpu", "float32"), seconds)


def extract(folder, output, engine, seconds=0.0):
    return extract_shards(
        Address.of(folder / "in"),
        Address.of(output),
        source(folder, seconds),
        KEPT,
        engine,
        shard_rows=4,
        progress=False,
    )


def begun(output, shards=2):
    return lambda: len(list((output / "done").glob("*.json"))) >= shards


def check(output, job):
    """The same bytes as one machine; every good id once, every bad row once, and nothing else."""
    assert everything(output) == everything(job / "local")
    assert not list(output.rglob(".*.tmp"))
    ids = [
        query_id
        for path in sorted((output / "states").iterdir())
        for query_id in pq.read_table(path, columns=["query_id"])["query_id"].to_pylist()
    ]
    assert ids == [*(f"q{i}" for i in range(60)), "fine", "u0"]
    bad = pd.read_parquet(output / "bad")
    assert len(bad) == len(bad.drop_duplicates(["file", "row"])) == 10


def meanwhile(output, what):
    """Do it in a thread as soon as two shards are done; its error is the test's."""
    errors = []

    def run():
        try:
            wait_for(begun(output))
            what()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def test_two_workers_write_what_one_machine_writes(job, cluster, tmp_path):
    manifest = extract(job, tmp_path, RayEngine(address=cluster.address))
    assert (manifest["rows"], manifest["bad"], manifest["bad_files"]) == (62, 8, 2)
    check(tmp_path, job)


def test_routes_are_those_of_one_machine(saved, cluster, tmp_path):
    folder, _ = saved
    score(folder, tmp_path / "local", Choice(tolerance=0.05))
    engine = RayEngine(address=cluster.address)
    manifest = score(folder, tmp_path / "ray", Choice(tolerance=0.05), engine=engine)
    assert (manifest["rows"], manifest["bad"]) == (20, 3)
    assert everything(tmp_path / "ray") == everything(tmp_path / "local")


def test_an_actor_is_killed(job, cluster, tmp_path):
    killed = []

    def kill():
        victim = wait_for(lambda: [w for of in workers_of(cluster).values() for w in of])[0]
        victim.send_signal(signal.SIGKILL)
        killed.append(victim.pid)

    thread, errors = meanwhile(tmp_path, kill)
    extract(job, tmp_path, RayEngine(address=cluster.address), SECONDS)
    thread.join()
    assert killed and not errors
    check(tmp_path, job)


def test_the_driver_is_killed_and_started_again(job, cluster, tmp_path):
    code = (
        "from pathlib import Path; from scale.test_cluster import *;"
        f"extract(Path({str(job)!r}), Path({str(tmp_path)!r}),"
        f" RayEngine(address={cluster.address!r}), {SECONDS})"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment)
    wait_for(lambda: begun(tmp_path)() or run.poll() is not None)
    assert run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "manifest.json").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "done").glob("*.json")}
    extract(job, tmp_path, RayEngine(address=cluster.address))
    check(tmp_path, job)
    now = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "done").glob("*.json")}
    assert sum(now[name] == time for name, time in kept.items()) >= 2


def test_what_cannot_be_done_says_why(job, cluster, tmp_path):
    nowhere = NamedEncoder(str(job / "nothing"), "cpu")
    with pytest.raises(ScaleError, match="a job failed on the cluster: EncoderError: .*nothing"):
        extract_shards(
            Address.of(job / "in"),
            Address.of(tmp_path),
            nowhere,
            KEPT,
            RayEngine(address=cluster.address),
            progress=False,
        )


def test_a_node_is_killed(job, cluster, tmp_path):
    """Last, since the node does not come back."""
    dead = []

    def kill():
        head = cluster.head_node
        busy = wait_for(lambda: [n for n, of in workers_of(cluster).items() if of and n != head])
        victims = workers_of(cluster)[busy[0]]
        cluster.remove_node(busy[0], allow_graceful=False)
        dead.extend(victims)

    thread, errors = meanwhile(tmp_path, kill)
    extract(job, tmp_path, RayEngine(address=cluster.address), 4 * SECONDS)
    thread.join()
    assert dead and not errors
    check(tmp_path, job)
