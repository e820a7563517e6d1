"""Published outcomes of language models, turned into outcomes folders.

A profile that says ``outcomes: public:zeroeval`` gets the folder that :func:`outcomes_folder`
makes. The published files are other people's data: they lie in ``$PREFILL_ROUTER_DATA`` or in the
cache, never in this project.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from prefill_router.data.outcomes import OutcomesError
from prefill_router.data.price_entries import Price
from prefill_router.data.prices import load_prices
from prefill_router.data.public import livecodebench, mmlu_pro, swebench, zeroeval
from prefill_router.data.public.fetch import SOURCES, normalised, published
from prefill_router.data.public.tokens import count_tokens
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
        prices = _listed_prices(name, targets, listed)
        _add_cost(answers, prices)
    else:
        prices = {t: Price(math.nan, math.nan, note=NOTES[name]) for t in targets}
        answers["output_tokens"] = math.nan
        answers["cost"] = answers.get("cost", math.nan)
    partial = folder.with_name(
        f".{folder.name}.partial"
    )  # we hold the lock, so what lies there is of a killed process
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    queries.to_parquet(partial / "queries.parquet", index=False)
    answers.to_parquet(partial / "outcomes.parquet", index=False)
    header = {
        "name": name,
        "cost_unit": "USD",
        "targets": [
            {
                "name": t,
                "input_price": _per_token(prices[t].input),
                "output_price": _per_token(prices[t].output),
                "note": prices[t].note,
            }
            for t in targets
        ],
    }
    (partial / "targets.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)  # an incomplete one
    partial.replace(folder)


def _listed_prices(name: str, targets: list[str], listed: dict[str, Price]) -> dict[str, Price]:
    """The prices of the targets; a target that the list does not hold is an error."""
    if unpriced := [t for t in targets if t not in listed]:
        raise OutcomesError(
            f"{name}: no price for {', '.join(unpriced)}; add each to the price list, with its"
            " source"
        )
    return {t: listed[t] for t in targets}


def _add_cost(answers: pd.DataFrame, prices: dict[str, Price]) -> None:
    """Output tokens, counted in the texts, which go, and what prompt and answer cost."""
    answers["output_tokens"] = count_tokens(answers.pop("text"))
    price = {t: (of.input * 1e-6, of.output * 1e-6) for t, of in prices.items()}
    answers["cost"] = [
        i * price[t][0] + o * price[t][1]
        for t, i, o in zip(
            answers["target"], answers["input_tokens"], answers["output_tokens"], strict=True
        )
    ]


def _per_token(price: float) -> float | None:
    # JSON has no NaN: null, as in any targets.json without a price
    return None if math.isnan(price) else price * 1e-6
