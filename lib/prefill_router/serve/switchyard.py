"""Switchyard's router files, as pickle and as JSON with safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from safetensors.numpy import save

from prefill_router.files import option, replacing
from prefill_router.serve.names import ExportError, dtype_of
from prefill_router.serve.pickles import torch_save
from prefill_router.serve.router import Router

# Switchyard's reader of switchyard_json has the targets' names, their order and these sizes written
# into it, and refuses others.
SWITCHYARD_NAMES = ("qwen-122b", "nemotron-3-super", "opus-4.7", "gpt-5.5")


class Sizes(TypedDict):
    """Of a router: components of its features, hidden layers and members of its head."""

    components: int
    hidden: list[int]
    members: int


SWITCHYARD_SIZES: Sizes = {"components": 200, "hidden": [256, 128], "members": 5}


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
            " pool of four"
            f" ({option('pool')}), or use {option('format', 'switchyard')}, which takes any number"
            " under their own names"
        )
    if not names:
        example = ",".join(
            f"{ours}={theirs}" for ours, theirs in zip(targets, SWITCHYARD_NAMES, strict=True)
        )
        raise ExportError(
            f"Switchyard's reader of switchyard_json refuses targets of other names than {fixed};"
            " say which of them stands for which target: "
            f"{option('names', 'ours=theirs,…')}, or export(names={{ours: theirs}}), such as"
            f" {option('names', example)}"
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


def write_switchyard(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """NeMo Switchyard 0.3 `prefill_router`: tensors and plain values only."""
    block, reduction = router.fitted.features, router.fitted.features.reduction
    tensors, meta = router.fitted.head.state()

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
    torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def write_switchyard_json(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """Switchyard's earlier artifact: `router.json` and `router.safetensors`, all float32."""
    reduction, (tensors, meta), order = (
        router.fitted.features.reduction,
        router.fitted.head.state(),
        switchyard_order(names, router.target_names),
    )
    sizes = {
        "components": len(reduction.components),
        "hidden": list(meta["hidden"]),
        "members": meta["members"],
    }
    if sizes != SWITCHYARD_SIZES or router.fitted.features.pooling != "mean":
        raise ExportError(
            f"Switchyard's reader of switchyard_json takes token means and {SWITCHYARD_SIZES}"
            f" alone, this router has the pooling {router.fitted.features.pooling!r} and {sizes};"
            " train one on 200 queries or more with TrunkConfig(hidden=(256, 128), keep=5), as make"
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
        "extraction_layer_ids": list(router.fitted.features.layers),
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
