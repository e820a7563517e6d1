"""The one registry of names, colours, markers and order: of methods, pools and targets.

A colour says what a thing is, and a name has the same colour in every figure: black is ours, blue
the paper's network, vermilion every router that reads the text, grey what reads no text. Pools have
a colour and a marker each. Targets are named where they stand and share one colour, since no
palette holds fifty of them apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prefill_router.heads.names import MethodKey, OnEncoder, name_of

Color = str | tuple[float, float, float]

NAMES = {
    "ours": "kernel router on prefill (ours)",
    "ours_views": "kernel router, layers by CV",
    "paper": "SharedTrunkNet on prefill",
    "paper_auc": "SharedTrunkNet, layers by AUC",
    "shared_block": "SharedTrunkNet, all layers",
    "adapter_trunk": "adapter trunk on prefill",
    "tfidf": "TF-IDF + LR",
    "benchmark_mean": "category mean",
    "prompt_length": "prompt length",
    "shuffled_labels": "shuffled labels",
    "random_features": "random features",
    "random": "random",
    "best_single": "best single",
    "zero_router": "zero router",
    "oracle": "oracle",
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

OURS, PAPER, TEXT, CONTROL = "#000000", "#0067A3", "#B0440A", "#6B6B6B"
REFERENCE, ORACLE, TARGET, OTHERS = "#555555", "#00735C", "#444444", "#C4C4C4"
INK, QUIET = "#222222", "#5E5E5E"  # of texts

STYLES = {
    "ours": (OURS, "-"),
    "ours_views": (OURS, "--"),
    "paper": (PAPER, "-"),
    "paper_auc": (PAPER, "--"),
    "shared_block": (PAPER, ":"),
    "adapter_trunk": (PAPER, "-."),
    "tfidf": (TEXT, "-."),
    "benchmark_mean": (CONTROL, ":"),
    "prompt_length": (CONTROL, "--"),
    "shuffled_labels": (CONTROL, ":"),
    "random_features": (CONTROL, ":"),
    "random": (CONTROL, ":"),
    "best_single": (REFERENCE, "-"),
    "zero_router": (REFERENCE, "--"),
    "oracle": (ORACLE, "-"),
}
MARKERS = {OURS: "o", PAPER: "s", TEXT: "^", CONTROL: "x", REFERENCE: "D", ORACLE: "*"}

# pool: colour, marker
POOLS = {
    "all": ("#332288", "o"),
    "frontier": ("#0B6FA4", "o"),
    "mixed": ("#8A4B00", "^"),
    "small": ("#117A4B", "s"),
    "cheap": ("#117A4B", "s"),
    "no_reasoning": ("#A0307C", "v"),
    "frontier_with_reasoner": ("#A0307C", "D"),
}
MORE_POOLS = (("#5C4DB1", "P"), ("#7A6A00", "X"), ("#B0305C", "h"), ("#3F6F7A", "p"))

# what the interval of a difference says: colour, marker, filled
VERDICTS = {
    "better": ("#00735C", "o", True),
    "no clear difference": ("#6B6B6B", "o", False),
    "worse": ("#A3195B", "D", True),
}
ZONES = {
    "all_right": ("all targets right", "#BFD8CE"),
    "disagree": ("they disagree", "#F2C879"),
    "all_wrong": ("all targets wrong", "#D5D5D5"),
}
SPLITS = {"random": ("#6B6B6B", "o"), "families": ("#000000", "s")}
J_COLOR, AUC_COLOR = "#A3195B", "#0067A3"
LUCK = "#F2C879"
HEAT, DIVERGING = "cividis", "PuOr"


def use_style() -> None:
    """Switch matplotlib to the project's look."""
    import matplotlib.pyplot as plt  # whoever asks for names or colours alone does not draw

    from prefill_router.data.own.fonts import installed_fonts

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


def label(method: MethodKey) -> str:
    """The name of a method as figures and tables show it."""
    if isinstance(method, OnEncoder):
        name = method.method
        return f"{name if name == 'ours' else label(name)} on {method.encoder}"
    head, embedding = head_and_embedding(method)
    if head:
        return f"{HEADS[head]} on {EMBEDDINGS.get(embedding, embedding)}"
    return NAMES.get(method, method)


def style(method: MethodKey) -> tuple[str, str]:
    """Colour and line style of a method: the colour of what it reads; semantic baselines are dashed
    on MiniLM, dotted on embeddings without a name of their own.
    """
    name = name_of(method)
    head, embedding = head_and_embedding(name)
    if head:
        return TEXT, {"minilm": "--", "mpnet": "-"}.get(embedding, ":")
    return STYLES.get(name, (CONTROL, "-"))


def marker(method: MethodKey) -> str:
    """The marker of a method, by what it reads."""
    return MARKERS[style(method)[0]]


def ordered(methods: Iterable[str]) -> list[str]:
    """Methods as legends list them: ours, the paper's network, text, controls, references."""
    first, known = list(MARKERS), list(NAMES)

    def place(method: str) -> tuple[int, int, str]:
        at = known.index(method) if method in known else len(known)
        return first.index(style(method)[0]), at, method

    return sorted(methods, key=place)


def pool_style(pool: str) -> tuple[str, str]:
    """Colour and marker of a pool; one that has none of its own gets them by its name."""
    return POOLS.get(pool, MORE_POOLS[zlib.crc32(pool.encode()) % len(MORE_POOLS)])


def luminance(color: Color) -> float:
    """Relative luminance of an opaque colour (WCAG 2.2)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def ink_on(background: Color) -> str:
    """Black or white, whichever is easier to read on a background: at least 4.5 on any."""
    return max("#000000", "#FFFFFF", key=lambda ink: contrast(ink, background))
