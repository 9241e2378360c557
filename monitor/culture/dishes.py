"""A dish: its status, its life, what people wrote about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DishStatus(StrEnum):
    """What the decisions say about a dish."""

    UNKNOWN = "unknown"  # nothing with cells was seen yet
    FRESHLY_PASSAGED = "freshly-passaged"  # single cells look differentiated: not judged yet
    UNDIFFERENTIATED = "undifferentiated"
    ABOVE_LIMIT = "above-limit"  # the newest scan is; not enough scans agree yet
    DIFFERENTIATING = "differentiating"

    @property
    def needs_a_look(self) -> bool:
        return self in (DishStatus.ABOVE_LIMIT, DishStatus.DIFFERENTIATING)


@dataclass(frozen=True)
class DishLine:
    """A dish from its seeding to its end.

    label : what the names of `source` call the place; `name` is what people call this line: the
        label, with the source before it where two sources use it
    passage : how many passages on record led to it
    began_at, ended_at : None = with its first scan; not yet
    """

    name: str
    label: str
    source: str
    passage: int = 0
    began_at: datetime | None = None
    ended_at: datetime | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """What a person wrote beside a dish's series."""

    id: int
    dish: str
    at: datetime
    text: str
    who: str
