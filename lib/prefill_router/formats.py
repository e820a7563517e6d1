"""What writes a router in the formats of serving projects; `docs/formats.md` has every field.
`export` asks these writers.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from prefill_router.profiles import replacing
from prefill_router.router import RoutedTarget, Router

# Switchyard's reader of switchyard_json has the targets' names, their order and these sizes written
# into it, and refuses others.
SWITCHYARD_NAMES = ("qwen-122b", "nemotron-3-super", "opus-4.7", "gpt-5.5")
SWITCHYARD_SIZES = {"components": 200, "hidden": [256, 128], "members": 5}


class ExportError(ValueError):
    """A router that a format cannot hold; the message says why and what to do."""


def dtype_of(router: Router) -> str:
    """The dtype of the states that the router was trained on."""
    return router.encoder_note["fingerprint"].get("dtype", "unknown")


def parse_names(text: str) -> dict[str, str]:
    """The mapping that ``"ours=theirs,ours=theirs"`` writes out: target name to the name that
    another project gives it.

    Raises
    ------
    ExportError
        A part without ``=``, an empty name, a target that is named twice.
    """
    names: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (piece.strip() for piece in part.rpartition("="))
        if not (ours and equals and theirs):
            raise ExportError(f"NAMES: {part.strip()!r} is not of the form ours=theirs")
        if ours in names:
            raise ExportError(f"NAMES: the target {ours!r} is named twice")
        names[ours] = theirs
    return names


def switchyard_order(names: Mapping[str, str] | None, targets: Sequence[str]) -> list[int]:
    """Where the targets stand for the four names of ``SWITCHYARD_NAMES``: positions in ``targets``,
    in the order of the names.

    Raises
    ------
    ExportError
        No mapping, or one that does not give each of the targets one of the four names and each of
        these to one target.
    """
    fixed = ", ".join(SWITCHYARD_NAMES)
    if len(targets) != len(SWITCHYARD_NAMES):
        raise ExportError(
            f"Switchyard's reader of switchyard_json takes {len(SWITCHYARD_NAMES)} targets"
            f" ({fixed}), this router has {len(targets)} ({', '.join(targets)}); train one on a"
            " pool of four (POOL=), or use FORMAT=switchyard, which takes any number under their"
            " own names"
        )
    if not names:
        example = ",".join(
            f"{ours}={theirs}" for ours, theirs in zip(targets, SWITCHYARD_NAMES, strict=True)
        )
        raise ExportError(
            f"Switchyard's reader of switchyard_json refuses targets of other names than {fixed};"
            " say which of them stands for which target: "
            'NAMES="ours=theirs,…" (--names, or export(names={ours: theirs})), such as'
            f' NAMES="{example}"'
        )
    problems = [
        (
            set(names) - set(targets),
            f"are no targets of this router, which has {', '.join(targets)}",
        ),
        (set(targets) - set(names), "are targets without a name"),
        (
            set(names.values()) - set(SWITCHYARD_NAMES),
            f"are no names that the reader takes, which are {fixed}",
        ),
        (
            set(SWITCHYARD_NAMES) - set(names.values()),
            "must be given to a target, and each to one alone",
        ),
    ]
    for found, why in problems:
        if found:
            raise ExportError(f"NAMES: {', '.join(sorted(found))} {why}")
    ours = {theirs: name for name, theirs in names.items()}
    return [list(targets).index(ours[theirs]) for theirs in SWITCHYARD_NAMES]


def _own(router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None) -> list[str]:
    router.save(folder)
    return ["router.json", "router.safetensors"]


def _toolkit(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """NVIDIA model-router-toolkit, versions 2 (a layer per target) and 3 (all layers side by side):
    a pickle, as it holds scikit-learn objects.
    """
    targets, shared = router.target_names, router.method == "shared_block"
    _check_toolkit_layers(router)
    transforms: dict[str, Any] = {}
    for i, name in enumerate(targets):
        block = router.features.reduction if shared else router.features.blocks[i]
        scaler, pca = _scikit_learn(block)
        k = len(block.components)
        choice = None if shared else router.features.choices[i]
        transforms[name] = {
            "scaler": scaler,
            "pca": pca,
            "layer": 0 if shared else choice.layer,
            "mode": router.features.pooling if shared else choice.pooling,
            "pca_dim": k,
            "encoder": encoder,
            "chat_template_kwargs": {},
        }
        if shared:
            transforms[name]["feature_spec"] = {
                "aggregation": "all_layers_concat",
                "layers": list(router.features.layers),
                "pooling": router.features.pooling,
                "pca_dim": k,
                "hidden_state_indexing": "direct",
            }
    tensors, meta = router.head.state()
    # Linear, ReLU, Dropout, twice, then Linear: the places of the linear layers are the same on
    # both sides
    trunks = [
        {
            name.replace(f"member{i}.layers.", "net."): torch.from_numpy(array.copy())
            for name, array in tensors.items()
            if name.startswith(f"member{i}.")
        }
        for i in range(meta["members"])
    ]
    pool = {
        "encoders": [{"hf_path": encoder}],
        "targets": [
            {"name": t.name, "encoder": encoder, **_per_million(t)} for t in router.targets
        ],
    }
    checkpoint = {
        "version": 3 if shared else 2,
        "encoder_dtype": dtype_of(router),
        "pool_config": pool,
        "model_names": targets,
        "transforms": transforms,
        "shared_trunk": trunks,
        "trunk_config": {
            "d_in": meta["d_in"],
            "n_outputs": meta["n_targets"],
            "hidden": meta["hidden"],
            **({"feature_layout": "shared_once", "feature_width": meta["d_in"]} if shared else {}),
        },
        "cost_table": {
            t.name: {
                key: getattr(t, key)
                for s in ("median", "mean", "p25", "p75")
                if _is_number(getattr(t, key := f"{s}_output_tokens", None))
            }
            for t in router.targets
        },
    }
    _torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def _check_toolkit_layers(router: Router) -> None:
    """The toolkit numbers an encoder's layers 0 to n_layers - 1, as indices of hidden states, and
    refuses another when it is asked for the first prompt.
    """
    last = router.encoder_note["n_layers"] - 1
    reads = (
        {"all targets": max(router.features.layers)}
        if router.method == "shared_block"
        else {c.target: c.layer for c in router.features.choices}
    )
    if beyond := [f"{target} (layer {layer})" for target, layer in reads.items() if layer > last]:
        raise ExportError(
            f"the toolkit reads layers 0 to {last}, and not the last block's output that this"
            f" router reads for {', '.join(beyond)}; train one without it: Router.fit(...,"
            " method='paper', last_layer=False), as make export FORMAT=toolkit does"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _per_million(target: RoutedTarget) -> dict[str, float]:
    """Prices per million tokens, as far as there are prices per token."""
    prices = {
        f"cost_per_m_{side}_tokens": getattr(target, f"{side}_price", None)
        for side in ("input", "output")
    }
    if lacking := [key for key, price in prices.items() if not _is_number(price)]:
        warnings.warn(
            f"target {target.name!r} has no price per token: pool_config says nothing of its"
            f" {' and '.join(lacking)}; give the toolkit prices of its own",
            stacklevel=5,
        )
    return {key: 1e6 * price for key, price in prices.items() if key not in lacking}


def _scikit_learn(block: Any) -> tuple[Any, Any]:
    """A fitted StandardScaler and PCA that do what a `ScaledPCA` does."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler, pca = StandardScaler(), PCA(len(block.components))
    mean, scale, components = (
        np.asarray(a, np.float64) for a in (block.mean, block.scale, block.components)
    )
    scaler.mean_, scaler.scale_, scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = (
        mean,
        scale,
        scale**2,
        len(mean),
        1,
    )
    pca.components_, pca.mean_, pca.n_features_in_, pca.n_components_ = (
        components,
        np.zeros(len(mean)),
        len(mean),
        len(components),
    )
    # not used without whitening, but an estimator without it counts as not fitted
    pca.explained_variance_ = np.asarray(block.variance, np.float64)
    return scaler, pca


