"""Plates as drawings: how many wells, how far apart; and how one lies on the stage by taught wells.

On a drawing A1 is at the top left, columns (1, 2, 3) run right and rows (A, B, C) down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

WELL = re.compile(r"([A-Z]{1,2})([0-9]{1,2})")
DIRECTIONS = {"+x": (1.0, 0.0), "-x": (-1.0, 0.0), "+y": (0.0, 1.0), "-y": (0.0, -1.0)}
MOST_SKEW_DEG = 5.0
MOST_RESIDUAL_UM = 150.0
# Of the longest way between two wells: with wells nearer to each other a small mistake in one of
# them turns the whole plate.
_FAR_ENOUGH = 1 / 3

_Point = tuple[float, float]


@dataclass(frozen=True)
class PlateKind:
    """rows, columns : of wells

    pitch_mm : from well to well; diameter_mm : of a well; of a square one the length of a side
    a1_from_corner_mm : from the plate's left and upper edge to the centre of A1, where a standard
        says it (ANSI/SLAS 4-2004); None = makers differ
    """

    rows: int
    columns: int
    pitch_mm: float
    diameter_mm: float
    square: bool = False
    a1_from_corner_mm: _Point | None = None


# Usual sizes; makers differ by some tenths of a millimetre, so both can be set.
KINDS = {
    "dish": PlateKind(1, 1, 0.0, 0.0),
    "6-well": PlateKind(2, 3, 39.12, 34.8),
    "12-well": PlateKind(3, 4, 26.0, 22.1),
    "24-well": PlateKind(4, 6, 19.3, 15.6),
    "48-well": PlateKind(6, 8, 13.08, 11.0),
    "96-well": PlateKind(8, 12, 9.0, 6.4, a1_from_corner_mm=(14.38, 11.24)),
    "384-well": PlateKind(16, 24, 4.5, 3.3, square=True, a1_from_corner_mm=(12.13, 8.99)),
}


def place_of(well: str, kind: str) -> tuple[int, int]:
    """Row and column of a well, from 0. Raises ValueError where the plate has no such well."""
    found = WELL.fullmatch(well)
    if found is None:
        raise ValueError(f"{well!r} is not a well; wells are called A1, B12, AF48")
    letters, number = found.groups()
    row = ord(letters[-1]) - ord("A") + (26 if len(letters) == 2 else 0)
    column = int(number) - 1
    if not (row < KINDS[kind].rows and 0 <= column < KINDS[kind].columns):
        raise ValueError(f"a {kind} plate has no well {well}")
    return row, column


@dataclass(frozen=True)
class PlateFit:
    """How a plate lies on the stage.

    a1_um : centre of A1
    along_columns, along_rows : stage (x, y) per um from A1 to A2, and from A1 to B1; unit vectors
        at right angles
    skew_deg : how far it is turned against the direction that columns_run names; anticlockwise
        where x runs right and y up
    residuals_um : of each taught well, how far it lies from where the plate has it
    """

    a1_um: _Point
    along_columns: _Point
    along_rows: _Point
    skew_deg: float = 0.0
    residuals_um: Mapping[str, float] | None = None


def straight(a1_um: _Point, columns_run: str, rows_run: str) -> PlateFit:
    """A plate along the stage's axes."""
    return PlateFit(a1_um, DIRECTIONS[columns_run], DIRECTIONS[rows_run])


