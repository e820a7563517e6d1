"""The deployable router: what it answers, that files bring the same answers back, and what it
refuses.
"""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score

from prefill_router.data.costs import expected_cost
from prefill_router.data.outcomes import Outcomes, OutcomesError, Target
from prefill_router.data.splits import Split
from prefill_router.encode.activations import extract
from prefill_router.encode.pooling import ActivationError
from prefill_router.encode.prefill import CPU_BATCH_TOKENS, Prefill, batches
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.sources import EncoderError
from prefill_router.features.probes import layer_table
from prefill_router.features.queries import LabelledQueries
from prefill_router.heads.fit import METHODS, FitSettings, fit_method
from prefill_router.heads.gram import read_states, read_views
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.over_seeds import fit_networks, kernels_over_seeds
from prefill_router.serve.export import export
from prefill_router.serve.routed import RouterError
from prefill_router.serve.router import Router
from tiny import tiny_encoder, tiny_llama, tiny_queries

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrunkConfig(members=3, keep=2, max_epochs=60, hidden=(16, 8), learning_rate=1e-2)
SETTINGS = FitSettings(network=CONFIG, adapter=CONFIG, component_sizes=(4, 8))
N = 240


@pytest.fixture(scope="module")
def outcomes():
    ids, prompts = tiny_queries(N)
    rng = np.random.default_rng(0)
    long = np.array([len(p.split()) for p in prompts]) > 9
    # the cheap target fails at long prompts, the other one at a quarter of all
    correct = np.column_stack(
        [np.where(rng.random(N) < 0.1, long, ~long), rng.random(N) < 0.75]
    ).astype(float)
    correct[0] = np.nan
    tokens = np.column_stack([[len(p.split()) + 2 for p in prompts]] * 2).astype(float)
    queries = pd.DataFrame(
        {"query_id": ids, "benchmark": "b", "category": "c", "prompt": prompts, "group": ids}
    )
    targets = (Target("cheap", 1.0, 2.0), Target("dear", 10.0, 20.0))
    output = np.tile([3.0, 5.0], (N, 1))
    return Outcomes(
        queries, targets, correct, 2 * tokens, output, np.full((N, 2), np.nan), "USD", "tiny"
    )


@pytest.fixture(scope="module")
def store(llama, tmp_path_factory):
    return extract(
        tiny_encoder(llama), *tiny_queries(N), tmp_path_factory.mktemp("store"), progress=False
    )


@pytest.fixture(scope="module", params=METHODS)
def router(request, outcomes, store):
    # the tiny encoder has 16 dimensions
    return Router.fit(outcomes, store, np.arange(160), request.param, SETTINGS)


def test_it_learns_what_decides(router, outcomes, store):
    p = router.predict_proba(store, outcomes.queries["query_id"][160:])
    # the last token alone of a random network knows less of a prompt's length than the mean over
    # tokens
    assert roc_auc_score(outcomes.correct[160:, 0], p[:, 0]) > (
        0.6 if router.method == "adapter_trunk" else 0.8
    )


def test_a_route_by_hand(router, encoder, outcomes, store):
    prompt = outcomes.prompts[170]
    found = router.attach(encoder).route(prompt)
    p = router.predict_proba(store, ["q170"])[0]
    np.testing.assert_allclose(list(found.p_correct.values()), p, atol=1e-4)
    assert found.tokens == len(render_prompt(encoder, prompt)) == store.tokens[170]
    assert found.target == ("cheap", "dear")[int(p.argmax())]
    # targets count two tokens for each of the encoder's; answers have 3 and 5 tokens in the median
    assert [
        (t.median_output_tokens, t.mean_output_tokens, t.p25_output_tokens, t.p75_output_tokens)
        for t in router.targets
    ] == [(3,) * 4, (5,) * 4]
    assert found.cost == {
        "cheap": 2 * found.tokens * 1.0 + 3 * 2.0,
        "dear": 2 * found.tokens * 10.0 + 5 * 20.0,
    }
    assert router.route(prompt, tolerance=1.0).target == "cheap"
    gap = p[1] - p[0]
    if gap > 0:
        assert (
            router.route(prompt, tolerance=1.5 * gap).target == "cheap"
            and router.route(prompt, tolerance=0.5 * gap).target == "dear"
        )


