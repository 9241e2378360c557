import cv2
import numpy as np
import pytest

from monitor.culture import CalibrationKind
from monitor.outlets.figures.calibration import plot_residuals
from monitor.stage.fitting import fit_points

CAMERA, PICKER = CalibrationKind.CAMERA, CalibrationKind.PICKER
POINTS = [
    (100.0, 150.0, 4_000.0, 7_000.0),
    (100.0, 1850.0, 7_404.0, 7_000.0),
    (1400.0, 150.0, 4_000.0, 4_400.0),
    (1400.0, 1850.0, 7_400.0, 4_405.0),
]
AT_PICKER = [
    (2_000.0, 3_000.0, -3_000.0, 2_000.0),
    (98_000.0, 3_000.0, -3_000.0, 98_000.0),
    (2_000.0, 70_000.0, -70_000.0, 2_000.0),
    (98_000.0, 70_000.0, -70_003.0, 98_000.0),
]


@pytest.mark.parametrize(
    ("name", "kind", "points", "settings"),
    [
        ("camera", CAMERA, POINTS, {}),
        ("one feature", CAMERA, [(r, c, -x, -y) for r, c, x, y in POINTS], {"one_feature": True}),
        ("three points, no residual", CAMERA, POINTS[:3], {}),
        ("picker", PICKER, AT_PICKER, {}),
    ],
)
def test_a_fit_is_drawn_whatever_was_taught(name, kind, points, settings):
    fit = fit_points(kind, points, **settings)
    content = plot_residuals(fit, points, title="camera calibration of incubator")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (720, 800, 3)


def test_arrows_are_drawn_where_there_is_something_to_see():
    def orange(points):
        content = plot_residuals(fit_points(CAMERA, points), points, title="a")
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        return int((np.abs(picture.astype(int) - (0, 94, 213)).max(axis=2) < 40).sum())

    assert orange(POINTS) > 500
    assert orange(POINTS[:3]) == 0
