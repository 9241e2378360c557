"""How late and how often wrongly the rule alerts, on simulated series: writes docs/alerts.md.

Numbers only, no pictures: each dish has a true series with a known onset, and readings of it with
the errors of a segmentation. The rule is the real one, `monitor.decisions.status.judge`.

    python -m tools.bench.alerts --dishes 2000
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, Reading, Standing
from monitor.decisions.status import can_be_judged, judge

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 7
LIMIT = 0.10
IN_TIME = 2  # scans after the truth passed the limit
NOT_FALSE_H = 12.0  # an alert so long before the truth passes the limit is early, not false
LIMITS = DifferentiationConfig()
THRESHOLDS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.14, 0.17, 0.20)
CURVE_DISHES = 1000
# What stands above it in docs/alerts.md is written by hand.
HEADING = "## How late, and how often false"


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


NOISES = (
    Noise("small", scan=0.006, share=0.08, gain=0.05, background=0.002, artefacts=0.0),
    Noise("assumed", scan=0.012, share=0.12, gain=0.10, background=0.010, artefacts=0.02),
    Noise("heavy", scan=0.020, share=0.20, gain=0.20, background=0.020, artefacts=0.08),
)
ASSUMED = NOISES[1]


@dataclass(frozen=True, eq=False)
class Series:
    """truth : (scans,) true differentiated fraction; shown : what an eye without noise would see of
    it, cells of this dish that are always taken for others included; read : what the readings say;
    doubtful : bool

    passed : first scan at which the truth lies above the limit; None = it never does
    """

    truth: np.ndarray
    shown: np.ndarray
    read: np.ndarray
    doubtful: np.ndarray
    passed: int | None


@dataclass
class Score:
    """onsets, in_time, missed : dishes; delays : scans, of all that were alerted at all"""

    dishes: int = 0
    onsets: int = 0
    in_time: int = 0
    missed: int = 0
    false: int = 0
    delays: list[int] | None = None

    @property
    def share_in_time(self) -> float:
        return self.in_time / self.onsets

    @property
    def false_per_100(self) -> float:
        return 100 * self.false / self.dishes


def simulate(random: np.random.Generator, noise: Noise, interval_h: float) -> Series:
    """A dish of 7 days: half never turn, some hover below the limit, the others rise as a logistic
    curve from 1 % to 50 % in 1 to 3 days, from an onset within the first 5 days.
    """
    hours = np.arange(0, DAYS * 24 + 1e-9, interval_h)
    kind = random.random()
    if kind < 0.45:
        truth = np.full(len(hours), random.uniform(0, 0.01))
    elif kind < 0.5:
        level, onset = random.uniform(0.02, 0.07), random.uniform(0, 96)
        truth = level / (1 + np.exp(-(hours - onset - 24) / 8))
    else:
        rate = np.log(99) / random.uniform(24, 72)
        onset = random.uniform(0, 120)
        truth = random.uniform(0.5, 0.95) / (1 + 99 * np.exp(-rate * (hours - onset)))
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
    above = np.flatnonzero(truth > LIMIT)
    passed = int(above[0]) if len(above) else None
    return Series(truth, shown, np.clip(read, 0, 1), doubtful, passed)


def alerts_by_rule(series: Series, limits: DifferentiationConfig, interval_h: float) -> list[int]:
    """Scans at which the dish is raised, by the rule that the daemon uses."""
    before, found, readings = Standing(), [], []
    back = 8 + round((limits.trend_h or 0) / interval_h)
    for number, fraction in enumerate(series.read):
        readings.append(
            _reading(number, float(fraction), bool(series.doubtful[number]), interval_h)
        )
        # All that the rule looks back on: the trend's hours, and some scans for doubtful ones.
        judgement = judge(before, readings[-back:], limits)
        if judgement.alert is AlertKind.RAISED:
            found.append(number)
        before = Standing(judgement.status, judgement.severity)
    return found


def alerts_by_threshold(series: Series, limit: float, interval_h: float) -> list[int]:
    """Scans at which the reading crosses one limit upwards. Doubtful scans are left out too."""
    found, was_above = [], False
    for number, fraction in enumerate(series.read):
        reading = _reading(number, float(fraction), bool(series.doubtful[number]), interval_h)
        if not can_be_judged(reading, LIMITS):
            continue
        if fraction > limit and not was_above:
            found.append(number)
        was_above = fraction > limit
    return found


def alerts_by_perfect_eye(series: Series, limit: float) -> list[int]:
    """Scans at which what is shown crosses the limit: no scatter, no artefact, no waiting."""
    above = series.shown > limit
    return [int(one) for one in np.flatnonzero(above & ~np.r_[False, above[:-1]])]


def score(series: list[Series], alerts: list[list[int]], interval_h: float) -> Score:
    """An alert is false if the truth is not above the limit within 12 h."""
    ahead = max(1, round(NOT_FALSE_H / interval_h))
    total = Score(delays=[])
    for one, found in zip(series, alerts, strict=True):
        total.dishes += 1
        true = []
        for number in found:
            if (one.truth[number : number + ahead + 1] > LIMIT).any():
                true.append(number)
            else:
                total.false += 1
        # The last scans leave no time to be late in.
        if one.passed is None or one.passed + IN_TIME >= len(one.truth):
            continue
        total.onsets += 1
        if not true:
            total.missed += 1
            continue
        assert total.delays is not None
        total.delays.append(true[0] - one.passed)
        total.in_time += true[0] - one.passed <= IN_TIME
    return total


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dishes", type=int, default=1500)
    options.add_argument("--seed", type=int, default=5)
    options.add_argument("--out", type=Path, default=ROOT / "docs")
    given = options.parse_args()

    rows = []
    for interval_h in (6.0, 2.0, 1.0):
        for noise in NOISES:
            random = np.random.default_rng(given.seed)
            series = [simulate(random, noise, interval_h) for _ in range(given.dishes)]
            rule = score(
                series, [alerts_by_rule(one, LIMITS, interval_h) for one in series], interval_h
            )
            plain = score(
                series, [alerts_by_threshold(one, LIMIT, interval_h) for one in series], interval_h
            )
            eye = score(series, [alerts_by_perfect_eye(one, LIMIT) for one in series], interval_h)
            rows.append((interval_h, noise, rule, plain, eye))
            print(
                f"every {interval_h:g} h, {noise.name}: rule {rule.share_in_time:.1%} in time, "
                f"{rule.false_per_100:.2f} false; threshold {plain.share_in_time:.1%}, "
                f"{plain.false_per_100:.2f}; perfect eye {eye.share_in_time:.1%}, "
                f"{eye.false_per_100:.2f}",
                flush=True,
            )
    curves = {
        interval_h: curve(given.seed, min(given.dishes, CURVE_DISHES), interval_h)
        for interval_h in (6.0, 2.0)
    }
    (given.out / "pictures").mkdir(parents=True, exist_ok=True)
    draw(curves, given.out / "pictures" / "alerts-delay.png")
    about = given.out / "alerts.md"
    settings = about.read_text().split(HEADING)[0] if about.exists() else ""
    about.write_text(settings + page(rows, given.dishes, given.seed))


def curve(seed: int, dishes: int, interval_h: float) -> dict[str, list[tuple[float, Score]]]:
    """Both rules at different limits, under the assumed noise."""
    random = np.random.default_rng(seed + 1)
    series = [simulate(random, ASSUMED, interval_h) for _ in range(dishes)]
    found: dict[str, list[tuple[float, Score]]] = {"rule": [], "threshold": []}
    for limit in THRESHOLDS:
        limits = replace_limits(limit)
        rule = [alerts_by_rule(one, limits, interval_h) for one in series]
        plain = [alerts_by_threshold(one, limit, interval_h) for one in series]
        found["rule"].append((limit, score(series, rule, interval_h)))
        found["threshold"].append((limit, score(series, plain, interval_h)))
    return found


def replace_limits(limit: float) -> DifferentiationConfig:
    return LIMITS.model_copy(update={"raise_above": limit, "clear_below": limit / 2})


def draw(curves: dict[float, dict[str, list[tuple[float, Score]]]], path: Path) -> None:
    figure = Figure(figsize=(10.5, 5), dpi=120, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves))
    figure.subplots_adjust(left=0.075, right=0.985, top=0.85, bottom=0.13, wspace=0.17)
    names = {
        "rule": "ours: N of M scans, or a sure rise",
        "threshold": "one limit, one scan",
    }
    for axes, (interval_h, found) in zip(panels, curves.items(), strict=True):
        axes.axvspan(0.01, 1, color="#e7f5ec", zorder=0)
        axes.axvline(1, color="#15803d", linewidth=1.2, linestyle=":")
        axes.axhline(0, color="#9ca3af", linewidth=1)
        for kind, colour, marker in (("rule", "#d55e00", "o"), ("threshold", "#0072b2", "s")):
            false = [max(one.false_per_100, 0.05) for _, one in found[kind]]
            delay = [interval_h * float(np.mean(one.delays or [np.nan])) for _, one in found[kind]]
            axes.plot(false, delay, color=colour, marker=marker, linewidth=2, label=names[kind])
            for (limit, _), x, y in zip(found[kind], false, delay, strict=True):
                if limit in (0.02, 0.05, 0.10, 0.20):
                    axes.annotate(
                        f"{limit:.0%}".replace("%", " %"), (x, y), (7, 5),
                        textcoords="offset points", size=10, color=colour,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(0.04, None)
        axes.set_xlabel("false alerts per 100 dish-weeks (0.05: none seen)", size=11)
        axes.set_title(f"scans every {interval_h:g} h", size=12, loc="left")
        axes.grid(True, color="#e5e7eb")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("mean delay of the alert, hours", size=11)
    panels[0].legend(frameon=False, fontsize=11)
    figure.text(0.012, 0.945, "Delay against false alerts, at alert limits of 2 to 20 %", size=13)
    canvas.print_png(str(path))


def page(rows: list[tuple[float, Noise, Score, Score, Score]], dishes: int, seed: int) -> str:
    table = []
    for interval_h, noise, rule, plain, eye in rows:
        for name, one in (("ours", rule), ("one limit", plain), ("perfect eye", eye)):
            low, high = _interval(one.in_time, one.onsets)
            delays = np.array(one.delays)
            table.append(
                f"| {interval_h:g} h | {noise.name} | {name} | "
                f"{100 * one.share_in_time:.1f} ({100 * low:.1f} to {100 * high:.1f}) | "
                f"{np.median(delays):.0f} | {np.mean(delays):.2f} | {one.missed} | "
                f"{one.false_per_100:.2f} ({one.false}) |"
            )
    noises = [
        f"| {one.name} | {one.scan:g} + {one.share:g} of the fraction | {one.gain:g} | "
        f"{one.background:g} | {100 * one.artefacts:g} % of days |"
        for one in NOISES
    ]
    found = {row[0]: row[2] for row in rows if row[1] is ASSUMED}
    rule = found[6.0]
    said = "\n".join(
        f"- every {interval_h:g} h: {100 * one.share_in_time:.1f} % in time, "
        f"{one.false_per_100:.2f} false alerts per 100 dish-weeks"
        for interval_h, one in found.items()
    )
    verdict = (
        f"Under the assumed noise, of dishes that are scanned\n\n{said}\n\n*In time* means within "
        f"{IN_TIME} scans of truly passing the limit. The targets were 95 % and 1."
    )
    return (
        (Path(__file__).parent / "alerts.md.in")
        .read_text()
        .format(
            verdict=verdict,
            dishes=dishes,
            onsets=rule.onsets,
            seed=seed,
            limit=f"{100 * LIMIT:g} %",
            table="\n".join(table),
            noises="\n".join(noises),
        )
    )


def _interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    share, z = count / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (share * (1 - share) / total + z * z / (4 * total**2)) ** 0.5
    return middle - half, middle + half


_TEMPLATE = Reading(
    id=0, dish="A1", scan_id=0, version=1, at=START, captures=1, background_um2=None,
    undifferentiated_um2=None, differentiated_um2=None, differentiated_fraction=0.0,
    confluence=0.4, uncertainty=0.1, pixel_size_um=None, model_sha256="", settings_sha256="",
    colonies=1,
)  # fmt: skip


def _reading(number: int, fraction: float, is_doubtful: bool, interval_h: float) -> Reading:
    return replace(
        _TEMPLATE,
        id=number,
        at=START + timedelta(hours=interval_h * number),
        differentiated_fraction=fraction,
        doubts=("doubtful",) if is_doubtful else (),
    )


if __name__ == "__main__":
    main()
