"""Draws geometry.png for docs/geometry.md:  python docs/pictures/draw_geometry.py

Every place in it is computed with the program's own transforms, so that the drawing cannot say
something else than the code.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon

from monitor.config import VesselConfig
from monitor.culture import StagePosition
from monitor.stage.frames import Affine, field_to_stage
from monitor.stage.vessels import Vessel

INK, PALE, PICK, REGION = "#1f2937", "#9ca3af", "#d55e00", "#f3c9a5"
SHAPE, PIXEL_SIZE_UM = (300, 400), 10.0
TURN = np.deg2rad(12)
# Turned by 12 degrees, rows against y: the camera looks at the dish from below.
PIXEL_TO_STAGE = ((np.cos(TURN), np.sin(TURN)), (np.sin(TURN), -np.cos(TURN)))
CENTRE = StagePosition(23_400.0, 29_300.0)
OUTLINE = [(60, 230), (70, 320), (130, 345), (170, 300), (150, 240), (100, 250)]  # row, column
AIM = (115, 300)
PLATE = Vessel(VesselConfig(kind="96-well", centre_um=(14_400.0, 38_200.0), rows_run="-y"))
DISH = "plate/B2"
PICKER = Affine.of(((0.0, 1.0), (-1.0, 0.0)), (-21_000.0, 60_000.0))


def main() -> None:
    figure, axes = plt.subplots(2, 2, figsize=(12, 10.6), dpi=90)
    figure.subplots_adjust(left=0.08, right=0.97, top=0.94, bottom=0.06, hspace=0.27, wspace=0.22)
    to_stage = field_to_stage(
        shape=SHAPE, pixel_size_um=PIXEL_SIZE_UM, pixel_to_stage=PIXEL_TO_STAGE, centre=CENTRE
    )
    rows, columns = SHAPE
    corners = [(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)]
    outline = [(column, row) for row, column in OUTLINE]
    aim = [(AIM[1], AIM[0])]
    draw_picture(axes[0, 0], corners, outline, aim)
    field, region, pick = (to_stage.apply(points) for points in (corners, outline, aim))
    draw_stage(axes[0, 1], field, region, pick, to_stage)
    draw_well(axes[1, 0], region, pick)
    draw_picker(axes[1, 1], *(PICKER.apply(points) for points in (field, region, pick)))
    figure.savefig(Path(__file__).with_name("geometry.png"))


def draw_picture(ax: Axes, corners, outline, aim) -> None:
    title(
        ax, "1  Picture: (row, column), pixels", "row 0, column 0 is the centre of the first pixel"
    )
    shapes(ax, corners, outline, aim)
    arrow(ax, (0, 0), (120, 0), "column", (130, -4))
    arrow(ax, (0, 0), (0, 100), "row", (-8, 118))
    note(ax, aim[0], f"row {AIM[0]}, column {AIM[1]}", (-150, -75))
    ax.plot(*[(value - 1) / 2 for value in (SHAPE[1], SHAPE[0])], "+", color=INK, ms=14)
    ax.set(xlim=(-40, 440), ylim=(335, -45), xlabel="column, px", ylabel="row, px (down)")


def draw_stage(ax: Axes, field, region, pick, to_stage: Affine) -> None:
    title(
        ax, "2  Stage: (x, y), µm", "the picture's centre lies at the stage position of the capture"
    )
    centre = PLATE.centre_um(DISH)
    ax.add_patch(Circle(centre, PLATE.diameter_um / 2, fill=False, color=PALE, lw=2))
    ax.plot(*centre, "x", color=PALE, ms=10)
    shapes(ax, field, region, pick)
    start, right, down = to_stage.apply([(0, 0), (120, 0), (0, 100)])
    arrow(ax, start, right, "column", (right[0] - 500, right[1] + 260))
    arrow(ax, start, down, "row", (down[0] - 900, down[1] + 40))
    ax.plot(CENTRE.x_um, CENTRE.y_um, "+", color=INK, ms=14)
    note(ax, pick[0], f"x {pick[0][0]:.0f}, y {pick[0][1]:.0f}", (-120, -62))
    ax.set(xlim=(19_000, 27_800), ylim=(25_700, 32_600), xlabel="x, µm", ylabel="y, µm")


def draw_well(ax: Axes, region, pick) -> None:
    title(
        ax, "3  Well: from its centre, µm", "A1 at the top left: x along 1 2 3, y up, against A B C"
    )
    ax.add_patch(Circle((0, 0), PLATE.diameter_um / 2, fill=False, color=PALE, lw=2))
    ax.plot(0, 0, "x", color=PALE, ms=10)
    inside = [PLATE.offset_um(DISH, x, y) for x, y in region]
    aim = PLATE.offset_um(DISH, *pick[0])
    shapes(ax, None, inside, [aim])
    arrow(ax, (0, 0), (1300, 0), "x", (1350, -90))
    arrow(ax, (0, 0), (0, 1300), "y", (-110, 1400))
    note(ax, aim, f"x {aim[0]:+.0f}, y {aim[1]:+.0f}", (-110, -70))
    ax.text(0, -2900, "well B2", ha="center", color=INK, size=12)
    ax.set(xlim=(-4200, 4200), ylim=(-3500, 3500), xlabel="x in the well, µm")
    ax.set_ylabel("y in the well, µm")


def draw_picker(ax: Axes, field, region, pick) -> None:
    title(ax, "4  Picker: (x, y), µm", "its own origin and turn, taught with --kind picker")
    shapes(ax, field, region, pick)
    note(ax, pick[0], f"x {pick[0][0]:.0f}, y {pick[0][1]:.0f}", (-75, 70))
    ax.set(xlim=(4_700, 12_100), ylim=(33_500, 40_000), xlabel="x, µm", ylabel="y, µm")


def shapes(ax: Axes, field, region, pick) -> None:
    if field is not None:
        ax.add_patch(Polygon(field, closed=True, facecolor="#f3f4f6", edgecolor=INK, lw=1.5))
    ax.add_patch(Polygon(region, closed=True, facecolor=REGION, edgecolor=PICK, lw=1.5))
    ax.plot(*pick[0], "o", color=PICK, ms=8)
    ax.set_aspect("equal")
    ax.tick_params(labelsize=9)


def arrow(ax: Axes, start, end, text: str, at) -> None:
    ax.annotate(
        "", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "#0072b2"}
    )
    ax.text(*at, text, size=12, color="#0072b2")


def note(ax: Axes, point, text: str, away) -> None:
    ax.annotate(
        text,
        point,
        xytext=away,
        textcoords="offset points",
        size=12,
        color=INK,
        arrowprops={"arrowstyle": "-", "color": PALE},
    )


def title(ax: Axes, text: str, below: str) -> None:
    ax.set_title(f"{text}\n", loc="left", size=14, weight="bold", color=INK)
    ax.text(0, 1.025, below, transform=ax.transAxes, size=11, color="#6b7280")


if __name__ == "__main__":
    main()
