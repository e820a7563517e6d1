"""Naming, loading and prompting encoders, on tiny random networks in a temporary folder; no
network.
"""

import json
import shutil
from datetime import datetime

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from prefill_router.downloads import WeightFile, WheelWeights
from prefill_router.encode import encoders, sources
from prefill_router.encode.encoders import load_encoder, load_reader
from prefill_router.encode.prompts import render_prompt, render_text
from prefill_router.encode.sources import EncoderError, resolve, weights_identity
from prefill_router.encode.weights import WHEELS

TEMPLATE = (
    "{% for m in messages %}<s> {{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
WORDS = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "user",
    "assistant",
    ":",
    "what",
    "is",
    "two",
    "plus",
    "cat",
    "dog",
]
D, LAYERS, CONTEXT = 16, 3, 24


def _tokenizer(template=TEMPLATE):
    inner = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Like many real ones it puts <s> first on its own account, which with a template would make two
    # of them.
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )
    tokenizer.chat_template = template
    return tokenizer


def _config(**changes):
    return transformers.LlamaConfig(
        **{
            "vocab_size": len(WORDS),
            "hidden_size": D,
            "intermediate_size": 32,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": CONTEXT,
            "tie_word_embeddings": True,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
        }
        | changes
    )


def _save(folder, template=TEMPLATE, **changes):
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(_config(**changes)).save_pretrained(folder)
    _tokenizer(template).save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFILL_ROUTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, cache):
    return _save(tmp_path / "tiny")


# By hand: embeddings 13*16 = 208. A block: q 16*16, k and v 16*8 each, o 16*16, three 16*32 of the
# MLP, two
# norms of 16: 256 + 256 + 256 + 1536 + 32 = 2336. Three blocks and the last norm: 208 + 3*2336 + 16
# = 7232.
PARAMS = 7232


def test_folder_is_loaded_as_base_network_in_evaluation_mode(folder):
    encoder = load_encoder(str(folder), "cpu", "float32")
    assert type(encoder.network).__name__ == "LlamaModel" and not encoder.network.training
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    assert (encoder.name, encoder.n_layers, encoder.hidden_size) == ("tiny", LAYERS, D)
    assert encoder.max_length == CONTEXT
    assert (encoder.device, encoder.dtype, encoder.params) == (
        torch.device("cpu"),
        torch.float32,
        PARAMS,
    )
    output = encoder.network(
        torch.tensor([render_prompt(encoder, "what is two")]), output_hidden_states=True
    )
    assert len(output.hidden_states) == LAYERS + 1 and output.hidden_states[0].shape[-1] == D


@pytest.mark.parametrize("tied", [True, False])
def test_params_are_the_same_with_and_without_head_tied_or_not(tmp_path, cache, tied):
    folder = str(_save(tmp_path / "net", tie_word_embeddings=tied))
    heads = load_encoder(folder, "cpu", "float32", causal_lm=True)
    assert heads.params == load_encoder(folder, "cpu", "float32").params == PARAMS
    assert heads.network(torch.tensor([[2, 7]])).logits.shape == (1, 2, len(WORDS))


def test_prompt_is_rendered_by_the_template_with_one_beginning(folder):
    encoder = load_encoder(str(folder), "cpu", "float32")
    assert render_text(encoder, "what is two") == "<s> user : what is two assistant :"
    assert render_prompt(encoder, "what is two") == [2, 4, 6, 7, 8, 9, 5, 6]
    assert encoder.tokenizer("what")["input_ids"] == [2, 7]  # the tokenizer does add one by itself


def test_prompt_as_long_as_the_context_is_read_and_one_more_refused(folder):
    encoder = load_encoder(str(folder), "cpu", "float32")
    fits = CONTEXT - 5  # the template adds five tokens
    assert len(render_prompt(encoder, "cat " * fits)) == CONTEXT
    with pytest.raises(
        EncoderError, match="has 25 tokens as rendered, the context of tiny holds 24"
    ):
        render_prompt(encoder, "cat " * (fits + 1))


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_empty_prompt_is_refused(folder, prompt):
    with pytest.raises(EncoderError, match="prompt is empty"):
        render_prompt(load_encoder(str(folder), "cpu", "float32"), prompt)


