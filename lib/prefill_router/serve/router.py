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

from prefill_router.data.costs import cost_lines
from prefill_router.data.outcomes import Outcomes, check_trainable
from prefill_router.encode.network import Encoder
from prefill_router.encode.store import ActivationStore
from prefill_router.features.queries import LabelledQueries, States
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.fit import METHODS, FitSettings, fit_method
from prefill_router.serve.asking import ask
from prefill_router.serve.attached import Attached, attach, note_of
from prefill_router.serve.routed import (
    Route,
    RouterError,
    asked_targets,
    checked_fallback,
    expected_cost,
    routable,
    routed_targets,
    routes,
    tokens_of,
)
from prefill_router.serve.saved import RouterParts, read_router, write_router


class Router:
    """Routes prompts by the prefill of one or more encoders.

    Made by :meth:`fit` or :meth:`load`. Any number of threads may ask one router at the same time.

    Attributes
    ----------
    fitted : Fitted
        What predicts P(correct): the same as in the evaluation.
    targets : tuple of RoutedTarget
    cost_unit : str
    trained_on : int
        Queries.
    encoder_notes : tuple of dict
        Of every encoder: fingerprint, name, n_layers, hidden_size, plain_prompt.
    """

    def __init__(self, parts: RouterParts) -> None:
        self.fitted, self.targets = parts.fitted, tuple(parts.targets)
        self.cost_unit, self.trained_on = parts.cost_unit, parts.trained_on
        self.encoder_notes = tuple(dict(note) for note in parts.encoders)
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
    ) -> Router:
        """Train on outcomes, as `heads.fit.fit_method` does for the evaluation.

        Parameters
        ----------
        outcomes : Outcomes
        stores : ActivationStore, or a mapping of encoder name to one
            Of all these queries. The kernel router chooses among the encoders by cross-validation
            and reads those chosen; the networks read the first.
        rows : int ndarray, optional
            Training queries; default: all.
        method : one of ``METHODS``
            The kernel router ("ours"), which keeps its training states (n x D values), or a
            network, which is small: SharedTrunkNet on a layer per target ("paper", "paper_auc") or
            on all layers ("shared_block"), or the adapter trunk.
        settings : FitSettings, optional
        seed : int
        targets : sequence of str, optional
            Those that are routed to; default: all. Without a price a target is left out, with a
            warning: it could not be weighed against others. The kernel router learns from the
            outcomes of all targets all the same.

        Notes
        -----
        It computes on one core, but for the probes of layers: see `hardware.torch_threads`.

        Raises
        ------
        RouterError
            An unknown method, fewer than two priced targets.
        OutcomesError
            A target that was always right or always wrong, or whose cost no training query tells.
        """
        if method not in METHODS:
            raise RouterError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
        rows = np.arange(outcomes.n) if rows is None else np.asarray(rows)
        pool = routable(outcomes if targets is None else outcomes.pool(list(targets)))
        check_trainable(pool.correct[rows], pool.target_names)
        cost_lines(pool, rows)  # what has no cost is told before the training
        stores = dict(stores) if isinstance(stores, Mapping) else {stores.encoder_name: stores}
        names = pool.target_names
        # other targets help the kernel router to tell difficulty apart, if they were asked
        learnt = asked_targets(outcomes, rows) if method == "ours" else names
        queries = LabelledQueries.of(stores, outcomes).rows(rows).of_targets(learnt)
        fitted = fit_method(method, queries, settings or FitSettings(), seed)
        if learnt != names:
            fitted = fitted.of_targets(names)
        tokens = tokens_of(stores[fitted.encoders[0]], queries.query_ids)
        notes = [note_of(stores[name]) for name in fitted.encoders]
        routed = routed_targets(pool, rows, tokens)
        return cls(RouterParts(fitted, routed, outcomes.cost_unit, len(rows), notes))

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

    @overload  # a string is a sequence of strings, too, but gets one route
    def route(  # type: ignore[overload-overlap]
        self, prompt: str, tolerance: float = ..., on_error: str = ..., fallback: str | None = ...
    ) -> Route: ...

    @overload
    def route(
        self,
        prompt: Sequence[str],
        tolerance: float = ...,
        on_error: str = ...,
        fallback: str | None = ...,
    ) -> list[Route]: ...

    def route(
        self,
        prompt: str | Sequence[str],
        tolerance: float = 0.0,
        on_error: str = "raise",
        fallback: str | None = None,
    ) -> Route | list[Route]:
        """The cheapest target whose P(correct) is at most ``tolerance`` below the highest.

        Parameters
        ----------
        prompt : str, or a sequence of them
            A sequence is read in batches, on all cores: several times faster than one by one.
            P(correct) of a prompt does not depend on the others but for rounding in the encoder's
            dtype.
        tolerance : float >= 0
            0: the most probable target; larger: cheaper ones.
        on_error : {"raise", "fallback"}
            What becomes of a prompt that cannot be read: empty, longer than the encoder's context,
            no text. With "fallback" it goes to the fallback, and its route says the reason.
        fallback : str, optional
            A target; default: the one that costs most on a prompt of 1,000 tokens.

        Returns
        -------
        Route, or a list of them in the order of the prompts

        Raises
        ------
        RouterError
            ``tolerance``, ``on_error`` or ``fallback`` makes no sense; the encoder is another one.
        EncoderError
            A prompt cannot be read; those of a sequence are named by position: ``prompts[3]``.
        ActivationError
            An encoder's states that are not finite, or too little memory.
        """
        reads, fallback = self._ready(tolerance, on_error, fallback)
        if isinstance(prompt, str):
            return self._routes(reads, {"": prompt}, tolerance, on_error, fallback)[0]
        named = {f"prompts[{i}]": text for i, text in enumerate(prompt)}
        return self._routes(reads, named, tolerance, on_error, fallback)

    def stream(
        self,
        prompts: Iterable[str],
        tolerance: float = 0.0,
        on_error: str = "raise",
        fallback: str | None = None,
    ) -> Iterator[Route]:
        """A :class:`Route` for every prompt as it comes, in order; a prompt is taken from the
        iterable when it is needed.

        Parameters, errors: as in :meth:`route`.
        """
        reads, fallback = self._ready(tolerance, on_error, fallback)
        for i, prompt in enumerate(prompts):
            yield self._routes(reads, {f"prompts[{i}]": prompt}, tolerance, on_error, fallback)[0]

    def _ready(
        self, tolerance: float, on_error: str, fallback: str | None
    ) -> tuple[dict[str, Attached], str]:
        """The encoders, loaded once, and the fallback; RouterError for what makes no sense."""
        fallback = checked_fallback(self.targets, tolerance, on_error, fallback)
        with self._lock:  # of threads that come at once, one loads the encoders
            if self._reads is None:
                self.attach(device=self._device)
            assert self._reads is not None
            return self._reads, fallback

    def _routes(
        self,
        reads: dict[str, Attached],
        prompts: dict[str, str],
        tolerance: float,
        on_error: str,
        fallback: str,
    ) -> list[Route]:
        """Routes of named prompts, in their order."""
        p, tokens, reasons = ask(reads, prompts, self.fitted, on_error)
        found = routes(self.targets, p, tokens, reasons, tolerance, fallback)
        return [found[name] for name in prompts]

    def save(self, folder: str | Path) -> Path:
        """Write ``router.safetensors`` and ``router.json``; returns the folder."""
        parts = RouterParts(
            self.fitted, self.targets, self.cost_unit, self.trained_on, self.encoder_notes
        )
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
