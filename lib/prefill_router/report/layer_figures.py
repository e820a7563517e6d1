"""The figures and sentences of the notebooks on activations and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from prefill_router.report.plots import plain_log, plot_layers, plot_layers_label_free

MOST_TARGETS = 6  # a line for each is readable up to here


def draw_activations(tokens: np.ndarray, benchmarks: Sequence[str], norms: pd.DataFrame) -> Figure:
    """Prompt lengths [n] by benchmark, and the mean length of the vectors in every layer."""
    fig, axes = plt.subplots(1, 2, figsize=(8.5, 2.8))
    sns.histplot(x=tokens, hue=benchmarks, multiple="stack", bins=50, ax=axes[0], linewidth=0)
    axes[0].set(
        title="Prompt length", xlabel="encoder tokens, chat template included", ylabel="queries"
    )
    sns.lineplot(norms, x="layer", y="norm", style="pooling", color="black", ax=axes[1])
    axes[1].set(
        title="Mean length of the pooled vectors",
        xlabel="layer (0 = embeddings)",
        ylabel="Euclidean norm",
        yscale="log",
    )
    plain_log(axes[1].yaxis)
    return fig


def reading_sentence(tokens: np.ndarray, params: int) -> str:
    """What the router's own reading costs."""
    tflop = 2 * params * tokens.mean() * 1e-12
    return (
        f"The router reads {tokens.sum():,} tokens ({tokens.mean():.0f} a query). At 2 x parameters"
        f" x tokens that is {tflop:.4f} TFLOP a query, which every figure of this project charges"
        " to the router on top of the target's own cost. The length of the vectors differs"
        " between layers, hence the standardisation before every probe."
    )


def draw_layers(layers: pd.DataFrame, pools: Mapping[str, Sequence[str]]) -> Figure:
    """The four probes over layers: a line for each target, or with many targets for each pool."""
    shown, hue = layers, "target"
    if layers["target"].nunique() > MOST_TARGETS:
        parts = [layers[layers["target"].isin(t)].assign(pool=pool) for pool, t in pools.items()]
        shown, hue = pd.concat(parts), "pool"
    fig, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
    plot_layers(shown, "probe_auc", "cross-validated probe AUC", axes[0, 0], hue=hue)
    plot_layers(shown, "fisher_j", "Fisher separability J", axes[0, 1], hue=hue)
    plot_layers_label_free(layers, "d_eff", "effective dimensionality", axes[1, 0])
    plot_layers_label_free(layers, "anisotropy", "anisotropy (mean cosine)", axes[1, 1])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for ax in axes.flat:
        ax.get_legend().remove()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


def choice_sentence(choices: pd.DataFrame, last_layer: int) -> str:
    """What choosing by J costs; `choices`: `features.layer_choice.choices_of_targets`."""
    lost = choices["auc_at_auc"] - choices["auc_at_j"]
    correlations = choices.filter(like="rank_correlation")
    last = int((choices["layer_by_auc"] == last_layer).sum())
    return (
        f"Choosing layer and pooling by J costs {lost.mean():.3f} of probe AUC on average (at most"
        f" {lost.max():.3f}) against choosing by the probe itself. J and AUC agree over layers with"
        f" a mean rank correlation of {correlations.mean().mean():.2f} (lowest"
        f" {correlations.min().min():.2f}). The last layer is the best by AUC for {last} of"
        f" {len(choices)} targets."
    )
