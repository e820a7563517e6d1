"""A trained router: from a prompt to the target that should answer it.

`Router.fit` learns one from outcomes and activations, `save` and `load` keep it as safetensors and
JSON, `route` asks it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from prefill_router import __version__
from prefill_router.data.costs import cost_lines, priced, without_cost
from prefill_router.data.outcomes import Outcomes, check_trainable
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.network import Encoder
from prefill_router.encode.prefill import Prefill
from prefill_router.encode.prompts import render_prompt
from prefill_router.encode.sources import EncoderError
from prefill_router.encode.store import ActivationStore
from prefill_router.evaluate.rules import route
from prefill_router.features.choice import choose_components, choose_layers
from prefill_router.features.layer_mean import LayerMean, choose_layer_mean
from prefill_router.features.pipeline import FeaturePipeline, SharedBlock
from prefill_router.features.probes import layer_profile
from prefill_router.files import replacing
from prefill_router.hardware import one_blas_thread
from prefill_router.heads.adapter import AdapterEnsemble
from prefill_router.heads.gram import read_states
from prefill_router.heads.kernel import KernelRouter
from prefill_router.heads.network import TrunkConfig
from prefill_router.heads.trunk import TrunkEnsemble
from prefill_router.serve.asking import probabilities, read_prompts
from prefill_router.serve.routed import (
    LENGTH,
    Route,
    RoutedTarget,
    RouterError,
    routed_targets,
    tokens_of,
)

FORMAT = 3
# What each method reads its features with (the kernel router reads states as they are), and what
# predicts from them.
FEATURES: dict[str, Any] = {
    "ours": None,
    "paper": FeaturePipeline,
    "shared_block": SharedBlock,
    "adapter_trunk": LayerMean,
}
HEADS: dict[str, Any] = {
    "ours": KernelRouter,
    "paper": TrunkEnsemble,
    "shared_block": TrunkEnsemble,
    "adapter_trunk": AdapterEnsemble,
}
METHODS = tuple(HEADS)
# What must agree between the encoder of the training and the one at hand. The dtype should: an
# encoder that is loaded by name gets
# that of the training, with one that is given in another dtype P(correct) differs by some
# hundredths, and a warning says so.
_IDENTITY = ("sha256", "revision", "template_sha256", "template_date")


class Router:
    """Routes prompts by an encoder's prefill.

    Made by :meth:`fit` or :meth:`load`. Any number of threads may ask one router at the same time.

    Attributes
    ----------
    method : one of ``METHODS``
    targets : tuple of RoutedTarget
    cost_unit : str
    trained_on : int
        Queries.
    """

    def __init__(
        self,
        method: str,
        head: Any,
        features: Any,
        targets: Sequence[RoutedTarget],
        cost_unit: str,
        trained_on: int,
        encoder: dict[str, Any],
    ) -> None:
        self.method, self.targets, self.cost_unit, self.trained_on = (
            method,
            tuple(targets),
            cost_unit,
            trained_on,
        )
        self.encoder_note = encoder  # fingerprint, n_layers, hidden_size, plain_prompt
        self.head, self.features = head, features
        self._reads: tuple[Encoder, Prefill] | None = (
            None  # one assignment, so that threads see both or neither
        )
        self._lock, self._device = threading.Lock(), "auto"

    @classmethod
    @one_blas_thread
    def fit(
        cls,
        outcomes: Outcomes,
        store: ActivationStore,
        rows: np.ndarray | None = None,
        method: str = "ours",
        seed: int = 0,
        config: TrunkConfig | None = None,
        sizes: Sequence[int] = (50, 100, 150, 200, 300),
        folds: int = 5,
        layer_choice: str = "fisher_j",
        progress: bool = True,
        last_layer: bool = True,
    ) -> Router:
        """Train on outcomes.

        Parameters
        ----------
        outcomes : Outcomes
            Targets without a price are left out, with a warning: they could not be weighed against
            others.
        store : ActivationStore
            Of all these queries.
        rows : int ndarray, optional
            Training queries; default: all.
        method : one of ``METHODS``
            The kernel router ("ours"), which keeps its training states (n x D values), or a
            network, which is small: SharedTrunkNet on a layer per target ("paper") or on all layers
            ("shared_block"), or the adapter trunk.
        seed : int
        config : TrunkConfig, optional
            Of the networks.
        sizes : sequence of int
            Numbers of principal components that cross-validation chooses from ("paper" and
            "adapter_trunk").
        folds : int
            Of that cross-validation.
        layer_choice : {"fisher_j", "probe_auc"}
            What "paper" chooses a target's layer by.
        progress : bool
        last_layer : bool
            Whether "paper" may choose the last block's output (index ``n_layers``), which some
            other projects do not number.

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
        if unknown := without_cost(outcomes):
            warnings.warn(
                f"no price is known for {', '.join(unknown)}: left out of the router", stacklevel=2
            )
        pool = priced(outcomes)
        if pool is None:
            raise RouterError(
                f"{outcomes.name}: fewer than two targets have a price; add prices, a router weighs"
                " P(correct) against cost"
            )
        names, Y = pool.target_names, pool.correct[rows]
        check_trainable(Y, names)
        cost_lines(pool, rows)  # what has no cost is told before the training
        query_ids, groups = (
            pool.queries["query_id"].to_numpy()[rows],
            pool.queries["group"].to_numpy()[rows],
        )
        features: Any = None
        if method in ("paper", "adapter_trunk"):
            profile = layer_profile(
                store, query_ids, Y, names, groups, store.encoder_name, seed=seed, progress=progress
            )
        if method == "paper":
            profile = profile if last_layer else profile[profile["layer"] < store.n_layers]
            features = FeaturePipeline(
                choose_components(
                    store,
                    query_ids,
                    Y,
                    groups,
                    choose_layers(profile, layer_choice),
                    sizes,
                    folds,
                    seed,
                )
            )
        elif method == "adapter_trunk":
            features = choose_layer_mean(store, query_ids, Y, groups, profile, sizes, folds, seed)
        elif method == "shared_block":
            features = SharedBlock()
        if features is None:
            head = KernelRouter(seed=seed).fit(read_states(store, query_ids), Y, groups)
        else:
            head = HEADS[method](config, seed=seed).fit(
                features.fit(store, query_ids).transform(store, query_ids), Y, groups
            )
        targets = routed_targets(pool, rows, tokens_of(store, query_ids))
        revision = store.fingerprint.get("revision")
        name = (
            f"{store.encoder_name}@{revision}" if revision else store.encoder_name
        )  # a Hub id stands for whatever is newest
        # an encoder without a template read plain prompts
        plain = store.fingerprint.get("template_sha256", "") is None
        note = {
            "fingerprint": store.fingerprint,
            "name": name,
            "n_layers": store.n_layers,
            "hidden_size": store.hidden_size,
            "plain_prompt": plain,
        }
        return cls(method, head, features, targets, outcomes.cost_unit, len(rows), note)

    @property
    def target_names(self) -> list[str]:
        """Names in the order of the columns of :meth:`predict_proba`."""
        return [target.name for target in self.targets]

    def predict_proba(self, store: Any, query_ids: Sequence[str]) -> np.ndarray:
        """P(correct) of every target from activations that are there already: float64 [n, K]."""
        return self.head.predict_proba(
            read_states(store, query_ids)
            if self.features is None
            else self.features.transform(store, query_ids)
        )

    def expected_cost(self, tokens: np.ndarray) -> np.ndarray:
        """Cost [n, K] of queries of so many encoder tokens [n]: input tokens x cost per input token
        + cost per query.
        """
        inputs = np.outer(
            tokens, [t.tokens_per_encoder_token * t.cost_per_input_token for t in self.targets]
        )
        return inputs + [t.cost_per_query for t in self.targets]

    def attach(self, encoder: Encoder | str | None = None, device: str = "auto") -> Router:
        """Give the router the encoder that it reads; by default the one it was trained with, loaded
        by name in the dtype of the training.

        Raises
        ------
        RouterError
            If the encoder's weights, revision or chat template are not those of the training.
        """
        note = self.encoder_note
        dtype = note["fingerprint"].get("dtype", "auto")
        if encoder is None or isinstance(encoder, str):
            try:
                encoder = load_encoder(
                    encoder or note["name"],
                    device=device,
                    dtype=dtype,
                    plain_prompt=note["plain_prompt"],
                )
            except EncoderError as error:
                raise RouterError(
                    f"the encoder {encoder or note['name']} cannot be loaded ({error}); pass"
                    " encoder=, the folder, file or name that it has here"
                ) from error
        differs = [
            key for key in _IDENTITY if encoder.fingerprint.get(key) != note["fingerprint"].get(key)
        ]
        if differs:
            raise RouterError(
                f"the encoder {encoder.name} is not the one that this router was trained with"
                f" ({note['name']}): {', '.join(differs)} differ. Give it that encoder, or train a"
                " router for this one"
            )
        if (found := str(encoder.dtype).removeprefix("torch.")) != dtype != "auto":
            warnings.warn(
                f"the router was trained on {dtype} states and the encoder computes in {found}:"
                " P(correct) may differ by some hundredths",
                stacklevel=2,
            )
        prefill = Prefill(encoder).__enter__()
        weakref.finalize(self, prefill.__exit__)  # the hooks stay as long as the router does
        prefill.agree_on(render_prompt(encoder, "x"))
        self._reads = encoder, prefill
        return self

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
        return self._routes(
            reads,
            {f"prompts[{i}]": text for i, text in enumerate(prompt)},
            tolerance,
            on_error,
            fallback,
        )

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
    ) -> tuple[tuple[Encoder, Prefill], str]:
        """The encoder, loaded once, and the fallback; RouterError for what makes no sense."""
        if not tolerance >= 0:
            raise RouterError(f"tolerance must be a number >= 0, not {tolerance!r}")
        if on_error not in ("raise", "fallback"):
            raise RouterError(f"on_error must be 'raise' or 'fallback', not {on_error!r}")
        if fallback is None:
            fallback = self.target_names[int(self.expected_cost(np.array([LENGTH]))[0].argmax())]
        elif fallback not in self.target_names:
            raise RouterError(
                f"the fallback {fallback!r} is no target of the router; it has"
                f" {', '.join(self.target_names)}"
            )
        with self._lock:  # of threads that come at once, one loads the encoder
            if self._reads is None:
                self.attach(device=self._device)
            return self._reads, fallback

    def _routes(
        self,
        reads: tuple[Encoder, Prefill],
        prompts: dict[str, str],
        tolerance: float,
        on_error: str,
        fallback: str,
    ) -> list[Route]:
        """Routes of named prompts, in their order."""
        encoder, prefill = reads
        token_ids, reasons = read_prompts(encoder, prompts, on_error)
        p, more = probabilities(prefill, token_ids, self.predict_proba, on_error)
        reasons |= more
        costs = dict(
            zip(p, self.expected_cost(np.array([len(token_ids[name]) for name in p])), strict=True)
        )
        routes = []
        for name in prompts:
            if name in reasons:
                nothing = dict.fromkeys(self.target_names, float("nan"))
                routes.append(Route(fallback, nothing, dict(nothing), 0, reasons[name]))
                continue
            values, cost = (
                dict(zip(self.target_names, of[name].tolist(), strict=True)) for of in (p, costs)
            )
            chosen = int(route(p[name][None], costs[name][None], tolerance)[0])
            routes.append(Route(self.target_names[chosen], values, cost, len(token_ids[name])))
        return routes

    def save(self, folder: str | Path) -> Path:
        """Write ``router.safetensors`` and ``router.json`` (last, with the other's SHA-256);
        returns the folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors, head = self.head.state()
        meta = {
            "format": FORMAT,
            "library": __version__,
            "method": self.method,
            "encoder": self.encoder_note,
            "cost_unit": self.cost_unit,
            "trained_on": self.trained_on,
            "targets": [asdict(target) for target in self.targets],
            "head": head,
        }
        if self.features is not None:
            of_features, meta["features"] = self.features.state()
            tensors = {
                **tensors,
                **{f"features.{name}": array for name, array in of_features.items()},
            }
        data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
        with replacing(folder / "router.safetensors") as temporary:
            temporary.write_bytes(data)
        meta["sha256"] = hashlib.sha256(data).hexdigest()
        with replacing(folder / "router.json") as temporary:
            temporary.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(
        cls, folder: str | Path, encoder: Encoder | str | None = None, device: str = "auto"
    ) -> Router:
        """Read a saved router; the encoder is loaded with the first prompt (:meth:`attach` loads it
        before), or checked now if it is given.

        Raises
        ------
        RouterError
            No router there, another format, damaged or incomplete files, another encoder.
        """
        folder = Path(folder)
        try:
            meta = json.loads((folder / "router.json").read_text(encoding="utf-8"))
            data = (folder / "router.safetensors").read_bytes()
        except FileNotFoundError as error:
            raise RouterError(
                f"{error.filename} does not exist; a router is a folder with router.json and"
                " router.safetensors"
            ) from None
        except ValueError as error:
            raise RouterError(
                f"{folder / 'router.json'} is damaged ({error}); save the router again"
            ) from None
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise RouterError(
                f"{folder / 'router.json'} has format"
                f" {meta.get('format') if isinstance(meta, dict) else meta!r}, this library reads"
                f" {FORMAT}; train the router again"
            )
        if hashlib.sha256(data).hexdigest() != meta.get("sha256"):
            raise RouterError(
                f"{folder / 'router.safetensors'} is not the file that router.json was written for;"
                " copy both again"
            )
        try:
            tensors = load(data)
            broken = [name for name, array in tensors.items() if np.isnan(array).any()]
            if broken:
                raise RouterError(
                    f"{folder / 'router.safetensors'} holds NaN in {', '.join(broken)}; train the"
                    " router again"
                )
            targets = [RoutedTarget(**target) for target in meta["targets"]]
            if meta["method"] not in METHODS:
                raise RouterError(
                    f"{folder / 'router.json'} has method {meta['method']!r}; known:"
                    f" {', '.join(METHODS)}"
                )
            head, features = (
                HEADS[meta["method"]].from_state(tensors, meta["head"]),
                FEATURES[meta["method"]],
            )
            if features is not None:
                features = features.from_state(
                    {
                        name.removeprefix("features."): a
                        for name, a in tensors.items()
                        if name.startswith("features.")
                    },
                    meta["features"],
                )
            note = meta["encoder"]
            lacking = [
                key
                for key in ("fingerprint", "name", "n_layers", "hidden_size", "plain_prompt")
                if key not in note
            ]
            if lacking or len(targets) != head.n_targets:
                raise RouterError(
                    f"{folder / 'router.json'} names {len(targets)} targets, the head has"
                    f" {head.n_targets}"
                    if not lacking
                    else f"{folder / 'router.json'}: encoder lacks {', '.join(lacking)}"
                )
            router = cls(
                meta["method"], head, features, targets, meta["cost_unit"], meta["trained_on"], note
            )
        except RouterError:
            raise
        except (KeyError, TypeError, ValueError, SafetensorError, RuntimeError) as error:
            raise RouterError(
                f"{folder} is incomplete ({type(error).__name__}: {error}); save the router again"
            ) from error
        router._device = device
        return router if encoder is None else router.attach(encoder, device)
