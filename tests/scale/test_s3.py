"""Extraction from and to an object store: a server on this machine that speaks S3."""

import uuid

import pytest

from prefill_router.scale.addresses import Address
from prefill_router.scale.extract import Kept, extract_shards
from prefill_router.scale.shards import ShardedStates, damaged
from prefill_router.scale.sources import NamedEncoder
from scale.inputs import everything, write_inputs
from tiny import save_tiny

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")
server = pytest.importorskip(
    "moto.server", reason="moto's server is not installed: pip install 'moto[server]'"
)


@pytest.fixture
def bucket(monkeypatch):
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    yield name
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_an_object_store_holds_the_same_bytes_and_is_taken_up_again(tmp_path, bucket, monkeypatch):
    encoder = NamedEncoder(str(save_tiny(tmp_path / "tiny")), "cpu", "float32")
    kept = Kept(components=8, sample=50)

    def run(source, output):
        return extract_shards(
            Address.of(source), Address.of(output), encoder, kept, shard_rows=8, progress=False
        )

    write_inputs(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        Address.of(f"s3://{bucket}/in/{path.name}").write(path.read_bytes())
    output = f"s3://{bucket}/out"
    manifest = run(f"s3://{bucket}/in", output)
    assert everything(output) == everything(tmp_path / "out")
    # a note without its shard, and a shard without its note
    Address.of(f"{output}/states/shard-000001.parquet").remove()
    Address.of(f"{output}/done/shard-000003.json").remove()
    assert damaged(Address.of(output)) == ["states/shard-000001.parquet"]
    assert run(f"s3://{bucket}/in", output) == manifest
    assert everything(output) == everything(tmp_path / "out")
    assert ShardedStates(output).query_ids == [f"q{i}" for i in range(60)]
