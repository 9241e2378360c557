"""From what lies on the disk to copies for looking: captures as they were measured, label maps,
and how probable each class is. Says in words why a picture cannot be shown.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classes import UNKNOWN
from model.strips import Rows, as_rows, in_strips
from monitor.capture.filesets import hash_file, look_at_file, read_file
from monitor.capture.formats.reading import open_picture
from monitor.config import Config
from monitor.errors import CaptureError
from monitor.outlets.viewing.copies import BusyError, Copies, Copy, Grey, Strips, every_second
from monitor.outlets.wording import clean
from monitor.record.views import ViewedField
from monitor.segmentation.label_maps import decoded_label_map
from monitor.segmentation.overlay import stretched_rows
from monitor.segmentation.uncertainty_maps import probability_map_name

log = logging.getLogger(__name__)

_IN_MEMORY_BYTES = 64 * 2**20
_STRIP_PIXELS = 4_000_000
_REMEMBERED_S = 30.0
_PROBABILITIES_KEPT = 256
_SAMPLED = 512
_TAILS = (0.1, 99.9)


class Tone(StrEnum):
    """How grey values are shown."""

    EVEN = "even"  # light evened out and contrast stretched by place, as in overlays
    PLAIN = "plain"  # as recorded: one straight line from the darkest to the brightest


class NotShownError(Exception):
    """Why there is no picture. is_passing : it may be there again in a while"""

    def __init__(self, words: str, *, is_passing: bool = False) -> None:
        super().__init__(words)
        self.words, self.is_passing = words, is_passing


_WORDS = {
    "missing": "the original is no longer where it was; it was moved or removed, or its share is "
    "not mounted",
    "changed": "the file holds another image than the one that was measured",
    "no-permission": "the original may not be read by the dashboard's user",
    "io-error": "the original cannot be read at the moment",
}


class Captures:
    """Copies of captures and label maps, made where they are wanted. For several threads."""

    def __init__(self, config: Config, copies: Copies) -> None:
        self._config, self._copies = config, copies
        self._failed: dict[str, tuple[float, NotShownError]] = {}
        self._probabilities: OrderedDict[Path, tuple[int, NDArray[np.uint8] | None]] = OrderedDict()
        self._lock = threading.Lock()

    def grey(self, field: ViewedField, tone: Tone) -> Copy:
        """Raises NotShownError, and BusyError as `Copies.copy`."""
        labels = self._label_stamp(field) if tone is Tone.EVEN else ""
        key = _key("capture", field.sha256, str(tone), labels)
        return self._made(key, field, partial(self._strips, field, tone))

    def labels(self, field: ViewedField) -> Copy:
        """Classes, 255 = unknown. Raises NotShownError, and BusyError as `Copies.copy`."""
        if field.is_replaced:
            raise NotShownError("another model's label map has taken the place of this one's")
        stamp = self._label_stamp(field)
        if field.label_map is None or not stamp:
            raise NotShownError("its label map is no longer kept")
        key = _key("labels", field.label_map, stamp)
        return self._made(key, field, partial(self._label_strips, field), halve_classes=True)

    def probabilities(self, field: ViewedField) -> NDArray[np.uint8]:
        """(h, w, 3) of 255: background, undifferentiated, differentiated, spread evenly over the
        field. Raises NotShownError.
        """
        if field.is_replaced:
            raise NotShownError("another model's reading has taken the place of this one's")
        if field.label_map is None:
            raise NotShownError("its probabilities are not kept")
        path = self._config.record.folder / probability_map_name(field.label_map)
        try:
            written = path.stat().st_mtime_ns
        except OSError:
            raise NotShownError("its probabilities are not kept") from None
        with self._lock:
            known = self._probabilities.get(path)
        if known is None or known[0] != written:
            found = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            known = written, None if found is None else np.asarray(found, np.uint8)
            with self._lock:
                self._probabilities[path] = known
                while len(self._probabilities) > _PROBABILITIES_KEPT:
                    self._probabilities.popitem(last=False)
        if known[1] is None:
            raise NotShownError("its probabilities cannot be read")
        return known[1]

    def why_not(self, field: ViewedField) -> str | None:
        """Why a field's picture cannot be shown, as far as that is known without reading it."""
        with self._lock:
            failed = [
                one.words
                for key, (at, one) in self._failed.items()
                if key.endswith(field.sha256[:16]) and time.monotonic() - at < _REMEMBERED_S
            ]
        if failed:
            return failed[0]
        return None if field.path.exists() else _WORDS["missing"]

    # --- reading -------------------------------------------------------------------------------

    def _made(
        self,
        key: str,
        field: ViewedField,
        make: Callable[[], Strips],
        *,
        halve_classes: bool = False,
    ) -> Copy:
        remembered = f"{key}-{field.sha256[:16]}"
        with self._lock:
            failed = self._failed.get(remembered)
        if failed is not None and time.monotonic() - failed[0] < _REMEMBERED_S:
            raise NotShownError(failed[1].words, is_passing=failed[1].is_passing)
        try:
            if halve_classes:
                return self._copies.copy(key, field.shape, make, halve=every_second)
            return self._copies.copy(key, field.shape, make)
        except CaptureError as problem:
            words = _WORDS.get(problem.reason) or clean(str(problem))
            failure = NotShownError(words, is_passing=problem.transient)
        except NotShownError as problem:
            failure = problem
        except BusyError:
            raise
        except Exception as problem:  # decoders raise whatever they like on broken bytes
            log.warning("%s: cannot be shown (%s)", field.path, problem)
            failure = NotShownError("the original cannot be decoded")
        with self._lock:
            now = time.monotonic()
            self._failed = {
                name: one for name, one in self._failed.items() if now - one[0] < _REMEMBERED_S
            }
            self._failed[remembered] = now, failure
        raise failure

    def _strips(self, field: ViewedField, tone: Tone) -> Iterator[tuple[int, Grey]]:
        """The capture as it was measured, from its top. Raises CaptureError."""
        settings = self._config.settings_of(field.source)
        try:
            look = look_at_file(field.path)
            data = read_file(field.path) if look.size <= _IN_MEMORY_BYTES else None
            found = hashlib.sha256(data).hexdigest() if data is not None else hash_file(field.path)
        except FileNotFoundError as problem:
            raise CaptureError("gone", reason="missing", transient=True) from problem
        except PermissionError as problem:
            raise CaptureError("closed", reason="no-permission", transient=True) from problem
        except OSError as problem:
            raise CaptureError("unreadable", reason="io-error", transient=True) from problem
        if found != field.sha256:
            raise CaptureError("another file", reason="changed")
        picture = open_picture(field.path, zone=settings.zone, data=data, channel=settings.channel)
        try:
            if as_rows(picture.pixels).shape != field.shape:
                raise CaptureError("another size", reason="changed")
            if tone is Tone.PLAIN:
                yield from _plain(as_rows(picture.pixels))
            else:
                yield from stretched_rows(picture.pixels, self._seen(field))
        finally:
            picture.close()

    def _seen(self, field: ViewedField) -> NDArray[np.bool_]:
        """Where the vessel is, by the label map where that is kept."""
        labels = None
        if field.label_map is not None and not field.is_replaced:
            labels = _labels_in(self._config.record.folder / field.label_map)
        if labels is None or labels.shape != field.shape:
            return np.ones(field.shape, np.bool_)
        seen = labels != UNKNOWN
        return seen if seen.any() else np.ones(field.shape, np.bool_)

    def _label_strips(self, field: ViewedField) -> Iterator[tuple[int, Grey]]:
        labels = _labels_in(self._config.record.folder / (field.label_map or ""))
        if labels is None or labels.shape != field.shape:
            raise NotShownError("its label map cannot be read")
        yield 0, np.asarray(labels, np.uint8)

    def _label_stamp(self, field: ViewedField) -> str:
        """Changes with the file of the label map; empty where there is none."""
        if field.label_map is None or field.is_replaced:
            return ""
        try:
            about = (self._config.record.folder / field.label_map).stat()
        except OSError:
            return ""
        return f"{about.st_mtime_ns}-{about.st_size}"


def _labels_in(path: Path) -> NDArray[np.uint8] | None:
    """None where the file is gone or is no picture."""
    try:
        return decoded_label_map(path)
    except OSError:
        return None


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _plain(grey: Rows) -> Iterator[tuple[int, Grey]]:
    """As recorded, from the darkest to the brightest that more than single pixels have."""
    height, width = grey.shape
    step = max(1, max(height, width) // _SAMPLED)
    some = np.stack([grey.rows(row, row + 1)[0, ::step] for row in range(0, height, step)])
    low, high = np.percentile(some.astype(np.float32), _TAILS)
    factor = 255 / max(float(high - low), 1e-6)
    for top, bottom in in_strips(height, width, _STRIP_PIXELS):
        values = (grey.rows(top, bottom).astype(np.float32) - np.float32(low)) * np.float32(factor)
        yield top, np.clip(values, 0, 255).astype(np.uint8)
