"""Pictures of the pages: overlays made small, and the line of a series. Nothing is drawn twice in
a row, and of large pictures only a few at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup

from monitor.record.overviews import FieldImage, SeriesPoint
from monitor.segmentation.overlay import field_of_view

_JPEG_QUALITY = 80
_LINE_WIDTH, _LINE_HEIGHT, _MARGIN = 300, 64, 5
_DRAWN_AT_ONCE = 2


class Drawn:
    """Pictures that were drawn last, by what they show. At most `megabytes` of them.

    By their bytes, since some are a thousand times as large as others: no cache of functools does
    that.
    """

    def __init__(self, megabytes: float) -> None:
        self._room = int(megabytes * 1e6)
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._at_work = threading.BoundedSemaphore(_DRAWN_AT_ONCE)

    def picture(self, of: Hashable, draw: Callable[[], bytes | None]) -> bytes | None:
        """The picture, drawn if it is not there; None where `draw` could not."""
        with self._lock:
            if of in self._kept:
                self._kept.move_to_end(of)
                return self._kept[of]
        with self._at_work:
            content = draw()
        if content is not None:
            with self._lock:
                self._kept[of] = content
                self._kept.move_to_end(of)
                while sum(map(len, self._kept.values())) > self._room and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return content


def small_picture(folder: Path, field: FieldImage, width: int) -> bytes | None:
    """The field of view as JPEG, without title and legend, at most `width` pixels wide; None where
    its overlay is gone.
    """
    content = overlay_file(folder, field)
    if content is None:
        return None
    overlay = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if overlay is None:
        return None
    picture = field_of_view(np.asarray(overlay, np.uint8), field.shape)
    rows, columns = picture.shape[:2]
    if rows == 0 or columns == 0:
        return None
    if columns > width:
        size = width, max(1, round(rows * width / columns))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes() if done else None


def overlay_file(folder: Path, field: FieldImage) -> bytes | None:
    """The overlay as it lies on the disk; None where it is gone, or lies outside of `folder`."""
    if field.overlay is None:
        return None
    path = (folder / field.overlay).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        return path.read_bytes() or None
    except OSError:
        return None


def series_line(
    series: Sequence[SeriesPoint], *, since: datetime, until: datetime, limit: float
) -> Markup | None:
    """The differentiated fraction over time as an SVG element, with its interval and the alert
    limit; what is in doubt is hollow. None where there is nothing to draw. Its colours stand in
    the style sheet.
    """
    known = [one for one in series if one.differentiated_fraction is not None]
    span = (until - since).total_seconds()
    if not known or span <= 0:
        return None
    ends = [one.doubt.interval[1] for one in known if one.doubt.interval]
    top = max(1.3 * limit, 1.1 * max(one.differentiated_fraction or 0.0 for one in known), *ends)
    begin, wide = since.timestamp(), (_LINE_WIDTH - 2 * _MARGIN) / span
    high = (_LINE_HEIGHT - 2 * _MARGIN) / top
    floor = _LINE_HEIGHT - _MARGIN

    def place(one: SeriesPoint, fraction: float) -> tuple[str, str]:
        x = _MARGIN + wide * min(max(one.at.timestamp() - begin, 0.0), span)
        return f"{x:.1f}", f"{floor - high * fraction:.1f}"

    places = [place(one, one.differentiated_fraction or 0.0) for one in known]
    points = " ".join(f"{x},{y}" for x, y in places)
    bands = "".join(
        f'<polygon class="interval" points="{_outline(piece, place)}"/>'
        for piece in _with_interval(known)
    )
    hollow = "".join(
        f'<circle class="doubt" cx="{x}" cy="{y}" r="3.5"/>'
        for one, (x, y) in zip(known, places, strict=True)
        if one.is_doubtful
    )
    level = f"{floor - high * limit:.1f}"
    # Of numbers alone.
    return Markup(  # nosec B704
        f'<svg class="line" viewBox="0 0 {_LINE_WIDTH} {_LINE_HEIGHT}" aria-hidden="true">{bands}'
        f'<line class="limit" x1="0" x2="{_LINE_WIDTH}" y1="{level}" y2="{level}"/>'
        f'<polyline points="{points}"/>'
        f'<circle cx="{places[-1][0]}" cy="{places[-1][1]}" r="4"/>'
        f"{hollow}</svg>"
    )


def _with_interval(known: Sequence[SeriesPoint]) -> list[list[SeriesPoint]]:
    """Runs of points that have one."""
    runs = groupby(known, key=lambda one: one.doubt.interval is not None)
    return [list(run) for has_one, run in runs if has_one]


def _outline(
    piece: Sequence[SeriesPoint], place: Callable[[SeriesPoint, float], tuple[str, str]]
) -> str:
    """Along the upper ends and back along the lower ones; a point alone is as wide as a line."""
    upper, lower = [], []
    for one in piece:
        if one.doubt.interval is not None:
            x, y = place(one, one.doubt.interval[1])
            upper.append((x, y))
            lower.append((x, place(one, one.doubt.interval[0])[1]))
    if len(upper) == 1:
        upper = [(f"{float(upper[0][0]) + step:.1f}", upper[0][1]) for step in (-1.0, 1.0)]
        lower = [(x, lower[0][1]) for x, _ in upper]
    return " ".join(f"{x},{y}" for x, y in [*upper, *reversed(lower)])
