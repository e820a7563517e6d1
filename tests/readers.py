"""Readers of the exported formats, written from docs/formats.md alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load as load_safetensors

States = dict[str, np.ndarray]
Map = Callable[[np.ndarray], np.ndarray]
Features = Callable[[States], np.ndarray]
Parts = list[
    tuple[Any, str, str]
]  # one per member: mapping with its arrays, file, prefix of its keys
# Switchyard's reader of switchyard_json has them written into it.
SWITCHYARD = {
    "output_names": ["qwen-122b", "nemotron-3-super", "opus-4.7", "gpt-5.5"],
    "pca_dim": 200,
    "trunk_hidden": [256, 128],
    "ensemble_size": 5,
}
TOKENS = "median_output_tokens mean_output_tokens p25_output_tokens p75_output_tokens"
KINDS: dict[str, Callable[[Any], Any]] = {
    "anything": lambda v: True,
    "text": lambda v: isinstance(v, str) and v,
    "a number": lambda v: isinstance(v, (int, float)) and np.isfinite(v),
    "a number >= 0": lambda v: KINDS["a number"](v) and v >= 0,
    "a number or null": lambda v: v is None or KINDS["a number"](v),
    "a count": lambda v: type(v) is int and v > 0,
    "an index": lambda v: type(v) is int and v >= 0,
    "a mapping": lambda v: isinstance(v, dict),
    "a list": lambda v: isinstance(v, list) and v,
    "a list of indices": (
        lambda v: isinstance(v, list) and v and all(type(i) is int and i >= 0 for i in v)
    ),
    "two widths": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(type(i) is int and i > 0 for i in v)
    ),
    "distinct names": (
        lambda v: (
            isinstance(v, list)
            and v
            and all(isinstance(i, str) for i in v)
            and len(set(v)) == len(v)
        )
    ),
    "last or mean": lambda v: v in ("last", "mean"),
}


@dataclass(frozen=True)
class Reader:
    names: list[str]
    predict: Features


def _need(ok: Any, file: str, path: tuple[str | int, ...], why: str) -> None:
    if not ok:
        raise ValueError(": ".join([file, ".".join(map(str, path)), why] if path else [file, why]))


def _get(tree: Any, file: str, kind: str, *path: str | int) -> Any:
    for i, key in enumerate(path):
        _need(
            key
            in (
                tree
                if isinstance(tree, dict)
                else range(len(tree))
                if isinstance(tree, list)
                else ()
            ),
            file,
            path[: i + 1],
            "is missing",
        )
        tree = tree[key]
    _need(KINDS[kind](tree), file, path, f"is not {kind}: {tree!r:.80}")
    return tree


def _all(tree: Any, file: str, kind: str, fields: str) -> list[Any]:
    return [_get(tree, file, kind, *field.split(".")) for field in fields.split()]


def _constants(tree: Any, file: str, *path: str | int, **wanted: Any) -> None:
    for key, value in wanted.items():
        found = _get(tree, file, "anything", *path, key)
        _need(
            type(found) is type(value) and found == value,
            file,
            (*path, key),
            f"is {found!r:.80}, not {value!r:.80}",
        )


def _array(
    tree: Any,
    file: str,
    shape: tuple[int | None, ...],
    *path: str | int,
    must_be: str = "",
    dtype: str = "float",
) -> np.ndarray:
    value = _get(tree, file, "anything", *path)
    _need(
        isinstance(value, (np.ndarray, torch.Tensor))
        and str(value.dtype).removeprefix("torch.").startswith(dtype),
        file,
        path,
        f"is no {dtype} array",
    )
    array = np.asarray(value, dtype=np.float64)
    fits = (
        array.size
        and array.ndim == len(shape)
        and all(want in (None, got) for want, got in zip(shape, array.shape, strict=False))
    )
    _need(fits, file, path, f"has shape {list(array.shape)}, not {list(shape)}")
    _need(np.isfinite(array).all(), file, path, "has NaN or infinite values")
    _need(
        {"": True, "positive": (array > 0).all(), "zero": not array.any()}[must_be],
        file,
        path,
        f"has values that are not {must_be}",
    )
    return array


def _block(
    tree: Any,
    file: str,
    shape: tuple[int | None, int | None],
    keys: list[str],
    *path: str,
    dtype: str = "float",
) -> tuple[Map, int, int]:
    """Keys of components, mean, scale and, where there is one, the mean of the PCA: it is zero, so
    that it need not be subtracted.
    """
    components = _array(tree, file, shape, *path, keys[0], dtype=dtype)
    rules = zip(keys[1:], ("", "positive", "zero"), strict=False)
    mean, scale, *_ = [
        _array(tree, file, components.shape[1:], *path, key, dtype=dtype, must_be=must_be)
        for key, must_be in rules
    ]
    return lambda x: ((x - mean) / scale) @ components.T, *components.shape


def _chain(tree: Any, file: str, names: list[str], widths: list[int | None], dtype: str) -> Map:
    """Linear layers with ReLU between them; a width of None is whatever the file has, as long as
    the next layer fits.
    """
    layers, width = [], widths[0]
    for name, out in zip(names, widths[1:], strict=False):
        weight = _array(tree, file, (out, width), f"{name}.weight", dtype=dtype)
        width = len(weight)
        layers.append((weight, _array(tree, file, (width,), f"{name}.bias", dtype=dtype)))

    def logits(x: np.ndarray) -> np.ndarray:
        for i, (weight, bias) in enumerate(layers):
            x = (np.maximum(x, 0) if i else x) @ weight.T + bias
        return x

    return logits


def _feed(
    block: Map,
    pooling: str,
    n_states: int | None,
    width: int,
    layers: int | list[int],
    numbered: int = 0,
) -> Features:
    """A block on the states of the given layer [n, width] or layers [layers, n, width]; of the
    states a program numbers all, or all but the last (-1).
    """

    def features(states: States) -> np.ndarray:
        x = states[pooling].astype(np.float64)
        _need(
            x.ndim == 3 and n_states in (None, len(x)) and x.shape[2] == width,
            "states",
            (pooling,),
            f"have shape {list(x.shape)}, not {[n_states, 'n', width]}",
        )
        known, asked = range(len(x) + numbered), [layers] if isinstance(layers, int) else layers
        _need(
            set(asked) <= set(known),
            "states",
            (pooling,),
            f"requested layers {sorted(set(asked) - set(known))} are outside encoder range"
            f" 0..{known[-1]}",
        )
        return block(x[layers])

    return features


def _side_by_side(block: Map) -> Map:
    return lambda x: block(x.transpose(1, 0, 2).reshape(x.shape[1], -1))


def _reader(
    names: list[str],
    features: Features,
    parts: Parts,
    start: str,
    chains: list[list[str]],
    widths: list[Any],
    dtype: str = "float",
) -> Reader:
    for tree, file, _ in (
        parts
        # surplus arrays are refused too: heads and members beyond the stated number
        # in silence
    ):
        layers = {
            prefix + name
            for other, _, prefix in parts
            if other is tree
            for chain in chains
            for name in chain
        }
        wrong = {key for key in _get(tree, file, "a mapping") if key.startswith(start)} ^ {
            f"{layer}.{end}" for layer in layers for end in ("weight", "bias")
        }
        _need(not wrong, file, tuple(sorted(wrong)[:1]), "is missing or surplus")
    members = [
        [_chain(tree, file, [prefix + name for name in chain], widths, dtype) for chain in chains]
        for tree, file, prefix in parts
    ]

    def predict(states: States) -> np.ndarray:
        f = features(states)
        logits = np.stack(
            [np.concatenate([chain(f) for chain in member], axis=1) for member in members]
        )
        return (0.5 + 0.5 * np.tanh(logits / 2)).mean(axis=0)  # the sigmoid, without overflow

    return Reader(list(names), predict)


def _own_features(
    meta: Any, tensors: Any, method: str, names: list[str], n_layers: int, width: int
) -> tuple[Features, int]:
    at, arrays, spec, keys = (
        "router.json: features",
        "router.safetensors",
        meta["features"],
        ("components", "mean", "scale"),
    )
    if method == "adapter_trunk":
        layers, k = (
            _get(spec, at, "a list of indices", "layers"),
            _get(spec, at, "a count", "n_components"),
        )
        _need(max(layers) <= n_layers, at, ("layers",), f"go beyond {n_layers}")
        means = _array(tensors, arrays, (len(layers), width), "features.layer_means")
        scales = _array(
            tensors, arrays, (len(layers), width), "features.layer_scales", must_be="positive"
        )
        reduction, *_ = _block(
            tensors, arrays, (k, width), [f"features.reduction.{key}" for key in keys]
        )
        return (
            _feed(
                lambda x: reduction(((x - means[:, None]) / scales[:, None]).mean(axis=0)),
                "last",
                n_layers + 1,
                width,
                layers,
            ),
            k,
        )
    if method == "shared_block":
        _constants(spec, at, format=2)
        pooling, layers, k = (
            _get(spec, at, kind, key)
            for kind, key in (
                ("last or mean", "pooling"),
                ("a list of indices", "layers"),
                ("a count", "n_components"),
            )
        )
        _array(tensors, arrays, (k,), "features.variance")
        block, *_ = _block(
            tensors, arrays, (k, len(layers) * width), [f"features.{key}" for key in keys]
        )
        return _feed(_side_by_side(block), pooling, n_layers + 1, width, layers), k
    parts, total, choices = [], 0, _get(spec, at, "a list", "choices")
    _need(len(choices) == len(names), at, ("choices",), f"are not {len(names)}, as the targets")
    for i, (name, choice) in enumerate(zip(names, choices, strict=False)):
        at = f"router.json: features.choices.{i}"
        _constants(choice, at, target=name)
        pooling, layer, k = (
            _get(choice, at, kind, key)
            for kind, key in (
                ("last or mean", "pooling"),
                ("an index", "layer"),
                ("a count", "n_components"),
            )
        )
        _need(layer <= n_layers, at, ("layer",), f"is {layer}, beyond {n_layers}")
        _array(tensors, arrays, (k,), f"features.block{i}.variance")
        block, *_ = _block(
            tensors, arrays, (k, width), [f"features.block{i}.{key}" for key in keys]
        )
        parts.append(_feed(block, pooling, n_layers + 1, width, layer))
        total += k
    return lambda s: np.concatenate([part(s) for part in parts], axis=1).astype(np.float32), total


def read_own(folder: Path) -> Reader:
    file, arrays = "router.json", "router.safetensors"
    meta, raw = (
        json.loads((folder / file).read_text(encoding="utf-8")),
        (folder / arrays).read_bytes(),
    )
    _constants(meta, file, format=4, sha256=hashlib.sha256(raw).hexdigest())
    method = _all(meta, file, "text", "method library cost_unit")[0]
    encoders = _get(meta, file, "a list", "encoders")
    _need(len(encoders) == 1, file, ("encoders",), "a network reads one")
    meta = meta | {"encoder": encoders[0]}
    _get(meta, file, "text", "encoder", "name")
    _need(
        method in ("paper", "paper_auc", "shared_block", "adapter_trunk"),
        file,
        ("method",),
        f"is {method}, which is not read here",
    )
    _all(meta, file, "anything", "encoder.fingerprint encoder.plain_prompt features")
    n_layers, width, size, _ = _all(
        meta, file, "a count", "encoder.n_layers encoder.hidden_size head.members trained_on"
    )
    names = [
        _get(meta, file, "text", "targets", i, "name")
        for i in range(len(_get(meta, file, "a list", "targets")))
    ]
    _get({"targets": names}, file, "distinct names", "targets")
    for i, target in enumerate(meta["targets"]):
        _all(
            target,
            f"{file}: targets.{i}",
            "a number >= 0",
            "cost_per_query cost_per_input_token tokens_per_encoder_token",
        )
        _all(
            target, f"{file}: targets.{i}", "a number or null", "input_price output_price " + TOKENS
        )
    tensors, hidden = load_safetensors(raw), _get(meta, file, "two widths", "head", "hidden")
    features, d_in = _own_features(meta, tensors, method, names, n_layers, width)
    _constants(meta, file, "head", d_in=d_in, n_targets=len(names))
    parts = [(tensors, arrays, f"member{m}.") for m in range(size)]
    if method == "adapter_trunk":
        return _reader(
            names,
            features,
            parts,
            "member",
            [[f"adapters.{i}", "trunk.0", f"heads.{i}"] for i in range(len(names))],
            [d_in, *hidden, 1],
        )
    return _reader(
        names,
        features,
        parts,
        "member",
        [["layers.0", "layers.3", "layers.6"]],
        [d_in, *hidden, len(names)],
    )


def read_switchyard(folder: Path) -> Reader:
    file, at, dtype = "router.pt", "feature_pipeline", "float32"
    data = torch.load(folder / file, map_location="cpu", weights_only=True)
    _constants(data, file, format_version=1)
    _constants(data, file, "encoder", view="task_prompt_only", dtype="float32")
    _constants(
        data, file, "architecture", activation="ReLU", ensemble_reduction="mean(sigmoid(logits))"
    )
    _constants(data, file, at, pooling="mean of independently standardized selected layers")
    _get(data, file, "text", "encoder", "name")
    n_layers, width = _all(data, file, "a count", "encoder.n_layers encoder.hidden_dim")
    names, layers = (
        _get(data, file, "distinct names", "models"),
        _get(data, file, "a list of indices", at, "selected_layers"),
    )
    _need(max(layers) <= n_layers, file, (at, "selected_layers"), f"go beyond {n_layers}")
    _need(len(set(layers)) == len(layers), file, (at, "selected_layers"), "are not distinct")
    means = np.stack(
        [_array(data, file, (width,), at, "layer_mean", str(j), dtype=dtype) for j in layers]
    )
    scales = np.stack(
        [
            _array(data, file, (width,), at, "layer_std", str(j), dtype=dtype, must_be="positive")
            for j in layers
        ]
    )
    reduction, k, _ = _block(
        data,
        file,
        (None, width),
        ["pca_components", "scaler_mean", "scaler_scale", "pca_mean"],
        at,
        dtype=dtype,
    )
    features = _feed(
        lambda x: reduction(((x - means[:, None]) / scales[:, None]).mean(axis=0)),
        "last",
        n_layers + 1,
        width,
        layers,
    )
    chains = [[f"adapters.{i}", "trunk.0", f"heads.{i}"] for i in range(len(names))]
    parts = [
        (state, f"{file}: model_state_dicts.{m}", "")
        for m, state in enumerate(_get(data, file, "a list", "model_state_dicts"))
    ]
    return _reader(names, features, parts, "", chains, [k, None, None, 1])


def read_switchyard_json(folder: Path) -> Reader:
    file, arrays, dtype = "router.json", "router.safetensors", "float32"
    meta, tensors = (
        json.loads((folder / file).read_text(encoding="utf-8")),
        load_safetensors((folder / arrays).read_bytes()),
    )
    _constants(
        meta,
        file,
        format_version=1,
        training_mode="single_pca_block",
        representation="token_mean_per_layer_concat",
        feature_block_count=1,
    )
    _constants(
        meta,
        file,
        pca_whiten=False,
        probability_link="independent_sigmoid",
        ensemble_reduction="probability_mean",
        tensor_file=arrays,
    )
    _constants(meta, file, encoder_dtype="float32", **SWITCHYARD)
    _get(meta, file, "text", "encoder")
    width, k, size = _all(meta, file, "a count", "hidden_size pca_dim ensemble_size")
    names, hidden = (
        _get(meta, file, "distinct names", "output_names"),
        _get(meta, file, "two widths", "trunk_hidden"),
    )
    n = len(_get(meta, file, "a list", "extraction_layer_ids"))
    _constants(meta, file, extraction_layer_ids=list(range(n)), raw_feature_dim=n * width)
    keys = [
        f"transform.{key}" for key in ("pca_components", "scaler_mean", "scaler_scale", "pca_mean")
    ]
    block, *_ = _block(tensors, arrays, (k, n * width), keys, dtype=dtype)
    parts = [(tensors, arrays, f"ensemble.{i}.") for i in range(size)]
    # the probe hands over as many states as are numbered: another count is refused
    return _reader(
        names,
        _feed(_side_by_side(block), "mean", n + 1, width, list(range(n)), -1),
        parts,
        "ensemble.",
        [["linear1", "linear2", "output"]],
        [k, *hidden, len(names)],
        dtype,
    )


def _toolkit_block(step: Any, file: str, encoder: str, version: int) -> tuple[Features, int]:
    _constants(step, file, encoder=encoder, chat_template_kwargs={})
    dim, mode = _get(step, file, "a count", "pca_dim"), _get(step, file, "last or mean", "mode")
    scaler, pca, _ = _all(step, file, "anything", "scaler pca layer")
    fitted = {
        f"{name}.{key}": value
        for name, fit in (("scaler", scaler), ("pca", pca))
        for key, value in getattr(fit, "__dict__", {}).items()
    }
    _constants(fitted, file, **{"pca.whiten": False})
    _, k, width = _block(
        fitted, file, (dim, None), ["pca.components_", "scaler.mean_", "scaler.scale_", "pca.mean_"]
    )
    if version == 2:
        return (
            _feed(
                lambda x: pca.transform(scaler.transform(x)),
                mode,
                None,
                width,
                _get(step, file, "an index", "layer"),
                -1,
            ),
            k,
        )
    n, at = len(_get(step, file, "a list", "feature_spec", "layers")), "feature_spec"
    _constants(
        step,
        file,
        at,
        layers=list(range(n)),
        aggregation="all_layers_concat",
        pooling="mean",
        pca_dim=k,
        hidden_state_indexing="direct",
    )
    _need(width % n == 0, file, (at, "layers"), f"are {n}, for a width of {width}")
    return (
        _feed(
            _side_by_side(lambda x: pca.transform(scaler.transform(x))),
            "mean",
            None,
            width // n,
            list(range(n)),
            -1,
        ),
        k,
    )


def read_toolkit(folder: Path) -> Reader:
    file = "router.pt"
    # A pickle of scikit-learn objects, which can run code while it loads: only for files that the
    # test itself has just written.
    data = torch.load(folder / file, map_location="cpu", weights_only=False)
    version, names = (
        _get(data, file, "a count", "version"),
        _get(data, file, "distinct names", "model_names"),
    )
    _need(version in (2, 3), file, ("version",), f"is {version}, not 2 or 3")
    _constants(data, file, encoder_dtype="float32")
    encoder, targets = (
        _get(data, file, "text", "pool_config", "encoders", 0, "hf_path"),
        _get(data, file, "a list", "pool_config", "targets"),
    )
    for target, name in zip(targets, names, strict=True):
        _constants(target, f"{file}: pool_config.targets", name=name, encoder=encoder)
        _all(
            target,
            f"{file}: pool_config.targets",
            "a number",
            "cost_per_m_input_tokens cost_per_m_output_tokens",
        )
    for field in ("transforms", "cost_table"):
        _need(
            set(_get(data, file, "a mapping", field)) == set(names),
            file,
            (field,),
            f"has other names than {names}",
        )
    for name in names:
        _all(data["cost_table"][name], f"{file}: cost_table.{name}", "a number", TOKENS)
    blocks = [
        _toolkit_block(
            _get(data, file, "anything", "transforms", name),
            f"{file}: transforms.{name}",
            encoder,
            version,
        )
        for name in names
    ]
    used = (
        blocks if version == 2 else blocks[:1]
    )  # version 3: the same block in every entry, fed once
    d_in, hidden = sum(k for _, k in used), _get(data, file, "two widths", "trunk_config", "hidden")
    _constants(data, file, "trunk_config", d_in=d_in, n_outputs=len(names))
    if version == 3:
        _constants(data, file, "trunk_config", feature_layout="shared_once", feature_width=d_in)
    parts = [
        (state, f"{file}: shared_trunk.{m}", "")
        for m, state in enumerate(_get(data, file, "a list", "shared_trunk"))
    ]
    chain, widths = ["net.0", "net.3", "net.6"], [d_in, *hidden, len(names)]
    return _reader(
        names,
        lambda s: np.concatenate([block(s) for block, _ in used], axis=1),
        parts,
        "",
        [chain],
        widths,
    )
