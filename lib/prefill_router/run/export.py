"""Train a router of a profile and write it in a format.

python -m prefill_router.run.export --profile local --format switchyard
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prefill_router.data.costs import priced
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.splits import subset_rows
from prefill_router.encode.activations import extract
from prefill_router.encode.encoders import load_encoder
from prefill_router.encode.pooling import ActivationError
from prefill_router.encode.sources import EncoderError
from prefill_router.encode.store import ActivationStore, store_folder
from prefill_router.files import WeightsError
from prefill_router.heads.fit import FitSettings
from prefill_router.heads.network import TrunkConfig
from prefill_router.run.arguments import OWN_TABLE, command_line, profile_of
from prefill_router.run.handover import pools, read_note
from prefill_router.run.warned import plain_warnings
from prefill_router.run.workspace import Workspace, open_workspace
from prefill_router.serve.export import check_request, export, hub_name
from prefill_router.serve.formats import FORMATS
from prefill_router.serve.names import ExportError, dtype_of, parse_names
from prefill_router.serve.router import Router
from prefill_router.serve.switchyard import SWITCHYARD_SIZES, switchyard_order


def some_queries(outcomes: Outcomes, most: int) -> Outcomes:
    """At most so many queries, in whole groups drawn with a fixed seed; more where a target would
    be right, or wrong, on fewer than ten of them.
    """

    def fewest(of: Outcomes) -> np.ndarray:
        return np.minimum(np.nansum(of.correct, axis=0), np.nansum(1 - of.correct, axis=0))

    while most < outcomes.n:
        some = outcomes.subset(subset_rows(outcomes.queries, most))
        if (fewest(some) >= np.minimum(fewest(outcomes), 10)).all():
            return some
        most *= 2
    return outcomes


def float32_store(workspace: Workspace, outcomes: Outcomes) -> ActivationStore:
    """Float32 activations of these queries by the profile's encoder: those of notebook 02 if they
    are, else extracted now.

    What is extracted stays in the build folder; an interrupted extraction goes on where it stopped.
    """
    profile, store = (
        workspace.profile,
        ActivationStore(workspace.build / read_note(workspace, "encoder")["folder"]),
    )
    if (dtype := store.fingerprint.get("dtype")) == "float32":
        return store
    encoder = load_encoder(
        profile.encoder,
        device=profile.device,
        dtype="float32",
        plain_prompt=profile.encoder in profile.plain_prompt,
    )
    query_ids, prompts = outcomes.queries["query_id"].tolist(), outcomes.prompts
    print(
        f"the profile's activations are in {dtype}, other projects read float32: {outcomes.n}"
        " prompts are read again, unless they were already",
        flush=True,
    )
    return extract(
        encoder,
        query_ids,
        prompts,
        store_folder(workspace.activations, encoder, query_ids, prompts),
        batch_tokens=profile.batch_tokens,
    )


def router_for(
    workspace: Workspace,
    format: str,
    method: str | None = None,
    pool: str | None = None,
    queries: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Router:
    """A router that a format can hold, trained on queries of a pool of a profile whose notebook 02
    ran.

    For other projects it is trained on float32 states (:func:`float32_store`), for `own` on the
    profile's.

    Parameters
    ----------
    queries : int, optional
        About how many at most, see :func:`some_queries`; default: all.
    names : as in :func:`export`; a mapping that it would refuse is refused before the training.

    Raises
    ------
    ExportError
        An unknown format, method or pool, or names that the format cannot hold.
    """
    check_request(format, names)
    methods = FORMATS[format][1]
    method = method or methods[0]
    if method not in methods:
        raise ExportError(f"{format} holds routers of {', '.join(methods)}, not of {method!r}")
    all_outcomes = workspace.load_outcomes()
    of_pool = dict(pools(workspace, all_outcomes))
    pool = pool or next(iter(of_pool))
    if pool not in of_pool:
        raise ExportError(
            f"the profile {workspace.profile.name} has no pool {pool!r}; it has"
            f" {', '.join(of_pool)}"
        )
    # its protocol asks for fields that can be written, and a profile is frozen
    settings = FitSettings.of(workspace.profile)  # type: ignore[arg-type]
    targets = of_pool[pool].target_names
    if format == "switchyard_json":
        switchyard_order(names, (priced(of_pool[pool]) or of_pool[pool]).target_names)
        settings = replace(settings, network=switchyard_network(settings.network))
    # the kernel router learns from the outcomes of all targets, and may read every encoder
    outcomes = all_outcomes if method == "ours" else of_pool[pool]
    outcomes = outcomes if queries is None else some_queries(outcomes, queries)
    stores: ActivationStore | dict[str, ActivationStore]
    if format != "own":
        stores = float32_store(workspace, outcomes)
        settings = replace(settings, last_layer=format != "toolkit")
    else:
        notes = read_note(workspace, "encoders") if method == "ours" else {}
        first = read_note(workspace, "encoder")
        stores = {
            name: ActivationStore(workspace.build / note["folder"])
            for name, note in {first["name"]: first, **notes}.items()
        }
    plan = format == "own"  # other formats keep none
    return Router.fit(
        outcomes, stores, method=method, settings=settings, targets=targets, plan=plan
    )


def switchyard_network(network: TrunkConfig) -> TrunkConfig:
    """The network of `switchyard_json`, which has one size alone; the rest is the profile's."""
    keep = SWITCHYARD_SIZES["members"]
    return replace(
        network,
        hidden=tuple(SWITCHYARD_SIZES["hidden"]),
        dropout=TrunkConfig().dropout,
        members=max(network.members, keep),
        keep=keep,
    )


