"""A removal plan drawn for a person who must say yes or no. Matplotlib's objects only, no pyplot.

Each capture is drawn as it was taken, with its regions, every hit as large as the tool, the way
from hit to hit, the zone about good cells that nothing touches, and what is refused and why.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from model.classes import CellClass
from monitor.culture import RemovalPlan, Ring, Target
from monitor.outlets.rings import turned
from monitor.outlets.wording import counted

_TARGET = "#ffd400"
_COLONY = "#ff7bac"
_REFUSED = "#e5e7eb"
_SAFE = "#34d399"
_UNCERTAIN = "#f0e442"
_INK = "#1f2937"
_PALE = "#6b7280"
_MOST_FIELDS = 6
_MOST_NUMBERS = 60
_SIDE_IN = 7.0


@dataclass(frozen=True, eq=False)
class DrawnField:
    """One capture of the plan's scan.

    picture : (h, w, 3) uint8, RGB, the whole field of view at any scale; None = not there any more
    labels : (H, W) uint8, values of CellClass; None = not there any more
    """

    capture_sha256: str
    name: str
    shape: tuple[int, int]
    pixel_size_um: float | None
    picture: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint8] | None = None


def draw_plan(plan: RemovalPlan, fields: Sequence[DrawnField]) -> bytes:
    """A field a panel, those with hits first; at most six, and a line says how many are left.

    fields : of the plan's scan
    Returns a PNG.
    """
    hits = {
        one.capture_sha256: sum(
            len(target.hits)
            for target in plan.targets
            if target.capture_sha256 == one.capture_sha256
        )
        for one in fields
    }
    named = {region.capture_sha256 for region in plan.refused} | {
        sha256 for sha256, count in hits.items() if count
    }
    wanted = sorted(
        (one for one in fields if one.capture_sha256 in named),
        key=lambda one: -hits[one.capture_sha256],
    )
    shown = wanted[:_MOST_FIELDS]
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    rows = max(1, math.ceil(len(shown) / columns))
    side = _SIDE_IN if columns == 1 else 5.0
    tall = side * (shown[0].shape[0] / shown[0].shape[1] if shown else 0.3)
    head, foot = 1.0, 1.25
    size = columns * side, rows * (tall + 0.3) + head + foot
    figure = Figure(figsize=size, dpi=110, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for number, one in enumerate(shown):
        row, column = divmod(number, columns)
        axes = figure.add_axes(
            (
                (column * side + 0.08) / size[0],
                (foot + (rows - 1 - row) * (tall + 0.3)) / size[1],
                (side - 0.16) / size[0],
                tall / size[1],
            )
        )
        _draw_field(axes, plan, one)
    _write_head(figure, plan, size[1], len(wanted) - len(shown))
    _write_key(figure, plan, has_overlay=any(one.picture is not None for one in shown))
    content = io.BytesIO()
    canvas.print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _write_head(figure: Figure, plan: RemovalPlan, height: float, not_shown: int) -> None:
    figure.text(
        0.015, 1 - 0.3 / height, f"{_printable(plan.dish)}: removal plan {plan.id}", size=15,
        weight="bold", color=_INK, parse_math=False, va="center",
    )  # fmt: skip
    where = f"{counted(len(plan.visits), 'hit')} in {counted(len(plan.targets), 'region')}"
    area = f"{plan.area_um2 / 1e6:.3f} mm²"
    if plan.covered_um2 is not None:
        area = f"{plan.covered_um2 / 1e6:.3f} of {area} to be removed"
    facts = [
        str(plan.status),
        f"{where}, {area}",
        f"valid until {plan.expires_at:%Y-%m-%d %H:%M} UTC",
    ]
    if not_shown:
        facts.append(f"{not_shown} more fields not shown")
    figure.text(
        0.015, 1 - 0.68 / height, "; ".join(facts), size=10, color=_PALE, parse_math=False,
        va="center",
    )  # fmt: skip


def _write_key(figure: Figure, plan: RemovalPlan, *, has_overlay: bool) -> None:
    handles: list[Line2D | Patch] = [
        Patch(facecolor="none", edgecolor=_TARGET, linewidth=2, label="region to remove")
    ]
    if any(target.whole_colony for target in plan.targets):
        handles.append(
            Patch(facecolor="none", edgecolor=_COLONY, linewidth=2, label="colony to remove whole")
        )
    targeting = plan.targeting
    if targeting is not None:
        handles += [
            Patch(
                facecolor="#fde68a",
                edgecolor="black",
                label=f"hit of {targeting.tool}: removes {targeting.removes_um:g}, touches "
                f"{targeting.touches_um:g} µm",
            ),
            Patch(
                facecolor="none",
                edgecolor=_SAFE,
                linestyle="--",
                label=f"{targeting.safe_distance_um:g} µm around good cells",
            ),
        ]
    handles.append(Line2D([], [], color="black", linewidth=1.2, label="path of the tool"))
    if plan.refused:
        handles.append(
            Patch(facecolor="none", edgecolor=_REFUSED, hatch="///", linestyle=":", label="refused")
        )
    if has_overlay:
        # As `segmentation.overlay` marks it.
        handles.append(
            Patch(facecolor=_PALE, edgecolor=_UNCERTAIN, hatch="////", lw=0, label="uncertain")
        )
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.005, 0.005), ncols=2, frameon=True,
        facecolor="#9ca3af", framealpha=0.35, edgecolor="none", fontsize=10.5,
    )  # fmt: skip


def _draw_field(axes: Axes, plan: RemovalPlan, one: DrawnField) -> None:
    rows, columns = one.shape
    axes.set_title(
        _printable(one.name), size=10.5, color=_PALE, loc="left", pad=3, parse_math=False
    )
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    if one.picture is not None:
        axes.imshow(one.picture, extent=extent, interpolation="antialiased")
    elif one.labels is not None:
        axes.imshow(_as_picture(one.labels), extent=extent, interpolation="nearest")
    else:
        axes.set_facecolor("#9ca3af")
    pixel_size_um = one.pixel_size_um
    if one.labels is not None and plan.targeting is not None and pixel_size_um:
        _draw_safe_zone(axes, one.labels, plan.targeting.safe_distance_um / pixel_size_um)
    for region in plan.refused:
        if region.capture_sha256 == one.capture_sha256 and len(region.polygon_px) > 2:
            outline = _path(region.polygon_px, region.holes_px)
            axes.add_patch(
                PathPatch(outline, fill=False, edgecolor=_REFUSED, hatch="///", ls=":", lw=1.2)
            )
            middle = np.array(region.polygon_px)[:, ::-1].mean(axis=0)
            axes.annotate(
                region.reason, middle, ha="center", va="center", size=8, color="white",
                bbox={"boxstyle": "round,pad=0.15", "fc": "#374151", "ec": "none", "alpha": 0.8},
                annotation_clip=True,
            )  # fmt: skip
    for target in plan.targets:
        if target.capture_sha256 == one.capture_sha256:
            _draw_target(axes, plan, target, pixel_size_um)
    _draw_way(axes, plan, one.capture_sha256)
    if pixel_size_um and one.picture is None:  # a picture brings its own
        _draw_scale_bar(axes, columns, rows, pixel_size_um)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_target(
    axes: Axes, plan: RemovalPlan, target: Target, pixel_size_um: float | None
) -> None:
    colour = _COLONY if target.whole_colony else _TARGET
    axes.add_patch(
        PathPatch(_path(target.polygon_px, target.holes_px), fill=False, edgecolor=colour, lw=1.8)
    )
    numbered = len(plan.visits) <= _MOST_NUMBERS
    for hit in target.hits:
        middle = hit.pick_px[1], hit.pick_px[0]
        if plan.targeting is not None and pixel_size_um:
            touched = plan.targeting.touches_um / 2 / pixel_size_um
            removed = plan.targeting.removes_um / 2 / pixel_size_um
            axes.add_patch(Circle(middle, removed, fc="#fde68a", ec="none", alpha=0.45))
            axes.add_patch(Circle(middle, touched, fill=False, ec="black", lw=0.8))
        else:
            axes.plot(*middle, "x", color="black")
        if numbered:
            axes.annotate(
                str(hit.order), middle, ha="center", va="center", size=8, color="black",
                weight="bold",
            )  # fmt: skip


def _path(shell: Ring, holes: Sequence[Ring]) -> Path:
    """An outline with its holes."""
    rings = [Path([(column, row) for row, column in (*ring, ring[0])], closed=True)
             for ring in turned(shell, holes)]  # fmt: skip
    return Path.make_compound_path(*rings)


def _draw_way(axes: Axes, plan: RemovalPlan, capture_sha256: str) -> None:
    """Hits of this capture that follow one another; the way through others is not its own."""
    line: list[tuple[float, float]] = []
    for target, hit in plan.visits:
        if target.capture_sha256 == capture_sha256:
            line.append((hit.pick_px[1], hit.pick_px[0]))
        else:
            line.append((math.nan, math.nan))
    x, y = zip(*line, strict=True) if line else ((), ())
    axes.plot(x, y, color="black", linewidth=0.9, alpha=0.75)
    known = [point for point in line if not math.isnan(point[0])]
    if known:
        axes.plot(*known[0], "s", color="black", markersize=4)


def _draw_safe_zone(axes: Axes, labels: NDArray[np.uint8], distance_px: float) -> None:
    good = labels == CellClass.UNDIFFERENTIATED
    if not good.any():
        return
    step = max(1, max(labels.shape) // 800)
    far = cv2.distanceTransform((~good).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    far = far[::step, ::step]
    rows, columns = (np.arange(length) * step for length in far.shape)
    if min(far.shape) > 1 and far.max() > distance_px:
        axes.contour(
            columns, rows, far, levels=[distance_px], colors=[_SAFE], linewidths=1.2,
            linestyles="--",
        )  # fmt: skip


def _draw_scale_bar(axes: Axes, columns: int, rows: int, pixel_size_um: float) -> None:
    longest = columns * pixel_size_um / 4
    power = 10.0 ** math.floor(math.log10(longest))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= longest)
    right, bottom = columns * 0.97, rows * 0.965
    left = right - length_um / pixel_size_um
    for colour, width in (("black", 6), ("white", 3)):
        axes.plot([left, right], [bottom, bottom], color=colour, lw=width, solid_capstyle="butt")
    axes.annotate(
        f"{length_um:g} µm", ((left + right) / 2, bottom), xytext=(0, 5),
        textcoords="offset points", ha="center", size=9, color="white",
        bbox={"boxstyle": "round,pad=0.15", "fc": "black", "ec": "none", "alpha": 0.6},
    )  # fmt: skip


def _as_picture(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = np.full((256, 3), 90, np.uint8)
    colours[CellClass.BACKGROUND] = (190, 190, 190)
    colours[CellClass.UNDIFFERENTIATED] = (86, 160, 211)
    colours[CellClass.DIFFERENTIATED] = (222, 139, 76)
    return colours[labels]


def _printable(text: str) -> str:
    kept = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return kept if len(kept) <= 60 else kept[:59] + "…"
