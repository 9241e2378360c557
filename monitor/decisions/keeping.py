"""Which pictures are old enough to go, and which backups stay. Pure rules.

Readings and decisions are never among them. What was shown of a dish last is not either: the next
scan is compared with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.config.record import BackupsConfig, KeepConfig

GIB = 2**30
# Of each dish, and of large images that were cut: nothing goes that is so little older than the
# newest. Scans are compared with those before, plans and verifications go back some days.
SPARED = timedelta(days=7)


class PictureKind(StrEnum):
    OVERLAY = "overlays"
    LABEL_MAP = "labels"
    TILE = "tiles"


@dataclass(frozen=True)
class PictureFile:
    """name : within the record's folder; dish : the folder it lies in

    written_at : aware; size : bytes
    """

    name: str
    kind: PictureKind
    dish: str
    written_at: datetime
    size: int


def pictures_to_remove(
    files: Iterable[PictureFile], keep: KeepConfig, now: datetime
) -> tuple[PictureFile, ...]:
    """What is older than its kind stays, then the oldest of what is more than there is room for.

    Tiles go before all else where room is short, and are never spared: they are made again at once.
    """
    held = list(files)
    newest: dict[str, datetime] = {}
    for one in held:
        if one.kind is not PictureKind.TILE:
            newest[one.dish] = max(one.written_at, newest.get(one.dish, one.written_at))
    days = {
        PictureKind.OVERLAY: keep.overlays_days,
        PictureKind.LABEL_MAP: keep.label_maps_days,
        PictureKind.TILE: keep.tiles_days,
    }
    gone: list[PictureFile] = []
    left: list[PictureFile] = []
    for one in held:
        limit = days[one.kind]
        old = limit is not None and now - one.written_at > timedelta(days=limit)
        spared = one.dish in newest and newest[one.dish] - one.written_at < SPARED
        if old and (one.kind is PictureKind.TILE or not spared):
            gone.append(one)
        elif one.kind is PictureKind.TILE or not spared:
            left.append(one)
    if keep.gib is not None:
        over = sum(one.size for one in held) - sum(one.size for one in gone) - keep.gib * GIB
        for one in sorted(left, key=_first_to_go):
            if over <= 0:
                break
            gone.append(one)
            over -= one.size
    return tuple(gone)


_ORDER = (PictureKind.TILE, PictureKind.OVERLAY, PictureKind.LABEL_MAP)


def _first_to_go(one: PictureFile) -> tuple[bool, datetime, int, str]:
    """Of one age the overlay goes first: it is drawn again from the label map, and not the other
    way round.
    """
    day = one.written_at.replace(minute=0, second=0, microsecond=0)
    return one.kind is not PictureKind.TILE, day, _ORDER.index(one.kind), one.name


def backups_to_keep(times: Collection[datetime], wanted: BackupsConfig) -> frozenset[datetime]:
    """Of each of the newest days, weeks and months that have a backup, the last one in it.

    times : aware, UTC. The newest is always kept.
    """
    newest_first: Sequence[datetime] = sorted(times, reverse=True)
    kept = set(newest_first[:1])
    for count, unit in (
        (wanted.daily, "%Y-%j"),
        (wanted.weekly, "%G-%V"),
        (wanted.monthly, "%Y-%m"),
    ):
        last: dict[str, datetime] = {}
        for at in newest_first:
            last.setdefault(at.strftime(unit), at)
        kept.update(list(last.values())[:count])
    return frozenset(kept)
