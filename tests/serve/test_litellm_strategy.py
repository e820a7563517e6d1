"""The LiteLLM strategy: which deployment it picks, what happens when the router fails or is late,
and the real library against a stub server.
"""

import asyncio
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from prefill_router.serve.litellm_strategy import PrefillStrategy, last_user_text
from prefill_router.serve.planned import Plans
from prefill_router.serve.routed import Route, RoutedTarget, RouterError


def target(name, price):
    return RoutedTarget(name, 10.0 * price, price, 1.0, price, price, 10.0, 10.0, 5.0, 15.0)


class FakeRouter:
    """Words of the prompt decide: `hard` needs the large target; it can be slow and break."""

    targets = (target("small", 1.0), target("large", 10.0), target("huge", 30.0))
    target_names = ["small", "large", "huge"]

    def __init__(self):
        self.seconds, self.asked, self.error = 0.0, [], None

    decision = staticmethod(Plans().decision)

    def route(self, prompt):
        self.asked.append(prompt)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        p = {"small": 0.2 if "hard" in prompt else 0.8, "large": 0.7, "huge": 0.75}
        return Route("unused", p, {"small": 1.0, "large": 10.0, "huge": 30.0}, 3)


def deployment(group, model, **info):
    return {"model_name": group, "litellm_params": {"model": model}, "model_info": info}


LIST = [
    deployment("auto", "openai/small", id="s"),
    deployment("auto", "azure/anything", id="l", target="large"),
    deployment("auto", "openai/large", id="l2"),
    deployment("embeddings", "openai/ada", id="e"),
    deployment("one", "openai/small", id="only"),
]


@pytest.fixture
def router():
    return FakeRouter()


def strategy(router, **options):
    return PrefillStrategy(router, SimpleNamespace(model_list=LIST), **options)


def ask(strategy, text, group="auto", how="async"):
    messages = [
        {"role": "user", "content": "earlier"},
        {"role": "assistant", "content": "hard"},
        {"role": "user", "content": text},
    ]
    if how == "async":
        return asyncio.run(strategy.async_get_available_deployment(group, messages))["model_info"][
            "id"
        ]
    return strategy.get_available_deployment(group, messages)["model_info"]["id"]


@pytest.mark.parametrize("how", ["async", "sync"])
def test_the_target_that_the_router_prefers_among_those_of_the_group(router, how):
    s = strategy(router, tolerance=0.0)
    assert ask(s, "easy", how=how) == "s"
    # the huge target is not in this group; two deployments of the large one take turns
    assert {ask(s, "hard", how=how) for _ in range(4)} == {"l", "l2"}
    assert router.asked[0] == "easy" and s.fallbacks == 0
    assert ask(strategy(router, tolerance=0.6), "hard", how=how) == "s"


def test_deployments_of_a_target_take_turns_and_those_of_none_are_named(router, caplog):
    s = strategy(router)
    asked = [ask(s, text) for text in ("easy", "hard") * 10]
    assert (
        asked[::2] == ["s"] * 10
        and sorted(asked[1::2]) == ["l"] * 5 + ["l2"] * 5
        and caplog.text == ""
    )
    odd = PrefillStrategy(
        router,
        SimpleNamespace(
            model_list=[*LIST, deployment("auto", "openai/large-2024", id="x")],
            model_group_alias={"best": "auto"},
        ),
    )
    assert {ask(odd, "hard", "best") for _ in range(6)} == {"l", "l2"}
    assert caplog.text.count("openai/large-2024: no target of the router") == 1


@pytest.mark.parametrize("alias", ["auto", {"model": "auto", "hidden": True}])
def test_newer_versions_tell_deployments_and_aliases_by_their_registry(router, alias):
    registry = SimpleNamespace(all=lambda: LIST, aliases=lambda: {"best": alias})
    s = PrefillStrategy(router, SimpleNamespace(registry=lambda: registry))
    assert {ask(s, "hard", "best") for _ in range(4)} == {"l", "l2"} and ask(
        s, "easy", "best"
    ) == "s"


def test_other_groups_are_left_alone(router):
    s = strategy(router)
    assert (
        ask(s, "hard", "embeddings") == "e"
        and ask(s, "hard", "one") == "only"
        and router.asked == []
    )
    with pytest.raises(ValueError, match="no deployment has the model name 'nothing'"):
        ask(s, "x", "nothing")


def test_a_prompt_unlike_the_training_goes_to_the_dearest_where_the_best_is_not_in_the_group(
    router,
):
    route = router.route
    router.route = lambda prompt: replace(route(prompt), target="huge", reason="it is unlike")
    assert ask(strategy(router, tolerance=0.9), "easy") in ("l", "l2")  # not small, which P prefers
    assert ask(strategy(router, fallback="small"), "hard") == "s"
    there = PrefillStrategy(
        router, SimpleNamespace(model_list=[*LIST, deployment("auto", "huge", id="h")])
    )
    assert ask(there, "easy") == "h"