def _switchyard(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """NeMo Switchyard 0.3 `prefill_router`: tensors and plain values only."""
    block, reduction = router.features, router.features.reduction
    tensors, meta = router.head.state()

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float32))

    checkpoint = {
        "format_version": 1,
        "encoder": {
            "name": encoder,
            "view": "task_prompt_only",
            "n_layers": router.encoder_note["n_layers"],
            "hidden_dim": router.encoder_note["hidden_size"],
            "dtype": dtype_of(router),
        },
        "architecture": {"activation": "ReLU", "ensemble_reduction": "mean(sigmoid(logits))"},
        "feature_pipeline": {
            "pooling": "mean of independently standardized selected layers",
            "selected_layers": list(block.layers),
            "layer_mean": {
                str(layer): tensor(mean)
                for layer, mean in zip(block.layers, block.means, strict=True)
            },
            "layer_std": {
                str(layer): tensor(scale)
                for layer, scale in zip(block.layers, block.scales, strict=True)
            },
            "scaler_mean": tensor(reduction.mean),
            "scaler_scale": tensor(reduction.scale),
            "pca_mean": torch.zeros(len(reduction.mean)),
            "pca_components": tensor(reduction.components),
        },
        "models": router.target_names,
        "model_state_dicts": [
            {
                name.removeprefix(f"member{i}."): tensor(array)
                for name, array in tensors.items()
                if name.startswith(f"member{i}.")
            }
            for i in range(meta["members"])
        ],
    }
    _torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def _switchyard_json(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """Switchyard's earlier artifact: `router.json` and `router.safetensors`, all float32."""
    reduction, (tensors, meta), order = (
        router.features.reduction,
        router.head.state(),
        switchyard_order(names, router.target_names),
    )
    sizes = {
        "components": len(reduction.components),
        "hidden": list(meta["hidden"]),
        "members": meta["members"],
    }
    if sizes != SWITCHYARD_SIZES or router.features.pooling != "mean":
        raise ExportError(
            f"Switchyard's reader of switchyard_json takes token means and {SWITCHYARD_SIZES}"
            f" alone, this router has the pooling {router.features.pooling!r} and {sizes}; train"
            " one on 200 queries or more with TrunkConfig(hidden=(256, 128), keep=5), as make"
            " export does"
        )
    arrays = {
        "transform.scaler_mean": reduction.mean,
        "transform.scaler_scale": reduction.scale,
        "transform.pca_mean": np.zeros(len(reduction.mean)),
        "transform.pca_components": reduction.components,
    }
    for i in range(meta["members"]):
        for place, name in ((0, "linear1"), (3, "linear2"), (6, "output")):
            for part in ("weight", "bias"):
                array = tensors[f"member{i}.layers.{place}.{part}"]
                arrays[f"ensemble.{i}.{name}.{part}"] = array[order] if name == "output" else array
    described = {
        "format_version": 1,
        "training_mode": "single_pca_block",
        "encoder": encoder,
        "encoder_dtype": dtype_of(router),
        "representation": "token_mean_per_layer_concat",
        "extraction_layer_ids": list(router.features.layers),
        "hidden_size": router.encoder_note["hidden_size"],
        "raw_feature_dim": len(reduction.mean),
        "feature_block_count": 1,
        "pca_dim": len(reduction.components),
        "pca_whiten": False,
        "output_names": list(SWITCHYARD_NAMES),
        "trunk_hidden": list(meta["hidden"]),
        "ensemble_size": meta["members"],
        "probability_link": "independent_sigmoid",
        "ensemble_reduction": "probability_mean",
        "tensor_file": "router.safetensors",
    }
    with replacing(folder / "router.safetensors") as temporary:
        temporary.write_bytes(
            save({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()})
        )
    with replacing(folder / "router.json") as temporary:
        temporary.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return ["router.json", "router.safetensors"]


def _torch_save(checkpoint: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        torch.save(checkpoint, temporary)


# Format: what writes it, and the methods whose routers it can hold.
FORMATS: dict[
    str, tuple[Callable[[Router, Path, str, Mapping[str, str] | None], list[str]], tuple[str, ...]]
] = {
    "own": (_own, ("ours", "paper", "shared_block", "adapter_trunk")),
    "toolkit": (_toolkit, ("paper", "shared_block")),
    "switchyard": (_switchyard, ("adapter_trunk",)),
    "switchyard_json": (_switchyard_json, ("shared_block",)),
}
