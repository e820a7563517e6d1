"""States of many prompts, reduced on the way.

python -m prefill_router.scale.extract INPUT OUTPUT --encoder smollm2-135m-instruct
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from safetensors.numpy import load

from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.engines import Engine, LocalEngine
from prefill_router.scale.inputs import ID_COLUMN, PROMPT_COLUMN
from prefill_router.scale.job import (
    SHARD_ROWS,
    add_common_arguments,
    check_engine,
    finish,
    make_plan,
    run_command,
)
from prefill_router.scale.reading import Describing, Reading, SampleWork, ShardWork
from prefill_router.scale.reduce import DTYPES, MOST_COMPONENTS, Moments, Reduction, sample_pieces
from prefill_router.scale.sources import NamedEncoder, Opens, views_of


@dataclass(frozen=True)
class Kept:
    """What is kept of a prompt's states.

    Attributes
    ----------
    states : str, optional
        As `views_of` reads it.
    components : int
        Principal components of each view, at most 256 and at most the encoder's width; 0 keeps
        states whole.
    sample : int
        Rows that the components are fitted on, drawn from all with equal chance.
    seed : int
        Of the draw.
    dtype : {"float16", "float32"}
    max_tokens : int, optional
        A longer prompt is a bad row; default: the encoder's context.
    """

    states: str | None = None
    components: int = MOST_COMPONENTS
    sample: int = 10_000
    seed: int = 0
    dtype: str = "float16"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.components <= MOST_COMPONENTS:
            raise ScaleError(
                f"components={self.components}; keep 1 to {MOST_COMPONENTS}, or 0 for whole states"
            )
        if self.dtype not in DTYPES:
            raise ScaleError(f"dtype={self.dtype!r}; choose of {', '.join(DTYPES)}")


def extract_shards(
    address: Address,
    output: Address,
    source: Opens,
    kept: Kept | None = None,
    engine: Engine | None = None,
    *,
    shard_rows: int = SHARD_ROWS,
    columns: tuple[str, str] = (ID_COLUMN, PROMPT_COLUMN),
    progress: bool = True,
) -> dict[str, Any]:
    """States of all prompts of an input, in shards; goes on where an earlier run was stopped.

    Returns
    -------
    dict
        The manifest: rows, bad, tokens, bytes, files, ….

    Raises
    ------
    ScaleError
        Nothing to read, a folder that holds another job, settings that make no sense, a failure of
        the cluster. Bad rows are no error: they are in ``bad/``.

    Notes
    -----
    Eight parameters: what is read by whom and where it goes, and settings that most callers leave
    as they are.
    """
    kept, engine = kept or Kept(), engine or LocalEngine()
    check_engine(engine, address, output)
    note = _described(engine, source)
    views = views_of(kept.states, note["n_layers"])
    settings = {
        **asdict(kept),
        "states": [view.name for view in views],
        "encoder": note["fingerprint"],
    }
    root, plan = make_plan("states", address, output, settings, shard_rows, columns)
    reading = Reading(source, root, plan, views)
    reduction = _reduction(reading, output, kept, engine, progress)
    key = hashlib.sha256(plan.key.encode() + reduction.as_bytes()).hexdigest()
    width = {name: len(pca.components) for name, pca in reduction.of_views.items()}
    more = {
        "encoder": note["fingerprint"],
        "n_layers": note["n_layers"],
        "views": {view.name: width.get(view.name, note["hidden_size"]) for view in views},
    }
    work = ShardWork(reading, output, reduction, key)
    return finish(output, plan, key, work, engine, more, progress)


def _described(engine: Engine, source: Opens) -> dict[str, Any]:
    """What a worker finds when it opens the source: only there is known which dtype it takes."""
    return json.loads(dict(engine.run(Describing(source), [""]))[0])


def _reduction(
    reading: Reading, output: Address, kept: Kept, engine: Engine, progress: bool
) -> Reduction:
    """Components of every view, read from the folder or fitted and written there."""
    if not kept.components:
        return Reduction({}, kept.dtype)
    address = output / "reduction.safetensors"
    try:
        return Reduction.from_bytes(address.read(), kept.dtype)
    except FileNotFoundError:
        pass
    from tqdm import tqdm

    jobs = [json.dumps(piece) for piece in sample_pieces(reading.plan, kept.sample, kept.seed)]
    moments = {view.name: Moments() for view in reading.views}
    waiting: dict[int, bytes] = {}
    following = 0
    for number, result in tqdm(
        engine.run(SampleWork(reading), jobs), "sample", len(jobs), disable=not progress
    ):
        waiting[number] = result
        while following in waiting:  # sums depend on their order
            for name, states in load(waiting.pop(following)).items():
                moments[name].add(states)
            following += 1
    fitted = {name: of.reduction(kept.components) for name, of in moments.items()}
    if constant := [name for name, pca in fitted.items() if not len(pca.components)]:
        raise ScaleError(
            f"the states {', '.join(constant)} are the same for every prompt of the sample (the"
            " last token of a chat template in layer 0 is): leave them out of --states"
        )
    reduction = Reduction(fitted, kept.dtype)
    address.write(reduction.as_bytes())
    return reduction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_common_arguments(parser)
    parser.add_argument("--encoder", required=True, help="a name, folder, .gguf file or Hub id")
    parser.add_argument("--encoder-dtype", default="auto", help="auto, bfloat16, float16, float32")
    parser.add_argument(
        "--plain-prompt", action="store_true", help="read the raw text, no chat template"
    )
    parser.add_argument(
        "--states",
        help="what is kept, such as mean.15,last.30, or all (default: four: the mean at half,"
        " three quarters and the whole depth, the last token at the whole depth)",
    )
    parser.add_argument(
        "--components",
        type=int,
        default=Kept.components,
        help="principal components of each, 0: whole states (default: %(default)s)",
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=Kept.sample,
        help="rows that the components are fitted on (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=Kept.seed, help="of that sample")
    parser.add_argument("--dtype", choices=DTYPES, default=Kept.dtype, help="of what is kept")
    parser.add_argument(
        "--max-tokens", type=int, help="longer prompts are bad rows (default: the context)"
    )


def run(arguments: argparse.Namespace) -> int:
    """The command. Returns 0, or 2 for what cannot be done."""
    return run_command(
        arguments,
        lambda engine: extract_shards(
            Address.of(arguments.input),
            Address.of(arguments.output),
            NamedEncoder(
                arguments.encoder, arguments.device, arguments.encoder_dtype, arguments.plain_prompt
            ),
            Kept(
                arguments.states,
                arguments.components,
                arguments.sample,
                arguments.seed,
                arguments.dtype,
                arguments.max_tokens,
            ),
            engine,
            shard_rows=arguments.shard_rows,
            columns=(arguments.id_column, arguments.prompt_column),
            progress=not arguments.quiet,
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="prefill-router extract",
        allow_abbrev=False,
        description="States of many prompts: Parquet in, shards out.",
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    # workers look for what they are sent under the module's own name, which is not __main__
    from prefill_router.scale import extract

    sys.exit(extract.main())
