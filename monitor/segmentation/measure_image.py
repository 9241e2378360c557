"""One image -> all that it shows. What the daemon's worker and `segment` both do, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.burnt_in import BurntIn, find_burnt_in, imaged
from model.classes import CellClass
from model.predict import Segmentation, Segmenter
from model.scale import segment_as
from model.strips import Rows, as_rows
from monitor.capture.formats.image import Image
from monitor.capture.formats.metadata import Said
from monitor.capture.formats.sidecars import check_square
from monitor.capture.names.patterns import PRESETS
from monitor.capture.pixel_size import pixel_size_of
from monitor.capture.quality.image_quality import Quality, judge
from monitor.capture.quality.round_well import RoundWell, find_round_well
from monitor.config import SourceSettings
from monitor.culture import (
    AtScale,
    Colony,
    Doubt,
    DoubtReason,
    FieldAreas,
    NamedParts,
    PixelSize,
    Region,
    ScaleInUse,
)
from monitor.culture.doubt_words import reason_words
from monitor.errors import CaptureError
from monitor.segmentation.assumed_scale import assume_scale
from monitor.segmentation.beside import done_beside
from monitor.segmentation.colonies import (
    MIN_COLONY_UM2,
    Sampler,
    find_colonies,
    find_regions,
    measure_areas,
)
from monitor.segmentation.components import Components
from monitor.segmentation.feeder_layer import without_feeder_layer
from monitor.segmentation.label_maps import encode_label_map
from monitor.segmentation.overlay import Trust, draw_overlay

MIN_REGION_UM2 = 1_000.0
# The same where no pixel size is known: what those areas are at 2 um/px.
MIN_COLONY_PX = 375
MIN_REGION_PX = 250
# A map of the whole image costs a pixel so many times less than a part of one.
_LOOKED_AT = 8
WHOLE_PIXELS = 16_000_000


@dataclass(frozen=True, eq=False)
class MeasuredImage:
    """All that one image shows.

    labels : (H, W) uint8 CellClass values, 255 outside the vessel and where something is burnt in
    components : the connected components that colonies and regions are taken from
    on_feeders : spread cells outside colonies were taken for a feeder layer
    overlay : encoded image with outlines, scale bar and legend
    overlay_width_px : its width; it is drawn at this share of the label map's width
    label_map : encoded label map; `label_maps.label_map_suffix` says as what
    at_scale : as of `FieldMeasurement`
    burnt_in : scale bars, text and the like; None where there are none
    """

    segmentation: Segmentation
    labels: NDArray[np.uint8]
    quality: Quality
    pixel_size: PixelSize
    areas: FieldAreas
    components: Components
    colonies: tuple[Colony, ...]
    regions: tuple[Region, ...]
    overlay: bytes
    overlay_width_px: int
    label_map: bytes
    on_feeders: bool = False
    at_scale: AtScale | None = None
    burnt_in: BurntIn | None = None

    @property
    def doubt(self) -> Doubt:
        """How far the network's reading may be trusted; without an interval where the label map
        has no cells. The interval always holds the label map's own fraction, which is counted on a
        finer grid than the model's.
        """
        found, reasons = self.segmentation.doubt, _reasons(self.segmentation)
        if self.on_feeders:
            # What the interval is of counts the layer's cells, and no model was measured on one.
            return Doubt(reasons)
        return Doubt(
            reasons=reasons,
            interval=_about(found.interval, self.areas.differentiated_fraction),
            kind=found.kind,
            calibrated=found.calibrated,
        )


def _about(
    interval: tuple[float, float] | None, fraction: float | None
) -> tuple[float, float] | None:
    if interval is None or fraction is None:
        return None
    return min(interval[0], fraction), max(interval[1], fraction)


@dataclass(frozen=True)
class OverlayStyle:
    """How the overlay of an image is drawn.

    max_side_px : of the overlay; None: as large as the image
    encode : (h, w, 3) uint8, BGR -> the content of its file
    """

    title: str
    max_side_px: int | None
    encode: Callable[[NDArray[np.uint8]], bytes]


def measure_image(
    segmenter: Segmenter,
    image: Image,
    *,
    named: NamedParts | None,
    sidecar: Said | None,
    settings: SourceSettings,
    shown: str,
    style: OverlayStyle,
    override_um: float | None = None,
    scales: Sequence[ScaleInUse] = (),
) -> MeasuredImage:
    """Judge and segment an image, measure what it shows, and draw it.

    named, sidecar, override_um : as for `pixel_size_of`
    shown : the name of the image's file, for messages; where it names the objective, its scale
        is that of other images with the same
    scales : of its source, for an image of which nothing says the pixel size
    Raises CaptureError where the image is not fit to be judged.
    """
    # Long by what it hands on, not by what it decides.
    if sidecar is not None and override_um is None:
        check_square(sidecar, image.pixel_size_um, shown)
    well = _well_of(image, named, shown)
    shape = as_rows(image.pixels).shape
    inside = well.inside_rows(shape) if well is not None else None
    burnt_in = find_burnt_in(image.pixels, inside)
    quality = _judged(image, inside, burnt_in, shown)
    size = pixel_size_of(
        image,
        named=named,
        sidecar=sidecar,
        settings=settings,
        well=well,
        override_um=override_um,
    )
    segmentation, at_scale = _segmented(
        segmenter, image, size, imaged(inside, burnt_in), shown, scales
    )
    size = size.or_assumed(segmentation.assumed_pixel_size_um)
    if min(shape) * (size.um or 0) < segmenter.window_um:
        # The model never saw a whole window of it; what it says there is a guess.
        quality = replace(quality, doubts=(*quality.doubts, "too-small"))
    labels = segmentation.labels
    if settings.feeder_layer:
        labels = without_feeder_layer(labels, size)
    areas = measure_areas(labels)
    trust = Trust(
        segmentation.probabilities.max(axis=0),
        (*quality.doubts, *reason_words(Doubt(_reasons(segmentation)))),
    )
    with done_beside(_draw, image, labels, size, areas, style, trust) as drawn:
        components = Components(labels)
        colonies, regions = _found(segmentation, components, size.known_um)
    overlay, overlay_width_px, label_map = drawn.result()
    return MeasuredImage(
        segmentation=segmentation,
        labels=labels,
        quality=quality,
        pixel_size=size,
        areas=areas,
        components=components,
        colonies=colonies,
        regions=regions,
        overlay=overlay,
        overlay_width_px=overlay_width_px,
        label_map=label_map,
        on_feeders=settings.feeder_layer,
        at_scale=at_scale,
        burnt_in=burnt_in,
    )


def _segmented(
    segmenter: Segmenter,
    image: Image,
    size: PixelSize,
    counted: Rows | None,
    shown: str,
    scales: Sequence[ScaleInUse],
) -> tuple[Segmentation, AtScale | None]:
    """What the model says, and at which scale where nothing says the pixel size.

    counted : what lies inside the vessel with nothing burnt in
    """
    if size.um is None:
        assumed = assume_scale(segmenter, image.pixels, counted, name=shown, scales=scales)
        if assumed is not None:
            found = segment_as(segmenter, image.pixels, assumed.um, counted)
            return found, assumed.at_scale
    return segmenter.segment(image.pixels, size.um, inside=counted), None


def _reasons(segmentation: Segmentation) -> tuple[DoubtReason, ...]:
    return tuple(DoubtReason(reason.value) for reason in segmentation.doubt.reasons)


def _well_of(image: Image, named: NamedParts | None, shown: str) -> RoundWell | None:
    """The round well that an image shows whole.

    Raises CaptureError where the name promises one and none is there: the dark outside would count
    as culture.
    """
    well = find_round_well(image.pixels)
    preset = None if named is None else PRESETS.get(named.pattern)
    if preset is not None and preset.whole_well and well is None:
        raise CaptureError(
            f"{shown}: by its name it shows a whole round well, and no rim was found; "
            "check the image, or choose another preset in the source's `names`",
            reason="no-well",
        )
    return well


def _judged(image: Image, inside: Rows | None, burnt_in: BurntIn | None, shown: str) -> Quality:
    try:
        return judge(image.pixels, inside, burnt_in)
    except CaptureError as problem:
        raise CaptureError(
            f"{shown}: {problem}", reason=problem.reason, transient=problem.transient
        ) from problem


def _found(
    segmentation: Segmentation, components: Components, pixel_size_um: float | None
) -> tuple[tuple[Colony, ...], tuple[Region, ...]]:
    """Colonies, and the differentiated regions that name theirs."""
    least_px = region_limit_px(pixel_size_um)
    colonies = find_colonies(components, min_area_px=colony_limit_px(pixel_size_um))
    probability = _differentiated_probability(segmentation, components, least_px)
    regions = find_regions(components, probability, min_area_px=least_px, colonies=colonies)
    return colonies, regions


def colony_limit_px(pixel_size_um: float | None) -> int:
    """Pixels that a colony has at least."""
    return _pixels(MIN_COLONY_UM2, pixel_size_um, MIN_COLONY_PX)


def region_limit_px(pixel_size_um: float | None) -> int:
    """Pixels that a differentiated region has at least."""
    return _pixels(MIN_REGION_UM2, pixel_size_um, MIN_REGION_PX)


def _pixels(area_um2: float, pixel_size_um: float | None, unknown: int) -> int:
    return unknown if pixel_size_um is None else max(1, round(area_um2 / pixel_size_um**2))


def _differentiated_probability(
    segmentation: Segmentation, components: Components, min_area_px: int
) -> NDArray[np.float32] | Sampler:
    """What `find_regions` asks for: whole where most of it is looked at, else on demand."""
    count = components.differentiated.count_at_least(min_area_px)
    top, left, bottom, right = components.differentiated.boxes[:, 1 : count + 1]
    looked_at = int(((bottom - top) * (right - left)).sum())
    if segmentation.shape[0] * segmentation.shape[1] < min(_LOOKED_AT * looked_at, WHOLE_PIXELS):
        return segmentation.probability(CellClass.DIFFERENTIATED)
    return partial(segmentation.probability_at, CellClass.DIFFERENTIATED)


def _draw(
    image: Image,
    labels: NDArray[np.uint8],
    size: PixelSize,
    areas: FieldAreas,
    style: OverlayStyle,
    trust: Trust,
) -> tuple[bytes, int, bytes]:
    """Overlay, its width, label map; what goes into a file, encoded."""
    overlay = draw_overlay(
        image.pixels,
        labels,
        pixel_size_um=size.um,
        title=style.title,
        max_side=style.max_side_px,
        assumed=size.known_um is None,
        areas=areas,
        trust=trust,
    )
    return style.encode(overlay), overlay.shape[1], encode_label_map(labels)
