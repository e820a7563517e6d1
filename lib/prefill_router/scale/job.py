"""What extraction and scoring share: a plan for an input, the shards that are missing, the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from prefill_router.encode.pooling import ActivationError
from prefill_router.encode.sources import EncoderError
from prefill_router.files import WeightsError
from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.engines import Engine, Work, engine_of
from prefill_router.scale.inputs import (
    ID_COLUMN,
    PROMPT_COLUMN,
    InputFile,
    Row,
    input_files,
    read_rows,
    repeated_ids,
)
from prefill_router.scale.plan import Plan, agree_on_plan, shards_of, to_json
from prefill_router.scale.shards import (
    BadRow,
    bad_table,
    finished_shards,
    parquet_bytes,
    read_manifest,
)

SHARD_ROWS = 2048


def make_plan(
    kind: str,
    address: Address,
    output: Address,
    settings: Mapping[str, Any],
    shard_rows: int,
    columns: tuple[str, str],
) -> tuple[Address, Plan]:
    """The input's folder and the plan, which ``output`` now holds; errors as in `input_files`,
    `shards_of` and `agree_on_plan`.
    """
    root, files = input_files(address, columns[1], columns[0])
    shards = shards_of(files, shard_rows, repeated_ids(root, files, columns[0]))
    complete = {**settings, "shard_rows": shard_rows}
    plan = Plan(kind, tuple(files), columns, shards, json.loads(json.dumps(complete)))
    agree_on_plan(output, plan)
    return root, plan


def check_engine(engine: Engine, *addresses: Address) -> None:
    """Refuse what the engine's workers cannot see."""
    for address in addresses:
        if engine.elsewhere and address.in_this_process:
            raise ScaleError(
                f"{address} is in the memory of this process alone, and the workers of a cluster"
                " are others; use --engine local, or an address that all machines see"
            )


def rows_of_shard(root: Address, plan: Plan, index: int) -> tuple[InputFile, list[Row]]:
    """The file and the rows of a shard; an id that stood before is a problem of its row."""
    shard = plan.shards[index]
    file = plan.files[shard.file]
    rows = read_rows(root, file, range(shard.start, shard.stop), plan.columns)
    repeated = set(shard.repeated)
    again = "repeated: the id stands in an earlier row of the input"
    return file, [
        Row(row.number, row.query_id, row.prompt, row.problem or again)
        if row.number in repeated
        else row
        for row in rows
    ]


def with_text(rows: Sequence[Row]) -> tuple[list[Row], dict[int, str]]:
    """Rows whose prompt is a text, and what is wrong with the others by number."""
    good, problems = [], {}
    for row in rows:
        if row.problem:
            problems[row.number] = row.problem
        elif row.prompt is None:
            problems[row.number] = "empty: there is no prompt"
        elif not isinstance(row.prompt, str):
            problems[row.number] = f"no text: the prompt is of type {type(row.prompt).__name__}"
        elif not row.prompt.strip():
            problems[row.number] = "empty: the prompt has no text"
        else:
            good.append(row)
    return good, problems


def bad_rows(file: InputFile, rows: Sequence[Row], problems: Mapping[int, str]) -> list[BadRow]:
    """The table of bad rows of a shard, in the order of its rows."""
    return [
        BadRow(file.name, row.number, row.query_id, problems[row.number])
        for row in rows
        if row.number in problems
    ]