def test_realised_costs_become_a_line_over_the_tokens_of_the_prompt(
    encoder, outcomes, store, tmp_path
):
    """0.5 a query and 0.01 a token of `cheap`, 3 a query of `dear`; the targets count two tokens
    for each of the encoder's.
    """
    cost = np.column_stack([0.5 + 0.01 * outcomes.input_tokens[:, 0], np.tile([2.0, 4.0], N // 2)])
    cost[160:] = 99  # not among the training rows
    nan = np.full((N, 2), np.nan)
    paid = dataclasses.replace(
        outcomes,
        targets=(Target("cheap", np.nan, np.nan), Target("dear", np.nan, np.nan)),
        output_tokens=nan,
        cost=cost,
    )
    router = Router.fit(paid, store, np.arange(160), "paper", SETTINGS)
    again = Router.load(router.save(tmp_path), encoder)
    assert again.targets == router.targets
    for tokens in (4, 20):  # what a benchmark of short and one of long prompts cost
        dear = (
            router.targets[1].cost_per_query + 2 * tokens * router.targets[1].cost_per_input_token
        )
        np.testing.assert_allclose(
            again.expected_cost(np.array([tokens])), [[0.5 + 0.01 * 2 * tokens, dear]]
        )
    # the same formula as the one that was evaluated
    np.testing.assert_allclose(
        again.expected_cost(store.tokens), expected_cost(paid, np.arange(160))
    )
    meta = json.loads(
        (tmp_path / "router.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    for target in meta["targets"]:
        assert all(
            target[key] is None for key in target if key.endswith(("output_tokens", "_price"))
        )
    found = again.route(outcomes.prompts[3])
    assert found.cost["cheap"] == pytest.approx(0.5 + 0.01 * 2 * found.tokens)
    with pytest.warns(UserWarning, match="'cheap' has no price per token"):
        export(router, "toolkit", tmp_path / "toolkit", allow_pickle=True)
    checkpoint = torch.load(tmp_path / "toolkit" / "router.pt", weights_only=False)
    assert all(
        set(target) == {"name", "encoder"} for target in checkpoint["pool_config"]["targets"]
    )
    assert not any(checkpoint["cost_table"].values())  # no dollars in fields named tokens


def test_saved_and_loaded_it_answers_the_same(router, encoder, outcomes, store, tmp_path):
    again = Router.load(router.save(tmp_path / "router"), encoder)
    assert sorted(path.name for path in (tmp_path / "router").iterdir()) == [
        "router.json",
        "router.safetensors",
    ]
    ids = outcomes.queries["query_id"]
    np.testing.assert_allclose(
        again.predict_proba(store, ids), router.predict_proba(store, ids), atol=1e-5
    )
    assert (again.targets, again.method, again.cost_unit, again.trained_on) == (
        router.targets,
        router.method,
        "USD",
        160,
    )
    first = router.attach(encoder).route(outcomes.prompts[5], 0.1)
    assert again.route(outcomes.prompts[5], 0.1).target == first.target


def test_many_prompts_many_threads_and_streams_give_what_single_prompts_give(
    router, encoder, outcomes
):
    router.attach(encoder)
    prompts = outcomes.prompts[:24]
    single = [router.route(prompt) for prompt in prompts]
    for together, alone in zip(router.route(prompts), single, strict=True):
        # padding changes the rounding of float32, no more
        np.testing.assert_allclose(
            list(together.p_correct.values()), list(alone.p_correct.values()), atol=1e-5
        )
        assert (together.target, together.tokens, together.cost, together.reason) == (
            alone.target,
            alone.tokens,
            alone.cost,
            None,
        )
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(router.route, prompts)) == single
    taken = []

    def source():
        for prompt in prompts:
            taken.append(prompt)
            yield prompt

    stream = router.stream(source())
    assert next(stream) == single[0] and len(taken) == 1


def test_a_list_is_read_in_the_batches_of_extraction(router, encoder, outcomes, store, monkeypatch):
    router.attach(encoder)
    encoder.network.calls = 0
    found = router.route(iter(outcomes.prompts))
    tokens = sorted((f.tokens for f in found), reverse=True)
    assert encoder.network.calls == len(list(batches(tokens, CPU_BATCH_TOKENS))) < 10
    np.testing.assert_allclose(
        [list(f.p_correct.values()) for f in found],
        router.predict_proba(store, store.query_ids),
        atol=1e-5,
    )
    assert router.route([]) == [] and encoder.network.calls < 10
    # several lists at the same time, with passes of a few prompts on three cores
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("prefill_router.serve.asking.batch_tokens_of", lambda device: 60)
    with ThreadPoolExecutor(3) as threads:
        for again in threads.map(router.route, [outcomes.prompts] * 3):
            np.testing.assert_allclose(
                [list(f.p_correct.values()) for f in again],
                [list(f.p_correct.values()) for f in found],
                atol=1e-5,
            )


UNREADABLE = {"empty": "  ", "too_long": "w1 " * 60, "no_text": None, "not_rendered": "half \ud83d"}


@pytest.fixture
def strict(encoder, monkeypatch):
    """The encoder, with a tokenizer that stumbles over half a surrogate pair in an exception of its
    own.
    """
    tokenizer = encoder.tokenizer

    class Tokenizer:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, text, **options):
            return tokenizer(text.encode().decode(), **options)

    return dataclasses.replace(encoder, tokenizer=Tokenizer())


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_prompt_that_cannot_be_read_ends_neither_a_list_nor_a_stream(
    router, strict, outcomes, kind
):
    router.attach(strict)
    prompts = [*outcomes.prompts[:3], UNREADABLE[kind], *outcomes.prompts[3:6]]
    single = [router.route(prompt) for prompt in outcomes.prompts[:6]]
    for found in (
        router.route(prompts, on_error="fallback"),
        list(router.stream(iter(prompts), on_error="fallback")),
    ):
        odd = found.pop(3)
        assert [f.target for f in found] == [f.target for f in single] and not any(
            f.reason for f in found
        )
        if kind == "not_rendered" and odd.reason is None:  # replaced while it was rendered
            continue
        assert {
            "empty": "is empty",
            "too_long": "62 tokens",
            "no_text": "no text but NoneType",
            "not_rendered": "cannot be rendered",
        }[kind] in odd.reason
        assert (
            odd.target == "dear"
            and odd.tokens == 0
            and set(odd.p_correct) == set(odd.cost) == {"cheap", "dear"}
        )
        assert np.isnan([*odd.p_correct.values(), *odd.cost.values()]).all()
    if kind == "not_rendered" and odd.reason is None:
        return
    assert router.route(prompts, on_error="fallback", fallback="cheap")[3].target == "cheap"
    with pytest.raises(EncoderError, match=r"prompts\[3\]"):
        router.route(prompts)
    stream = router.stream(prompts)
    assert [next(stream).target for _ in range(3)] == [f.target for f in single[:3]]
    with pytest.raises(EncoderError, match=r"prompts\[3\]"):
        next(stream)
    assert router.route([*prompts, *prompts], on_error="fallback")[10].reason == odd.reason


def test_states_that_are_not_finite_are_one_prompts_fault(router, encoder, outcomes, monkeypatch):
    router.attach(encoder)
    single = [router.route(prompt) for prompt in outcomes.prompts[:6]]
    true_pass, bad = Prefill.__call__, render_prompt(encoder, outcomes.prompts[2])

    def broken(self, token_ids, query_ids):
        if bad in [list(t) for t in token_ids]:
            raise ActivationError(f"non-finite activations for {', '.join(query_ids)}")
        return true_pass(self, token_ids, query_ids)

    monkeypatch.setattr(Prefill, "__call__", broken)
    found = router.route(outcomes.prompts[:6], on_error="fallback")
    assert [f.reason for f in found] == [
        None,
        None,
        "non-finite activations for prompts[2]",
        None,
        None,
        None,
    ]
    assert [f.target for i, f in enumerate(found) if i != 2] == [
        f.target for i, f in enumerate(single) if i != 2
    ] and found[2].target == "dear"
    with pytest.raises(ActivationError, match=r"prompts\[2\]"):
        router.route(outcomes.prompts[:6])


def test_routing_leaves_the_threads_as_they_were(router, encoder, outcomes):
    router.attach(encoder)
    used = []
    encoder.network.register_forward_pre_hook(lambda *_: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stream = router.stream(outcomes.prompts[:3])
        next(stream)
        assert used == [1] and torch.get_num_threads() == 2  # also between the prompts of a stream
        router.route(outcomes.prompts)
        assert set(used) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_that_come_first_load_the_encoder_once(
    router, encoder, outcomes, tmp_path, monkeypatch
):
    import prefill_router.serve.attached as module

    loaded = []
    monkeypatch.setattr(
        module,
        "load_encoder",
        lambda name, device, dtype, **_: loaded.append((name, device, dtype)) or encoder,
    )
    encoder.network.seconds = 0.002
    router.attach(encoder)
    expected = [router.route(prompt) for prompt in outcomes.prompts[:16]]
    fresh = Router.load(router.save(tmp_path), device="cpu")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(fresh.route, outcomes.prompts[:16]))
    assert [f.target for f in found] == [e.target for e in expected] and loaded == [
        ("tiny/llama", "cpu", "float32")
    ]


def test_hooks_go_with_the_router(router, encoder, llama, tmp_path):
    import gc

    before = len(llama.layers[0]._forward_pre_hooks)
    other = Router.load(router.save(tmp_path), encoder)
    assert len(llama.layers[0]._forward_pre_hooks) == before + 1
    del other
    gc.collect()
    assert len(llama.layers[0]._forward_pre_hooks) == before


def test_another_encoder_is_refused(router, encoder, tmp_path):
    folder = router.save(tmp_path)
    for change in (
        {"sha256": "1" * 64},
        {"template_sha256": "2" * 64},
        {"template_date": "2025-01-01"},
    ):
        other = dataclasses.replace(encoder, fingerprint=encoder.fingerprint | change)
        with pytest.raises(RouterError, match=f"not the one.*{next(iter(change))} differ"):
            Router.load(folder, other)


def test_the_encoder_is_loaded_in_the_dtype_of_the_training(router, encoder, tmp_path, monkeypatch):
    import prefill_router.serve.attached as module

    loaded = []
    monkeypatch.setattr(
        module, "load_encoder", lambda name, device, dtype, **_: loaded.append(dtype) or encoder
    )
    folder = router.save(tmp_path)
    damage_json(
        folder,
        encoders=[
            router.encoder_note
            | {"fingerprint": router.encoder_note["fingerprint"] | {"dtype": "bfloat16"}}
        ],
    )
    with pytest.warns(
        UserWarning, match="trained on bfloat16 states and the encoder computes in float32"
    ):
        Router.load(folder).attach()
    assert loaded == ["bfloat16"]
    with pytest.warns(UserWarning, match="P.correct. may differ by some hundredths"):
        Router.load(folder, encoder)


def damage_json(folder, **changes):
    path = folder / "router.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_tensor(folder):
    import hashlib

    tensors = load_file(folder / "router.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "router.safetensors")
    damage_json(
        folder, sha256=hashlib.sha256((folder / "router.safetensors").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "router.json").unlink(), "router.json does not exist"),
        (lambda f: (f / "router.safetensors").unlink(), "router.safetensors does not exist"),
        (lambda f: (f / "router.json").write_text("{"), "router.json is damaged"),
        (lambda f: (f / "router.json").write_text("[]"), "has format"),
        (lambda f: damage_json(f, format=99), "has format 99, this library reads 4"),
        (lambda f: damage_json(f, method="magic"), "method 'magic'"),
        (lambda f: damage_json(f, targets=[{"name": "x"}]), "incomplete"),
        (
            lambda f: damage_json(
                f, targets=json.loads((f / "router.json").read_text())["targets"][:1]
            ),
            "names 1 targets, the head has 2",
        ),
        (lambda f: damage_json(f, encoders=[{}]), "encoder lacks fingerprint"),
        (
            lambda f: (f / "router.safetensors").write_bytes(
                (f / "router.safetensors").read_bytes()[:-1] + b"x"
            ),
            "not the file",
        ),
        (drop_tensor, "incomplete"),
    ],
)
def test_damaged_files_are_refused(router, tmp_path, damage, message):
    folder = router.save(tmp_path / "router")
    damage(folder)
    with pytest.raises(RouterError, match=message):
        Router.load(folder)


def test_what_cannot_be_asked_or_trained_is_refused(router, encoder, outcomes, store):
    router.attach(encoder)
    with pytest.raises(EncoderError, match="empty"):
        router.route("  ")
    with pytest.raises(RouterError, match="tolerance"):
        router.route("w1", tolerance=-1)
    with pytest.raises(RouterError, match="on_error must be"):
        router.route(["w1"], on_error="ignore")
    for prompt in (None, {"role": "user", "content": "w1"}, b"w1", 3):
        for on_error in ("raise", "fallback"):
            with pytest.raises(
                RouterError, match=f"a sequence of them, not {type(prompt).__name__} "
            ):
                router.route(prompt, on_error=on_error)
    with pytest.raises(RouterError, match="fallback 'best' is no target"):
        router.route(["w1"], on_error="fallback", fallback="best")
    with pytest.raises(RouterError, match="unknown method"):
        Router.fit(outcomes, store, method="best")
    free = dataclasses.replace(
        outcomes, targets=(outcomes.targets[0], Target("dear", np.nan, np.nan))
    )
    with pytest.raises(
        RouterError,
        match=r"fewer than two targets .*no price is known for dear: .*`dear: \{input: 0.15,",
    ):
        Router.fit(free, store)
    with pytest.raises(OutcomesError, match="always right"):
        Router.fit(
            dataclasses.replace(
                outcomes, correct=np.column_stack([np.ones(N), outcomes.correct[:, 1]])
            ),
            store,
        )
    with pytest.raises(OutcomesError, match="'cheap' has no output_tokens on the training rows"):
        Router.fit(
            dataclasses.replace(
                outcomes, output_tokens=np.column_stack([np.full(N, np.nan), np.ones(N)])
            ),
            store,
        )


def test_what_is_shipped_is_what_was_evaluated(outcomes, store):
    """P(correct) of the notebooks' fits and of `Router.fit` on the same split, method by method."""
    split = Split(np.arange(160), np.arange(160, 200), np.arange(200, N))
    queries = LabelledQueries.of({store.encoder_name: store}, outcomes)
    layers = layer_table(queries.rows(split.train), SETTINGS.poolings, 50, 5, seed=3)
    pools = {"both": ["cheap", "dear"]}
    methods = [method for method in METHODS if method != "ours"]
    ids = queries.query_ids[split.test]
    fits = {
        method: fit_networks(method, 3, split, queries, pools, layers, SETTINGS).p["both"][method]
        for method in methods
    }
    fits["ours"] = kernels_over_seeds({3: split}, queries, store.encoder_name).p["ours"][3]
    for method, p in fits.items():
        router = Router.fit(outcomes, store, split.train, method, SETTINGS, seed=3)
        np.testing.assert_allclose(
            router.predict_proba(store, ids), p[split.test], atol=1e-5, err_msg=method
        )


def test_bands_of_layers_are_chosen_as_encoders_are(outcomes, store):
    """`ours_views` is the kernel router on bands of an encoder's layers; ours stays as it is."""
    split = Split(np.arange(160), np.arange(160, 200), np.arange(200, N))
    queries = LabelledQueries.of({store.encoder_name: store}, outcomes)
    plain = kernels_over_seeds({3: split}, queries, store.encoder_name)
    fits = kernels_over_seeds({3: split}, queries, store.encoder_name, views=True)
    np.testing.assert_array_equal(fits.p["ours"][3], plain.p["ours"][3])
    states = {store.encoder_name: read_states(store, queries.query_ids)}
    for band, x in read_views(store, queries.query_ids).items():
        states[f"{store.encoder_name}, {band} layers"] = x
    train = queries.rows(split.train)
    router = KernelRouter(seed=3)
    router.fit({name: x[split.train] for name, x in states.items()}, train.correct, train.groups)
    p = router.predict_proba({name: x[split.test] for name, x in states.items()})
    np.testing.assert_allclose(p, fits.p["ours_views"][3][split.test], atol=1e-5)
    table = fits.encoders[fits.encoders["method"] == "ours_views"]
    assert len(table) == 7 and table["used"].sum() == 1
    assert table.loc[table["used"], "cv_error"].item() == table["cv_error"].min()
    assert fits.reads["ours_views"] == [store.encoder_name]


@pytest.fixture(scope="module")
def two_stores(store, tmp_path_factory):
    """The tiny encoder twice, the second with other weights."""
    other = tiny_encoder(tiny_llama(seed=1))
    identity = other.fingerprint | {"sha256": "1" * 64}
    other = dataclasses.replace(other, name="tiny/other", fingerprint=identity)
    folder = tmp_path_factory.mktemp("other")
    return other, {
        store.encoder_name: store,
        "tiny/other": extract(other, *tiny_queries(N), folder, progress=False),
    }


def test_a_router_of_several_encoders(outcomes, encoder, two_stores, tmp_path, monkeypatch):
    other, stores = two_stores
    # both encoders are to be read, whatever cross-validation would say
    monkeypatch.setattr(
        "prefill_router.heads.kernel_regression.combinations",
        lambda names, size: [tuple(names)] * (size == 2),
    )
    router = Router.fit(outcomes, stores, np.arange(160))
    names = list(stores)
    assert list(router.fitted.encoders) == names == [n["name"] for n in router.encoder_notes]
    p = router.predict_proba(stores, ["q170", "q180"])
    again = Router.load(router.save(tmp_path))
    np.testing.assert_allclose(again.predict_proba(stores, ["q170", "q180"]), p, atol=1e-6)
    with pytest.raises(RouterError, match="states of tiny/other are missing"):
        again.predict_proba(stores[names[0]], ["q170"])
    with pytest.raises(RouterError, match="reads 2 encoders; give them by name"):
        again.attach(encoder)
    with pytest.raises(RouterError, match="does not read nobody"):
        again.attach({"nobody": encoder})
    with pytest.raises(RouterError, match="not the one"):
        again.attach({names[0]: other, "tiny/other": encoder})
    again.attach({names[0]: encoder, "tiny/other": other})
    prompts = [outcomes.prompts[170], "", outcomes.prompts[180]]
    first, empty, last = again.route(prompts, on_error="fallback")
    np.testing.assert_allclose(list(first.p_correct.values()), p[0], atol=1e-4)
    np.testing.assert_allclose(list(last.p_correct.values()), p[1], atol=1e-4)
    assert empty.reason and empty.tokens == 0 and first.tokens == stores[names[0]].tokens[170]
    alone = again.route(prompts[0])
    assert (alone.target, alone.cost) == (first.target, first.cost)
    np.testing.assert_allclose(
        list(alone.p_correct.values()), list(first.p_correct.values()), atol=1e-6
    )


def test_other_targets_are_learnt_from_and_not_routed_to(outcomes, store):
    rng = np.random.default_rng(4)
    third = np.where(rng.random(N) < 0.1, 1 - outcomes.correct[:, 0], outcomes.correct[:, 0])
    wide = dataclasses.replace(
        outcomes,
        targets=(*outcomes.targets, Target("third", 1.0, 1.0)),
        **{
            name: np.column_stack([getattr(outcomes, name), getattr(outcomes, name)[:, 0]])
            for name in ("input_tokens", "output_tokens", "cost")
        },
        correct=np.column_stack([outcomes.correct, third]),
    )
    queries = LabelledQueries.of({store.encoder_name: store}, wide).rows(np.arange(160))
    whole = fit_method("ours", queries, SETTINGS)
    router = Router.fit(wide, store, np.arange(160), targets=["dear", "cheap"])
    assert router.target_names == ["dear", "cheap"]
    ids = ["q170", "q200"]
    np.testing.assert_allclose(
        router.predict_proba(store, ids),
        whole.predict_proba({store.encoder_name: store}, ids)[:, [1, 0]],
    )


def test_plans_are_made_kept_and_followed(encoder, outcomes, store, tmp_path):
    router = Router.fit(outcomes, store, np.arange(200), "ours", SETTINGS)
    assert list(router.plans) == ["no_loss", "one_point", "budget"]
    plan = router.plans["no_loss"]
    assert plan.queries == 199  # one labelled query has no outcome
    again = Router.load(router.save(tmp_path / "with"), encoder)
    assert again.plans == router.plans
    prompt = outcomes.prompts[210]
    found = again.route(prompt)
    assert found.plan == "no_loss"
    p, cost = (np.array([list(v.values())]) for v in (found.p_correct, found.cost))
    assert found.target == again.target_names[int(plan.choose(p, cost)[0])]
    assert again.route(prompt, budget=1e9).plan is None
    assert again.route([prompt], plan="one_point")[0].plan == "one_point"
    with pytest.raises(RouterError, match="no plan"):
        again.route(prompt, plan="none")
    bare = Router.fit(outcomes, store, np.arange(200), "ours", SETTINGS, plan=False)
    older = Router.load(bare.save(tmp_path / "without"), encoder)
    assert older.plans == {} and older.route(prompt).target == max(
        found.p_correct, key=found.p_correct.__getitem__
    )


def test_a_prompt_unlike_the_training_goes_to_the_fallback(encoder, outcomes, store):
    router = Router.fit(outcomes, store, np.arange(200), "ours", SETTINGS).attach(encoder)
    strange, known = "z" * 40, outcomes.prompts[10]
    found = router.route(strange, false_alarms=0.1)
    best = router.target_names[router.plans["no_loss"].best]
    assert found.target == best and found.reason.startswith("it is unlike the training")
    assert found.familiarity < 0.1 and not np.isnan(list(found.p_correct.values())).any()
    other = next(name for name in router.target_names if name != best)
    assert router.route(strange, fallback=other, false_alarms=0.1).target == other
    assert router.route(strange, false_alarms=0.0).reason is None
    assert router.route(known).familiarity == 1.0 and router.route(known).reason is None
    with pytest.raises(RouterError, match="false_alarms"):
        router.route(known, false_alarms=1.0)
    network = Router.fit(outcomes, store, np.arange(200), "paper", SETTINGS, plan=False)
    assert network.attach(encoder).route(strange).familiarity is None
