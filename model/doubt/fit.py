"""A judge made from what a trained network says of images that it learnt from and of others.

Nothing here knows the network: it takes what was observed (`PmfSegmenter.look`). The same
observations give the same judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from model.doubt.bank import NEIGHBOURS, Bank, Family, Span, nearest, upper
from model.doubt.features import Vector
from model.doubt.interval import LEAST_GROUPS, conformal_factor
from model.doubt.judge import Hardness, Judge, KindFacts
from model.doubt.reading import MapReading

NEAR_SHARE: Final = 0.97
LEFT_SHARE: Final = 0.93
"""Shares of images of groups that were not learnt from that lie within a family's limits."""
CLEAR_SHARE: Final = 0.95
CLEAR_SHARE_DRAWN: Final = 0.88
"""Shares of images read rightly whose reading counts as clear: real ones, and simulated ones. What
a microscope took that is like simulated images alone is trusted less easily."""
LEAST_MIXTURE: Final = 0.03
LEAST_ENTROPY: Final = 0.2
"""Below these an image is read clearly, however clearly others of its family are."""
RIGHT: Final = 0.05
"""Largest error of the fraction that counts as right."""
WRONG: Final = 0.2
LEAST_HARDNESS: Final = 0.005
ENOUGH_HELD: Final = 40
"""Of a family, so that its limits need no images that were learnt from."""
TRUTHS_VARY: Final = 0.1


@dataclass(frozen=True, eq=False)
class Observed:
    """What a network says of one image, and what is true of it.

    family, kind, group : real or simulated; kind of image; dish, line or sequence
    learnt : whether the network was trained on it
    truth : its differentiated fraction; None where it has no cells or nobody knows
    """

    family: str
    kind: str
    group: str
    learnt: bool
    vector: Vector
    read: MapReading
    truth: float | None

    @property
    def error(self) -> float | None:
        """Of the fraction that was found; where no cells were found it counts as 0."""
        return None if self.truth is None else abs((self.read.fraction or 0.0) - self.truth)


def fit_judge(observed: Sequence[Observed], simulated: str) -> Judge:
    """The judge for the network that was observed.

    simulated : name of the family whose images are independent and of known truth. Half of those
        not learnt from say how hard images look, the others calibrate the intervals
    Raises ValueError where there is nothing that was learnt from.
    """
    learnt = [one for one in observed if one.learnt]
    held = [one for one in observed if not one.learnt]
    names = list(dict.fromkeys(one.kind for one in learnt))
    if not names:
        raise ValueError("nothing that the network learnt from was observed")
    families = list(dict.fromkeys(one.family for one in learnt))
    bank = Bank(
        [
            _family(
                [one for one in learnt if one.family == name],
                [one for one in held if one.family == name],
                names,
                CLEAR_SHARE_DRAWN if name == simulated else CLEAR_SHARE,
            )
            for name in families
        ]
    )
    drawn = [one for one in held if one.family == simulated and one.read.fraction is not None]
    hardness = _hardness(drawn[::2])
    others = [one for one in held if one.family != simulated]
    kinds = _kinds(names, [*drawn[1::2], *others], simulated, hardness)
    return Judge(bank, kinds, hardness)


def _family(
    own: Sequence[Observed], others: Sequence[Observed], names: Sequence[str], clear: float
) -> Family:
    """Its images, and limits by images of groups that are not among them.

    own, others : of this family, learnt from and not
    clear : share of the others read rightly that count as read clearly
    """
    rows = _rows(own)
    kinds = np.array([names.index(one.kind) for one in own], dtype=np.int16)
    near, left = [], []
    span = Span(rows)
    for one in others:
        near.append(nearest(one.vector, rows, kinds)[0])
        left.append(span.left_of(one.vector))
    if len(others) < ENOUGH_HELD:
        for apart, rest in _turns(own):
            span, kept = Span(rows[rest]), rows[rest]
            for place in apart:
                near.append(nearest(rows[place], kept, kinds[rest])[0])
                left.append(span.left_of(rows[place]))
    right = [one.read for one in others if one.error is not None and one.error < RIGHT]
    return Family(
        rows,
        kinds,
        near=upper(near, NEAR_SHARE),
        left=upper(left, LEFT_SHARE),
        mixture=_limit([read.mixture for read in right], clear, LEAST_MIXTURE),
        entropy=_limit([read.entropy for read in right], clear, LEAST_ENTROPY),
    )


def _limit(values: Sequence[float], share: float, least: float) -> float:
    """1, which nothing exceeds, where nothing was read rightly."""
    return max(upper(values, share), least) if values else 1.0


def _rows(some: Sequence[Observed]) -> NDArray[np.float16]:
    return np.stack([one.vector for one in some]).astype(np.float16)


def _turns(own: Sequence[Observed]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Each group apart from the others; not those that are their kind's only one."""
    groups = [(one.kind, one.group) for one in own]
    turns = []
    for group in dict.fromkeys(groups):
        if sum(kind == group[0] for kind, _ in set(groups)) < 2:
            continue
        apart = np.array([place for place, one in enumerate(groups) if one == group])
        rest = np.setdiff1d(np.arange(len(own)), apart)
        if len(rest) > NEIGHBOURS:
            turns.append((apart, rest))
    return turns


def _hardness(drawn: Sequence[Observed]) -> Hardness:
    """How far off a fraction is expected to be by how clearly an image was read."""
    known = [(one.read, one.error) for one in drawn if one.error is not None]
    if not known:
        return Hardness(1.0, 0.0, 0.0)
    terms = np.array([[1.0, read.mixture, read.entropy] for read, _ in known])
    found, _ = nnls(terms, np.array([error for _, error in known]))
    base, by_mixture, by_entropy = (float(round(value, 6)) for value in found)
    return Hardness(max(base, LEAST_HARDNESS), by_mixture, by_entropy)


def _kinds(
    names: Sequence[str], held: Sequence[Observed], simulated: str, hardness: Hardness
) -> tuple[KindFacts, ...]:
    """Of each kind how wide its intervals are, by what was held back of it.

    Too few groups, or all with one and the same truth, calibrate nothing: dishes that are healthy
    say nothing of how far off the fraction of one is that differentiates. Then the factor of the
    simulated images is used, or the largest score of the kind's own images if that is larger.
    Simulated images themselves are never called calibrated: whatever a microscope took that looks
    like them was not drawn from them.
    """
    drawn = _scores([one for one in held if one.family == simulated], hardness)
    general = conformal_factor(drawn)
    facts = []
    for name in names:
        own = [one for one in held if one.kind == name]
        scores = _scores(own, hardness)
        truths = [one.truth for one in own if one.truth is not None]
        varied = bool(truths) and max(truths) - min(truths) > TRUTHS_VARY
        drawn_kind = any(one.family == simulated for one in own)
        factor = conformal_factor(scores) if varied and not drawn_kind else None
        calibrated = factor is not None and len(scores) >= LEAST_GROUPS
        if drawn_kind:
            factor = general
        elif not calibrated and general is not None:
            factor = max([general, *(score for some in scores.values() for score in some)])
        shown = None if factor is None else round(factor, 6)
        facts.append(KindFacts(name, len(scores), shown, calibrated))
    return tuple(facts)


def _scores(some: Sequence[Observed], hardness: Hardness) -> Mapping[str, list[float]]:
    """By group, error over hardness of each image with a fraction."""
    scores: dict[str, list[float]] = {}
    for one in some:
        if one.error is not None and one.read.fraction is not None:
            scores.setdefault(one.group, []).append(one.error / hardness.of(one.read))
    return scores
