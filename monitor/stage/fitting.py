"""Fitting how one frame lies in another from taught points, and refusing what cannot be right.

Pure: points in, a fit or a CalibrationError out. Two kinds are taught:

camera   row, column of a point in a capture, and the stage's (x, y) when that point stands in the
         middle of the picture
picker   stage (x, y) of a point, and the picker's (x, y) when its tool touches the same point

A wrong calibration kills good cells, so a fit must explain every point, and must also look like a
camera on a stage: a plausible scale, right angles, the same scale along both axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from monitor.config import StageLimitsConfig
from monitor.culture import Calibration, CalibrationKind
from monitor.errors import CalibrationError
from monitor.stage.calibration import SCALE_TOLERANCE
from monitor.stage.frames import Affine
from monitor.stage.vessels import Vessel

Points = Sequence[tuple[float, float, float, float]]
LEAST_POINTS = 3
RESIDUAL_LIMIT_UM = 10.0
# How far the points must spread across their narrow direction, as a standard deviation.
_MIN_SPREAD_PX = 20.0
_MIN_SPREAD_UM = 300.0
# Share of the narrow spread in the wide one; below it the points lie on a line.
_MIN_NARROWNESS = 0.08
_ANISOTROPY_TOLERANCE = 0.03
_SKEW_TOLERANCE_DEG = 1.5
_PIXEL_SIZES_UM = (0.01, 100.0)
# px or um; nm of a large stage are less.
_FARTHEST = 1e9


@dataclass(frozen=True)
class Fit:
    """A transform with all that a person needs in order to believe it.

    affine : first frame -> second frame; camera: (column, row) px -> (x, y) um
    residuals_um : distance of each taught point from where the transform puts it
    scales : length of one step along the first and the second axis; um/px, or um/um
    rotation_deg : direction of the first axis, against the clock where y is drawn up
    skew_deg : by how much the angle between the axes misses 90
    mirrored : one frame is the other's mirror image (the determinant is negative)
    places : how many different ones were taught; the same place twice checks nothing but the hand
    """

    kind: CalibrationKind
    affine: Affine
    residuals_um: tuple[float, ...]
    scales: tuple[float, float]
    rotation_deg: float
    skew_deg: float
    mirrored: bool
    places: int

    @property
    def rms_um(self) -> float:
        return math.sqrt(sum(one * one for one in self.residuals_um) / len(self.residuals_um))

    @property
    def scale(self) -> float:
        return math.sqrt(self.scales[0] * self.scales[1])

    @property
    def is_checked(self) -> bool:
        """Three places fit any affine transform exactly: their residuals say nothing."""
        return self.places > LEAST_POINTS


def fit_points(
    kind: CalibrationKind,
    points: Points,
    *,
    residual_limit_um: float = RESIDUAL_LIMIT_UM,
    expected_um_a_pixel: float | None = None,
    mirrored: bool | None = None,
    one_feature: bool = False,
    shape: tuple[int, int] | None = None,
    limits: StageLimitsConfig | None = None,
    vessel: Vessel | None = None,
) -> Fit:
    """Least squares over all taught points, then every check that can be made.

    points : camera: (row, column, x, y) in px and um; picker: (x, y, picker x, picker y) in um
    expected_um_a_pixel : camera: what the pixel size should come out as
    mirrored : whether one is, where it is known from a former calibration; finds swapped axes
    one_feature : camera: x and y are where the stage stood when one and the same feature was seen
        at (row, column); the stage then moves against the picture
    shape : camera: (rows, columns) of the captures
    limits : of the stage
    vessel : what stands on the stage; points beside it are refused where swapped axes or another
        unit would put them on it

    Raises CalibrationError, with what to do.
    """
    table = np.array(points, dtype=np.float64).reshape(-1, 4)
    if len(table) < LEAST_POINTS:
        raise CalibrationError(
            f"{len(table)} taught points are too few; teach at least {LEAST_POINTS} that do not "
            "lie on a line, better 5"
        )
    for number, line in enumerate(table, start=1):
        if not np.isfinite(line).all():
            raise CalibrationError(f"point {number} has a number missing; teach it again")
        if np.abs(line).max() > _FARTHEST:
            raise CalibrationError(
                f"point {number} has {line[np.abs(line).argmax()]:g}, which is not a "
                "place in an image or on a stage; teach it again"
            )
    if kind is CalibrationKind.CAMERA:
        first, second = table[:, 1::-1], table[:, 2:]
        _refuse_outside_picture(table[:, :2], shape)
        _refuse_outside_stage(second, limits)
        _refuse_beside_vessel(second, vessel)
        if one_feature:
            second = -second
    else:
        first, second = table[:, :2], table[:, 2:]
        _refuse_outside_stage(first, limits)
        _refuse_beside_vessel(first, vessel)
    _refuse_degenerate(kind, first, second)
    fit = _least_squares(kind, first, second)
    _refuse_scale(fit, expected_um_a_pixel, one_feature)
    _refuse_residuals(fit, first, second, residual_limit_um)
    _refuse_mirrored(fit, mirrored)
    _refuse_form(fit)
    return fit


def make_calibration(
    fit: Fit,
    points: Points,
    *,
    id_: str,
    source: str,
    made_at: datetime,
    made_by: str,
    objective: str | None,
    binning: int,
    max_age_days: float | None,
    expected_um_a_pixel: float | None,
) -> Calibration:
    """What is kept of a fit. A camera's pixel size is the expected one, else the fitted one."""
    camera = fit.kind is CalibrationKind.CAMERA
    return Calibration(
        id=id_,
        kind=fit.kind,
        source=source,
        matrix=fit.affine.matrix,
        made_at=made_at,
        made_by=made_by,
        objective=objective,
        pixel_size_um=(expected_um_a_pixel or fit.scale) if camera else None,
        binning=binning,
        max_age_days=max_age_days,
        rms_um=fit.rms_um,
        residuals_um=fit.residuals_um,
        points=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in points),
    )


