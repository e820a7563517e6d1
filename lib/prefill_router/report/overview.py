"""The one table of the README: a row for each pool, from ``metrics.csv`` alone."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from prefill_router.report.rivals import of_pools, reads_text

TEXT = "text"
COLUMNS = {
    ("mean_auc", "ours"): "AUC ours",
    ("mean_auc", "paper"): "AUC paper",
    ("mean_auc", TEXT): "AUC text",
    ("accuracy", "ours"): "% ours",
    ("accuracy", "paper"): "% paper",
    ("accuracy", TEXT): "% text",
    ("accuracy", "best_single"): "% best single",
    ("accuracy", "oracle"): "% oracle",
}
NOTE = (
    "AUC: mean over targets. %: right answers. Rows begin where text does best and end where the"
    " prefill adds most: they are sorted by the AUC of ours minus that of text. *Text* is the best"
    " text router of each column, chosen on these very test rows, which favours it. Each row rests"
    " on {} test queries in each of five splits."
)


def overview(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Mean AUC and accuracy of ours, of the paper's network, of the best router on text, of the
    best single target and of the oracle.

    Parameters
    ----------
    metrics : profile -> its ``metrics.csv``

    Returns
    -------
    DataFrame
        Index (profile, pool); columns the keys of `COLUMNS`. By rising difference of mean AUC
        between ours and text.
    """
    rows = pd.concat(of_pools(table).assign(profile=name) for name, table in metrics.items())
    rows = rows[rows["metric"].isin(["mean_auc", "accuracy"])]
    table = rows.assign(who=rows["method"].mask(reads_text(rows), TEXT)).pivot_table(
        index=["profile", "pool"], columns=["metric", "who"], values="value", aggfunc="max"
    )
    table = table.reindex(columns=pd.MultiIndex.from_tuples(COLUMNS))
    gain = table["mean_auc", "ours"] - table["mean_auc", TEXT]
    return table.loc[gain.sort_values(kind="stable").index]


def overview_table(table: pd.DataFrame, queries: str, encoders: str = "") -> str:
    """Markdown of `overview`, with `NOTE`; a dash where a method was not trained.

    Parameters
    ----------
    table : `overview`
    queries : how many test queries a split has, as `query_counts` says it
    encoders : `several_encoders`
    """
    heads = ["profile: pool", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * len(COLUMNS)]
    linked: set[str] = set()  # a profile's page once: each link costs as much as four numbers
    for (profile, pool), row in table.iterrows():
        name = profile if profile in linked else f"[{profile}](docs/results/{profile}.md)"
        linked.add(profile)
        cells = [f"{name}: {pool}"]
        for (metric, _), value in row.items():
            form = "{:.3f}" if metric == "mean_auc" else "{:.1%}"
            cells.append("–" if pd.isna(value) else form.format(value).rstrip("%"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTE.format(queries) + encoders])


def several_encoders(metrics: Mapping[str, pd.DataFrame]) -> str:
    """Where ours chose among several encoders and the paper's network reads one of them: how far
    the mean AUC of ours is above that of ours on this one. "" without such a profile.
    """
    leads = {}
    for name, table in metrics.items():
        rows = table[(table["metric"] == "mean_auc") & table["target"].fillna("").eq("")]
        of = {
            method: rows[rows["method"] == method].set_index(["pool", "encoder"])["value"]
            for method in ("ours", "paper")
        }
        both = of["ours"].index.intersection(of["paper"].index)
        best = of["ours"].groupby("pool").first()  # a method's first row reads all encoders
        lead = best.reindex(both.get_level_values("pool")).to_numpy() - of["ours"].loc[both]
        if (lead != 0).any():
            leads[name] = lead
    if not leads:
        return ""
    least, most = (end([float(end(lead)) for lead in leads.values()]) for end in (min, max))
    return (
        f" In {' and '.join(leads)} ours chose among several encoders, on training rows; on the one"
        f" that the paper's network reads its AUC is {least:.3f} to {most:.3f} lower."
    )


def query_counts(metrics: Mapping[str, pd.DataFrame]) -> str:
    """``75 to 1,804``: the fewest and the most test queries of a pool."""
    numbers = [n for table in metrics.values() for n in of_pools(table)["n"].dropna()]
    return f"{min(numbers):,.0f} to {max(numbers):,.0f}"
