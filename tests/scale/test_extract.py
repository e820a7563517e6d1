"""Extraction in shards on one machine: what is written, what is bad, what is taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.scale import extract as command
from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.engines import RayEngine
from prefill_router.scale.extract import Kept, extract_shards
from prefill_router.scale.reduce import Moments, Reduction, bytes_of_states
from prefill_router.scale.shards import ShardedStates, damaged, parquet_bytes
from prefill_router.scale.sources import NamedEncoder, View, views_of
from scale.inputs import bad_inputs, everything, write_inputs
from tiny import LAYERS, WIDTH, save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")
KEPT = Kept(components=8, sample=50)
HERE = Path(__file__).resolve()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return NamedEncoder(str(save_tiny(tmp_path_factory.mktemp("tiny"))), "cpu", "float32")


def shards(source, output, encoder, kept=KEPT, **more):
    given = {"shard_rows": 8, "progress": False, **more}
    return extract_shards(Address.of(source), Address.of(output), encoder, kept, **given)


@pytest.fixture(scope="module")
def done(tmp_path_factory, encoder):
    """Inputs with 37 and 23 prompts, their ids and prompts, an output and its manifest."""
    folder = tmp_path_factory.mktemp("done")
    ids, prompts = write_inputs(folder / "in")
    return folder, ids, prompts, shards(folder / "in", folder / "out", encoder)


def test_whole_states_are_those_of_a_store(tmp_path, encoder, done):
    folder, ids, prompts, _ = done
    shards(folder / "in", tmp_path / "out", encoder, Kept("all", 0, dtype="float32"))
    found = ShardedStates(str(tmp_path / "out"))
    store = extract(
        load_encoder(encoder.name, "cpu", "float32"), ids, prompts, tmp_path / "s", progress=False
    )
    assert found.query_ids == ids and found.tokens.tolist() == store.tokens.tolist()
    assert (found.n_layers, found.hidden_size) == (LAYERS, WIDTH)
    some = ["q40", "q3", "q59"]
    for view in found.views:
        pooling, layer = view.split(".")
        np.testing.assert_allclose(
            found.read(int(layer), pooling), store.read(int(layer), pooling), atol=2e-5
        )
        np.testing.assert_array_equal(
            found.read(int(layer), pooling, some),
            found.read(int(layer), pooling)[[ids.index(q) for q in some]],
        )


def test_components_are_those_of_scikit_learn_on_the_same_sample(tmp_path, encoder, done):
    folder, *_ = done
    # a sample as large as the input is all of it
    output = tmp_path / "out"
    shards(folder / "in", output, encoder, Kept("mean.2,last.3", 5, 60, dtype="float32"))
    shards(folder / "in", tmp_path / "whole", encoder, Kept("mean.2,last.3", 0, dtype="float32"))
    found, whole = ShardedStates(str(output)), ShardedStates(str(tmp_path / "whole"))
    for layer, pooling in ((2, "mean"), (3, "last")):
        x = whole.read(layer, pooling).astype(np.float64)
        theirs = make_pipeline(StandardScaler(), PCA(5, svd_solver="full")).fit(x)
        mine = found.read(layer, pooling)
        wanted = theirs.transform(x)
        signs = np.sign((mine * wanted).sum(axis=0))
        np.testing.assert_allclose(mine, wanted * signs, atol=2e-4)
        pca = Reduction.from_bytes((output / "reduction.safetensors").read_bytes(), "float32")
        np.testing.assert_allclose(
            pca.of_views[f"{pooling}.{layer}"].variance, theirs[1].explained_variance_, rtol=1e-5
        )


def test_moments_in_blocks_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    x = 1e4 + rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12))  # far from the origin
    x[:, 3] = 0.1  # a constant column, whose mean may be off in its last bit
    moments = Moments()
    for block in np.array_split(x, 7):
        moments.add(block)
    mine = moments.reduction(4)
    theirs = make_pipeline(StandardScaler(), PCA(4, svd_solver="full")).fit(x)
    np.testing.assert_allclose(mine.variance * 299 / 300, mine.transform(x).var(axis=0))
    np.testing.assert_allclose(np.abs(mine.transform(x)), np.abs(theirs.transform(x)), atol=1e-6)
    assert mine.scale[3] == 1 and np.abs(mine.components[:, 3]).max() < 1e-12
    with pytest.raises(ScaleError, match="1 prompts that can be read; components need two"):
        one = Moments()
        one.add(x[:1])
        one.reduction(4)


def test_ten_million_prompts_take_what_the_formula_says():
    # 10,000,000 x 4 views x 256 components x 2 bytes
    assert bytes_of_states(10_000_000, 4, 256) == 20_480_000_000
    assert len(views_of(None, 30)) == 4 and Kept().components == 256 and Kept().dtype == "float16"
    # what is really written differs by ids, token counts and Parquet's own notes
    values = np.random.default_rng(0).normal(size=(2048, 4, 256)).astype(np.float16)
    from prefill_router.scale.shards import matrix_column

    table = pa.table(
        {
            "query_id": [f"query-{i:08d}" for i in range(2048)],
            "tokens": pa.array(np.full(2048, 80, np.int32)),
            **{f"mean.{i}": matrix_column(values[:, i]) for i in range(4)},
        }
    )
    assert len(parquet_bytes(table)) / bytes_of_states(2048, 4, 256) == pytest.approx(
        0.95, abs=0.07
    )


def test_views_are_named_as_in_a_store():
    assert views_of("mean.2, last.3", 3) == (View("mean", 2), View("last", 3))
    assert [v.name for v in views_of(None, 30)] == ["mean.15", "mean.22", "mean.30", "last.30"]
    assert len(views_of("all", 3)) == 8
    for wrong in ("mean.4", "max.1", "mean", "mean.1,mean.1"):
        with pytest.raises(ScaleError, match=r"there are no states|names a view twice"):
            views_of(wrong, 3)


def test_what_is_asked_for_is_checked_first(tmp_path, encoder, done):
    for wrong in ({"components": 257}, {"components": -1}, {"dtype": "int8"}):
        with pytest.raises(ScaleError):
            Kept(**wrong)
    with pytest.raises(ScaleError, match="holds no Parquet file"):
        shards(tmp_path, tmp_path / "out", encoder)
    with pytest.raises(ScaleError, match="last.0 are the same for every prompt"):
        shards(done[0] / "in", tmp_path / "out", encoder, Kept("last.0", 4))
    with pytest.raises(ScaleError, match="fsspec cannot open it"):
        shards("nowhere://in", tmp_path / "out", encoder)


def test_bad_rows_go_to_a_table_of_their_own(tmp_path, encoder):
    wanted = bad_inputs(tmp_path / "in")
    kept = Kept(components=8, sample=50, max_tokens=40)
    manifest = shards(tmp_path / "in", tmp_path / "out", encoder, kept)
    assert (manifest["rows"], manifest["bad"], manifest["bad_files"]) == (62, 8, 2)
    bad = pd.read_parquet(tmp_path / "out" / "bad").sort_values(["file", "row"])
    for found, row in zip(bad.itertuples(index=False), wanted, strict=True):
        assert found.file == row[0] and (
            pd.isna(found.row) if row[1] is None else found.row == row[1]
        )
        assert (None if pd.isna(found.query_id) else found.query_id) == row[2]
        assert found.reason.startswith(row[3])
    ids = ShardedStates(str(tmp_path / "out")).query_ids
    assert ids == [*(f"q{i}" for i in range(60)), "fine", "u0"]


def test_a_damaged_page_costs_its_row_group_alone(tmp_path, encoder, done):
    ids, _ = write_inputs(tmp_path / "in", (30,), group_rows=10)
    path = tmp_path / "in" / "a.parquet"
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    manifest = shards(tmp_path / "in", tmp_path / "out", encoder)
    assert (manifest["rows"], manifest["bad"]) == (20, 10)
    bad = pd.read_parquet(tmp_path / "out" / "bad").sort_values("row")
    assert bad["row"].tolist() == list(range(10, 20))
    assert bad["reason"].str.startswith("unreadable: ").all()
    assert ShardedStates(str(tmp_path / "out")).query_ids == ids[:10] + ids[20:]


def test_files_without_ids_get_the_place_of_the_row(tmp_path, encoder):
    pq.write_table(pa.table({"text": ["w1 w2", "w3", "w4 w5 w6"]}), tmp_path / "x.parquet")
    shards(tmp_path / "x.parquet", tmp_path / "out", encoder, columns=("query_id", "text"))
    found = ShardedStates(str(tmp_path / "out"))
    assert found.query_ids == ["x.parquet:0", "x.parquet:1", "x.parquet:2"]


def test_what_does_not_fit_the_number_format_is_a_bad_row():
    big = np.array([[[1.0, 2.0], [7e4, 1.0]]], np.float32)
    kept = Reduction({}, "float16")(big, [View("mean", 1)])["mean.1"]
    assert np.isfinite(kept).all(axis=1).tolist() == [True, False]


def test_a_finished_job_computes_nothing_again_and_changes_nothing(encoder, done, monkeypatch):
    folder, *_, manifest = done
    before = everything(folder / "out")
    monkeypatch.setattr(
        "prefill_router.scale.reading.ShardWork.open", lambda _: pytest.fail("it computes")
    )
    assert shards(folder / "in", folder / "out", encoder) == manifest
    assert everything(folder / "out") == before and damaged(Address.of(folder / "out")) == []


@pytest.mark.parametrize("lost", ["done", "states", "cut"])
def test_a_shard_that_is_not_whole_is_made_again_alone(tmp_path, encoder, done, lost):
    source = done[0] / "in"
    shards(source, tmp_path, encoder)
    before = everything(tmp_path)
    if lost == "done":
        (tmp_path / "done/shard-000002.json").write_text('{"key": ')
    elif lost == "states":
        (tmp_path / "states/shard-000002.parquet").unlink()
    else:
        (tmp_path / "states/shard-000002.parquet").write_bytes(b"PAR1")
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "states").iterdir()}
    shards(source, tmp_path, encoder)
    assert everything(tmp_path) == before
    changed = [
        p.name for p in (tmp_path / "states").iterdir() if times.get(p.name) != p.stat().st_mtime_ns
    ]
    assert changed == ["shard-000002.parquet"]


def test_another_job_is_refused_and_says_what_differs(tmp_path, encoder, done):
    ids, prompts = write_inputs(tmp_path / "in")
    shards(tmp_path / "in", tmp_path / "out", encoder)
    with pytest.raises(ScaleError, match="components was 8, asked for 7.*give another OUTPUT"):
        shards(tmp_path / "in", tmp_path / "out", encoder, Kept(components=7, sample=50))
    with pytest.raises(ScaleError, match="shard_rows was 8, asked for 9"):
        shards(tmp_path / "in", tmp_path / "out", encoder, shard_rows=9)
    other = NamedEncoder(encoder.name, "cpu", "float32", plain_prompt=True)
    with pytest.raises(ScaleError, match="encoder was .*, asked for "):
        shards(tmp_path / "in", tmp_path / "out", other)
    # one letter of one prompt
    prompts[40] = prompts[40][:-1] + ("1" if prompts[40][-1] != "1" else "2")
    pq.write_table(
        pa.table({"query_id": ids[37:], "prompt": prompts[37:]}), tmp_path / "in" / "b.parquet"
    )
    with pytest.raises(ScaleError, match="the input file b.parquet has changed"):
        shards(tmp_path / "in", tmp_path / "out", encoder)


def test_other_file_systems_hold_the_same_bytes(tmp_path, encoder, done):
    folder, *_ = done
    for path in (folder / "in").iterdir():
        Address.of(f"memory://scale/in/{path.name}").write(path.read_bytes())
    shards("memory://scale/in", "memory://scale/out", encoder)
    assert everything("memory://scale/out") == everything(folder / "out")
    shards(f"file://{folder}/in", f"file://{tmp_path}/out", encoder)
    assert everything(f"file://{tmp_path}/out") == everything(folder / "out")
    with pytest.raises(ScaleError, match="in the memory of this process alone"):
        shards("memory://scale/in", "memory://scale/out", encoder, engine=RayEngine())


def test_a_killed_run_goes_on_with_what_is_missing(tmp_path, encoder, done):
    """SIGKILL in the middle of the shards, with a file half written beside them."""
    folder, *_ = done
    code = (
        "from scale.inputs import SlowEncoder; from scale.test_extract import *;"
        f"shards({str(folder / 'in')!r}, {str(tmp_path)!r},"
        f" SlowEncoder(NamedEncoder({encoder.name!r}, 'cpu', 'float32'), 0.3))"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while len(list((tmp_path / "done").glob("*.json"))) < 2:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "done").glob("*.json")}
    assert 2 <= len(kept) < 8 and not (tmp_path / "manifest.json").exists()
    (tmp_path / "states" / ".shard-000007.parquet.abc.tmp").write_bytes(b"half")
    shards(folder / "in", tmp_path, encoder)
    assert everything(tmp_path) == everything(folder / "out")
    assert (
        kept.items()
        <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "done").glob("*.json")}.items()
    )


def test_the_command_says_what_came_out_and_what_is_wrong(tmp_path, encoder, done, capsys):
    given = [str(done[0] / "in"), str(tmp_path / "out"), "--encoder", encoder.name, "--quiet"]
    given += ["--components", "4", "--states", "mean.2", "--encoder-dtype", "float32"]
    assert command.main(given) == 0
    said = capsys.readouterr().out
    assert "states of 60 prompts" in said and "0 bad rows and 0 bad files" in said
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["views"] == {"mean.2": 4}
    assert command.main([*given, "--seed", "1"]) == 2
    assert "error: " in (error := capsys.readouterr().err) and "seed was 0, asked for 1" in error


@pytest.mark.weights
@pytest.mark.slow
def test_the_embedded_encoder_is_read_and_reduced(tmp_path):
    prompts = [f"What is {i} + {j}? Say why." for i in range(6) for j in range(4)]
    ids = [f"q{i}" for i in range(24)]
    pq.write_table(pa.table({"query_id": ids, "prompt": prompts}), tmp_path / "in.parquet")
    smollm = NamedEncoder("smollm2-135m-instruct", "cpu", "float32")
    shards(tmp_path / "in.parquet", tmp_path / "out", smollm, Kept("mean.15,last.30", 23, 24))
    found = ShardedStates(str(tmp_path / "out"))
    store = extract(smollm.open().encoder, ids, prompts, tmp_path / "store", progress=False)
    for layer, pooling in ((15, "mean"), (30, "last")):
        x = StandardScaler().fit_transform(store.read(layer, pooling).astype(np.float64))
        mine = found.read(layer, pooling).astype(np.float64)
        # 24 rows have at most 23 components, so these keep every distance between prompts
        np.testing.assert_allclose(mine @ mine.T, x @ x.T, atol=2e-3 * np.abs(x @ x.T).max())
