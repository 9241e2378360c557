"""Image pixels -> stage um -> picker um: the only module that knows all these frames.

Image points are (row, column), pixel centres at whole numbers, row 0 at the top. Stage and picker
points are (x, y) in um; which way x and y run is the stage's own affair and stands in
`pixel_to_stage`. `Affine` knows points of two numbers only, first and second; at an image they are
(column, row). Drawn in docs/geometry.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.culture import StagePosition
from monitor.errors import CalibrationError

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Affine:
    """A shift, turn, flip, scaling and skew of the plane: point -> matrix[:, :2] @ point + shift.

    matrix : 2 x 3; its last column is the shift
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]

    @classmethod
    def of(cls, linear: Matrix, shift: Sequence[float]) -> Affine:
        (a, b), (c, d) = linear
        return cls(((float(a), float(b), float(shift[0])), (float(c), float(d), float(shift[1]))))

    @property
    def linear(self) -> NDArray[np.float64]:
        return np.array(self.matrix)[:, :2]

    @property
    def shift(self) -> NDArray[np.float64]:
        return np.array(self.matrix)[:, 2]

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Move (N, 2) points. Returns (N, 2) float64."""
        moved: NDArray[np.float64] = _points(points) @ self.linear.T + self.shift
        return moved

    def inverse(self) -> Affine:
        """The way back. Raises CalibrationError where there is none."""
        linear = self.linear
        lengths = np.hypot(linear[0], linear[1])
        if abs(float(np.linalg.det(linear))) <= 1e-9 * float(lengths.prod()):
            raise CalibrationError(
                f"the transform {linear.tolist()} maps the plane onto a line; calibrate again"
            )
        back = np.linalg.inv(linear)
        return Affine.of(back.tolist(), (-back @ self.shift).tolist())

    def then(self, other: Affine) -> Affine:
        """First this, then `other`."""
        return Affine.of(
            (other.linear @ self.linear).tolist(),
            (other.linear @ self.shift + other.shift).tolist(),
        )


def field_to_stage(
    *,
    shape: tuple[int, int],
    pixel_size_um: float,
    pixel_to_stage: Matrix,
    centre: StagePosition,
) -> Affine:
    """The same as `image_to_stage` as one transform, (column, row) -> (x, y) in um."""
    step_um = _step_um(pixel_size_um, pixel_to_stage)
    middle, stage = _centres(shape, centre)
    return Affine.of(step_um.tolist(), (stage - step_um @ middle[::-1]).tolist())


def image_to_stage(
    points: ArrayLike,
    *,
    shape: tuple[int, int],
    pixel_size_um: float,
    pixel_to_stage: Matrix,
    centre: StagePosition,
) -> NDArray[np.float64]:
    """Move image points into the stage's frame.

    points : (N, 2), (row, column), pixel centres at whole numbers
    shape : (rows, columns) of the capture; its centre is ((rows - 1) / 2, (columns - 1) / 2)
    pixel_to_stage : (2, 2), (column, row) step -> (x, y) step in pixels; has rotation and flips
    centre : where the centre of the field of view stands
    Returns (N, 2) float64, (x, y) in um.

    Raises CalibrationError where pixel size, matrix or centre cannot give a position.
    """
    step_um = _step_um(pixel_size_um, pixel_to_stage)
    middle, stage = _centres(shape, centre)
    offset = (_points(points) - middle)[:, ::-1]
    return offset @ step_um.T + stage


def stage_to_image(
    points: ArrayLike,
    *,
    shape: tuple[int, int],
    pixel_size_um: float,
    pixel_to_stage: Matrix,
    centre: StagePosition,
) -> NDArray[np.float64]:
    """Move stage points into the image: the inverse of `image_to_stage`.

    points : (N, 2), (x, y) in um
    Returns (N, 2) float64, (row, column); points outside the field fall outside the image.

    Raises CalibrationError where pixel size, matrix or centre cannot give a position.
    """
    step_um = _step_um(pixel_size_um, pixel_to_stage)
    middle, stage = _centres(shape, centre)
    offset = np.linalg.solve(step_um, (_points(points) - stage).T).T
    return offset[:, ::-1] + middle


def _points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"points must be (N, 2), are {array.shape}")
    return array


def _step_um(pixel_size_um: float, pixel_to_stage: Matrix) -> NDArray[np.float64]:
    if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise CalibrationError(
            f"a pixel size of {pixel_size_um} um gives no stage position; set the source's "
            "pixel_size_um to a positive number"
        )
    matrix = np.asarray(pixel_to_stage, dtype=np.float64)
    if matrix.shape != (2, 2) or not np.isfinite(matrix).all():
        raise CalibrationError(
            f"pixel_to_stage must be 2 x 2 numbers, is {pixel_to_stage}; for example "
            "[[1, 0], [0, -1]]"
        )
    if abs(float(np.linalg.det(matrix))) < 1e-6:
        raise CalibrationError(
            f"pixel_to_stage {matrix.tolist()} maps the whole image onto a line; calibrate again"
        )
    return matrix * pixel_size_um


def _centres(
    shape: tuple[int, int], centre: StagePosition
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not (math.isfinite(centre.x_um) and math.isfinite(centre.y_um)):
        raise CalibrationError(
            f"the field's centre ({centre.x_um}, {centre.y_um}) um is not a stage position"
        )
    rows, columns = shape
    return (
        np.array([(rows - 1) / 2, (columns - 1) / 2]),
        np.array([centre.x_um, centre.y_um]),
    )
