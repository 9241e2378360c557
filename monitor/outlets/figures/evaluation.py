"""A model's measurement to read: an HTML file with all pictures in it, JSON and CSV."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass, has_class
from monitor.host.atomic_files import write_whole
from monitor.outlets.figures.raters import (
    PAIRS,
    comparison_in_words,
    draw_raters,
    raters_in_words,
)
from monitor.outlets.spreadsheets import as_csv, plain_cell

HTML, JSON, CSV = "report.html", "report.json", "fields.csv"
CLASSES = ("background", "undifferentiated", "differentiated")

_COLOURS = {"background": "#6b7280", "undifferentiated": "#56b4e9", "differentiated": "#d55e00"}
_INK, _GRID = "#1f2937", "#e5e7eb"
_SHOWN_FIELDS = 40
_FEW_IMAGES = 10


@dataclass(frozen=True, eq=False)
class FieldImages:
    """JPEG bytes of one field: as labelled, as found, and where the two differ."""

    truth: bytes
    found: bytes
    wrong: bytes


def draw_differences(
    overlay: NDArray[np.uint8], truth: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Where found and labelled classes differ, in the colour of what was found; the rest pale.

    overlay : (h, w, 3) uint8 BGR, the field's picture at any size
    truth, labels : (H, W) uint8; 255 is neither right nor wrong. Where it is only labelled that
        nothing is differentiated, what is called so is wrong, and all else neither
    """
    size = (overlay.shape[1], overlay.shape[0])
    true, said = (cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in (truth, labels))
    picture = (overlay * 0.35 + 255 * 0.65).astype(np.uint8)
    known = has_class(true) & (said != UNKNOWN)
    known |= (true == NOT_DIFFERENTIATED) & (said == CellClass.DIFFERENTIATED)
    for value, name in enumerate(CLASSES):
        red, green, blue = bytes.fromhex(_COLOURS[name][1:])
        picture[known & (true != said) & (said == value)] = (blue, green, red)
    picture[~known] = (215, 215, 215)
    return picture


def write_report(
    folder: Path, document: Mapping[str, Any], pictures: Mapping[str, FieldImages]
) -> Path:
    """Write report.html, report.json and fields.csv into a folder; returns the HTML file.

    document : JSON form of `model.evaluate.Evaluation`
    pictures : by field name
    Raises OSError.
    """
    write_whole(folder / JSON, (json.dumps(document, indent=2) + "\n").encode())
    write_whole(folder / CSV, fields_csv(document["fields"]).encode())
    write_whole(folder / HTML, report_html(document, pictures).encode())
    return folder / HTML


def fields_csv(fields: Sequence[Mapping[str, Any]]) -> str:
    """A line a field; what is undefined is empty."""
    columns = [name for name in fields[0] if name != "jaccard"]
    rows = [[*columns, *(f"jaccard_{name}" for name in CLASSES)]]
    for one in fields:
        values = [one[name] for name in columns] + [one["jaccard"][name] for name in CLASSES]
        rows.append([plain_cell(value) for value in values])
    return as_csv(rows)


def _how_wrong(one: Mapping[str, Any]) -> float:
    """Of a field: its wrong pixels, else how wrong its fraction is; -1 where neither is known."""
    known = (one["pixel_error"], one["fraction_error"])
    return next((float(error) for error in known if error is not None), -1.0)