def finish(
    output: Address,
    plan: Plan,
    key: str,
    work: Work,
    engine: Engine,
    more: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compute the shards that are missing, then write the manifest, which is returned with what is
    ``more`` to say in it.

    Raises
    ------
    ScaleError
        The job could not be finished: says how many shards are there.
    """
    done = finished_shards(output, plan, key)
    missing = [shard for shard in plan.shards if shard.index not in done]
    with _bar(plan, done, progress) as bar:
        jobs = [json.dumps(shard.index) for shard in missing]
        bad = sum(note["bad"] for note in done.values())
        for number, result in engine.run(work, jobs):
            note = json.loads(result)
            bad += note["bad"]
            bar.set_postfix(bad=bad, refresh=False)
            bar.update(missing[number].stop - missing[number].start)
    if missing:
        done = finished_shards(output, plan, key)
    if lacking := [shard.name for shard in plan.shards if shard.index not in done]:
        raise ScaleError(
            f"{output} lacks {len(lacking)} of {len(plan.shards)} shards, such as {lacking[0]},"
            " although their work is done; was something deleted? Give the same command again"
        )
    return _close(output, plan, key, done, more or {})


def _bar(plan: Plan, done: Mapping[int, Any], progress: bool) -> Any:
    """A bar over rows, those of finished shards done."""
    from tqdm import tqdm

    rows = sum(plan.shards[index].stop - plan.shards[index].start for index in done)
    return tqdm(total=plan.rows, initial=rows, unit="prompt", desc=plan.kind, disable=not progress)


def _close(
    output: Address,
    plan: Plan,
    key: str,
    done: Mapping[int, Mapping[str, Any]],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the bad files' table and the manifest; remove what killed workers left."""
    whole = [BadRow(f.name, None, None, f.problem) for f in plan.files if f.problem]
    if whole:
        (output / "bad/files.parquet").write(parquet_bytes(bad_table(whole)))
    manifest = {
        "kind": plan.kind,
        "key": key,
        "rows": sum(note["rows"] for note in done.values()),
        "bad": sum(note["bad"] for note in done.values()),
        "bad_files": len(whole),
        "tokens": sum(note["tokens"] for note in done.values()),
        "bytes": sum(of["bytes"] for note in done.values() for of in note["files"].values()),
        "files": {name: of for note in done.values() for name, of in note["files"].items()},
        **more,
    }
    (output / "manifest.json").write(to_json(manifest))
    if isinstance(output.opened()[0], LocalFileSystem):
        for left in Path(output.opened()[1]).rglob(".*.tmp"):
            left.unlink(missing_ok=True)
    return read_manifest(output)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """What both commands take."""
    parser.add_argument("input", help="a Parquet file, or a folder of them; any fsspec address")
    parser.add_argument("output", help="folder of the shards; any fsspec address")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="who computes (default: local)"
    )
    parser.add_argument("--prompt-column", default=PROMPT_COLUMN, help="(default: %(default)s)")
    parser.add_argument(
        "--id-column",
        default=ID_COLUMN,
        help="(default: %(default)s); files without it get the ids FILE:ROW",
    )
    parser.add_argument(
        "--shard-rows",
        type=int,
        default=SHARD_ROWS,
        help="rows of a shard: what an interruption loses at most of each worker's work"
        " (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, help="with Ray: how many (default: all there is)")
    parser.add_argument("--gpus-per-worker", type=float, help="with Ray (default: 1 if any)")
    parser.add_argument("--address", help="with Ray: HOST:PORT of a running cluster, or local")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def parser_of(module: str, description: str) -> argparse.ArgumentParser:
    """The parser of a command, ``extract`` or ``score``, still without arguments."""
    return argparse.ArgumentParser(
        prog=f"prefill-router {module}", allow_abbrev=False, description=description
    )


def run_command(arguments: argparse.Namespace, do: Callable[..., Mapping[str, Any]]) -> int:
    """Do it and say what came out. Returns 0, or 2 for what cannot be done.

    Parameters
    ----------
    arguments : of `add_common_arguments`
    do : what is called with the addresses of input and output and with ``engine``, ``shard_rows``,
        ``columns`` and ``progress``; returns the manifest
    """
    engine = engine_of(
        arguments.engine, arguments.workers, arguments.gpus_per_worker, arguments.address
    )
    try:
        manifest = do(
            Address.of(arguments.input),
            Address.of(arguments.output),
            engine=engine,
            shard_rows=arguments.shard_rows,
            columns=(arguments.id_column, arguments.prompt_column),
            progress=not arguments.quiet,
        )
    except (ScaleError, ActivationError, EncoderError, WeightsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{arguments.output}: {manifest['kind']} of {manifest['rows']:,} prompts,"
        f" {manifest['tokens']:,} tokens, {manifest['bytes'] / 1e6:,.1f} MB;"
        f" {manifest['bad']:,} bad rows and {manifest['bad_files']} bad files"
        + (" in bad/" if manifest["bad"] or manifest["bad_files"] else "")
    )
    return 0
