"""Prefill: hooks against the network's own hidden states; batches and padding, on every encoder at
hand.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import plain_attention
from prefill_router.encode.pooling import ActivationError, pool_states
from prefill_router.encode.prefill import Prefill, batches
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.weights import WHEELS
from prefill_router.files import cache_root
from prefill_router.serve.asking import Vectors
from tiny import tiny_encoder, tiny_llama, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = [
    "What is 17 times 23?",
    (
        "Write a Python function that returns the n-th Fibonacci number, and explain its running"
        " time in one sentence."
    ),
    "A train leaves at 9:40 and arrives at 13:05. How long does it take? " * 3,
    "List three prime numbers.",
]


def test_hooks_give_what_the_network_reports(llama):
    encoder = tiny_encoder(llama)
    ids = [render_prompt(encoder, prompt) for prompt in tiny_queries()[1]]
    before = [
        len(block._forward_pre_hooks) for block in llama.layers
    ]  # of routers that other tests keep
    with Prefill(encoder) as prefill:
        prefill.agree_on(ids[0])
        assert prefill.hooked
        hooked = prefill(ids, ids)
        prefill.hooked = False
        plain = prefill(ids, ids)
    for pooling in ("last", "mean"):
        np.testing.assert_array_equal(hooked[pooling], plain[pooling])
    assert [
        len(block._forward_pre_hooks) for block in llama.layers
    ] == before  # nothing is left behind


def test_passes_that_wait_give_what_single_ones_give(llama):
    """As on an accelerator, whose next batch is begun before the last is looked at."""
    encoder = tiny_encoder(llama)
    ids = [render_prompt(encoder, prompt) for prompt in tiny_queries()[1]]
    jobs = [([row], [f"q{i}"]) for i, row in enumerate(ids)]
    with Prefill(encoder) as prefill:
        prefill.agree_on(ids[0])
        single = [prefill(*job) for job in jobs]
        for ahead in (1, 2, len(jobs) + 1):
            prefill.ahead = ahead
            begun = []

            def noting(job, begun=begun):
                begun.append(job[1])
                return job

            found = prefill.map(map(noting, jobs))
            first = next(found)
            assert len(begun) == min(ahead + 1, len(jobs))  # taken when there is room
            for one, other in zip(single, [first, *found], strict=True):
                for pooling in ("last", "mean"):
                    np.testing.assert_array_equal(one[pooling], other[pooling])


def test_a_broken_prompt_among_waiting_ones_is_named(llama):
    encoder = tiny_encoder(llama)
    rows = [render_prompt(encoder, prompt) for prompt in tiny_queries()[1][:4]]
    weights = llama.get_input_embeddings().weight
    broken = next(token for token in rows[2] if all(token not in row for row in rows[:2]))
    kept = weights.data[broken].clone()
    weights.data[broken] = float("nan")
    try:
        with Prefill(encoder) as prefill:
            prefill.ahead, found = 2, []
            with pytest.raises(ActivationError, match="non-finite activations for q2 in"):
                for vectors in prefill.map(([row], [f"q{i}"]) for i, row in enumerate(rows)):
                    found.append(vectors)
            assert len(found) == 2
    finally:
        weights.data[broken] = kept


def test_a_network_that_reports_other_states_is_asked_for_them(llama):
    encoder = tiny_encoder(llama)

    class Scaled(torch.nn.Module):
        """Reports its embeddings scaled, as a network that scales them before the first block."""

        def __init__(self):
            super().__init__()
            self.network = llama

        def forward(self, **inputs):
            out = self.network(**inputs)
            if out.hidden_states is not None:
                out.hidden_states = (2 * out.hidden_states[0], *out.hidden_states[1:])
            return out

    object.__setattr__(encoder, "network", Scaled())
    ids = render_prompt(encoder, "w1 w2 w3")
    with Prefill(encoder) as prefill:
        assert prefill.hooked
        prefill.agree_on(ids)
        assert not prefill.hooked
        expected = 2 * llama.embed_tokens.weight[ids[-1]].detach().numpy()
        np.testing.assert_allclose(prefill([ids], ["q"])["last"][0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("cores", [1, 3])
def test_many_batches_come_in_order_and_threads_are_given_back(llama, monkeypatch, cores):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    encoder = tiny_encoder(llama)
    encoder.network.seconds = 0.002
    ids = [render_prompt(encoder, prompt) for prompt in tiny_queries(60)[1]]
    before = torch.get_num_threads()
    with Prefill(encoder) as prefill:
        found = list(prefill.map(([t], [str(i)]) for i, t in enumerate(ids)))
        for t, vectors in zip(ids, found, strict=True):
            np.testing.assert_array_equal(vectors["mean"], prefill([t], ["q"])["mean"])
    assert torch.get_num_threads() == before


def test_an_error_in_one_batch_ends_the_run(llama, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    encoder = tiny_encoder(llama)
    encoder.network.interrupt_at = 5
    with Prefill(encoder) as prefill, pytest.raises(KeyboardInterrupt):
        list(prefill.map(([[4, 5]], ["q"]) for _ in range(50)))
    assert encoder.network.calls < 20


def test_wrong_shapes_are_said(llama):
    encoder = tiny_encoder(llama)
    object.__setattr__(encoder, "hidden_size", 99)
    with Prefill(encoder) as prefill, pytest.raises(ActivationError, match="width 16.*of width 99"):
        prefill([[4, 5]], ["q"])


def at_hand():
    """The default encoder, and those whose weights are in the cache."""
    dense = {path.name[:16] for path in (cache_root() / "dense").glob("*")}
    for name, wheel in WHEELS.items():
        if not wheel.files[0].name.endswith(".gguf"):
            continue
        missing = wheel.files[0].sha256[:16] not in dense and name != "smollm2-135m-instruct"
        yield pytest.param(
            name,
            marks=[
                pytest.mark.weights,
                *(
                    [pytest.mark.skip(reason=f"the weights of {name} are not in the cache")]
                    if missing
                    else []
                ),
            ],
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", list(at_hand()))
def test_batched_equals_single_and_left_padding_equals_right_padding(name):
    """Tolerances: in bfloat16 a product is rounded to 8 bits, which 12 to 30 layers add up to 1 -
    cosine of up to 1e-3. In the first layer of the 1.5B, bfloat16 and float32 differ by 7e-3.
    """
    encoder = load_encoder(name, plain_prompt="gemma" in name)
    alike = 0.9999 if encoder.network.dtype == torch.float32 else 0.99 if "1.5b" in name else 0.999
    rows = [render_prompt(encoder, prompt) for prompt in PROMPTS]
    width = max(map(len, rows))
    with Prefill(encoder) as prefill:
        prefill.agree_on(rows[0])
        assert prefill.hooked
        together = prefill(rows, PROMPTS)
        single = [prefill([row], ["q"]) for row in rows]
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    with torch.inference_mode():
        states = encoder.network.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        left = {pooling: vectors.numpy() for pooling, vectors in pool_states(states, mask).items()}
    for pooling in ("last", "mean"):
        for other in (np.concatenate([s[pooling] for s in single], axis=1), left[pooling]):
            cosine = (
                (together[pooling] * other).sum(-1)
                / np.linalg.norm(together[pooling], axis=-1)
                / np.linalg.norm(other, axis=-1)
            )
            assert cosine.min() > alike, (
                pooling,
                np.unravel_index(cosine.argmin(), cosine.shape),
                cosine.min(),
            )


def test_in_float32_the_given_network_reads_all():
    """Multiplied out, attention in float32 took twice as long at 1,024 tokens."""
    llama = tiny_llama()
    llama.set_attn_implementation("sdpa")
    assert plain_attention(llama, llama.device) is llama
    assert plain_attention(llama.to(torch.bfloat16), llama.device) is not llama


def test_short_prompts_are_read_by_modules_of_their_own_on_the_same_weights(monkeypatch):
    llama = tiny_llama().to(torch.bfloat16)
    encoder = tiny_encoder(llama)
    object.__setattr__(encoder, "network", llama)
    monkeypatch.setattr("prefill_router.encode.prefill.PLAIN_TOKENS", 8)
    ids = [render_prompt(encoder, prompt) for prompt in tiny_queries(40)[1]]
    assert {len(t) <= 8 for t in ids} == {True, False}

    def read(how):
        """Every prompt alone, by the network with this attention, without the second set of
        modules.
        """
        llama.set_attn_implementation(how)
        with Prefill(encoder) as prefill:
            prefill._short = llama
            return [prefill([t], ["q"])["mean"] for t in ids]

    eager, fused = read("eager"), read("sdpa")
    with (
        Prefill(encoder) as other,
        Prefill(encoder) as prefill,
        ThreadPoolExecutor(4) as threads,
    ):  # hooks of another one are there
        other.agree_on(ids[0])
        prefill.agree_on(ids[0])
        assert prefill.hooked and prefill._short is not llama
        assert [p.data_ptr() for p in prefill._short.parameters()] == [
            p.data_ptr() for p in llama.parameters()
        ]
        assert (llama.config._attn_implementation, prefill._short.config._attn_implementation) == (
            "sdpa",
            "eager",
        )
        # threads with long and with short prompts do not disturb each other
        for t, found, plain, kernel in zip(
            ids, threads.map(lambda t: prefill([t], ["q"])["mean"], ids), eager, fused, strict=True
        ):
            np.testing.assert_array_equal(found, plain if len(t) <= 8 else kernel)
            np.testing.assert_allclose(plain, kernel, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
        ),
    ],
)
@pytest.mark.parametrize("name", list(at_hand()))
def test_bfloat16_on_any_device_reads_what_float32_reads_here(name, device):
    """The cosine per layer is printed (``pytest -rP``)."""
    found = []
    for where, dtype in (("cpu", "float32"), (device, "bfloat16")):
        encoder = load_encoder(name, device=where, dtype=dtype, plain_prompt="gemma" in name)
        rows = [render_prompt(encoder, prompt) for prompt in PROMPTS]
        with Prefill(encoder) as prefill:
            prefill.agree_on(rows[0])
            found.append(prefill(rows, PROMPTS))
    for pooling in ("last", "mean"):
        exact, rounded = (vectors[pooling].astype(np.float64) for vectors in found)
        cosine = (
            (exact * rounded).sum(-1)
            / np.linalg.norm(exact, axis=-1)
            / np.linalg.norm(rounded, axis=-1)
        ).min(axis=1)
        print(
            f"{name} on {device}, {pooling}, smallest cosine per layer:"
            f" {' '.join(f'{c:.5f}' for c in cosine)}"
        )
        assert cosine.min() > 0.99


def test_batches_by_hand():
    assert list(batches([3, 3, 2], 6)) == [[0, 1], [2]] and list(batches([], 6)) == []


def test_only_what_is_read_is_pooled(llama):
    """Layers 1 and 3 of four, one of them both ways: the same vectors, and nothing else."""
    encoder, token_ids = tiny_encoder(llama), [[1, 5, 7, 2], [1, 9, 2]]
    with Prefill(encoder) as prefill:
        prefill.agree_on(token_ids[0])
        whole = prefill(token_ids, ["a", "b"])
        prefill.reads = {(1, "last"), (3, "last"), (3, "mean")}
        part = prefill(token_ids, ["a", "b"])
    assert prefill.hooked and part["last"].shape == (2, 2, encoder.hidden_size)
    np.testing.assert_array_equal(part["last"], whole["last"][[1, 3]])
    np.testing.assert_array_equal(part["mean"][1], whole["mean"][3])
    assert not part["mean"][0].any()
    states = Vectors(part, ["a", "b"], [1, 3], encoder.n_layers)
    assert states.n_layers == encoder.n_layers
    np.testing.assert_array_equal(states.read(3, "mean", ["b"]), whole["mean"][3][[1]])
    with pytest.raises(KeyError):
        states.read(2, "last", ["a"])