def report_html(document: Mapping[str, Any], pictures: Mapping[str, FieldImages]) -> str:
    """The report as one self-contained page; the worst fields come first."""
    fields = sorted(document["fields"], key=_how_wrong, reverse=True)
    page = Environment(
        loader=PackageLoader("monitor.outlets"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
    ).get_template("evaluation.html.j2")
    shown = [one for one in fields if one["name"] in pictures][:_SHOWN_FIELDS]
    counts = np.array(document["confusion"], dtype=float)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    return page.render(
        document=document,
        classes=CLASSES,
        summary=summary(document),
        pairs=PAIRS,
        of_raters=raters_in_words(document),
        raters=None if document["raters"] is None else _plot(draw_raters, document),
        shares=[[None if math.isnan(v) else v for v in row] for row in shares.tolist()],
        fields=fields,
        shown=[(one, _inline_all(pictures[one["name"]])) for one in shown],
        left_out=len(fields) - len(shown),
        reliability=_plot(_draw_reliability, document),
        fractions=_plot(_draw_fractions, document),
        uncertainty=_plot(_draw_uncertainty, document),
        number=_number,
        percent=_percent,
        interval=_interval,
    )


def summary(document: Mapping[str, Any]) -> list[str]:
    """What the numbers say, in sentences for someone who knows cells and not networks."""
    images, mean = document["images"], document["mean_jaccard"]
    if mean is None:
        fractions = _on_fractions(document)
        what = "only the differentiated fraction" if fractions else "nothing"
        return [
            f"No pixel of these images has a known class, so {what} could be measured.",
            *fractions,
        ]
    low, high = document["mean_jaccard_interval"]
    spread = f"; between {low:.0%} and {high:.0%} for other images like these" if images > 1 else ""
    told = [
        f"Over {images} image{'s' if images != 1 else ''}, what the model outlines and what the "
        f"labels outline share {mean:.0%} of their joint area (mean Jaccard of the "
        f"classes{spread}).",
        _on_the_weakest_class(document),
        *_on_fractions(document),
        *_on_calibration(document),
    ]
    rank = document["uncertainty_tells_error"]
    if rank is not None and images >= _FEW_IMAGES:
        often = "also more often wrong" if rank > 0.3 else "not clearly more often wrong"
        told.append(
            f"Where it is more uncertain it is {often} (rank correlation over the images "
            f"{rank:.2f})."
        )
    told += comparison_in_words(document)
    if images < _FEW_IMAGES:
        told.append(
            f"{images} images are few: judge by the images below, and label more before "
            "relying on the numbers."
        )
    assumed = sum(one["assumed_pixel_size_um"] is not None for one in document["fields"])
    if assumed:
        told.append(
            f"For {assumed} of the images the pixel size is unknown and was assumed; give it "
            "(--pixel-size-um, or pixel_size_um.csv) for a fairer measurement."
        )
    return told


def _on_the_weakest_class(document: Mapping[str, Any]) -> str:
    scored = {name: value for name, value in document["jaccard"].items() if value is not None}
    worst = min(scored, key=lambda name: scored[name])
    counts = np.array(document["confusion"])
    index = CLASSES.index(worst)
    true, said, hit = counts[index].sum(), counts[:, index].sum(), counts[index, index]
    if true == 0:
        return (
            f"No image has {worst} regions; {said / counts.sum():.1%} of the area is wrongly "
            "called that, which alone makes this class 0 and pulls the mean down."
        )
    missed, wrongly = counts[index].copy(), counts[:, index].copy()
    missed[index] = wrongly[index] = -1
    told = f"The weakest class is {worst} ({scored[worst]:.0%}): {1 - hit / true:.0%} of its true "
    told += f"area is missed, mostly as {CLASSES[int(missed.argmax())]}"
    if said == 0:
        return f"{told}; nothing at all was called that."
    return (
        f"{told}, and {1 - hit / said:.0%} of what is called that is something else, mostly "
        f"{CLASSES[int(wrongly.argmax())]}."
    )


def _on_fractions(document: Mapping[str, Any]) -> list[str]:
    error = document["mean_fraction_error"]
    if error is None:
        return []
    pairs = [
        (one["true_differentiated_fraction"], one["differentiated_fraction"])
        for one in document["fields"]
    ]
    signed = [found - true for true, found in pairs if None not in (true, found)]
    lean = float(np.mean(signed)) if signed else 0.0
    side = "to either side alike"
    if abs(lean) > 0.01:
        side = f"on the whole too {'high' if lean > 0 else 'low'} ({100 * lean:+.1f})"
    return [
        "The differentiated share of a field, which alerts rest on, is off by "
        f"{100 * error:.1f} percentage points on average, {side}."
    ]


def _on_calibration(document: Mapping[str, Any]) -> list[str]:
    ece, said = document["expected_calibration_error"], document["reliability"]
    if ece is None:
        return []
    over = sum(
        (confidence - accuracy) * pixels
        for confidence, accuracy, pixels in zip(
            said["confidence"], said["accuracy"], said["pixels"], strict=True
        )
        if pixels
    )
    verdict = "they can be taken at face value"
    if ece > 0.05:
        verdict = f"it is {'surer' if over > 0 else 'less sure'} than it should be"
    return [
        f"Its probabilities are off by {100 * ece:.1f} percentage points on average: {verdict}."
    ]


# ------------------------------------------------------------------------------------- plots


def _plot(draw: Any, document: Mapping[str, Any]) -> str:
    figure = Figure(figsize=(4.6, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    draw(axes, document)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return _inline(data.getvalue(), "png")


def _draw_reliability(axes: Axes, document: Mapping[str, Any]) -> None:
    said = document["reliability"]
    places = [i for i, n in enumerate(said["pixels"]) if n]
    total = max(1, sum(said["pixels"]))
    axes.plot(
        [0.3, 1], [0.3, 1], color="#9ca3af", linewidth=1, linestyle="--", label="as it should be"
    )
    confidence = [said["confidence"][i] for i in places]
    accuracy = [said["accuracy"][i] for i in places]
    sizes = [12 + 300 * said["pixels"][i] / total for i in places]
    axes.plot(confidence, accuracy, color=_COLOURS["undifferentiated"], linewidth=1.2)
    axes.scatter(confidence, accuracy, s=sizes, color=_COLOURS["undifferentiated"], edgecolor=_INK,
                 linewidth=0.6, label="found (size: pixels)")  # fmt: skip
    axes.set(xlim=(0.3, 1.03), ylim=(0, 1.05), xlabel="probability of the class that won",
             ylabel="share of pixels where it is right")  # fmt: skip
    axes.legend(fontsize=8, loc="lower right", frameon=False, markerscale=0.6)


def _draw_fractions(axes: Axes, document: Mapping[str, Any]) -> None:
    pairs = [
        (one["true_differentiated_fraction"], one["differentiated_fraction"])
        for one in document["fields"]
        if one["true_differentiated_fraction"] is not None
    ]
    axes.plot([0, 1], [0, 1], color="#9ca3af", linewidth=1, linestyle="--")
    axes.fill_between([0, 1], [-0.03, 0.97], [0.03, 1.03], color=_GRID, label="within 3 points")
    sure = [(t, f) for t, f in pairs if f is not None]
    if sure:
        _dots(axes, sure, _COLOURS["differentiated"])
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="differentiated share, as labelled",
             ylabel="differentiated share, as found")  # fmt: skip
    axes.legend(fontsize=8, loc="upper left", frameon=False)


def _draw_uncertainty(axes: Axes, document: Mapping[str, Any]) -> None:
    pairs = [
        (one["uncertainty"], one["pixel_error"])
        for one in document["fields"]
        if one["pixel_error"] is not None
    ]
    if pairs:
        _dots(axes, pairs, "#0072b2")
    axes.set(xlabel="uncertainty of the field", ylabel="share of wrong pixels")
    axes.set_xlim(0, 1.1 * max((unsure for unsure, _ in pairs), default=1.0) or 1.0)
    axes.set_ylim(0, 1.1 * max((wrong for _, wrong in pairs), default=1.0) or 1.0)


def _dots(axes: Axes, pairs: Sequence[tuple[float, float]], colour: str) -> None:
    across, up = zip(*pairs, strict=True)
    axes.scatter(across, up, s=26, color=colour, edgecolor=_INK, linewidth=0.5, alpha=0.85)


def _inline_all(one: FieldImages) -> dict[str, str]:
    return {name: _inline(getattr(one, name), "jpeg") for name in ("truth", "found", "wrong")}


def _inline(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(values: Sequence[float | None], told: Callable[[float | None], str]) -> Markup:
    """In small print; nothing where there is none."""
    low, high = values
    if low is None or high is None:
        return Markup()
    return Markup("<small>{} to {}</small>").format(told(low), told(high))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
