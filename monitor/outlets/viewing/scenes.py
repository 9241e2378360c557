"""A scan as a scene: its fields where they lie, and in the place of those that are missing, why."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.capture.names.patterns import parse_name
from monitor.config import Config
from monitor.culture import Calibration, CalibrationKind
from monitor.errors import CalibrationError, CaptureError, UsageError
from monitor.outlets.viewing.canvas import Canvas, FieldExtent, Laid, Placed, lay_out
from monitor.outlets.wording import clean
from monitor.record.store import Store
from monitor.record.views import ViewedField, ViewedScan
from monitor.stage.calibration import calibration_to_use, why_other_pixels

_SCENES = 128
# A scan may still grow by what could not be read, and a calibration may be taught meanwhile.
_GOOD_FOR_S = 30.0


@dataclass(frozen=True)
class SceneField:
    """One field in its place.

    viewed : None where it is not part of the reading
    words : why there is no picture of it; None where there should be one
    is_unread : a file of it came and could not be read
    """

    name: str
    placed: Placed
    viewed: ViewedField | None
    words: str | None = None
    is_unread: bool = False


@dataclass(frozen=True)
class Unread:
    """A capture that could not be read. name : of its field, else of its file"""

    name: str
    file: str
    words: str


@dataclass(frozen=True, eq=False)
class Scene:
    """canvas : where all is laid

    fields : in the canvas' order; those of the reading come first
    only : the number of the field where the scene shows one alone
    unread : captures of this scan that could not be read, as far as that is known
    why_not_laid : why the places of fields are not used, in words; None where they are
    """

    scan: ViewedScan
    canvas: Canvas
    fields: tuple[SceneField, ...]
    only: int | None = None
    unread: tuple[Unread, ...] = ()
    why_not_laid: str | None = None

    @property
    def key(self) -> str:
        return f"{self.scan.reading.id}" + ("" if self.only is None else f"-{self.only}")


class Scenes:
    """Scenes by their readings; those asked for last are kept."""

    def __init__(self, config: Config, store: Store, clock: Callable[[], datetime]) -> None:
        self._config, self._store, self._clock = config, store, clock
        self._kept: OrderedDict[tuple[int, int | None], tuple[datetime, Scene]] = OrderedDict()
        self._lock = threading.Lock()

    def scene(self, reading: int, only: int | None = None) -> Scene:
        """A reading's scene; of one of its fields where `only` is its number.

        Raises UsageError where there is no such reading or field.
        """
        now, key = self._clock(), (reading, only)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and (now - kept[0]).total_seconds() < _GOOD_FOR_S:
                self._kept.move_to_end(key)
                return kept[1]
        scene = self._made(reading, only, now)
        with self._lock:
            self._kept[key] = now, scene
            while len(self._kept) > _SCENES:
                self._kept.popitem(last=False)
        return scene

    def field_called(self, reading: int, name: str) -> int | None:
        """The number of a field of a reading by its name; None where it has none of it."""
        fields = self.scene(reading).scan.fields
        return next((one.number for one in fields if one.name == name), None)

    def _made(self, reading: int, only: int | None, now: datetime) -> Scene:
        scan = self._scan(reading)
        camera, problem = self._camera(scan.source, now)
        chosen = scan.fields
        if only is not None:
            chosen = tuple(one for one in scan.fields if one.number == only)
            if not chosen:
                raise UsageError(f"reading {reading} has no field of the number {only}")
        unread = self._unread(scan)
        elsewhere = () if only is not None else self._elsewhere(scan, unread)
        shown = [*chosen, *(field for field, _ in elsewhere)]
        if not shown:
            raise UsageError(f"reading {reading} rests on no captures that are still on record")
        other_pixels, extents = None, []
        for one in shown:
            stage = one.stage
            if camera is not None and one.pixel_size_um is not None:
                settings = self._config.settings_of(one.source)
                why = why_other_pixels(camera, settings, one.pixel_size_um)
                if why is not None:
                    other_pixels, stage = why, None
            extents.append(FieldExtent(one.shape, one.pixel_size_um, stage))
        canvas = lay_out(extents, None if camera is None else camera.pixel_to_stage)
        fields = [
            SceneField(one.name, place, one)
            for one, place in zip(chosen, canvas.placed, strict=False)
        ]
        not_read = {one.name for one in unread}
        fields += [
            SceneField(field.name, place, None, words, is_unread=field.name in not_read)
            for (field, words), place in zip(elsewhere, canvas.placed[len(chosen) :], strict=True)
        ]
        why_not = None
        if canvas.laid in (Laid.BESIDE, Laid.BOTH) or canvas.to_stage is None:
            why_not = problem or other_pixels or _why_unknown(shown, camera)
        return Scene(scan, canvas, tuple(fields), only, unread, why_not)

    def _scan(self, reading: int) -> ViewedScan:
        return self._store.views.scan(reading)

    def _unread(self, scan: ViewedScan) -> tuple[Unread, ...]:
        """Of this scan by what their names say, else by their times."""
        settings = self._config.settings_of(scan.source)
        gap = timedelta(seconds=settings.scan_gap_s)
        found = []
        for one in scan.unread:
            field, key, at = one.field, None, one.at
            try:
                named = parse_name(one.path, settings.names, settings.zone)
            except CaptureError:
                pass
            else:
                field, key, at = field or named.field, named.scan, named.acquired_at or at
            is_near = scan.first_at - gap <= at <= scan.last_at + gap
            if one.in_scan or (key == scan.key if key and scan.key else is_near):
                words = clean(one.message or one.reason)
                found.append(Unread(clean(field or one.path.name), clean(one.path.name), words))
        return tuple(sorted(found, key=lambda one: (one.name, one.file)))

    def _camera(self, source: str, now: datetime) -> tuple[Calibration | None, str | None]:
        """How the camera stands; else None, and why, where something is wrong with it."""
        settings = self._config.settings_of(source)
        own = [
            one for one in self._store.calibrations.of(source) if one.kind is CalibrationKind.CAMERA
        ]
        try:
            return calibration_to_use(CalibrationKind.CAMERA, source, settings, own, now), None
        except CalibrationError as problem:
            return None, clean(str(problem))

    def _elsewhere(
        self, scan: ViewedScan, not_read: tuple[Unread, ...]
    ) -> list[tuple[ViewedField, str]]:
        """Fields that a scan beside it has and this one has not, each with why."""
        beside = scan.before if scan.before is not None else scan.after
        if beside is None:
            return []
        there = {one.name for one in scan.fields}
        unread = {one.name: one for one in not_read}
        found = []
        for field in self._scan(beside).fields:
            if not field.has_field_name or field.name in there:
                continue
            why = unread.get(field.name)
            words = (
                "missing: no capture of this field came with this scan"
                if why is None
                else f"unreadable: {why.words}"
            )
            found.append((field, words))
        return found


def _why_unknown(shown: list[ViewedField], camera: Calibration | None) -> str:
    if all(one.stage is None for one in shown):
        return "the captures do not say where they were taken"
    if camera is None:
        return (
            "it is not known how the camera stands on the stage: colonywatch calibrate, or the "
            "source's `calibration`"
        )
    if all(one.pixel_size_um is None for one in shown):
        return "the pixel size is not known"
    return "some captures say neither place nor pixel size, or lie too far away"
