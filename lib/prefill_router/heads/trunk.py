"""SharedTrunkNet: one multi-output network that predicts P(correct) for every target, and its
ensemble.

LLM Router (arXiv 2603.20895): d_in -> 256 -> 128 -> K, ReLU, dropout 0.3 / 0.2, binary
cross-entropy, Adam, early stopping; 10 seeds, the 5 with the lowest validation loss are kept and
their sigmoids averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError

from prefill_router.data.labels import check_grades
from prefill_router.data.splits import validation_rows
from prefill_router.heads.members import Trained, train_members
from prefill_router.heads.network import SharedTrunkNet, TargetNet, TrunkConfig


class TrunkEnsemble:
    """Several SharedTrunkNets from different seeds; the best by validation loss predict together.

    Every member draws a validation split of its own, as the authors' trainer does: no row is kept
    from all of them. Their validation losses then also differ by split.

    Parameters
    ----------
    config : TrunkConfig, optional
    seed : int
        Decides every member's split, weights, batches and dropout. Same seed, device and thread
        count: same numbers.
    device : str
        "cpu", "cuda", or "auto" (cuda if there is one).

    Attributes
    ----------
    history : DataFrame[member, epoch, train_loss, validation_loss]
        Epochs count from 1.
    held_out : bool ndarray [members, n]
        Each member's validation rows.
    members_kept : list of int
        The ``config.keep`` members with the lowest validation loss, best first.
    """

    def __init__(
        self, config: TrunkConfig | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.config = config or TrunkConfig()
        self.seed = seed
        self.device = (
            ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else str(device)
        )
        self._networks: list[TargetNet] = []

    def fit(
        self, X: np.ndarray, Y: np.ndarray, groups: Sequence | np.ndarray | None = None
    ) -> TrunkEnsemble:
        """Train all members.

        Parameters
        ----------
        X : float ndarray [n, d]
        Y : float ndarray [n, K]
            1 right, 0 wrong, between them a share of right answers: the cross-entropy takes it
            as it is. NaN missing: masked out of the loss, never counted as wrong.
        groups : n labels, optional
            Groups never straddle the validation split; default: every row on its own.

        Raises
        ------
        ValueError
            Shapes that disagree, non-finite features, labels outside 0 to 1, a target without
            an outcome to train on, fewer than two groups.
        RuntimeError
            If a loss is not finite.
        """
        X, Y = np.asarray(X, np.float32), np.asarray(Y, np.float32)
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
            raise ValueError(
                f"X {X.shape} and Y {Y.shape} must be tables with the same number of rows"
            )
        if not np.isfinite(X).all():
            raise ValueError(
                f"X is not finite, first in row {int(np.argwhere(~np.isfinite(X))[0][0])}; check"
                " the features"
            )
        check_grades(Y)
        seeds = [
            int(draw)
            for draw in np.random.SeedSequence(self.seed).generate_state(self.config.members + 1)[
                1:
            ]
        ]
        labels = np.arange(len(X)) if groups is None else np.asarray(groups)
        self.held_out = np.stack([self._held_out(labels, Y, seed) for seed in seeds])
        self._networks = [self._network(X.shape[1], Y.shape[1], seed) for seed in seeds]
        features, outcomes = (
            torch.from_numpy(np.ascontiguousarray(table)).to(self.device) for table in (X, Y)
        )
        members = self._train(seeds, features, outcomes, self.held_out)
        losses = [member.loss for member in members]
        # plain int and a stable sort: equal losses keep the order of the members
        self.members_kept = [int(m) for m in np.argsort(losses, kind="stable")[: self.config.keep]]
        self.history = pd.DataFrame(
            [(m, *row) for m, member in enumerate(members) for row in member.rows],
            columns=["member", "epoch", "train_loss", "validation_loss"],
        )
        return self

    def member_proba(self, X: np.ndarray, members: Sequence[int] | None = None) -> np.ndarray:
        """P(correct) by the trained members, kept or not, or by some of them: float64 [members, n,
        K].
        """
        if not self._networks:
            raise NotFittedError("the ensemble is not fitted; call fit(X, Y) first")
        features = torch.from_numpy(np.ascontiguousarray(X, np.float32)).to(self.device)
        networks = self._networks if members is None else [self._networks[m] for m in members]
        with torch.inference_mode():
            return np.stack(
                [torch.sigmoid(network(features).double()).cpu().numpy() for network in networks]
            )

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """P(correct), the mean over the kept members' sigmoids: float64 [n, K]."""
        return self.member_proba(X, getattr(self, "members_kept", None)).mean(axis=0)

    @property
    def n_targets(self) -> int:
        """K."""
        return self._networks[0].n_targets

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Weights of the kept members by name (for safetensors) and everything else (for JSON)."""
        if not self._networks:
            raise NotFittedError("the ensemble is not fitted; call fit(X, Y) first")
        tensors = {
            f"member{i}.{name}": weight.cpu().numpy()
            for i, m in enumerate(self.members_kept)
            for name, weight in self._networks[m].state_dict().items()
        }
        return tensors, {**self._shape(), "members": len(self.members_kept)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> TrunkEnsemble:
        """Rebuild a fitted ensemble from :meth:`state`, on the CPU; it predicts, and has no
        history.
        """
        members = int(meta["members"])
        hidden = tuple(meta["hidden"])
        ensemble = cls(
            TrunkConfig(hidden=hidden, dropout=(0.0,) * len(hidden), members=members, keep=members)
        )
        for i in range(members):
            network = ensemble._new(meta["d_in"], meta["n_targets"])
            prefix = f"member{i}."
            network.load_state_dict(
                {
                    name.removeprefix(prefix): torch.tensor(np.asarray(array))
                    for name, array in tensors.items()
                    if name.startswith(prefix)
                }
            )
            ensemble._networks.append(network.eval())
        ensemble.members_kept = list(range(members))
        return ensemble

    def _held_out(self, groups: np.ndarray, Y: np.ndarray, seed: int) -> np.ndarray:
        """Validation rows [n] of a member: the first draw that leaves every target an outcome to
        train on, and has one itself.
        """
        known = ~np.isnan(Y)
        for draw in np.random.SeedSequence([seed, 2]).generate_state(20):
            held_out = validation_rows(groups, self.config.validation_fraction, int(draw))
            if known[~held_out].any(axis=0).all() and known[held_out].any():
                return held_out
        missing = np.flatnonzero(~known[~held_out].any(axis=0)).tolist()
        raise ValueError(
            f"targets in columns {missing} of Y have no outcome to train on; drop them from the"
            " pool"
            if missing
            else "the validation part of Y has no outcome; train on rows with outcomes"
        )

    def _train(
        self, seeds: Sequence[int], X: torch.Tensor, Y: torch.Tensor, held_out: np.ndarray
    ) -> list[Trained]:
        networks = cast(list[SharedTrunkNet], self._networks)  # of `_new`
        return train_members(networks, seeds, X, Y, held_out, self.config)

    def _shape(self) -> dict:
        return {
            "d_in": self._networks[0].d_in,
            "n_targets": self.n_targets,
            "hidden": list(self.config.hidden),
        }

    def _new(self, d_in: int, n_targets: int) -> TargetNet:
        return SharedTrunkNet(d_in, n_targets, self.config.hidden, self.config.dropout)

    def _network(self, d_in: int, n_targets: int, seed: int) -> TargetNet:
        """A network with the initial weights of this seed; the caller's random state is left as it
        was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._new(d_in, n_targets)
        return network.to(self.device).eval()
