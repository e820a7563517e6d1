"""Where a saved router would send many prompts: P(correct), target and expected cost of each.

python -m prefill_router.scale.score INPUT OUTPUT --router FOLDER
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from prefill_router.hardware import one_blas_thread
from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.engines import Engine, LocalEngine
from prefill_router.scale.inputs import ID_COLUMN, PROMPT_COLUMN
from prefill_router.scale.job import (
    SHARD_ROWS,
    add_common_arguments,
    bad_rows,
    check_engine,
    finish,
    make_plan,
    rows_of_shard,
    run_command,
    with_text,
)
from prefill_router.scale.plan import Plan, to_json
from prefill_router.scale.shards import write_shard
from prefill_router.serve.routed import Route
from prefill_router.serve.router import Router

FILES = ("router.json", "router.safetensors")


@dataclass(frozen=True)
class SavedRouter:
    """A saved router as bytes, so that workers need not see its folder.

    Attributes
    ----------
    files : tuple of (name, bytes)
    encoder : str, optional
        Where the encoder lies, if not where it did in the training.
    device : str
    """

    files: tuple[tuple[str, bytes], ...]
    encoder: str | None = None
    device: str = "auto"

    @classmethod
    def read(cls, folder: Address, encoder: str | None = None, device: str = "auto") -> SavedRouter:
        """From a folder on any file system; ScaleError if there is none."""
        try:
            return cls(tuple((name, (folder / name).read()) for name in FILES), encoder, device)
        except FileNotFoundError:
            raise ScaleError(
                f"{folder} holds no router; give the folder that a router was saved to, with"
                f" {' and '.join(FILES)}"
            ) from None

    @property
    def sha256(self) -> dict[str, str]:
        """Of its files."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files}

    def open(self) -> Router:
        """Load it with its encoder, once in a process."""
        return _opened(self)


@functools.lru_cache(maxsize=1)
def _opened(saved: SavedRouter) -> Router:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in saved.files:
            (Path(folder) / name).write_bytes(data)
        router = Router.load(folder, device=saved.device)
    return router.attach(saved.encoder, saved.device)


@dataclass(frozen=True)
class Choice:
    """How targets are chosen: at most one of these, as in `Router.route`."""

    tolerance: float | None = None
    plan: str | None = None
    budget: float | None = None


def score_shards(
    address: Address,
    output: Address,
    router: SavedRouter,
    choice: Choice | None = None,
    engine: Engine | None = None,
    *,
    shard_rows: int = SHARD_ROWS,
    columns: tuple[str, str] = (ID_COLUMN, PROMPT_COLUMN),
    progress: bool = True,
) -> dict[str, Any]:
    """Routes of all prompts of an input, in shards; goes on where an earlier run was stopped.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ScaleError
        As in `extract.extract_shards`.
    RouterError
        A choice that makes no sense, an encoder that is not the router's.

    Notes
    -----
    Eight parameters: what is read by whom and where it goes, and settings that most callers leave
    as they are.
    """
    choice, engine = choice or Choice(), engine or LocalEngine()
    check_engine(engine, address, output)
    settings = {"router": router.sha256, **asdict(choice)}
    root, plan = make_plan("routes", address, output, settings, shard_rows, columns)
    work = RouteWork(router, choice, root, output, plan)
    return finish(output, plan, plan.key, work, engine, None, progress)


@dataclass(frozen=True)
class RouteWork:
    """Makes a shard of routes: a job is its number."""

    router: SavedRouter
    choice: Choice
    root: Address
    output: Address
    plan: Plan

    def open(self) -> Callable[[str], bytes]:
        router = self.router.open()
        router.decision(self.choice.tolerance, self.choice.plan)  # what makes no sense is refused
        return lambda job: to_json(self._shard(router, json.loads(job)))

    @one_blas_thread
    def _shard(self, router: Router, index: int) -> Mapping[str, Any]:
        file, rows = rows_of_shard(self.root, self.plan, index)
        good, problems = with_text(rows)
        routes = router.route(
            [row.prompt for row in good], on_error="fallback", **asdict(self.choice)
        )
        kept = []
        for row, route in zip(good, routes, strict=True):
            if route.tokens:
                kept.append((row.query_id, route))
            else:  # it could not be read, and the reason says why
                problems[row.number] = str(route.reason)
        table = routes_table([query_id for query_id, _ in kept], [route for _, route in kept])
        if not kept:
            table = routes_table([], [], router.target_names)
        bad = bad_rows(file, rows, problems)
        return write_shard(
            self.output, self.plan, self.plan.shards[index], table, bad, self.plan.key
        )


def routes_table(
    query_ids: Sequence[str], routes: Sequence[Route], targets: Sequence[str] | None = None
) -> pa.Table:
    """One row a prompt: query_id, tokens, target, cost (expected, of the target), familiarity,
    reason (why the fallback is the target, or nothing), ``p.<target>`` and ``cost.<target>``.
    """
    names = list(routes[0].p_correct) if targets is None else targets
    number, text = pa.float64(), pa.string()
    return pa.table(
        {
            "query_id": pa.array(query_ids, text),
            "tokens": pa.array([route.tokens for route in routes], pa.int32()),
            "target": pa.array([route.target for route in routes], text),
            "cost": pa.array([route.cost[route.target] for route in routes], number),
            "familiarity": pa.array([route.familiarity for route in routes], number),
            "reason": pa.array([route.reason for route in routes], text),
            **{f"p.{t}": pa.array([r.p_correct[t] for r in routes], number) for t in names},
            **{f"cost.{t}": pa.array([r.cost[t] for r in routes], number) for t in names},
        }
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_common_arguments(parser)
    parser.add_argument("--router", required=True, help="folder of a saved router, any address")
    parser.add_argument(
        "--encoder", help="where its encoder lies, if not where it did in the training"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--tolerance", type=float, help="P that is given up for a cheaper target")
    how.add_argument("--plan", help="one of the router's plans (default: no_loss)")
    how.add_argument("--budget", type=float, help="mean expected cost of a query")


def run(arguments: argparse.Namespace) -> int:
    """The command. Returns 0, or 2 for what cannot be done."""
    return run_command(
        arguments,
        lambda engine: score_shards(
            Address.of(arguments.input),
            Address.of(arguments.output),
            SavedRouter.read(Address.of(arguments.router), arguments.encoder, arguments.device),
            Choice(arguments.tolerance, arguments.plan, arguments.budget),
            engine,
            shard_rows=arguments.shard_rows,
            columns=(arguments.id_column, arguments.prompt_column),
            progress=not arguments.quiet,
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="prefill-router score",
        allow_abbrev=False,
        description="Where a router would send many prompts: Parquet in, shards out.",
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    # workers look for what they are sent under the module's own name, which is not __main__
    from prefill_router.scale import score

    sys.exit(score.main())
