"""The toolkit's router files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

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
    targets, shared = router.target_names, router.method == "shared_block"
    _check_toolkit_layers(router)
    transforms: dict[str, Any] = {}
    for i, name in enumerate(targets):
        block = router.fitted.features.reduction if shared else router.fitted.features.blocks[i]
        scaler, pca = scikit_learn(block)
        k = len(block.components)
        choice = None if shared else router.fitted.features.choices[i]
        transforms[name] = {
            "scaler": scaler,
            "pca": pca,
            "layer": 0 if shared else choice.layer,
            "mode": router.fitted.features.pooling if shared else choice.pooling,
            "pca_dim": k,
            "encoder": encoder,
            "chat_template_kwargs": {},
        }
        if shared:
            transforms[name]["feature_spec"] = {
                "aggregation": "all_layers_concat",
                "layers": list(router.fitted.features.layers),
                "pooling": router.fitted.features.pooling,
                "pca_dim": k,
                "hidden_state_indexing": "direct",
            }
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
    torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


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
            " method='paper', settings=FitSettings(last_layer=False)), as make export"
            " FORMAT=toolkit does"
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
