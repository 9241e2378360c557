"""Valid files of every format, changed at random: what the readers and the names make of them.

    python -m tools.soak.fuzz --minutes 10 --seed 1

Nothing but a picture or our own error may come of it, within 30 s and 2 GiB. The example in hand is
kept in a file, so that one that kills the process can be looked at. The tests run a short, always
equal part of it.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import signal
import tempfile
import time
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from model.strips import as_rows
from monitor.capture.formats.image import MAX_PIXELS
from monitor.capture.formats.reading import open_picture, read_picture
from monitor.capture.names.patterns import PRESETS, parse_name
from monitor.errors import CaptureError
from tests.monitor.capture.corpus import GREY, whole_files
from tests.monitor.capture.foreign_files import nd2

HANG_S = 30
MEMORY_BYTES = 2 * 2**30
ZONE = ZoneInfo("Europe/Berlin")
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0")


def every_format() -> dict[str, bytes]:
    """A small valid file of each format, by name."""
    return whole_files() | {"nikon.nd2": nd2([GREY, GREY]), "zarr.ozx": _zarr()}


def _zarr() -> bytes:
    import zarr

    with tempfile.TemporaryDirectory() as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=2)
        array = group.create_array("0", shape=GREY.shape, dtype="u1", chunks=(32, 48))
        array[:] = GREY
        scale = [{"type": "scale", "scale": [0.65, 0.65]}]
        group.attrs["multiscales"] = [
            {
                "version": "0.4",
                "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
                "datasets": [{"path": "0", "coordinateTransformations": scale}],
            }
        ]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in sorted(Path(folder).rglob("*")):
                archive.write(file, file.relative_to(folder))
        return buffer.getvalue()


@st.composite
def damaged(draw: Any, files: dict[str, bytes]) -> tuple[str, bytes]:
    """(name, bytes): one of `files` with up to six changes, most of them near its start."""
    name = draw(st.sampled_from(sorted(files)))
    data = bytearray(files[name])
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        # Structure stands at the start and the end of most formats.
        reach = draw(st.sampled_from([64, 512, len(data)]))
        at = draw(st.integers(0, min(reach, len(data)) - 1))
        if draw(st.booleans()):
            at = len(data) - 1 - at
        length = draw(st.integers(1, 64))
        how = draw(st.sampled_from(["flip", "set", "cut", "remove", "repeat", "splice", "fill"]))
        if how == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "set":
            data[at : at + 4] = draw(st.sampled_from(EXTREMES))
        elif how == "cut":
            del data[at:]
        elif how == "remove":
            del data[at : at + length]
        elif how == "repeat":
            data[at:at] = data[at : at + length]
        elif how == "fill":
            data[at : at + length] = draw(st.binary(min_size=1, max_size=16))
        else:
            other = files[draw(st.sampled_from(sorted(files)))]
            start = draw(st.integers(0, len(other) - 1))
            data[at : at + length] = other[start : start + length]
    return name, bytes(data)


@st.composite
def likely_names(draw: Any) -> str:
    """Names of imagers with parts taken out, put in and joined."""
    examples = [preset.example for preset in PRESETS.values()]
    name: str = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(0, 4))):
        at, removed = draw(st.integers(0, len(name))), draw(st.integers(0, 6))
        added = draw(
            st.one_of(
                st.text("0123456789/_-. aZ\n\u0663\0", max_size=12),
                st.sampled_from(examples).map(lambda other: other[-20:]),
                st.text(max_size=6),
            )
        )
        name = name[:at] + added + name[at + removed :]
    return name


def judge_picture(name: str, data: bytes) -> str:
    """ "picture" or the reason; raises AssertionError for anything else.

    Whole and a few rows at a time the same must come of it.
    """
    try:
        picture = read_picture(Path(name), zone=ZONE, data=data)
    except CaptureError as refused:
        assert str(refused).isprintable() and not refused.transient, str(refused)
        assert _in_rows(name, data) is None, "refused whole and read by rows"
        return refused.reason
    rows = _in_rows(name, data)
    assert rows is not None and np.array_equal(rows, picture.pixels), "by rows it is another"
    pixels = picture.pixels
    assert pixels.ndim == 2 and 0 < pixels.size <= MAX_PIXELS
    assert pixels.dtype in (np.uint8, np.uint16, np.float32)
    assert np.isfinite(pixels).all()
    size, at = picture.pixel_size_um, picture.acquired_at
    assert size is None or 0.01 <= size <= 100
    assert at is None or at.utcoffset() == timedelta()
    return "picture"


def _in_rows(name: str, data: bytes) -> np.ndarray | None:
    try:
        opened = open_picture(Path(name), zone=ZONE, data=data, large_pixels=1000)
    except CaptureError:
        return None
    try:
        pixels = as_rows(opened.pixels)
        return pixels.rows(0, pixels.shape[0])
    finally:
        opened.close()


def judge_name(name: str, start: datetime | None) -> str:
    try:
        parts = parse_name(PurePosixPath(name), "auto", ZONE, start)
    except CaptureError as refused:
        assert refused.reason in ("no-name-match", "bad-name") and str(refused).isprintable()
        return refused.reason
    assert parts.dish and parts.dish.isprintable()
    at = parts.acquired_at
    assert at is None or at.utcoffset() == timedelta()
    return "named"


STARTS = st.sampled_from(
    [None, datetime(2026, 11, 2, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)


def _stuck(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {HANG_S} s")


def main() -> None:
    options = _options()
    signal.signal(signal.SIGALRM, _stuck)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    files = every_format()
    outcomes: Counter[str] = Counter()
    inhand = options.folder / f"fuzz-{os.getpid()}.bin"

    def quietly(examples: int) -> Any:
        return settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )

    until, number = time.monotonic() + 60 * options.minutes, options.seed
    while time.monotonic() < until:

        @seed(number)
        @quietly(1000)
        @given(damaged(files))
        def read(one: tuple[str, bytes]) -> None:
            inhand.write_bytes(one[0].encode() + b"\n" + one[1])
            signal.alarm(HANG_S)
            outcomes[judge_picture(*one)] += 1
            signal.alarm(0)

        @seed(number)
        @quietly(1000)
        @given(likely_names(), STARTS)
        def name(text: str, start: datetime | None) -> None:
            signal.alarm(HANG_S)
            outcomes["name: " + judge_name(text, start)] += 1
            signal.alarm(0)

        read()
        name()
        number += 1
    inhand.unlink(missing_ok=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    names = sum(count for what, count in outcomes.items() if what.startswith("name"))
    print(
        f"{outcomes.total() - names} damaged files of {len(files)} kinds: {outcomes['picture']} "
        f"still pictures, the others refused with {len(outcomes) - 1 - 3} reasons; {names} names; "
        f"at most {peak} MiB"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
