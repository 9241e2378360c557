"""What is caught of spoilt captures, and what is refused of good ones, on real fields.

    python -m tools.bench.quality

Every real field is judged whole, in random crops and under mild changes of light, gain, noise and
focus, as a day at the microscope brings them (none may be refused or doubted); then spoilt in each
way by a known amount (all should be caught). Prints two tables in Markdown.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import numpy.typing as npt

from monitor.capture.formats.reading import read_picture
from monitor.capture.quality.consistency import ImageStats, unlike
from monitor.capture.quality.image_quality import judge
from monitor.capture.quality.round_well import find_round_well
from monitor.errors import CaptureError

DATA = Path(
    os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)
SETS = ("incubator_6well", "incubator_96well", "hipsc_phase", "ips_fields", "spread_cells_phase")
Image = npt.NDArray[Any]
Change = Callable[[Image, np.random.Generator], Image]


def _to(picture: Image, kind: npt.DTypeLike) -> Image:
    return np.clip(np.rint(picture), 0, 255).astype(kind)


def _crop(picture: Image, chance: np.random.Generator) -> Image:
    rows, columns = (int(side * chance.uniform(0.5, 0.95)) for side in picture.shape)
    row, column = (
        int(chance.integers(0, whole - part + 1))
        for whole, part in zip(picture.shape, (rows, columns), strict=True)
    )
    return np.ascontiguousarray(picture[row : row + rows, column : column + columns])


def _gain(picture: Image, factor: float) -> Image:
    middle = float(np.median(picture))
    return _to((picture.astype(np.float32) - middle) * factor + middle, picture.dtype)


def _blur(picture: Image, sigma: float, chance: np.random.Generator) -> Image:
    # The lens blurs; the camera's noise comes after it.
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)
    return _to(soft + chance.normal(0, 0.7, picture.shape), picture.dtype)


MILD: dict[str, Change] = {
    "as it is": lambda picture, chance: picture,
    "a crop": _crop,
    "contrast 0.7 to 1.3": lambda picture, chance: _gain(picture, chance.uniform(0.7, 1.3)),
    "light 0.8 to 1.1": lambda picture, chance: _to(
        picture * chance.uniform(0.8, 1.1), picture.dtype
    ),
    "camera noise of 2": lambda picture, chance: _to(
        picture + chance.normal(0, 2, picture.shape), picture.dtype
    ),
    "blur of 0.8 px": lambda picture, chance: _blur(picture, 0.8, chance),
    "turned": lambda picture, chance: np.ascontiguousarray(
        np.rot90(picture, int(chance.integers(1, 4)))
    ),
}


def _cut(picture: Image, part: float, value: int) -> Image:
    spoilt = picture.copy()
    spoilt[round(len(spoilt) * (1 - part)) :] = value
    return spoilt


SPOILT: dict[str, Change] = {
    "last 5 % zero": lambda picture, chance: _cut(picture, 0.05, 0),
    "last 50 % zero": lambda picture, chance: _cut(picture, 0.5, 0),
    "last 10 % one grey": lambda picture, chance: _cut(picture, 0.1, 128),
    "blank": lambda picture, chance: np.full_like(picture, 130),
    "light x 1/60": lambda picture, chance: picture // 60,
    "light x 1/12": lambda picture, chance: picture // 12,
    "overexposed": lambda picture, chance: _to(picture.astype(np.float32) * 3, picture.dtype),
    "noise alone": lambda picture, chance: chance.integers(0, 256, picture.shape).astype(np.uint8),
    "blur of 6 px": lambda picture, chance: _blur(picture, 6, chance),
    "blur of 10 px": lambda picture, chance: _blur(picture, 10, chance),
}


def _judged(picture: Image, *, well: bool) -> tuple[str, ...]:
    found = find_round_well(picture) if well else None
    try:
        return judge(picture, None if found is None else found.inside(picture.shape)).doubts
    except CaptureError as problem:
        return (f"refused: {problem.reason}",)


def main() -> int:
    chance = np.random.default_rng(1)
    fields: dict[str, list[Image]] = defaultdict(list)
    for name in SETS:
        for path in sorted((DATA / name).rglob("*")):
            if path.suffix in (".tif", ".tiff", ".png", ".jpg") and "labels" not in path.parts:
                fields[name].append(read_picture(path, zone=ZoneInfo("UTC")).pixels)
    if not fields:
        print(f"no real captures in {DATA}; set COLONYWATCH_DATA to their folder", file=sys.stderr)
        return 1

    print("| good captures | judged | refused | doubted | |\n|---|---|---|---|---|")
    total = refused = doubted = 0
    for name, change in MILD.items():
        seen = Counter[str]()
        count = 0
        for kind, pictures in fields.items():
            is_well = kind == "incubator_96well"
            if is_well and change is _crop:
                continue  # a part of a whole well is no whole well
            for picture in pictures:
                for _ in range(1 if name == "as it is" else 3):
                    verdict = _judged(change(picture, chance), well=is_well)
                    count += 1
                    seen["refused"] += any(one.startswith("refused") for one in verdict)
                    seen["doubted"] += bool(verdict)
                    for one in verdict:
                        seen[f"{kind}: {one}"] += 1
        worst = ", ".join(f"{why} {n}" for why, n in seen.items() if ":" in why)
        print(f"| {name} | {count} | {seen['refused']} | {seen['doubted']} | {worst} |")
        total, refused = total + count, refused + seen["refused"]
        doubted += seen["doubted"]
    low, high = _interval(refused, total)
    print(f"| **all** | {total} | {refused} ({low:.1%} to {high:.1%}) | {doubted} | |")

    print("\n| spoilt captures | judged | caught | refused | as |\n|---|---|---|---|---|")
    for name, change in SPOILT.items():
        seen, count, caught, turned_away = Counter[str](), 0, 0, 0
        for kind, pictures in fields.items():
            for picture in pictures:
                verdict = _judged(change(picture, chance), well=kind == "incubator_96well")
                count, caught = count + 1, caught + bool(verdict)
                turned_away += any(one.startswith("refused") for one in verdict)
                seen.update(one.removeprefix("refused: ") for one in verdict)
        how = ", ".join(f"{why} {n}" for why, n in seen.most_common())
        print(f"| {name} | {count} | {caught} | {turned_away} | {how} |")
    _against_earlier(fields, chance)
    return 0


def _interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + (z / 2 / total) ** 2)
    return middle - half, middle + half


def _against_earlier(fields: dict[str, list[Image]], chance: np.random.Generator) -> None:
    """Each field against others of its set, as it is and changed."""
    changes: dict[str, Change] = {
        "as it is": lambda picture, chance: picture,
        "inverted": lambda picture, chance: 255 - picture,
        "every second pixel": lambda picture, chance: np.ascontiguousarray(picture[::2, ::2]),
    }
    print("\n| against five earlier ones or more | set | judged | other-size | other-modality |")
    print("|---|---|---|---|---|")
    for kind, pictures in fields.items():
        if len(pictures) < 6:
            continue
        for name, change in changes.items():
            seen: Counter[str] = Counter()
            for index, picture in enumerate(pictures):
                others = [_look(one) for at, one in enumerate(pictures) if at != index]
                seen.update(unlike(_look(change(picture, chance)), others))
            print(
                f"| {name} | {kind} | {len(pictures)} | {seen['other-size']} | "
                f"{seen['other-modality']} |"
            )


def _look(picture: Image) -> ImageStats:
    return ImageStats((picture.shape[0], picture.shape[1]), judge(picture).measures)


if __name__ == "__main__":
    sys.exit(main())