def test_no_chat_template_is_an_error_that_names_the_way_out(tmp_path, cache):
    folder = str(_save(tmp_path / "base", template=None))
    with pytest.raises(EncoderError, match="base has no chat template: .*plain_prompt=True"):
        load_encoder(folder, "cpu", "float32")
    encoder = load_encoder(folder, "cpu", "float32", plain_prompt=True)
    assert render_prompt(encoder, "what is") == [
        2,
        7,
        8,
    ]  # here the tokenizer's own beginning is needed


def test_fingerprint_is_json_and_changes_with_all_that_shapes_hidden_states(folder, tmp_path):
    base = load_encoder(str(folder), "cpu", "float32").fingerprint
    assert (
        base
        == json.loads(json.dumps(base))
        == load_encoder(str(folder), "cpu", "float32").fingerprint
    )
    assert set(base) == {"name", "sha256", "template_sha256", "dtype", "max_length"}
    assert load_encoder(str(folder), "cpu", "bfloat16").fingerprint == base | {"dtype": "bfloat16"}
    assert load_encoder(str(folder), "cpu", "float32", causal_lm=True).fingerprint == base
    plain = load_encoder(str(folder), "cpu", "float32", plain_prompt=True).fingerprint
    assert plain == base | {"template_sha256": None}
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "tiny")
    assert load_encoder(str(moved), "cpu", "float32").fingerprint == base
    (moved / "chat_template.jinja").write_text(TEMPLATE + " ")
    other = load_encoder(str(moved), "cpu", "float32").fingerprint
    assert other["template_sha256"] != base["template_sha256"] and other["sha256"] != base["sha256"]


@pytest.mark.parametrize(
    "clock",
    ["{{ strftime_now('%d %b %Y') }} ", "{% set date = strftime_now('%Y-%m-%d') %}{{ date }} "],
)
def test_a_template_that_writes_the_date_gives_the_same_prompt_every_day(
    folder, monkeypatch, clock
):
    quiet = load_encoder(str(folder), "cpu", "float32")
    assert "template_date" not in quiet.fingerprint
    (folder / "chat_template.jinja").write_text(clock + TEMPLATE)
    encoder = load_encoder(str(folder), "cpu", "float32")
    assert encoder.fingerprint["template_date"] == "2026-01-01"
    assert "2026" in render_text(encoder, "what is two")
    monkeypatch.setattr("prefill_router.encode.prompts.PINNED_DATE", datetime(2027, 5, 6))
    later = load_encoder(
        str(folder), "cpu", "float32"
    )  # the date is part of what shapes the states
    assert later.fingerprint["template_sha256"] != encoder.fingerprint["template_sha256"]


def test_a_date_that_cannot_be_pinned_is_refused(folder):
    (folder / "chat_template.jinja").write_text("{{ strftime_now(form) }}" + TEMPLATE)
    with pytest.raises(EncoderError, match="the date cannot be pinned"):
        load_encoder(str(folder), "cpu", "float32")


def test_the_fingerprint_is_that_of_the_rendered_text_not_of_how_the_template_is_written(folder):
    before = load_encoder(str(folder), "cpu", "float32").fingerprint["template_sha256"]
    (folder / "chat_template.jinja").write_text("{# a remark #}" + TEMPLATE)
    assert load_encoder(str(folder), "cpu", "float32").fingerprint["template_sha256"] == before


def test_pickled_weights_are_never_read(folder):
    state = load_encoder(str(folder), "cpu", "float32", causal_lm=True).network.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="tiny cannot be loaded .*pickled ones are never read"):
        load_encoder(str(folder), "cpu", "float32")


