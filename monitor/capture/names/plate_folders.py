"""Which of the folders above a picture is its plate's, and which are the imager's own.

Where a name does not say the plate, the folder that holds the pictures does: two plates of one lab
both have a well A1, and their series must not be joined. Folders of a time point, of a height, of a
well or of a day are no plates: the same plate is in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePath

from monitor.capture.names.parts import folders_of, plain_well

# Folders that instruments make below that of the plate.
_INNER_FOLDER = re.compile(r"images?|timepoint_?\d+|zstep_?\d+|t\d+|data", re.IGNORECASE)
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DAY_FOLDER = re.compile(
    rf"(?:(?:19|20)\d\d(?P<a>[-_. ]?){_MONTH}(?P=a){_DAY}"
    rf"|{_DAY}(?P<b>[-_. ]){_MONTH}(?P=b)(?:19|20)\d\d"
    rf"|(?:19|20)\d\dy{_MONTH}m{_DAY}d)"
    r"(?:[T_ -]+\d{1,2}[-_.:h ]?\d{2}m?(?:[-_.: ]?\d{2}s?)?Z?)?",
    re.ASCII,
)
_WELL = re.compile(r"[A-Za-z]{1,2}\d{1,2}", re.ASCII)
# A plate, the visit that it lies in, and what tells that from another one.
_FOLDERS_OF_A_VISIT = 3


def plate_folder(
    path: PurePath, well: str | None = None, *, beside: Collection[str] = ()
) -> str | None:
    """The nearest folder that can be a plate's; that of a day only where there is no other.

    well : as `plain_well` writes it; a folder of its name holds that well's pictures alone
    beside : names of folders that are none, for reasons that the caller knows
    """
    outer = [name for name in _outer(path, well) if name not in beside]
    return next(
        (name for name in outer if not _DAY_FOLDER.fullmatch(name)), next(iter(outer), None)
    )


def dish_of(plate: str | None, well: str) -> str:
    return f"{plate}/{well}" if plate else well


def visit_folder(path: PurePath, well: str | None = None) -> str:
    """Of the folders above, as many as tell one visit from another; empty where there are none.

    A plate that comes every day lies in a folder of its name below one of the day, or the other
    way about: the plate's alone would make one scan of all days.
    """
    return "/".join(reversed(_outer(path, well)[:_FOLDERS_OF_A_VISIT]))


def folder_number(path: PurePath, kind: str) -> int | None:
    """Of a folder ``TimePoint_3`` or the like, among the two nearest."""
    for name in folders_of(path)[-2:]:
        found = re.fullmatch(kind + r"_?(\d{1,6})", name, re.IGNORECASE | re.ASCII)
        if found:
            return int(found[1])
    return None


def _outer(path: PurePath, well: str | None) -> list[str]:
    """The folders above that are not the imager's own, nearest first."""
    return [
        name
        for name in reversed(folders_of(path))
        if not _INNER_FOLDER.fullmatch(name)
        and not (well is not None and _WELL.fullmatch(name) and plain_well(name) == well)
    ]
