"""One capture -> its measurement. All that the monitor asks of a network is `model.predict`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import predict
from model.predict import ModelError, Segmenter
from model.runners.names import REFERENCE
from model.strips import Rows, as_rows, in_strips
from monitor.capture.filesets import is_fileset, look_at_file, read_file, written_ns
from monitor.capture.formats.image import Image
from monitor.capture.formats.metadata import Said
from monitor.capture.formats.reading import open_picture
from monitor.capture.formats.sidecars import beside_hash, read_beside
from monitor.capture.formats.tiff_rows import LARGE_PIXELS, FileBytes
from monitor.capture.names.light import NO_CHANNEL, Channel, Light
from monitor.capture.names.patterns import channel_text, left_out_channel, light_in, shown_name
from monitor.config import RemovalConfig
from monitor.culture import Aim, FieldMeasurement, NamedParts
from monitor.culture.local_times import is_by_zone
from monitor.errors import CaptureError, LeftOutError, ModelRefusedError
from monitor.host.allocator import keep_freed_memory
from monitor.host.atomic_files import write_whole
from monitor.segmentation.beside import done_beside
from monitor.segmentation.label_maps import label_map_suffix
from monitor.segmentation.measure_image import MeasuredImage, OverlayStyle, measure_image
from monitor.segmentation.overlay import encode_jpeg, encode_png
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.targeting import aim_at
from monitor.segmentation.uncertainty_maps import (
    doubt_map_name,
    doubts_of,
    probability_map_name,
    probability_planes,
)

OVERLAY_SIDE_PX = 1600
# Larger files are hashed and decoded in two passes and so never held whole in memory.
IN_MEMORY_BYTES = 64 * 2**20


def load_segmenter(model: str, threads: int | None, runner: str = REFERENCE) -> Segmenter:
    """The starter model, or the one in the folder `model`, of whatever kind of network.

    runner : what is to do its arithmetic, one of `RUNNER_NAMES`
    Raises ModelRefusedError.
    """
    keep_freed_memory()
    try:
        folder = None if model == "starter" else Path(model)
        return predict.load_segmenter(folder, threads=threads, runner=runner)
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem


def measure(
    segmenter: Segmenter, request: FieldRequest, *, packed: bytes | None = None
) -> FieldMeasurement:
    """Read, judge and segment one capture; write its overlay and label map; say what it shows.

    packed : its bytes, where they came another way; of a capture of many files their ZIP

    Raises CaptureError; with reason "changed" where the file holds other bytes by now.
    """
    began = time.monotonic()
    with _claimed(request, packed) as (picture, mtime):
        return _measure(segmenter, request, picture, mtime, began)


def _measure(
    segmenter: Segmenter,
    request: FieldRequest,
    picture: Image,
    mtime: datetime,
    began: float,
) -> FieldMeasurement:
    named, settings = request.named, request.settings
    sidecar = read_beside(request.path, named.pattern, settings.zone, named.channel) or Said()
    said = _refuse_left_out(request, picture, sidecar)
    acquired_at, acquired_at_from = _acquired(picture, sidecar, named, mtime)
    title = f"{named.dish}   {acquired_at:%Y-%m-%d %H:%M} UTC"
    found = measure_image(
        segmenter,
        picture,
        named=named,
        sidecar=sidecar,
        settings=settings,
        shown=shown_name(request.path),
        style=OverlayStyle(title, OVERLAY_SIDE_PX, encode_jpeg),
        scales=request.scales,
    )
    stem = _stem(request, acquired_at)
    overlay = f"overlays/{stem}.jpg"
    label_map = f"labels/{stem}{label_map_suffix(found.labels)}"
    files = {label_map: found.label_map, overlay: found.overlay}
    with done_beside(_write, request, files) as written:
        aims = _aims(found, request.removal)
        _write(request, _maps_beside(label_map, found))
    written.result()
    return FieldMeasurement(
        shape=(found.labels.shape[0], found.labels.shape[1]),
        areas=found.areas,
        colonies=found.colonies,
        regions=found.regions,
        uncertainty=found.segmentation.uncertainty,
        model_name=segmenter.name,
        model_sha256=segmenter.sha256,
        settings_sha256=request.settings_sha256,
        acquired_at=acquired_at.astimezone(UTC),
        acquired_at_from=acquired_at_from,
        zone=settings.timezone if is_by_zone(acquired_at) else None,
        pixel_size=found.pixel_size,
        stage=picture.stage if picture.stage is not None else named.stage,
        overlay=overlay,
        label_map=label_map,
        quality=found.quality.measures,
        doubts=found.quality.doubts,
        took_s=time.monotonic() - began,
        fingerprint=_fingerprint(picture.pixels),
        aims=aims,
        targeting=None if found.pixel_size.known_um is None else request.removal.targeting,
        beside=beside_hash(sidecar, picture.beside),
        in_transmitted_light=light_in(named, said) is Light.TRANSMITTED,
        doubt=found.doubt,
        at_scale=found.at_scale,
        runner=segmenter.runner,
    )


def _maps_beside(label_map: str, found: MeasuredImage) -> dict[str, bytes]:
    """Files that lie beside a label map: how probable each class is, to be looked at; and for
    plans, where there may be undifferentiated cells after all.
    """
    probabilities = found.segmentation.probabilities
    maps = {probability_map_name(label_map): encode_png(probability_planes(probabilities))}
    if found.regions:
        maps[doubt_map_name(label_map)] = encode_png(doubts_of(probabilities))
    return maps


# Times beyond these are as wrong as these are, and nothing can be added to the last of all years.
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _within_reach(moment: datetime) -> datetime:
    """A time, or the nearest that can be reckoned with; the record calls it doubtful either way."""
    if _FIRST.year <= moment.year < _LAST.year:
        return moment
    return _FIRST if moment.year < _FIRST.year else _LAST


def _acquired(
    picture: Image, sidecar: Said, named: NamedParts, mtime: datetime
) -> tuple[datetime, str]:
    """When a capture was taken, and what says so; the first that knows it counts."""
    said = {
        "metadata": picture.acquired_at,
        "sidecar": sidecar.acquired_at,
        "name": named.acquired_at,
        "mtime": mtime,
    }
    moment, source = next((at, source) for source, at in said.items() if at is not None)
    return _within_reach(moment), source


def _refuse_left_out(request: FieldRequest, picture: Image, beside: Said) -> Channel:
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


def _write(request: FieldRequest, pictures: Mapping[str, bytes]) -> None:
    """Files into the state folder. Raises CaptureError where that cannot be."""
    try:
        for name, content in pictures.items():
            write_whole(request.state_folder / name, content)
    except OSError as problem:
        raise CaptureError(
            f"{shown_name(request.path)}: its overlay cannot be written to {request.state_folder} "
            f"({problem.strerror}); it is retried automatically",
            reason="state-folder",
            transient=True,
        ) from problem


def _aims(found: MeasuredImage, limits: RemovalConfig) -> tuple[Aim, ...]:
    if found.pixel_size.known_um is None:
        return ()
    return aim_at(
        found.components,
        found.segmentation.probabilities,
        found.regions,
        found.colonies,
        pixel_size_um=found.pixel_size.known_um,
        targeting=limits.targeting,
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
def _claimed(request: FieldRequest, packed: bytes | None) -> Iterator[tuple[Image, datetime]]:
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
        if packed is not None:
            data, sha256 = packed, hashlib.sha256(packed).hexdigest()
        elif look.size <= IN_MEMORY_BYTES or is_fileset(path):
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
            f"{shown_name(path)}: is no longer there", reason="missing", transient=True
        ) from problem
    except OSError as problem:
        raise CaptureError(
            f"{shown_name(path)}: cannot be read ({problem.strerror})",
            reason="io-error",
            transient=True,
        ) from problem


def _written(now: os.stat_result, then: os.stat_result) -> bool:
    return (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)


def _stem(request: FieldRequest, acquired_at: datetime) -> str:
    """Where a person would look: a folder a dish, files by time and field; unique by hash."""
    named = request.named
    parts = [f"{acquired_at:%Y%m%dT%H%M%SZ}", named.field or "", request.sha256[:8]]
    return f"{_safe(named.dish)}/{'_'.join(_safe(part) for part in parts if part)}"


def _safe(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return kept.strip(".")[:80] or "_"