def test_weights_that_lack_tensors_are_refused_instead_of_filled_with_noise(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS + 1}))
    with pytest.raises(EncoderError, match="lack 9 tensors, such as .*layers.3"):
        load_encoder(str(folder), "cpu", "float32")


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EncoderError, match="tiny cannot be loaded"):
        load_encoder(str(folder), "cpu", "float32")


def test_code_beside_the_weights_is_not_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(EncoderError, match="tiny cannot be loaded"):
        load_encoder(str(folder), "cpu", "float32")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"device": "gpu?"}, "Unknown device 'gpu\\?': use auto, cpu or cuda"),
        (
            {"device": "cpu", "dtype": "int4"},
            "Unknown dtype 'int4': use auto, bfloat16, float16, float32",
        ),
    ],
)
def test_unknown_device_and_dtype(folder, options, message):
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(folder), **options)


@pytest.mark.parametrize(
    "native, dtype, told",
    [
        (False, "bfloat16", True),
        (False, "float32", False),
        (False, "auto", False),
        (True, "bfloat16", False),
    ],
)
def test_a_dtype_that_is_only_emulated_is_said(folder, monkeypatch, capsys, native, dtype, told):
    monkeypatch.setattr(encoders, "native_bfloat16", lambda device: native)
    load_encoder(str(folder), "cpu", dtype)
    assert ("only emulates bfloat16" in capsys.readouterr().err) == told


def test_automatic_choice_of_device_and_dtype(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncoderError, match="torch finds no CUDA"):
        load_encoder(str(folder), "cuda")
    for flags, dtype in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        encoder = load_encoder(str(folder))
        assert (encoder.device.type, encoder.dtype) == ("cpu", dtype)
        assert next(encoder.network.parameters()).dtype == dtype


def test_names_mean_wheel_folder_gguf_or_hub(folder, tmp_path, monkeypatch):
    assert resolve("SmolLM2-135M-Instruct").kind == "wheel"
    assert resolve("SmolLM2-135M-Instruct").location == "smollm2-135m-instruct"
    monkeypatch.chdir(tmp_path)
    assert (resolve("tiny").kind, resolve("./tiny").location) == ("folder", str(folder))
    (tmp_path / "net.GGUF").write_bytes(b"GGUF")
    assert (resolve("net.GGUF").kind, resolve("net.GGUF").name) == ("gguf", "net")
    hub = resolve("org/Some.Net-1@refs/pr/3")
    assert (hub.kind, hub.location, hub.revision, hub.note) == (
        "hub",
        "org/Some.Net-1",
        "refs/pr/3",
        "",
    )


@pytest.mark.parametrize("entry", list(WHEELS.values()), ids=lambda entry: entry.name)
def test_hub_id_of_an_embedded_network_means_the_hub_and_says_so(entry):
    source = resolve(entry.hub_id.upper())
    assert (source.kind, source.location) == ("hub", entry.hub_id)
    assert f"4-bit ones are called {entry.name}" in source.note


@pytest.mark.parametrize(
    "name, message",
    [
        ("smollm2-135m-instrukt", "did you mean smollm2-135m-instruct"),
        ("gpt2", "Unknown encoder 'gpt2'. Give an embedded name \\(smollm2"),
        ("no/such/folder", "an existing folder or .gguf file"),
        ("/no/such", "an existing folder"),
        ("./nowhere", "an existing folder"),
        ("org/net.gguf", "an existing"),
        ("", "is no encoder"),
        ("org/net@", "Unknown encoder"),
    ],
)
def test_unknown_name(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EncoderError, match=message):
        resolve(name)


def test_folder_without_config_is_no_encoder(tmp_path):
    with pytest.raises(EncoderError, match="is no encoder: .*config.json"):
        resolve(str(tmp_path))


