"""What a job is: its input, its settings and its shards, written down before anything is computed.

A folder that holds another plan is refused, so that shards of two jobs never mix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prefill_router.scale.addresses import Address, ScaleError
from prefill_router.scale.inputs import InputFile

FORMAT = 1  # raise it when a file changes its meaning: older folders are then refused


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` (excluded) of a file; the unit of work.

    `repeated` are those among them whose id stood before.
    """

    index: int
    file: int
    start: int
    stop: int
    repeated: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Of its files, without what they end in."""
        return f"shard-{self.index:06d}"


@dataclass(frozen=True)
class Plan:
    """A job.

    Attributes
    ----------
    kind : {"states", "routes"}
        What is made of a prompt, and the folder that it goes to.
    files : tuple of InputFile
    columns : names of the columns of ids and of prompts
    shards : tuple of Shard
    settings : mapping, fit for JSON
        All else that shapes the shards: the encoder's fingerprint, what is kept of its states, ….
    """

    kind: str
    files: tuple[InputFile, ...]
    columns: tuple[str, str]
    shards: tuple[Shard, ...]
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``plan.json``."""
        return json.loads(json.dumps({"format": FORMAT, **asdict(self)}))

    @property
    def key(self) -> str:
        """SHA-256 of everything, in hexadecimal."""
        return hashlib.sha256(to_json(self.as_json())).hexdigest()

    @property
    def rows(self) -> int:
        """Of all shards."""
        return sum(shard.stop - shard.start for shard in self.shards)


def to_json(value: Any) -> bytes:
    """The same bytes for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def shards_of(
    files: Sequence[InputFile], shard_rows: int, repeated: Mapping[int, Sequence[int]]
) -> tuple[Shard, ...]:
    """Consecutive rows of a file make a shard; none holds rows of two files.

    Raises
    ------
    ScaleError
        ``shard_rows`` below 1.
    """
    if shard_rows < 1:
        raise ScaleError(f"shard_rows={shard_rows}; a shard holds at least one row")
    shards: list[Shard] = []
    for index, file in enumerate(files):
        for start in range(0, file.rows, shard_rows):
            stop = min(start + shard_rows, file.rows)
            again = tuple(row for row in repeated.get(index, ()) if start <= row < stop)
            shards.append(Shard(len(shards), index, start, stop, again))
    return tuple(shards)


def agree_on_plan(output: Address, plan: Plan) -> None:
    """Write the plan into a fresh folder, or check that a begun one holds the same.

    Raises
    ------
    ScaleError
        The folder holds another plan: names what differs.
    """
    address, wanted = output / "plan.json", plan.as_json()
    try:
        earlier = json.loads(address.read())
    except FileNotFoundError:
        address.write(to_json(wanted))
        return
    except ValueError:
        raise ScaleError(f"{address} is damaged; delete {output} and begin again") from None
    if earlier == wanted:
        return
    differs = _differences(earlier, wanted)
    raise ScaleError(
        f"{output} holds another job: {'; '.join(differs)}. Its shards cannot be mixed with those"
        " of this one: give another OUTPUT, or delete that folder, or ask for what it was begun"
        " with"
    )


def _differences(earlier: Any, wanted: dict[str, Any]) -> list[str]:
    """Sentences that name what differs between two plans, at most five of files."""
    if not isinstance(earlier, dict) or not isinstance(earlier.get("settings"), dict):
        return ["its plan.json is of another program"]
    found = []
    before, now = ({f["name"]: f for f in of.get("files", [])} for of in (earlier, wanted))
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    for name in changed[:5]:
        what = "is new" if name not in before else "is gone" if name not in now else "has changed"
        found.append(f"the input file {name} {what}")
    if len(changed) > 5:
        found.append(f"{len(changed) - 5} more input files differ")
    was, asked = earlier["settings"], wanted["settings"]
    for name in sorted({*was, *asked}):
        if was.get(name) != asked.get(name):
            found.append(f"{name} was {_short(was.get(name))}, asked for {_short(asked.get(name))}")
    for name in ("format", "kind", "columns"):
        if earlier.get(name) != wanted[name]:
            found.append(f"{name} was {earlier.get(name)}, asked for {wanted[name]}")
    return found or ["its shards are cut otherwise"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}…"
