"""Routers in the formats that serving projects load.

    python -m prefill_router.export --profile local --format switchyard

``docs/formats.md`` has every field, its shape and dtype, the order of operations and a worked example; the readers of the tests know
nothing but that page.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from .activations import ActivationError, ActivationStore
from .adapter import adapter_config
from .experiment import pools, read_note
from .profiles import open_workspace, project_root, replacing, write_own_profile
from .router import Router
from .trunk import TrunkConfig
from .weights import WHEELS


class ExportError(ValueError):
    """A router that a format cannot hold; the message says why and what to do."""


def hub_name(router: Router) -> str:
    """The name by which other projects load the router's encoder: the Hub id of embedded weights, else its own name."""
    name = router.encoder_note["name"].partition("@")[0]
    return WHEELS[name].hub_id if name in WHEELS else name


def _own(router: Router, folder: Path, encoder: str) -> list[str]:
    router.save(folder)
    return ["router.json", "router.safetensors"]


def _toolkit(router: Router, folder: Path, encoder: str) -> list[str]:
    """NVIDIA model-router-toolkit, versions 2 (a layer per target) and 3 (all layers side by side): a pickle, as it holds scikit-learn objects."""
    names, shared = router.target_names, router.method == "shared_block"
    transforms: dict[str, Any] = {}
    for i, name in enumerate(names):
        block = router.features.reduction if shared else router.features.blocks[i]
        scaler, pca = _scikit_learn(block)
        k = len(block.components)
        choice = None if shared else router.features.choices[i]
        transforms[name] = {
            "scaler": scaler, "pca": pca, "layer": 0 if shared else choice.layer, "mode": router.features.pooling if shared else choice.pooling,
            "pca_dim": k, "encoder": encoder, "chat_template_kwargs": {},
        }
        if shared:
            transforms[name]["feature_spec"] = {
                "aggregation": "all_layers_concat", "layers": list(range(router.encoder_note["n_layers"] + 1)), "pooling": router.features.pooling, "pca_dim": k,
                "hidden_state_indexing": "direct",
            }
    tensors, meta = router.head.state()
    # Linear, ReLU, Dropout, twice, then Linear: the places of the linear layers are the same on both sides
    trunks = [{name.replace(f"member{i}.layers.", "net."): torch.from_numpy(array.copy()) for name, array in tensors.items() if name.startswith(f"member{i}.")} for i in range(meta["members"])]
    pool = {
        "encoders": [{"hf_path": encoder}],
        "targets": [{"name": t.name, "encoder": encoder, "cost_per_m_input_tokens": 1e6 * t.input_price, "cost_per_m_output_tokens": 1e6 * t.output_price} for t in router.targets],
    }
    checkpoint = {
        "version": 3 if shared else 2, "pool_config": pool, "model_names": names, "transforms": transforms, "shared_trunk": trunks,
        "trunk_config": {"d_in": meta["d_in"], "n_outputs": meta["n_targets"], "hidden": meta["hidden"], **({"feature_layout": "shared_once", "feature_width": meta["d_in"]} if shared else {})},
        "cost_table": {t.name: {f"{s}_output_tokens": getattr(t, f"{s}_output_tokens") for s in ("median", "mean", "p25", "p75")} for t in router.targets},
    }
    _torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def _scikit_learn(block: Any) -> tuple[Any, Any]:
    """A fitted StandardScaler and PCA that do what a `ScaledPCA` does."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler, pca = StandardScaler(), PCA(len(block.components))
    mean, scale, components = (np.asarray(a, np.float64) for a in (block.mean, block.scale, block.components))
    scaler.mean_, scaler.scale_, scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = mean, scale, scale**2, len(mean), 1
    pca.components_, pca.mean_, pca.n_features_in_, pca.n_components_ = components, np.zeros(len(mean)), len(mean), len(components)
    # not used without whitening, but an estimator without it counts as not fitted
    pca.explained_variance_ = np.asarray(block.variance, np.float64)
    return scaler, pca


def _switchyard(router: Router, folder: Path, encoder: str) -> list[str]:
    """NeMo Switchyard 0.3 `prefill_router`: tensors and plain values only."""
    block, reduction = router.features, router.features.reduction
    tensors, meta = router.head.state()

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float32))

    checkpoint = {
        "format_version": 1,
        "encoder": {"name": encoder, "view": "task_prompt_only", "n_layers": router.encoder_note["n_layers"], "hidden_dim": router.encoder_note["hidden_size"]},
        "architecture": {"activation": "ReLU", "ensemble_reduction": "mean(sigmoid(logits))"},
        "feature_pipeline": {
            "pooling": "mean of independently standardized selected layers", "selected_layers": list(block.layers),
            "layer_mean": {str(layer): tensor(mean) for layer, mean in zip(block.layers, block.means, strict=True)},
            "layer_std": {str(layer): tensor(scale) for layer, scale in zip(block.layers, block.scales, strict=True)},
            "scaler_mean": tensor(reduction.mean), "scaler_scale": tensor(reduction.scale),
            "pca_mean": torch.zeros(len(reduction.mean)), "pca_components": tensor(reduction.components),
        },
        "models": router.target_names,
        "model_state_dicts": [{name.removeprefix(f"member{i}."): tensor(array) for name, array in tensors.items() if name.startswith(f"member{i}.")} for i in range(meta["members"])],
    }
    _torch_save(checkpoint, folder / "router.pt")
    return ["router.pt"]


def _switchyard_json(router: Router, folder: Path, encoder: str) -> list[str]:
    """Switchyard's earlier artifact: `router.json` and `router.safetensors`, all float32."""
    reduction, (tensors, meta) = router.features.reduction, router.head.state()
    if router.features.pooling != "mean" or len(meta["hidden"]) != 2:
        raise ExportError("switchyard_json holds token means and two hidden layers; train with the settings of the `shared_block` method")
    if (len(reduction.components), meta["hidden"], meta["members"]) != (200, [256, 128], 5):
        warnings.warn(
            f"Switchyard's reader of this form takes 200 components, hidden layers 256 and 128 and 5 members alone; this router has {len(reduction.components)}, {meta['hidden']} and {meta['members']}", stacklevel=3
        )
    layers = list(range(router.encoder_note["n_layers"] + 1))
    arrays = {
        "transform.scaler_mean": reduction.mean, "transform.scaler_scale": reduction.scale, "transform.pca_mean": np.zeros(len(reduction.mean)), "transform.pca_components": reduction.components,
    }
    for i in range(meta["members"]):
        for place, name in ((0, "linear1"), (3, "linear2"), (6, "output")):
            for part in ("weight", "bias"):
                arrays[f"ensemble.{i}.{name}.{part}"] = tensors[f"member{i}.layers.{place}.{part}"]
    described = {
        "format_version": 1, "training_mode": "single_pca_block", "encoder": encoder, "representation": "token_mean_per_layer_concat", "extraction_layer_ids": layers,
        "hidden_size": router.encoder_note["hidden_size"], "raw_feature_dim": len(reduction.mean), "feature_block_count": 1, "pca_dim": len(reduction.components), "pca_whiten": False,
        "output_names": router.target_names, "trunk_hidden": meta["hidden"], "ensemble_size": meta["members"], "probability_link": "independent_sigmoid",
        "ensemble_reduction": "probability_mean", "tensor_file": "router.safetensors",
    }
    with replacing(folder / "router.safetensors") as temporary:
        save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, temporary)
    with replacing(folder / "router.json") as temporary:
        temporary.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return ["router.json", "router.safetensors"]


