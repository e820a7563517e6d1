"""A tiny random Llama with a word tokenizer, made in memory and always the same."""

import time

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from prefill_router.encode.network import Encoder

WORDS = ["<pad>", "<user>", "<go>", "<unk>", *(f"w{i}" for i in range(40))]
LAYERS, WIDTH = 3, 16


class Counting(torch.nn.Module):
    """Counts forward passes, takes its time; a chosen one is interrupted, as by Ctrl-C."""

    def __init__(self, network):
        super().__init__()
        self.network, self.calls, self.interrupt_at, self.seconds = network, 0, None, 0.0

    def forward(self, **inputs):
        self.calls += 1
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        return self.network(**inputs)


def tiny_llama(seed=0):
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaModel(config).eval()
        for (
            name,
            weight,
        ) in network.named_parameters():  # norms of 1 would hide whether the final norm was applied
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 2.0)
    return network


def tiny_tokenizer():
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", padding_side="left"
    )  # must not matter
    tokenizer.chat_template = (
        "{% for m in messages %}<user> {{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %} <go>{% endif %}"
    )
    return tokenizer


def save_tiny(folder):
    """The same network and tokenizer as files, which other processes can load."""
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_encoder(network):
    return Encoder(
        name="tiny/llama",
        network=Counting(network),
        tokenizer=tiny_tokenizer(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        n_layers=LAYERS,
        hidden_size=WIDTH,
        max_length=40,
        params=1,
        fingerprint={"name": "tiny", "sha256": "0" * 64, "dtype": "float32"},
    )


def tiny_queries(n=23):
    rng = np.random.default_rng(1)
    prompts = [
        " ".join(f"w{i}" for i in rng.integers(0, 40, size)) for size in rng.integers(1, 20, n)
    ]
    return [f"q{i}" for i in range(n)], prompts
