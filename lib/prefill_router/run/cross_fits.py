"""Out-of-fold predictions, kept between the notebook that trains and the one that decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from prefill_router.evaluate.cross_fitted import PREFILL, CrossFitted, Pool, labelled
from prefill_router.features.choice import FeatureChoice
from prefill_router.features.queries import LabelledQueries
from prefill_router.files import replacing
from prefill_router.heads.fit import FitSettings
from prefill_router.heads.fit_baselines import short_names
from prefill_router.heads.names import together
from prefill_router.heads.out_of_fold import (
    CrossFit,
    cross_fit_ours,
    cross_fits_over_seeds,
    text_routers,
)
from prefill_router.run.earlier import not_run_yet
from prefill_router.run.loading import Run, read_sentences
from prefill_router.run.workspace import Workspace

FOLDER = "cross_fits"


def cross_fit_run(run: Run) -> list[str]:
    """Train ours, the paper's network and the text routers on all labelled queries of every split,
    with out-of-fold P, and keep what they predict in the build folder.

    Returns
    -------
    list of str
        The methods.
    """
    embeddings, of_sentences = read_sentences(run)
    texts = text_routers(run.outcomes.prompts, embeddings, short_names(embeddings))
    first = run.first_store
    choices = run.ws.read_table("features")
    found = cross_fits_over_seeds(
        run.splits,
        LabelledQueries.of(run.stores, run.outcomes),
        {pool: LabelledQueries.of(first, outcomes) for pool, outcomes in run.pools.items()},
        {
            (str(pool), int(seed)): _choices(of)
            for (pool, seed), of in choices.groupby(["pool", "seed"], sort=False)
        },
        texts,
        run.outcomes,
        FitSettings.of(run.ws.profile),  # type: ignore[arg-type]
    )
    nothing = np.zeros(run.outcomes.n)
    reads = {"ours": list(run.stores), "paper": [run.encoder]}
    encoders = {name: together(read) for name, read in reads.items()}
    overheads = {name: run.overhead(read) for name, read in reads.items()}
    for name, text in texts.items():
        encoders[name] = text.encoder
        overheads[name] = of_sentences.get(text.encoder, nothing)
    for pool in run.pools:
        for name, encoder in encoders.items():
            of_seeds = {seed: found[pool, name, seed] for seed in run.splits}
            save_cross_fits(run.ws, pool, name, of_seeds, encoder, overheads[name])
    return list(encoders)


def cross_fit_encoders(run: Run) -> dict[str, tuple[Pool, dict[str, CrossFitted]]]:
    """Ours on each encoder alone, with out-of-fold P, on every pool that can be planned; empty
    where there is one encoder, whose plans are those of ours.
    """
    if len(run.stores) < 2:
        return {}
    planned = {
        name: pool
        for name, outcomes in run.pools.items()
        if (pool := Pool.of(outcomes, run.splits, run.ws.profile.cost_model)) is not None
    }
    queries, names = LabelledQueries.of(run.stores, run.outcomes), run.outcomes.target_names
    found: dict[str, tuple[Pool, dict[str, CrossFitted]]] = {
        name: (pool, {}) for name, pool in planned.items()
    }
    for encoder in run.stores:
        alone = queries.of_encoders([encoder])
        fits = {
            seed: cross_fit_ours(seed, labelled(split), alone) for seed, split in run.splits.items()
        }
        for name, (_, methods) in found.items():
            columns = [names.index(target) for target in run.pools[name].target_names]
            of_pool = {seed: fit.of_columns(columns) for seed, fit in fits.items()}
            methods[encoder] = CrossFitted(
                encoder,
                {seed: fit.rows for seed, fit in of_pool.items()},
                {seed: fit.held_out for seed, fit in of_pool.items()},
                {seed: fit.p for seed, fit in of_pool.items()},
                run.overhead([encoder]),
            )
        print(f"{encoder}: out-of-fold P of {len(run.splits)} splits", flush=True)
    return found


def _choices(of_pool: pd.DataFrame) -> list[FeatureChoice]:
    columns = ["target", "layer", "pooling", "n_components"]
    return [
        FeatureChoice(str(target), int(layer), str(pooling), int(components))
        for target, layer, pooling, components in of_pool[columns].itertuples(index=False)
    ]


def save_cross_fits(
    ws: Workspace,
    pool: str,
    method: str,
    fits: Mapping[int, CrossFit],
    encoder: str,
    overhead: np.ndarray,
) -> None:
    """Write a method's `CrossFit` of every split seed as one file of the build folder."""
    arrays: dict[str, Any] = {"pool": pool, "method": method, "encoder": encoder}
    arrays["overhead"] = overhead
    for seed, fit in fits.items():
        arrays |= {
            f"rows.{seed}": fit.rows,
            f"held_out.{seed}": fit.held_out.astype(np.float32),
            f"p.{seed}": fit.p.astype(np.float32),
        }
    folder = ws.build / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{quote(pool, safe='')}__{quote(method, safe='')}.npz"
    with replacing(folder / name) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_cross_fits(ws: Workspace, pool: str) -> dict[str, CrossFitted]:
    """What :func:`cross_fit_run` kept of a pool, by method.

    Raises
    ------
    FileNotFoundError
        Nothing was kept; says which notebook to run.
    """
    found = {}
    for path in sorted((ws.build / FOLDER).glob(f"{quote(pool, safe='')}__*.npz")):
        with np.load(path) as arrays:
            of = {
                part: {
                    int(name.split(".")[1]): arrays[name].astype(kind)
                    for name in arrays.files
                    if name.startswith(f"{part}.")
                }
                for part, kind in (("rows", int), ("held_out", float), ("p", float))
            }
            found[str(arrays["method"])] = CrossFitted(
                str(arrays["encoder"]), **of, overhead=arrays["overhead"]
            )
    if not found:
        raise not_run_yet(
            ws.profile, ws.build / FOLDER / f"{pool}__*.npz", "out-of-fold predictions"
        )
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(method: str) -> tuple[int, str]:
    """Readers of the prefill first."""
    return (PREFILL.index(method) if method in PREFILL else len(PREFILL), method)


def load_cross_fits(run: Run) -> dict[str, tuple[Pool, dict[str, CrossFitted]]]:
    """Every pool that can be planned, with its methods.

    Raises
    ------
    FileNotFoundError
        See :func:`read_cross_fits`.
    """
    found = {}
    for name, outcomes in run.pools.items():
        pool = Pool.of(outcomes, run.splits, run.ws.profile.cost_model)
        if pool is None:
            why = "fewer than two targets have a price, or the best single one costs nothing"
            print(f"pool {name}: {why}, so there is nothing to plan")
        else:
            found[name] = (pool, read_cross_fits(run.ws, name))
    return found