def fit_wells(
    kind: str, pitch_mm: float, columns_run: str, rows_run: str, taught: Mapping[str, _Point]
) -> PlateFit:
    """How a plate lies on which the centres of two or more wells were taught, stage (x, y) in um.

    The plate is stiff: it is turned and moved (least squares), never stretched. Raises ValueError
    with what to do where the wells cannot be right: too few or too near, swapped, of another plate.
    """
    pitch_um = 1000.0 * pitch_mm
    if len(taught) < 2:
        raise ValueError("teach at least two wells, far from each other, such as A1 and H12")
    drawn = {}
    for well in taught:
        row, column = place_of(well, kind)
        drawn[well] = (column * pitch_um, row * pitch_um)
    if not all(math.isfinite(number) for point in taught.values() for number in point):
        raise ValueError("the position of a well is two numbers, in um")
    _refuse_near(kind, pitch_um, drawn)
    fit = _fitted(columns_run, rows_run, drawn, taught)
    why = _why_wrong(fit)
    if why is None:
        return fit
    for one, other in combinations(taught, 2):
        swapped = {**taught, one: taught[other], other: taught[one]}
        if _why_wrong(_fitted(columns_run, rows_run, drawn, swapped)) is None:
            raise ValueError(f"{why}; they fit with {one} and {other} swapped: correct that")
    mirrored = {well: (y_um, x_um) for well, (x_um, y_um) in taught.items()}
    if _why_wrong(_fitted(columns_run, rows_run, drawn, mirrored)) is None:
        raise ValueError(f"{why}; they fit with x and y swapped: correct that")
    raise ValueError(
        f"{why}; check the wells' names and positions (um, not mm), the kind of the plate, "
        "well_pitch_mm, columns_run and rows_run"
    )


def _refuse_near(kind: str, pitch_um: float, drawn: Mapping[str, _Point]) -> None:
    rows, columns = KINDS[kind].rows, KINDS[kind].columns
    needed = _FAR_ENOUGH * pitch_um * math.hypot(rows - 1, columns - 1)
    widest = max(math.dist(one, other) for one, other in combinations(drawn.values(), 2))
    if widest < needed:
        raise ValueError(
            f"{' and '.join(drawn)} are {widest / 1000:.0f} mm apart, too close together "
            f"to show how the plate is rotated; teach wells at least {needed / 1000:.0f} mm apart, "
            "such as those in two corners"
        )


def _fitted(
    columns_run: str, rows_run: str, drawn: Mapping[str, _Point], taught: Mapping[str, _Point]
) -> PlateFit:
    """Turned and moved as fits best; rows stay at that side of the columns that rows_run says."""
    (column_x, column_y), (row_x, row_y) = DIRECTIONS[columns_run], DIRECTIONS[rows_run]
    side = column_x * row_y - column_y * row_x
    count = len(taught)
    mean_u = sum(u for u, _ in drawn.values()) / count
    mean_v = sum(v for _, v in drawn.values()) / count
    mean_x = sum(x for x, _ in taught.values()) / count
    mean_y = sum(y for _, y in taught.values()) / count
    along = across = 0.0
    for well, (u, v) in drawn.items():
        right, up = u - mean_u, side * (v - mean_v)
        x, y = taught[well][0] - mean_x, taught[well][1] - mean_y
        along += right * x + up * y
        across += right * y - up * x
    turned = math.atan2(across, along)
    columns = (math.cos(turned), math.sin(turned))
    rows = (-side * columns[1], side * columns[0])
    a1_um = (
        mean_x - mean_u * columns[0] - mean_v * rows[0],
        mean_y - mean_u * columns[1] - mean_v * rows[1],
    )
    residuals = {
        well: math.dist(
            taught[well],
            (a1_um[0] + u * columns[0] + v * rows[0], a1_um[1] + u * columns[1] + v * rows[1]),
        )
        for well, (u, v) in drawn.items()
    }
    skew = math.degrees(turned - math.atan2(column_y, column_x))
    return PlateFit(a1_um, columns, rows, (skew + 180) % 360 - 180, residuals)


def _why_wrong(fit: PlateFit) -> str | None:
    assert fit.residuals_um is not None
    worst, most = max(fit.residuals_um.items(), key=lambda one: one[1])
    if most > MOST_RESIDUAL_UM:
        return (
            f"the wells are not where a plate has them: {worst} is {most:,.0f} um off "
            f"(at most {MOST_RESIDUAL_UM:g})"
        )
    if abs(fit.skew_deg) > MOST_SKEW_DEG:
        return (
            f"the plate would be rotated by {fit.skew_deg:.1f} degrees (at most {MOST_SKEW_DEG:g})"
        )
    return None
