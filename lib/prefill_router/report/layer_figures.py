"""The figure and sentences of the notebooks on activations and layers."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefill_router.report.styles import AUC_COLOR, J_COLOR

ACROSS = 4  # panels in a row
POOLINGS = {"last": "--", "mean": "-"}


def reading_sentence(tokens: np.ndarray, params: int) -> str:
    """What the router's own reading costs."""
    tflop = 2 * params * tokens.mean() * 1e-12
    return (
        f"The router reads {tokens.sum():,} tokens ({tokens.mean():.0f} a query). At 2 x parameters"
        f" x tokens that is {tflop:.4f} TFLOP a query, which every figure of this project charges"
        " to the router on top of the target's own cost. The length of the vectors differs"
        " between layers, hence the standardisation before every probe."
    )


def draw_layers(layers: pd.DataFrame, choices: pd.DataFrame) -> Figure:
    """A panel for each target: probe AUC over the layers above the embeddings, J on its own scale
    under it, and what each of the two chooses.

    Parameters
    ----------
    layers : as ``layers.csv``
    choices : as ``layer_choice.csv``
    """
    targets = list(choices["target"])
    columns = min(ACROSS, len(targets))
    rows = math.ceil(len(targets) / columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(8.6, 1.75 * rows + 1.1), squeeze=False, sharex=True
    )
    for ax in axes.flat[len(targets) :]:
        ax.set_visible(False)
    for ax, choice in zip(axes.flat, choices.itertuples(), strict=False):
        of = layers[(layers["target"] == choice.target) & (layers["layer"] > 0)]
        _layers_of_target(ax, of, choice)
    for ax in axes[:, 0]:
        ax.set_ylabel("probe AUC")
    for k in range(columns):  # the lowest that is drawn in each column
        lowest = axes[(len(targets) - 1 - k) // columns, k]
        lowest.set_xlabel("layer")
        lowest.tick_params(labelbottom=True)
    lost = choices["auc_at_auc"] - choices["auc_at_j"]
    fig.suptitle(
        f"Choosing the layer by J costs {lost.mean():.3f} of probe AUC on average, at most"
        f" {lost.max():.3f} ({choices.loc[lost.idxmax(), 'target']})",
        fontsize=10,
        fontweight="bold",
        ha="left",
        x=0.01,
    )
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=5)
    return fig


def _layers_of_target(ax: Axes, of: pd.DataFrame, choice) -> None:  # type: ignore[no-untyped-def]
    low, high = of["probe_auc"].min(), of["probe_auc"].max()
    span = max(high - low, 0.01)
    floor, top = low - 0.75 * span, high + 0.25 * span
    for pooling, dashes in POOLINGS.items():
        rows = of[of["pooling"] == pooling].sort_values("layer")
        name = f"probe AUC, {'last token' if pooling == 'last' else 'mean over tokens'}"
        ax.plot(rows["layer"], rows["probe_auc"], dashes, color=AUC_COLOR, lw=1.3, label=name)
    j_high = of["fisher_j"].max() or 1.0
    by_layer = of.groupby("layer")["fisher_j"].max()
    ax.fill_between(
        by_layer.index,
        floor,
        floor + 0.6 * span * by_layer / j_high,
        color=J_COLOR,
        alpha=0.25,
        linewidth=0,
        label="J, own scale",
    )
    marks = (("auc", "o", AUC_COLOR, "probe AUC"), ("j", "D", J_COLOR, "J"))
    for by, mark, color, name in marks:
        layer, auc = getattr(choice, f"layer_by_{by}"), getattr(choice, f"auc_at_{by}")
        ax.plot(
            layer, auc, mark, color=color, markersize=6.5, zorder=6, label=f"chosen by {name}"
        )  # fmt: skip
    ax.set_ylim(floor, top)
    ax.set_title(choice.target, fontsize=8)


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
