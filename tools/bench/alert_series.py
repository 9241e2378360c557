"""Simulated dishes for tools.bench.alerts: what is true, and what readings say of it.

Numbers only, no pictures. Each dish has a true series with a known onset; its readings have the
errors of a segmentation, of debris, of images that the model does not know, and of the two days
after a passage, when single cells look differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from monitor.culture import Doubt, DoubtReason, Reading

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 7
LIMIT = 0.10
FRESH_H = 48.0
PASSAGED, TOLD = 0.4, 0.5
MEDIUM_EVERY_H, STIRS_UP = 24.0, 0.10
STRANGE, STRANGE_H = 0.10, (24.0, 96.0)
WRONG_IS_NOTICED, RIGHT_IS_DOUBTED = 0.9, 0.05


@dataclass(frozen=True)
class Noise:
    """Errors of readings.

    scan, share : standard deviation of a scan, and of it per true fraction
    gain : standard deviation of a dish's own factor (cells that are always taken for more or less)
    background : mean of what a dish always shows too much
    artefacts : how often a day debris, condensation or a scratch begins to show as differentiated,
        5 to 50 % of the cells, for 1 (85 %), 2 (10 %) or 3 (5 %) scans
    noticed : share of those that the check of the picture flags as doubtful
    """

    name: str
    scan: float
    share: float
    gain: float
    background: float
    artefacts: float
    noticed: float = 0.5

    def half_width(self, fraction: float) -> float:
        """Of an interval that holds the truth nine times in ten, artefacts aside."""
        spread = (self.scan + self.share * fraction) ** 2 + (self.gain * fraction) ** 2
        return float(1.645 * np.sqrt(spread + self.background**2))


@dataclass(frozen=True)
class Life:
    """What happens to a dish beside noise.

    name : what the table calls it
    passages, debris, doubt : whether there are any
    """

    name: str
    passages: bool = False
    debris: bool = False
    doubt: bool = False


QUIET = Life("none")
LIVES = (
    QUIET,
    Life("passages", passages=True),
    Life("debris", debris=True),
    Life("doubt", doubt=True),
    Life("all of them", passages=True, debris=True, doubt=True),
)
ALL = LIVES[-1]


@dataclass(frozen=True, eq=False)
class Series:
    """truth : (scans,) true differentiated fraction; shown : what an eye without noise would see of
    it, cells of this dish that are always taken for others included; read : what the readings say;
    doubtful : bool, by the check of the picture; the same length all of them

    passed : first scan at which the truth lies above the limit; None = it never does
    unsure : bool, what the model doubts; None = it never does
    half_width : of the intervals; None = there are none
    cover, colonies : confluence and number of colonies; None = as ever
    passaged_at : hours; None = never. is_told : whether somebody says so
    """

    truth: np.ndarray
    shown: np.ndarray
    read: np.ndarray
    doubtful: np.ndarray
    passed: int | None
    unsure: np.ndarray | None = None
    half_width: np.ndarray | None = None
    cover: np.ndarray | None = None
    colonies: np.ndarray | None = None
    passaged_at: float | None = None
    is_told: bool = False


def simulate(
    random: np.random.Generator, noise: Noise, interval_h: float, life: Life = QUIET
) -> Series:
    """A dish of 7 days: half never turn, some hover below the limit, the others rise as a logistic
    curve from 1 % to 50 % in 1 to 3 days, from an onset within the first 5 days.
    """
    hours = np.arange(0, DAYS * 24 + 1e-9, interval_h)
    truth = _truth(random, hours)
    gain = np.exp(random.normal(0, noise.gain))
    background = random.exponential(noise.background)
    shown = truth * gain + background
    read = shown + random.normal(0, noise.scan + noise.share * truth)
    doubtful = np.zeros(len(hours), bool)
    begins = random.random(len(hours)) < noise.artefacts * interval_h / 24
    for first in np.flatnonzero(begins):
        lasts = random.choice([1, 2, 3], p=[0.85, 0.1, 0.05])
        read[first : first + lasts] += random.uniform(0.05, 0.5)
        doubtful[first : first + lasts] = random.random() < noise.noticed
    passed = _passed(truth)
    plain = Series(truth, shown, np.clip(read, 0, 1), doubtful, passed)
    return plain if life is QUIET else _lived(random, noise, plain, hours, life)


def _truth(random: np.random.Generator, hours: np.ndarray, begins: float = 0.0) -> np.ndarray:
    """begins : no onset before that hour"""
    kind = random.random()
    if kind < 0.45:
        return np.full(len(hours), random.uniform(0, 0.01))
    if kind < 0.5:
        level, onset = random.uniform(0.02, 0.07), random.uniform(0, 96)
        return np.asarray(level / (1 + np.exp(-(hours - onset - 24) / 8)))
    rate = np.log(99) / random.uniform(24, 72)
    onset = begins + random.uniform(0, 120)
    return np.asarray(random.uniform(0.5, 0.95) / (1 + 99 * np.exp(-rate * (hours - onset))))


def _passed(truth: np.ndarray) -> int | None:
    above = np.flatnonzero(truth > LIMIT)
    return int(above[0]) if len(above) else None


def _lived(
    random: np.random.Generator, noise: Noise, plain: Series, hours: np.ndarray, life: Life
) -> Series:
    """With what else happens. Every reading comes with an interval."""
    truth, shown, read, passed = plain.truth, plain.shown, plain.read.copy(), plain.passed
    is_wrong = np.zeros(len(hours), bool)
    cover, colonies, passaged_at = np.full(len(hours), 0.4), np.full(len(hours), 12), None
    if life.passages and random.random() < PASSAGED:
        passaged_at = float(random.uniform(30, 100))
        # A dish that differentiates is thrown away or picked; what is passaged was fine till then.
        truth = _truth(random, hours, begins=passaged_at)
        truth = np.where(hours < passaged_at, np.minimum(truth, 0.01), truth)
        shown = truth + random.exponential(noise.background)
        read = np.clip(shown + random.normal(0, noise.scan + noise.share * truth), 0, 1)
        passed = _passed(truth)
        age = hours - passaged_at
        is_after = age >= 0
        # Healthy dishes of five lines read 8 to 99 % a day after passage, less and less after that.
        wrongly = random.uniform(0.1, 1.0) * np.exp(-np.maximum(age - 12, 0) / 14)
        read = np.where(is_after, read + (1 - read) * wrongly, read)
        is_wrong |= is_after & (wrongly > 0.2)
        grown = 0.75 * 2.0 ** np.minimum((hours - passaged_at) / 30, 0)
        split = random.uniform(6, 12)
        after = 0.75 / split * 2.0 ** (np.maximum(age - 18, 0) / 30)
        cover = np.where(is_after, np.minimum(after, 0.8), grown)
        cover = cover * np.exp(random.normal(0, 0.06, len(hours)))
        colonies = np.where(is_after, random.integers(30, 120), random.integers(4, 15))
        if passed is not None:
            # Till then nothing is judged.
            judged = int(np.searchsorted(hours, passaged_at + FRESH_H))
            passed = max(passed, judged)
    if life.debris:
        for change in np.arange(random.uniform(0, MEDIUM_EVERY_H), DAYS * 24, MEDIUM_EVERY_H):
            if random.random() < STIRS_UP:
                lies = (hours >= change) & (hours < change + random.uniform(1, 6))
                read = np.where(lies, read + random.uniform(0.05, 0.5), read)
                is_wrong |= lies
    if life.doubt and random.random() < STRANGE:
        begin, lasts = random.uniform(0, DAYS * 24 - 24), random.uniform(*STRANGE_H)
        strange = (hours >= begin) & (hours < begin + lasts)
        level = random.uniform(0, 1)
        read = np.where(strange, level + random.normal(0, 0.1, len(hours)), read)
        is_wrong |= strange
    # An image that the model does not know stays one from scan to scan.
    noticed = random.random() < WRONG_IS_NOTICED
    unsure = (is_wrong & noticed) | (random.random(len(hours)) < RIGHT_IS_DOUBTED)
    read = np.clip(read, 0, 1)
    half = np.array([noise.half_width(float(one)) for one in read])
    return replace(
        plain, truth=truth, shown=shown, read=read, passed=passed, unsure=unsure, half_width=half,
        cover=cover, colonies=colonies, passaged_at=passaged_at,
        is_told=bool(random.random() < TOLD),
    )  # fmt: skip


def readings_of(series: Series, interval_h: float) -> list[Reading]:
    """As the record would give them."""
    found = []
    for number, fraction in enumerate(series.read):
        doubt = Doubt()
        if series.half_width is not None:
            low = max(0.0, float(fraction - series.half_width[number]))
            high = min(1.0, float(fraction + series.half_width[number]))
            is_unsure = series.unsure is not None and bool(series.unsure[number])
            reasons = (DoubtReason.UNFAMILIAR,) if is_unsure else ()
            doubt = Doubt(reasons, (low, high), "simulated", calibrated=True)
        found.append(
            replace(
                _TEMPLATE,
                id=number,
                at=START + timedelta(hours=interval_h * number),
                differentiated_fraction=float(fraction),
                doubts=("doubtful",) if series.doubtful[number] else (),
                doubt=doubt,
                confluence=0.4 if series.cover is None else float(series.cover[number]),
                colonies=12 if series.colonies is None else int(series.colonies[number]),
            )
        )
    return found


_TEMPLATE = Reading(
    id=0, dish="A1", scan_id=0, version=1, at=START, captures=1, background_um2=None,
    undifferentiated_um2=None, differentiated_um2=None, differentiated_fraction=0.0,
    confluence=0.4, uncertainty=0.1, pixel_size_um=None, model_sha256="", settings_sha256="",
    colonies=12,
)  # fmt: skip