def test_a_request_may_name_a_deployment_its_model_or_what_a_wildcard_fits(router):
    wild = [
        deployment("openai/*", "openai/*", id="w"),
        deployment("openai/gpt-*", "azure/my-*", id="longer"),
        deployment("*/fixed/*", "azure/fixed", id="f"),
        deployment("a-*-*", "openai/*", id="two"),
    ]
    s = PrefillStrategy(router, SimpleNamespace(model_list=[*LIST, *wild]))

    def given(model, **how):
        found = s.get_available_deployment(model, [{"role": "user", "content": "hard"}], **how)
        assert found == asyncio.run(s.async_get_available_deployment(model, "hard", **how))
        return found["model_info"]["id"], found["litellm_params"]["model"]

    assert given("s") == ("s", "openai/small")
    assert given("azure/anything", specific_deployment=True) == ("l", "azure/anything")
    assert given("openai/o3") == ("w", "openai/o3")
    assert given("openai/gpt-4o") == ("longer", "azure/my-4o")
    assert given("x/fixed/y") == ("f", "azure/fixed")
    assert given("a-b-c") == ("two", "a-b-c")  # more parts than places: as it was asked for
    assert router.asked == [] and wild[0]["litellm_params"]["model"] == "openai/*"
    with pytest.raises(ValueError, match="no deployment has the model name 'gpt'"):
        given("gpt", specific_deployment=True)


@pytest.mark.parametrize("how", ["async", "sync"])
def test_a_router_that_fails_or_is_late_costs_the_routing_and_not_the_request(router, how, caplog):
    s = strategy(router, deadline=0.2)
    router.error = RuntimeError("out of memory")
    assert ask(s, "easy", how=how) in ("l", "l2") and s.fallbacks == 1  # the dearest of the group
    assert "no route (RuntimeError: out of memory); large answers instead" in caplog.text
    router.error, router.seconds = None, 2.0
    started = time.perf_counter()
    assert ask(strategy(router, deadline=0.2, fallback="small"), "hard", how=how) == "s"
    assert time.perf_counter() - started < 1.2
    assert "no route within 0.2 s; small answers instead" in caplog.text
    assert ask(strategy(router, deadline=5, fallback="huge"), "hard", how=how) in ("l", "l2")


def test_many_at_once_are_answered_in_time_while_the_router_is_stuck(router):
    router.seconds = 0.3
    s = strategy(router, deadline=0.1, workers=1)

    async def many():
        return await asyncio.gather(
            *(
                s.async_get_available_deployment("auto", [{"role": "user", "content": "easy"}])
                for _ in range(20)
            )
        )

    assert len(asyncio.run(many())) == 20 and s.fallbacks == 20
    assert len(router.asked) <= 2  # those that had not begun were dropped


def test_a_request_that_waited_in_vain_is_not_routed_later(router):
    router.seconds = 0.3
    s = strategy(router, deadline=0.05, workers=1)
    assert [ask(s, "easy", how="sync") in ("l", "l2") for _ in range(5)] == [True] * 5
    time.sleep(0.6)
    assert len(router.asked) <= 2 and s.fallbacks == 5


def test_what_makes_no_sense_is_refused(router):
    for options in ({"fallback": "medium"}, {"tolerance": -1}, {"deadline": 0}):
        with pytest.raises(RouterError, match="fallback 'medium'|(tolerance|deadline) must be"):
            strategy(router, **options)


def test_the_text_of_the_last_user_message():
    assert (
        last_user_text(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url"},
                        {"type": "text", "text": "b"},
                    ],
                },
                {"role": "tool", "content": "t"},
            ]
        )
        == "a\nb"
    )
    assert last_user_text(None) == last_user_text([{"role": "system", "content": "x"}]) == ""
    assert last_user_text([{"role": "user", "content": None}]) == last_user_text([]) == ""
    # the last turn that has text
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for last in (
        [{"type": "image_url", "image_url": {"url": "x"}}],
        [{"type": "text", "text": " "}],
        "",
        None,
    ):
        assert last_user_text([*turns, {"role": "user", "content": last}]) == "a"


# what litellm.Router (1.110) hands over for the Responses API: messages=None and `input`, as the
# caller wrote it
RESPONSES = {
    "text": "{}",
    "parts": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "{}"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            ],
        }
    ],
    "a typed message": [
        {"role": "developer", "content": "hard"},
        {"type": "message", "role": "user", "content": "{}"},
    ],
    "a tool's result last": [
        {"role": "user", "content": "hard"},
        {"role": "user", "content": [{"type": "input_text", "text": "{}"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "hard"},
    ],
    "an image last": [
        {"role": "user", "content": "{}"},
        {
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}],
        },
    ],
    "objects of the client among them": [
        {"role": "user", "content": "{}"},
        SimpleNamespace(
            type="message",
            role="assistant",
            content=[SimpleNamespace(type="output_text", text="hard")],
        ),
        SimpleNamespace(type="reasoning", summary=[]),
    ],
}


