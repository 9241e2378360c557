"""Where wells and dishes lie on the stage: centres, borders, and offsets from a centre.

Stage points are (x, y) in um. Offsets from a centre are (x, y) in um as on a drawing of the plate
with A1 at the top left: x along the columns (1, 2, 3), y up, against the rows (C, B, A); whichever
way the stage's own numbers run.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from monitor.config import VesselConfig

_WELL = re.compile(r"([A-Z]{1,2})([0-9]{1,2})")


@dataclass(frozen=True)
class _Kind:
    rows: int
    columns: int
    pitch_mm: float
    diameter_mm: float
    square: bool = False


# Usual sizes; makers differ by some tenths of a millimetre, so both can be set.
_KINDS = {
    "dish": _Kind(1, 1, 0.0, 0.0),
    "6-well": _Kind(2, 3, 39.12, 34.8),
    "12-well": _Kind(3, 4, 26.0, 22.1),
    "24-well": _Kind(4, 6, 19.3, 15.6),
    "48-well": _Kind(6, 8, 13.08, 11.0),
    "96-well": _Kind(8, 12, 9.0, 6.4),
    "384-well": _Kind(16, 24, 4.5, 3.3, square=True),
}
# ANSI/SLAS 1-2004: along the rows' letters the shorter side.
_PLATE_UM = (127_760.0, 85_480.0)
_DIRECTIONS = {"+x": (1.0, 0.0), "-x": (-1.0, 0.0), "+y": (0.0, 1.0), "-y": (0.0, -1.0)}


def well_of(dish: str) -> str | None:
    """``A1`` of ``3500003816/A1``; None where the dish is no well of a plate."""
    _, slash, last = dish.rpartition("/")
    return last if slash and _WELL.fullmatch(last) else None


@dataclass(frozen=True)
class Vessel:
    """A dish, or a plate with its wells, as it lies on the stage."""

    config: VesselConfig

    @property
    def diameter_um(self) -> float:
        """Of a well or the dish; of a square well the length of a side."""
        return 1000.0 * (self.config.well_diameter_mm or _KINDS[self.config.kind].diameter_mm)

    @property
    def area_um2(self) -> float:
        """Of the bottom of a well or the dish."""
        share = 1.0 if _KINDS[self.config.kind].square else math.pi / 4
        return share * self.diameter_um**2

    @property
    def pitch_um(self) -> float:
        return 1000.0 * (self.config.well_pitch_mm or _KINDS[self.config.kind].pitch_mm)

    def offset_um(self, dish: str, x_um: float, y_um: float) -> tuple[float, float]:
        """How far a stage point lies from the centre of the dish, or of its well.

        Raises ValueError where the dish is no well of this vessel.
        """
        row, column = self._place(dish)
        (column_x, column_y), (row_x, row_y) = self._directions()
        from_x, from_y = x_um - self.config.centre_um[0], y_um - self.config.centre_um[1]
        along_columns = from_x * column_x + from_y * column_y - column * self.pitch_um
        along_rows = from_x * row_x + from_y * row_y - row * self.pitch_um
        return along_columns, 0.0 - along_rows

    def centre_um(self, dish: str) -> tuple[float, float]:
        """Stage (x, y) of the centre of the dish, or of its well. Raises ValueError."""
        row, column = self._place(dish)
        (column_x, column_y), (row_x, row_y) = self._directions()
        x_um, y_um = self.config.centre_um
        return (
            x_um + self.pitch_um * (column * column_x + row * row_x),
            y_um + self.pitch_um * (column * column_y + row * row_y),
        )

    def may_hold(self, x_um: float, y_um: float) -> bool:
        """Is a stage point on the dish, or anywhere on the plate?"""
        kind = _KINDS[self.config.kind]
        if self.config.kind == "dish":
            return self.holds((x_um - self.config.centre_um[0], y_um - self.config.centre_um[1]))
        (column_x, column_y), (row_x, row_y) = self._directions()
        from_x, from_y = x_um - self.config.centre_um[0], y_um - self.config.centre_um[1]
        sides = (
            (
                from_x * column_x + from_y * column_y,
                (kind.columns - 1) * self.pitch_um,
                _PLATE_UM[0],
            ),
            (from_x * row_x + from_y * row_y, (kind.rows - 1) * self.pitch_um, _PLATE_UM[1]),
        )
        # The wells stand in the middle of the plate.
        return all(abs(along - wells / 2) <= max(side, wells) / 2 for along, wells, side in sides)

    def holds(self, offset_um: tuple[float, float], margin_um: float = 0.0) -> bool:
        """Is a point, given from the centre, inside the wall, and `margin_um` away from it?"""
        half = self.diameter_um / 2 - margin_um
        x_um, y_um = offset_um
        if _KINDS[self.config.kind].square:
            return max(abs(x_um), abs(y_um)) <= half
        return half >= 0 and x_um * x_um + y_um * y_um <= half * half

    def _directions(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return _DIRECTIONS[self.config.columns_run], _DIRECTIONS[self.config.rows_run]

    def _place(self, dish: str) -> tuple[int, int]:
        """Row and column of the dish's well, from 0."""
        kind = _KINDS[self.config.kind]
        if self.config.kind == "dish":
            return 0, 0
        well = _WELL.fullmatch(well_of(dish) or "")
        if well is None:
            raise ValueError(
                f"{dish} is no well of a plate, and the source's vessel is a {self.config.kind} "
                "plate; set the source's vessel, or the well in its name pattern"
            )
        letters, number = well.groups()
        row = ord(letters[-1]) - ord("A") + (26 if len(letters) == 2 else 0)
        column = int(number) - 1
        if not (row < kind.rows and 0 <= column < kind.columns):
            raise ValueError(
                f"a {self.config.kind} plate has no well {well[0]}; set the kind of the source's "
                "vessel"
            )
        return row, column
