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
from prefill_router.data.prices import load_prices
from prefill_router.data.public import mmlu_pro, zeroeval
from prefill_router.data.public.fetch import SOURCES, published
from prefill_router.data.public.tokens import count_tokens
from prefill_router.files import cache_root, exclusive, say

VERSION = 1  # raise it when a converter changes what it writes
CONVERTERS: dict[str, Callable[[Path], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "mmlu_pro": mmlu_pro.convert,
    "zeroeval": zeroeval.convert,
}


def outcomes_folder(name: str, prices: str | Path) -> Path:
    """Folder with the outcomes of a public source in the form that `outcomes.load_outcomes` reads;
    made if need be.

    Input tokens are those of the prompt and output tokens those of the visible answer, both counted
    with cl100k for every target alike: tokens of hidden reasoning and of a target's own tokenizer
    are not in the published files.

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


def _convert(name: str, listed: dict, folder: Path) -> None:
    say(f"reading the published files of {name} (once, about a minute)")
    queries, answers = CONVERTERS[name](published(name))
    targets = sorted(answers["target"].unique())
    unpriced = [t for t in targets if t not in listed]
    if unpriced:
        raise OutcomesError(
            f"{name}: no price for {', '.join(unpriced)}; add each to the price list, with its"
            " source"
        )
    prompt_tokens = pd.Series(count_tokens(queries["prompt"]), index=queries["query_id"])
    answers["input_tokens"] = prompt_tokens.loc[answers["query_id"]].to_numpy()
    answers["output_tokens"] = count_tokens(answers.pop("text"))
    price = {t: (listed[t].input * 1e-6, listed[t].output * 1e-6) for t in targets}
    answers["cost"] = [
        i * price[t][0] + o * price[t][1]
        for t, i, o in zip(
            answers["target"], answers["input_tokens"], answers["output_tokens"], strict=True
        )
    ]
    partial = folder.with_name(
        f".{folder.name}.partial"
    )  # we hold the lock, so what lies there is of a killed process
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    queries.to_parquet(partial / "queries.parquet", index=False)
    answers.to_parquet(partial / "outcomes.parquet", index=False)
    # JSON has no NaN: null, as in any targets.json without a price
    known = {t: [None if math.isnan(value) else value for value in price[t]] for t in targets}
    header = {
        "name": name,
        "cost_unit": "USD",
        "targets": [
            {
                "name": t,
                **dict(zip(("input_price", "output_price"), known[t], strict=True)),
                "note": listed[t].note,
            }
            for t in targets
        ],
    }
    (partial / "targets.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)  # an incomplete one
    partial.replace(folder)
