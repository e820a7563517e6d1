"""Prompts are read when serving as they were in the training, however a client sends them."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from prefill_router.data.outcomes import Outcomes, Target
from prefill_router.data.texts import tidy
from prefill_router.encode.activations import extract
from prefill_router.heads.fit import FitSettings
from prefill_router.heads.network import TrunkConfig
from prefill_router.serve.litellm_strategy import PrefillStrategy
from prefill_router.serve.router import Router
from tiny import tiny_encoder, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrunkConfig(members=1, keep=1, max_epochs=2, hidden=(4, 4))
SETTINGS = FitSettings(network=CONFIG, component_sizes=(4,))
N = 80


class Lines:
    """A tokenizer to which the end of a line is a token, as to those of real encoders."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, **options):
        def seen(one):
            return one.replace("\r", " w38 ").replace("\n", " w39 ")

        given = seen(text) if isinstance(text, str) else [seen(one) for one in text]
        return self.tokenizer(given, **options)


@pytest.fixture(scope="module")
def reads(llama):
    encoder = tiny_encoder(llama)
    return dataclasses.replace(encoder, tokenizer=Lines(encoder.tokenizer))


@pytest.fixture(scope="module")
def fit(reads, tmp_path_factory):
    """Trains a router on the first 60 of these prompts."""

    def trained(prompts):
        ids, rng = [f"q{i}" for i in range(N)], np.random.default_rng(0)
        store = extract(reads, ids, prompts, tmp_path_factory.mktemp("store"), progress=False)
        queries = pd.DataFrame(
            {"query_id": ids, "benchmark": "b", "category": "c", "prompt": prompts, "group": ids}
        )
        correct = (rng.random((N, 2)) < [0.4, 0.8]).astype(float)
        targets = (Target("cheap", 1.0, 2.0), Target("dear", 10.0, 20.0))
        counts = np.full((N, 2), 5.0)
        outcomes = Outcomes(queries, targets, correct, counts, counts, counts * np.nan, "USD", "t")
        return Router.fit(outcomes, store, np.arange(60), "paper", SETTINGS, plan=False)

    return trained


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("n capitals.\n", "n capitals."),
        ("\r\n a\r\nb\rc \t", "a\nb\nc"),
        ("a  b\n\nc", "a  b\n\nc"),
        ("\ufeffa\ud83d ", "\ufeffa\ufffd"),
        (" \n", ""),
    ],
)
def test_tidy(text, same):
    assert tidy(text) == same and tidy(same) == same


def test_a_router_of_tidy_prompts_reads_every_prompt_so(reads, fit, tmp_path):
    prompts = tiny_queries(N)[1]
    prompts[0], prompts[70] = "w1 w2\nw3", prompts[70] + "\n"  # the second is not trained on
    router = fit(prompts)
    again = Router.load(router.save(tmp_path), reads)
    assert router.tidy_prompts and again.tidy_prompts
    assert json.loads((tmp_path / "router.json").read_text())["tidy_prompts"] is True
    for asked in (router.attach(reads), again):
        true = asked.route("w1 w2\nw3")
        assert true.tokens == 6  # three words, the line end and two signs of the template
        for prompt in ("w1 w2\nw3\n", " w1 w2\r\nw3\r\n", "\tw1 w2\rw3"):
            assert asked.route(prompt) == true
            assert list(asked.stream([prompt])) == asked.route([prompt]) == [true]
            messages = [{"role": "user", "content": prompt}]
            assert PrefillStrategy(asked, None)._route(messages) == true
        assert "is empty" in asked.route([" \n"], on_error="fallback")[0].reason


def test_routers_of_earlier_files_read_prompts_as_they_come(reads, fit, tmp_path):
    folder = fit(tiny_queries(N)[1]).save(tmp_path)
    meta = json.loads((folder / "router.json").read_text())
    meta.pop("tidy_prompts")
    (folder / "router.json").write_text(json.dumps(meta))
    router = Router.load(folder, reads)
    assert not router.tidy_prompts
    assert [router.route(prompt).tokens for prompt in ("w1", "w1\n", "w1\r\n")] == [3, 4, 5]


def test_one_untidy_prompt_of_the_training_is_enough_to_read_them_as_they_come(
    reads, fit, tmp_path
):
    prompts = tiny_queries(N)[1]
    prompts[59] += "\n"
    router = fit(prompts).attach(reads)
    router.save(tmp_path)
    assert json.loads((tmp_path / "router.json").read_text())["tidy_prompts"] is False
    assert [router.route(prompt).tokens for prompt in ("w1", "w1\n")] == [3, 4]
