"""What the notebooks hand on to each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import numpy as np
import pandas as pd

from prefill_router.data.costs import without_cost
from prefill_router.data.outcomes import Outcomes, check_trainable
from prefill_router.data.splits import PARTS, Split, family_folds, grouped_split
from prefill_router.files import replacing, say_once
from prefill_router.heads.names import MethodKey, OnEncoder, method_keys, name_of
from prefill_router.run.earlier import not_run_yet
from prefill_router.run.workspace import Workspace

READS = (
    "prefill",
    "sentence",
    "",
)  # what a method reads of its encoder: hidden states, a sentence embedding; nothing


P_DECIMALS = 4


def write_splits(workspace: Workspace, outcomes: Outcomes) -> pd.DataFrame:
    """Draw the splits that the profile asks for, check that every target can be learnt, keep them.

    Returns
    -------
    DataFrame[seed, query_id, split]
        Also written to ``splits.parquet`` of the build folder.
    """
    profile, rows = workspace.profile, []
    if profile.split == "families":
        splits = family_folds(outcomes, profile.seeds, profile.fractions)
    else:
        splits = {s: grouped_split(outcomes, s, profile.fractions) for s in profile.seeds}
    for seed, split in splits.items():
        check_trainable(
            outcomes.correct[split.train],
            outcomes.target_names,
            where=f"training rows of split seed {seed}",
        )
        for part in PARTS:
            rows.append(
                pd.DataFrame(
                    {
                        "seed": seed,
                        "query_id": outcomes.queries["query_id"].to_numpy()[getattr(split, part)],
                        "split": part,
                    }
                )
            )
    table = pd.concat(rows, ignore_index=True)
    with replacing(workspace.build / "splits.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    return table


def read_splits(workspace: Workspace, outcomes: Outcomes) -> dict[int, Split]:
    """The splits of `write_splits` as row positions, by seed."""
    path = workspace.build / "splits.parquet"
    if not path.is_file():
        raise not_run_yet(workspace.profile, path, "splits")
    position = pd.Series(np.arange(outcomes.n), index=outcomes.queries["query_id"])
    return {
        int(seed): Split(
            *(
                np.sort(position.loc[rows.loc[rows["split"] == part, "query_id"]].to_numpy())
                for part in PARTS
            )
        )
        for seed, rows in pd.read_parquet(path).groupby("seed")
    }


def write_note(workspace: Workspace, name: str, content: dict) -> None:
    """Keep a small JSON note for later notebooks in the build folder (such as where the activations
    are).
    """
    with replacing(workspace.build / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_note(workspace: Workspace, name: str) -> dict:
    """Read what `write_note` wrote of the encoders; says which notebook makes it if it is not
    there.
    """
    path = workspace.build / f"{name}.json"
    if not path.is_file():
        raise not_run_yet(workspace.profile, path, "states")
    return json.loads(path.read_text(encoding="utf-8"))


def pools(workspace: Workspace, outcomes: Outcomes) -> Iterator[tuple[str, Outcomes]]:
    """The profile's pools: name and outcomes cut to its targets. Those without a price are named
    aloud, once; they stay in.
    """
    for name, targets in workspace.profile.pool_targets(outcomes.target_names).items():
        pool = outcomes.pool(targets)
        if unknown := without_cost(pool, workspace.profile.cost_model):
            say_once(
                f"pool {name}: no price is known for {', '.join(unknown)}; left out of what needs a"
                " cost, and of nothing else"
            )
        yield name, pool


def kept(p: np.ndarray) -> np.ndarray:
    """P(correct) as it is kept, and evaluated: to four decimals, and half a step from 0 and 1 (the
    log loss needs that).

    What is published is then what was evaluated, to the last digit, in two bytes each.
    """
    return np.clip(
        np.round(np.asarray(p, dtype=np.float64), P_DECIMALS),
        half := 0.5 * 10.0**-P_DECIMALS,
        1 - half,
    )


def unpacked(stored: np.ndarray) -> np.ndarray:
    """What `kept` gave, from its float32 in a file."""
    return np.round(np.asarray(stored, dtype=np.float64), P_DECIMALS + 1)


def save_predictions(
    workspace: Workspace,
    pool: str,
    method: MethodKey,
    encoder: str,
    outcomes: Outcomes,
    splits: Mapping[int, Split],
    p: Mapping[int, np.ndarray],
    overhead: np.ndarray | None = None,
    reads: str = "prefill",
) -> None:
    """Keep P(correct) of one method on calibration and test rows of every split, as `kept` has it.

    Parameters
    ----------
    encoder : name of what it reads, of several encoders as `names.together` has it
    outcomes : Outcomes
        Of the pool: n queries, K targets.
    p : mapping of seed to ndarray [n, K]
        P(correct) of all queries; training rows are not kept.
    overhead : ndarray [n], optional
        The router's own cost per query, in the outcomes' unit; 0 by default.
    reads : one of `READS`

    Notes
    -----
    Nine parameters: each becomes a column of the table, or says where it goes.
    """
    if reads not in READS:
        raise ValueError(
            f"method {method!r} cannot read {reads!r}; known: {', '.join(map(repr, READS))}"
        )
    overhead = np.zeros(outcomes.n) if overhead is None else overhead
    rows = []
    for seed, split in splits.items():
        for part in ("calibration", "test"):
            at = getattr(split, part)
            for k, target in enumerate(outcomes.target_names):
                rows.append(
                    pd.DataFrame(
                        {
                            "seed": seed,
                            "pool": pool,
                            "method": name_of(method),
                            "encoder": encoder,
                            "reads": reads,
                            "query_id": outcomes.queries["query_id"].to_numpy()[at],
                            "target": target,
                            "p_correct": kept(p[seed][at, k]).astype(np.float32),
                            "split": part,
                            "overhead": overhead[at],
                        }
                    )
                )
    folder = workspace.build / "predictions"
    folder.mkdir(exist_ok=True)
    name = f"{pool}--{name_of(method)}" + (f"@{encoder}" if isinstance(method, OnEncoder) else "")
    with replacing(folder / f"{quote(name, safe=' @+')}.parquet") as temporary:
        pd.concat(rows, ignore_index=True).to_parquet(temporary, index=False)


def read_predictions(workspace: Workspace, pool: str, outcomes: Outcomes) -> dict[MethodKey, dict]:
    """Predictions of all methods on a pool.

    Returns
    -------
    dict of method to dict
        ``encoder``, ``reads`` (str), ``p`` ({seed: ndarray [n, K], NaN on training rows}),
        ``overhead`` (ndarray [n], 0 where unknown).
    """
    found = {}
    position = pd.Series(np.arange(outcomes.n), index=outcomes.queries["query_id"])
    column = {name: k for k, name in enumerate(outcomes.target_names)}
    for path in sorted((workspace.build / "predictions").glob("*.parquet")):
        table = pd.read_parquet(path, filters=[("pool", "==", pool)])
        if table.empty:
            continue
        p, overhead = {}, np.zeros(outcomes.n)
        for seed, rows in table.groupby("seed"):
            p[int(seed)] = np.full((outcomes.n, len(column)), np.nan)
            at = position.loc[rows["query_id"]].to_numpy()
            p[int(seed)][at, rows["target"].map(column).to_numpy()] = unpacked(rows["p_correct"])
            overhead[at] = rows["overhead"]
        method, encoder, reads = table[["method", "encoder", "reads"]].iloc[0]
        found[method, encoder] = dict(encoder=encoder, reads=reads, p=p, overhead=overhead)
    if not found:
        missing = workspace.build / "predictions" / f"{pool}--*.parquet"
        raise not_run_yet(workspace.profile, missing, "predictions")
    return {key: found[pair] for pair, key in method_keys(found).items()}
