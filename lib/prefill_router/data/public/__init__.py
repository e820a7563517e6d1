"""Published outcomes of language models, turned into outcomes folders.

A profile that says ``outcomes: public:zeroeval`` gets the folder that :func:`outcomes_folder`
makes. The published files are other people's data: they lie in ``$PREFILL_ROUTER_DATA`` or in the
cache, never in this project.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.price_entries import Price
from prefill_router.data.prices import load_prices
from prefill_router.data.public import livecodebench, mmlu_pro, swebench, zeroeval
from prefill_router.data.public.fetch import SOURCES, normalised, published
from prefill_router.data.public.tokens import count_tokens
from prefill_router.data.source_folder import cost_of, listed_prices, write_source
from prefill_router.files import cache_root, exclusive, say

VERSION = 1  # raise it when a converter changes what it writes
CONVERTERS: dict[str, Callable[[Path], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "livecodebench": livecodebench.convert,
    "mmlu_pro": mmlu_pro.convert,
    "swebench": swebench.convert,
    "zeroeval": zeroeval.convert,
}
# of sources without answers, which are costed by what was published or not at all
NOTES = {"livecodebench": livecodebench.NOTE, "swebench": swebench.NOTE}
FROM_TABLES = {"livecodebench": livecodebench.from_tables, "swebench": swebench.from_tables}


def outcomes_folder(name: str, prices: str | Path) -> Path:
    """Folder with the outcomes of a public source in the form that `outcomes.load_outcomes` reads;
    made if need be.

    Input tokens are those of the prompt and output tokens those of the visible answer, both counted
    with cl100k for every target alike: tokens of hidden reasoning and of a target's own tokenizer
    are not in the published files. A source without answers has no output tokens and needs no
    price: its cost is what was published for every query, or unknown.

    Parameters
    ----------
    name : a key of `CONVERTERS`.
    prices : path of the price list, see `prices.load_prices`.

    Raises
    ------
    OutcomesError
        Unknown name, or a target that the price list does not hold. (Its entry may say that there
        is no public price.)
    """
    if name not in CONVERTERS:
        raise OutcomesError(
            f"there are no public outcomes called {name!r}; known: {', '.join(CONVERTERS)}"
        )
    listed = load_prices(prices)
    root = cache_root() / "public"
    key = hashlib.sha256(
        json.dumps(
            [VERSION, SOURCES[name]["files"], {k: vars(p) for k, p in listed.items()}],
            sort_keys=True,
        ).encode()
    ).hexdigest()[:16]
    folder = root / f"{name}-{key}"
    if not (folder / "targets.json").is_file():
        with exclusive(root / f"{name}.lock", f"converting {name}"):
            if not (folder / "targets.json").is_file():
                _convert(name, listed, folder)
    return folder


def _convert(name: str, listed: dict[str, Price], folder: Path) -> None:
    say(f"reading the published files of {name} (once, about a minute)")
    tables = normalised(name)
    if tables is None:
        queries, answers = CONVERTERS[name](published(name))
    else:
        queries, answers = FROM_TABLES[name](*(pd.read_parquet(path) for path in tables))
    targets = sorted(answers["target"].unique())
    tokens = pd.Series(count_tokens(queries["prompt"]), index=queries["query_id"])
    answers["input_tokens"] = tokens.loc[answers["query_id"]].to_numpy()
    if "text" in answers:
        prices = listed_prices(name, targets, listed)
        answers["output_tokens"] = count_tokens(answers.pop("text"))
        answers["cost"] = cost_of(answers, prices)
    else:
        prices = {t: Price(math.nan, math.nan, note=NOTES[name]) for t in targets}
        answers["output_tokens"] = math.nan
        answers["cost"] = answers.get("cost", math.nan)
    write_source(folder, name, queries, answers, prices)
