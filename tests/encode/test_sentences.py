"""Sentence embeddings and their cache, on a tiny random BERT in a temporary folder; no network."""

import os
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from prefill_router.encode import sentences
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.sentences import cached_sentences, embed_sentences, sentence_tokens
from prefill_router.encode.sources import EncoderError
from prefill_router.files import cache_root

WORDS = ["<pad>", "<unk>", "<s>", "what", "is", "two", "plus", "a", "cat", "dog"]
PROMPTS = ["cat", "what is two plus two", "dog cat", "what is a cat"]
D = 16


def _save_bert(folder, seed=0):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=400,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    inner = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", bos_token="<s>"
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bert(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    return _save_bert(tmp_path / "bert")


def test_sentences_are_means_over_real_tokens_of_length_one(bert):
    encoder = load_encoder(bert, "cpu", "float32", plain_prompt=True)
    expected = []
    for prompt in PROMPTS:  # one at a time there is no padding that could matter
        states = encoder.network(
            torch.tensor([encoder.tokenizer(prompt)["input_ids"]])
        ).last_hidden_state[0]
        expected.append((states.mean(dim=0) / states.mean(dim=0).norm()).numpy())
    for batch_tokens in (1, 12, 1000):
        vectors, cost = embed_sentences(bert, PROMPTS, "cpu", batch_tokens)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, np.stack(expected), atol=1e-6)
        tokens = [len(encoder.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS]
        np.testing.assert_allclose(cost, [2 * encoder.params * t * 1e-12 for t in tokens])


@pytest.mark.parametrize("name, limit", [("bert", 256), ("all-mpnet-base-v2", 384)])
def test_long_sentences_are_cut_where_the_encoder_is(bert, tmp_path, name, limit):
    folder = str((tmp_path / "bert").rename(tmp_path / name))
    texts = ["cat " * (limit - 1), "cat " * (limit - 1) + "dog", "cat " * (limit - 2) + "dog"]
    vectors, cost = embed_sentences(folder, texts, "cpu")
    np.testing.assert_allclose(
        vectors[0], vectors[1], atol=1e-6
    )  # with <s>, the dog is one token too far
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4
    assert cost[0] == cost[1] == cost[2]


def test_the_limit_is_that_of_the_encoder_by_short_name_or_hub_id():
    for name in (
        "all-mpnet-base-v2",
        "ALL-MPNET-base-v2",
        "sentence-transformers/all-mpnet-base-v2@main",
    ):
        assert sentence_tokens(name) == 384
    assert sentence_tokens("all-minilm-l6-v2") == sentence_tokens("org/other") == 256


def test_empty_sentences_are_refused_and_none_are_fine(bert, tmp_path):
    for refused in (embed_sentences, cached_sentences):
        with pytest.raises(EncoderError, match=re.escape("by row: [1]")):
            refused(bert, ["cat", " "], tmp_path / "kept")
    assert embed_sentences(bert, [], "cpu")[0].shape == (0, D)


@pytest.fixture
def computed(monkeypatch):
    """The lists of prompts that were really embedded."""
    calls, embed = [], embed_sentences

    def counted(name, prompts, *args, **options):
        calls.append(list(prompts))
        return embed(name, prompts, *args, **options)

    monkeypatch.setattr(sentences, "embed_sentences", counted)
    return calls


def test_cache_gives_the_same_bytes_without_the_encoder(
    bert, tmp_path, computed, monkeypatch, capsys
):
    first = cached_sentences(bert, PROMPTS, tmp_path / "deep" / "kept", "cpu")
    shown = capsys.readouterr()
    assert shown.out == "" and "4/4" in shown.err and "text/s" in shown.err
    monkeypatch.setattr(sentences, "load_encoder", lambda *args, **options: pytest.fail("loaded"))
    second = cached_sentences(bert, PROMPTS, tmp_path / "deep" / "kept", "cpu")
    for one, other in zip(first, second, strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert (second[0].dtype, second[1].dtype) == (np.float32, np.float64) and second[0].shape == (
        4,
        D,
    )
    assert len(computed) == 1 and capsys.readouterr().err == ""
    names = [path.name for path in (tmp_path / "deep" / "kept").iterdir()]
    assert len(names) == 1 and re.fullmatch(r"bert-[0-9a-f]{16}\.safetensors", names[0])


def test_everything_that_shapes_the_vectors_names_another_file(
    bert, tmp_path, computed, monkeypatch
):
    kept = tmp_path / "kept"
    cached_sentences(bert, PROMPTS, kept, "cpu")
    cached_sentences(bert, PROMPTS[::-1], kept, "cpu")
    cached_sentences(bert, PROMPTS[:3], kept, "cpu")
    cached_sentences(bert, ["cat", "what is two plus two dog cat", "what is a cat"], kept, "cpu")
    monkeypatch.setattr(sentences, "OTHER_TOKENS", 3)
    cached_sentences(bert, PROMPTS, kept, "cpu")
    _save_bert(tmp_path / "bert", seed=1)  # other weights under the same name
    cached_sentences(bert, PROMPTS, kept, "cpu")
    assert len(computed) == len(list(kept.iterdir())) == 6


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def _empty(path):
    path.write_bytes(b"")


def _change_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _put_another_file_there(path):
    save_file(load_file(path), path)  # the same tensors, without the note of what they are


@pytest.mark.parametrize("damage", [_cut, _empty, _change_a_byte, _put_another_file_there])
def test_damaged_file_is_said_aloud_and_made_again(bert, tmp_path, computed, capsys, damage):
    first = cached_sentences(bert, PROMPTS, tmp_path / "kept", "cpu")
    (path,) = (tmp_path / "kept").iterdir()
    whole = path.read_bytes()
    damage(path)
    capsys.readouterr()
    again = cached_sentences(bert, PROMPTS, tmp_path / "kept", "cpu")
    assert f"{path} is damaged" in capsys.readouterr().err
    assert (
        len(computed) == 2
        and path.read_bytes() == whole
        and again[0].tobytes() == first[0].tobytes()
    )


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(sentences, "PART", 1)
    whole = embed_sentences(bert, PROMPTS, "cpu", batch_tokens=8)
    means, calls = sentences._means, []

    def dies_at_the_third(encoder, tokens):
        calls.append(len(tokens))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return means(encoder, tokens)

    monkeypatch.setattr(sentences, "_means", dies_at_the_third)
    parts = (tmp_path / "parts", "key")
    with pytest.raises(KeyboardInterrupt):
        embed_sentences(bert, PROMPTS, "cpu", batch_tokens=8, parts=parts)
    kept = sorted(path.name for path in parts[0].iterdir())
    assert kept == ["00000.safetensors", "00001.safetensors"]
    _change_a_byte(parts[0] / kept[1])  # a damaged part is computed again
    calls[:] = [0, 0, 0]
    again = embed_sentences(bert, PROMPTS, "cpu", batch_tokens=8, parts=parts)
    assert sum(calls) == len(PROMPTS) - 1
    assert [a.tobytes() for a in again] == [a.tobytes() for a in whole]
    # parts of other batches are not taken, as another version may have cut them
    monkeypatch.setattr(sentences, "PART", 2)
    cut_otherwise = embed_sentences(bert, PROMPTS, "cpu", batch_tokens=8, parts=parts)
    assert cut_otherwise[0].tobytes() == whole[0].tobytes()
    # nor are parts of other texts
    other = embed_sentences(bert, PROMPTS[:2], "cpu", batch_tokens=8, parts=(parts[0], "other"))
    alone = embed_sentences(bert, PROMPTS[:2], "cpu", batch_tokens=8)
    assert other[0].tobytes() == alone[0].tobytes()


def test_interrupted_write_leaves_nothing(bert, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        cached_sentences(bert, PROMPTS, tmp_path / "kept", "cpu")
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


LIKE_AND_UNLIKE = ["A cat sits.", "A kitten is sitting.", "Stocks fell today."]


@pytest.mark.weights
def test_real_minilm_puts_like_sentences_near_each_other():
    vectors, _ = embed_sentences("all-minilm-l6-v2", LIKE_AND_UNLIKE, "cpu")
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert vectors.shape == (3, 384) and near > 0.7 and far < 0.2


@pytest.mark.weights
def test_real_mpnet_puts_like_sentences_near_each_other():
    if not (cache_root() / "weights" / "all-mpnet-base-v2" / "model.safetensors").is_file():
        pytest.skip(
            "all-mpnet-base-v2 is not cached, and this test alone is not worth a download of 404"
            " MB; prefill_router.encode.weights.fetch('all-mpnet-base-v2') gets it"
        )
    encoder = load_encoder("all-mpnet-base-v2", "cpu", "float32", plain_prompt=True)
    assert (encoder.hidden_size, encoder.max_length, encoder.params) == (768, 512, 109_486_464)
    assert encoder.tokenizer("A Cat.")["input_ids"] == encoder.tokenizer("a cat.")["input_ids"]
    vectors, _ = embed_sentences("all-mpnet-base-v2", LIKE_AND_UNLIKE, "cpu")
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert vectors.shape == (3, 768) and near > 0.7 and far < 0.2
