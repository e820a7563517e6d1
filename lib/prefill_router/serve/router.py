"""A trained router: from a prompt to the target that should answer it.

`Router.fit` learns one from outcomes and activations, `save` and `load` keep it as safetensors and
JSON, `route` asks it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from prefill_router.data.outcomes import Outcomes
from prefill_router.encode.network import Encoder
from prefill_router.encode.store import ActivationStore
from prefill_router.evaluate.plans import FALSE_ALARMS
from prefill_router.features.queries import States
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.fit import FitSettings
from prefill_router.serve.asking import ask, named_prompts
from prefill_router.serve.attached import Attached, attach
from prefill_router.serve.planned import Decision, Plans
from prefill_router.serve.routed import Route, RouterError, checked_fallback, expected_cost, routes
from prefill_router.serve.saved import RouterParts, read_router, write_router
from prefill_router.serve.training import trained


class Router:
    """Routes prompts by the prefill of one or more encoders.

    Made by :meth:`fit` or :meth:`load`. Any number of threads may ask it at the same time.

    Attributes
    ----------
    fitted : Fitted
        What predicts P(correct): the same as in the evaluation.
    targets : tuple of RoutedTarget
    cost_unit : str
    trained_on : int
        Queries.
    tidy_prompts : bool
        Whether prompts are read as `data.texts.tidy` has them, since those of the training were so.
    encoder_notes : tuple of dict
        Of every encoder: fingerprint, name, n_layers, hidden_size, plain_prompt.
    plans : dict of str to Plan
        Operating points with their evidence (`evaluate.plans`): ``no_loss``, which :meth:`route`
        follows by default, ``one_point`` and ``budget``. Empty if the file has none.
    """

    def __init__(self, parts: RouterParts) -> None:
        self.fitted, self.targets = parts.fitted, tuple(parts.targets)
        self.cost_unit, self.trained_on = parts.cost_unit, parts.trained_on
        self.tidy_prompts = parts.tidy_prompts
        self.encoder_notes = tuple(dict(note) for note in parts.encoders)
        self._plans = Plans.from_json(parts.plans, [target.name for target in self.targets])
        self.plans = dict(self._plans.by_name)
        # one assignment, so that threads see all encoders or none
        self._reads: dict[str, Attached] | None = None
        self._lock, self._device = threading.Lock(), "auto"

    @classmethod
    @one_blas_thread
    def fit(
        cls,
        outcomes: Outcomes,
        stores: ActivationStore | Mapping[str, ActivationStore],
        rows: np.ndarray | None = None,
        method: str = "ours",
        settings: FitSettings | None = None,
        seed: int = 0,
        targets: Sequence[str] | None = None,
        plan: bool = True,
    ) -> Router:
        """Train on outcomes, as `heads.fit.fit_method` does for the evaluation, and choose plans.

        Parameters
        ----------
        outcomes : Outcomes
        stores : ActivationStore, or a mapping of encoder name to one
            Of all these queries. The kernel router chooses among the encoders by cross-validation
            and reads those chosen; the networks read the first.
        rows : int ndarray, optional
            Training queries; default: all.
        method : one of ``METHODS``
            The kernel router ("ours"), which keeps at most ``settings.router_bytes`` of its
            training states, or a network, which is small: SharedTrunkNet on a layer per target
            ("paper", "paper_auc") or on all layers ("shared_block"), or the adapter trunk.
        settings : FitSettings, optional
        seed : int
        targets : sequence of str, optional
            Those that are routed to; default: all. Without a price a target is left out, with a
            warning: it could not be weighed against others. The kernel router learns from the
            outcomes of all targets all the same.
        plan : bool
            Choose plans, by out-of-fold P: a network is trained three more times for it.

        Notes
        -----
        Of its eight parameters all but two have defaults. It computes on one core, but for the
        probes of layers: see `hardware.torch_threads`.

        Raises
        ------
        RouterError
            An unknown method, fewer than two priced targets.
        OutcomesError
            A target that was always right or always wrong, or whose cost no training query tells.
        """
        return cls(trained(outcomes, stores, rows, method, settings, seed, targets, plan))

    @property
    def method(self) -> str:
        """One of ``METHODS``."""
        return self.fitted.method

    @property
    def encoder_note(self) -> dict[str, Any]:
        """Note of the first encoder, by whose tokens costs are told."""
        return self.encoder_notes[0]

    @property
    def target_names(self) -> list[str]:
        """Names in the order of the columns of :meth:`predict_proba`."""
        return [target.name for target in self.targets]

    def predict_proba(
        self, stores: States | Mapping[str, States], query_ids: Sequence[str] | np.ndarray
    ) -> np.ndarray:
        """P(correct) of every target from activations that are there already: float64 [n, K].

        ``stores`` are those of the encoders by name, or the one of a router that reads one encoder.
        """
        encoders = self.fitted.encoders
        by_name = stores if isinstance(stores, Mapping) else dict.fromkeys(encoders[:1], stores)
        if lacking := [name for name in encoders if name not in by_name]:
            raise RouterError(
                f"the router reads {', '.join(encoders)}; states of {', '.join(lacking)} are"
                " missing"
            )
        return self.fitted.predict_proba(by_name, query_ids)

    def expected_cost(self, tokens: np.ndarray) -> np.ndarray:
        """Cost [n, K] of queries of so many tokens [n] of the first encoder: input tokens x cost
        per input token + cost per query.
        """
        return expected_cost(self.targets, tokens)

    def attach(
        self,
        encoder: Encoder | str | Mapping[str, Encoder | str] | None = None,
        device: str = "auto",
    ) -> Router:
        """Give the router the encoder that it reads, or several by name; by default those it was
        trained with, loaded by name in the dtype of the training.

        Raises
        ------
        RouterError
            If an encoder's weights, revision or chat template are not those of the training.
        """
        self._reads = attach(self, self.fitted.encoders, self.encoder_notes, encoder, device)
        return self

    def decision(self, tolerance: float | None = None, plan: str | None = None) -> Decision:
        """How :meth:`route` decides by P and cost; RouterError for what makes no sense."""
        return self._plans.decision(tolerance, plan)

    @overload
    def route(self, prompt: str, *how: Any, **named: Any) -> Route: ...

    @overload
    def route(self, prompt: Sequence[str], *how: Any, **named: Any) -> list[Route]: ...

    def route(
        self,
        prompt: str | Sequence[str],
        tolerance: float | None = None,
        on_error: str = "raise",
        fallback: str | None = None,
        plan: str | None = None,
        budget: float | None = None,
        false_alarms: float = FALSE_ALARMS,
    ) -> Route | list[Route]:
        """The target that a plan asks for: by default the plan that loses no accuracy against the
        best single target, with 95 % confidence.

        Parameters
        ----------
        prompt : str, or a sequence of them
            A sequence is read in batches, on all cores: several times faster than one by one. A
            prompt's P does not depend on the others but for rounding in the encoder's dtype.
        tolerance : float >= 0, optional
            No plan, but the cheapest target whose P is at most so much below the highest.
        on_error : {"raise", "fallback"}
            What becomes of a prompt that cannot be read: empty, too long, no text. With "fallback"
            it goes to the fallback, and its route says the reason.
        fallback : str, optional
            A target; default: the best single target of the plans, without plans the one that
            costs most on a prompt of 1,000 tokens.
        plan : str, optional
            One of ``plans``.
        budget : float, optional
            The most accurate rule whose mean expected cost on the labelled queries was at most this
            (or always the best single target), in the cost unit. Give at most one of the three.
        false_alarms : float in [0, 1)
            A prompt that is less like the training than all but about this share of the training
            prompts goes to the fallback, and its route says so. 0: none does.

        Returns
        -------
        Route, or a list of them in the order of the prompts

        Raises
        ------
        RouterError
            An argument makes no sense, such as a message in place of its text; another encoder.
        EncoderError
            A prompt cannot be read; those of a sequence are named by position: ``prompts[3]``.
        ActivationError
            An encoder's states that are not finite, or too little memory.
        """
        named = named_prompts(prompt)
        how = self._ready(tolerance, on_error, fallback, plan, budget, false_alarms)
        found = self._routes(named, *how)
        return found[0] if isinstance(prompt, str) else found

    def stream(self, prompts: Iterable[str], *how: Any, **named: Any) -> Iterator[Route]:
        """A :class:`Route` for every prompt as it comes, in order; a prompt is taken from the
        iterable when it is needed.

        Parameters, errors: as in :meth:`route`.
        """
        ready = self._ready(*how, **named)
        for i, prompt in enumerate(prompts):
            yield self._routes({f"prompts[{i}]": prompt}, *ready)[0]

    def _ready(
        self,
        tolerance: float | None = None,
        on_error: str = "raise",
        fallback: str | None = None,
        plan: str | None = None,
        budget: float | None = None,
        false_alarms: float = FALSE_ALARMS,
    ) -> tuple[dict[str, Attached], Decision, str, str]:
        """The encoders, loaded once, the decision, `on_error` and the fallback; RouterError for
        what makes no sense.
        """
        decision = self._plans.decision(tolerance, plan, budget, false_alarms)
        fallback = checked_fallback(self.targets, on_error, fallback, self._plans.best)
        with self._lock:  # of threads that come at once, one loads the encoders
            if self._reads is None:
                self.attach(device=self._device)
            assert self._reads is not None
            return self._reads, decision, on_error, fallback

    def _routes(
        self,
        prompts: dict[str, str],
        reads: dict[str, Attached],
        decision: Decision,
        on_error: str,
        fallback: str,
    ) -> list[Route]:
        """Routes of named prompts, in their order."""
        p, tokens, reasons = ask(reads, prompts, self.fitted, on_error, self.tidy_prompts)
        found = routes(self.targets, p, tokens, reasons, decision, fallback)
        return [found[name] for name in prompts]

    def save(self, folder: str | Path) -> Path:
        """Write ``router.safetensors`` and ``router.json``; returns the folder."""
        known = (self.cost_unit, self.trained_on, self.encoder_notes)
        plans = self._plans.as_json()
        parts = RouterParts(self.fitted, self.targets, *known, plans, self.tidy_prompts)
        return write_router(parts, folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        encoder: Encoder | str | Mapping[str, Encoder | str] | None = None,
        device: str = "auto",
    ) -> Router:
        """Read a saved router; the encoders are loaded with the first prompt (:meth:`attach` loads
        them before), or checked now if they are given.

        Raises
        ------
        RouterError
            No router there, another format, damaged or incomplete files, another encoder.
        """
        router = cls(read_router(folder))
        router._device = device
        return router if encoder is None else router.attach(encoder, device)