def test_hub_without_network_names_the_ways_out(cache, monkeypatch, capsys):
    def offline(location, revision, trust_remote_code):
        assert (location, revision, trust_remote_code) == ("org/net", "v2", False)
        raise OSError("We couldn't connect to the Hub\nand more")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(
        EncoderError, match="couldn't connect to the Hub\\. If .*smollm2-135m.*HF_HOME"
    ):
        load_encoder("org/net@v2", "cpu")
    assert "asking the Hub for org/net" in capsys.readouterr().err


def test_hub_weights_are_pinned_to_the_commit_that_the_name_meant(folder, monkeypatch):
    config = transformers.AutoConfig.from_pretrained(str(folder))
    config._commit_hash = "c0ffee"
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    network = transformers.AutoModel.from_pretrained(str(folder))
    asked = {}

    def stand_in(kind, answer):
        def load(location, revision, trust_remote_code, **options):
            asked[kind] = (location, revision)
            assert trust_remote_code is False and options.get("use_safetensors", True)
            return answer

        monkeypatch.setattr(getattr(transformers, kind), "from_pretrained", load)

    stand_in("AutoConfig", config)
    stand_in("AutoTokenizer", tokenizer)
    stand_in("AutoModel", (network, {"missing_keys": []}))
    fingerprint = load_encoder("org/net", "cpu", "float32").fingerprint
    assert asked == {
        "AutoConfig": ("org/net", "main"),
        "AutoTokenizer": ("org/net", "c0ffee"),
        "AutoModel": ("org/net", "c0ffee"),
    }
    assert (fingerprint["name"], fingerprint["revision"]) == ("org/net", "c0ffee")
    assert "sha256" not in fingerprint


