"""What ImageJ writes into a TIFF's description: channels, heights, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.capture.formats.image import ONE_EACH, choose_channel, refuse
from monitor.capture.formats.metadata import square_pixel_um, um_of
from monitor.capture.formats.ome_xml import whole_number


def imagej_settings(description: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in description.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def imagej_pages(settings: Mapping[str, str], pages: int, channel: str | None) -> list[int]:
    channels, slices, frames = (
        whole_number(settings.get(name, "1")) for name in ("channels", "slices", "frames")
    )
    images = whole_number(settings.get("images", "1"))
    if images > pages:
        refuse("truncated", f"declares {images} planes and has {pages}")
    if frames > 1:
        refuse("unsupported", f"holds {frames} time points; one per file is read", ONE_EACH)
    if channels < 1 or channels * slices > pages:
        return list(range(pages))
    chosen = choose_channel([], channels, channel) if channels > 1 else 0
    return [z * channels + chosen for z in range(max(1, slices))]


def imagej_pixel_size_um(settings: Mapping[str, str], page: Any) -> float | None:
    """Raises NotSquareError."""
    unit = settings.get("unit", "")
    sides = [
        _imagej_step_um(settings.get(f"{axis}unit", unit), page.tags.valueof(tag))
        for axis, tag in (("x", 282), ("y", 283))
    ]
    return square_pixel_um(*sides)


def _imagej_step_um(unit: str, resolution: Any) -> float | None:
    # ImageJ writes the unit "inch" for any picture that came with dots per inch.
    factor = None if unit in ("", "in", "inch") else um_of(unit)
    if factor is None or not resolution or min(resolution) <= 0:
        return None
    pixels, units = resolution
    # The fraction carries about seven digits.
    return float(f"{factor * units / pixels:.7g}")
