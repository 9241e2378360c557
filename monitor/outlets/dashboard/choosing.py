"""Which dishes are shown and in what order: filter, search and sort, of pages and of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.outlets.dashboard.cards import STATUS, kind_of
from monitor.outlets.wording import well_and_plate
from monitor.record.overviews import DishOverview, badness, in_order

_LONGEST = 100
# Smallest first; what is not known comes last, whichever way round.
_ORDERS: dict[str, tuple[str, Callable[[DishOverview], Any]]] = {
    "worst": ("worst first", lambda one: 0),
    "name": ("name", lambda one: 0),
    "fraction": ("most differentiated", lambda one: _minus(_fraction(one))),
    "confluence": ("most confluent", lambda one: _minus(_confluence(one))),
    "oldest": ("longest without a scan", lambda one: _plus(_seconds(one))),
    "newest": ("last scan first", lambda one: _minus(_seconds(one))),
    "doubt": ("least certain first", lambda one: 0 if one.last and one.last.in_doubt else 1),
}
ORDERS = {key: words for key, (words, _) in _ORDERS.items()}
STATES = {key: words for key, words in STATUS.items() if key != "ended"}


@dataclass(frozen=True)
class Choice:
    """What a reader asks for. Empty: all.

    q : words, each of which is in the name, the source or the label
    status : a key of `STATES`; plate, source : exactly so; sort : a key of `ORDERS`
    """

    q: str = ""
    status: str = ""
    plate: str = ""
    source: str = ""
    sort: str = "worst"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Choice:
        """What is not known counts as not given: pages never fail for an odd address."""
        given = {name: query.get(name, "")[:_LONGEST] for name in ("q", "plate", "source")}
        status, sort = query.get("status", ""), query.get("sort", "")
        return cls(
            **given,
            status=status if status in STATES else "",
            sort=sort if sort in ORDERS else "worst",
        )

    @property
    def query(self) -> dict[str, str]:
        """As in an address; what is usual is left out."""
        return {
            name: value
            for name, value in vars(self).items()
            if value and (name, value) != ("sort", "worst")
        }

    @property
    def is_all(self) -> bool:
        return not (self.q or self.status or self.plate or self.source)

    def __call__(self, dishes: Sequence[DishOverview]) -> list[DishOverview]:
        """Those that are asked for, in their order."""
        words = self.q.casefold().split()
        found = [one for one in dishes if self._fits(one, words)]
        key = _ORDERS[self.sort][1]
        if self.sort == "name":
            return sorted(found, key=lambda one: (in_order(one.name), one.id))
        return sorted(found, key=lambda one: (key(one), worst_first(one)))

    def _fits(self, one: DishOverview, words: Sequence[str]) -> bool:
        if self.status and kind_of(one) != self.status:
            return False
        if self.plate and plate_of(one) != self.plate:
            return False
        if self.source and one.source != self.source:
            return False
        text = f"{one.name} {one.label} {one.source}".casefold()
        return all(word in text for word in words)


def plate_of(one: DishOverview) -> str:
    """Empty where its name says none."""
    return well_and_plate(one.name)[1] or ""


def worst_first(one: DishOverview) -> tuple[Any, ...]:
    """Critical, then those that differentiate or are above the limit by their last share; then by
    name.
    """
    bad = badness(one.status, one.severity, ended=one.ended_at is not None)
    share = (_fraction(one) or 0.0) if bad < 2 else 0.0
    return bad, -share, in_order(one.name), one.id


def _fraction(one: DishOverview) -> float | None:
    return None if one.last is None else one.last.differentiated_fraction


def _confluence(one: DishOverview) -> float | None:
    return None if one.last is None else one.last.confluence


def _seconds(one: DishOverview) -> float | None:
    at: datetime | None = None if one.last is None else one.last.at
    return None if at is None else at.timestamp()


def _plus(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _minus(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)