def _fake_gguf(monkeypatch, path, folder):
    """A file called .gguf; transformers' reader of such is replaced by one that loads `folder`."""
    path.write_bytes(b"GGUF" + path.name.encode())
    tokenizer_of = transformers.AutoTokenizer.from_pretrained
    network_of = transformers.AutoModelForCausalLM.from_pretrained
    readings = []

    def tokenizer(location, gguf_file=None, **options):
        return tokenizer_of(str(folder) if gguf_file else location, **options)

    def network(location, gguf_file=None, quantization_config=None, **options):
        if gguf_file is None:
            return network_of(location, **options)
        assert quantization_config.dequantize and options["dtype"] == torch.bfloat16
        readings.append(gguf_file)
        return network_of(str(folder), **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", network)
    return readings


def test_gguf_is_dequantised_once_and_then_comes_from_the_cache(
    folder, tmp_path, cache, monkeypatch, capsys
):
    readings = _fake_gguf(monkeypatch, tmp_path / "net.gguf", folder)
    encoder = load_encoder(str(tmp_path / "net.gguf"), "cpu", "float32")
    sha256 = encoder.fingerprint["sha256"]
    made = cache / "dense" / f"{sha256[:16]}-transformers{transformers.__version__.split('.')[0]}"
    assert json.loads((made / "config.json").read_text())["dtype"] == "bfloat16"
    assert [p.name for p in made.parent.iterdir() if not p.name.endswith(".lock")] == [made.name]
    assert render_prompt(encoder, "what is two") == [2, 4, 6, 7, 8, 9, 5, 6]
    assert len(capsys.readouterr().err.splitlines()) == 1
    shutil.move(tmp_path / "net.gguf", tmp_path / "renamed.gguf")  # another name, the same bytes
    again = load_encoder(str(tmp_path / "renamed.gguf"), "cpu", "float32", causal_lm=True)
    assert readings == ["net.gguf"] and again.fingerprint == encoder.fingerprint | {
        "name": "renamed"
    }
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {path.stat().st_mode for path in cache.glob("dense/*/*") if path.is_file()} == {
        usual
    }  # others may read them too
    assert capsys.readouterr().err == ""


def test_failed_dequantising_leaves_nothing_behind(tmp_path, cache):
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    with pytest.raises(EncoderError, match="cut.gguf cannot be read as a GGUF network"):
        load_encoder(str(tmp_path / "cut.gguf"), "cpu")
    assert [path.suffix for path in (cache / "dense").iterdir()] == [".lock"]


def test_embedded_gguf_is_known_by_its_pinned_hash(folder, tmp_path, cache, monkeypatch):
    readings = _fake_gguf(monkeypatch, tmp_path / "toy.gguf", folder)
    file = WeightFile("toy.gguf", "ab" * 32, 5, "*")
    monkeypatch.setitem(
        WHEELS, "toy", WheelWeights("toy", "org/Toy", "none", "", ("toy==1",), (file,))
    )
    monkeypatch.setattr(sources, "fetch", lambda name, root: tmp_path / f"{name}.gguf")
    fingerprint = load_encoder("TOY", "cpu", "float32").fingerprint
    assert (fingerprint["name"], fingerprint["sha256"], readings) == (
        "toy",
        "ab" * 32,
        ["toy.gguf"],
    )


def test_transformers_settings_are_restored_after_loading(folder):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(KeyError), sources.quiet():
        assert not logging.is_progress_bar_enabled()
        raise KeyError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_context_leaves_out_the_positions_that_are_kept_for_padding(tmp_path, cache):
    config = transformers.MPNetConfig(
        vocab_size=len(WORDS),
        hidden_size=D,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=CONTEXT,
    )
    transformers.MPNetModel(config).save_pretrained(tmp_path / "mpnet")
    _tokenizer(None).save_pretrained(tmp_path / "mpnet")  # it sets no limit itself
    encoder = load_encoder(str(tmp_path / "mpnet"), "cpu", "float32", plain_prompt=True)
    assert encoder.max_length == CONTEXT - 2
    encoder.network(torch.full((1, CONTEXT - 2), 11))
    with pytest.raises(IndexError):
        encoder.network(torch.full((1, CONTEXT - 1), 11))


def test_weights_are_identified_without_loading_them(folder, monkeypatch):
    fingerprint = load_encoder(str(folder), "cpu", "float32").fingerprint
    monkeypatch.setattr(
        transformers.AutoModel, "from_pretrained", lambda *a, **k: pytest.fail("loaded")
    )
    identity = weights_identity(str(folder))
    assert identity == {key: fingerprint[key] for key in ("name", "sha256")}


def test_a_reader_reads_as_the_encoder_does_without_its_weights(folder):
    encoder = load_encoder(str(folder), "cpu", "float32")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    reader = load_reader(str(folder))
    assert (reader.max_length, reader.plain_prompt) == (encoder.max_length, encoder.plain_prompt)
    for prompt in ("a", "one two three", "x " * 500):
        text = encoder.tokenizer(render_text(encoder, prompt), add_special_tokens=False)[
            "input_ids"
        ]
        assert reader.tokens(prompt) == len(text)
    (folder / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_reader(str(folder))


def test_half_a_sign_in_a_prompt_is_read_as_in_tables(folder):
    encoder = load_encoder(str(folder), "cpu", "float32")
    assert render_prompt(encoder, "one \ud83d") == render_prompt(encoder, "one \ufffd")
    assert render_text(encoder, "\ud83d\ude00") == render_text(encoder, "\U0001f600")


@pytest.mark.weights
def test_real_smollm2_is_what_it_should_be():
    encoder = load_encoder("smollm2-135m-instruct", "cpu")
    assert (encoder.n_layers, encoder.hidden_size, encoder.max_length) == (30, 576, 8192)
    assert encoder.params == 134_515_008
    text = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render_text(encoder, "What is 2+2?") == text
    tokens = render_prompt(encoder, "What is 2+2?")
    beginning = encoder.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert tokens[0] == beginning != tokens[1] and tokens.count(beginning) == 3
    assert encoder.tokenizer.decode(tokens) == text
    with torch.inference_mode():
        output = encoder.network(torch.tensor([tokens]), output_hidden_states=True)
    assert len(output.hidden_states) == 31
    for states in output.hidden_states:
        assert torch.isfinite(states).all() and states.shape == (1, len(tokens), 576)
