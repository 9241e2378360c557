"""How far a number may be trusted, by what the image looks like and how clearly it was read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from model.doubt.bank import Bank
from model.doubt.features import Vector
from model.doubt.interval import interval_about
from model.doubt.reading import MapReading
from model.segmentation import Doubt, DoubtReason

ANYTHING: Final = (0.0, 1.0)


@dataclass(frozen=True)
class KindFacts:
    """What is known of a kind of image.

    groups : independent dishes or lines with a known fraction that were kept from training
    factor : half the interval over the hardness of the image; None: nothing finite is known
    calibrated : whether `factor` comes from enough groups of this very kind
    """

    name: str
    groups: int
    factor: float | None
    calibrated: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KindFacts:
        """Raises KeyError, TypeError or ValueError for what is none."""
        factor = values["factor"]
        name, calibrated = values["name"], values["calibrated"]
        if not isinstance(name, str) or not name.isprintable() or not isinstance(calibrated, bool):
            raise ValueError("a kind without a name, or not said whether it is calibrated")
        return cls(
            name,
            whole(values["groups"]),
            None if factor is None else number(factor),
            calibrated,
        )


@dataclass(frozen=True)
class Hardness:
    """How far off a fraction is expected to be: base + by_mixture * mixture + by_entropy * entropy
    of a `MapReading`. None of them is negative, and the base is more than 0.
    """

    base: float
    by_mixture: float
    by_entropy: float

    def of(self, read: MapReading) -> float:
        return self.base + self.by_mixture * read.mixture + self.by_entropy * read.entropy

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Hardness:
        """Raises KeyError, TypeError or ValueError for what is none."""
        found = cls(*(number(values[key]) for key in ("base", "by_mixture", "by_entropy")))
        if found.base <= 0 or min(found.by_mixture, found.by_entropy) < 0:
            raise ValueError(f"{found} is no hardness")
        return found


@dataclass(frozen=True, eq=False)
class Judge:
    """Tells of an image how far its segmentation may be trusted."""

    bank: Bank
    kinds: tuple[KindFacts, ...]
    hardness: Hardness

    def doubt_of(self, vector: Vector | None, read: MapReading) -> Doubt:
        """vector : of the image; None where it shows nothing of the vessel"""
        if vector is None:
            return Doubt()
        place = self.bank.place(vector)
        known = place.strangeness <= 1
        reasons = []
        if not known:
            reasons.append(DoubtReason.UNFAMILIAR)
        if read.mixture > place.family.mixture or read.entropy > place.family.entropy:
            reasons.append(DoubtReason.UNCLEAR)
        kind = self.kinds[place.kind] if known else None
        return Doubt(
            reasons=tuple(reasons),
            interval=self._interval(read, kind),
            kind=None if kind is None else kind.name,
            calibrated=kind is not None and kind.calibrated,
        )

    def _interval(self, read: MapReading, kind: KindFacts | None) -> tuple[float, float] | None:
        """Of what is like nothing that was learnt from, nothing is known: 0 to 1."""
        if read.fraction is None:
            return None
        if kind is None or kind.factor is None:
            return ANYTHING
        return interval_about(read.fraction, kind.factor * self.hardness.of(read))


def number(value: object) -> float:
    """A finite number from a manifest. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is not a number")
    return float(value)


def whole(value: object) -> int:
    """A whole number, 0 or more, from a manifest. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1_000_000:
        raise ValueError(f"{value!r:.40} is not a whole number")
    return value
