"""Which share of new weights, and which temperature, what was held out speaks for, and which of
these harms no other kind of picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from torch import Tensor

from model.checkpoint import Model
from model.network import PmfCNN
from model.tuning.folds import Fold
from model.tuning.guard import Guard, KindChange
from model.tuning.held import Held, measure, pooled

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the new weights that are tried."""
TEMPERATURE_FACTORS: Final = (0.6, 0.75, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0, 2.5)
ALIKE: Final = 0.01
"""Of mean Jaccard: of shares that score alike, and no worse than the old weights, the largest is
taken, since the model learns from more fields than the networks that were asked."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What held-out fields speak for.

    share : of the new weights; 0 where none is better, or none leaves the other kinds unharmed
    kinds : what became of the other kinds with that share
    harmed : by share, the kinds for whose sake it was not taken, in words
    """

    share: float
    temperature: float
    scores: Mapping[str, Any]
    kinds: Mapping[str, Any] = field(default_factory=dict)
    harmed: Mapping[str, Sequence[str]] = field(default_factory=dict)


def mixed(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two networks of one shape: old for share 0, new for 1."""
    if share in (0.0, 1.0):
        # A network that training has wrecked may hold what is not a number: 0 times that is none.
        return dict(new if share else old)
    return {
        name: value.lerp(new[name], share) if value.is_floating_point() else new[name]
        for name, value in old.items()
    }


def mixture(start: Model, tuned: PmfCNN, share: float) -> PmfCNN:
    """A network between two, ready to be asked."""
    network = PmfCNN(start.network.config)
    network.load_state_dict(mixed(start.network.state_dict(), tuned.state_dict(), share))
    return network.eval()


def choose(
    start: Model,
    folds: Sequence[Fold],
    turns: Sequence[PmfCNN],
    whole: PmfCNN,
    guard: Guard,
    *,
    most_share: float,
    error_may_rise: float,
) -> Choice:
    """The share and the temperature of the model that is to be.

    turns : a network for each fold; whole : the one that learnt from all fields
    guard : the other kinds; a share that harms one of them is not taken but a smaller one tried
    error_may_rise : that of the differentiated fraction, on what was held out
    """
    held = _HeldOut(start, folds, turns)
    shares = [share for share in SHARES if share <= most_share]
    if not folds:
        share, kinds, harmed = _unharming(start, whole, guard, shares)
        return Choice(share, start.manifest.temperature, {}, _told(kinds), harmed)
    by_share = {share: held.measured(share, start.manifest.temperature) for share in shares}
    share, kinds, harmed = _unharming(start, whole, guard, _helpful(by_share, error_may_rise))
    scores = {
        "before": by_share[0.0].to_json(),
        "mean_jaccard_by_share_of_new_weights": {
            f"{share:g}": round(one.confusion.mean_jaccard, 4) for share, one in by_share.items()
        },
        "fraction_error_by_share_of_new_weights": {
            f"{share:g}": None
            if math.isnan(one.mean_fraction_error)
            else round(one.mean_fraction_error, 4)
            for share, one in by_share.items()
        },
    }
    if share == 0:
        return Choice(0.0, start.manifest.temperature, by_share[0.0].to_json() | scores, {}, harmed)
    temperature, kinds = _temperature(held, share, guard, whole, kinds)
    told = held.measured(share, temperature).to_json() | scores
    return Choice(share, temperature, told, _told(kinds), harmed)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Mixtures of the turns' networks, asked about what each did not learn from."""

    start: Model
    folds: Sequence[Fold]
    turns: Sequence[PmfCNN]

    def measured(self, share: float, temperature: float) -> Held:
        manifest = replace(self.start.manifest, temperature=temperature)
        return pooled(
            [
                measure(mixture(self.start, tuned, share), manifest, fold.held)
                for fold, tuned in zip(self.folds, self.turns, strict=True)
            ]
        )


def _helpful(by_share: Mapping[float, Held], error_may_rise: float) -> list[float]:
    """Shares that are no worse than the old weights on what was held out, from 0 to the best."""
    old = by_share[0.0]
    allowed = {
        share: one.confusion.mean_jaccard
        for share, one in by_share.items()
        if one.confusion.mean_jaccard >= old.confusion.mean_jaccard
        and not one.mean_fraction_error > old.mean_fraction_error + error_may_rise
    }
    enough = max(allowed.values(), default=0.0) - ALIKE
    best = max((share for share, score in allowed.items() if score >= enough), default=0.0)
    return [share for share in allowed if share <= best]


def _unharming(
    start: Model, whole: PmfCNN, guard: Guard, shares: Sequence[float]
) -> tuple[float, list[KindChange], dict[str, list[str]]]:
    """The largest of the shares that harms no kind, what became of these, and what spoke against
    the larger ones."""
    against: dict[str, list[str]] = {}
    for share in sorted(shares, reverse=True):
        if share == 0:
            break
        kinds = guard.changes(mixture(start, whole, share), start.manifest)
        harmed = [str(one) for one in kinds if one.is_harmed]
        if not harmed:
            return share, kinds, against
        against[f"{share:g}"] = harmed
    return 0.0, [], against


def _temperature(
    held: _HeldOut, share: float, guard: Guard, whole: PmfCNN, kinds: list[KindChange]
) -> tuple[float, list[KindChange]]:
    """The best calibrated one, unless that harms a kind. kinds : with the old temperature"""
    old = held.start.manifest.temperature
    by_temperature = {
        old * factor: held.measured(share, old * factor) for factor in TEMPERATURE_FACTORS
    }
    best = round(min(by_temperature.items(), key=lambda one: one[1].surprise)[0], 4)
    if best == old:
        return old, kinds
    manifest = replace(held.start.manifest, temperature=best)
    changed = guard.changes(mixture(held.start, whole, share), manifest)
    return (old, kinds) if any(one.is_harmed for one in changed) else (best, changed)


def _told(kinds: Sequence[KindChange]) -> dict[str, Any]:
    return {one.name: one.to_json() for one in kinds}