# --- the fit ------------------------------------------------------------------------------------


def _least_squares(
    kind: CalibrationKind, first: NDArray[np.float64], second: NDArray[np.float64]
) -> Fit:
    # About the middle: stage coordinates can be far larger than the spread of the points.
    middle, target = first.mean(axis=0), second.mean(axis=0)
    solution, *_ = np.linalg.lstsq(first - middle, second - target, rcond=None)
    linear = solution.T
    affine = Affine.of(linear.tolist(), (target - linear @ middle).tolist())
    off = (first - middle) @ solution + target - second
    (a, b), (c, d) = linear
    lengths = math.hypot(a, c), math.hypot(b, d)
    turned = float(np.linalg.det(linear)) < 0
    between = math.degrees(math.atan2(a * d - b * c, a * b + c * d))
    return Fit(
        kind=kind,
        affine=affine,
        residuals_um=tuple(float(one) for one in np.hypot(off[:, 0], off[:, 1])),
        scales=lengths,
        rotation_deg=math.degrees(math.atan2(c, a)),
        skew_deg=abs(between) - 90,
        mirrored=turned,
        places=len(np.unique(first, axis=0)),
    )


# --- what cannot be right -----------------------------------------------------------------------


def _refuse_degenerate(
    kind: CalibrationKind, first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    camera = kind is CalibrationKind.CAMERA
    names = ("in the image", "on the stage") if camera else ("on the stage", "at the picker")
    for points, where in zip((first, second), names, strict=True):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        wide, narrow = (float(one) / math.sqrt(len(points)) for one in spread)
        if wide == 0.0 or narrow < _MIN_NARROWNESS * wide:
            raise CalibrationError(
                f"the taught points lie on one line, or in one spot, {where}; teach points in "
                "three corners or more"
            )
        if points is first:
            limit, unit = (_MIN_SPREAD_PX, "px") if camera else (_MIN_SPREAD_UM, "µm")
            if narrow < limit:
                raise CalibrationError(
                    f"the taught points are too close to one another {where} (they spread "
                    f"{narrow:.3g} {unit} across, at least {limit:g} {unit} is needed); teach "
                    "points far apart"
                )


def _refuse_scale(fit: Fit, expected: float | None, one_feature: bool) -> None:
    camera = fit.kind is CalibrationKind.CAMERA
    if not camera:
        expected = 1.0
    if expected is None:
        low, high = _PIXEL_SIZES_UM
        if not low <= fit.scale <= high:
            raise CalibrationError(
                f"the taught points give {fit.scale:.4g} µm/px, which no microscope has; give "
                f"stage positions in um{_thousandfold(fit.scale / 2.0)}"
            )
        return
    ratio = fit.scale / expected
    if abs(ratio - 1) <= SCALE_TOLERANCE:
        return
    what = (
        f"the taught points give {fit.scale:.4g} µm/px, and the pixel size is {expected:g} µm"
        if camera
        else f"one µm of the stage comes out as {ratio:.4g} µm at the picker"
    )
    hint = _thousandfold(ratio)
    if not hint and camera:
        for factor in (2, 3, 4, 8):
            if min(abs(ratio * factor - 1), abs(ratio / factor - 1)) <= SCALE_TOLERANCE:
                hint = (
                    f"; a factor of {factor} is another binning or another objective: teach with "
                    "the camera's settings of the captures, or give --binning or --pixel-size-um"
                )
                break
        else:
            hint = "; set the source's pixel_size_um, or teach with the objective of the captures"
    elif not hint:
        hint = "; both must be in um: check the units of the two"
    raise CalibrationError(what + hint)


def _thousandfold(ratio: float) -> str:
    if 0.0002 < ratio < 0.005:
        return "; a factor of 1000 means mm instead of um: name the columns x_mm, y_mm"
    if 200 < ratio < 5000:
        return "; a factor of 1000 is mm and um mixed up: check the units of the columns"
    return ""


def _refuse_residuals(
    fit: Fit, first: NDArray[np.float64], second: NDArray[np.float64], limit_um: float
) -> None:
    worst = max(fit.residuals_um)
    if worst <= limit_um:
        return
    listed = ", ".join(f"{number}: {one:.1f}" for number, one in enumerate(fit.residuals_um, 1))
    raise CalibrationError(
        f"the taught points do not fit together: the largest residual is {worst:.1f} µm, the limit "
        f"{limit_um:g} µm (point: residual in µm: {listed}); "
        + _suspect(fit, first, second, limit_um)
    )


def _suspect(
    fit: Fit, first: NDArray[np.float64], second: NDArray[np.float64], limit_um: float
) -> str:
    for number, mended, what in _one_point_swapped(first, second):
        if max(_least_squares(fit.kind, *mended).residuals_um) <= limit_um:
            return f"point {number} fits with {what} swapped"
    count = len(first)
    if count > LEAST_POINTS + 1:
        # Which point is wrong may not be told: a corner, where the middle lies between two others.
        suspects = []
        for index in range(count):
            left = np.arange(count) != index
            if max(_least_squares(fit.kind, first[left], second[left]).residuals_um) <= limit_um:
                suspects.append(str(index + 1))
        if suspects:
            again = "it" if len(suspects) == 1 else "them"
            return f"without point {' or '.join(suspects)} the others fit: teach {again} again"
    return "teach the points again"


def _one_point_swapped(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> Iterator[tuple[int, tuple[NDArray[np.float64], NDArray[np.float64]], str]]:
    if len(first) <= LEAST_POINTS:
        return
    for index in range(len(first)):
        for swapped, what in ((second, "its x and y"), (first, "the first two of its numbers")):
            mended = swapped.copy()
            mended[index] = mended[index, ::-1]
            both = (first, mended) if swapped is second else (mended, second)
            yield index + 1, both, what


def _refuse_mirrored(fit: Fit, expected: bool | None) -> None:
    if expected is None or fit.mirrored == expected:
        return
    pair = "row and column" if fit.kind is CalibrationKind.CAMERA else "stage x and y"
    raise CalibrationError(
        f"the fit is {'' if fit.mirrored else 'not '}mirrored, and it should"
        f"{'' if expected else ' not'} be: two axes are swapped ({pair}, or the other x and y), or "
        "one has the wrong sign; if a mirror or the camera was really changed, add "
        f"--{'mirrored' if fit.mirrored else 'not-mirrored'}"
    )


def _refuse_form(fit: Fit) -> None:
    long, short = max(fit.scales), min(fit.scales)
    if long / short - 1 > _ANISOTROPY_TOLERANCE:
        raise CalibrationError(
            f"one axis comes out {100 * (long / short - 1):.1f} % longer than the other "
            f"({fit.scales[0]:.4g} and {fit.scales[1]:.4g}); one point is wrong: teach them again"
        )
    if abs(fit.skew_deg) > _SKEW_TOLERANCE_DEG:
        raise CalibrationError(
            f"the axes are at {90 + fit.skew_deg:.1f} degrees to each other; one point is "
            "wrong: teach them again"
        )


def _refuse_outside_picture(points: NDArray[np.float64], shape: tuple[int, int] | None) -> None:
    if shape is None:
        return
    size = np.array(shape)
    inside = ((points >= -0.5) & (points <= size - 0.5)).all(axis=1)
    if inside.all():
        return
    number = int(np.argmin(inside))
    turned = points[:, ::-1]
    swapped = ((turned >= -0.5) & (turned <= size - 0.5)).all()
    row, column = points[number]
    raise CalibrationError(
        f"point {number + 1} (row {row:g}, column {column:g}) is outside the image of "
        f"{shape[0]} rows and {shape[1]} columns; "
        + ("row and column are swapped" if swapped else "give pixels of the capture as it is saved")
    )


def _refuse_outside_stage(points: NDArray[np.float64], limits: StageLimitsConfig | None) -> None:
    if limits is None:
        return

    def held(moved: NDArray[np.float64]) -> list[bool]:
        return [limits.hold(float(x), float(y)) for x, y in moved]

    inside = held(points)
    if all(inside):
        # A stage as large as 10 cm, all points within a fifth of a millimetre: that is mm.
        span = float(np.ptp(points, axis=0).max())
        reach = max(limits.x[1] - limits.x[0], limits.y[1] - limits.y[0])
        if span < reach / 500 and span > 0 and all(held(points * 1000)):
            raise CalibrationError(
                f"all taught stage positions lie within {span:g} µm, on a stage of {reach:g} µm; "
                "if they are in mm, name the columns x_mm, y_mm"
            )
        return
    number = inside.index(False)
    x, y = points[number]
    if all(held(points[:, ::-1])):
        hint = "x and y are swapped"
    elif all(held(points / 1000)):
        hint = "these look like nm, or the limits stand in mm"
    else:
        hint = "check the point, and the source's stage_limits_um"
    raise CalibrationError(
        f"point {number + 1} (x {x:g}, y {y:g} µm) is outside the stage limits x {limits.x[0]:g} "
        f"to {limits.x[1]:g}, y {limits.y[0]:g} to {limits.y[1]:g}; {hint}"
    )


def _refuse_beside_vessel(points: NDArray[np.float64], vessel: Vessel | None) -> None:
    """Only where it can be told what is wrong: a slide for calibrating may lie anywhere."""
    if vessel is None:
        return

    def on_it(moved: NDArray[np.float64]) -> bool:
        return all(vessel.may_hold(float(x), float(y)) for x, y in moved)

    if on_it(points):
        return
    beside = "the taught stage positions are outside the source's vessel, but inside it "
    if on_it(points[:, ::-1]):
        raise CalibrationError(
            f"{beside}with x and y swapped: swap them, or correct the vessel's centre_um"
        )
    if on_it(points * 1000):
        raise CalibrationError(f"{beside}if they are in mm: name the columns x_mm, y_mm")
