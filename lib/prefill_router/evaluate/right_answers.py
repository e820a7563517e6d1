"""Is the answer that a target gave right? What the agreement of its answers tells, and the prefill.

The prefill speaks before anything was asked, the agreement of several answers afterwards. A
logistic regression on labelled queries puts both on one scale: the prefill's P(correct) is the
prior, the number of agreeing answers the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from prefill_router.data.labels import class_rows, has_both_classes
from prefill_router.data.outcomes import Outcomes
from prefill_router.data.samples import Samples, votes
from prefill_router.evaluate.auc import weighted_auc
from prefill_router.evaluate.cross_fitted import CrossFitted, Pool, labelled
from prefill_router.evaluate.keys import AtPoint, Method, MetricValues
from prefill_router.evaluate.resampling import seed_averaged_intervals
from prefill_router.evaluate.runs import SeedRun
from prefill_router.evaluate.weighting import weight_rows, weighted_means

AGREEMENT, PREFILL, BOTH = READS = ("agreement", "prefill", "both")
COLUMNS = ["target", "asks", "metric", "value", "ci_low", "ci_high", "n"]
_EDGE = 0.005  # P nearer to 0 or 1 than this counts as this: a logarithm must not rule the fit


class Odds:
    """Logistic regression of whether an answer is right.

    Parameters
    ----------
    levels : int
        How many answers are read: agreement goes from 0 (no answer) to ``levels``. 0: agreement is
        not read.
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def fit(self, p: np.ndarray, count: np.ndarray, right: np.ndarray) -> Odds:
        """Fit on labelled queries.

        Parameters
        ----------
        p : ndarray [n, P]
            P(correct) of none, one or more targets.
        count : int ndarray [n]
            How many answers agree (`samples.votes`).
        right : ndarray [n]
            0 to 1. Where it is nowhere above 0, or nowhere below 1, the odds are constant.
        """
        self.rate_ = float(right.mean())
        self.model_: LogisticRegression | None = None
        x = self._features(p, count)
        if has_both_classes(right[:, None])[0] and x.shape[1]:
            rows, labels, weights = class_rows(right)
            self.model_ = LogisticRegression().fit(x[rows], labels, sample_weight=weights)
        return self

    def predict(self, p: np.ndarray, count: np.ndarray | int) -> np.ndarray:
        """P(right) [n]; one ``count`` stands for all queries."""
        if self.model_ is None:
            return np.full(len(p), self.rate_)
        x = self._features(p, np.broadcast_to(count, len(p)))
        return self.model_.predict_proba(x)[:, 1]

    def _features(self, p: np.ndarray, count: np.ndarray) -> np.ndarray:
        return np.hstack([log_odds(p), count[:, None] == np.arange(1, self.levels + 1)])


