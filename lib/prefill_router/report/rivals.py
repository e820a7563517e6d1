"""Which methods beat a router, and the best text baseline."""

from __future__ import annotations

import pandas as pd

from prefill_router.evaluate.keys import ARGMAX, main_rows, with_keys
from prefill_router.report.cells import HEADLINE, interval_cell
from prefill_router.report.styles import label
from prefill_router.report.words import clear

READ_TEXT = ("tfidf", "prompt_length")  # beside the methods that read a sentence embedding
SEMANTIC = (  # stands in a list of methods for those of the pool at hand
    "the best three semantic baselines"
)


def of_pools(metrics: pd.DataFrame, operating_point: str = ARGMAX) -> pd.DataFrame:
    """Rows of whole pools at one operating point, with what needs none, each method once: those of
    a single target are left out, and those of a method on one of several encoders.
    """
    return main_rows(_of_pools(metrics, operating_point))


def of_pools_and_encoders(metrics: pd.DataFrame) -> pd.DataFrame:
    """`of_pools` with the rows of methods on one of several encoders; the column ``method`` holds
    keys (`keys.with_keys`).
    """
    return with_keys(_of_pools(metrics, ARGMAX))


def _of_pools(metrics: pd.DataFrame, operating_point: str) -> pd.DataFrame:
    point, target = metrics["operating_point"], metrics["target"]
    any_point = point.isna() | point.isin(["", operating_point])
    return metrics[(target.isna() | (target == "")) & any_point]


def semantic_ranking(metrics: pd.DataFrame, pool: str) -> list[str]:
    """The methods of a pool that read a sentence embedding (column ``reads``), by falling mean AUC.

    Parameters
    ----------
    metrics : DataFrame
        As ``results/<profile>/metrics.csv``.

    Raises
    ------
    ValueError
        Without the column ``reads``, in a table of an earlier version: no name of a method says
        what it reads.
    """
    return _ranking(metrics, pool, _reads(metrics) == "sentence")


def best_semantic(metrics: pd.DataFrame, pool: str) -> str | None:
    """The first of ``semantic_ranking``; None where the pool has no semantic baseline."""
    return next(iter(semantic_ranking(metrics, pool)), None)


def reads_text(metrics: pd.DataFrame) -> pd.Series:
    """Of every row whether its method reads the text and no hidden states: a sentence embedding,
    words (TF-IDF) or the length.
    """
    return _reads(metrics).eq("sentence") | metrics["method"].isin(READ_TEXT)


def best_text(metrics: pd.DataFrame, pool: str) -> str | None:
    """The text router of a pool with the highest mean AUC; None where it has none."""
    return next(iter(_ranking(metrics, pool, reads_text(metrics))), None)


def _reads(metrics: pd.DataFrame) -> pd.Series:
    if "reads" not in metrics:
        raise ValueError(
            "metrics.csv lacks the column reads, so an earlier version wrote it: run the profile"
            " again"
        )
    return metrics["reads"]


def _ranking(metrics: pd.DataFrame, pool: str, wanted: pd.Series) -> list[str]:
    rows = of_pools(metrics[wanted])
    rows = rows[(rows["pool"] == pool) & (rows["metric"] == "mean_auc")].dropna(subset=["value"])
    return list(rows.sort_values(["value", "method"], ascending=[False, True])["method"])


def method_value(metrics: pd.DataFrame, pool: str, method: str | None, metric: str) -> str:
    rows = of_pools(metrics)
    rows = rows[(rows["pool"] == pool) & (rows["method"] == method) & (rows["metric"] == metric)]
    return interval_cell(rows.iloc[0] if len(rows) else None, HEADLINE[metric][1])


def saving_against(saving: float, other: float) -> float:
    """Share of another method's cost that a method saves, from what both save against the dearest
    target; NaN where the other costs nothing.
    """
    return 1 - (1 - saving) / (1 - other) if other != 1 else float("nan")


RIVALRY = {"accuracy": (100, 1, " points"), "mean_auc": (1, 3, ""), "p_auccc": (1, 3, "")}


def rivals(paired: pd.DataFrame, pool: str, router: str) -> pd.DataFrame:
    """The other routers that are clearly better than one, in accuracy, mean AUC or P-AUCCC: the 95
    % interval of the paired difference leaves out 0.

    Parameters
    ----------
    paired : DataFrame
        As ``results/<profile>/paired.csv``.

    Returns
    -------
    DataFrame[metric, method, lead, ci_low, ci_high]
        The largest lead of each metric first; without rows if there is none.
    """
    rows = against_routers(paired, pool, router)
    rows = rows[rows["ci_high"] < 0]
    found = pd.DataFrame(
        {
            "metric": rows["metric"],
            "method": rows["method_b"],
            "lead": -rows["diff"],
            "ci_low": -rows["ci_high"],
            "ci_high": -rows["ci_low"],
        }
    )
    return found.sort_values("lead", ascending=False, kind="stable").reset_index(drop=True)


def rivals_in_words(paired: pd.DataFrame, pool: str, router: str) -> str:
    """One sentence: which other routers are clearly better than one, and by how much; or that none
    is.
    """
    found, compared = rivals(paired, pool, router), against_routers(paired, pool, router)
    if compared.empty:
        return "It was compared with no other router."
    led, none = [], []
    for metric, (factor, digits, unit) in RIVALRY.items():
        rows = found[found["metric"] == metric]
        leads = (factor * rows[["lead", "ci_low", "ci_high"]]).itertuples(index=False)
        names = [
            f"{label(method)} by {clear(lead, digits).replace(' [', f'{unit} [')}"
            for method, lead in zip(rows["method"], leads, strict=True)
        ]
        if names:
            led.append(f"in {HEADLINE[metric][0]} {', '.join(names)}")
        elif (compared["metric"] == metric).any():
            none.append(HEADLINE[metric][0])
    others = f"none of the {compared['method_b'].nunique()} other routers is clearly better"
    metrics = " or ".join([", ".join(none[:-1]), none[-1]] if none[:-1] else none)
    if not led:
        return f"N{others[1:]} in {metrics}."
    return f"Clearly better than this router: {'; '.join(led)}" + (
        f"; in {metrics} {others}." if none else "."
    )


def against_routers(paired: pd.DataFrame, pool: str, router: str) -> pd.DataFrame:
    """Differences between a router and every other that reads the prompt, in the metrics of
    ``RIVALRY``.
    """
    paired = with_keys(paired)
    references = paired["method_b"].isin(["best_single", "zero_router", "oracle"])
    return paired[
        (paired["pool"] == pool)
        & (paired["method_a"] == router)
        & ~references
        & paired["metric"].isin(list(RIVALRY))
    ].dropna(subset=["diff"])
