"""How every method is named and drawn."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from prefill_router.data.own.fonts import installed_fonts

NAMES = {
    "paper": "SharedTrunkNet on prefill",
    "paper_auc": "SharedTrunkNet, layers by AUC",
    "shared_block": "SharedTrunkNet, all layers",
    "adapter_trunk": "adapter trunk on prefill",
    "ours": "kernel router on prefill (ours)",
    "ours_views": "kernel router, layers by CV",
    "benchmark_mean": "category mean",
    "prompt_length": "prompt length",
    "tfidf": "TF-IDF + LR",
    "shuffled_labels": "shuffled labels",
    "random_features": "random features",
    "random": "random",
    "best_single": "best single",
    "oracle": "oracle",
    "zero_router": "zero router",
}


# A semantic baseline is named <head>_<embedding>: `factorisation` as in RouteLLM, `clusters` as in
# Avengers, `kernel` is our own head.
HEADS = {
    "knn": "kNN",
    "logistic": "LR",
    "mlp": "MLP",
    "boosting": "boosted trees",
    "factorisation": "matrix factorisation",
    "clusters": "k-means clusters",
    "irt": "IRT",
    "kernel": "kernel router",
    "avengers_pro": "Avengers-Pro",
    "predicted_category": "predicted category",
    "category_residual": "category and residual",
}


EMBEDDINGS = {"minilm": "MiniLM", "mpnet": "MPNet"}


STYLES = {
    "paper": ("#0072B2", "-"),
    "paper_auc": ("#0072B2", "--"),
    "shared_block": ("#0072B2", ":"),
    "adapter_trunk": ("#0072B2", "-."),
    "ours": ("#000000", "-"),
    "ours_views": ("#000000", "--"),
    "tfidf": ("#009E73", "--"),
    "benchmark_mean": ("#56B4E9", ":"),
    "prompt_length": ("#999999", "--"),
    "random": ("#999999", ":"),
}


HEAD_COLORS = {
    "mlp": "#D55E00",
    "logistic": "#E69F00",
    "knn": "#CC79A7",
    "boosting": "#882255",
    "factorisation": "#AA4499",
    "clusters": "#999933",
    "irt": "#117733",
    "kernel": "#A65628",
    "avengers_pro": "#666600",
    "predicted_category": "#56B4E9",
    "category_residual": "#332288",
}


def use_style() -> None:
    """Switch matplotlib to the project's look."""
    plt.style.use(Path(__file__).with_name("paper.mplstyle"))
    plt.rcParams["font.family"] = ["DejaVu Sans", *installed_fonts()]
    pd.set_option(
        "display.html.use_mathjax", False
    )  # in tables too a name with dollar signs is no formula


def head_and_embedding(method: str) -> tuple[str, str]:
    """The two parts of a semantic baseline's name, each of which may hold an underscore; of any
    other method's, two empty texts.
    """
    found = [head for head in HEADS if method.startswith(f"{head}_") and method != f"{head}_"]
    head = max(found, key=len, default="")
    return head, method[len(head) + 1 :] if head else ""


def label(method: str) -> str:
    """The name of a method as figures show it; `ours@<encoder>` is `ours` with one encoder."""
    base, at, encoder = method.partition("@")
    if at:
        return f"{'ours' if base == 'ours' else label(base)} on {encoder}"
    head, embedding = head_and_embedding(method)
    if head:
        return f"{HEADS[head]} on {EMBEDDINGS.get(embedding, embedding)}"
    return NAMES.get(method, method)


def style(method: str) -> tuple[str, str]:
    """Colour and line style of a method: colour by its head, dashed on MiniLM, dotted on embeddings
    without a name of their own.
    """
    head, embedding = head_and_embedding(method)
    if head:
        return HEAD_COLORS[head], {"minilm": "--", "mpnet": "-"}.get(embedding, ":")
    return STYLES.get(method, ("#777777", "-"))
