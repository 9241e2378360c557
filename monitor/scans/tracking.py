"""Which colony of a scan is which colony of the scan before: by the spot that both cover.

iPS colonies sit where they were seeded and grow, so two outlines of one colony overlap. Numbers go
up and are never used again. A colony that is not found is kept in mind for some scans, since a
segmentation misses one now and then; one whose spot was not imaged is kept until it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from monitor.culture import ScanColony, TrackedColony, Tracking
from monitor.culture.scans import FIRST_COLONY, NOT_IMAGED

# Of the smaller of the two: outlines of one colony differ at the rim, neighbours touch at the rim.
SHARED = 0.3
# Scans in a row that may miss a colony before it counts as gone.
PATIENCE = 2


def follow(
    before: Sequence[TrackedColony],
    now: Sequence[ScanColony],
    shared: Mapping[tuple[int, int], int],
    sizes: Mapping[int, int],
    next_number: int,
) -> Tracking:
    """Number the colonies of a scan.

    before : of the scan before, with those that are kept in mind
    shared : (place in `before`, value in the new map) -> cells that both cover
    sizes : place in `now` -> cells
    next_number : for the next colony that was not seen before

    A merged colony keeps the number of its largest part, a split one gives its number to its
    largest part; `came_from` names the others.
    """
    links = _links(before, len(now), shared, sizes)
    parents: dict[int, list[int]] = defaultdict(list)
    heirs: dict[int, int] = {}
    for old, places in links.items():
        heirs[old] = max(places, key=lambda place: (shared[old, place + FIRST_COLONY], -place))
        for place in places:
            parents[place].append(old)
    found = []
    for place, colony in enumerate(now):
        came = sorted(parents[place], key=lambda old: (-before[old].area, old))
        own = next((old for old in came if heirs[old] == place), None)
        if own is None:
            number, next_number = next_number, next_number + 1
        else:
            number = before[own].number
        found.append(
            TrackedColony(
                number=number,
                area=colony.area,
                differentiated_fraction=colony.differentiated_fraction,
                centre=colony.centre,
                frame=colony.frame,
                is_cut=colony.is_cut,
                came_from=tuple(before[old].number for old in came if old != own),
            )
        )
    kept, gone = _not_found(before, links, shared)
    return Tracking(
        colonies=(*found, *(colony for _, colony in kept)),
        kept=tuple((old, len(found) + place) for place, (old, _) in enumerate(kept)),
        gone=tuple(gone),
        next_number=next_number,
    )


def _not_found(
    before: Sequence[TrackedColony],
    links: Collection[int],
    shared: Mapping[tuple[int, int], int],
) -> tuple[list[tuple[int, TrackedColony]], list[int]]:
    """(places and colonies that are kept in mind, numbers of those that are gone)"""
    kept, gone = [], []
    for old, colony in enumerate(before):
        if old in links:
            continue
        cells = sum(count for (one, _), count in shared.items() if one == old)
        unseen = shared.get((old, NOT_IMAGED), 0)
        was_imaged = cells > 0 and 2 * unseen < cells
        missed = colony.missed + 1 if was_imaged else max(colony.missed, 1)
        if was_imaged and colony.missed >= PATIENCE:
            gone.append(colony.number)
        else:
            kept.append((old, replace(colony, missed=missed, came_from=())))
    return kept, gone


def _links(
    before: Sequence[TrackedColony],
    count: int,
    shared: Mapping[tuple[int, int], int],
    sizes: Mapping[int, int],
) -> dict[int, list[int]]:
    """place in `before` -> places in `now` that are the same cells."""
    imaged: dict[int, int] = defaultdict(int)
    for (old, value), cells in shared.items():
        if value != NOT_IMAGED:
            imaged[old] += cells
    links: dict[int, list[int]] = defaultdict(list)
    for (old, value), cells in sorted(shared.items()):
        place = value - FIRST_COLONY
        if 0 <= place < count and old < len(before):
            smaller = min(imaged[old], sizes.get(place, 0))
            if cells >= SHARED * smaller > 0:
                links[old].append(place)
    return links