def log_odds(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), with P held off from 0 and 1."""
    return logit(np.clip(p, _EDGE, 1 - _EDGE))


def given_answer(samples: Samples, target: int, asks: int) -> tuple[np.ndarray, np.ndarray]:
    """How many of a target's first answers agree, int [n], and whether the one that they give is
    right, float [n].
    """
    count, given = votes(samples.said[:, :, target], asks)
    return count, np.take_along_axis(samples.correct[:, :, target], given[None], axis=0)[0]


def told_by(
    p: np.ndarray, count: np.ndarray, right: np.ndarray, asked_p: np.ndarray, asked: np.ndarray
) -> dict[str, np.ndarray]:
    """P(the answer is right) by what is read, fitted on labelled queries.

    Parameters
    ----------
    p, count, right : ndarray [m]
        Out-of-fold P(correct), agreement and correctness of labelled queries.
    asked_p, asked : ndarray [n]
        P and agreement of others.

    Returns
    -------
    dict of `READS` to ndarray [n]
    """
    levels, none = int(max(count.max(), asked.max())), np.zeros((len(p), 0))
    return {
        AGREEMENT: Odds(levels).fit(none, count, right).predict(asked_p[:, None][:, :0], asked),
        PREFILL: asked_p,
        BOTH: Odds(levels).fit(p[:, None], count, right).predict(asked_p[:, None], asked),
    }


def agreement_table(
    loaded: Mapping[str, tuple[Pool, Mapping[str, CrossFitted]]],
    outcomes: Outcomes,
    samples: Samples,
    n_boot: int,
    method: str = "ours",
) -> pd.DataFrame:
    """AUC of "this answer is right" by agreement, by the prefill and by both, for every target.

    Parameters
    ----------
    loaded : as `run.cross_fits.load_cross_fits` gives it
        A target of several pools is taken from the first.
    outcomes : of all targets
    samples : Samples
        Of all targets; each is asked as often as there are answers.
    n_boot : int
    method : whose P(correct) is the prefill's

    Returns
    -------
    DataFrame[target, asks, metric, value, ci_low, ci_high, n]
        Averages over splits on test rows with every answer: ``auc_agreement``, ``auc_prefill``,
        ``auc_both``, the differences ``both_over_agreement`` and ``both_over_prefill``, ``right``
        (share of given answers that are), ``unanimous`` (share of queries on which all agree).
    """
    runs: dict[Method, list[SeedRun]] = {}
    targets: list[str] = []
    for pool, methods in loaded.values():
        read, names = methods[method], pool.outcomes.target_names
        for name, at in zip(names, pool.columns, strict=True):
            if name in targets:
                continue
            targets.append(name)
            alone = samples.of_targets([outcomes.target_names.index(name)])
            count, right = given_answer(alone, 0, samples.asks)
            for seed, split in pool.splits.items():
                known = np.isin(read.rows[seed], labelled(split)) & alone.complete[read.rows[seed]]
                rows, p = read.rows[seed][known], read.held_out[seed][known][:, at]
                test = split.test[alone.complete[split.test]]
                scores = told_by(
                    p, count[rows], right[rows], read.p[seed][test][:, at], count[test]
                )
                facts = np.column_stack([right[test], count[test] == samples.asks])
                for reads, score in scores.items():
                    run = _run(score, facts, pool.groups[test])
                    runs.setdefault(AtPoint(reads, name), []).append(run)
    return _table(runs, targets, samples.asks, n_boot)


def _table(
    runs: Mapping[Method, list[SeedRun]], targets: list[str], asks: int, n_boot: int
) -> pd.DataFrame:
    averages = seed_averaged_intervals(runs, n_boot, seed=0)
    table = averages.table()
    keys = list(table["method"])
    table = table.assign(target=[k.operating_point for k in keys], read=[k.method for k in keys])
    alone = table[(table["metric"] != "auc") & (table["read"] == BOTH)]
    aucs = table[table["metric"] == "auc"]
    aucs = aucs.assign(metric="auc_" + aucs["read"])
    over = [
        averages.paired(AtPoint(BOTH, name), AtPoint(read, name))
        .query("metric == 'auc'")
        .rename(columns={"diff": "value"})
        .assign(target=name, metric=f"{BOTH}_over_{read}")
        for name in targets
        for read in (AGREEMENT, PREFILL)
    ]
    found = pd.concat([aucs, *over, alone]).assign(asks=asks)
    order = {name: i for i, name in enumerate(targets)}
    return found.sort_values("target", key=lambda of: of.map(order), kind="stable")[
        COLUMNS
    ].reset_index(drop=True)


def _run(score: np.ndarray, facts: np.ndarray, groups: np.ndarray) -> SeedRun:
    def metrics(weights: np.ndarray) -> MetricValues:
        weights = weight_rows(weights, len(score))
        right, unanimous = weighted_means(facts, weights).T
        auc = weighted_auc(score, facts[:, 0], weights)
        return {"auc": auc, "right": right, "unanimous": unanimous}

    return SeedRun(groups, metrics)