def written(value, text):
    """The input with a text in the place of every brace pair of a user."""
    if isinstance(value, str):
        return text if value == "{}" else value
    if isinstance(value, list):
        return [written(part, text) for part in value]
    return (
        {k: v if k == "arguments" else written(v, text) for k, v in value.items()}
        if isinstance(value, dict)
        else value
    )


@pytest.mark.parametrize("how", ["async", "sync"])
@pytest.mark.parametrize("kind", RESPONSES)
def test_requests_of_the_responses_api_are_routed(router, how, kind):
    s = strategy(router)
    for text, expected in (("easy", {"s"}), ("so hard", {"l", "l2"})):
        given = {
            "model": "auto",
            "messages": None,
            "input": written(RESPONSES[kind], text),
            "specific_deployment": False,
            "request_kwargs": {"input": "ignored"},
        }
        found = (
            asyncio.run(s.async_get_available_deployment(**given))
            if how == "async"
            else s.get_available_deployment(**given)
        )
        assert found["model_info"]["id"] in expected and router.asked[-1] == text
    assert s.fallbacks == 0


class Stub(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that says which of its models was asked; a stream says it in
    three parts.
    """

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = f"I am {request['model']}"
        self.send_response(200)
        if request.get("stream"):
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for part in ("I ", "am ", request["model"], None):
                chunk = {
                    "id": "c",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": request["model"],
                    "choices": [
                        {
                            "index": 0,
                            "delta": {"role": "assistant", "content": part} if part else {},
                            "finish_reason": None if part else "stop",
                        }
                    ],
                }
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
            return
        part = {"type": "output_text", "text": text, "annotations": []}
        answer = (
            {
                "id": "r",
                "object": "response",
                "created_at": 1,
                "status": "completed",
                "model": request["model"],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
                "error": None,
                "incomplete_details": None,
                "instructions": None,
                "metadata": {},
                "temperature": 1,
                "top_p": 1,
                "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
                "output": [
                    {
                        "type": "message",
                        "id": "m",
                        "status": "completed",
                        "role": "assistant",
                        "content": [part],
                    }
                ],
            }
            if self.path.endswith("/responses")
            else {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": request["model"],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
            }
        )
        body = json.dumps(answer).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(router, monkeypatch):
    """LiteLLM's own router with the strategy in it, over a stub server on the loopback."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else its import asks the network
    litellm = pytest.importorskip(
        "litellm", reason="litellm is not installed (pip install litellm)"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}/v1"
    models = [
        {
            "model_name": "auto",
            "litellm_params": {"model": f"openai/{name}", "api_base": base, "api_key": "none"},
        }
        for name in ("small", "large")
    ]
    real = litellm.Router(model_list=models, num_retries=0)
    s = PrefillStrategy(router, real, deadline=2.0)
    (
        real.register_plugin
        if hasattr(real, "register_plugin")
        else real.set_custom_routing_strategy
    )(s)
    yield real, s
    server.shutdown()


def user(text):
    return [{"role": "user", "content": text}]


def test_the_real_library(served, router):
    real, s = served
    assert (
        real.completion(model="auto", messages=user("easy")).choices[0].message.content
        == "I am small"
    )
    assert (
        real.completion(model="auto", messages=user("hard")).choices[0].message.content
        == "I am large"
    )
    stream = real.completion(model="auto", messages=user("hard"), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "I am large"

    async def at_once():
        texts = ["easy", "hard"] * 10
        answers = await asyncio.gather(
            *(real.acompletion(model="auto", messages=user(text)) for text in texts)
        )
        assert [a.choices[0].message.content for a in answers] == ["I am small", "I am large"] * 10
        parts = [
            chunk.choices[0].delta.content or ""
            async for chunk in await real.acompletion(
                model="auto", messages=user("easy"), stream=True
            )
        ]
        assert "".join(parts) == "I am small"

    asyncio.run(at_once())
    assert s.fallbacks == 0 and len(router.asked) == 24


def test_the_real_librarys_responses_api(served, router):
    real, s = served
    for text, name in (("easy", "small"), ("hard", "large")):
        for given in (
            text,
            [
                {"role": "user", "content": [{"type": "input_text", "text": text}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "42"},
            ],
        ):
            answers = [
                real.responses(model="auto", input=given),
                asyncio.run(real.aresponses(model="auto", input=given)),
            ]
            assert [a.output[0].content[0].text for a in answers] == [f"I am {name}"] * 2
    assert s.fallbacks == 0 and router.asked == ["easy"] * 4 + ["hard"] * 4


def test_the_real_library_answers_when_the_router_does_not(served, router):
    real, s = served
    s.deadline, router.seconds = 0.1, 0.5
    assert (
        asyncio.run(real.acompletion(model="auto", messages=user("easy")))
        .choices[0]
        .message.content
        == "I am large"
    )
    router.seconds, router.error = 0.0, ValueError("x")
    assert (
        real.completion(model="auto", messages=user("easy")).choices[0].message.content
        == "I am large"
    )
    assert s.fallbacks == 2
