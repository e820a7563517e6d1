"""How long a run still takes, and the log of what it said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from prefill_router.files import replacing

# Parts in a hundred of the time of a whole profile, by the name of a notebook without its number:
# what counts until a notebook has run once on this machine. One that is not named here has 1.
SHARES = {
    "pools_and_outcomes": 1,
    "extract_activations": 12,
    "layerwise_probes": 12,
    "train_shared_trunk": 17,
    "kernel_router": 5,
    "semantic_baselines": 18,
    "evaluate": 4,
    "curves": 4,
    "differences": 1,
    "encoder_target_decoupling": 1,
    "headroom": 2,
    "out_of_fold": 12,
    "decisions": 5,
    "unlike_the_training": 2,
    "cost_of_a_query": 2,
    "families_held_out": 1,
    "summary": 1,
    "route_your_own_prompt": 3,
    "cascades": 20,
    "collect_local_pool": 2,
    "export": 4,
}


def read_times(path: Path) -> dict[str, dict[str, float]]:
    """Seconds and megabytes that each notebook took when it last ran; empty without a file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def keep_time(path: Path, notebook: str, seconds: float, peak_mb: float) -> None:
    """Note what a notebook took; the file stays in the build folder."""
    times = read_times(path) | {notebook: {"seconds": seconds, "peak_mb": peak_mb}}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(times, indent=1, sort_keys=True), encoding="utf-8")


def expected_seconds(
    notebooks: Sequence[str], last: Mapping[str, float], done: Mapping[str, float]
) -> dict[str, float] | None:
    """What each of some notebooks is expected to take.

    Parameters
    ----------
    notebooks : names of those ahead.
    last : seconds of earlier runs, by notebook.
    done : seconds of those that ended in this run.

    Returns
    -------
    dict of notebook to seconds
        Its last time, else its share of the profile at the pace of those whose time is known; None
        where no time is known yet.
    """
    known = {**last, **done}
    if not known:
        return None
    pace = sum(known.values()) / sum(share(name) for name in known)
    # a machine that is slower or faster now than when it last ran
    again = [name for name in done if last.get(name)]
    drift = sum(done[n] for n in again) / sum(last[n] for n in again) if again else 1.0
    return {name: last[name] * drift if name in last else share(name) * pace for name in notebooks}


def share(notebook: str) -> float:
    """Parts in a hundred of a profile's time that a notebook (``03_layerwise_probes``) takes."""
    return SHARES.get(notebook[3:], 1)


def in_words(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def ahead(notebook: str, rest: Sequence[str], expected: Mapping[str, float] | None) -> str:
    """What is said as a notebook starts; ``rest`` are those to run after it."""
    if expected is None:
        whole = sum(share(name) for name in (notebook, *rest))
        return f"started, about {100 * share(notebook) / whole:.0f} % of what is to run"
    left = sum(expected[name] for name in (notebook, *rest))
    return f"started, about {in_words(expected[notebook])}; {in_words(left)} left in all"


def logged(path: Path, say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` that also keeps every line, with its time, in a file that only grows."""

    def both(text: str) -> None:
        say(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now().isoformat(sep=" ", timespec="seconds")
        with path.open("a", encoding="utf-8") as log:
            for line in text.splitlines() or [""]:
                log.write(f"{stamp}  {line}".rstrip() + "\n")

    return both


def say_at_once(text: str) -> None:
    """Print a line, also where the output goes through a pipe or into a file."""
    print(text, flush=True)
