"""Which of several files shows a field of a scan. A pure rule: what came first plays no part in it.

A scan has each field once. Imagers and people write one picture into several files: as TIFF and as
JPEG, into a folder of copies, in several channels. One of them counts, and the others are said.
Where two different pictures claim the same field, the scan is in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from monitor.culture.captures import IMAGE_EXTENSIONS
from monitor.culture.measurements import FieldAreas

ANOTHER_PICTURE = "another picture"
FILLED_TWICE, EQUAL_FIELDS = "field-filled-twice", "fields-show-the-same"
_LOSSY = (".jpg", ".jpeg")
# A picture that lost some of itself in compression is segmented nearly as the original is.
_SAME_PICTURE = 0.1


@dataclass(frozen=True)
class FieldFile:
    """One measured capture of a scan.

    number : tells it from the others
    in_transmitted_light : whether that is known
    lies_there : False where its path holds other bytes by now
    knows_scale, knows_place : pixel size and stage position stand in the file or beside it
    """

    number: int
    path: Path
    field: str | None
    areas: FieldAreas
    channel: str | None = None
    plane: int | None = None
    projection: str | None = None
    knows_scale: bool = False
    knows_place: bool = False
    fingerprint: str | None = None
    in_transmitted_light: bool = False
    lies_there: bool = True

    @property
    def place(self) -> tuple[str, str]:
        """What tells it from the other fields of its scan."""
        return ("field", self.field) if self.field is not None else ("name", stem_of(self.path))


@dataclass(frozen=True)
class FieldChoice:
    """file : the one that counts; others : files that it counts for, with why in a word"""

    file: FieldFile
    others: tuple[tuple[FieldFile, str], ...] = ()
    doubts: tuple[str, ...] = ()


def one_of_each(files: Sequence[FieldFile]) -> list[FieldChoice]:
    """Of each field of a scan the file that counts, in the order of the fields."""
    by_path: dict[Hashable, FieldFile] = {}
    for file in sorted(files, key=lambda one: (one.lies_there, one.number)):
        by_path[file.path] = file
    by_place: dict[Hashable, list[FieldFile]] = {}
    for file in by_path.values():
        by_place.setdefault(file.place, []).append(file)
    choices = [_chosen(sorted(held, key=_rank)) for held in by_place.values()]
    choices.sort(key=lambda one: (one.file.place, _rank(one.file)))
    return _without_equals(choices)


def stem_of(path: PurePath) -> str:
    """The name without what says its format: ``a.ome.tif`` and ``a.JPG`` are both ``a``."""
    name = path.name
    for extension in IMAGE_EXTENSIONS:
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return name[:-4] if name.lower().endswith(".ome") else name


def same_but_format(one: PurePath, other: PurePath) -> bool:
    """Are these names of one picture in two formats?"""
    return one.name != other.name and stem_of(one) == stem_of(other)


def _rank(file: FieldFile) -> tuple[object, ...]:
    """The first of these counts: as for files that come together (transmitted light, the
    lowest channel, a plane before a projection), and the original before what was made of it.
    """
    suffix = file.path.suffix.lower()
    return (
        not file.in_transmitted_light,
        _number_in(file.channel),
        file.channel or "",
        file.projection is not None,
        file.plane or 0,
        file.projection or "",
        suffix in _LOSSY,
        not file.knows_scale,
        not file.knows_place,
        IMAGE_EXTENSIONS.index(suffix) if suffix in IMAGE_EXTENSIONS else len(IMAGE_EXTENSIONS),
        str(file.path),
    )


def _number_in(channel: str | None) -> int:
    found = re.search(r"\d+", channel or "")
    return int(found[0]) if found else 0


def told_apart(one: PurePath, other: PurePath) -> tuple[str, str]:
    """Two files by their names, with as many of their folders as it takes to tell them apart."""
    for count in range(1, max(len(one.parts), len(other.parts)) + 1):
        shown = "/".join(one.parts[-count:]), "/".join(other.parts[-count:])
        if shown[0] != shown[1]:
            return shown
    return one.name, other.name


def _chosen(files: Sequence[FieldFile]) -> FieldChoice:
    first, *rest = files
    others = tuple((one, _why_not(first, one)) for one in rest)
    doubts = (FILLED_TWICE,) if any(why == ANOTHER_PICTURE for _, why in others) else ()
    return FieldChoice(first, others, doubts)


def _why_not(counts: FieldFile, file: FieldFile) -> str:
    for word, one, other in (
        ("channel", counts.channel, file.channel),
        ("plane", counts.plane, file.plane),
        ("projection", counts.projection, file.projection),
    ):
        if one != other:
            return f"another {word}"
    if counts.fingerprint is not None and counts.fingerprint == file.fingerprint:
        return "the same picture"
    formats = file.path.suffix.lower() in _LOSSY or same_but_format(counts.path, file.path)
    if formats and _agree(counts.areas, file.areas):
        return "the same picture in another format"
    return ANOTHER_PICTURE


def _agree(one: FieldAreas, other: FieldAreas) -> bool:
    pairs = (
        (one.differentiated_fraction, other.differentiated_fraction),
        (one.confluence, other.confluence),
    )
    return all(
        left is right or (left is not None and right is not None and abs(left - right) <= limit)
        for (left, right), limit in zip(pairs, (_SAME_PICTURE, _SAME_PICTURE), strict=True)
    )


def _without_equals(choices: Sequence[FieldChoice]) -> list[FieldChoice]:
    """A stage that is stuck shows one picture for several fields: it is counted once."""
    kept: dict[Hashable, FieldChoice] = {}
    for choice in choices:
        shown = choice.file.fingerprint
        before = None if shown is None else kept.get(shown)
        if before is None:
            kept[shown if shown is not None else choice.file.number] = choice
            continue
        named = before.file.field is not None and choice.file.field is not None
        doubts = {*before.doubts, *choice.doubts, *([EQUAL_FIELDS] if named else [])}
        kept[shown] = FieldChoice(
            before.file,
            (*before.others, (choice.file, "the same picture"), *choice.others),
            tuple(sorted(doubts)),
        )
    return list(kept.values())
