"""Names of baselines whose head has more than one word, and the sentence on what was trained."""

import pandas as pd
import pytest

from prefill_router.heads.fit_baselines import SEMANTIC
from prefill_router.report.baseline_sentences import baseline_sentence
from prefill_router.report.styles import HEADS, head_and_embedding, label


def test_every_head_has_a_name():
    assert set(SEMANTIC) == set(HEADS)


@pytest.mark.parametrize(
    "method, parts, name",
    [
        ("knn_minilm", ("knn", "minilm"), "kNN on MiniLM"),
        ("avengers_pro_mpnet", ("avengers_pro", "mpnet"), "Avengers-Pro on MPNet"),
        ("kernel_org/x_y", ("kernel", "org/x_y"), "kernel router on org/x_y"),
        ("prompt_length", ("", ""), "prompt length"),
        ("knn_", ("", ""), "knn_"),
    ],
)
def test_head_and_embedding(method, parts, name):
    assert head_and_embedding(method) == parts and label(method) == name


@pytest.mark.parametrize(
    "methods, said",
    [
        (
            {"knn_minilm": 0.7, "clusters_minilm": 0.6, "random": 0.5, "benchmark_mean": 0.65},
            "the best text baseline is kNN on MiniLM with 0.700; knowing the category gives 0.650,"
            " random 0.500.",
        ),
        ({"irt_minilm": 0.6}, "the best text baseline is IRT on MiniLM with 0.600."),
        ({"random": 0.5}, "random 0.500."),
    ],
)  # fmt: skip
def test_the_sentence_names_what_was_trained(methods, said):
    table = pd.DataFrame(
        [("p", m, "reads" if m.endswith("minilm") else "", auc) for m, auc in methods.items()],
        columns=["pool", "method", "read", "mean_auc"],
    )
    assert baseline_sentence(table, "p") == f"Pool **p**: {said}"
