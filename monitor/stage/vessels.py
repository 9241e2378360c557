"""Where wells and dishes lie on the stage: centres, borders, and offsets from a centre.

Stage points are (x, y) in um. Offsets from a centre are (x, y) in um as on a drawing of the plate
with A1 at the top left: x along the columns (1, 2, 3), y up, against the rows (C, B, A); whichever
way the stage's own numbers run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from monitor.config import VesselConfig
from monitor.culture.plates import KINDS, WELL, PlateFit, PlateKind, place_of

# ANSI/SLAS 1-2004: along the rows' letters the shorter side.
_PLATE_UM = (127_760.0, 85_480.0)


def well_of(dish: str) -> str | None:
    """``A1`` of ``3500003816/A1``; None where the dish is no well of a plate."""
    _, slash, last = dish.rpartition("/")
    return last if slash and WELL.fullmatch(last) else None


@dataclass(frozen=True)
class Vessel:
    """A dish, or a plate with its wells, as it lies on the stage."""

    config: VesselConfig

    @property
    def diameter_um(self) -> float:
        """Of a well or the dish; of a square well the length of a side."""
        return 1000.0 * (self.config.well_diameter_mm or KINDS[self.config.kind].diameter_mm)

    @property
    def area_um2(self) -> float:
        """Of the bottom of a well or the dish."""
        share = 1.0 if KINDS[self.config.kind].square else math.pi / 4
        return share * self.diameter_um**2

    @property
    def pitch_um(self) -> float:
        return 1000.0 * (self.config.well_pitch_mm or KINDS[self.config.kind].pitch_mm)

    @property
    def kind(self) -> PlateKind:
        """The plate's drawing, with what is usual for its kind."""
        return KINDS[self.config.kind]

    @cached_property
    def lies(self) -> PlateFit:
        """How it lies on the stage."""
        return self.config.lies

    def offset_um(self, dish: str, x_um: float, y_um: float) -> tuple[float, float]:
        """How far a stage point lies from the centre of the dish, or of its well.

        Raises ValueError where the dish is no well of this vessel.
        """
        row, column = self._place(dish)
        (column_x, column_y), (row_x, row_y) = self._directions()
        from_x, from_y = x_um - self.lies.a1_um[0], y_um - self.lies.a1_um[1]
        along_columns = from_x * column_x + from_y * column_y - column * self.pitch_um
        along_rows = from_x * row_x + from_y * row_y - row * self.pitch_um
        return along_columns, 0.0 - along_rows

    def centre_um(self, dish: str) -> tuple[float, float]:
        """Stage (x, y) of the centre of the dish, or of its well. Raises ValueError."""
        row, column = self._place(dish)
        (column_x, column_y), (row_x, row_y) = self._directions()
        x_um, y_um = self.lies.a1_um
        return (
            x_um + self.pitch_um * (column * column_x + row * row_x),
            y_um + self.pitch_um * (column * column_y + row * row_y),
        )

    def may_hold(self, x_um: float, y_um: float) -> bool:
        """Is a stage point on the dish, or anywhere on the plate?"""
        kind = KINDS[self.config.kind]
        if self.config.kind == "dish":
            return self.holds((x_um - self.lies.a1_um[0], y_um - self.lies.a1_um[1]))
        (column_x, column_y), (row_x, row_y) = self._directions()
        from_x, from_y = x_um - self.lies.a1_um[0], y_um - self.lies.a1_um[1]
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
        if KINDS[self.config.kind].square:
            return max(abs(x_um), abs(y_um)) <= half
        return half >= 0 and x_um * x_um + y_um * y_um <= half * half

    def _directions(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.lies.along_columns, self.lies.along_rows

    def _place(self, dish: str) -> tuple[int, int]:
        """Row and column of the dish's well, from 0."""
        if self.config.kind == "dish":
            return 0, 0
        well = well_of(dish)
        if well is None:
            raise ValueError(
                f"{dish} is not a well of a plate, and the source's vessel is a {self.config.kind} "
                "plate; set the source's vessel, or the well in its name pattern"
            )
        try:
            return place_of(well, self.config.kind)
        except ValueError as problem:
            raise ValueError(f"{problem}; set the kind of the source's vessel") from problem
