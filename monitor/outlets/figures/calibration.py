"""A picture of a fit: where the taught points lie, and by how far the transform misses them."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monitor.culture import CalibrationKind
from monitor.stage.fitting import Fit, Points

_TAUGHT = "#0072b2"
_MISSED = "#d55e00"
_INK = "#1f2937"
_ARROW_SHARE = 0.12  # of the picture, for the longest residual


def plot_residuals(fit: Fit, points: Points, *, title: str) -> bytes:
    """Taught points in the first frame, each with its residual in the second, enlarged.

    Returns a PNG, 800 x 720. In pixels the rows run down, as in the picture.
    """
    camera = fit.kind is CalibrationKind.CAMERA
    table = np.array(points, dtype=np.float64).reshape(-1, 4)
    places = table[:, 1::-1] if camera else table[:, :2]
    length = np.array(fit.residuals_um)
    off = fit.affine.apply(places) - table[:, 2:]
    if camera and float(np.abs(np.hypot(*off.T) - length).max(initial=0.0)) > 1e-3:
        off = fit.affine.apply(places) + table[:, 2:]  # one feature: the stage moves the other way
    # Back into the first frame, so that an arrow points where the transform pulls.
    pulled = off @ np.linalg.inv(fit.affine.linear).T
    reach = float(np.ptp(places, axis=0).max())
    longest = float(np.hypot(*pulled.T).max(initial=0.0))
    # Rounding alone is no residual to be shown.
    enlarged = _ARROW_SHARE * reach / longest if length.max() > 1e-3 else 0.0

    figure = Figure(figsize=(8, 7.2), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.12, 0.1, 0.84, 0.76))
    axes.scatter(places[:, 0], places[:, 1], s=60, color=_TAUGHT, zorder=3)
    for number, (place, pull, miss) in enumerate(zip(places, pulled, length, strict=True), 1):
        if enlarged:
            axes.annotate(
                "",
                xy=place + enlarged * pull,
                xytext=place,
                arrowprops={"arrowstyle": "-|>", "color": _MISSED, "lw": 2},
                zorder=4,
            )
        pulls_down = bool(pull[1] > 0) == camera
        axes.annotate(
            f"{number}: {miss:.2f} µm",
            place,
            xytext=(0, 12 if pulls_down else -20),
            textcoords="offset points",
            ha="center",
            size=12,
            color=_INK,
        )
    _lay_axes(axes, camera=camera)
    figure.text(0.12, 0.945, title, size=15, weight="bold", color=_INK)
    note = ""
    if enlarged:
        note = (
            f"; arrows {enlarged * longest / length.max():.3g} px/µm"
            if camera
            else f"; arrows {enlarged:,.0f} times enlarged"
        )
    _write_fit(figure, fit, note)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _lay_axes(axes: Axes, *, camera: bool) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.22)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.set_xlabel("column, px" if camera else "x, µm on the stage", size=12)
    axes.set_ylabel("row, px (down)" if camera else "y, µm on the stage", size=12)
    if camera:
        axes.invert_yaxis()


def _write_fit(figure: Figure, fit: Fit, note: str) -> None:
    checked = "" if fit.is_checked else "; three points cannot be checked"
    largest = max(fit.residuals_um)
    figure.text(
        0.12,
        0.9,
        f"RMS {fit.rms_um:.2f} µm, largest {largest:.2f} µm{checked}{note}",
        size=12,
        color="#6b7280",
    )
