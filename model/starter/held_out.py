"""Which real fields the starter never learns from, so that it can be measured on them.

Whole cell lines, plates and sequences are held out and not single images: fields of one dish, or of
one line, look alike, and a score on the neighbours of what was learnt from flatters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

HIPSC: Final = "hipsc_phase"
PASSAGE: Final = "passage"
SIX_WELL: Final = "incubator_6well"
WHOLE_WELLS: Final = "incubator_96well"
SPREAD: Final = "spread_cells_phase"
IPS: Final = "ips_fields"

KINDS: Final = (HIPSC, PASSAGE, SIX_WELL, WHOLE_WELLS, SPREAD, IPS)
"""Folders of real fields, a kind of picture each."""

HELD_OUT: Final[Mapping[str, frozenset[str]]] = {
    HIPSC: frozenset({"aics-12", "aics-22", "aics-40"}),
    PASSAGE: frozenset({"aics-63", "aics-58", "aics-68"}),
    SIX_WELL: frozenset({"right"}),
    WHOLE_WELLS: frozenset({"3500002873"}),
    SPREAD: frozenset({"21 to 25", "46 to 50"}),
}
"""Groups (`group_of`) of each kind that are held out. Of ``ips_fields`` all are."""

SPREAD_GROUP: Final = 5
"""So many numbers in a row are taken for one sequence of spread cells."""
RIGHT_OF_MM: Final = 4.0


def group_of(kind: str, name: str) -> str:
    """What a field belongs to: its line, its plate, its part of the well, its sequence.

    name : of the image file
    """
    if kind in (HIPSC, PASSAGE):
        return "-".join(name.split("-")[:2])
    if kind == SIX_WELL:
        # One well of one scan: its right part is held out.
        place = re.search(r"_Xmm(-?[\d.]+)_", name)
        return "right" if place and float(place[1]) > RIGHT_OF_MM else "left"
    if kind == WHOLE_WELLS:
        return name.split("_")[0]
    if kind == SPREAD:
        number = int(re.findall(r"\d+", name)[-1])
        first = (number - 1) // SPREAD_GROUP * SPREAD_GROUP + 1
        return f"{first} to {first + SPREAD_GROUP - 1}"
    return name


def is_held_out(kind: str, name: str) -> bool:
    """Is this field kept from training?"""
    return kind not in HELD_OUT or group_of(kind, name) in HELD_OUT[kind]
