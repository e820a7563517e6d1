"""The toolkit's router files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from prefill_router.features.reduction import ScaledPCA
from prefill_router.serve.names import ExportError, dtype_of
from prefill_router.serve.pickles import scikit_learn, torch_save
from prefill_router.serve.routed import RoutedTarget
from prefill_router.serve.router import Router


def write_toolkit(
    router: Router, folder: Path, encoder: str, names: Mapping[str, str] | None
) -> list[str]:
    """NVIDIA model-router-toolkit, versions 2 (a layer per target) and 3 (all layers side by side):
    a pickle, as it holds scikit-learn objects.
    """
    shared = router.method == "shared_block"
    _check_toolkit_layers(router)
    tensors, meta = router.fitted.head.state()
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
    checkpoint = {
        "version": 3 if shared else 2,
        "encoder_dtype": dtype_of(router),
        "pool_config": {
            "encoders": [{"hf_path": encoder}],
            "targets": [
                {"name": t.name, "encoder": encoder, **_per_million(t)} for t in router.targets
            ],
        },
        "model_names": router.target_names,
        "transforms": _transforms(router, encoder),
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
    torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def _transforms(router: Router, encoder: str) -> dict[str, Any]:
    """What the toolkit does to the states for every target."""
    features = router.fitted.features
    if router.method != "shared_block":
        return {
            name: _transform(block, choice.layer, choice.pooling, encoder)
            for name, block, choice in zip(
                router.target_names, features.blocks, features.choices, strict=True
            )
        }
    return {
        name: {
            **_transform(features.reduction, 0, features.pooling, encoder),
            "feature_spec": {
                "aggregation": "all_layers_concat",
                "layers": list(features.layers),
                "pooling": features.pooling,
                "pca_dim": len(features.reduction.components),
                "hidden_state_indexing": "direct",
            },
        }
        for name in router.target_names
    }


def _transform(block: ScaledPCA, layer: int, pooling: str, encoder: str) -> dict[str, Any]:
    scaler, pca = scikit_learn(block)
    return {
        "scaler": scaler,
        "pca": pca,
        "layer": layer,
        "mode": pooling,
        "pca_dim": len(block.components),
        "encoder": encoder,
        "chat_template_kwargs": {},
    }


def _check_toolkit_layers(router: Router) -> None:
    """The toolkit numbers an encoder's layers 0 to n_layers - 1, as indices of hidden states, and
    refuses another when it is asked for the first prompt.
    """
    last = router.encoder_note["n_layers"] - 1
    reads = (
        {"all targets": max(router.fitted.features.layers)}
        if router.method == "shared_block"
        else {c.target: c.layer for c in router.fitted.features.choices}
    )
    if beyond := [f"{target} (layer {layer})" for target, layer in reads.items() if layer > last]:
        raise ExportError(
            f"the toolkit reads layers 0 to {last}, and not the last block's output that this"
            f" router reads for {', '.join(beyond)}; train one without it: Router.fit(...,"
            " method='paper', settings=FitSettings(last_layer=False)), as an export of a"
            " profile to this format does"
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
    return {
        key: 1e6 * price
        for key, price in prices.items()
        if price is not None and key not in lacking
    }
