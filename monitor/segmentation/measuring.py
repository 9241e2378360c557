"""One capture -> its measurement. The only user of `model.predict`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.classes import CellClass
from model.predict import ModelError, Segmentation, Segmenter
from model.strips import Rows, as_rows, in_strips
from monitor.capture.filesets import is_bundle, look_at_file, read_file, written_ns
from monitor.capture.formats.image import Picture
from monitor.capture.formats.metadata import Said
from monitor.capture.formats.reading import open_picture
from monitor.capture.formats.sidecars import beside_hash, check_square, read_beside
from monitor.capture.formats.tiff_rows import LARGE_PIXELS, FileBytes
from monitor.capture.names.light import NO_CHANNEL, Channel, Light
from monitor.capture.names.patterns import (
    PRESETS,
    channel_text,
    left_out_channel,
    light_in,
    shown_name,
)
from monitor.capture.quality.image_quality import Quality, judge
from monitor.capture.quality.round_well import find_round_well
from monitor.config import RemovalConfig, SourceSettings
from monitor.culture import Aim, Colony, FieldAreas, FieldMeasurement, Region
from monitor.culture.local_times import is_by_zone
from monitor.errors import CaptureError, LeftOutError, ModelRefusedError
from monitor.host.allocator import keep_freed_memory
from monitor.host.atomic_files import write_whole
from monitor.segmentation.colonies import (
    MIN_COLONY_UM2,
    Sampler,
    find_colonies,
    find_regions,
    measure_areas,
)
from monitor.segmentation.components import Pieces
from monitor.segmentation.label_maps import encode_label_map, label_map_suffix
from monitor.segmentation.overlay import draw_overlay, encode_jpeg, encode_png
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import doubt_map_name, doubts_of

MIN_REGION_UM2 = 1_000.0
# The same where no pixel size is known: what those areas are at 2 um a pixel.
MIN_COLONY_PX = 375
MIN_REGION_PX = 250
OVERLAY_SIDE_PX = 1600
# A map of the whole picture costs a pixel so many times less than a part of one.
_LOOKED_AT = 8
WHOLE_PIXELS = 16_000_000
# Larger files are hashed and decoded in two passes and so never held whole in memory.
IN_MEMORY_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Field:
    """A segmented picture. labels : (H, W) uint8 CellClass values, 255 outside the vessel."""

    picture: Picture
    segmentation: Segmentation
    labels: np.ndarray
    quality: Quality
    pixel_size_um: float | None
    pixel_size_from: str | None


def load_segmenter(model: str, threads: int | None) -> Segmenter:
    """The starter model, or the one in the folder `model`. Raises ModelRefusedError."""
    keep_freed_memory()
    try:
        return Segmenter.load(None if model == "starter" else Path(model), threads=threads)
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem


def segment_picture(
    segmenter: Segmenter,
    picture: Picture,
    *,
    named_size_um: float | None,
    settings: SourceSettings,
    shown: str,
    beside_size_um: float | None = None,
    whole_well: bool = False,
) -> Field:
    """Judge and segment one picture.

    The pixel size is taken from the instrument's metadata, else from a side-car, else from the
    name, else from the settings, else from the diameter of a round well that the picture shows
    whole.

    shown : the picture's name, for messages
    whole_well : the name promises a picture of a whole well; without its rim the dark outside
        would count as culture

    Raises CaptureError where the picture is not fit to be judged.
    """
    well = find_round_well(picture.pixels)
    if whole_well and well is None:
        raise CaptureError(
            f"{shown}: by its name it shows a whole round well, and no rim of one was found; look "
            "at the picture, or choose another preset in the source's `names`",
            reason="no-well",
        )
    shape = as_rows(picture.pixels).shape
    inside = well.inside_rows(shape) if well is not None else None
    try:
        quality = judge(picture.pixels, inside)
    except CaptureError as problem:
        raise CaptureError(
            f"{shown}: {problem}", reason=problem.reason, transient=problem.transient
        ) from problem
    size, size_from = None, None
    if picture.pixel_size_um is not None:
        size, size_from = picture.pixel_size_um, "metadata"
    elif beside_size_um is not None:
        size, size_from = beside_size_um, "side-car"
    elif named_size_um is not None:
        size, size_from = named_size_um, "name"
    elif settings.pixel_size_um is not None:
        size, size_from = settings.pixel_size_um, "source"
    elif well is not None and settings.well_diameter_mm is not None:
        size, size_from = settings.well_diameter_mm * 1000 / (2 * well.radius_px), "well"
    segmentation = segmenter.segment(picture.pixels, size, inside=inside)
    if min(shape) * (size or segmentation.assumed_pixel_size_um or 0) < (segmenter.window_um):
        # The model never saw a whole window of it; what it says there is a guess.
        quality = replace(quality, doubts=(*quality.doubts, "too-small"))
    return Field(picture, segmentation, segmentation.labels, quality, size, size_from)


def measure(segmenter: Segmenter, request: FieldRequest) -> FieldMeasurement:
    """Read, judge and segment one capture; write its overlay and label map; say what it shows.

    Raises CaptureError; with reason "changed" where the file holds other bytes by now.
    """
    began = time.monotonic()
    with _claimed(request) as (picture, mtime):
        return _measure(segmenter, request, picture, mtime, began)


def _measure(
    segmenter: Segmenter,
    request: FieldRequest,
    picture: Picture,
    mtime: datetime,
    began: float,
) -> FieldMeasurement:
    named, settings = request.named, request.settings
    beside = read_beside(request.path, named.pattern, settings.zone, named.channel) or Said()
    said = _refuse_left_out(request, picture, beside)
    check_square(beside, picture.pixel_size_um, shown_name(request.path))
    preset = PRESETS.get(named.pattern)
    field = segment_picture(
        segmenter,
        picture,
        named_size_um=named.pixel_size_um,
        settings=settings,
        shown=shown_name(request.path),
        beside_size_um=beside.pixel_size_um,
        whole_well=preset is not None and preset.whole_well,
    )
    acquired_at, acquired_at_from = mtime, "mtime"
    if picture.acquired_at is not None:
        acquired_at, acquired_at_from = picture.acquired_at, "metadata"
    elif beside.acquired_at is not None:
        acquired_at, acquired_at_from = beside.acquired_at, "side-car"
    elif named.acquired_at is not None:
        acquired_at, acquired_at_from = named.acquired_at, "name"
    acquired_at = _within_reach(acquired_at)
    stage = picture.stage if picture.stage is not None else named.stage
    labels, size = field.labels, field.pixel_size_um
    stem = _stem(request, acquired_at)
    overlay = f"overlays/{stem}.jpg"
    label_map = f"labels/{stem}{label_map_suffix(labels)}"
    title = f"{named.dish}   {acquired_at:%Y-%m-%d %H:%M} UTC"
    with ThreadPoolExecutor(1, thread_name_prefix="drawing") as beside_us:
        areas = measure_areas(labels)
        written = beside_us.submit(
            _write_pictures, field, areas, request, overlay, label_map, title
        )
        pieces = Pieces(labels)
        colonies = find_colonies(pieces, min_area_px=colony_limit_px(size))
        regions = find_regions(
            pieces,
            differentiated_probability(field.segmentation, pieces, region_limit_px(size)),
            min_area_px=region_limit_px(size),
            colonies=colonies,
        )
        aims = _aims(field, pieces, regions, colonies, request.removal)
        if regions:
            doubts = encode_png(doubts_of(field.segmentation.probabilities))
            _write(request, {doubt_map_name(label_map): doubts})
        written.result()
    return FieldMeasurement(
        shape=(labels.shape[0], labels.shape[1]),
        areas=areas,
        colonies=colonies,
        regions=regions,
        uncertainty=field.segmentation.uncertainty,
        model_name=segmenter.name,
        model_sha256=segmenter.sha256,
        settings_sha256=request.settings_sha256,
        acquired_at=acquired_at.astimezone(UTC),
        acquired_at_from=acquired_at_from,
        zone=settings.timezone if is_by_zone(acquired_at) else None,
        pixel_size_um=size,
        pixel_size_from=field.pixel_size_from,
        assumed_pixel_size_um=field.segmentation.assumed_pixel_size_um,
        stage=stage,
        overlay=overlay,
        label_map=label_map,
        quality=field.quality.measures,
        doubts=field.quality.doubts,
        took_s=time.monotonic() - began,
        fingerprint=_fingerprint(picture.pixels),
        aims=aims,
        aiming=None if size is None else request.removal.aiming,
        beside=beside_hash(beside, picture.beside),
        in_transmitted_light=light_in(named, said) is Light.TRANSMITTED,
    )


# Times beyond these are as wrong as these are, and nothing can be added to the last of all years.
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _within_reach(moment: datetime) -> datetime:
    """A time, or the nearest that can be reckoned with; the record calls it doubtful either way."""
    if _FIRST.year <= moment.year < _LAST.year:
        return moment
    return _FIRST if moment.year < _FIRST.year else _LAST


def _refuse_left_out(request: FieldRequest, picture: Picture, beside: Said) -> Channel:
    """By what the bytes themselves say of their channel, whatever was known when they came.

    Returns that. Raises LeftOutError.
    """
    said = picture.channel
    if said.light is None and beside.channel != NO_CHANNEL:
        said = beside.channel
    why = left_out_channel(request.named, request.settings, said)
    if why is None and not picture.is_chosen:
        why = channel_text(request.named, said)
    if why is not None:
        raise LeftOutError(
            f"{shown_name(request.path)}: is of {why}, which the source's settings leave out", why
        )
    return said


def differentiated_probability(
    segmentation: Segmentation, pieces: Pieces, min_area_px: int
) -> NDArray[np.float32] | Sampler:
    """What `find_regions` asks for: whole where most of it is looked at, else on demand."""
    count = pieces.differentiated.count_at_least(min_area_px)
    top, left, bottom, right = pieces.differentiated.boxes[:, 1 : count + 1]
    looked_at = int(((bottom - top) * (right - left)).sum())
    if segmentation.shape[0] * segmentation.shape[1] < min(_LOOKED_AT * looked_at, WHOLE_PIXELS):
        return segmentation.probability(CellClass.DIFFERENTIATED)
    return partial(segmentation.probability_at, CellClass.DIFFERENTIATED)


def _write_pictures(
    field: Field, areas: FieldAreas, request: FieldRequest, overlay: str, label_map: str, title: str
) -> None:
    """Overlay and label map into the state folder. Raises CaptureError where that cannot be."""
    size = field.pixel_size_um
    image = draw_overlay(
        field.picture.pixels,
        field.labels,
        pixel_size_um=size or field.segmentation.assumed_pixel_size_um,
        title=title,
        max_side=OVERLAY_SIDE_PX,
        assumed=size is None,
        areas=areas,
    )
    _write(request, {label_map: encode_label_map(field.labels), overlay: encode_jpeg(image)})


def _write(request: FieldRequest, pictures: Mapping[str, bytes]) -> None:
    """Files into the state folder. Raises CaptureError where that cannot be."""
    try:
        for name, content in pictures.items():
            write_whole(request.state_folder / name, content)
    except OSError as problem:
        raise CaptureError(
            f"{shown_name(request.path)}: its overlay cannot be written to {request.state_folder} "
            f"({problem.strerror}); tried again by itself",
            reason="state-folder",
            transient=True,
        ) from problem


def _aims(
    field: Field,
    pieces: Pieces,
    regions: Sequence[Region],
    colonies: Sequence[Colony],
    limits: RemovalConfig,
) -> tuple[Aim, ...]:
    if field.pixel_size_um is None:
        return ()
    return aim_at(
        pieces,
        field.segmentation.probabilities,
        regions,
        colonies,
        pixel_size_um=field.pixel_size_um,
        aiming=limits.aiming,
        min_probability=limits.min_probability,
        min_region_um2=limits.min_region_um2,
        max_undifferentiated=limits.max_undifferentiated,
        whole_colony_above=limits.whole_colony_above,
    )


def _fingerprint(pixels: NDArray[Any] | Rows) -> str:
    """Hash of what the picture shows, whatever its file says beside it."""
    picture = as_rows(pixels)
    found = hashlib.sha256(f"{picture.dtype} {picture.shape}".encode())
    for top, bottom in in_strips(*picture.shape, LARGE_PIXELS):
        found.update(np.ascontiguousarray(picture.rows(top, bottom)).data)
    return found.hexdigest()


@contextmanager
def _claimed(request: FieldRequest) -> Iterator[tuple[Picture, datetime]]:
    """The picture in exactly the bytes that were claimed, open, and when they were written.

    Small files are hashed and decoded from one read. Large ones stay open from the hash to the end,
    and must not have been written to in between.
    """
    path = request.path
    changed = CaptureError(
        f"{shown_name(path)}: changed after it was taken in", reason="changed", transient=True
    )
    with _missing_or_unreadable(path):
        look = look_at_file(path)
        if not look.is_regular:
            raise changed
        mtime_ns = written_ns(path, look)
        data: bytes | FileBytes
        if look.size <= IN_MEMORY_BYTES or is_bundle(path):
            data = read_file(path)
            sha256 = hashlib.sha256(data).hexdigest()
        else:
            data = FileBytes(path.open("rb"))
            status = os.fstat(data.file.fileno())
            mtime_ns = status.st_mtime_ns
            sha256 = hashlib.file_digest(data.file, "sha256").hexdigest()
    if sha256 != request.sha256:
        if isinstance(data, FileBytes):
            data.file.close()
        raise changed
    picture = open_picture(
        path, zone=request.settings.zone, data=data, channel=request.settings.channel
    )
    large = data if isinstance(data, FileBytes) and not data.file.closed else None
    try:
        yield picture, datetime.fromtimestamp(mtime_ns / 1e9, UTC)
        if large is not None and _written(os.fstat(large.file.fileno()), status):
            raise changed
    except CaptureError:
        raise
    except Exception as problem:
        if large is not None and _written(os.fstat(large.file.fileno()), status):
            raise changed from problem
        raise
    finally:
        picture.close()


@contextmanager
def _missing_or_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as problem:
        raise CaptureError(
            f"{shown_name(path)}: is not there any more", reason="missing", transient=True
        ) from problem
    except OSError as problem:
        raise CaptureError(
            f"{shown_name(path)}: cannot be read ({problem.strerror})",
            reason="io-error",
            transient=True,
        ) from problem


def _written(now: os.stat_result, then: os.stat_result) -> bool:
    return (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)


def colony_limit_px(pixel_size_um: float | None) -> int:
    """Pixels that a colony has at least."""
    return _pixels(MIN_COLONY_UM2, pixel_size_um, MIN_COLONY_PX)


def region_limit_px(pixel_size_um: float | None) -> int:
    """Pixels that a differentiated region has at least."""
    return _pixels(MIN_REGION_UM2, pixel_size_um, MIN_REGION_PX)


def _pixels(area_um2: float, pixel_size_um: float | None, unknown: int) -> int:
    return unknown if pixel_size_um is None else max(1, round(area_um2 / pixel_size_um**2))


def _stem(request: FieldRequest, acquired_at: datetime) -> str:
    """Where a person would look: a folder a dish, files by time and field; unique by hash."""
    named = request.named
    parts = [f"{acquired_at:%Y%m%dT%H%M%SZ}", named.field or "", request.sha256[:8]]
    return f"{_safe(named.dish)}/{'_'.join(_safe(part) for part in parts if part)}"


def _safe(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return kept.strip(".")[:80] or "_"