def _torch_save(checkpoint: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        torch.save(checkpoint, temporary)


# Format: what writes it, and the methods whose routers it can hold.
FORMATS: dict[str, tuple[Callable[[Router, Path, str], list[str]], tuple[str, ...]]] = {
    "own": (_own, ("ours", "paper", "shared_block", "adapter_trunk")),
    "toolkit": (_toolkit, ("paper", "shared_block")),
    "switchyard": (_switchyard, ("adapter_trunk",)),
    "switchyard_json": (_switchyard_json, ("shared_block",)),
}


def export(router: Router, format: str, folder: str | Path, encoder_name: str | None = None, allow_pickle: bool = False) -> list[Path]:
    """Write a router in a format.

    Parameters
    ----------
    router : Router
    format : a key of ``FORMATS``
    folder : where the files go; made if it is not there.
    encoder_name : str, optional
        The name that the other project loads the encoder by; default: :func:`hub_name`.
    allow_pickle : bool
        `toolkit` holds scikit-learn objects, hence a pickle, which can run code when it is loaded; it is written only on request.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ExportError
        An unknown format, a router of a method that the format cannot hold, or a pickle that was not asked for.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    write, methods = FORMATS[format]
    if router.method not in methods:
        raise ExportError(f"{format} cannot hold a router of the method {router.method!r}; train one with Router.fit(..., method={' or '.join(map(repr, methods))})")
    if format == "toolkit":
        if not allow_pickle:
            raise ExportError("the toolkit's checkpoint is a pickle (it holds scikit-learn objects), and loading a pickle can run code; pass allow_pickle=True (ALLOW_PICKLE=1) to write one all the same")
        warnings.warn("a pickle is written: load it only where you trust whoever could have changed it", stacklevel=2)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / name for name in write(router, folder, encoder_name or hub_name(router))]


def router_for(workspace: Any, format: str, method: str | None = None, pool: str | None = None) -> Router:
    """A router that a format can hold, trained on all queries of a pool of a profile whose notebook 02 ran.

    Raises
    ------
    ExportError
        An unknown format, method or pool.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    methods = FORMATS[format][1]
    method = method or methods[0]
    if method not in methods:
        raise ExportError(f"{format} holds routers of {', '.join(methods)}, not of {method!r}")
    of_pool = dict(pools(workspace, workspace.load_outcomes()))
    pool = pool or next(iter(of_pool))
    if pool not in of_pool:
        raise ExportError(f"the profile {workspace.profile.name} has no pool {pool!r}; it has {', '.join(of_pool)}")
    store = ActivationStore(workspace.build / read_note(workspace, "encoder")["folder"])
    profile, config = workspace.profile, TrunkConfig(**workspace.profile.ensemble)
    config = adapter_config(config) if method == "adapter_trunk" else config
    return Router.fit(of_pool[pool], store, method=method, config=config, sizes=profile.component_sizes, folds=profile.folds, layer_choice=profile.layer_choice)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 for what cannot be exported."""
    parser = argparse.ArgumentParser(prog="python -m prefill_router.export", allow_abbrev=False, description="Train a router on a profile's pool and write it in a format.")
    parser.add_argument("--profile", default="local", help="a profile whose notebooks ran (default: local)")
    parser.add_argument("--outcomes", type=Path, help="the table of one's own that was given to make reproduce, instead of a profile")
    parser.add_argument("--prices", type=Path, help="its price list")
    parser.add_argument("--right-from", type=float, help="from which grade on an answer of that table is right")
    parser.add_argument("--format", default="own", help=f"one of {', '.join(FORMATS)} (default: own)")
    parser.add_argument("--method", help="one of ours, paper, shared_block, adapter_trunk (default: the first that the format holds)")
    parser.add_argument("--pool", help="which pool of the profile (default: the first)")
    parser.add_argument("--encoder-name", help="the name by which the other project loads the encoder (default: its Hub id)")
    parser.add_argument("--allow-pickle", action="store_true", help="write a pickle, which the toolkit's checkpoint is")
    parser.add_argument("--encoder", help="another encoder than the profile's, as in the run that is exported")
    parser.add_argument("--device", help="auto, cpu, mps, cuda or cuda:N")
    parser.add_argument("--build-dir", type=Path, help="another folder than build/")
    parser.add_argument("--out", type=Path, help="where the files go (default: build/<profile>/export/<format>)")
    arguments = parser.parse_args(argv)
    try:
        if arguments.outcomes:
            arguments.profile = str(write_own_profile(arguments.outcomes, arguments.prices, (arguments.build_dir or project_root() / "build") / "own", arguments.right_from))
        workspace = open_workspace(arguments.profile, encoder=arguments.encoder, device=arguments.device, build_dir=arguments.build_dir)
        if arguments.format == "toolkit" and not arguments.allow_pickle:
            raise ExportError("the toolkit's checkpoint is a pickle; say ALLOW_PICKLE=1 (--allow-pickle) to write one all the same")
        router = router_for(workspace, arguments.format, arguments.method, arguments.pool)
        files = export(router, arguments.format, arguments.out or workspace.build / "export" / arguments.format, arguments.encoder_name, arguments.allow_pickle)
    except (ValueError, ActivationError, FileNotFoundError) as error:  # of profiles, tables, routers and exports
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.format}: {router.method} for {', '.join(router.target_names)}, trained on {router.trained_on} queries, encoder {arguments.encoder_name or hub_name(router)}")
    for file in files:
        print(f"  {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
