"""A routing strategy for LiteLLM: the deployment is picked by `Router.route`.

    strategy = PrefillStrategy(Router.load("build/local/router").attach(), litellm_router,
    tolerance=0.05, fallback="gpt-4o") litellm_router.set_custom_routing_strategy(strategy)  #
    register_plugin(strategy) in newer versions

A deployment belongs to the target that its ``model_info: {target: NAME}`` says, else to the one
named as ``litellm_params: {model}`` is, with or without the provider before the slash. LiteLLM
itself is not imported: it asks for the two methods below and for nothing else, with ``messages``
or, for the Responses API, with ``input`` and no messages. A custom strategy picks for every
request, so LiteLLM's cooldowns do not keep it from a deployment that has just failed: give LiteLLM
``fallbacks`` for that.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np

from prefill_router.serve.routed import LENGTH, Route, RouterError
from prefill_router.serve.router import Router

log = logging.getLogger(__name__)


def last_user_text(messages: str | Sequence[Any] | None) -> str:
    """The text of the last user turn that has any: what a router is trained on.

    Parameters
    ----------
    messages : str, or sequence of messages
        Of the chat API (parts of the type ``text``) or the ``input`` of the Responses API
        (``input_text``), where tool calls and their results stand beside the turns. Parts that are
        no text are left out; a turn without any, an image say, is passed over.
    """
    if isinstance(messages, str):
        return messages
    for message in reversed(messages or []):
        if _field(message, "role") == "user":
            content = _field(message, "content")
            parts = [content] if isinstance(content, str) else content or []
            texts = (
                part if isinstance(part, str) else _field(part, "text")
                for part in parts
                if isinstance(part, str) or _field(part, "type") in ("text", "input_text")
            )
            text = "\n".join(t for t in texts if t)
            if text.strip():
                return text
    return ""


def _field(item: Any, name: str) -> Any:
    """Of a dict, or of an object of a client library, as a program adds to ``input`` what it was
    answered.
    """
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def named(deployments: Sequence[Any], name: str, specific: bool = False) -> list[Any]:
    """The deployments that a request means by a name, as LiteLLM has it: those of the model group;
    else the one of this id; else those of the group whose wildcard fits, the longest pattern first,
    with what the wildcard stands for in their model.

    Parameters
    ----------
    deployments : sequence of dict
    name : str
    specific : bool
        The request names a model instead (``specific_deployment``).
    """
    if specific:
        return [d for d in deployments if d["litellm_params"]["model"] == name]
    found = [d for d in deployments if d["model_name"] == name]
    found = found or [d for d in deployments if (d.get("model_info") or {}).get("id") == name]
    patterns = {d["model_name"] for d in deployments if "*" in d["model_name"]}
    for pattern in [] if found else sorted(patterns, key=lambda p: (-len(p), p)):
        if fits := re.fullmatch(re.escape(pattern).replace(r"\*", "(.*)"), name):
            return [_filled(d, fits) for d in deployments if d["model_name"] == pattern]
    return found


def _filled(deployment: Any, fits: re.Match[str]) -> Any:
    """A deployment of a wildcard group with the model that is asked for."""
    params = deployment["litellm_params"]
    model, parts = params["model"], fits.groups()
    if len(parts) > model.count("*") > 0:
        model = fits.string
    for part in parts:
        model = model.replace("*", part, 1)
    return {**deployment, "litellm_params": {**params, "model": model}}


class PrefillStrategy:
    """Picks the deployment that the router's plan asks for, or, with a tolerance, the cheapest
    whose P(correct) is within it of the best.

    Parameters
    ----------
    router : Router
        Loaded; its encoder is loaded with the first request unless :meth:`Router.attach` did it
        before.
    litellm_router : litellm.Router
        Only its list of deployments is read, at every request.
    tolerance : float >= 0, optional
        Default: the plan that `Router.route` follows.
    deadline : float
        Seconds that a request waits for the router; then, or if the router raises, the fallback
        answers. Nothing is lost but the routing.
    fallback : str, optional
        Target that answers then, and prompts unlike the training; default: for these the best
        single target; where it is not in the request's group, and for the others, the one of the
        group that costs most on a prompt of 1,000 tokens.
    workers : int, optional
        Prefills that run at the same time, each with one thread; default: one for every core.

    Attributes
    ----------
    fallbacks : int
        Requests that the fallback answered.

    Raises
    ------
    RouterError
        ``fallback`` is no target of the router, or a number makes no sense.
    """

    def __init__(
        self,
        router: Router,
        litellm_router: Any,
        tolerance: float | None = None,
        deadline: float = 1.0,
        fallback: str | None = None,
        workers: int | None = None,
    ) -> None:
        if fallback is not None and fallback not in router.target_names:
            raise RouterError(
                f"the fallback {fallback!r} is no target of the router; it has"
                f" {', '.join(router.target_names)}"
            )
        if not deadline > 0:
            raise RouterError(f"deadline must be > 0, not {deadline!r}")
        self.router, self.litellm_router, self.deadline, self.fallback = (
            router,
            litellm_router,
            deadline,
            fallback,
        )
        self.decision = router.decision(tolerance)
        self.fallbacks = 0
        self._lock = threading.Lock()
        self._turns: defaultdict[tuple[str, str], Iterator[int]] = defaultdict(itertools.count)
        self._warned: set[str] = set()
        self._pool = ThreadPoolExecutor(
            workers or os.cpu_count() or 1, thread_name_prefix="prefill"
        )

    async def async_get_available_deployment(
        self,
        model: str,
        messages: Any = None,
        input: Any = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict | None = None,
    ) -> Any:
        """The deployment for a request, without blocking the event loop."""
        by_target = self._deployments(model, bool(specific_deployment))
        if len(by_target) < 2:
            return self._one_of(by_target, model)
        asked = self._pool.submit(self._route, messages or input)
        try:
            found = await asyncio.wait_for(asyncio.wrap_future(asked), self.deadline)
        except (
            Exception
            # whatever it is, the request must be answered; a cancelled request is no Exception
        ) as error:
            return self._fall_back(asked, error, by_target, model)
        return self._pick(found, by_target, model)

    def get_available_deployment(
        self,
        model: str,
        messages: Any = None,
        input: Any = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict | None = None,
    ) -> Any:
        """The deployment for a request."""
        by_target = self._deployments(model, bool(specific_deployment))
        if len(by_target) < 2:
            return self._one_of(by_target, model)
        asked = self._pool.submit(self._route, messages or input)
        try:
            found = asked.result(self.deadline)
        except Exception as error:
            return self._fall_back(asked, error, by_target, model)
        return self._pick(found, by_target, model)

    def _route(self, messages: Any) -> Route:
        return self.router.route(last_user_text(messages))

    def _deployments(self, group: str, specific: bool = False) -> dict[str, list[Any]]:
        """Deployments of a model group by target; "" holds those of no target."""
        found: dict[str, list[Any]] = {}
        registry = getattr(
            self.litellm_router, "registry", None
        )  # of newer versions, where the attributes are deprecated
        aliases = (
            registry().aliases()
            if callable(registry)
            else getattr(self.litellm_router, "model_group_alias", None)
        )
        alias = (aliases or {}).get(group, group)
        group = alias["model"] if isinstance(alias, Mapping) else alias
        known = registry().all() if callable(registry) else self.litellm_router.model_list
        for deployment in named(list(known), group, specific):
            model = deployment["litellm_params"]["model"]
            name = (deployment.get("model_info") or {}).get("target") or model
            names = [n for n in (name, name.partition("/")[2]) if n in self.router.target_names]
            found.setdefault(names[0] if names else "", []).append(deployment)
        targets = {target: deployments for target, deployments in found.items() if target}
        if targets and "" in found and group not in self._warned:
            self._warned.add(group)
            others = ", ".join(str(d["litellm_params"]["model"]) for d in found[""])
            log.warning(
                "group %s: %s: no target of the router (%s), so never picked; say model_info:"
                " {target: NAME}",
                group,
                others,
                ", ".join(self.router.target_names),
            )
        # a group none of whose deployments is a target is another one's business: any of them will
        # do
        return targets or found

    def _one_of(
        self, by_target: Mapping[str, list[Any]], group: str, target: str | None = None
    ) -> Any:
        """A deployment of a target, in turn."""
        if not by_target:
            raise ValueError(f"no deployment has the model name {group!r}")
        target = target if target is not None else next(iter(by_target))
        return by_target[target][next(self._turns[group, target]) % len(by_target[target])]

    def _pick(self, found: Route, by_target: Mapping[str, list[Any]], group: str) -> Any:
        if found.reason:  # it is unlike the training: its P is not to be trusted
            here = [name for name in (self.fallback, found.target) if name in by_target]
            target = here[0] if here else self._dearest(by_target)
            log.info("%s: %s", found.reason, target)
            return self._one_of(by_target, group, target)
        names = [name for name in found.p_correct if name in by_target]
        p, cost = (
            np.array([values[name] for name in names]) for values in (found.p_correct, found.cost)
        )
        target = self.decision.choose(names, p, cost)
        log.info(
            "P(correct) %s: %s", {name: round(found.p_correct[name], 3) for name in names}, target
        )
        return self._one_of(by_target, group, target)

    def _dearest(self, by_target: Mapping[str, list[Any]]) -> str:
        costs = {
            t.name: t.cost_per_query + LENGTH * t.tokens_per_encoder_token * t.cost_per_input_token
            for t in self.router.targets
            if t.name in by_target
        }
        return max(costs, key=costs.__getitem__)

    def _fall_back(
        self, asked: Future, error: Exception, by_target: Mapping[str, list[Any]], group: str
    ) -> Any:
        asked.cancel()  # one that has not begun shall not hold up others
        with self._lock:
            self.fallbacks += 1
        target = self.fallback if self.fallback in by_target else self._dearest(by_target)
        late = isinstance(error, TimeoutError | FutureTimeout | asyncio.TimeoutError)
        log.warning(
            "%s; %s answers instead",
            (
                f"no route within {self.deadline:g} s"
                if late
                else f"no route ({type(error).__name__}: {error})"
            ),
            target,
        )
        return self._one_of(by_target, group, target)