def export_demo(
    workspace: Workspace, format: str, method: str, queries: int
) -> tuple[Router, dict[str, Any]]:
    """A router trained on so many queries and written, and a row that says what it took."""
    started = time.perf_counter()
    router = router_for(workspace, format, method, queries=queries)
    files = export(router, format, workspace.build / "export" / format)
    return router, {
        "format": format,
        "method": method,
        "queries": router.trained_on,
        "states": dtype_of(router),
        "files": ", ".join(file.name for file in files),
        "MB": sum(file.stat().st_size for file in files) / 1e6,
        "trained and written in s": time.perf_counter() - started,
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line(
        "export",
        "Write a router in a format: a saved one, or one that is trained on the pool of a profile"
        " or of a table of one's own whose notebooks ran.",
        *("profile", *OWN_TABLE, "methods", "encoder", "device", "build-dir"),
    )
    parser.add_argument("--router", type=Path, help="folder of a saved router; trains none")
    parser.add_argument(
        "--format", default="own", help=f"one of {', '.join(FORMATS)} (default: own)"
    )
    parser.add_argument(
        "--method",
        help=(
            "one of ours, paper, shared_block, adapter_trunk (default: the first that the format"
            " holds)"
        ),
    )
    parser.add_argument("--pool", help="which pool of the profile (default: the first)")
    parser.add_argument(
        "--encoder-name",
        help="the name by which the other project loads the encoder (default: its Hub id)",
    )
    parser.add_argument(
        "--names",
        help=(
            "for switchyard_json: under which of its four names each target is written, as"
            " ours=theirs,ours=theirs,…"
        ),
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="write a pickle, which the toolkit's checkpoint is",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="where the files go (default: build/<profile>/export/<format>;"
        " of a saved router, export/<format>)",
    )
    return parser.parse_args(argv)


def _export(
    arguments: argparse.Namespace,
) -> tuple[Router, Mapping[str, str] | None, Sequence[Path]]:
    """The router, the names of its targets in the other project, and the files."""
    if arguments.format == "toolkit" and not arguments.allow_pickle:
        raise ExportError(
            "the toolkit's checkpoint is a pickle; say --allow-pickle (ALLOW_PICKLE=1 with make)"
            " to write one all the same"
        )
    names = parse_names(arguments.names) if arguments.names else None
    if arguments.router is not None:
        router = Router.load(arguments.router)
        folder = Path("export") / arguments.format
    else:
        workspace = open_workspace(
            profile_of(arguments),
            encoder=arguments.encoder,
            device=arguments.device,
            build_dir=arguments.build_dir,
        )
        format, method, pool = arguments.format, arguments.method, arguments.pool
        router = router_for(workspace, format, method, pool, names=names)
        folder = workspace.build / "export" / format
    files = export(
        router,
        arguments.format,
        arguments.out or folder,
        arguments.encoder_name,
        arguments.allow_pickle,
        names,
    )
    return router, names, files


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0, or 2 for what cannot be exported."""
    arguments = _arguments(argv)
    try:
        with plain_warnings():
            router, names, files = _export(arguments)
    except (
        ValueError,
        ActivationError,
        EncoderError,
        WeightsError,
        FileNotFoundError,
    ) as error:  # of profiles, tables, encoders, routers and exports
        print(f"error: {error}", file=sys.stderr)
        return 2
    called = ", ".join(
        f"{name} as {names[name]}" if names else name for name in router.target_names
    )
    print(
        f"{arguments.format}: {router.method} for {called}, trained on {router.trained_on} queries,"
        f" encoder {arguments.encoder_name or hub_name(router)} in {dtype_of(router)}"
    )
    for file in files:
        print(f"  {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
