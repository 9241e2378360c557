"""The picture of docs/quality.md: a simulated field, spoilt, and what the program says of each.

    python docs/pictures/draw_quality.py

The verdicts are the program's own; nothing in the picture is written by hand.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from model.simulation.fields import simulate_field

from monitor.capture.quality.consistency import ImageStats, unlike
from monitor.capture.quality.image_quality import judge
from monitor.errors import CaptureError

SIDE_PX = 640
Image = npt.NDArray[np.uint8]
COLOURS = {"fit": "#2a7f3f", "doubtful": "#b36b00", "unreadable": "#b02318"}
MEASURE = {
    "out-of-focus": ("blur_px", "blur {:.1f} px"),
    "very-dark": ("median", "median grey {:.0f}"),
    "partly-saturated": ("clipped_bright", "{:.0%} at the top"),
    "other-modality": ("tilt", "tilt {:+.2f}"),
}


def spoilt(field: Image) -> dict[str, Image]:
    chance = np.random.default_rng(1)
    noise = chance.normal(0, 0.7, field.shape)
    grey = field.astype(np.float32)

    def blurred(sigma: float) -> Image:
        return _to(cv2.GaussianBlur(grey, (0, 0), sigma) + noise)

    half = field.copy()
    half[round(0.6 * len(half)) :] = 0
    return {
        "as taken": field,
        "slightly soft": blurred(0.8),
        "out of focus": blurred(7.0),
        "lamp too low": _to(grey * (14 / np.median(grey)) + noise),
        "too bright": _to(grey * (252 / np.percentile(grey, 90))),
        "other binning": np.ascontiguousarray(field[::2, ::2]),
        "inverted": _to(255 - grey),
        "half written": half,
        "lid closed": _to(grey / 60),
        "overexposed": _to(grey * 3),
        "shutter closed": np.full_like(field, 97),
        "damaged data": chance.integers(0, 256, field.shape).astype(np.uint8),
    }


def _to(picture: npt.NDArray[np.float32]) -> Image:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def verdict(picture: Image, earlier: list[ImageStats]) -> tuple[str, str]:
    """("fit", "doubtful" or "unreadable"; the measure that said so)"""
    try:
        quality = judge(picture)
    except CaptureError as problem:
        return "unreadable", problem.reason
    doubts = (*quality.doubts, *unlike(ImageStats(picture.shape, quality.measures), earlier))
    said = []
    for doubt in doubts:
        name, text = MEASURE.get(doubt, ("", ""))
        said.append(f"{doubt} ({text.format(quality.measures[name])})" if name else doubt)
    return ("doubtful", "\n".join(said)) if doubts else ("fit", "")


def main() -> None:
    shape = (SIDE_PX, SIDE_PX)
    fields = [simulate_field(seed, shape=shape, pixel_size_um=2.0).image for seed in range(4, 16)]
    earlier = [ImageStats(one.shape, judge(one).measures) for one in fields[1:]]
    figure, axes = plt.subplots(2, 6, figsize=(14.6, 6.4), dpi=100)
    for axis, (name, picture) in zip(axes.flat, spoilt(fields[0]).items(), strict=True):
        kind, why = verdict(picture, earlier)
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_color(COLOURS[kind])
            side.set_linewidth(3)
        axis.set_title(name, fontsize=11)
        axis.set_xlabel(f"{kind}\n{why}", fontsize=9.5, color=COLOURS[kind], va="top")
    figure.tight_layout(h_pad=2.2)
    figure.savefig(
        Path(__file__).parent / "quality.jpg", pil_kwargs={"quality": 85, "optimize": True}
    )


if __name__ == "__main__":
    main()
