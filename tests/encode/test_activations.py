"""Activations: pooling, resuming, damage, refusal. The encoder is a tiny random Llama built in
memory.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from prefill_router.encode import activations
from prefill_router.encode.activations import extract
from prefill_router.encode.pooling import ActivationError, pool_states
from prefill_router.encode.prefill import Prefill, batches
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.shards import ShardWriter
from prefill_router.encode.store import ActivationStore, store_folder, store_key
from tiny import LAYERS, WIDTH, WORDS, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def queries():
    return tiny_queries()


def run(encoder, queries, folder, **options):
    return extract(
        encoder,
        *queries,
        folder,
        **{"batch_tokens": 60, "shard_size": 5, "progress": False, **options},
    )


def everything(store):
    return {
        (pooling, layer): store.read(layer, pooling)
        for pooling in ("last", "mean")
        for layer in range(LAYERS + 1)
    }


def test_pooling_by_hand():
    # One layer, T = 3, d = 1. Row 0: states 1, 2, 9 with the last position padded: last 2, mean (1
    # + 2) / 2 =
    # 1.5. Row 1: states 9, 4, 6 with the first padded: last 6, mean (4 + 6) / 2 = 5. Row 2: all
    # real: last 8,
    # mean 5.
    states = torch.tensor([[1.0, 2, 9], [9, 4, 6], [3, 4, 8]])[..., None]
    pooled = pool_states([states], torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]]))
    assert pooled["last"].flatten().tolist() == [2, 6, 8]
    assert pooled["mean"].flatten().tolist() == [1.5, 5, 5]


def test_pooling_ignores_nan_behind_the_mask_and_refuses_empty_rows():
    states = torch.tensor([[float("nan"), 4.0, 6.0]])[..., None]
    assert pool_states([states], torch.tensor([[0, 1, 1]]))["mean"].item() == 5
    with pytest.raises(ActivationError, match="no real token"):
        pool_states([states], torch.tensor([[0, 0, 0]]))


def test_pooling_of_half_precision_states_is_in_float32():
    states = torch.full(
        (1, 1000, 1), 100.0, dtype=torch.float16
    )  # their sum, 100,000, is beyond float16
    assert pool_states([states], torch.ones(1, 1000))["mean"].item() == 100


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_does_not_matter(llama, encoder, queries, tmp_path, side):
    store = run(encoder, queries, tmp_path)
    ids = [render_prompt(encoder, prompt) for prompt in queries[1][:6]]
    width = max(map(len, ids)) + 2
    padded = torch.tensor(
        [[0] * (width - len(t)) + t if side == "left" else t + [0] * (width - len(t)) for t in ids]
    )
    mask = torch.tensor(
        [
            (
                [0] * (width - len(t)) + [1] * len(t)
                if side == "left"
                else [1] * len(t) + [0] * (width - len(t))
            )
            for t in ids
        ]
    )
    with torch.inference_mode():
        states = llama(
            input_ids=padded,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            output_hidden_states=True,
        ).hidden_states
        pooled = pool_states(states, mask)
    for (pooling, layer), vectors in everything(store).items():
        np.testing.assert_allclose(vectors[:6], pooled[pooling][layer].numpy(), atol=2e-5)


def test_batched_equals_single(llama, encoder, queries, tmp_path):
    store = run(encoder, queries, tmp_path)
    assert encoder.network.calls < len(
        queries[0]
    )  # or the comparison below would compare single with single
    for row, prompt in enumerate(queries[1]):
        ids = render_prompt(encoder, prompt)
        assert store.tokens[row] == len(ids)
        with torch.inference_mode():
            states = llama(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer in range(LAYERS + 1):
            np.testing.assert_allclose(
                store.read(layer, "last")[row], states[layer][0, -1], atol=2e-5
            )
            np.testing.assert_allclose(
                store.read(layer, "mean")[row], states[layer][0].mean(0), atol=2e-5
            )


def test_first_layer_is_embeddings_and_last_is_after_the_final_norm(
    llama, encoder, queries, tmp_path
):
    store = run(encoder, queries, tmp_path)
    before_norm = []
    handle = llama.norm.register_forward_hook(lambda _, inputs, __: before_norm.append(inputs[0]))
    ids = render_prompt(encoder, queries[1][0])
    with torch.inference_mode():
        final = llama(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    handle.remove()
    assert ids[-1] == WORDS.index("<go>")  # the template's generation prompt ends the text
    np.testing.assert_allclose(
        store.read(0, "last")[0], llama.embed_tokens.weight[ids[-1]].detach(), atol=1e-6
    )
    np.testing.assert_allclose(store.read(LAYERS, "last")[0], final, atol=2e-5)
    assert np.abs(store.read(LAYERS, "last")[0] - before_norm[0][0, -1].numpy()).max() > 0.1


def test_network_with_output_head_gives_the_same(llama, encoder, queries, tmp_path):
    from transformers import LlamaForCausalLM

    full = LlamaForCausalLM(llama.config).eval()
    full.model.load_state_dict(llama.state_dict())
    with_head = run(dataclasses.replace(encoder, network=full), queries, tmp_path / "a")
    base = run(encoder, queries, tmp_path / "b")
    np.testing.assert_array_equal(with_head.read(LAYERS, "mean"), base.read(LAYERS, "mean"))


def test_read_in_any_order(encoder, queries, tmp_path):
    store = run(encoder, queries, tmp_path)
    assert store.query_ids == queries[0]
    assert (store.n_layers, store.hidden_size, store.encoder_name) == (LAYERS, WIDTH, "tiny/llama")
    wanted = ["q7", "q0", "q22", "q7"]
    vectors = store.read(2, "mean", wanted)
    assert vectors.dtype == np.float32 and vectors.shape == (4, WIDTH)
    np.testing.assert_array_equal(vectors, store.read(2, "mean")[[7, 0, 22, 7]])


@pytest.mark.parametrize(
    "layer, pooling, ids, message",
    [
        (LAYERS + 1, "last", None, "layers 0 to 3"),
        (-1, "last", None, "layers 0 to 3"),
        (0, "max", None, "last, mean"),
        (0, "last", ["q1", "nobody"], "nobody"),
    ],
)
def test_unknown_reads_are_named(encoder, queries, tmp_path, layer, pooling, ids, message):
    store = run(encoder, queries, tmp_path)
    with pytest.raises(ActivationError, match=message):
        store.read(layer, pooling, ids)


def test_resumes_after_an_interruption(encoder, queries, tmp_path):
    whole = run(encoder, queries, tmp_path / "whole")
    calls = encoder.network.calls
    encoder.network.calls, encoder.network.interrupt_at = 0, calls - 1
    with pytest.raises(KeyboardInterrupt):
        run(encoder, queries, tmp_path / "cut")
    with pytest.raises(ActivationError, match="unfinished"):
        ActivationStore(tmp_path / "cut")
    finished = sorted((tmp_path / "cut").glob("*.safetensors"))
    stamps = [file.stat().st_mtime_ns for file in finished]
    assert 0 < len(finished) < 5
    (tmp_path / "cut" / "shard-00004.safetensors.tmp").write_bytes(
        b"half a sha"
    )  # what a kill leaves behind
    encoder.network.calls, encoder.network.interrupt_at = 0, None
    resumed = run(
        encoder, queries, tmp_path / "cut", shard_size=7
    )  # the plan of the first run stands
    assert 0 < encoder.network.calls < calls
    assert [file.stat().st_mtime_ns for file in finished] == stamps
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes()
    assert not list((tmp_path / "cut").glob("*.tmp"))
    assert resumed.key == whole.key


def test_shard_without_its_sidecar_is_not_trusted(encoder, queries, tmp_path):
    before = everything(run(encoder, queries, tmp_path))
    (tmp_path / "shard-00001.json").unlink()
    encoder.network.calls = 0
    after = everything(run(encoder, queries, tmp_path))
    assert (
        encoder.network.calls == 2 + 2
    )  # 5 rows of about 14 tokens in batches of at most 60; one prompt both ways before
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


def test_shards_that_threads_write_are_the_same(encoder, queries, tmp_path, monkeypatch):
    """As beside an accelerator."""
    alone = run(encoder, queries, tmp_path / "alone")

    class Beside(ShardWriter):
        def __init__(self, folder, beside):
            assert not beside  # the encoder is on a CPU
            super().__init__(folder, beside=True)

    monkeypatch.setattr(activations, "ShardWriter", Beside)
    beside = run(encoder, queries, tmp_path / "beside")
    names = sorted(path.name for path in alone.folder.iterdir())
    assert names == sorted(path.name for path in beside.folder.iterdir())
    for name in names:
        assert (alone.folder / name).read_bytes() == (beside.folder / name).read_bytes()


def test_what_a_writing_thread_meets_is_raised(tmp_path):
    states = {name: np.zeros((LAYERS + 1, 1, WIDTH), np.float32) for name in ("last", "mean")}
    shard = {"query_ids": ["q"], "tokens": [1]}
    with pytest.raises(FileNotFoundError), ShardWriter(tmp_path / "gone", beside=True) as writer:
        writer.write(0, states, shard)
    with ShardWriter(tmp_path, beside=True) as writer:
        for index in range(3 * ShardWriter.WRITERS):
            writer.write(index, states, shard)
    assert sorted(writer.sidecars) == list(range(3 * ShardWriter.WRITERS))


def test_finished_store_is_not_computed_again(encoder, queries, tmp_path):
    run(encoder, queries, tmp_path)
    encoder.network.calls = 0
    run(encoder, queries, tmp_path)
    assert encoder.network.calls == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_shard_is_detected_and_recomputed_alone(encoder, queries, tmp_path, damage):
    before = everything(run(encoder, queries, tmp_path))
    file = tmp_path / "shard-00002.safetensors"
    others = [f for f in sorted(tmp_path.glob("*.safetensors")) if f != file]
    stamps = [f.stat().st_mtime_ns for f in others]
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
        file.write_bytes(data)
        assert ActivationStore(tmp_path).verify() == [file.name]
    elif damage == "truncate":
        file.write_bytes(data[:-100])
    else:
        file.unlink()
    if damage != "flip":
        with pytest.raises(
            ActivationError, match="shard-00002.safetensors is missing or truncated"
        ):
            ActivationStore(tmp_path)
    if damage == "remove":
        store = run(encoder, queries, tmp_path)
    else:
        with pytest.warns(UserWarning, match="shard-00002.safetensors: the checksum differs"):
            store = run(encoder, queries, tmp_path)
    assert store.verify() == []
    assert [f.stat().st_mtime_ns for f in others] == stamps
    for key, vectors in everything(store).items():
        np.testing.assert_array_equal(vectors, before[key])


def test_damaged_sidecar_and_manifest_are_re_made(encoder, queries, tmp_path):
    run(encoder, queries, tmp_path)
    (tmp_path / "shard-00000.json").write_text("{")
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(ActivationError, match="manifest.json is damaged"):
        ActivationStore(tmp_path)
    with pytest.warns(UserWarning, match="shard-00000.json is damaged"):
        assert run(encoder, queries, tmp_path).verify() == []


def test_changed_tokens_are_computed_again(encoder, queries, tmp_path):
    # same key (the fingerprint was not told), other token ids: the store must not serve what it has
    run(encoder, queries, tmp_path)
    encoder.tokenizer.chat_template = encoder.tokenizer.chat_template.replace("<user>", "<user> w1")
    store = run(encoder, queries, tmp_path)
    assert store.tokens[0] == len(render_prompt(encoder, queries[1][0]))


def test_other_request_in_the_folder_is_refused(encoder, queries, tmp_path):
    run(encoder, queries, tmp_path)
    changed = [*queries[1][:-1], "w1 w2"]
    with pytest.raises(ActivationError, match="another request"):
        run(encoder, (queries[0], changed), tmp_path)
    (tmp_path / "request.json").write_text("nonsense")
    with pytest.raises(ActivationError, match="request.json is damaged"):
        run(encoder, queries, tmp_path)


def test_other_format_is_refused(encoder, queries, tmp_path):
    run(encoder, queries, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format": 0}))
    with pytest.raises(ActivationError, match="format 0"):
        ActivationStore(tmp_path)


def test_key_depends_on_all_that_shapes_a_store(encoder, queries):
    ids, prompts = queries
    keys = {
        store_key(encoder, ids, prompts),
        store_key(encoder, ids, [*prompts[:-1], "w1"]),
        store_key(encoder, [*ids[:-1], "other"], prompts),
        store_key(encoder, ids[::-1], prompts[::-1]),
        store_key(encoder, ids, prompts, max_length=39),
        store_key(dataclasses.replace(encoder, dtype=torch.bfloat16), ids, prompts),
        store_key(
            dataclasses.replace(encoder, fingerprint={"name": "tiny", "sha256": "1" * 64}),
            ids,
            prompts,
        ),
    }
    assert len(keys) == 7
    assert store_key(encoder, ids, prompts, max_length=40) == store_key(
        encoder, ids, prompts
    )  # 40 is the encoder's own
    folder = store_folder("root", encoder, ids, prompts)
    assert folder.name == f"tiny-llama-{store_key(encoder, ids, prompts)[:16]}"


@pytest.mark.parametrize(
    "ids, prompts, options, message",
    [
        (["a", "b", "c"], ["w1", " \n", ""], {}, "empty prompts: b, c"),
        (["a", "b", "c"], ["w1", "w1 " * 39, "w1 " * 50], {}, r"cannot read 2 prompts: b, c"),
        (
            ["a", "b"],
            ["w1", "w1 " * 9],
            {"max_length": 10},
            r"longer than the 10 tokens .* b \(11 tokens\)",
        ),
        (["a", "b", "a"], ["w1", "w2", "w3"], {}, "duplicate query ids: a"),
        (["a", "b"], ["w1"], {}, "2 query ids but 1 prompts"),
        ([], [], {}, "no prompts"),
    ],
)
def test_bad_prompts_are_all_named_before_anything_runs(
    encoder, tmp_path, ids, prompts, options, message
):
    with pytest.raises(ActivationError, match=message):
        run(encoder, (ids, prompts), tmp_path / "store", **options)
    assert encoder.network.calls == 0 and not (tmp_path / "store").exists()


def test_too_little_disk_is_said_before_anything_runs(encoder, queries, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(ActivationError, match="make room"):
        run(encoder, queries, tmp_path)
    assert encoder.network.calls == 0


def test_non_finite_activations_name_the_query(llama, encoder, tmp_path):
    weight = llama.embed_tokens.weight
    original = weight[WORDS.index("w7")].detach().clone()
    with torch.no_grad():
        weight[WORDS.index("w7")] = float("inf")
    try:
        with pytest.raises(ActivationError, match="non-finite activations for b in torch.float32"):
            run(encoder, (["a", "b", "c"], ["w1 w2", "w3 w7 w2", "w4"]), tmp_path)
    finally:
        with torch.no_grad():
            weight[WORDS.index("w7")] = original


def test_batches_keep_the_token_budget_and_every_row():
    lengths = [
        90,
        30,
        30,
        20,
        20,
        5,
    ]  # budget 60: 90 alone, 30 + 30 fill 60, 3 rows of at most 20 fill 60
    assert list(batches(lengths, 60)) == [[0], [1, 2], [3, 4, 5]]


def test_a_store_that_was_computed_elsewhere_is_used_where_it_is_brought_to(encoder, tmp_path):
    """As from a GPU machine: the folder is copied, nothing in it names a place or a device, and
    nothing is computed again.
    """
    import shutil

    ids, prompts = ["a", "b", "c"], ["w1 w2", "w3", "w4 w5 w6"]
    there = store_folder(tmp_path / "there", encoder, ids, prompts)
    made = extract(encoder, ids, prompts, there, progress=False)
    calls = encoder.network.calls
    here = store_folder(
        tmp_path / "here", dataclasses.replace(encoder, device=torch.device("meta")), ids, prompts
    )
    assert here.name == there.name
    shutil.move(there, here)
    brought = extract(encoder, ids, prompts, here, progress=False)
    assert encoder.network.calls == calls and brought.verify() == []
    assert brought.read(1, "mean").shape == (3, WIDTH) and brought.key == made.key


def test_the_check_of_the_hooks_reads_a_few_tokens(encoder, tmp_path, monkeypatch):
    """With all of a prompt it took as long as reading it, which weighs where prompts are few and
    long.
    """
    checked = []
    monkeypatch.setattr(Prefill, "agree_on", lambda self, ids: checked.append(len(ids)))
    extract(encoder, ["q"], [" ".join(["w1"] * 30)], tmp_path / "store", progress=False)
    assert checked == [16]
